"""What happened in a run, as facts in the past tense. Views of the records, built only for those who subscribe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from fusynk._core.model import CancelledBy, RunStatus, SkipCause


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
        attempts: After so many attempts.
        recovered: Whether its `on_error` found the artifact.
    """

    attempts: int = 1
    recovered: bool = False


class StepFailed(StepEvent, frozen=True, gc=False):
    """A step failed for good.

    Attributes:
        attempts: After so many attempts.
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
        values: What the body said of it.
    """

    name: str
    values: Mapping[str, object]


class EventsDropped(Event, frozen=True, gc=False):
    """A subscriber was too slow: so many events before this one are missing for it; `handle.snapshot()` is the truth.

    It has the sequence number of the last one that is missing.

    Attributes:
        count: How many.
    """

    count: int


Listener: TypeAlias = Callable[[Event], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """How a function is told of events, where a plain function would be called at once.

    Attributes:
        function: Called with each event.
        threaded: Whether it runs in a thread of its own, behind a buffer, so that it may be slow.
        buffer: How many events that buffer holds; of more, the oldest step events are dropped and counted.
    """

    function: Listener
    threaded: bool = True
    buffer: int = 1024
