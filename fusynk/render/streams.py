"""What can be told of the stream that a view writes to."""

import os
import select
from contextlib import suppress
from typing import TextIO

from loguru import logger


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream leads to a terminal whose cursor can be moved."""
    try:
        return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
    except (AttributeError, OSError, ValueError):  # closed, or something else that only has `write`
        return False


def leads_to_the_same(stream: TextIO, other: TextIO) -> bool:
    """Tell whether two streams lead to one file or terminal."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.fstat(other.fileno()))
    except (AttributeError, OSError, TypeError, ValueError):  # there may be none, or one of a kind of its own
        return False


def takes_more(stream: TextIO, patience: float = 0.0) -> bool:
    """Tell whether a stream takes a line now: a pipe that nobody reads, or a terminal on hold, would block the loop.

    Args:
        stream: The stream.
        patience: How many seconds to wait until it does.
    """
    try:
        return bool(select.select([], [stream.fileno()], [], patience)[1])
    except (AttributeError, OSError, ValueError):  # no descriptor, or a platform that asks sockets only
        return True


def encodable(text: str, stream: TextIO) -> str:
    """Return a text with what the stream cannot encode written as in Python source."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, UnicodeError):
        return text.encode("ascii", "backslashreplace").decode("ascii")


def warn(error: BaseException) -> None:
    """Log that a view is shown no more."""
    with suppress(Exception):
        logger.warning("The progress view raised {} and is dropped; the run goes on", type(error).__name__)
