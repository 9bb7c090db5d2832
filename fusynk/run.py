"""What a run gives back."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike, fspath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, cast, overload

from typing_extensions import TypeVar

from fusynk._core.markers import Artifact
from fusynk._core.memory import peak_memory
from fusynk._core.model import (
    UNRECORDED,
    AttemptRecord,
    Cancelled,
    Ending,
    Failed,
    Milestone,
    Outcome,
    RunStatus,
    Skipped,
    Status,
    Succeeded,
)
from fusynk._core.printable import printable
from fusynk._core.records import Records
from fusynk._core.report import Report, make_report
from fusynk._core.steps import find_step, unknown_step
from fusynk.errors import ArtifactUnavailable, UnknownStep

if TYPE_CHECKING:
    from fusynk.render.html import Account
    from fusynk.render.marks import Mark

A_co = TypeVar("A_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shape:
    """What `run.result` is made of.

    Attributes:
        form: The artifact of one target, a tuple of those of several, or a mapping by name.
        steps: The targets' steps.
    """

    form: Literal["one", "tuple", "mapping"]
    steps: tuple[int, ...]


class Run(Generic[A_co]):
    """One finished execution of a plan.

    `run[layer]` is the artifact of a step, `run.result` that of the plan's target.
    """

    def __init__(self, *, run_id: str, parent_id: str | None, records: Records, shape: Shape, ending: Ending) -> None:
        self._id = run_id
        self._parent_id = parent_id
        self._records = records
        self._scheduler = records.scheduler
        self._wiring = records.scheduler.wiring
        self._shape = shape
        self._ending = ending
        self._milestones = tuple(records.milestones)  # a thread that was left behind may report more

    @property
    def id(self) -> str:
        """The run's id."""
        return self._id

    @property
    def parent_id(self) -> str | None:
        """The id of the run in whose step this one was started, or `None`."""
        return self._parent_id

    @property
    def status(self) -> RunStatus:
        """How the run ended. Failures that it was told to continue after make it `failed`, too."""
        return self._ending.status(has_failures=bool(self.failures))

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return self.status == "succeeded"

    @property
    def cause(self) -> str | None:
        """The name of the step or item whose failure ended the run, or `None` if none did."""
        return self._ending.cause

    @property
    def stuck(self) -> tuple[str, ...]:
        """The steps whose bodies went on for longer than the grace after they were cancelled."""
        return self._ending.stuck

    @property
    def abandoned(self) -> tuple[str, ...]:
        """The steps whose thread was left behind when they were given up (`abandon_on_timeout=True`)."""
        return self._ending.abandoned

    @property
    def compensated(self) -> tuple[str, ...]:
        """The steps and items that were undone when the run ended early, in that order."""
        return self._ending.compensated

    @property
    def compensation_failures(self) -> Mapping[str, BaseException]:
        """What compensations raised, by the name of their step or item. What they should undo may still stand."""
        return self._ending.compensation_failures

    @property
    def teardown_failures(self) -> Mapping[str, BaseException]:
        """What resources raised after their setup, by name."""
        return self._ending.teardown_failures

    @property
    def subscriber_failures(self) -> Mapping[str, int]:
        """How often each subscriber raised, by its name."""
        return self._ending.subscriber_failures

    @property
    def replayed(self) -> tuple[str, ...]:
        """The steps and items that did not run, because the journal has their outcome, in plan order."""
        return self._ending.replayed

    @property
    def milestones(self) -> tuple[Milestone, ...]:
        """What bodies reported by `milestone(...)`, in order."""
        return self._milestones

    @property
    def result(self) -> A_co:
        """The artifact of the plan's target; a tuple for several, a mapping by name for a whole graph.

        Raises:
            ArtifactUnavailable: A target ended without one; the cause is the error behind it.
        """
        steps = self._shape.steps
        if self._shape.form == "one":
            return cast("A_co", self._artifact(steps[0]))
        if self._shape.form == "tuple":
            return cast("A_co", tuple(self._artifact(step) for step in steps))
        return cast("A_co", {self._wiring.names[step]: self._artifact(step) for step in steps})

    @overload
    def __getitem__(self, unit: Artifact[T], /) -> T: ...
    @overload
    def __getitem__(self, unit: str, /) -> Any: ...  # noqa: ANN401 - a name says nothing of the type
    def __getitem__(self, unit: object, /) -> object:
        """Return the artifact of a step.

        Args:
            unit: The unit, or the name of a step or of an item, `name[i]`.

        Raises:
            UnknownStep: The plan has no such step.
            ArtifactUnavailable: The step ended without one; the cause is the error behind it.
        """
        return self._artifact(self._index_of(unit))

    @overload
    def outcome(self, unit: Artifact[T], /) -> Outcome[T]: ...
    @overload
    def outcome(self, unit: str, /) -> Outcome[object]: ...
    def outcome(self, unit: object, /) -> object:
        """Return how a step ended.

        Args:
            unit: The unit, or the name of a step or of an item, `name[i]`.

        Raises:
            UnknownStep: The plan has no such step.
        """
        return self._outcome(self._index_of(unit))

    @cached_property
    def outcomes(self) -> Mapping[str, Outcome[object]]:
        """How every step ended, by name, in plan order."""
        return MappingProxyType({self._wiring.names[step]: self._outcome(step) for step in self._order})

    @cached_property
    def _order(self) -> tuple[int, ...]:
        return self._wiring.in_order(self._scheduler.discipline)

    @cached_property
    def failures(self) -> Mapping[str, BaseException]:
        """The errors of what failed for good, by name: steps in plan order, fan-outs by their items."""
        scheduler = self._scheduler
        found: dict[str, BaseException] = {}
        for step in self._order:
            items = [item for item in scheduler.items.get(step, ()) if scheduler.state[item] == Status.FAILED]
            for index in items or [step]:
                if scheduler.state[index] == Status.FAILED:
                    found[scheduler.name_of(index)] = cast("BaseException", scheduler.cells[index])
        return MappingProxyType(found)

    def raise_for_failures(self) -> None:
        """Raise what failed, if anything did.

        Raises:
            BaseExceptionGroup: Holds every error of `failures`.
        """
        if self.failures:
            message = f"{len(self.failures)} of the run's steps failed: {', '.join(list(self.failures)[:10])}"
            raise BaseExceptionGroup(message, list(self.failures.values()))

    def attempts(self, unit: Artifact[object] | str | None = None) -> tuple[AttemptRecord, ...]:
        """Return the attempts of a step with those of its items, or of all steps, in order of start.

        Args:
            unit: The unit, or the name of a step or item; left out for all.

        Raises:
            UnknownStep: The plan has no such step.
        """
        if unit is not None:
            return tuple(self._records.attempts_of(self._index_of(unit)))
        return tuple(self._records.all_attempts())

    @cached_property
    def report(self) -> Report:
        """The figures of the run; `str(run.report)` is the performance block."""
        return make_report(self._records, cpu=self._ending.cpu, peak_memory=peak_memory())

    def timeline(self, width: int | None = None) -> str:
        """Return the run drawn as text: a row for each step, its attempts as bars on one axis of time.

        Without box characters, if the standard output cannot encode them. Of more than 100 steps, those are shown
        that failed, were tried again or took longest; a name of more than 200 cells is shortened.

        Args:
            width: In cells, as far as names allow; left out, that of the terminal.
        """
        from fusynk.render.timeline import timeline  # noqa: PLC0415 - rich is loaded for those who draw only

        title = f"Run {self._id} {self.status}"
        return timeline(
            self._records, title=title, critical=self.report.critical_path, ending=self._ending, width=width
        )

    @overload
    def to_trace(self) -> str: ...
    @overload
    def to_trace(self, path: str | PathLike[str]) -> None: ...
    def to_trace(self, path: str | PathLike[str] | None = None) -> str | None:
        """Write the run as Chrome trace events in JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

        A file is replaced at once; only its owner may read it.

        Args:
            path: The file; left out, the text is returned.

        Raises:
            OSError: The file cannot be written; what was there is as it was.
        """
        from fusynk._core.saving import write_atomically  # noqa: PLC0415 - few runs are written
        from fusynk.render.trace import trace  # noqa: PLC0415 - as above

        text = trace(self._records, run_id=self._id, status=self.status)
        if path is None:
            return text
        write_atomically(fspath(path), text.encode())
        return None

    @overload
    def to_html(self) -> str: ...
    @overload
    def to_html(self, path: str | PathLike[str]) -> None: ...
    def to_html(self, path: str | PathLike[str] | None = None) -> str | None:
        """Write the run as one page of HTML: figures, failures, timeline, graph, milestones, and all of it as JSON.

        The page runs no program and loads nothing. A file is replaced at once; only its owner may read it.

        Args:
            path: The file; left out, the text is returned.

        Raises:
            OSError: The file cannot be written; what was there is as it was.
        """
        from fusynk._core.saving import write_atomically  # noqa: PLC0415 - few runs are written
        from fusynk.render.html import page  # noqa: PLC0415 - as above

        if path is None:
            return page(self._account)
        write_atomically(fspath(path), page(self._account).encode())
        return None

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """Show the timeline in a notebook."""
        from fusynk.render import html, pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.mimebundle(repr(self), "text/html", html.fragment(self._account), include, exclude)

    @property
    def _account(self) -> "Account":
        from fusynk.render.html import Account  # noqa: PLC0415 - loaded when something is drawn

        return Account(self._id, self._parent_id, self._records, self._ending, self.report, self.failures)

    def draw(self, *, width: int | None = None, colour: bool = False, ascii_only: bool | None = None) -> str:
        """Return the dependency graph as text, with the state of each step.

        Args:
            width: Cells that there are; `None` for as many as it takes.
            colour: Whether to paint steps in the colours of their states.
            ascii_only: Whether to keep to ASCII; left out, if the standard output cannot encode boxes.
        """
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_text(self._wiring, self._states, width=width, colour=colour, ascii_only=ascii_only)

    def to_svg(self) -> str:
        """Return the dependency graph as an SVG document, with the state of each step."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_svg(self._wiring, self._states)

    def to_mermaid(self) -> str:
        """Return the dependency graph as a Mermaid flowchart, with the state of each step."""
        from fusynk.render import pictures  # noqa: PLC0415 - loaded when something is drawn

        return pictures.as_mermaid(self._wiring, self._states)

    @property
    def _states(self) -> "dict[str, Mark]":
        from fusynk.render.states import mark_of  # noqa: PLC0415 - loaded when something is drawn

        return {self._wiring.names[step]: mark_of(self._scheduler.state[step]) for step in self._wiring.steps()}

    def __repr__(self) -> str:
        """Say how the run ended, without showing values."""
        return f"<Run {printable(self._id)} {self.status}>"

    def _index_of(self, unit: object) -> int:
        found = find_step(self._wiring, unit)
        if found is None and isinstance(unit, str):
            found = self._item_of(unit)
        if found is None:
            raise UnknownStep(unknown_step(self._wiring, unit))
        return found

    def _item_of(self, name: str) -> int | None:
        owner, bracket, number = name.removesuffix("]").rpartition("[")
        items = self._scheduler.items.get(self._wiring.index.get(owner, -1))
        if not bracket or items is None or not number.isdecimal() or int(number) >= len(items):
            return None
        return items[int(number)]

    def _outcome(self, index: int) -> Outcome[object]:
        return cast("Outcome[object]", self._scheduler.outcome_of(index))

    def _artifact(self, index: int) -> object:
        outcome = self._outcome(index)
        name = self._scheduler.name_of(index)
        match outcome:
            case Succeeded(artifact):
                if artifact is UNRECORDED:
                    message = f"{name!r} has no artifact here: it is a resource, and an earlier process used it."
                    raise ArtifactUnavailable(message)
                return artifact
            case Failed(error):
                message = f"{name!r} has no artifact: it failed with {type(error).__name__}. Ask run.outcome({name!r})."
                raise ArtifactUnavailable(message) from error
            case Skipped(because, cause):
                why = "failed" if cause == "failure" else "did not satisfy a condition"
                message = f"{name!r} has no artifact: it was skipped because {because!r} {why}."
                raise ArtifactUnavailable(message) from self.failures.get(because)
            case Cancelled(by):
                message = f"{name!r} has no artifact: it was cancelled (by {by})."
                raise ArtifactUnavailable(message)
