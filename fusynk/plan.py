"""`Plan`: a thin front to the runner and the renderers."""

import os
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, cast, overload

import anyio
from typing_extensions import TypeVar, Unpack

from fusynk._core.compiler import artifact_type
from fusynk._core.current import running_step
from fusynk._core.inputs import check_instance, read_inputs
from fusynk._core.layer import Override
from fusynk._core.model import UNSET
from fusynk._core.nested import PlanFunction
from fusynk._core.options import PlanOptions, PlanSettings, UnitOptions, adjusted_options, plan_settings
from fusynk._core.printable import printable
from fusynk._core.program import Program, build_program, with_settings
from fusynk._core.steps import find_step, unknown_step
from fusynk._core.wiring import Body, PlanInput, Wiring
from fusynk._instruments import new_runner
from fusynk._runtime.runner import Runner
from fusynk.blame import adopt_run, blame, failure_notes, raised_bare, undone_notes
from fusynk.errors import InvalidDeclaration, InvalidOption, LoopRunning, UnknownStep
from fusynk.executors.threads import ThreadExecutor
from fusynk.handle import RunHandle
from fusynk.render.explain import explain
from fusynk.run import Run, Shape

if TYPE_CHECKING:
    from fusynk._core.registry import AnyLayer
    from fusynk._runtime.opening import OpenedRun
    from fusynk.protocols import Executor, Journal

