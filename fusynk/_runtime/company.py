"""What lives beside the slots of a run and outlives them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import anyio
from anyio import create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from fusynk._runtime.backend import bare

Companion: TypeAlias = Callable[[anyio.Event], Coroutine[object, object, None]]


@asynccontextmanager
async def company(*companions: Companion) -> AsyncGenerator[TaskGroup]:
    """Start tasks beside the block, and wait for them after it. Errors are raised bare.

    Args:
        companions: Each is given an event that is set at the end of the block, and ends soon after that.
    """
    over = anyio.Event()
    try:
        async with create_task_group() as group:
            for companion in companions:
                group.start_soon(companion, over)
            try:
                yield group
            finally:
                over.set()
    except BaseExceptionGroup as errors:
        raise bare(errors) from None
    # A cancellation that came meanwhile goes on; trio leaves that to the next checkpoint.
    await checkpoint_if_cancelled()


async def accompany(work: Callable[[], Awaitable[None]], companions: Sequence[Companion]) -> None:
    """Run something with companions beside it."""
    async with company(*companions):
        await work()
