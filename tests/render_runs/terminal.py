"""A small terminal to look at, behind a pseudo terminal: what a program would show to its reader."""

import codecs
import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TextIO

_CONTROL = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])")


class Terminal:
    """Understands what rich's live displays send, and refuses anything else.

    Attributes:
        scrolled: The lines that have left it at the top.
        cursor_is_shown: Whether.
        colours: The numbers of all styles that were asked for.
        received: All that was sent.
    """

    def __init__(self, width: int, height: int) -> None:
        self._width, self._height = width, height
        self._lines = [[" "] * width for _ in range(height)]
        self._row = self._column = 0
        self._wraps = False
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._rest = ""
        self.scrolled: list[str] = []
        self.cursor_is_shown = True
        self.colours: set[str] = set()
        self.received = ""
        self._news = threading.Condition()

    def wait_for(self, text: str) -> None:
        """Wait until this has been sent."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.received, timeout=60), self.received

    def feed(self, sent: bytes) -> None:
        """Show what was sent."""
        text = self._decoder.decode(sent)
        with self._news:
            self.received += text
            self._news.notify_all()
        text, self._rest = self._rest + text, ""
        position = 0
        while position < len(text):
            if text[position] == "\x1b":
                found = _CONTROL.match(text, position)
                if found is None and len(text) - position < 12:
                    self._rest = text[position:]
                    return
                assert found is not None, f"unknown: {text[position : position + 12]!r}"
                self._control(*found.groups())
                position = found.end()
            else:
                self._put(text[position])
                position += 1

    def _control(self, private: str, parameters: str, kind: str) -> None:
        line = self._lines[self._row]
        match kind:
            case "m":
                self.colours |= set(parameters.split(";"))
            case "K":
                line[0 if parameters == "2" else self._column :] = " " * (
                    self._width if parameters == "2" else self._width - self._column
                )
            case "A":
                self._row = max(0, self._row - int(parameters or 1))
            case "h" | "l":
                assert (private, parameters) == ("?", "25")
                self.cursor_is_shown = kind == "h"
            case _:
                raise AssertionError(f"unknown: {private}{parameters}{kind}")
        self._wraps = False

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column, self._wraps = 0, False
        elif character == "\n":
            self._next_line()
        else:
            assert character.isprintable() or character == "\u200e", f"sent to a terminal: {character!r}"
            if self._wraps:
                self._column = 0
                self._next_line()
            self._lines[self._row][self._column] = character
            self._wraps = self._column == self._width - 1
            self._column += not self._wraps

    def _next_line(self) -> None:
        self._wraps = False
        if self._row < self._height - 1:
            self._row += 1
        else:
            self.scrolled.append("".join(self._lines.pop(0)).rstrip())
            self._lines.append([" "] * self._width)

    @property
    def lines(self) -> list[str]:
        """What is on it, without the empty lines at the end."""
        lines = ["".join(line).rstrip() for line in self._lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def everything(self) -> list[str]:
        """What has been on it from the first line to the last."""
        return [*self.scrolled, *self.lines]


@contextmanager
def terminal(width: int = 80, height: int = 24, *, encoding: str = "utf-8") -> Generator[tuple[Terminal, TextIO]]:
    """A terminal, and the stream that leads to it. What is shown is complete after the block."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    screen = Terminal(width, height)
    reader = threading.Thread(target=_read, args=(master, screen), name="terminal")
    stream = os.fdopen(slave, "w", encoding=encoding, errors="backslashreplace", buffering=1)
    reader.start()
    try:
        yield screen, stream
    finally:
        stream.close()
        reader.join()
        os.close(master)


def _read(master: int, screen: Terminal) -> None:
    while True:
        try:
            sent = os.read(master, 65536)
        except OSError:  # all have closed their end
            return
        if not sent:
            return
        screen.feed(sent)


@contextmanager
def stderr(stream: Any) -> Generator[None]:
    """Let the standard error lead elsewhere."""
    former, sys.stderr = sys.stderr, stream
    try:
        yield
    finally:
        sys.stderr = former
