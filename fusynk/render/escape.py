"""Names made harmless, one function for each place where they are shown. A name may be any string at all."""

import unicodedata
from html import escape

# Control and format characters (directions among them), lone surrogates, private, unassigned, ends of lines.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Marks written over the character before; at the start of a name that would be someone else's.
_OVER = frozenset({"Mn", "Me"})
# Letters, marks and symbols that look like nothing: fillers, a joiner, the empty braille pattern.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")


def for_terminal(name: str, *, ascii_only: bool = False) -> str:
    r"""Return a name as one line of visible text; what could steer a terminal is written as in Python source.

    A second call changes nothing more.

    Args:
        name: Any string.
        ascii_only: Whether everything beyond ASCII is written like that too.

    Examples:
        >>> print(for_terminal("two\nlines, \x1b[31mred"))
        two\nlines, \x1b[31mred
        >>> print(for_terminal(" "))
        ' '
    """
    if not (name.isascii() and name.isprintable()):
        start = next((place for place, char in enumerate(name) if unicodedata.category(char) not in _OVER), len(name))
        name = "".join(
            char if place >= start and _is_plain(char, ascii_only=ascii_only) else _escaped(char)
            for place, char in enumerate(name)
        )
    return name if name.strip() else f"'{name}'"


def _is_plain(char: str, *, ascii_only: bool) -> bool:
    if char.isascii() or ascii_only:
        return char.isascii() and char.isprintable()
    category = unicodedata.category(char)
    return category not in _UNSEEN and category != "Zs" and char not in _BLANK


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def for_xml(name: str) -> str:
    """Return a name as text or as an attribute's value of SVG, XML or HTML.

    Args:
        name: Any string.
    """
    return escape(for_terminal(name))


def for_mermaid(name: str) -> str:
    """Return a name for a label in quotes of mermaid, where what is no letter or digit may be syntax.

    Args:
        name: Any string.
    """
    text = for_terminal(name)
    return "".join(char if char.isalnum() or char in " _-.,'" else f"#{ord(char)};" for char in text)


def for_dot(name: str) -> str:
    """Return a name for a string in quotes of DOT, where backslashes and ampersands are instructions.

    Args:
        name: Any string.
    """
    return for_terminal(name).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")


def for_json(text: str) -> str:
    """Return a text that is valid in JSON everywhere: half a surrogate pair is written as in Python source.

    Args:
        text: Any string.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
