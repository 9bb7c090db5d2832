"""How many cells of a terminal a text takes up."""

import unicodedata

_MARKS = frozenset({"Mn", "Me"})  # written over the character before
_EMOJI_STYLE = "\ufe0f"  # asks for the emoji of a character that also has a narrow form
_JOINING = range(0x1160, 0x1200)  # vowels and ends that join the syllable before
_TONES_OF_SKIN = range(0x1F3FB, 0x1F400)  # change the emoji before


def width_of(text: str) -> int:
    """Return how many cells a text takes up: two for wide characters and emoji, none for combining marks.

    Args:
        text: One line without control characters.
    """
    return len(text) if text.isascii() else sum(_widths(text))


def clipped(text: str, width: int, rest: str) -> str:
    """Return as much of a text as a width holds, with a sign where something is left out.

    Args:
        text: One line without control characters.
        width: In cells.
        rest: The sign.
    """
    if width_of(text) <= width:
        return text
    kept, left = 0, width - len(rest)
    for taken in _widths(text):
        left -= taken
        if left < 0:
            break
        kept += 1
    return (text[:kept] + rest)[: max(0, width)]


def in_ascii(text: str) -> str:
    """Return a text that takes up as many cells, with question marks for what is not ASCII.

    Args:
        text: One line without control characters.
    """
    if text.isascii():
        return text
    return "".join(char if char.isascii() else "?" * width for char, width in zip(text, _widths(text), strict=True))


def _widths(text: str) -> list[int]:
    """Return the cells that each character adds."""
    widths: list[int] = []
    for char in text:
        if char == _EMOJI_STYLE:
            widths.append(int(widths[-1:] == [1]))
        elif unicodedata.category(char) in _MARKS or ord(char) in _JOINING or (widths and ord(char) in _TONES_OF_SKIN):
            widths.append(0)
        else:
            widths.append(1 + (unicodedata.east_asian_width(char) in "WF"))
    return widths
