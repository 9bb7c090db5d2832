"""Everything of a run that is due at some time, in one heap."""

import enum
from heapq import heappop, heappush
from itertools import count
from math import inf


class Due(enum.Enum):
    """What happens at a time.

    A retry, the end of a barrier, an attempt's timeout, a grace, the run's deadline, the end of a run that winds down,
    a place in a limit's window.
    """

    RETRY = "retry"
    RELEASE = "release"
    TIMEOUT = "timeout"
    GRACE = "grace"
    DEADLINE = "deadline"
    STOP = "stop"
    LIMIT = "limit"


class Timers:
    """A heap of what is due. Entries are never removed; who reads one decides whether it still matters."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Due, object]] = []
        self._sequence = count()

    def add(self, when: float, due: Due, subject: object) -> None:
        """Note that something is due.

        Args:
            when: The time on the run's clock, in seconds.
            due: What.
            subject: For whom.
        """
        heappush(self._heap, (when, next(self._sequence), due, subject))

    def earliest(self) -> float:
        """Return when the next entry is due, infinity if there is none."""
        return self._heap[0][0] if self._heap else inf

    def pop_due(self, now: float) -> list[tuple[Due, object]]:
        """Take out what is due by now, in order of time."""
        found: list[tuple[Due, object]] = []
        while self._heap and self._heap[0][0] <= now:
            _, _, due, subject = heappop(self._heap)
            found.append((due, subject))
        return found
