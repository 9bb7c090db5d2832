"""A way to a terminal that nobody has to wait for."""

import os
import select
import sys
from contextlib import suppress
from typing import TextIO


class Outlet:
    """Writes to the terminal of a stream as much as that takes, and keeps the rest.

    A terminal on hold (Ctrl-S), or one that nobody reads, would hold up the loop of a run otherwise. The terminal is
    opened anew for that, by the first who writes: whether a write waits is not a setting of the stream but of what it
    has opened.

    Args:
        stream: Leads to the terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding: str = getattr(stream, "encoding", None) or "utf-8"
        self._rest = b""
        self._descriptor: int | None = None
        self._was_opened = False

    def isatty(self) -> bool:
        """Tell that this is a terminal."""
        return True

    def write(self, text: str) -> int:
        """Keep a text to be written."""
        self._rest += text.encode(self.encoding, "backslashreplace")
        return len(text)

    def flush(self) -> None:
        """Write what is taken now."""
        if not self._was_opened:
            self._was_opened = True
            self._descriptor = _opened_anew(self._stream)
        if self._descriptor is None:
            text, self._rest = self._rest.decode(self.encoding), b""
            self._stream.write(text)
            self._stream.flush()
            return
        with suppress(BlockingIOError):
            while self._rest:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]

    def has_room(self, patience: float = 0.0) -> bool:
        """Tell whether all has been written, so that more may be.

        Args:
            patience: How many seconds to wait for that.
        """
        self.flush()
        if self._rest and self._descriptor is not None and patience:
            select.select([], [self._descriptor], [], patience)
            self.flush()
        return not self._rest

    def size(self) -> tuple[int, int]:
        """Return the width and the height of the terminal, in cells."""
        found = (0, 0)
        with suppress(AttributeError, OSError, ValueError):
            found = os.get_terminal_size(self._stream.fileno())
        told = [os.environ.get(name, "") for name in ("COLUMNS", "LINES")]
        width, height = (int(text) if text.isdecimal() else size for text, size in zip(told, found, strict=True))
        return width or 80, height or 24

    def close(self) -> None:
        """Let go of the terminal."""
        descriptor, self._descriptor, self._rest = self._descriptor, None, b""
        if descriptor is not None:
            os.close(descriptor)


def _opened_anew(stream: TextIO) -> int | None:
    """Return a descriptor of a stream's terminal that does not wait, or `None` where there is no such thing."""
    if sys.platform == "win32":
        return None
    try:
        return os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (AttributeError, OSError, ValueError):
        return None
