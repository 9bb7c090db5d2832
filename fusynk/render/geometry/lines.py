"""Lines put together from what lies between levels."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fusynk.render.geometry.drawing import BOX_HEIGHT, Arrow, Junction, Line, Segment
from fusynk.render.geometry.gaps import Gap
from fusynk.render.geometry.tracks import Net


@dataclass(slots=True)
class _Strokes:
    """One line as it is drawn downwards; a piece is x1, y1, x2, y2.

    Attributes:
        pieces: In the order they were begun.
        lowest: The last piece that leads down in each column.
    """

    pieces: list[list[int]] = field(default_factory=list[list[int]])
    lowest: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    junctions: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    arrows: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])

    def down(self, x: int, y1: int, y2: int) -> None:
        """Draw downwards; prolong a piece that ends where this one begins."""
        piece = self.lowest.get(x)
        if piece is not None and piece[3] == y1:
            piece[3] = y2
        else:
            self.lowest[x] = [x, y1, x, y2]
            self.pieces.append(self.lowest[x])

    def across(self, y: int, x1: int, x2: int) -> None:
        """Draw to the right."""
        self.pieces.append([x1, y, x2, y])


@dataclass(frozen=True, slots=True)
class _Between:
    """The rows between two levels.

    Attributes:
        upper: The upper border of the upper level.
        lower: The upper border of the lower level.
    """

    upper: int
    lower: int

    def track(self, net: Net) -> int:
        """Return the row of a net's track."""
        return self.upper + BOX_HEIGHT + net.track

    def start(self, net: Net) -> int:
        """Return where a net begins: in the lower border of the upper level, or on the track it hangs from."""
        return self.upper + BOX_HEIGHT - 1 if net.parent is None else self.track(net.parent)

    def end(self, *, in_arrow: bool) -> int:
        """Return where a net ends: above the lower level, or where a bend goes on below it."""
        return self.lower - 1 if in_arrow else self.lower + BOX_HEIGHT - 1


def lines_of(nodes: Sequence[int], owners: Sequence[int], gaps: Sequence[Gap], tops: Sequence[int]) -> list[Line]:
    """Return one line for each node that has dependents.

    Args:
        nodes: What nodes are called in the drawing.
        owners: For each element the node whose line it is part of.
        gaps: What lies below each level but the last.
        tops: The upper border of each level.
    """
    strokes: dict[int, _Strokes] = {}
    for gap, rows in zip(gaps, map(_Between, tops, tops[1:]), strict=True):
        for net in gap.nets:
            _draw(strokes.setdefault(owners[net.element], _Strokes()), net, gap, rows)
    return [
        Line(
            source=nodes[node],
            segments=tuple(Segment(*piece) for piece in line.pieces),
            junctions=tuple(Junction(*place) for place in line.junctions),
            arrows=tuple(Arrow(x, y, nodes[target]) for x, y, target in line.arrows),
        )
        for node, line in strokes.items()
    ]


def _draw(line: _Strokes, net: Net, gap: Gap, rows: _Between) -> None:
    """Draw the part of a line that lies between two levels."""
    row = rows.start(net)
    if not net.is_straight:
        row = rows.track(net)
        line.down(net.top, rows.start(net), row)
        line.across(row, net.left, net.right)
        line.junctions += [(column, row) for column in sorted({net.top, *net.bottoms}) if net.parts_at(column)]
    for column in net.bottoms:
        if column in gap.arrows:
            line.arrows.append((column, rows.end(in_arrow=True), gap.arrows[column]))
        if column not in gap.detours:
            line.down(column, row, rows.end(in_arrow=column in gap.arrows))
