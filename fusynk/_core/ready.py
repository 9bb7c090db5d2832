"""The ready queue: steps that nothing keeps from starting, best first."""

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Literal, Protocol, cast

Discipline = Literal["fifo", "lifo"]


class ReadyQueue(Protocol):
    """Hands out the next step to start."""

    def push(self, step: int, /) -> None:
        """Add a step."""
        ...

    def pop(self) -> int:
        """Take the best step out."""
        ...

    def __len__(self) -> int:
        """Count the steps that wait for a slot."""
        ...


class Fifo(deque[int]):
    """The common case, where every step has the same priority: a bare deque. First in, first out."""

    push = deque[int].append
    pop = deque[int].popleft


class Lifo(deque[int]):
    """The same, last in, first out."""

    push = deque[int].append


class ManyPriorities:
    """A deque for each priority, and a heap of those that hold something.

    Args:
        ranks: For each step the rank of its priority; the lowest goes first.
        discipline: Who goes first within one rank.
    """

    __slots__ = ("_count", "_fifo", "_queues", "_ranks", "_waiting")

    def __init__(self, ranks: Callable[[int], int], discipline: Discipline) -> None:
        self._ranks = ranks
        self._fifo = discipline == "fifo"
        self._queues: dict[int, deque[int]] = {}
        self._waiting: list[int] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, step: int) -> None:
        """Add a step behind those of its rank."""
        rank = self._ranks(step)
        queue = self._queues.setdefault(rank, deque())
        if not queue:
            heappush(self._waiting, rank)
        queue.append(step)
        self._count += 1

    def pop(self) -> int:
        """Take the best step out."""
        rank = self._waiting[0]
        queue = self._queues[rank]
        step = queue.popleft() if self._fifo else queue.pop()
        if not queue:
            heappop(self._waiting)
        self._count -= 1
        return step


def ready_queue(
    priorities: Sequence[int], discipline: Discipline, owner: Callable[[int], int] | None = None
) -> ReadyQueue:
    """Return the cheapest queue that orders these steps.

    Args:
        priorities: For each step its priority; larger goes first.
        discipline: Who goes first among equals.
        owner: Maps an item of a fan-out to its step; left out where there are none.
    """
    distinct = sorted(set(priorities), reverse=True)
    if len(distinct) <= 1:
        return cast("ReadyQueue", Fifo() if discipline == "fifo" else Lifo())
    rank_of = {priority: rank for rank, priority in enumerate(distinct)}
    ranks = [rank_of[priority] for priority in priorities]
    if owner is None:
        return ManyPriorities(ranks.__getitem__, discipline)
    return ManyPriorities(lambda step: ranks[owner(step)], discipline)
