"""Nodes put on levels, and bends where a line passes a level."""

from collections.abc import Sequence
from dataclasses import dataclass

from fusynk._core.graph import Neighbours, cycles_among, start_order, successors_of
from fusynk._core.ready import Fifo

Rows = list[list[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """What stands on each level. An element is a node or a bend; the numbers below `nodes` are nodes.

    All edges of a node share one line, so a line has at most one bend on a level, and a bend has one element above.

    Attributes:
        nodes: How many elements are nodes.
        rows: The elements of each level, from the top; bends after nodes.
        above: For each element, those of the level above that lead to it.
        below: For each element, those of the level below that it leads to.
        owners: For each element the node whose line, or box, it is part of.
    """

    nodes: int
    rows: Sequence[Sequence[int]]
    above: Sequence[Sequence[int]]
    below: Sequence[Sequence[int]]
    owners: Sequence[int]


def levels_of(predecessors: Neighbours) -> Levels:
    """Put each node on the level after its last predecessor, and a bend on each level that its line passes.

    Args:
        predecessors: For each node, its sources, each once.

    Raises:
        ValueError: The edges form a cycle.
    """
    depths = _depths_of(predecessors)
    owners = list(range(len(depths)))
    rows: Rows = [[] for _ in range(max(depths, default=-1) + 1)]
    above: Rows = [[] for _ in depths]
    below: Rows = [[] for _ in depths]
    for node, depth in enumerate(depths):
        rows[depth].append(node)
    for node, dependents in enumerate(successors_of(predecessors)):
        deepest = max((depths[dependent] for dependent in dependents), default=0)
        reached: Rows = [[] for _ in range(depths[node] + 1, deepest + 1)]
        for dependent in dependents:
            reached[depths[dependent] - depths[node] - 1].append(dependent)
        element = node
        for level, targets in enumerate(reached, depths[node] + 1):
            if level < deepest:
                targets.append(len(owners))
                rows[level].append(len(owners))
                owners.append(node)
                above.append([])
                below.append([])
            for target in targets:
                above[target].append(element)
            below[element] = targets
            element = targets[-1]
    return Levels(nodes=len(depths), rows=rows, above=above, below=below, owners=owners)


def _depths_of(predecessors: Neighbours) -> list[int]:
    """Return for each node how many edges the longest path to it has. Nodes may be in any order."""
    depths = [0] * len(predecessors)
    for node in in_order(predecessors):
        depths[node] = 1 + max((depths[source] for source in predecessors[node]), default=-1)
    return depths


def in_order(predecessors: Neighbours) -> list[int]:
    """Return the nodes so that each comes after all it depends on.

    Raises:
        ValueError: The edges form a cycle.
    """
    order = start_order(predecessors, successors_of(predecessors), Fifo())
    if len(order) < len(predecessors):
        left_over = sorted(set(range(len(predecessors))) - set(order))
        path = cycles_among(predecessors, left_over)[0]
        raise ValueError(f"Nodes {' -> '.join(map(str, [*path, path[0]]))} form a cycle. Draw a graph without cycles.")
    return order
