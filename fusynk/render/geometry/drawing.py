"""A drawn graph in character cells: boxes, and lines that each belong to one node. Every renderer reads this."""

from dataclasses import dataclass, replace

BOX_HEIGHT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A node.

    Attributes:
        node: Which one.
        name: What is written in it, as text for a terminal.
        x: Its left border.
        y: Its upper border.
        width: Cells from border to border, both counted.
        height: The same downwards.
    """

    node: int
    name: str
    x: int
    y: int
    width: int
    height: int = BOX_HEIGHT


@dataclass(frozen=True, slots=True)
class Segment:
    """A straight piece of a line from cell to cell, both counted; `x1 <= x2` and `y1 <= y2`."""

    x1: int
    y1: int
    x2: int
    y2: int


@dataclass(frozen=True, slots=True)
class Junction:
    """A cell where a line parts in two or three."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """The head that ends a line, one cell above the box of a dependent.

    Attributes:
        x: Its column.
        y: Its row.
        node: The dependent.
    """

    x: int
    y: int
    node: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """All that leads from one node to its dependents; it begins in the lower border of the node's box.

    Lines of different nodes only cross, one straight down and the other straight across: they share no piece, no
    corner and no junction.

    Attributes:
        source: The node it belongs to.
        segments: Its pieces, none of which prolongs another.
        junctions: Where it parts.
        arrows: Its heads, one for each dependent.
    """

    source: int
    segments: tuple[Segment, ...]
    junctions: tuple[Junction, ...]
    arrows: tuple[Arrow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A graph, drawn.

    Attributes:
        boxes: One for each node, in the order of the nodes.
        lines: One for each node that has dependents, in the same order.
        width: Cells across.
        height: Cells down.
        room: Cells kept free after each name, for a mark.
    """

    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int
    room: int = 0


def moved_box(box: Box, x: int, y: int) -> Box:
    """Return a box further to the right and down."""
    return replace(box, x=box.x + x, y=box.y + y)


def moved_line(line: Line, x: int, y: int) -> Line:
    """Return a line further to the right and down."""
    return Line(
        source=line.source,
        segments=tuple(Segment(part.x1 + x, part.y1 + y, part.x2 + x, part.y2 + y) for part in line.segments),
        junctions=tuple(Junction(part.x + x, part.y + y) for part in line.junctions),
        arrows=tuple(Arrow(part.x + x, part.y + y, part.node) for part in line.arrows),
    )
