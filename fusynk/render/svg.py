"""Graphs drawn as SVG: one file that needs nothing else, dark on a dark page, with what belongs together lit up."""

from collections import Counter
from collections.abc import Iterator, Mapping
from string import Template

from fusynk.render.escape import for_xml
from fusynk.render.geometry.drawing import Arrow, Box, Drawing, Line
from fusynk.render.marks import Mark, marked
from fusynk.render.palette import DARK, LIGHT

_ACROSS, _DOWN = 8, 16  # pixels of a cell
_MARGIN = 1  # cells
_ROUND = 4
_HEAD_WIDTH, _HEAD_HEIGHT = 4, 7
_BASELINE = 5
_PIECES_OF_A_CORNER = 2

_SHAPES = """
.fusynk-graph { max-width: 100%; height: auto }
.fusynk-graph .line { fill: none; stroke-width: 1.5 }
.fusynk-graph .box { stroke-width: 1.5 }
.fusynk-graph text { font: 13px ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; text-anchor: middle;
  white-space: pre }
.fusynk-graph .pending .box, .fusynk-graph .skipped .box, .fusynk-graph .cancelled .box { stroke-dasharray: 4 3 }
.fusynk-graph .running .box, .fusynk-graph .retrying .box, .fusynk-graph .failed .box { stroke-width: 2.5 }
.fusynk-graph:has(.unit:hover) .unit:not(:hover) :is(.line, .head, .junction) { opacity: 0.25 }
.fusynk-graph .unit:hover .line { stroke-width: 2.5 }
"""
_COLOURS = Template("""
.fusynk-graph:root { background: $paper }
.fusynk-graph .paper { fill: $paper }
.fusynk-graph .line { stroke: $line }
.fusynk-graph .head, .fusynk-graph .junction { fill: $line }
.fusynk-graph .box { fill: $box; stroke: $line }
.fusynk-graph text { fill: $ink }
.fusynk-graph tspan { fill: $line }
.fusynk-graph .running .box { stroke: $blue } .fusynk-graph .running tspan { fill: $blue }
.fusynk-graph .retrying .box { stroke: $purple } .fusynk-graph .retrying tspan { fill: $purple }
.fusynk-graph .succeeded .box { stroke: $green } .fusynk-graph .succeeded tspan { fill: $green }
.fusynk-graph .failed .box { stroke: $red } .fusynk-graph .failed tspan { fill: $red }
.fusynk-graph .skipped .box { stroke: $yellow } .fusynk-graph .skipped tspan { fill: $yellow }
.fusynk-graph .cancelled .box { stroke: $yellow } .fusynk-graph .cancelled tspan { fill: $yellow }
.fusynk-graph .unit:hover .line { stroke: $blue }
.fusynk-graph .unit:hover :is(.head, .junction) { fill: $blue }
""")
_LIGHT = _COLOURS.substitute(LIGHT)
_DARK = _COLOURS.substitute(DARK)
_STYLE = f"{_SHAPES}{_LIGHT}@media (prefers-color-scheme: dark) {{{_DARK}}}\n"


def draw_svg(drawing: Drawing, *, title: str = "Dependency graph", marks: Mapping[int, Mark] | None = None) -> str:
    """Draw boxes and lines as a document of SVG.

    It holds no script and loads nothing. Hovering over a box lights up its line.

    Args:
        drawing: What lies where.
        title: What to call the graph.
        marks: The state of nodes, which is the class of their group; lay out with `room=ROOM`.
    """
    across, down = (drawing.width + 2 * _MARGIN) * _ACROSS, (drawing.height + 2 * _MARGIN) * _DOWN
    size = f'width="{across}" height="{down}" viewBox="0 0 {across} {down}"'
    lines = {line.source: line for line in drawing.lines}
    marks = marks or {}
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="fusynk-graph" role="img" {size}>',
            f"<title>{for_xml(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<rect class="paper" width="100%" height="100%"/>',
            *(part for box in drawing.boxes for part in _unit(box, lines.get(box.node), marks.get(box.node))),
            "</svg>",
            "",
        ]
    )


def _unit(box: Box, line: Line | None, mark: Mark | None) -> Iterator[str]:
    """Yield a box with all that leads from it."""
    yield f'<g class="unit {mark}">' if mark else '<g class="unit">'
    yield f"<title>{for_xml(box.name)}{f': {mark}' if mark else ''}</title>"
    if line is not None:
        yield f'<path class="line" d="{" ".join(_path(line))}"/>'
        yield f'<path class="head" d="{" ".join(map(_head, line.arrows))}"/>'
        for junction in line.junctions:
            x, y = _middle(junction.x, junction.y)
            yield f'<circle class="junction" cx="{x}" cy="{y}" r="3"/>'
    x, y = _middle(box.x, box.y)
    width, height = (box.width - 1) * _ACROSS, (box.height - 1) * _DOWN
    yield f'<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>'
    glyph = f"<tspan>{marked('', mark)}</tspan>" if mark else ""
    yield f'<text x="{x + width // 2}" y="{y + height // 2 + _BASELINE}">{for_xml(box.name)}{glyph}</text>'
    yield "</g>"


def _middle(x: int, y: int) -> tuple[int, int]:
    """Return the point in the middle of a cell."""
    return (x + _MARGIN) * _ACROSS + _ACROSS // 2, (y + _MARGIN) * _DOWN + _DOWN // 2


def _path(line: Line) -> Iterator[str]:
    """Yield the pieces of a line, rounded where one turns into the next."""
    ends = Counter(end for piece in line.segments for end in ((piece.x1, piece.y1), (piece.x2, piece.y2)))
    parts = {(junction.x, junction.y) for junction in line.junctions}
    corners: dict[tuple[int, int], list[str]] = {
        end: [] for end, count in ends.items() if count == _PIECES_OF_A_CORNER and end not in parts
    }
    heads = {(arrow.x, arrow.y) for arrow in line.arrows}
    for piece in line.segments:
        along_x, along_y = (_ROUND, 0) if piece.y1 == piece.y2 else (0, _ROUND)
        first, last = (piece.x1, piece.y1), (piece.x2, piece.y2)
        (x1, y1), (x2, y2) = _middle(*first), _middle(*last)
        if first in corners:
            x1, y1 = x1 + along_x, y1 + along_y
            corners[first].append(f"{x1} {y1}")
        if last in corners:
            x2, y2 = x2 - along_x, y2 - along_y
            corners[last].append(f"{x2} {y2}")
        yield f"M{x1} {y1}L{x2} {y2 + (_DOWN - _HEAD_HEIGHT if last in heads else 0)}"
    for corner, (start, end) in corners.items():
        x, y = _middle(*corner)
        yield f"M{start}Q{x} {y} {end}"


def _head(arrow: Arrow) -> str:
    x, y = _middle(arrow.x, arrow.y + 1)
    return f"M{x} {y}l-{_HEAD_WIDTH} -{_HEAD_HEIGHT}h{2 * _HEAD_WIDTH}z"
