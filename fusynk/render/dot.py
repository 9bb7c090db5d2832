"""Graphs as DOT, for Graphviz."""

from collections.abc import Mapping, Sequence

from fusynk.render.escape import for_dot, for_terminal
from fusynk.render.marks import Mark, marked

_COLOURS: Mapping[Mark, str] = {
    "pending": "gray60",
    "running": "dodgerblue3",
    "retrying": "purple3",
    "succeeded": "forestgreen",
    "failed": "red3",
    "skipped": "goldenrod3",
    "cancelled": "darkorange3",
}


def to_dot(
    names: Sequence[str], predecessors: Sequence[Sequence[int]], *, marks: Mapping[int, Mark] | None = None
) -> str:
    """Return a graph for Graphviz: `dot -Tsvg`.

    Args:
        names: What to call each node.
        predecessors: For each node, what it depends on.
        marks: The state of nodes.
    """
    lines = ["digraph {", "    node [shape=box, fontname=monospace]"]
    for node, name in enumerate(names):
        mark = (marks or {}).get(node)
        colour = f", color={_COLOURS[mark]}, class={mark}" if mark else ""
        lines.append(f'    "n{node}" [label="{for_dot(marked(for_terminal(name), mark))}"{colour}]')
    for node, sources in enumerate(predecessors):
        lines += [f'    "n{source}" -> "n{node}"' for source in dict.fromkeys(sources)]
    return "\n".join([*lines, "}", ""])
