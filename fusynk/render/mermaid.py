"""Graphs as mermaid flowcharts."""

from collections.abc import Mapping, Sequence

from fusynk.render.escape import for_mermaid, for_terminal
from fusynk.render.marks import Mark, marked
from fusynk.render.palette import LIGHT

# No `;` and no `:` beyond these: mermaid looks for both in the whole text before it parses anything.
_STYLES: Mapping[Mark, str] = {
    "pending": "stroke-dasharray:2 3",
    "running": f"stroke:{LIGHT['blue']},stroke-width:2px",
    "retrying": f"stroke:{LIGHT['purple']},stroke-width:2px",
    "succeeded": f"stroke:{LIGHT['green']}",
    "failed": f"stroke:{LIGHT['red']},stroke-width:2px",
    "skipped": f"stroke:{LIGHT['yellow']},stroke-dasharray:5 3",
    "cancelled": f"stroke:{LIGHT['yellow']},stroke-dasharray:2 3",
}


def to_mermaid(
    names: Sequence[str], predecessors: Sequence[Sequence[int]], *, marks: Mapping[int, Mark] | None = None
) -> str:
    """Return a flowchart from top to bottom, to paste where mermaid is drawn, such as in Markdown.

    Args:
        names: What to call each node.
        predecessors: For each node, what it depends on.
        marks: The state of nodes.
    """
    marks = marks or {}
    lines = ["flowchart TD"]
    for node, name in enumerate(names):
        mark = marks.get(node)
        lines.append(f'    n{node}["{for_mermaid(marked(for_terminal(name), mark))}"]{f":::{mark}" if mark else ""}')
    for node, sources in enumerate(predecessors):
        lines += [f"    n{source} --> n{node}" for source in dict.fromkeys(sources)]
    lines += [f"    classDef {mark} {style}" for mark, style in _STYLES.items() if mark in marks.values()]
    return "\n".join(lines) + "\n"
