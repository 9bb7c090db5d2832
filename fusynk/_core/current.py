"""What a body can ask about itself."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """The step that is running, as seen from inside its body.

    Attributes:
        run_id: The id of the run.
        name: The step's name; an item of a fan-out is `name[i]`.
        attempt: Which attempt this is, from 1.
    """

    run_id: str
    name: str
    attempt: int
    _asked_to_stop: Callable[[], bool] = field(repr=False)

    @property
    def idempotency_key(self) -> str:
        """A text that is the same for every attempt of this step in this run."""
        return f"{self.run_id}/{self.name}"

    @property
    def cancelled(self) -> bool:
        """Whether the step was asked to stop; for bodies in threads, which nothing can interrupt."""
        return self._asked_to_stop()


class RunningSteps(Protocol):
    """What describes the steps of one run while they are alive."""

    depth: int
    run_id: str

    def describe_step(self, index: int) -> StepContext:
        """Return what the body of that step may know."""
        ...

    def note_milestone(self, index: int, name: str, values: Mapping[str, object]) -> None:
        """Keep what the body of that step reports."""
        ...


RUN: ContextVar[RunningSteps | None] = ContextVar("fusynk_run", default=None)
STEP: ContextVar[int | None] = ContextVar("fusynk_step", default=None)


def running_step() -> StepContext | None:
    """Return the step whose body is running, or `None` outside the body of a step."""
    run, index = RUN.get(), STEP.get()
    return None if run is None or index is None else run.describe_step(index)


def current_step() -> StepContext:
    """Return the step whose body is running, in coroutines, threads and child tasks alike.

    Raises:
        LookupError: Called outside the body of a step.
    """
    step = running_step()
    if step is None:
        message = "current_step() was called outside a running step; call it inside the body of a unit."
        raise LookupError(message)
    return step


def milestone(name: str, /, **values: object) -> None:
    """Report a named point from inside a body: a coroutine, a thread, a child task or an OS process.

    It is kept in `run.milestones` and told to subscribers as `MilestoneReached`. Outside a running step, as in an
    ordinary call of a decorated function, it does nothing.

    Args:
        name: The milestone's name.
        values: What is to be said of it.
    """
    run, index = RUN.get(), STEP.get()
    if run is not None and index is not None:
        run.note_milestone(index, name, values)
