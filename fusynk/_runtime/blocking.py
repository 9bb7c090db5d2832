"""Calls that block, and must be seen through to their end."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Generic, TypeVar

import anyio
from anyio import CancelScope
from anyio.lowlevel import checkpoint_if_cancelled

from fusynk._runtime.backend import loop_poster

T = TypeVar("T")


async def call_to_the_end(function: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Call a function in a thread of its own and return what it returns, whatever is cancelled meanwhile.

    A cancellation that came meanwhile is raised then.

    Args:
        function: The function.
        undo: Is called with what it returned, likewise, where a cancellation keeps the caller from getting it.

    Raises:
        BaseException: What the function raised.
    """
    call = _Call(function)
    late = await call.ended()
    try:
        await _raise_or_check(late)
    except BaseException:
        if undo is not None and call.error is None:
            await _Call(lambda: undo(call.returned[0])).ended()
        raise
    if call.error is not None:
        raise call.error
    return call.returned[0]


async def _raise_or_check(late: BaseException | None) -> None:
    """Raise a cancellation that came meanwhile."""
    if late is not None:
        raise late
    await checkpoint_if_cancelled()


class _Call(Generic[T]):
    """One call in a thread, and what it gave."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._over = anyio.Event()
        self._post = loop_poster()
        self.returned: list[T] = []
        self.error: BaseException | None = None

    async def ended(self) -> BaseException | None:
        """Make the call and wait for its end. Returns a native cancellation that came meanwhile."""
        Thread(target=self._run, name="fusynk-blocking", daemon=True).start()
        late: BaseException | None = None
        with CancelScope(shield=True):
            while not self._over.is_set():
                try:
                    await self._over.wait()
                except anyio.get_cancelled_exc_class() as error:
                    late = error
        return late

    def _run(self) -> None:
        try:
            self.returned.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised where it is awaited
            self.error = error
        with suppress(RuntimeError):  # the loop has ended
            self._post(self._over.set)
