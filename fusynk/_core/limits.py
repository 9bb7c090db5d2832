"""Limits: how many bodies may be alive at once, and how many may start in a window of time."""

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from fusynk.errors import InvalidOption

_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,9})?)\s*(ms|s|sec|second|min|minute|h|hour)s?\s*")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Limit:
    """What units may share: `@layer(limit=tmdb, weight=1)`. Equal limits are one limit.

    There is one of it for each event loop, shared by every run there and every unit that names it. Waiting for it holds
    no slot, is first come, first served, and can be cancelled. A nested run re-enters what its ancestors hold; its
    starts count all the same.

    >>> tmdb = Limit("tmdb", concurrency=4, rate="40/10s")
    >>> tmdb.starts, tmdb.period
    (40, 10.0)

    Args:
        name: The limit's name, for errors and displays.
        concurrency: How much weight may be alive at once, `None` for no bound.
        rate: How many attempts may start in any window of that length, as in "40/10s", "5/s", "100/min"; `None` for no
            bound.

    Raises:
        InvalidOption: Neither is given, or one makes no sense.
    """

    name: str
    concurrency: int | None = field(default=None, kw_only=True)
    rate: str | None = field(default=None, kw_only=True, compare=False)
    starts: int = field(init=False, repr=False)
    period: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what was given, and read the rate."""
        if not isinstance(self.name, str) or not self.name:
            raise InvalidOption(f"Limit({self.name!r}): the name must be a text that is not empty.")
        if self.concurrency is None and self.rate is None:
            raise InvalidOption(f'Limit({self.name!r}) limits nothing; give concurrency=4, rate="40/10s", or both.')
        whole = isinstance(self.concurrency, int) and not isinstance(self.concurrency, bool)
        if self.concurrency is not None and not (whole and self.concurrency > 0):
            message = f"Limit({self.name!r}, concurrency={self.concurrency!r}) must be a whole number from 1 up."
            raise InvalidOption(message)
        starts, period = (0, 0.0) if self.rate is None else _read_rate(self.name, self.rate)
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "period", period)


def _read_rate(name: str, rate: object) -> tuple[int, float]:
    """Return the starts and the seconds of a rate."""
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is not None:
        count, length, unit = found.groups()
        unit = {"sec": "s", "second": "s", "minute": "min", "hour": "h"}.get(unit, unit)
        starts, period = int(count), float(length or 1) * _SECONDS[unit]
        if starts and period:
            return starts, period
    message = f'Limit({name!r}, rate={rate!r}) must be starts per time, such as "40/10s", "5/s" or "100/min".'
    raise InvalidOption(message)


class Waiter(Protocol):
    """Somebody who waits for a permit."""

    def grant(self) -> None:
        """Learn that the permit is there."""
        ...

    def come_back(self, when: float) -> None:
        """Learn when to have `LimitState.serve` called again, on the clock that its times are of."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A place in the queue of a limit."""

    waiter: Waiter
    weight: int


class LimitState:
    """How much of one limit is in use on one event loop. Pure: it is told the time.

    A permit is granted first and begun later, when its attempt really starts; a rate counts what began. A granted
    permit that has not begun counts as if it began now, so that no window ever holds too many.

    Args:
        limit: The limit.
    """

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._room = math.inf if limit.concurrency is None else limit.concurrency
        self._used = 0
        self._granted = 0
        self._queue: deque[Ticket] = deque()
        self._leaving: deque[float] = deque()  # when each counted start leaves the window
        self._reminded: Ticket | None = None

    @property
    def in_use(self) -> int:
        """The weight that is granted and not given back."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def take(self, weight: int, now: float) -> bool:
        """Take a permit and begin, if there is one and nobody waits for it.

        Args:
            weight: How much of the concurrency it takes; 0 for a nested run, which never waits for that.
            now: The time.
        """
        if (self._queue and weight) or not self._is_free(weight, now):
            return False
        self._used += weight
        self._note_start(now)
        return True

    def wait(self, waiter: Waiter, weight: int, now: float) -> Ticket:
        """Queue for a permit. A nested run goes first, because others may wait for what its ancestors hold."""
        ticket = Ticket(waiter, weight)
        if weight:
            self._queue.append(ticket)
        else:
            self._queue.insert(sum(not other.weight for other in self._queue), ticket)
        self.serve(now)
        return ticket

    def withdraw(self, ticket: Ticket, now: float) -> None:
        """Leave the queue."""
        self._queue.remove(ticket)
        self.serve(now)

    def begin(self, now: float) -> None:
        """Start with a permit that was granted."""
        self._granted -= 1
        self._note_start(now)
        if self._queue:
            self.serve(now)

    def give_back(self, weight: int, now: float, *, begun: bool = True) -> None:
        """Give back a permit, begun or only granted."""
        self._used -= weight
        self._granted -= not begun
        if self._queue:
            self.serve(now)

    def serve(self, now: float) -> None:
        """Grant what is free, first come, first served; remind who is then first of when the rate lets it go on."""
        while self._queue and self._is_free(self._queue[0].weight, now):
            ticket = self._queue.popleft()
            self._used += ticket.weight
            self._granted += 1
            ticket.waiter.grant()
        first = self._queue[0] if self._queue else None
        if first is not None and first is not self._reminded and self._leaving and self._is_rate_used_up(now):
            self._reminded = first
            first.waiter.come_back(self._leaving[0])

    def remind(self, now: float) -> None:
        """Serve at the time that somebody was told to come back."""
        self._reminded = None
        self.serve(now)

    def _is_free(self, weight: int, now: float) -> bool:
        return self._used + weight <= self._room and not self._is_rate_used_up(now)

    def _is_rate_used_up(self, now: float) -> bool:
        starts = self.limit.starts
        if not starts:
            return False
        while self._leaving and self._leaving[0] <= now:
            self._leaving.popleft()
        return len(self._leaving) + self._granted >= starts

    def _note_start(self, now: float) -> None:
        if self.limit.starts:
            self._leaving.append(_end_of_window(now, self.limit.period))


def _end_of_window(now: float, period: float) -> float:
    """Return the first time that is a whole period later, rounding included."""
    later = now + period
    while later - now < period:
        later = math.nextafter(later, math.inf)
    return later
