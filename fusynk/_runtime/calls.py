"""Calling functions that are not coroutine functions, as coroutines."""

from collections.abc import Callable, Sequence

from fusynk._attempt import awaited
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
) -> object:
    """Call a function where the executor runs it, then await on the loop what it returned if that is awaitable.

    Args:
        executor: Where the function runs.
        function: The function.
        arguments: Its positional arguments.
        abandon: Whether to leave the call behind when cancelled.
        release: Gives the thread back; called when the function has returned or was left behind.
    """
    try:
        returned = await executor.call(function, arguments, abandon=abandon)
    finally:
        release()
    return await awaited(returned)
