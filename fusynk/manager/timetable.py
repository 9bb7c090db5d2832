"""When units are due: one heap for all schedules, whatever clock they go by."""

from collections.abc import Callable
from dataclasses import replace
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from fusynk.manager.entry import Entry
from fusynk.manager.schedule import Due, Schedule

_JUMP = 0.5  # seconds between the clocks that are no longer mere inaccuracy


class Timetable:
    """The next start of each unit that has a schedule.

    Args:
        clock: The monotonic clock of the loop.
        wall_clock: Seconds since the epoch.
        draw: Returns a number in [0, 1); what makes the jitter.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float], draw: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._draw = draw
        self._heap: list[tuple[float, int, Entry, Due]] = []
        self._sequence = count()
        self._overdue: dict[Entry, Due] = {}
        self._apart = wall_clock() - clock()

    def enter(self, entry: Entry) -> None:
        """Note when a unit is due next, if its schedule still has a run to give.

        One that has never been due is due for the first time; another at the next point after now. What passed until
        then was not missed: the unit was paused.
        """
        schedule = entry.schedule
        if schedule is None or not entry.may_be_scheduled:
            entry.due = None
            return
        now = self._now(schedule)
        if entry.tick is not None:
            due = schedule.after(entry.tick, now, self._draw)
            entry.tick = schedule.reached(entry.tick, now)
        elif entry.position is None:
            due = schedule.first(now, self._draw)
        else:
            due = schedule.resumed(entry.position, self._wall_clock(), now, self._draw)
            if due is not None and due.at <= now:
                entry.tick = schedule.reached(due.tick, now)
                due = schedule.after(entry.tick, now, self._draw)
        self._set(entry, None if due is None else replace(due, missed=0))

    def reenter(self, entry: Entry) -> None:
        """Note when a unit is due that has got another schedule: at its first point after now."""
        entry.tick = None if entry.schedule is None else self._now(entry.schedule)
        entry.position = None
        self.enter(entry)

    def begin(self, entry: Entry) -> None:
        """Note when a unit is due as its manager starts: where it was when that, or an earlier process, stopped.

        What its state says by the clock of an earlier loop means nothing to this one.
        """
        schedule = entry.schedule
        entry.tick, entry.due, entry.paused_since = None, None, self._clock()
        if not entry.may_run:
            return
        if schedule is None or entry.position is None or not entry.may_be_scheduled:
            self.enter(entry)
        else:
            now = self._now(schedule)
            self._set(entry, schedule.resumed(entry.position, self._wall_clock(), now, self._draw))

    def leave(self, entry: Entry) -> None:
        """Forget when a unit is due."""
        entry.due = None

    def put_back(self, entry: Entry) -> None:
        """Have a unit start as soon as it can that was due while it ran."""
        due = self._overdue.pop(entry, None)
        if due is not None and entry.due is due:
            self._push(entry, due)

    def restore(self, entry: Entry, due: Due | None) -> None:
        """Have a unit be due when it was before."""
        if entry.due is not due:
            self._set(entry, due)

    def advance(self, entry: Entry, due: Due) -> int:
        """Note that a unit starts, and when it is due next.

        Args:
            entry: The unit.
            due: What it starts for.

        Returns:
            How many points of its schedule this start stands for besides its own.
        """
        schedule = entry.schedule
        missed = due.missed
        entry.tick = due.tick
        entry.due = None
        if schedule is not None:
            now = self._now(schedule)
            following = schedule.after(due.tick, now, self._draw)
            entry.tick = schedule.reached(due.tick, now)
            if following is not None:
                missed += following.missed
                if entry.may_be_scheduled:
                    self._set(entry, replace(following, missed=0))
        return missed

    def position_of(self, entry: Entry) -> float | None:
        """Return where a unit's schedule is, as a store can keep it, or `None` if it has not begun."""
        if entry.schedule is None:
            return None
        if entry.tick is None:
            return entry.position
        return entry.schedule.position(entry.tick, self._wall_clock(), self._now(entry.schedule))

    def take_due(self) -> list[tuple[Entry, Due]]:
        """Take out what is due now, in order of time. What is running stays due until it is put back."""
        self._mind_the_wall()
        now = self._clock()
        found: dict[Entry, Due] = {}  # what was put back may be in the heap twice
        while self._heap and self._heap[0][0] <= now:
            _, _, entry, due = heappop(self._heap)
            if entry.due is not due:
                continue
            if entry.schedule is not None and due.at > self._now(entry.schedule):
                self._push(entry, due)  # the clock of the wall was set back
            elif entry.status == "running":
                self._overdue[entry] = due
            else:
                found[entry] = due
        return list(found.items())

    def earliest(self) -> float:
        """Return when something is due next, on the clock of the loop; infinity if nothing is."""
        while self._heap and self._heap[0][2].due is not self._heap[0][3]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def _mind_the_wall(self) -> None:
        """Work out anew when things are due if the clock of the wall was set, or the machine slept."""
        apart = self._wall_clock() - self._clock()
        if abs(apart - self._apart) > _JUMP:
            self._apart = apart
            self._heap = [
                (self._loop_time(entry, due), number, entry, due)
                for _, number, entry, due in self._heap
                if entry.due is due
            ]
            heapify(self._heap)

    def _set(self, entry: Entry, due: Due | None) -> None:
        entry.due = due
        if due is not None:
            self._push(entry, due)

    def _push(self, entry: Entry, due: Due) -> None:
        heappush(self._heap, (self._loop_time(entry, due), next(self._sequence), entry, due))

    def _loop_time(self, entry: Entry, due: Due) -> float:
        if entry.schedule is None or entry.schedule.clock == "monotonic":
            return due.at
        return self._clock() + max(0.0, due.at - self._wall_clock())

    def _now(self, schedule: Schedule) -> float:
        return self._clock() if schedule.clock == "monotonic" else self._wall_clock()
