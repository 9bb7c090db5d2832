"""Cron expressions in a time zone: which point is next, and how many there were, without walking over them."""

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from fusynk._core.schedule_options import CRON_WANTED, ZONE_WANTED, is_cron_shaped
from fusynk._core.zones import find_zone, zone_hint
from fusynk.errors import CronUnavailable, InvalidOption, shown

if TYPE_CHECKING:
    from cronsim import CronSim

# Seconds since the epoch are whole here. A local time is what a clock on the wall shows, counted as if it were UTC.
_UTC_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LOCAL_EPOCH = _UTC_EPOCH.replace(tzinfo=None)
_DAY = 86_400
_WEEK = 7 * _DAY  # no zone changes its offset and back within one
_SECOND = timedelta(seconds=1)
# What a wall clock can show; beyond it, dates would overflow.
_EARLIEST, _LATEST = 0, 250_000_000_000


class Pattern:
    """A cron expression in a time zone.

    Attributes:
        text: The expression.
        zone: The zone.
        is_fixed: Whether hour and minute are given, so that it is due once where a clock is put forward or back.
    """

    def __init__(self, text: str, zone: tzinfo) -> None:
        self.text = text
        self.zone = zone
        self._fields = fields = _parsed(text)
        self._seconds, self._minutes, self._hours = (
            sorted(one) for one in (fields.seconds, fields.minutes, fields.hours)
        )
        minute, hour = text.split()[-5:-3]
        self.is_fixed = not minute.startswith("*") and not hour.startswith("*")

    def following(self, now: float) -> float | None:
        """Return the first point after a time, or `None` if there is none within fifty years.

        Args:
            now: Seconds since the epoch.
        """
        if now >= _LATEST:
            return None
        at = max(int(now // 1), _EARLIEST)
        offset, start = self._start(at)
        while (found := self._match(start)) is not None:
            change = self._change(at, found - offset)
            if change is None:
                return float(found - offset)
            former, offset = offset, self._offset(change)
            if self.is_fixed and found < change + offset:  # it lies in the gap
                return float(change)
            start = self._start_after(change, former, offset)
            at = change
        return None

    def count(self, since: float, until: float) -> int:
        """Return how many points there are after one time and up to another.

        Args:
            since: Seconds since the epoch.
            until: Seconds since the epoch.
        """
        at, last = (int(min(max(one, _EARLIEST), _LATEST) // 1) for one in (since, until))
        offset, start = self._start(at)
        total = 0
        while (change := self._change(at, last)) is not None:
            total += self._matches(start, change + offset)
            former, offset = offset, self._offset(change)
            gap = change + former, change + offset
            if self.is_fixed and self._matches(*gap) and not self._matches(gap[1], gap[1] + 1):
                total += 1
            start = self._start_after(change, former, offset)
            at = change
        return total + self._matches(start, last + 1 + offset)

    def _start(self, at: int) -> tuple[int, int]:
        """Return the offset at a time, and the first local time after it that may count."""
        local = self._local(at)
        offset = self._offset(at)
        if not (self.is_fixed and local.fold):
            return offset, at + offset + 1
        # The clock shows this for the second time, so that there was a change between the two.
        former = _whole(local.replace(fold=0).utcoffset())
        change = cast("int", self._change(at + offset - former, at))
        return offset, change + former

    def _start_after(self, change: int, former: int, offset: int) -> int:
        """Return the first local time that may count after a change of the offset."""
        return change + (max(former, offset) if self.is_fixed else offset)

    def _change(self, since: int, until: int) -> int | None:
        """Return when the offset first changes after one time and up to another, or `None` if it does not."""
        offset = self._offset(since)
        while since < until:
            end = min(since + _WEEK, until)
            if self._offset(end) != offset:
                return bisect_left(range(end), True, lo=since, key=lambda at: self._offset(at) != offset)  # noqa: FBT003
            since = end
        return None

    def _local(self, at: int) -> datetime:
        return (_UTC_EPOCH + timedelta(seconds=at)).astimezone(self.zone)

    def _offset(self, at: int) -> int:
        return _whole(self._local(at).utcoffset())

    def _match(self, start: int) -> int | None:
        """Return the first local time from one on that the expression has, or `None`."""
        found = next(_cron_sim(self.text, _LOCAL_EPOCH + timedelta(seconds=start) - _SECOND), None)
        return None if found is None else _whole(found - _LOCAL_EPOCH)

    def _matches(self, start: int, end: int) -> int:
        """Return how many local times the expression has from one on and before another."""
        if end <= start:
            return 0
        (first, before), (last, until) = divmod(start, _DAY), divmod(end, _DAY)
        whole_days = sum(1 for _ in self._days(first, last))
        daily = len(self._hours) * len(self._minutes) * len(self._seconds)
        missing = self._earlier(before) if self._has_day(first) else 0
        more = self._earlier(until) if self._has_day(last) else 0
        return whole_days * daily - missing + more

    def _days(self, first: int, end: int) -> Iterator[int]:
        return (day for day in range(first, end) if self._has_day(day))

    def _has_day(self, day: int) -> bool:
        found = date.fromordinal(day + _LOCAL_EPOCH.toordinal())
        return found.month in self._fields.months and self._fields.match_day(found)

    def _earlier(self, second: int) -> int:
        """Return how many times of a day the expression has before this second of it."""
        (hour, rest), total = divmod(second, 3600), 0
        minute, second = divmod(rest, 60)
        total = bisect_left(self._hours, hour) * len(self._minutes) * len(self._seconds)
        if hour in self._fields.hours:
            total += bisect_left(self._minutes, minute) * len(self._seconds)
            if minute in self._fields.minutes:
                total += bisect_left(self._seconds, second)
        return total


def cron_pattern(text: str, timezone: str) -> Pattern:
    """Return a cron expression in a time zone.

    Args:
        text: The expression.
        timezone: The IANA name of the zone.

    Raises:
        InvalidOption: There is no such expression or zone, or it is never due.
        CronUnavailable: The library that reads it is not installed.
    """
    if not is_cron_shaped(text):
        raise InvalidOption(f"Cron({shown(text)}): it must be {CRON_WANTED}.")
    if not isinstance(timezone, str):
        raise InvalidOption(f"Cron(timezone={shown(timezone)}): timezone must be {ZONE_WANTED}.")
    return _pattern(text, timezone)


@lru_cache(maxsize=1024)
def _pattern(text: str, timezone: str) -> Pattern:
    zone = find_zone(timezone)
    if zone is None:
        raise InvalidOption(f"Cron(timezone={timezone!r}): timezone must be {ZONE_WANTED}.{zone_hint(timezone)}")
    pattern = Pattern(text, zone)
    if pattern.following(0) is None:
        raise InvalidOption(f"Cron({text!r}) is never due; give days that its months have.")
    return pattern


def _cron_sim(text: str, start: datetime) -> "CronSim":
    try:
        from cronsim import CronSim  # noqa: PLC0415 - it is optional
    except ImportError as error:
        message = f"cron={text!r} needs cronsim, which is not installed; pip install 'fusynk[cron]'."
        raise CronUnavailable(message) from error
    return CronSim(text, start)


def _parsed(text: str) -> "CronSim":
    try:
        return _cron_sim(text, _LOCAL_EPOCH)
    except CronUnavailable:
        raise
    except Exception as error:
        fault = str(error)
        field = fault.removeprefix("Bad ")
        problem = f"has no such {field}" if field != fault else "cannot be read"
        raise InvalidOption(f"Cron({text!r}) {problem}; it must be {CRON_WANTED}.") from error


def _whole(time: timedelta | None) -> int:
    return cast("timedelta", time) // _SECOND
