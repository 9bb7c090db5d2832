"""Directed acyclic graphs over integers: order, levels, cycles, longest paths. All in O(V + E), none recursive."""

from collections.abc import Sequence
from dataclasses import dataclass

from fusynk._core.ready import ReadyQueue

Neighbours = Sequence[Sequence[int]]


def successors_of(predecessors: Neighbours) -> list[list[int]]:
    """Turn the edges around; each list is in ascending order."""
    successors: list[list[int]] = [[] for _ in predecessors]
    for node, sources in enumerate(predecessors):
        for source in sources:
            successors[source].append(node)
    return successors


def start_order(predecessors: Neighbours, successors: Neighbours, ready: ReadyQueue) -> list[int]:
    """Return the nodes in the order in which one slot would start them.

    Kahn's algorithm (A. B. Kahn, 1962) over the run's own ready queue. Nodes on or behind a cycle are left out.

    Args:
        predecessors: For each node, what it waits for.
        successors: For each node, what waits for it.
        ready: An empty queue; decides among the nodes that wait for nothing.
    """
    remaining = [len(sources) for sources in predecessors]
    for node, count in enumerate(remaining):
        if not count:
            ready.push(node)
    order: list[int] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for dependent in successors[node]:
            remaining[dependent] -= 1
            if not remaining[dependent]:
                ready.push(dependent)
    return order


def levels_of(predecessors: Neighbours) -> list[int]:
    """Return for each node how many edges the longest path to it has. Nodes must be in topological order."""
    levels: list[int] = []
    for sources in predecessors:
        levels.append(1 + max((levels[source] for source in sources), default=-1))
    return levels


def cycles_among(predecessors: Neighbours, left_over: Sequence[int]) -> list[list[int]]:
    """Return cycles that keep the left-over nodes of `start_order` from starting.

    Each is in the direction of its edges and begins with its lowest node. Every node is walked once, so cycles that
    share nodes may need another look when the first is mended.
    """
    stuck = set(left_over)
    walk_of: dict[int, int] = {}
    cycles: list[list[int]] = []
    for start in left_over:
        path: list[int] = []
        node = start
        while node not in walk_of:
            walk_of[node] = start
            path.append(node)
            node = next(source for source in predecessors[node] if source in stuck)
        if walk_of[node] == start and node in path:
            cycle = path[path.index(node) :][::-1]
            lowest = cycle.index(min(cycle))
            cycles.append(cycle[lowest:] + cycle[:lowest])
    return cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticalPath:
    """The longest chain by duration.

    Attributes:
        nodes: Its nodes from first to last.
        length: The sum of their durations, in seconds.
        slack: For each node, how much later it may end without making the longest chain longer, in seconds.
    """

    nodes: tuple[int, ...]
    length: float
    slack: tuple[float, ...]


def critical_path(predecessors: Neighbours, successors: Neighbours, durations: Sequence[float]) -> CriticalPath:
    """Find the longest chain by duration (the critical path method: Kelley and Walker, 1959).

    Args:
        predecessors: For each node, what it waits for. Nodes must be in topological order.
        successors: For each node, what waits for it.
        durations: Seconds that each node took.
    """
    before: list[float] = []
    for node, sources in enumerate(predecessors):
        before.append(durations[node] + max((before[source] for source in sources), default=0.0))
    length = max(before, default=0.0)
    latest = [length] * len(durations)
    for node in range(len(durations) - 1, -1, -1):
        for dependent in successors[node]:
            latest[node] = min(latest[node], latest[dependent] - durations[dependent])
    slack = tuple(max(0.0, late - early) for late, early in zip(latest, before, strict=True))
    return CriticalPath(nodes=_longest_chain(predecessors, before), length=length, slack=slack)


def _longest_chain(predecessors: Neighbours, before: Sequence[float]) -> tuple[int, ...]:
    if not before:
        return ()
    # Of several ends, the last one: steps that took no time belong to the chain.
    node: int | None = max(range(len(before)), key=lambda index: (before[index], index))
    chain: list[int] = []
    while node is not None:
        chain.append(node)
        node = max(predecessors[node], key=before.__getitem__, default=None)
    return tuple(reversed(chain))
