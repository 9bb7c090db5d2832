"""What a run owes after its last slot: first compensations, then the teardown of its resources, in reverse order."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import anyio
from anyio import CancelScope

from fusynk._attempt import Retry, after_failure, awaited
from fusynk._core.callables import is_coroutine_function
from fusynk._core.model import UNRECORDED, Status
from fusynk._core.options import Policy
from fusynk._runtime.backend import is_cancellation
from fusynk._runtime.calls import Places
from fusynk._runtime.company import company
from fusynk._runtime.drive import run_in_context
from fusynk._runtime.resource import AnyGenerator, Resource
from fusynk.errors import ArtifactUnavailable, LayerTimeout, StrayCancellation

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from fusynk._core.batch import Batch
    from fusynk._runtime.runner import Runner
    from fusynk.protocols import Executor


class Aftermath:
    """Outlives the slots of a run, in a task of its own that no cancellation reaches.

    Args:
        run: The run.
        executor: Where plain functions run.

    Attributes:
        compensated: The names of what was undone, in that order.
        compensation_failures: The errors of compensations, by name.
        teardown_failures: The errors of resources after their setup, by name.
        broken: The first of these whose unit does not let a run go on, or `None`.
    """

    def __init__(self, run: "Runner", executor: "Executor") -> None:
        self._run = run
        self._executor = executor
        self._open: list[Resource] = []
        self._completed: list[int] = []
        self._group: TaskGroup | None = None
        self._busy_with: int | None = None
        self._watch_scope = CancelScope(shield=True)
        self.compensated: list[str] = []
        self.compensation_failures: dict[str, BaseException] = {}
        self.teardown_failures: dict[str, BaseException] = {}
        self.broken: BaseException | None = None

    async def follow(self, run_slots: Callable[[], Awaitable[None]]) -> None:
        """Run the slots of the run, then see to what it owes.

        Args:
            run_slots: Returns, or raises, when the last slot has ended.
        """
        async with company(self._live) as self._group:
            await run_slots()

    async def open(
        self, index: int, function: Callable[..., object], values: Sequence[object], *, place: Places | None = None
    ) -> object:
        """Set up the resource of a step and return its artifact.

        Args:
            index: The step or item.
            function: The generator function.
            values: Its arguments.
            place: The threads of which the setup holds one, for a plain generator that does not run on the loop.
        """
        run = self._run
        try:
            resource = Resource(
                index,
                run.scheduler.name_of(index),
                cast("AnyGenerator", function(*values)),
                keeper=self,
                executor=None if place is None else self._executor,
                grace=run.program.settings.grace,
            )
            cast("TaskGroup", self._group).start_soon(resource.live)
            return await resource.opened()
        finally:
            if place is not None:
                place.release()

    def note_open(self, resource: Resource) -> None:
        """Keep a resource that has been set up."""
        self._open.append(resource)

    def note_left_behind(self, resource: Resource) -> None:
        """Name the step of a teardown whose thread goes on."""
        self._run.note_abandoned(resource.index)

    def note_break(self, resource: Resource, error: BaseException) -> None:
        """End the run when a resource has ended before it, unless its unit says that the run may go on."""
        run, index = self._run, resource.index
        self._keep_failure(index, error)
        if not isinstance(error, Exception):
            run.crash(error)
        elif run.policy_of(index).on_error != "continue" and not run.stopping:
            run.break_off(index, error)

    async def _live(self, over: anyio.Event) -> None:
        with CancelScope(shield=True):
            await over.wait()
            cast("TaskGroup", self._group).start_soon(self._watch)
            if self._run.by is not None and await self._may_undo():
                await self._compensate()
            for resource in reversed(self._open):
                self._busy_with = resource.index
                resource.close(self._run.reason)
                await resource.ended.wait()
                if resource.failure is not None:
                    self._note_failed_teardown(resource.index, resource.failure)
            self._watch_scope.cancel()

    async def _may_undo(self) -> bool:
        """Tell whether steps are to be undone; a run that is recorded and can be resumed is left as it is."""
        durable = self._run.durable
        return bool(self._run.program.compensations) and (durable is None or await durable.undoing.may_begin())

    def _keep_failure(self, index: int, error: BaseException) -> None:
        name = self._run.scheduler.name_of(index)
        if name not in self.teardown_failures:
            self.teardown_failures[name] = error
            self._run.tell("TeardownFailed", name, type(error).__qualname__)

    def _note_failed_teardown(self, index: int, error: BaseException) -> None:
        self._keep_failure(index, error)
        if self._run.policy_of(index).on_error != "continue":
            self.broken = self.broken or error
        self._note_fatal(error)

    async def _watch(self) -> None:
        """Report what is still being undone or torn down after each grace."""
        with self._watch_scope:
            while True:
                before = self._busy_with
                await anyio.sleep(self._run.program.settings.grace)
                if before is not None and before == self._busy_with:
                    self._run.report_stuck(before)

    def _note_fatal(self, error: BaseException) -> None:
        if not isinstance(error, Exception):
            self._run.crash(error)

    # Compensations

    def note_ended(self, index: int, state: Status, value: object) -> None:  # noqa: ARG002 - as a watcher is told
        """Keep the order in which steps succeed."""
        if state == Status.SUCCEEDED:
            self._completed.append(index)

    def note_expanded(self, step: int, count: int) -> None:
        """Nothing is owed for items that have not run."""

    async def _compensate(self) -> None:
        """Undo what succeeded, last first."""
        if self._run.durable is not None:
            self.compensated = list(self._run.durable.undoing.compensated)
            self._completed = self._run.durable.undoing.in_order_of_end(self._completed)
        for index, name, artifact in self._owed():
            self._busy_with = index
            error = _lost(name) if artifact is UNRECORDED else await self._undone(index, artifact)
            if error is None:
                self.compensated.append(name)
                if self._run.durable is not None:
                    self._run.durable.undoing.note_compensated(name)
                self._run.tell("StepCompensated", name)
            else:
                self.compensation_failures[name] = error
                self._run.tell("CompensationFailed", name, type(error).__qualname__)
                self._note_fatal(error)

    def _owed(self) -> Iterator[tuple[int, str, object]]:
        """Yield what is to be undone and has not been before: the step, its name and its artifact."""
        undone = frozenset(self.compensated)
        yield from (owed for owed in self._succeeded() if owed[1] not in undone)

    def _succeeded(self) -> Iterator[tuple[int, str, object]]:
        """Yield what has a compensation and succeeded, last first."""
        scheduler = self._run.scheduler
        for index in reversed(self._completed):
            artifact, name = scheduler.cells[index], scheduler.name_of(index)
            if self._run.policy_of(index).compensate is None or scheduler.state[index] != Status.SUCCEEDED:
                continue
            if index in scheduler.items:
                continue  # its items are undone
            if index in scheduler.wiring.fan_outs:  # a stand-in for the whole; it has no items
                items = cast("Batch[object]", artifact).succeeded
                yield from ((index, f"{name}[{number}]", items[number]) for number in sorted(items, reverse=True))
            else:
                yield index, name, artifact

    async def _undone(self, index: int, artifact: object) -> BaseException | None:
        """Compensate one step, with the retries of the step. Returns the last error."""
        run, attempt = self._run, 0
        # What a step's on_error makes of its failure says nothing of its compensation.
        policy = replace(run.policy_of(index), on_error="continue")
        while True:
            attempt += 1
            error = await self._attempted(index, policy, artifact)
            if not isinstance(error, Exception):
                return error
            question = after_failure(policy, error, attempt, run.draw)
            try:
                verdict = await run_in_context(run.inside.context_of(index), question)
            except BaseException as second:  # noqa: BLE001 - the user's own predicate; kept like any other error
                return second
            if not isinstance(verdict, Retry):
                return error
            await anyio.sleep(verdict.delay)

    async def _attempted(self, index: int, policy: Policy, artifact: object) -> BaseException | None:
        """Compensate once, in the context of the step, for as long as an attempt of the step may take."""
        name = self._run.scheduler.name_of(index)
        with CancelScope() as scope:
            if policy.timeout is not None:
                scope.deadline = anyio.current_time() + policy.timeout
            try:
                await run_in_context(self._run.inside.context_of(index), self._called(index, artifact))
            except BaseException as error:
                if not is_cancellation(error):
                    return error
                if scope.cancel_called:
                    raise
                stray = StrayCancellation(f"The compensation of {name!r} raised {type(error).__name__} by itself.")
                stray.__cause__ = error
                return stray
        if scope.cancelled_caught:
            return LayerTimeout(f"The compensation of {name!r} took longer than its timeout of {policy.timeout:g} s.")
        return None

    async def _called(self, index: int, artifact: object) -> object:
        """Call a step's compensation; a plain function where the run's plain functions run."""
        run = self._run
        compensation = run.program.compensations[run.scheduler.step_of(index)]
        arguments = compensation.arguments(artifact, run.scheduler.cells)
        if is_coroutine_function(compensation.function):
            return await awaited(compensation.function(*arguments))
        return await awaited(await self._executor.call(compensation.function, arguments, abandon=False))


def _lost(name: str) -> ArtifactUnavailable:
    return ArtifactUnavailable(
        f"{name!r} cannot be undone here: it is a resource, and what it yielded ended with the process that set it up; "
        "undo it by hand, and give compensate= to a step that returns what is to be undone."
    )
