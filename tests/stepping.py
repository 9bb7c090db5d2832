"""Counting what an event loop does, task step by task step, and acting between two of them."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

import trio


class Steps:
    """Counts the steps of all tasks; right after one of them it does what it was told to.

    Args:
        at: After which step to act, from 1; 0 for never.
        act: What to do.
    """

    def __init__(self, at: int = 0, act: Callable[[], object] = int) -> None:
        self.count = 0
        self._at = at
        self._act = act

    def tick(self) -> None:
        self.count += 1
        if self.count == self._at:
            self._act()


class _CountedCoroutine(Coroutine[Any, Any, Any]):
    """A coroutine that counts each time it ran up to its next suspension, or to its end."""

    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def send(self, value: Any, /) -> Any:
        try:
            return self._inner.send(value)
        finally:
            self._steps.tick()

    def throw(self, *error: Any) -> Any:
        try:
            return self._inner.throw(*error)
        finally:
            self._steps.tick()

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        """Look like the coroutine itself: event loops ask whether it has started."""
        return getattr(self._inner, name)


class _CountingInstrument(trio.abc.Instrument):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps.tick()


@contextmanager
def counted(steps: Steps) -> Generator[None]:
    """Count the steps of the tasks of the running loop; on asyncio those that begin inside the block."""
    if "trio" in sys.modules and trio.lowlevel.in_trio_task():
        instrument = _CountingInstrument(steps)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield
        finally:
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(instrument)
        return
    loop = asyncio.get_running_loop()

    def make(running: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        return asyncio.Task(_CountedCoroutine(coroutine, steps), loop=running, **options)

    loop.set_task_factory(make)
    try:
        yield
    finally:
        loop.set_task_factory(None)
