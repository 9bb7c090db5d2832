"""The options of a manager: what they may be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from fusynk._core.numbers import check_seconds
from fusynk._core.options import AdjustableOptions, PlanOptions, PlanSettings, plan_settings
from fusynk._core.schedule_options import ZONE_WANTED
from fusynk._core.zones import find_zone, zone_hint
from fusynk.errors import InvalidOption, UnknownOption, did_you_mean, shown
from fusynk.manager.events import ManagerListener
from fusynk.manager.store import Store

FOR_THREADS = 0.5  # seconds that what was cancelled is given to leave its threads, before they are left behind

_CALLER = "Manager"


class Policy(AdjustableOptions, total=False):
    """The keywords of `manager.update`."""

    every: float | None
    jitter: float
    cron: str | None
    timezone: str | None
    max_runs: int | None
    heartbeat: float | None


class ManagerOptions(TypedDict, total=False):
    """The keywords of `Manager`.

    Attributes:
        store: Where the state of units is kept over restarts; without one it is not.
        grace: Seconds that `stop()` gives to what is running.
        scan_every: Seconds between two scans of the watchdog.
        stale_after: Seconds that a unit without a heartbeat may run without a sign of life; `None` for any.
        cancel_stale: Whether the watchdog cancels what it finds stale. It reports in any case.
        unpause_after: Seconds after which the watchdog resumes what is paused; `None` for never.
        stats_every: Seconds between two `StatsTaken` events; `None` for none.
        timezone: Where cron expressions are read that name no zone, as in "Europe/Berlin".
        subscribers: Functions that are told of all events.
        wall_clock: Returns the seconds since the epoch.
        dashboard: Whether to draw the units live at the end of the terminal, if the standard error leads to one.
        seed: Makes the jitter of schedules the same each time.
        options: Options of the plans that units are compiled to, such as `retries`.
    """

    store: Store | None
    grace: float
    scan_every: float
    stale_after: float | None
    cancel_stale: bool
    unpause_after: float | None
    stats_every: float | None
    timezone: str
    subscribers: Sequence[ManagerListener]
    wall_clock: Callable[[], float]
    dashboard: bool
    seed: int | str | None
    options: PlanOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagerSettings:
    """The options of a manager, completed by their defaults. See `ManagerOptions`.

    Raises:
        InvalidOption: A value makes no sense.
        UnknownOption: A plan has no such option.
    """

    store: Store | None = None
    grace: float = 5.0
    scan_every: float = 5.0
    stale_after: float | None = None
    cancel_stale: bool = False
    unpause_after: float | None = None
    stats_every: float | None = None
    timezone: str = "UTC"
    subscribers: Sequence[ManagerListener] = ()
    wall_clock: Callable[[], float] = time.time
    dashboard: bool = False
    seed: int | str | None = None
    options: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        check_seconds(_CALLER, "grace", self.grace)
        check_seconds(_CALLER, "scan_every", self.scan_every, positive=True)
        for name in ("stale_after", "unpause_after", "stats_every"):
            if getattr(self, name) is not None:
                check_seconds(_CALLER, name, getattr(self, name), positive=True)
        if find_zone(self.timezone) is None:
            hint = zone_hint(self.timezone)
            message = f"Manager(timezone={shown(self.timezone)}): timezone must be {ZONE_WANTED}.{hint}"
            raise InvalidOption(message)
        given = plan_settings("Manager(options=...)", PlanSettings(), dict(self.options))
        if given.run_id is not None and given.journal is not None:
            message = (
                f"Manager(options={{'run_id': {given.run_id!r}}}): with a journal each run of a unit needs an id of its"
                " own, or it would give the outcomes of the first one back; leave run_id out."
            )
            raise InvalidOption(message)


def manager_settings(given: ManagerOptions) -> ManagerSettings:
    """Check the keywords of `Manager` and return them frozen.

    Raises:
        UnknownOption: A keyword does not exist.
        InvalidOption: A value makes no sense.
    """
    known = sorted(ManagerOptions.__annotations__)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f" It takes: {', '.join(known)}."
            raise UnknownOption(f"Manager has no option {name!r}.{hint}")
    return ManagerSettings(**given)
