"""The clock of the event loop, for an object that may be made before there is one."""

import time
from typing import TYPE_CHECKING

from fusynk._runtime.backend import loop_clock

if TYPE_CHECKING:
    from collections.abc import Callable


class LoopClock:
    """Tells the time of the loop that adopted it last; before that, of the system's monotonic clock."""

    def __init__(self) -> None:
        self._read: Callable[[], float] = time.monotonic

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self._read()

    def adopt(self) -> None:
        """Tell the time of the running loop from now on."""
        self._read = loop_clock()
