"""The permits of a limit on one event loop: who has one, who waits, and who is next. Pure: it is told the time."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Protocol

from fusynk._core.limits import Limit


class Place(Protocol):
    """Where the steps of a lane would start: the slots, and perhaps the threads, of one run."""

    def holds(self, steps: int) -> bool:
        """Tell whether so many steps could start there now."""
        ...

    def come_back(self, when: float) -> None:
        """Learn when to have `Permits.remind` called."""
        ...


@dataclass(slots=True, eq=False)
class Ticket:
    """A place in the queue, then a permit.

    Attributes:
        lane: Where it waits.
        weight: How much of the concurrency it takes.
        grant: Called when it is granted later than it was asked for.
        sequence: Its place in the order of coming.
        is_granted: Whether its step may start, or has begun.
        has_begun: Whether its step has begun and has not ended.
        source: The ticket of the step around its run whose permit it uses, or `None`.
        lent_to: The ticket of a nested run's step that uses it, or `None`.
    """

    lane: "Lane"
    weight: int
    grant: Callable[[], None]
    sequence: int
    is_granted: bool = False
    has_begun: bool = False
    source: "Ticket | None" = None
    lent_to: "Ticket | None" = None


@dataclass(slots=True, eq=False)
class Lane:
    """The steps of one run that wait in one way: each of them could start, or none.

    Attributes:
        place: Where they would start.
        permits: What they wait for.
        lender: The permit of the step around the run, or `None`.
        queue: Who waits, first come first.
        granted: Who may start and has not begun.
        is_parked: Whether it is passed over until its run has room again.
    """

    place: Place
    permits: "Permits"
    lender: Ticket | None
    queue: deque[Ticket] = field(default_factory=deque[Ticket])
    granted: dict[Ticket, None] = field(default_factory=dict[Ticket, None])
    is_parked: bool = False

    def __post_init__(self) -> None:
        """Know no lender of another event loop."""
        if self.lender is not None and self.lender.lane.permits is not self.permits:
            self.lender = None

    def has_room(self) -> bool:
        """Tell whether one more step could start."""
        return self.place.holds(len(self.granted) + 1)

    def can_borrow(self) -> bool:
        """Tell whether the permit of the step around the run is there to be used."""
        return self.lender is not None and self.lender.has_begun and self.lender.lent_to is None


class Permits:
    """How much of one limit is in use on one event loop.

    A permit is granted to a step that could start at once, and begun when it does; a rate counts what began. What is
    granted and not begun counts as if it began now, so that no window ever holds too many. Should it turn out that the
    step cannot start after all, others get what it was granted, and it keeps its place in the queue.

    Args:
        limit: The limit.
    """

    def __init__(self, limit: Limit) -> None:
        self._starts = limit.starts
        self._period = limit.period
        self._room = math.inf if limit.concurrency is None else limit.concurrency
        self._used = 0
        self._sequence = count()
        self._waiting: dict[int, Ticket] = {}
        self._heads: list[int] = []  # a heap of who is first in a lane, by sequence; may hold who no longer is
        self._nested: dict[Lane, None] = {}  # lanes with a lender in which somebody may wait
        self._keeping: dict[Lane, None] = {}  # lanes with permits that are granted and not begun
        self._granted = 0
        self._leaving: deque[float] = deque()  # when each counted start leaves the window
        self._reminded: tuple[float, Lane | None] = (-math.inf, None)

    @property
    def in_use(self) -> int:
        """The weight that is granted and not given back."""
        return self._used

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def ask(self, lane: Lane, weight: int, grant: Callable[[], None], now: float) -> Ticket:
        """Ask for a permit; the ticket tells whether it is granted at once.

        Args:
            lane: Where to wait.
            weight: How much of the concurrency it takes.
            grant: Called when it is granted later.
            now: The time.
        """
        ticket = Ticket(lane, weight, _note_nothing, next(self._sequence))
        if not self._waiting and not self._is_blocked(ticket, now):
            self._use(ticket)
        else:
            lane.queue.append(ticket)
            self._note_waiting(ticket)
            self.serve(now)
        ticket.grant = grant
        return ticket

    def begin(self, ticket: Ticket, now: float) -> None:
        """Start with a permit that was granted."""
        if ticket in ticket.lane.granted:
            self._drop_granted(ticket)
        ticket.has_begun = True
        if self._starts:
            self._leaving.append(end_of_window(now, self._period))
            self._remind_somebody(now)

    def give_back(self, ticket: Ticket, now: float) -> None:
        """Give a permit back, begun or not, or leave the queue."""
        if ticket.is_granted:
            self._return(ticket)
        else:
            ticket.lane.queue.remove(ticket)
            del self._waiting[ticket.sequence]
            self._note_head(ticket.lane)
        if self._waiting:
            self.serve(now)

    def serve(self, now: float) -> None:
        """Grant what is free, first come, first served."""
        while (lane := self._next_lane()) is not None:
            ticket = lane.queue[0]
            if not self._is_blocked(ticket, now):
                lane.queue.popleft()
                del self._waiting[ticket.sequence]
                self._note_head(lane)
                self._use(ticket)
                lane.granted[ticket] = None
                self._keeping[lane] = None
                self._granted += 1
                ticket.grant()
            elif not self._revoke():
                break
        self._remind_somebody(now)

    def unpark(self, lane: Lane) -> None:
        """Look at a lane again: its run may have room."""
        if lane.is_parked:
            lane.is_parked = False
            self._note_head(lane)
            if lane.lender is not None and lane.queue:
                self._nested[lane] = None

    def remind(self, now: float) -> None:
        """Serve at the time that somebody was told to come back."""
        self._reminded = (-math.inf, None)
        self.serve(now)

    # One permit

    def _is_blocked(self, ticket: Ticket, now: float) -> bool:
        """Tell whether the limit itself holds a step up."""
        if self._is_rate_used_up(now):
            return True
        return self._used + ticket.weight > self._room and not ticket.lane.can_borrow()

    def _use(self, ticket: Ticket) -> None:
        ticket.is_granted = True
        lender = ticket.lane.lender
        if lender is not None and ticket.lane.can_borrow():
            ticket.source, lender.lent_to = lender, ticket
        else:
            self._used += ticket.weight

    def _return(self, ticket: Ticket) -> None:
        """Give back what a ticket uses. A step that uses it meanwhile, and outlives it, goes on with what it used."""
        if ticket in ticket.lane.granted:
            self._drop_granted(ticket)
        source, borrower = ticket.source, ticket.lent_to
        if source is not None:
            source.lent_to = borrower
        else:
            self._used += (borrower.weight if borrower is not None else 0) - ticket.weight
        if borrower is not None:
            borrower.source = source
        ticket.source = ticket.lent_to = None
        ticket.is_granted = ticket.has_begun = False

    def _drop_granted(self, ticket: Ticket) -> None:
        lane = ticket.lane
        del lane.granted[ticket]
        self._granted -= 1
        if not lane.granted:
            del self._keeping[lane]

    def _revoke(self) -> bool:
        """Take back what was granted to steps that cannot start after all. They keep their place in the queue."""
        stuck = [lane for lane in self._keeping if not lane.place.holds(len(lane.granted))]
        for lane in stuck:
            lane.is_parked = False
            for ticket in reversed(lane.granted.copy()):
                self._return(ticket)
                lane.queue.appendleft(ticket)
                self._note_waiting(ticket)
        return bool(stuck)

    # Who is next

    def _note_waiting(self, ticket: Ticket) -> None:
        self._waiting[ticket.sequence] = ticket
        self._note_head(ticket.lane)
        if ticket.lane.lender is not None and not ticket.lane.is_parked:
            self._nested[ticket.lane] = None

    def _note_head(self, lane: Lane) -> None:
        if lane.queue and not lane.is_parked:
            heappush(self._heads, lane.queue[0].sequence)
        else:
            self._nested.pop(lane, None)

    def _park(self, lane: Lane) -> None:
        """Pass over a lane without room; otherwise each grant would look through all of them."""
        lane.is_parked = True
        self._nested.pop(lane, None)

    def _next_lane(self) -> Lane | None:
        """Return the lane whose first step is next: who can re-enter before all others, who may wait for just that."""
        for lane in list(self._nested):
            if not lane.can_borrow():
                continue
            if lane.has_room():
                return lane
            self._park(lane)
        while self._heads:
            ticket = self._waiting.get(self._heads[0])
            if ticket is not None and not ticket.lane.is_parked and ticket.lane.queue[0] is ticket:
                if ticket.lane.has_room():
                    return ticket.lane
                self._park(ticket.lane)
            heappop(self._heads)
        return None

    # The rate

    def _is_rate_used_up(self, now: float) -> bool:
        if not self._starts:
            return False
        while self._leaving and self._leaving[0] <= now:
            self._leaving.popleft()
        return len(self._leaving) + self._granted >= self._starts

    def _remind_somebody(self, now: float) -> None:
        """Tell somebody who waits for the rate when the next start leaves the window."""
        if not self._waiting or not self._is_rate_used_up(now) or not self._leaving:
            return
        when, (last, lane) = self._leaving[0], self._reminded
        if last == when and lane is not None and lane.queue:
            return
        lane = next(iter(self._waiting.values())).lane
        self._reminded = when, lane
        lane.place.come_back(when)


def _note_nothing() -> None:
    """Stand for the grant of a ticket that is still being asked for."""


def end_of_window(now: float, period: float) -> float:
    """Return the first time that is a whole period later, though floats are rounded.

    The rounding error of the sum is exact by Knuth's TwoSum (The Art of Computer Programming 2, 4.2.2).
    """
    later = now + period
    part = later - now
    lost = (now - (later - part)) + (period - part)
    return math.nextafter(later, math.inf) if lost > 0 else later
