"""What differs between event loops: the clock, and who asked for a cancellation."""

import asyncio
import sys
import time
from collections.abc import Callable
from math import inf
from typing import cast

import anyio


def in_trio() -> bool:
    """Tell whether the current task belongs to trio."""
    trio = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_task())


def loop_clock() -> Callable[[], float]:
    """Return the monotonic clock that the running loop measures deadlines with."""
    if in_trio():
        clock: Callable[[], float] = sys.modules["trio"].lowlevel.current_clock().current_time
        return clock
    loop = asyncio.get_running_loop()
    # uvloop's time stands still while callbacks run; both are the system's monotonic clock.
    is_system = type(loop).time is asyncio.BaseEventLoop.time or type(loop).__module__.startswith("uvloop")
    return time.monotonic if is_system else loop.time


def loop_poster() -> Callable[[Callable[[], object]], object]:
    """Return what has the running loop call a function soon, from any thread; in order, also with threads' results."""
    if in_trio():
        post: Callable[[Callable[[], object]], object] = sys.modules["trio"].lowlevel.current_trio_token().run_sync_soon
        return post
    return asyncio.get_running_loop().call_soon_threadsafe


class CancellationWatch:
    """Tells whether somebody outside cancelled, or a body made a cancellation up.

    Made in the task that called `run()`, the host.

    Attributes:
        nap: The scope in which the host waits for its next timer.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None if in_trio() else asyncio.current_task()
        self._before = self._task.cancelling() if self._task is not None else 0
        self.nap: anyio.CancelScope | None = None

    def is_requested(self) -> bool:
        """Ask from any task of the run, outside a scope that the run itself cancelled."""
        if anyio.current_effective_deadline() == -inf:
            return True
        # The end of the host's nap is a cancellation of its task, too, until the host has woken up.
        if self._task is None or (self.nap is not None and self.nap.cancel_called):
            return False
        return self._task.cancelling() > self._before


def is_cancellation(error: BaseException) -> bool:
    """Tell whether an exception is the loop's cancellation, or a group of nothing else."""
    kind = anyio.get_cancelled_exc_class()
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).split(kind)[1] is None
    return isinstance(error, kind)


def bare(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what matters most in a group: an interruption before an error."""
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [errors]
    while waiting:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", error).exceptions
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if not isinstance(leaf, Exception)), leaves[0])
