"""What happened to a manager's units, as facts in the past tense."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec


class ManagerEvent(msgspec.Struct, frozen=True, tag_field="type", tag=True):
    """A fact.

    Attributes:
        sequence: Its number among the events of its manager, from 1 without a hole.
        time: When, in seconds since the epoch.
    """

    sequence: int
    time: float


class ManagerStarted(ManagerEvent, frozen=True):
    """Schedules are kept from now on."""


class ManagerStopped(ManagerEvent, frozen=True):
    """Nothing runs any more.

    Attributes:
        cancelled: The units whose runs had not ended within the grace.
    """

    cancelled: tuple[str, ...]


class UnitEvent(ManagerEvent, frozen=True):
    """A fact of one unit.

    Attributes:
        unit: Its name.
    """

    unit: str


class UnitRegistered(UnitEvent, frozen=True):
    """A unit was registered.

    Attributes:
        kind: How it was declared.
    """

    kind: Literal["layer", "worker", "process"]


class UnitReleased(UnitEvent, frozen=True):
    """A unit was released."""


class UnitStarted(UnitEvent, frozen=True):
    """A run of a unit began.

    Attributes:
        run_id: The run.
        is_scheduled: Whether its schedule started it, and not a call.
    """

    run_id: str
    is_scheduled: bool


class UnitCompleted(UnitEvent, frozen=True):
    """A run succeeded.

    Attributes:
        run_id: The run.
        duration: Seconds.
    """

    run_id: str
    duration: float


class UnitFailed(UnitEvent, frozen=True):
    """A run failed for good.

    Attributes:
        run_id: The run.
        duration: Seconds.
        error: The type of what it raised.
    """

    run_id: str
    duration: float
    error: str


class UnitCancelled(UnitEvent, frozen=True):
    """A run was cancelled.

    Attributes:
        run_id: The run.
        duration: Seconds.
    """

    run_id: str
    duration: float


class UnitPaused(UnitEvent, frozen=True):
    """A unit was paused. If it was running, this is told when its run has ended."""


class UnitResumed(UnitEvent, frozen=True):
    """A unit was resumed.

    Attributes:
        by: Whether somebody called, or the watchdog was told to.
    """

    by: Literal["caller", "watchdog"]


class UnitEnabled(UnitEvent, frozen=True):
    """A unit may run again."""


class UnitDisabled(UnitEvent, frozen=True):
    """A unit does not run until it is enabled."""


class UnitUpdated(UnitEvent, frozen=True):
    """The policy of a unit was changed.

    Attributes:
        options: The names of what was set.
    """

    options: tuple[str, ...]


class TicksMissed(UnitEvent, frozen=True):
    """A schedule called for runs while there could be none; one run stands for all of them.

    Attributes:
        count: How many were left out.
    """

    count: int


class ScheduleEnded(UnitEvent, frozen=True):
    """A unit has had all the runs that `max_runs` gives its schedule.

    Attributes:
        runs: How many.
    """

    runs: int


class UnitStale(UnitEvent, frozen=True):
    """A run has shown no sign of life for longer than its unit may.

    Attributes:
        run_id: The run.
        seconds: For how long.
        limit: What its heartbeat, or the manager's `stale_after`, allows.
        is_cancelled: Whether the watchdog cancels it.
    """

    run_id: str
    seconds: float
    limit: float
    is_cancelled: bool


class UnitInterrupted(UnitEvent, frozen=True):
    """The store says that a unit was running when its process died.

    Attributes:
        started: When that run began, in seconds since the epoch, if it is known.
    """

    started: float | None


class MilestoneReached(ManagerEvent, frozen=True):
    """A body, or the program around the manager, reported something.

    Attributes:
        name: The milestone's name.
        values: What was said of it.
        unit: The unit that was running, or `None`.
        step: The step that reported it, or `None`.
    """

    name: str
    values: Mapping[str, object]
    unit: str | None = None
    step: str | None = None


class StatsTaken(ManagerEvent, frozen=True):
    """The figures of the manager, taken every `stats_every` seconds.

    Attributes:
        stats: The figures.
    """

    stats: "Stats"


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a manager and its process.

    Attributes:
        uptime: Seconds since the manager was started; 0 before.
        units: How many are registered.
        by_status: How many of them have each status.
        runs: How many runs have begun.
        failures: How many of these failed.
        missed: How many ticks of schedules were left out.
        cpu: Share of one CPU that the process has used since the last time; 1.0 is one CPU. `None` the first time.
        cpu_time: Seconds of CPU time that the process has used.
        memory: Bytes that the process holds, or at most has held where the platform tells no more; `None` if neither.
        threads: How many threads the process has.
    """

    uptime: float
    units: int
    by_status: Mapping[str, int]
    runs: int
    failures: int
    missed: int
    cpu: float | None
    cpu_time: float
    memory: int | None
    threads: int


AnyManagerEvent: TypeAlias = (
    ManagerStarted
    | ManagerStopped
    | UnitRegistered
    | UnitReleased
    | UnitStarted
    | UnitCompleted
    | UnitFailed
    | UnitCancelled
    | UnitPaused
    | UnitResumed
    | UnitEnabled
    | UnitDisabled
    | UnitUpdated
    | TicksMissed
    | ScheduleEnded
    | UnitStale
    | UnitInterrupted
    | MilestoneReached
    | StatsTaken
)
ManagerListener: TypeAlias = Callable[[ManagerEvent], object]
