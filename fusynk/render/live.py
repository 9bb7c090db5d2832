"""The progress of a run on the standard error: drawn on a terminal, elsewhere a line for each change.

Nothing that fails here is the run's concern.
"""

import sys
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Literal, TextIO, cast

import anyio
from anyio import CancelScope, move_on_after

from fusynk._core.records import Records
from fusynk.render.lines import Lines
from fusynk.render.streams import is_terminal, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from fusynk.render.board import Board

BETWEEN_PICTURES = 0.125  # seconds
_terminal_in_use = Lock()  # one run at a time draws on it; the next one may when that has ended


class Drawing:
    """Draws the state of a run at the end of a terminal, eight times a second at most.

    It looks at the records of the run when it draws; the run tells it nothing, so steps cost no more than without it.

    Args:
        stream: The terminal.
    """

    hears_events: Literal[False] = False

    def __init__(self, stream: TextIO) -> None:
        # Loaded before the first step begins, because it takes as long as some steps do.
        from fusynk.render.bars import glyphs_for  # noqa: PLC0415
        from fusynk.render.board import Board  # noqa: PLC0415
        from fusynk.render.screen import Screen  # noqa: PLC0415

        self._screen = Screen(stream)
        self._board_of = partial(Board, glyphs=glyphs_for(getattr(stream, "encoding", None)))
        self._may_draw = False
        self._is_broken = False

    async def live(self, records: Records, over: anyio.Event) -> None:
        """Draw by the clock, until the run is over.

        Args:
            records: What happens in the run.
            over: Set when the last step has ended, and all that is owed for them is done.
        """
        board = self._board_of(records)
        with CancelScope(shield=True):
            while not over.is_set():
                with move_on_after(BETWEEN_PICTURES):
                    await over.wait()
                if not over.is_set():
                    self._guarded(self._draw, board)
            self._guarded(self._end, board)

    def _draw(self, board: "Board") -> None:
        if self._has_terminal():
            board.look()
            self._screen.draw(board.lines(anyio.current_time(), *self._screen.size))

    def _end(self, board: "Board") -> None:
        """Leave the last picture behind; of a run that was over before the first one only its last line."""
        was_drawn = self._may_draw
        if self._has_terminal():
            width, height = self._screen.size
            board.look()
            lines = board.lines(anyio.current_time(), width, height if was_drawn else 0, is_over=True)
            self._screen.close(lines)
            self._release()

    def _has_terminal(self) -> bool:
        """Tell whether no other run draws."""
        self._may_draw = self._may_draw or _terminal_in_use.acquire(blocking=False)
        return self._may_draw

    def _release(self) -> None:
        if self._may_draw:
            self._may_draw = False
            _terminal_in_use.release()

    def _guarded(self, draw: "Callable[[Board], None]", board: "Board") -> None:
        """Draw; what fails ends the view with a warning, and not the run."""
        if self._is_broken:
            return
        try:
            draw(board)
        except BaseException as error:
            self._is_broken = True
            with suppress(Exception):
                self._screen.close([])
            self._release()
            warn(error)
            if not isinstance(error, Exception):
                raise


def progress_view() -> Drawing | Lines | None:
    """Return how the progress of a run is shown on the standard error, or `None` where nobody could see it."""
    stream = cast("TextIO | None", sys.stderr)
    try:
        if stream is None or getattr(stream, "closed", False):
            return None
        return Drawing(stream) if is_terminal(stream) else Lines(stream)
    except Exception as error:  # noqa: BLE001 - logged; a view does not keep a run from starting
        warn(error)
        return None
