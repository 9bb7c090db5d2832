"""Words of users in a form that can be shown: on one line, cut to a size, without a value's own `repr`."""

from typing import Final

MOST_BYTES: Final = 1024
_LARGEST = 2**63  # what telemetry and logs can carry as a number


def printable(text: str) -> str:
    r"""Return a text in which control characters are escaped, so that it cannot forge a line or move a cursor.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def cut(text: str) -> str:
    """Return the first kilobyte of a text on one line; that something follows is said by three dots."""
    encoded = printable(text[: MOST_BYTES + 1]).encode()
    if len(encoded) <= MOST_BYTES:
        return encoded.decode()
    return f"{encoded[: MOST_BYTES - 3].decode(errors='ignore')}..."


def plain(value: object) -> bool | int | float | str:
    """Return a value that a user reported: truth, numbers and text as they are, else only the name of its type."""
    match value:
        case bool() | float():
            return value
        case int():
            return value if -_LARGEST <= value < _LARGEST else cut(hex(value))
        case str():
            return cut(value)
        case _:
            return f"<{type(value).__qualname__}>"
