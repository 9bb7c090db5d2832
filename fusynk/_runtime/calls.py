"""Calling functions that are not coroutine functions, as coroutines; and how many threads or OS processes they hold."""

from collections import deque
from collections.abc import Callable, Sequence

from fusynk._attempt import awaited
from fusynk._core.scheduler import Scheduler
from fusynk._runtime.backend import is_cancellation
from fusynk.errors import ThreadsExhausted
from fusynk.protocols import Executor


async def call_inline(function: Callable[..., object], arguments: Sequence[object]) -> object:
    """Call a function on the event loop, and await what it returns if that is awaitable."""
    return await awaited(function(*arguments))


async def call_with_executor(
    executor: Executor,
    function: Callable[..., object],
    arguments: Sequence[object],
    *,
    abandon: bool,
    release: Callable[[], None],
    leave: Callable[[], None],
) -> object:
    """Call a function where the executor runs it, then await on the loop what it returned if that is awaitable.

    Args:
        executor: Where the function runs.
        function: The function.
        arguments: Its positional arguments.
        abandon: Whether to leave the call behind when cancelled.
        release: Gives the thread back; called when the function has returned or was left behind.
        leave: Called when the function was left behind.
    """
    try:
        returned = await executor.call(function, arguments, abandon=abandon)
    except BaseException as error:
        if (abandon or getattr(executor, "leaves_behind", False)) and is_cancellation(error):
            leave()
        raise
    finally:
        release()
    return await awaited(returned)


class Places:
    """The threads, or the OS processes, of a run. Waiting for one holds no slot.

    Args:
        count: How many there are.
        executor: Knows how many of them are held by calls that were given up; only threads can be.
        scheduler: Where a step that waited becomes ready again.
    """

    def __init__(self, count: int, executor: Executor, scheduler: Scheduler) -> None:
        self._count = count
        self._executor = executor
        self._scheduler = scheduler
        self._used = 0
        self._waiting: deque[int] = deque()

    @property
    def _free(self) -> int:
        return self._count - self._used - self._executor.abandoned

    def holds(self, steps: int) -> bool:
        """Tell whether so many steps could start now, or would learn at once that none is ever given back."""
        return steps <= self._free or not self._used

    def take(self, index: int) -> bool:
        """Take one for a step, or let the step wait for one.

        Raises:
            ThreadsExhausted: Only calls that were given up hold threads, and they may never end.
        """
        if self._free > 0:
            self._used += 1
            return True
        if self._used:
            self._waiting.append(index)
            return False
        # Nobody would call the others either.
        while self._waiting:
            self._scheduler.make_ready(self._waiting.popleft())
        message = (
            f"{self._scheduler.name_of(index)!r} found all {self._count} threads of the run held by bodies that were "
            "given up after their timeout; give the plan more threads=..."
        )
        raise ThreadsExhausted(message)

    def release(self) -> None:
        """Give one back."""
        self._used -= 1
        if self._waiting:
            self._scheduler.make_ready(self._waiting.popleft())
