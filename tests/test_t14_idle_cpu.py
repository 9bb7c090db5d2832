"""T14: a run that only waits takes less than a twentieth of a processor."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import pytest

from fusynk import Graph, Plan, compile_plan

LONG = bool(os.environ.get("FUSYNK_LONG"))
PERIOD = 1.0
MOST_BUSY = 0.05


class Hold:
    """What the bodies of a test wait for, in threads and on the loop."""

    def __init__(self) -> None:
        self._threads = threading.Event()
        self._loop = anyio.Event()

    def block(self) -> None:
        self._threads.wait(60)

    async def shield(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._loop.wait()

    async def wait(self) -> None:
        await self._loop.wait()

    def let_go(self) -> None:
        self._threads.set()
        self._loop.set()


async def fail_soon() -> None:
    await anyio.sleep(0.05)
    raise ValueError


async def fail() -> None:
    raise ValueError


Start = Callable[[Hold], Any]


async def ended(hold: Hold, *, by: str, body: str) -> None:
    """A run that has been ended, and has a body that goes on."""
    graph = Graph(f"{body} ended by {by}")
    graph.add_layer(hold.block if body == "thread" else hold.shield, name="goes on")
    if by == "abort":
        graph.add_layer(fail_soon)
    plan: Plan[None, Any] = compile_plan(graph, deadline=0.05 if by == "deadline" else None)
    with suppress(ValueError, TimeoutError), anyio.move_on_after(0.05 if by == "caller" else 60):
        if by == "handle":
            await cancel_by_handle(plan)
        else:
            await plan.run()


async def cancel_by_handle(plan: Plan[None, Any]) -> None:
    async with plan.start() as handle:
        await anyio.sleep(0.05)
        handle.cancel()


async def delayed(_hold: Hold) -> None:
    """A thousand retries that are not due for a minute."""
    graph = Graph("delayed")
    for number in range(1000):
        graph.add_layer(fail, name=f"s{number}", retries=3, retry_delay=60)
    await compile_plan(graph).run()


async def suspended(hold: Hold) -> None:
    """A thousand bodies that wait, each with a timeout, within a deadline."""
    graph = Graph("suspended")
    for number in range(1000):
        graph.add_layer(hold.wait, name=f"s{number}", timeout=50)
    await compile_plan(graph, concurrency=1000, deadline=55).run()


async def blocked(hold: Hold) -> None:
    """A hundred plain functions, two of which hold both threads."""
    graph = Graph("blocked")
    for number in range(100):
        graph.add_layer(hold.block, name=f"s{number}")
    await compile_plan(graph, threads=2).run()


async def outlived(hold: Hold) -> None:
    """A body that does not end with its timeout."""
    graph = Graph("outlived")
    graph.add_layer(hold.shield, name="stubborn", timeout=0.05, on_error="continue")
    await compile_plan(graph).run()


ENDED = [
    partial(ended, by=by, body=body)
    for by in ("caller", "abort", "deadline", "handle")
    for body in ("thread", "shielded coroutine")
]
WAITING: list[Start] = [delayed, suspended, blocked, outlived]
# All at once must be quiet, too; one by one tells which is not.
SITUATIONS = [[one] for one in (*ENDED, *WAITING)] if LONG else [ENDED, WAITING]


async def until_quiet() -> None:
    """Let everything begin: until a twentieth of a second passes with next to no work, or some seconds are over."""
    for _ in range(60):
        used = time.process_time()
        await anyio.sleep(0.05)
        if time.process_time() - used < 0.05 * MOST_BUSY:
            return


@pytest.mark.parametrize("starts", SITUATIONS, ids=str if LONG else ["ended", "waiting"])
async def test_t14_runs_that_wait_leave_the_processor_alone(starts: Sequence[Start]) -> None:
    hold, share = Hold(), 1.0
    async with anyio.create_task_group() as group:
        for start in starts:
            group.start_soon(start, hold)
        await anyio.sleep(0.1)
        await until_quiet()
        begun, used = time.monotonic(), time.process_time()
        await anyio.sleep(PERIOD)
        share = (time.process_time() - used) / (time.monotonic() - begun)
        hold.let_go()
        group.cancel_scope.cancel()
    assert share < MOST_BUSY
