"""A registered unit: what it is, what it may do, and what has become of it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fusynk._core.options import UnitOptions
from fusynk._core.registry import AnyLayer
from fusynk.manager.schedule import Due, Schedule
from fusynk.manager.status import UnitStatus, changed
from fusynk.plan import Plan

if TYPE_CHECKING:
    from fusynk.handle import RunHandle
    from fusynk.run import Run

UnitKind = Literal["layer", "worker", "process"]

_STATE = (
    "status",
    "enabled",
    "runs",
    "failures",
    "scheduled_runs",
    "missed",
    "paused_since",
    "wall_started",
    "wall_ended",
    "duration",
    "error",
    "milestone",
    "is_known",
    "is_set",
    "position",
)


class UnitState(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be said of a registered unit now. Times are seconds since the epoch.

    Attributes:
        name: Its name.
        kind: How it was declared.
        status: What it does.
        enabled: Whether it may run.
        runs: How many of its runs have begun.
        failures: How many of them failed.
        scheduled_runs: How many of them its schedule started.
        missed: How many points of its schedule were left out.
        last_started: When its last run began, or `None`.
        last_ended: When its last run ended, or `None`.
        last_duration: Seconds that this took, or `None`.
        last_error: The type of what its last failed run raised, or `None` if none failed since the last success.
        last_milestone: What it has reported last, or `None`.
        next_run: When its schedule is due, or `None`.
        running_for: Seconds since its run began, or `None`.
        run_id: The run that is going on, or `None`.
        is_pausing: Whether it will be paused when that run has ended.
        description: What was said of it.
        tags: Its tags.
    """

    name: str
    kind: UnitKind
    status: UnitStatus
    enabled: bool
    runs: int
    failures: int
    scheduled_runs: int
    missed: int
    last_started: float | None
    last_ended: float | None
    last_duration: float | None
    last_error: str | None
    last_milestone: str | None
    next_run: float | None
    running_for: float | None
    run_id: str | None
    is_pausing: bool
    description: str
    tags: tuple[str, ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """The state of a registered unit. Times are of the loop's clock, unless their name says wall.

    Attributes:
        name: Its name.
        unit: The unit.
        instance: What it is bound to, or `None`.
        options: Its options, with what was updated.
        plan: What a run of it runs.
        schedule: When it is due, or `None`.
        status: What it does; set by `become` only.
        enabled: Whether it may run.
        is_pausing: Whether it is to be paused when its run has ended.
        runs: How many runs have begun.
        failures: How many failed.
        scheduled_runs: How many its schedule started.
        missed: How many points of its schedule were left out.
        due: When it starts next, or `None` if nothing is scheduled.
        tick: The point of its schedule that was started last.
        handle: The run that is going on, while its body may be reached.
        started: When that run began.
        last_sign: When it last gave a sign of life.
        reported_stale: The limit that its run was last reported to have passed, so that it is reported once.
        paused_since: When it was paused.
        wall_started: When its last run began.
        wall_ended: When its last run ended.
        duration: Seconds that it took.
        error: The type of what the last run raised.
        milestone: What was last reported.
        last_run: The last run that ended in this process, or `None`.
        is_known: Whether what the store knows of it has been taken over.
        is_set: Whether it ran, or somebody said what it may do, before that.
        position: Where its schedule was when the manager was stopped; see `Schedule.position`.
    """

    name: str
    unit: AnyLayer
    instance: object
    options: UnitOptions
    plan: Plan[Any, Any]
    schedule: Schedule | None
    status: UnitStatus = "idle"
    enabled: bool = True
    is_pausing: bool = False
    runs: int = 0
    failures: int = 0
    scheduled_runs: int = 0
    missed: int = 0
    due: Due | None = None
    tick: float | None = None
    handle: "RunHandle[Any] | None" = None
    started: float = 0.0
    last_sign: float = 0.0
    reported_stale: bool = False
    paused_since: float = 0.0
    wall_started: float | None = None
    wall_ended: float | None = None
    duration: float | None = None
    error: str | None = None
    milestone: str | None = None
    last_run: "Run[Any] | None" = None
    is_known: bool = False
    is_set: bool = False
    position: float | None = None

    @property
    def kind(self) -> UnitKind:
        """How it was declared."""
        return self.unit.unit.kind

    def is_of(self, unit: AnyLayer, instance: object) -> bool:
        """Tell whether this is the entry of a unit.

        Args:
            unit: The unit.
            instance: What it is bound to, or `None`.
        """
        return self.unit is unit and self.instance is instance

    @property
    def is_held(self) -> bool:
        """Whether it is paused, or is to be when its run has ended."""
        return self.status == "paused" or self.is_pausing

    @property
    def may_run(self) -> bool:
        """Whether it is enabled and not held; it may be running."""
        return self.enabled and not self.is_held

    @property
    def may_be_scheduled(self) -> bool:
        """Whether its schedule still has a run to give."""
        most = self.options.max_runs
        return self.schedule is not None and (most is None or self.scheduled_runs < most)

    def take_over(self, former: "Entry") -> None:
        """Have the state of another one that does not run.

        Args:
            former: What it replaces.
        """
        for name in _STATE:
            setattr(self, name, getattr(former, name))

    def become(self, status: UnitStatus) -> None:
        """Change the status.

        Args:
            status: The new one.
        """
        self.status = changed(self.status, status)

    def seen(self, now: float, wall: float) -> UnitState:
        """Return what is to be said of it.

        Args:
            now: The time of the loop's clock.
            wall: The time of the wall clock, in seconds since the epoch.
        """
        running = self.status == "running"
        return UnitState(
            name=self.name,
            kind=self.kind,
            status=self.status,
            enabled=self.enabled,
            runs=self.runs,
            failures=self.failures,
            scheduled_runs=self.scheduled_runs,
            missed=self.missed,
            last_started=self.wall_started,
            last_ended=self.wall_ended,
            last_duration=self.duration,
            last_error=self.error,
            last_milestone=self.milestone,
            next_run=self._next_run(now, wall),
            running_for=now - self.started if running else None,
            run_id=self.handle.id if running and self.handle is not None else None,
            is_pausing=self.is_pausing,
            description=self.options.description,
            tags=self.options.tags,
        )

    def _next_run(self, now: float, wall: float) -> float | None:
        if self.due is None or self.schedule is None:
            return None
        return self.due.at if self.schedule.clock == "wall" else wall + (self.due.at - now)
