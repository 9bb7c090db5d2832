"""Where everything of a drawn graph lies, in character cells. Renderers turn this into text, SVG and reports."""

from collections.abc import Sequence
from itertools import accumulate

from fusynk.render.cells import width_of
from fusynk.render.escape import for_terminal
from fusynk.render.geometry.arrangement import arranged
from fusynk.render.geometry.drawing import BOX_HEIGHT, Box, Drawing, Line, moved_box, moved_line
from fusynk.render.geometry.effort import Effort
from fusynk.render.geometry.gaps import gaps_of
from fusynk.render.geometry.levels import in_order, levels_of
from fusynk.render.geometry.lines import lines_of
from fusynk.render.geometry.ports import width_for
from fusynk.render.geometry.sizes import NARROWEST, Sizes

EFFORT = 300_000
_BORDERS = 4
_SHELF = 120
_BETWEEN_PARTS = 3
_BETWEEN_SHELVES = 1


def lay_out(
    names: Sequence[str],
    predecessors: Sequence[Sequence[int]],
    *,
    room: int = 0,
    width: int | None = None,
    effort: Effort | None = None,
) -> Drawing:
    """Draw a graph: boxes on levels, each below all it depends on, and one line from each box to its dependents.

    The same graph is drawn the same way every time, on every machine. Parts of it that no edge connects stand side by
    side, those of one box last.

    Args:
        names: What is written in each box, whole; what could steer a terminal is shown escaped.
        predecessors: For each node, what it depends on. An edge that is listed twice is drawn once.
        room: Cells to keep free after each name, for a mark.
        width: Where unconnected parts go on below the others; no part is squeezed into it.
        effort: What may be spent on good looks.

    Raises:
        ValueError: The edges form a cycle.
    """
    shown = [for_terminal(name) for name in names]
    sources = [list(dict.fromkeys(row)) for row in predecessors]
    widths = [
        max(width_of(name) + room + _BORDERS, width_for(len(row)), NARROWEST)
        for name, row in zip(shown, sources, strict=True)
    ]
    in_order(sources)  # tells of a cycle by the caller's numbers, which a part does not know
    effort = effort or Effort(EFFORT)
    parts = [_draw_part(part, shown, sources, widths, effort) for part in _parts(sources)]
    return _on_shelves(parts, max([width or _SHELF, *(part.width for part in parts)]), room)


def _parts(sources: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the nodes of each part that edges connect, in ascending order; those of one node last."""
    neighbours: list[list[int]] = [list(row) for row in sources]
    for node, row in enumerate(sources):
        for source in row:
            neighbours[source].append(node)
    seen: set[int] = set()
    parts: list[list[int]] = []
    for start in range(len(sources)):
        part: list[int] = []
        stack = [start]
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                part.append(node)
                stack += neighbours[node]
        parts.append(sorted(part))
    return sorted(filter(None, parts), key=lambda part: len(part) == 1)


def _draw_part(
    part: Sequence[int], names: Sequence[str], sources: Sequence[Sequence[int]], widths: Sequence[int], effort: Effort
) -> Drawing:
    """Draw one part by itself, with its upper left corner at 0, 0."""
    place = {node: index for index, node in enumerate(part)}
    levels = levels_of([[place[source] for source in sources[node]] for node in part])
    bends = len(levels.owners) - len(part)
    sizes = Sizes(len(part), [*(widths[node] for node in part), *[1] * bends])
    arrangement = arranged(levels, sizes, effort)
    gaps = gaps_of(arrangement)
    tops = list(accumulate((BOX_HEIGHT + gap.tracks + 1 for gap in gaps), initial=0))
    boxes = [
        Box(node=part[node], name=names[part[node]], x=arrangement.left(node), y=top, width=sizes.widths[node])
        for top, row in zip(tops, arrangement.rows, strict=True)
        for node in row
        if node < len(part)
    ]
    lines = lines_of(part, levels.owners, gaps, tops)
    edges = [(box.x, box.x + box.width) for box in boxes]
    edges += [(segment.x1, segment.x2 + 1) for line in lines for segment in line.segments]
    left, right = min(start for start, _ in edges), max(end for _, end in edges)
    return Drawing(
        boxes=tuple(moved_box(box, -left, 0) for box in boxes),
        lines=tuple(moved_line(line, -left, 0) for line in lines),
        width=right - left,
        height=tops[-1] + BOX_HEIGHT,
    )


def _on_shelves(parts: Sequence[Drawing], width: int, room: int) -> Drawing:
    """Put drawings side by side, and on a new shelf below where they would get wider than a width."""
    boxes: list[Box] = []
    lines: list[Line] = []
    x, y, right, bottom = 0, 0, 0, 0
    for part in parts:
        if x and x + part.width > width:
            x, y = 0, bottom + _BETWEEN_SHELVES
        boxes += [moved_box(box, x, y) for box in part.boxes]
        lines += [moved_line(line, x, y) for line in part.lines]
        x += part.width
        right, bottom = max(right, x), max(bottom, y + part.height)
        x += _BETWEEN_PARTS
    boxes.sort(key=lambda box: box.node)
    lines.sort(key=lambda line: line.source)
    return Drawing(boxes=tuple(boxes), lines=tuple(lines), width=right, height=bottom, room=room)