I_contra = TypeVar("I_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Generic[I_contra, A_co]):
    """A compiled, immutable graph. Run it as often as you like, many times at once.

    Made by `compile_plan`. `I` is the class of its inputs, `A` what `run.result` is.
    """

    _program: Program
    _input_class: type | None
    _shape: Shape

    @overload
    async def run(self, inputs: I_contra, /) -> Run[A_co]: ...
    @overload
    async def run(self, /, **keywords: object) -> Run[A_co]: ...
    async def run(self, inputs: object = UNSET, /, **keywords: object) -> Run[A_co]:
        """Run the plan once and return the finished run.

        Args:
            inputs: An instance of the class given as `compile_plan(inputs=...)`.
            keywords: The inputs by name, instead.

        Raises:
            InvalidInputs: An input is missing or unknown.
            DeadlineExceeded: The run took longer than its deadline.
            NestingTooDeep: Runs start runs more than 100 deep.
            BaseException: A layer's own exception, the one that ended the run, never a group; `run_of(error)` is
                the run.
        """
        return await self._run(self._read("run()", inputs, keywords))

    async def resume(self, run_id: str, *, journal: "Journal | None" = None) -> Run[A_co]:
        """Go on with a run where its journal says it was left, and return the finished run.

        What is complete there does not run again. Of a run that has ended its outcomes are given back; one that was
        broken off by a failure, cancelled or killed goes on. One whose steps are undone by compensations is not
        continued: it is undone to the end, and its failure is raised again.

        Args:
            run_id: The id of the run. Its inputs are those that it began with.
            journal: Where it is recorded; left out, the plan's own journal.

        Raises:
            UnknownRun: The journal has no run of that id.
            RunLocked: Somebody else has it.
            PlanMismatch: It was begun by another plan.
            JournalError: The journal cannot be read or written, or is damaged.
            InvalidOption: There is no journal, or `run_id` is no text.
            BaseException: What `run` raises.
        """
        return await self._to_resume("resume", run_id, journal)._run(None)  # noqa: SLF001 - a plan like this one

    def resume_sync(self, run_id: str, *, journal: "Journal | None" = None) -> Run[A_co]:
        """Go on with a run on an event loop of its own, for scripts. Takes and raises what `resume` does.

        Raises:
            LoopRunning: An event loop runs in this thread already.
        """
        plan = self._to_resume("resume_sync", run_id, journal)
        return plan._run_on_own_loop("resume", None)  # noqa: SLF001 - a plan like this one

    @overload
    def run_sync(self, inputs: I_contra, /) -> Run[A_co]: ...
    @overload
    def run_sync(self, /, **keywords: object) -> Run[A_co]: ...
    def run_sync(self, inputs: object = UNSET, /, **keywords: object) -> Run[A_co]:
        """Run the plan once on an event loop of its own, for scripts. Takes and raises what `run` does.

        Raises:
            LoopRunning: An event loop runs in this thread already.
        """
        _refuse_running_loop("run")
        return self._run_on_own_loop("run", self._read("run_sync()", inputs, keywords))

    def _run_on_own_loop(self, method: str, values: list[object] | None) -> Run[A_co]:
        _refuse_running_loop(method)
        try:
            return anyio.run(self._run, values)
        except KeyboardInterrupt as interrupt:
            adopt_run(interrupt)  # asyncio turns the cancellation that Ctrl-C is into an error of its own
            raise

    @overload
    def start(self, inputs: I_contra, /) -> RunHandle[A_co]: ...
    @overload
    def start(self, /, **keywords: object) -> RunHandle[A_co]: ...
    def start(self, inputs: object = UNSET, /, **keywords: object) -> RunHandle[A_co]:
        """Run the plan in the background of `async with plan.start(...) as handle:`. Takes what `run` does.

        Raises:
            InvalidInputs: An input is missing or unknown.
        """
        values = self._read("start()", inputs, keywords)
        return RunHandle(partial(self._runner, values, observed=True), self._finish)

    def options(self, **options: Unpack[PlanOptions]) -> "Plan[I_contra, A_co]":
        """Return the same plan with other options.

        Args:
            options: See `PlanOptions`; what is left out stays.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidPlan: The options do not go with a unit, as a timeout with a plain function.
        """
        settings = plan_settings("Plan.options()", self._program.settings, cast("Mapping[str, object]", options))
        return replace(self, _program=with_settings(self._program, settings, options))

    def override(self, *overrides: Override) -> "Plan[I_contra, A_co]":
        """Return the same plan with stand-ins for some units' functions or options, for tests.

        Args:
            overrides: Made by `layer.returns(...)`, `.raises(...)`, `.calls(...)` or `.with_options(...)`.

        Raises:
            UnknownStep: The plan has no such unit.
            InvalidDeclaration: It is no override.
            InvalidPlan: A stand-in does not take the unit's arguments, or an option does not go with the unit.
        """
        wiring = self._program.wiring
        found, adjusted = dict(self._program.overrides), dict[int, UnitOptions]()
        for override in overrides:
            if not isinstance(override, Override):
                takes = "layer.returns(...), .raises(...), .calls(...) or .with_options(...)"
                message = f"override() takes {takes}, not {override!r}."
                raise InvalidDeclaration(message)
            step = find_step(wiring, override.unit)
            if step is None:
                raise UnknownStep(unknown_step(wiring, override.unit))
            if override.verb == "options":
                given = cast("Mapping[str, object]", override.value)
                former = adjusted.get(step, wiring.options[step])
                adjusted[step] = adjusted_options("with_options()", former, given)
            else:
                found[step] = override
        if adjusted:
            options = (adjusted.get(step, former) for step, former in enumerate(wiring.options))
            wiring = replace(wiring, options=tuple(options))
        return replace(self, _program=build_program(wiring, self._program.settings, MappingProxyType(found)))

    def as_function(self) -> Callable[..., Coroutine[Any, Any, A_co]]:
        """Return an async function that takes the plan's inputs as keywords and returns its result.

        `layer(plan)` makes a step of it: a nested plan.
        """
        wiring, steps = self._program.wiring, self._shape.steps
        single = self._shape.form == "one"
        return PlanFunction(
            self._result_of,
            wiring.names[steps[0]] if single else "",
            self.inputs,
            _artifact_type(wiring, steps[0]) if single else UNSET,
        )

    async def _result_of(self, **inputs: object) -> A_co:
        return (await self._as_nested().run(**inputs)).result

    def _as_nested(self) -> "Plan[I_contra, A_co]":
        """Return the plan as a step runs it: its recorded run is that of the step, in each attempt and process."""
        settings, step = self._program.settings, running_step()
        if settings.journal is None or settings.run_id is not None or step is None:
            return self
        return self.options(run_id=step.idempotency_key)

    def explain(self) -> str:
        """Return what the plan will do: inputs, order, where each parameter comes from, options, suspicions."""
        return explain(self._program, [self._program.wiring.names[step] for step in self._shape.steps])

    def draw(self, *, width: int | None = None, ascii_only: bool | None = None) -> str:
        """Return the dependency graph as text: boxes and lines if they fit, else one line a step.

        Args:
            width: Cells that there are; `None` for as many as it takes.
            ascii_only: Whether to keep to ASCII; left out, if the standard output cannot encode boxes.
        """
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_text(self._program.wiring, width=width, ascii_only=ascii_only)

    def to_svg(self) -> str:
        """Return the dependency graph as an SVG document, without scripts or anything from elsewhere."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_svg(self._program.wiring)

    def to_mermaid(self) -> str:
        """Return the dependency graph as a Mermaid flowchart."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_mermaid(self._program.wiring)

    def to_dot(self) -> str:
        """Return the dependency graph in the language of Graphviz."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_dot(self._program.wiring)

    @property
    def inputs(self) -> Mapping[str, PlanInput]:
        """What a run must be given, by name."""
        return MappingProxyType({needed.name: needed for needed in self._program.wiring.inputs})

    @property
    def order(self) -> tuple[str, ...]:
        """The steps in the order in which a run with `concurrency=1` starts them. Always topological."""
        wiring, discipline = self._program.wiring, self._program.settings.discipline
        return tuple(wiring.names[step] for step in wiring.in_order(discipline))

    @property
    def levels(self) -> tuple[tuple[str, ...], ...]:
        """The steps by depth: how many edges the longest path from a source to them has."""
        wiring = self._program.wiring
        groups: dict[int, list[str]] = {}
        for step, level in enumerate(wiring.depths()):
            if step not in wiring.delays:
                groups.setdefault(level, []).append(wiring.names[step])
        return tuple(tuple(groups[level]) for level in sorted(groups))

    def __repr__(self) -> str:
        """Name the targets and count the steps."""
        names = ", ".join(printable(self._program.wiring.names[step]) for step in self._shape.steps[:3])
        return f"<Plan of {len(self._program.wiring.steps())} steps to {names or 'nothing'}>"

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """Show the dependency graph in a notebook, unless it is large."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        wiring = self._program.wiring
        drawing = pictures.as_svg(wiring, longest=pictures.LONGEST_IN_BOX) if pictures.is_small(wiring) else None
        return pictures.mimebundle(repr(self), "image/svg+xml", drawing, include, exclude)

    @property
    def settings(self) -> PlanSettings:
        """The plan's options, completed by their defaults."""
        return self._program.settings

    def __copy__(self) -> "Plan[I_contra, A_co]":
        """A plan is immutable, so it is its own copy."""
        return self

    def __deepcopy__(self, memo: object) -> "Plan[I_contra, A_co]":
        """A plan is immutable, so it is its own copy."""
        return self

    def _read(self, caller: str, inputs: object, keywords: Mapping[str, object]) -> list[object]:
        wiring = self._program.wiring
        values = read_inputs(caller, wiring.inputs, self._input_class, inputs, keywords)
        check_instance(wiring, values)
        return values

    def _to_resume(self, method: str, run_id: str, journal: "Journal | None") -> "Plan[I_contra, A_co]":
        given: dict[str, object] = {"run_id": run_id} if journal is None else {"run_id": run_id, "journal": journal}
        settings = plan_settings(f"Plan.{method}()", self._program.settings, given)
        if settings.journal is None or settings.run_id is None:
            message = (
                f"plan.{method}({run_id!r}) needs an id and a journal; "
                f'write plan.{method}("order-42", journal=SqliteJournal("runs.db")).'
            )
            raise InvalidOption(message)
        return replace(self, _program=with_settings(self._program, settings, given))

    async def _runner(self, values: list[object] | None, *, observed: bool = False) -> Runner:
        if self._program.settings.journal is None:
            return self._new_runner(values or (), observed=observed)
        from fusynk._runtime.opening import open_run  # noqa: PLC0415 - for those who use a journal

        opened = await open_run(self._program, self._program.settings.run_id or _new_id(), values)
        try:
            return self._new_runner(opened.inputs, observed=observed, opened=opened)
        except BaseException:
            await opened.release()
            raise

    def _new_runner(
        self, values: Sequence[object], *, observed: bool = False, opened: "OpenedRun | None" = None
    ) -> Runner:
        program, targets = self._program, self._shape.steps
        run_id = opened.run_id if opened is not None else program.settings.run_id or _new_id()
        return new_runner(
            program, values, run_id, _executors(program), targets=targets, observed=observed, opened=opened
        )

    async def _run(self, values: list[object] | None) -> Run[A_co]:
        runner = await self._runner(values)
        try:
            await runner.run()
        except BaseException as error:
            run = self._ended(runner)
            blame(error, undone_notes(run), run)
            raise
        return self._finish(runner)

    def _ended(self, runner: Runner) -> Run[A_co]:
        return Run(
            run_id=runner.run_id,
            parent_id=runner.inside.parent_id,
            records=runner.records,
            shape=self._shape,
            ending=runner.ending,
        )

    def _finish(self, runner: Runner) -> Run[A_co]:
        """Make the run, and raise what ended it."""
        run = self._ended(runner)
        if runner.cause is not None:
            index, error = runner.cause
            allowed = self._program.policies[runner.scheduler.step_of(index)].retries + 1
            blame(error, failure_notes(runner.records, index, allowed, run), run)
            raise raised_bare(error)
        if runner.reason is not None:
            blame(runner.reason, undone_notes(run), run)
            raise runner.reason
        broken = runner.aftermath.broken if runner.aftermath is not None else None
        if broken is not None:
            blame(broken, undone_notes(run), run)
            raise raised_bare(broken)
        unrecorded = runner.durable.broken if runner.durable is not None else None
        if unrecorded is not None:
            blame(unrecorded, undone_notes(run), run)
            raise raised_bare(unrecorded)
        return run


def _new_id() -> str:
    return os.urandom(8).hex()


def _refuse_running_loop(method: str) -> None:
    """Refuse to start an event loop where one runs already."""
    try:
        anyio.get_current_task()
    except RuntimeError:
        return
    message = f"{method}_sync() was called inside a running event loop; write `await plan.{method}(...)` there."
    raise LoopRunning(message)


def _artifact_type(wiring: Wiring, step: int) -> object:
    return artifact_type(cast("AnyLayer", wiring.layers[step]).unit, wiring.functions[step])


def _executors(program: Program) -> dict[Body, "Executor"]:
    """Return where the synchronous functions of a run are called, by their kind."""
    given = cast("Executor | None", program.settings.executor)
    executors: dict[Body, Executor] = {Body.THREAD: given or ThreadExecutor()}
    if Body.SUBPROCESS in program.bodies:
        from fusynk.executors.subprocesses import SubprocessExecutor  # noqa: PLC0415 - few plans need it

        executors[Body.SUBPROCESS] = given or SubprocessExecutor()
    return executors
