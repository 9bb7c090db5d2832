"""What happened in a run, as facts in the past tense. Views of the records, built only for those who subscribe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from fusynk._core.model import CancelledBy, RunStatus, SkipCause
from fusynk._core.numbers import is_positive_count
from fusynk.errors import InvalidOption, shown


class Event(msgspec.Struct, frozen=True, tag_field="type", tag=True):
    """A fact of a run.

    Attributes:
        sequence: Its number among the events of its run, from 1 without a hole.
        time: When, in seconds of the run's monotonic clock, as in attempt records.
        run_id: The id of the run.
    """

    sequence: int
    time: float
    run_id: str


class RunStarted(Event, frozen=True):
    """A run began.

    Attributes:
        steps: The names of its steps, in plan order.
        parent_id: The id of the run around it, or `None`.
    """

    steps: tuple[str, ...]
    parent_id: str | None


class RunEnded(Event, frozen=True, gc=False):
    """A run ended, and nothing of it is alive.

    Attributes:
        status: How.
        by: What ended it early, or `None`.
    """

    status: RunStatus
    by: CancelledBy | None


class StepEvent(Event, frozen=True):
    """A fact of one step.

    Attributes:
        step: Its name; an item of a fan-out is `name[i]`.
    """

    step: str


class StepExpanded(StepEvent, frozen=True, gc=False):
    """A fan-out learned its items.

    Attributes:
        count: How many there are.
    """

    count: int


class AttemptStarted(StepEvent, frozen=True, gc=False):
    """A body began.

    Attributes:
        attempt: Which attempt it is, from 1.
    """

    attempt: int = 1


class AttemptFailed(StepEvent, frozen=True, gc=False):
    """A body raised, or took longer than its timeout.

    Attributes:
        attempt: Which attempt it was.
        error: The type of what it raised; what it says may be a secret.
    """

    attempt: int
    error: str


class RetryScheduled(StepEvent, frozen=True, gc=False):
    """A step waits for its next attempt.

    Attributes:
        attempt: Which attempt that will be.
        delay: In so many seconds.
    """

    attempt: int
    delay: float


class StepSucceeded(StepEvent, frozen=True, gc=False):
    """A step has its artifact.

    Attributes:
        attempts: After so many attempts; 0 for a fan-out, whose items are called, and where no body was.
        recovered: Whether its `on_error` found the artifact.
    """

    attempts: int = 1
    recovered: bool = False


class StepFailed(StepEvent, frozen=True, gc=False):
    """A step failed for good.

    Attributes:
        attempts: After so many attempts; 0 where its body was never called.
        error: The type of its error.
    """

    attempts: int
    error: str


class StepSkipped(StepEvent, frozen=True, gc=False):
    """A step will never be called.

    Attributes:
        because: The step at the root.
        cause: Whether that failed, or a condition refused its artifact.
    """

    because: str
    cause: SkipCause


class StepCancelled(StepEvent, frozen=True, gc=False):
    """A step was cancelled, or will never start.

    Attributes:
        by: What ended the run.
    """

    by: CancelledBy


class StepCompensated(StepEvent, frozen=True, gc=False):
    """What a step had done was undone."""


class CompensationFailed(StepEvent, frozen=True, gc=False):
    """What a step had done could not be undone.

    Attributes:
        error: The type of the compensation's error.
    """

    error: str


class TeardownFailed(StepEvent, frozen=True, gc=False):
    """A resource failed after its setup.

    Attributes:
        error: The type of its error.
    """

    error: str


class BodyStuck(StepEvent, frozen=True, gc=False):
    """A body has outlived its grace."""


class ThreadAbandoned(StepEvent, frozen=True, gc=False):
    """A thread was left behind; its function goes on."""


class MilestoneReached(StepEvent, frozen=True):
    """A body reported a named point.

    Attributes:
        name: Its name.
        values: What the body said of it: the very objects, which it may change later.
    """

    name: str
    values: Mapping[str, object]


class EventsDropped(Event, frozen=True, gc=False):
    """So many events before this one are missing for this listener; `handle.snapshot()` is the truth.

    They were too many for its buffer, or happened before it began to listen. Its sequence number is that of the last
    one that is missing, its time that of the next one.

    Attributes:
        count: How many.
    """

    count: int


# What a decoder must know: `msgspec.json.Decoder(AnyEvent)` reads what `msgspec.json.encode(event)` wrote.
AnyEvent: TypeAlias = (
    RunStarted
    | RunEnded
    | StepExpanded
    | AttemptStarted
    | AttemptFailed
    | RetryScheduled
    | StepSucceeded
    | StepFailed
    | StepSkipped
    | StepCancelled
    | StepCompensated
    | CompensationFailed
    | TeardownFailed
    | BodyStuck
    | ThreadAbandoned
    | MilestoneReached
    | EventsDropped
)
Listener: TypeAlias = Callable[[Event], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """How a function is told of events, where a plain function would be called at once.

    Attributes:
        function: Called with each event.
        threaded: Whether it runs in a thread of its own, behind a buffer, so that it may be slow.
        buffer: How many step events that buffer holds; of more, the oldest are dropped and counted.
    """

    function: Listener = field(kw_only=False)
    threaded: bool = True
    buffer: int = 1024

    def __post_init__(self) -> None:
        """Refuse a buffer that could hold nothing."""
        check_buffer("Subscriber", self.buffer)


def check_buffer(caller: str, size: object) -> None:
    """Check the size of a buffer.

    Args:
        caller: Who is asking, as written: "handle.events".
        size: How many step events it shall hold.

    Raises:
        InvalidOption: It is no whole number from 1 up.
    """
    if not is_positive_count(size):
        raise InvalidOption(f"{caller}(buffer={shown(size)}): buffer must be a whole number from 1 up.")
