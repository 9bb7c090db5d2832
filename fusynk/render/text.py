"""Graphs drawn as text: as boxes and lines if that fits, else as one line a unit."""

from collections.abc import Mapping, Sequence

from fusynk.render.cells import in_ascii, width_of
from fusynk.render.escape import for_terminal
from fusynk.render.geometry.drawing import Drawing
from fusynk.render.glyphs import ARROW, DOWN, JUNCTION, LEFT, RIGHT, UP, lines_in
from fusynk.render.layout import lay_out
from fusynk.render.marks import ROOM, Mark, marked, painted
from fusynk.render.rails import draw_rails

__all__ = ["draw", "draw_rails", "draw_text"]

# What a cell holds once a direction is added, for any code it holds before.
_ALSO = {direction: bytes(code | direction for code in range(256)) for direction in (UP, DOWN, LEFT, RIGHT)}
_MOST_EDGES = 5_000
_MOST_CELLS = 2_000_000


def draw(
    names: Sequence[str],
    predecessors: Sequence[Sequence[int]],
    *,
    width: int | None,
    marks: Mapping[int, Mark] | None = None,
    colour: bool = False,
    ascii_only: bool = False,
) -> str:
    """Draw a graph as boxes and lines if that fits, else as one line a unit.

    Args:
        names: What to call each node; what could steer a terminal is shown escaped.
        predecessors: For each node, what it depends on.
        width: Of the terminal, in cells. With `None` only graphs too large to be read as boxes are drawn otherwise.
        marks: The state of nodes.
        colour: Whether to paint marked nodes in the colours of their states.
        ascii_only: Whether to keep to ASCII, for encodings that know no boxes.

    Raises:
        ValueError: The edges form a cycle.
    """
    shown = [for_terminal(name, ascii_only=ascii_only) for name in names]
    if sum(map(len, predecessors)) <= _MOST_EDGES:
        drawing = lay_out(shown, predecessors, room=0 if marks is None else ROOM, width=width)
        if drawing.width * drawing.height <= _MOST_CELLS and (width is None or drawing.width <= width):
            return draw_text(drawing, marks=marks, colour=colour, ascii_only=ascii_only)
    return draw_rails(shown, predecessors, width=width, marks=marks, colour=colour, ascii_only=ascii_only)


def draw_text(
    drawing: Drawing, *, marks: Mapping[int, Mark] | None = None, colour: bool = False, ascii_only: bool = False
) -> str:
    """Draw boxes and lines.

    A line belongs to the unit it begins at. `●` is where it parts; `┼` is where two lines cross.

    Args:
        drawing: What lies where.
        marks: The state of nodes; lay out with `room=ROOM` so that there is a space between each mark and its border.
        colour: Whether to paint marked nodes in the colours of their states.
        ascii_only: Whether to keep to ASCII; other characters of names become question marks.
    """
    glyphs = dict(enumerate(lines_in(ascii_only=ascii_only)))
    rows = [row.translate(glyphs) for row in _inked(drawing)]
    patches: list[list[tuple[int, int, str]]] = [[] for _ in rows]
    for box in drawing.boxes:
        mark = (marks or {}).get(box.node)
        label = marked(in_ascii(box.name) if ascii_only else box.name, mark, ascii_only=ascii_only)
        for y in range(box.y, box.y + box.height):
            piece = rows[y][box.x : box.x + box.width]
            if y == box.y + 1:
                piece = piece[0] + _centred(label, box.width - 2) + piece[-1]
            patches[y].append((box.x, box.width, painted(piece, mark) if colour else piece))
    return "\n".join(_patched(row, sorted(pieces)).rstrip() for row, pieces in zip(rows, patches, strict=True))


def _inked(drawing: Drawing) -> list[str]:
    """Return rows of codes, one a cell, for borders and lines."""
    canvas = _Canvas(drawing.width, drawing.height)
    for box in drawing.boxes:
        right, bottom = box.x + box.width - 1, box.y + box.height - 1
        for y in (box.y, bottom):
            canvas.across(y, box.x, right)
        for x in (box.x, right):
            canvas.down(x, box.y, bottom)
    for line in drawing.lines:
        for piece in line.segments:
            if piece.y1 == piece.y2:
                canvas.across(piece.y1, piece.x1, piece.x2)
            else:
                canvas.down(piece.x1, piece.y1, piece.y2)
    for line in drawing.lines:
        for junction in line.junctions:
            canvas.put(junction.x, junction.y, JUNCTION)
        for arrow in line.arrows:
            canvas.put(arrow.x, arrow.y, ARROW)
    return canvas.rows()


class _Canvas:
    """Cells that each hold the directions in which lines leave them.

    Args:
        width: Cells across.
        height: Cells down.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width = width
        self._height = height
        self._cells = bytearray(width * height)

    def across(self, y: int, x1: int, x2: int) -> None:
        """Draw from one cell to another on the right of it."""
        self._lead(slice(y * self._width + x1, y * self._width + x2), RIGHT)
        self._lead(slice(y * self._width + x1 + 1, y * self._width + x2 + 1), LEFT)

    def down(self, x: int, y1: int, y2: int) -> None:
        """Draw from one cell to another below."""
        self._lead(slice(y1 * self._width + x, y2 * self._width + x, self._width), DOWN)
        self._lead(slice((y1 + 1) * self._width + x, (y2 + 1) * self._width + x, self._width), UP)

    def _lead(self, cells: slice, direction: int) -> None:
        self._cells[cells] = self._cells[cells].translate(_ALSO[direction])

    def put(self, x: int, y: int, code: int) -> None:
        """Put a code over what is there."""
        self._cells[y * self._width + x] = code

    def rows(self) -> list[str]:
        """Return the codes of each row."""
        codes = self._cells.decode("latin-1")
        return [codes[start : start + self._width] for start in range(0, len(codes), self._width or 1)]


def _centred(text: str, width: int) -> str:
    left = (width - width_of(text)) // 2
    return " " * left + text + " " * (width - width_of(text) - left)


def _patched(row: str, pieces: Sequence[tuple[int, int, str]]) -> str:
    """Return a row with other text in some places; a piece is where it begins, how many cells it covers, the text."""
    parts: list[str] = []
    at = 0
    for start, covered, text in pieces:
        parts += [row[at:start], text]
        at = start + covered
    return "".join([*parts, row[at:]])
