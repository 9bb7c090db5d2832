"""A task of the running event loop that nobody waits for, on both backends."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, TypeAlias

import anyio

from fusynk._runtime.backend import in_trio

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

_tasks: set["asyncio.Task[None]"] = set()  # the loop itself keeps weak references only


def run_in_background(work: Work, note_crash: Callable[[BaseException], None]) -> None:
    """Start a task that ends by itself, or with the loop.

    What it raises goes up through the loop of asyncio if that is `KeyboardInterrupt` or `SystemExit`.

    Args:
        work: What it does.
        note_crash: Told what it raises on trio, whose loop would break at it.

    Raises:
        RuntimeError: No event loop runs here.
    """
    if in_trio():
        sys.modules["trio"].lowlevel.spawn_system_task(_guarded, work, note_crash, context=copy_context())
        return
    task = asyncio.get_running_loop().create_task(work())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def _guarded(work: Work, note_crash: Callable[[BaseException], None]) -> None:
    try:
        await work()
    except anyio.get_cancelled_exc_class():
        raise
    except BaseException as error:  # noqa: BLE001 - handed over
        note_crash(error)
