"""When a unit is due: arithmetic only. The time comes in from outside, and so does chance."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from fusynk._core.numbers import is_seconds
from fusynk._core.options import UnitOptions
from fusynk._core.schedule_options import INTERVAL_WANTED, is_interval
from fusynk.errors import InvalidOption, shown
from fusynk.manager.cron import Pattern, cron_pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """When a unit is to start next. Times are those of the schedule's clock.

    Attributes:
        at: When it is to start; later than the tick by the jitter.
        tick: The point of the schedule that this start stands for. `Schedule.after` takes it to go on from there.
        missed: How many earlier points passed without a start of their own.
    """

    at: float
    tick: float
    missed: int = 0


class Schedule(Protocol):
    """Points in time, and which of them is next. All times that passed while a unit could not start count as one."""

    @property
    def clock(self) -> Literal["monotonic", "wall"]:
        """Which clock its times are of. One who sleeps until a time of the wall must look again: it may be set."""
        ...

    def first(self, now: float, draw: Callable[[], float]) -> Due | None:
        """Return the first start of a unit that never ran, or `None` if there is none.

        Args:
            now: The time of the schedule's clock.
            draw: Returns a number in [0, 1); what makes the jitter.
        """
        ...

    def after(self, tick: float, now: float, draw: Callable[[], float]) -> Due | None:
        """Return the start that follows one that happens now, or `None` if there is none.

        It is strictly later than now. `missed` counts the points after the tick and up to now, which the start of now
        stands for as well. They are counted anew each time it is asked with that tick; see `reached`.

        Args:
            tick: The `Due.tick` that is started now.
            now: The time of the schedule's clock.
            draw: Returns a number in [0, 1); what makes the jitter.
        """
        ...

    def reached(self, tick: float, now: float) -> float:
        """Return the tick to go on from once a unit has been started now, so that no point counts again.

        It is the last point up to now, or a later time with no point in between.

        Args:
            tick: The `Due.tick` that is started now.
            now: The time of the schedule's clock.
        """
        ...

    def resumed(self, position: float, wall: float, now: float, draw: Callable[[], float]) -> Due | None:
        """Return the next start of a unit that ran in an earlier process, or `None` if there is none.

        Where a point passed meanwhile, that is now; `missed` counts the points beyond that one.

        Args:
            position: What `position` returned then.
            wall: The time of the wall clock, in seconds since the epoch.
            now: The time of the schedule's clock.
            draw: Returns a number in [0, 1); what makes the jitter.
        """
        ...

    def position(self, tick: float, wall: float, now: float) -> float:
        """Return the wall-clock time of a tick, which a store can keep.

        Args:
            tick: What `reached` returned at the last start.
            wall: The time of the wall clock, in seconds since the epoch.
            now: The time of the schedule's clock.
        """
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A point each so many seconds, from start to start, the first one at once.

    The points stay where they are however late a start is, by jitter or by load.

    Attributes:
        seconds: From one point to the next.
        jitter: Each start is later than its point by a random part of this; at most the interval.

    Raises:
        InvalidOption: They are negative, too large or no numbers.
    """

    seconds: float
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not is_interval(self.seconds):
            raise InvalidOption(f"Every(seconds={shown(self.seconds)}): seconds must be {INTERVAL_WANTED}.")
        if not is_seconds(self.jitter) or self.jitter > self.seconds:
            wanted = f"a number of seconds from 0 to the interval, {self.seconds!r}"
            raise InvalidOption(f"Every(jitter={shown(self.jitter)}): jitter must be {wanted}.")

    @property
    def clock(self) -> Literal["monotonic"]:
        """See `Schedule`."""
        return "monotonic"

    def first(self, now: float, draw: Callable[[], float]) -> Due:
        """See `Schedule`."""
        return self._due(now, draw)

    def after(self, tick: float, now: float, draw: Callable[[], float]) -> Due:
        """See `Schedule`."""
        passed = self._passed(tick, now)
        return self._due(tick + (passed + 1) * self.seconds, draw, missed=passed)

    def reached(self, tick: float, now: float) -> float:
        """See `Schedule`."""
        return tick + self._passed(tick, now) * self.seconds

    def resumed(self, position: float, wall: float, now: float, draw: Callable[[], float]) -> Due:
        """See `Schedule`. If the wall clock was set back meanwhile, the unit waits no longer than one interval."""
        since = wall - position
        tick = now - since if 0 <= since < math.inf else now
        passed = self._passed(tick, now)
        if passed == 0:
            return self._due(tick + self.seconds, draw)
        due = self._due(tick + passed * self.seconds, draw, missed=passed - 1)
        return Due(at=max(due.at, now), tick=due.tick, missed=due.missed)

    def position(self, tick: float, wall: float, now: float) -> float:
        """See `Schedule`."""
        return wall - (now - tick)

    def _due(self, tick: float, draw: Callable[[], float], missed: int = 0) -> Due:
        return Due(at=tick + self.jitter * draw() if self.jitter else tick, tick=tick, missed=missed)

    def _passed(self, tick: float, now: float) -> int:
        """Return how many points there are after a tick and up to now."""
        passed = max(0, math.floor((now - tick) / self.seconds))
        # The division rounds, so that it may be off by one next to a point.
        if passed and tick + passed * self.seconds > now:
            return passed - 1
        return passed + 1 if tick + (passed + 1) * self.seconds <= now else passed


