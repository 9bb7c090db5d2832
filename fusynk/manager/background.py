"""A task of the running event loop that nobody waits for, on both backends."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from fusynk._runtime.backend import in_trio

_tasks: set["asyncio.Task[None]"] = set()  # the loop itself keeps weak references only


def run_in_background(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Start a task that ends by itself, or with the loop. It should raise nothing ordinary.

    Args:
        function: What it does.

    Raises:
        RuntimeError: No event loop runs here.
    """
    if in_trio():
        sys.modules["trio"].lowlevel.spawn_system_task(function, context=copy_context())
        return
    task = asyncio.get_running_loop().create_task(function())
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
