"""The frozen nouns that every other module speaks of."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Generic, Literal

from typing_extensions import TypeVar

T_co = TypeVar("T_co", covariant=True)


class Unset(enum.Enum):
    """The type of `UNSET`, which marks what was left out where `None` is a value of its own."""

    UNSET = "unset"

    def __repr__(self) -> str:
        """Read well in signatures."""
        return "UNSET"


UNSET = Unset.UNSET


class Unrecorded(enum.Enum):
    """The type of `UNRECORDED`, which stands for what an earlier process yielded as a resource."""

    UNRECORDED = "unrecorded"

    def __repr__(self) -> str:
        """Read well in outcomes."""
        return "UNRECORDED"


UNRECORDED = Unrecorded.UNRECORDED


class Status(enum.IntEnum):
    """Where a step is. The numbers fit a byte, so a run keeps one bytearray of them."""

    PENDING = 0
    READY = 1
    RUNNING = 2
    RETRYING = 3
    SUCCEEDED = 4
    FAILED = 5
    SKIPPED = 6
    CANCELLED = 7


CancelledBy = Literal["caller", "abort", "deadline", "stop", "signal"]
RunStatus = Literal["succeeded", "failed", "cancelled"]
SkipCause = Literal["failure", "condition"]


@dataclass(frozen=True)
class Succeeded(Generic[T_co]):
    """The step returned.

    Attributes:
        artifact: The value its dependents receive.
    """

    artifact: T_co


@dataclass(frozen=True, slots=True)
class Failed:
    """The step failed for good.

    Attributes:
        error: The original exception object.
    """

    error: BaseException


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step was never called.

    Attributes:
        because: The step at the root: the one that failed, or whose artifact a condition refused.
        cause: Whether a failure or a condition closed the way.
    """

    because: str
    cause: SkipCause


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The step was cancelled, or never started because the run ended before.

    Attributes:
        by: What ended the run.
    """

    by: CancelledBy


Outcome = Succeeded[T_co] | Failed | Skipped | Cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended, apart from its steps.

    Attributes:
        by: What ended it early, or `None`.
        cpu: Seconds of CPU time that the process used meanwhile.
        cause: The name of the step or item that ended it, or `None`.
        stuck: The steps whose bodies went on for longer than the grace after they were cancelled.
        abandoned: The steps whose thread was left behind.
        compensated: The steps that were undone, in that order.
        compensation_failures: The errors of compensations, by name.
        teardown_failures: The errors of resources after their setup, by name.
        subscriber_failures: How often each subscriber raised, by its name.
        replayed: The steps and items whose outcome was taken from the journal.
    """

    by: CancelledBy | None
    cpu: float
    cause: str | None
    stuck: tuple[str, ...]
    abandoned: tuple[str, ...]
    compensated: tuple[str, ...]
    compensation_failures: Mapping[str, BaseException]
    teardown_failures: Mapping[str, BaseException]
    subscriber_failures: Mapping[str, int]
    replayed: tuple[str, ...] = ()

    def status(self, *, has_failures: bool) -> RunStatus:
        """Return how the run ended.

        Args:
            has_failures: Whether any of its steps failed.
        """
        if self.by in ("caller", "stop"):
            return "cancelled"
        return "failed" if self.by is not None or has_failures or self.teardown_failures else "succeeded"


@dataclass(frozen=True, slots=True)
class Location:
    """Where a unit is declared."""

    file: str
    line: int

    def __str__(self) -> str:
        """Give `file.py:line` with the file's bare name."""
        return f"{PurePath(self.file).name}:{self.line}"


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One call of a step's function.

    Attributes:
        step: The step's name; an item of a fan-out is `name[i]`.
        number: Which attempt it was, from 1.
        started: When it began, in seconds of the run's monotonic clock.
        ended: When it ended, on the same clock.
        error: What it raised, or `None`.
        cancelled: Whether it was cancelled with its run.
    """

    step: str
    number: int
    started: float
    ended: float
    error: BaseException | None = None
    cancelled: bool = False

    @property
    def duration(self) -> float:
        """How long the attempt took, in seconds."""
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Milestone:
    """A named point that a body reported.

    Attributes:
        step: The name of its step; an item of a fan-out is `name[i]`.
        name: The milestone's name.
        values: What the body said of it.
        time: When, in seconds of the run's monotonic clock.
    """

    step: str
    name: str
    values: Mapping[str, object]
    time: float