# How far a clock may be set back and its points still count as past; a correction by more makes them count anew.
# It is what Debian's cron does.
LONGEST_STEP_BACK = 3 * 3600.0


@dataclass(frozen=True, slots=True)
class Cron:
    """The points of a cron expression on the wall clock of a time zone.

    Five fields, or six with the seconds before them. Names of days and months, ranges, lists, steps, `L` for the last
    day and `MON#2` for the second Monday are understood. A day may match the fields of day and weekday in either way,
    unless one of these begins with a star.

    Where a clock is put forward or back, an expression with a fixed hour and minute is due once: at the end of the gap
    if its time is skipped, the first time if its time is there twice. With a star in the hour or the minute, it is due
    at all times that exist.

    Attributes:
        text: The expression.
        timezone: The IANA name of the zone.

    Raises:
        InvalidOption: There is no such expression or zone, or it is never due.
        CronUnavailable: The library that reads it is not installed.
    """

    text: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        _ = self._pattern

    @property
    def _pattern(self) -> Pattern:
        return cron_pattern(self.text, self.timezone)

    @property
    def clock(self) -> Literal["wall"]:
        """See `Schedule`."""
        return "wall"

    def first(self, now: float, draw: Callable[[], float]) -> Due | None:
        """See `Schedule`."""
        return self.after(now, now, draw)

    def after(self, tick: float, now: float, draw: Callable[[], float]) -> Due | None:  # noqa: ARG002 - Schedule has it
        """See `Schedule`. It is later than the tick as well, unless the clock was set back by three hours or more."""
        following = self._pattern.following(self.reached(tick, now))
        if following is None:
            return None
        return Due(at=following, tick=following, missed=self._pattern.count(tick, now) if tick < now else 0)

    def reached(self, tick: float, now: float) -> float:
        """See `Schedule`."""
        return tick if now < tick <= now + LONGEST_STEP_BACK else now

    def resumed(self, position: float, wall: float, now: float, draw: Callable[[], float]) -> Due | None:  # noqa: ARG002
        """See `Schedule`."""
        passed = self._pattern.count(position, now) if position < now else 0
        return Due(at=now, tick=now, missed=passed - 1) if passed else self.after(position, now, draw)

    def position(self, tick: float, wall: float, now: float) -> float:  # noqa: ARG002 - Schedule has them
        """See `Schedule`."""
        return tick


def schedule_of(options: UnitOptions, timezone: str = "UTC") -> Every | Cron | None:
    """Return the schedule that a unit was declared with, or `None` if it has none.

    Args:
        options: The unit's.
        timezone: Where its cron expression is read if it names no zone itself.

    Raises:
        InvalidOption: The cron expression or the zone does not exist.
        CronUnavailable: The library that reads cron expressions is not installed.
    """
    if options.every is not None:
        return Every(options.every, options.jitter)
    if options.cron is not None:
        return Cron(options.cron, options.timezone or timezone)
    return None
