"""Dependency graphs of plans as pictures: their declared steps, and what run modes order."""

from collections.abc import Mapping

from fusynk._core.wiring import Wiring
from fusynk.render.dot import to_dot
from fusynk.render.escape import for_markup
from fusynk.render.layout import lay_out
from fusynk.render.marks import ROOM, Mark
from fusynk.render.mermaid import to_mermaid
from fusynk.render.svg import draw_svg
from fusynk.render.text import draw

States = Mapping[str, Mark]


def as_text(
    wiring: Wiring,
    states: States | None = None,
    *,
    width: int | None = None,
    colour: bool = False,
    ascii_only: bool = False,
) -> str:
    """Return a graph as text.

    Args:
        wiring: The graph.
        states: The state of steps, by name.
        width: Cells that there are; `None` for as many as it takes.
        colour: Whether to paint steps in the colours of their states.
        ascii_only: Whether to keep to ASCII.
    """
    return draw(
        wiring.step_names(),
        wiring.dependencies(),
        width=width,
        marks=_marks(wiring, states),
        colour=colour,
        ascii_only=ascii_only,
    )


def as_svg(wiring: Wiring, states: States | None = None) -> str:
    """Return a graph as an SVG document."""
    names = [for_markup(name) for name in wiring.step_names()]
    room = 0 if states is None else ROOM
    return draw_svg(lay_out(names, wiring.dependencies(), room=room), marks=_marks(wiring, states))


def as_mermaid(wiring: Wiring, states: States | None = None) -> str:
    """Return a graph as a Mermaid flowchart."""
    return to_mermaid(wiring.step_names(), wiring.dependencies(), marks=_marks(wiring, states))


def as_dot(wiring: Wiring, states: States | None = None) -> str:
    """Return a graph in the language of Graphviz."""
    return to_dot(wiring.step_names(), wiring.dependencies(), marks=_marks(wiring, states))


def _marks(wiring: Wiring, states: States | None) -> dict[int, Mark] | None:
    if states is None:
        return None
    return {place: states[name] for place, name in enumerate(wiring.step_names()) if name in states}
