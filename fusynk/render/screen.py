"""The lines at the end of a terminal that are drawn again and again, below whatever else is printed."""

import sys
from contextlib import suppress
from threading import RLock
from typing import IO, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment

from fusynk.render.board import Line
from fusynk.render.outlet import Outlet
from fusynk.render.streams import leads_to_the_same

_PATIENCE = 0.5  # seconds that a terminal on hold may hold up the end of a run


class _Picture:
    """Lines as something that rich can show."""

    def __init__(self, lines: list[Line]) -> None:
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the parts of each line."""
        for line in self._lines:
            yield from line
            yield Segment.line()


class _Console(Console):
    """A console that is no reason for a program to end."""

    def on_broken_pipe(self) -> None:
        """Let the error out; rich would close the standard output and exit."""
        raise BrokenPipeError


class _Above:
    """Stands in for stdout or stderr while a screen is shown: takes the screen away before anything is printed.

    What is printed goes its own way, unchanged. The screen comes back when it is drawn the next time.

    Args:
        stream: What it stands in for.
        screen: The screen.
    """

    def __init__(self, stream: TextIO, screen: "Screen") -> None:
        self.stream = stream
        self._screen = screen

    def write(self, text: str) -> int:
        """Write where the screen was."""
        return self._screen.write_above(self.stream, text)

    def writelines(self, lines: list[str]) -> None:
        """Write several texts where the screen was."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        """Be like the stream in all else."""
        return getattr(self.stream, name)


class Screen:
    """Draws on a terminal.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._outlet = Outlet(stream)
        self._console = _Console(file=cast("IO[str]", self._outlet), force_terminal=True, force_interactive=True)
        self._live: Live | None = None
        self._lock = RLock()
        self._stand_ins: dict[str, _Above] = {}
        self._is_line_open = False

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height of the terminal, in cells."""
        self._console.size = self._outlet.size()
        return self._console.size

    def draw(self, lines: list[Line]) -> None:
        """Show these lines in place of the former ones, unless the terminal has not taken those yet."""
        with self._lock:
            if not self._outlet.has_room():
                return
            self._stand_in()
            if self._live is None:
                self._end_open_line()
                self._live = Live(
                    console=self._console,
                    auto_refresh=False,
                    transient=True,
                    redirect_stdout=False,
                    redirect_stderr=False,
                    vertical_overflow="crop",
                )
                self._live.start()
            self._live.update(_Picture(lines), refresh=True)

    def close(self, lines: list[Line]) -> None:
        """Leave these lines behind, and let others print as before.

        Args:
            lines: The last ones.
        """
        with self._lock:
            try:
                if self._outlet.has_room(_PATIENCE):
                    self._take_away()
                    self._end_open_line()
                    self._console.print(_Picture(lines), end="")
                    self._outlet.has_room(_PATIENCE)
            finally:
                self._step_aside()
                self._outlet.close()

    def write_above(self, stream: TextIO, text: str) -> int:
        """Write to a stream of the same terminal."""
        with self._lock:
            with suppress(Exception):  # what others print does not fail because of a screen
                self._take_away()
            self._is_line_open = not text.endswith("\n") if text else self._is_line_open
            return stream.write(text)

    def _take_away(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.update(_Picture([]), refresh=True)
            live.stop()

    def _end_open_line(self) -> None:
        """Finish a line that somebody has begun to print."""
        for stand_in in self._stand_ins.values():
            stand_in.stream.flush()
        if self._is_line_open:
            self._outlet.write("\n")
            self._is_line_open = False

    def _stand_in(self) -> None:
        """Take the place of the streams that lead to this terminal."""
        for name in ("stdout", "stderr") if not self._stand_ins else ():
            stream = getattr(sys, name)
            if leads_to_the_same(stream, self._stream):
                self._stand_ins[name] = _Above(stream, self)
                setattr(sys, name, cast("TextIO", self._stand_ins[name]))

    def _step_aside(self) -> None:
        """Give the streams back, where nobody else has taken their place meanwhile."""
        for name, stand_in in self._stand_ins.items():
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in.stream)
        self._stand_ins.clear()
