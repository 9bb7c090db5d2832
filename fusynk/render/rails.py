"""Graphs drawn as one line a unit, beside rails that show what depends on what; for narrow terminals."""

from collections.abc import Iterator, Mapping, Sequence
from sys import maxsize

from fusynk._core.graph import Neighbours, successors_of
from fusynk.render.cells import clipped, width_of
from fusynk.render.escape import for_terminal
from fusynk.render.geometry.levels import in_order
from fusynk.render.glyphs import BULLET, DOWN, JUNCTION, LAST_BULLET, LEFT, RIGHT, UP, lines_in
from fusynk.render.marks import ROOM, Mark, marked, painted

_LEAST_FOR_A_NAME = 16


def draw_rails(
    names: Sequence[str],
    predecessors: Neighbours,
    *,
    width: int | None = None,
    marks: Mapping[int, Mark] | None = None,
    colour: bool = False,
    ascii_only: bool = False,
) -> str:
    """Draw a graph as one line a unit, each below all it depends on.

    A unit's rail leads down from its bullet to those that depend on it. What joins a unit's line is what it depends on:
    its rail ends there (`┘`, `┴`) or goes on (`├`, `●`); `┼` only crosses. Nothing depends on a unit with a square
    bullet.

    Args:
        names: What to call each node; what could steer a terminal is shown escaped.
        predecessors: For each node, what it depends on.
        width: Of the terminal, in cells. Longer lines are cut, never wrapped. Where rails would leave no place for
            names, what a unit depends on is listed behind its name instead.
        marks: The state of nodes.
        colour: Whether to paint marked nodes in the colours of their states.
        ascii_only: Whether to keep to ASCII.

    Raises:
        ValueError: The edges form a cycle.
    """
    shown = [for_terminal(name, ascii_only=ascii_only) for name in names]
    sources = [list(dict.fromkeys(row)) for row in predecessors]
    order = _depth_first(sources)
    limit = maxsize if width is None else width
    glyphs, rest = lines_in(ascii_only=ascii_only), "..." if ascii_only else "…"
    rails = ["".join([glyphs[code] for code in row]) for row in _rails(order, sources)]
    across = max(map(len, rails), default=0) + 1
    has_rails = across + min(_LEAST_FOR_A_NAME, max(map(width_of, shown), default=0)) <= limit
    lines: list[str] = []
    for node, row in zip(order, rails, strict=True):
        before = row.ljust(across) if has_rails else ""
        mark = (marks or {}).get(node)
        name = clipped(shown[node], limit - len(before) - (ROOM if mark else 0), rest)
        label = marked(name, mark, ascii_only=ascii_only)
        behind = "" if has_rails else _listed([shown[source] for source in sources[node]], ascii_only=ascii_only)
        behind = clipped(behind, limit - len(before) - width_of(label), rest)
        lines.append(before + (painted(label, mark) if colour else label) + behind)
    return "\n".join(lines)


def _listed(names: Sequence[str], *, ascii_only: bool) -> str:
    return f" {'<-' if ascii_only else '←'} {', '.join(names)}" if names else ""


def _depth_first(predecessors: Neighbours) -> list[int]:
    """Return the nodes so that each comes after all it depends on, and soon after the last of these.

    Raises:
        ValueError: The edges form a cycle.
    """
    in_order(predecessors)
    successors = successors_of(predecessors)
    open_edges = [len(sources) for sources in predecessors]
    stack = [node for node, count in enumerate(open_edges) if not count][::-1]
    order: list[int] = []
    while stack:
        node = stack.pop()
        order.append(node)
        for dependent in reversed(successors[node]):
            open_edges[dependent] -= 1
            if not open_edges[dependent]:
                stack.append(dependent)
    return order


def _rails(order: Sequence[int], predecessors: Neighbours) -> Iterator[list[int]]:
    """Yield a row of characters for each node: one for each lane, and one between two lanes."""
    waiting = list(map(len, successors_of(predecessors)))
    taken: list[bool] = []
    lane_of: dict[int, int] = {}
    for node in order:
        for source in predecessors[node]:
            waiting[source] -= 1
        goes_on = {lane_of[source]: waiting[source] > 0 for source in predecessors[node]}
        free = taken.index(False) if False in taken else len(taken)
        own = min((lane for lane, does in goes_on.items() if not does), default=free)
        taken += [False] * (own + 1 - len(taken))
        yield _row(taken, goes_on, own, LAST_BULLET if not waiting[node] else BULLET)
        for lane, does in goes_on.items():
            taken[lane] = does
        taken[own] = waiting[node] > 0
        lane_of[node] = own
        while taken and not taken[-1]:
            taken.pop()


def _row(taken: Sequence[bool], goes_on: Mapping[int, bool], own: int, bullet: int) -> list[int]:
    """Return the row of one unit.

    Args:
        taken: Whether a rail comes down in each lane.
        goes_on: For each lane whose rail leads to the unit, whether it goes on to others.
        own: The lane of the unit.
        bullet: Its character.
    """
    first, last = min(own, *goes_on, own), max(own, *goes_on, own)
    row: list[int] = []
    for lane, comes_down in enumerate(taken):
        across = LEFT * (first < lane <= last) + RIGHT * (first <= lane < last)
        here = across + (UP + DOWN) * comes_down
        if lane == own:
            here = bullet
        elif lane in goes_on:
            here = across + UP + DOWN * goes_on[lane]
            here = JUNCTION if here == UP + DOWN + LEFT + RIGHT else here
        row += [here, (LEFT + RIGHT) * (first <= lane < last)]
    return row[:-1]
