"""How the state of a unit is marked in a drawing."""

from collections.abc import Mapping
from typing import Literal

Mark = Literal["pending", "running", "retrying", "succeeded", "failed", "skipped", "cancelled"]

ROOM = 2  # a space and the glyph

# No glyph here is an emoji or of ambiguous width, so each takes one cell.
GLYPHS: Mapping[Mark, str] = {
    "pending": "⋅",
    "running": "►",
    "retrying": "↻",
    "succeeded": "✓",
    "failed": "✗",
    "skipped": "↷",
    "cancelled": "⊘",
}
ASCII_GLYPHS: Mapping[Mark, str] = {
    "pending": ".",
    "running": ">",
    "retrying": "~",
    "succeeded": "+",
    "failed": "x",
    "skipped": "-",
    "cancelled": "/",
}
_CODES: Mapping[Mark, str] = {
    "pending": "2",
    "running": "36",
    "retrying": "35",
    "succeeded": "32",
    "failed": "1;31",
    "skipped": "33",
    "cancelled": "2;33",
}


def marked(name: str, mark: Mark | None, *, ascii_only: bool = False) -> str:
    """Return a name with the glyph of its state behind it.

    Args:
        name: One line.
        mark: The state, if there is one.
        ascii_only: Whether to keep to ASCII.
    """
    return name if mark is None else f"{name} {(ASCII_GLYPHS if ascii_only else GLYPHS)[mark]}"


def painted(text: str, mark: Mark | None) -> str:
    """Return a text in the colour of a state, for a terminal that knows colours.

    Args:
        text: One line.
        mark: The state; if there is none, the text stays as it is.
    """
    return text if mark is None else f"\x1b[{_CODES[mark]}m{text}\x1b[0m"
