"""Dependency graphs of plans as pictures: their declared steps, and what run modes order."""

import sys
from collections.abc import Collection, Mapping

from fusynk._core.wiring import Wiring
from fusynk.render.bars import ASCII, glyphs_for
from fusynk.render.cells import clipped
from fusynk.render.dot import to_dot
from fusynk.render.escape import for_terminal
from fusynk.render.layout import lay_out
from fusynk.render.marks import ROOM, Mark
from fusynk.render.mermaid import to_mermaid
from fusynk.render.svg import draw_svg
from fusynk.render.text import draw

States = Mapping[str, Mark]

LONGEST_IN_BOX = 40  # cells; on a page that others share
_MOST_STEPS = 200
_MOST_EDGES = 1_000


def as_text(
    wiring: Wiring,
    states: States | None = None,
    *,
    width: int | None = None,
    colour: bool = False,
    ascii_only: bool | None = None,
) -> str:
    """Return a graph as text.

    Args:
        wiring: The graph.
        states: The state of steps, by name.
        width: Cells that there are; `None` for as many as it takes.
        colour: Whether to paint steps in the colours of their states.
        ascii_only: Whether to keep to ASCII; `None` if the standard output cannot encode boxes.
    """
    if ascii_only is None:
        ascii_only = glyphs_for(getattr(sys.stdout, "encoding", None)) is ASCII
    return draw(
        wiring.step_names(),
        wiring.dependencies(),
        width=width,
        marks=_marks(wiring, states),
        colour=colour,
        ascii_only=ascii_only,
    )


def is_small(wiring: Wiring) -> bool:
    """Return whether a graph is worth drawing where nobody has asked for it."""
    dependencies = wiring.dependencies()
    return 0 < len(dependencies) <= _MOST_STEPS and sum(map(len, dependencies)) <= _MOST_EDGES


def as_svg(wiring: Wiring, states: States | None = None, *, longest: int | None = None) -> str:
    """Return a graph as an SVG document.

    Args:
        wiring: The graph.
        states: The state of steps, by name.
        longest: Cells that a name may have; `None` for as many as it takes.
    """
    names = wiring.step_names()
    if longest is not None:
        names = [clipped(for_terminal(name), longest, "\N{HORIZONTAL ELLIPSIS}") for name in names]
    room = 0 if states is None else ROOM
    return draw_svg(lay_out(names, wiring.dependencies(), room=room), marks=_marks(wiring, states))


def as_mermaid(wiring: Wiring, states: States | None = None) -> str:
    """Return a graph as a Mermaid flowchart."""
    return to_mermaid(wiring.step_names(), wiring.dependencies(), marks=_marks(wiring, states))


def as_dot(wiring: Wiring, states: States | None = None) -> str:
    """Return a graph in the language of Graphviz."""
    return to_dot(wiring.step_names(), wiring.dependencies(), marks=_marks(wiring, states))


def mimebundle(
    plain: str, kind: str, drawing: str | None, include: Collection[str] | None, exclude: Collection[str] | None
) -> dict[str, str]:
    """Return what a notebook may show of an object, by type of media.

    Args:
        plain: The object in a line.
        kind: The type of its drawing.
        drawing: The drawing, if there is one.
        include: The types that are asked for; `None` for all.
        exclude: The types that are not wanted.
    """
    shown = {"text/plain": for_terminal(plain)} | ({} if drawing is None else {kind: drawing})
    return {
        name: text for name, text in shown.items() if (not include or name in include) and name not in (exclude or ())
    }


def _marks(wiring: Wiring, states: States | None) -> dict[int, Mark] | None:
    if states is None:
        return None
    return {place: states[name] for place, name in enumerate(wiring.step_names()) if name in states}
