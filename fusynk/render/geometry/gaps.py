"""What lies between two levels: lines on their tracks, and arrows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fusynk.render.geometry.arrangement import Arrangement
from fusynk.render.geometry.ports import ports_of
from fusynk.render.geometry.tracks import Net, set_tracks

_LITTLE = 1  # the narrowest box is wide enough for that


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What lies between two levels.

    Attributes:
        nets: The lines, with the ends of detours after those they hang from.
        tracks: How many rows they need.
        arrows: The columns where an arrow ends, with the node it points to.
        detours: The columns where the end of a detour hangs from the rest of it.
    """

    nets: Sequence[Net]
    tracks: int
    arrows: Mapping[int, int]
    detours: Collection[int]


def gaps_of(arrangement: Arrangement) -> list[Gap]:
    """Return what lies below each level but the last."""
    return [_gap_below(arrangement, level) for level in range(len(arrangement.rows) - 1)]


def _gap_below(arrangement: Arrangement, level: int) -> Gap:
    levels, columns = arrangement.levels, arrangement.columns
    upper, lower = arrangement.rows[level], arrangement.rows[level + 1]
    bottoms: dict[int, list[int]] = {element: [] for element in upper if levels.below[element]}
    tops = {element: _top(arrangement, element) for element in bottoms}
    taken = set(tops.values())
    arrows: dict[int, int] = {}
    for target in lower:
        sources = sorted(levels.above[target], key=tops.__getitem__)
        ends = [columns[target]]
        if target < levels.nodes:
            starts = [tops[source] for source in sources]
            ends = ports_of(starts, arrangement.left(target), arrangement.sizes.widths[target], taken)
            arrows |= dict.fromkeys(ends, target)
        for source, end in zip(sources, ends, strict=True):
            bottoms[source].append(end)
    nets = [Net(element, tops[element], sorted(ends)) for element, ends in bottoms.items()]
    tracks = set_tracks(nets, _covered(arrangement, upper))
    detours = {net.top for net in nets if net.parent is not None}
    return Gap(nets=nets, tracks=tracks, arrows=arrows, detours=detours)


def _top(arrangement: Arrangement, element: int) -> int:
    """Return the column where a line comes down: the middle of its box, or a little beside if it is straight then."""
    column = arrangement.columns[element]
    bend = arrangement.levels.below[element][-1]
    beside = arrangement.columns[bend]
    nodes = arrangement.levels.nodes
    return beside if element < nodes <= bend and abs(beside - column) <= _LITTLE else column


def _covered(arrangement: Arrangement, row: Sequence[int]) -> dict[int, int]:
    """Return the columns below the boxes of a level, each with the node."""
    return {
        column: node
        for node in row
        if node < arrangement.levels.nodes
        for column in range(arrangement.left(node), arrangement.left(node) + arrangement.sizes.widths[node])
    }
