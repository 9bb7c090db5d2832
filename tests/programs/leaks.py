"""Run plans a thousand times and print what grew: `python -m tests.programs.leaks failures asyncio 1000`."""

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel

from fusynk import Graph, Plan, backoff, compile_plan, each, use, when

Start = Callable[[], Awaitable[Any]]


class Declined(Exception):
    """What the plans of this program fail with."""


async def decline(*_artifacts: object) -> None:
    await anyio.lowlevel.checkpoint()
    raise Declined


def decline_plainly() -> None:
    raise Declined


async def wait() -> int:
    try:
        await anyio.sleep(30)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
    return 1


async def quick() -> int:
    return 1


def quick_plainly() -> int:
    return 1


def break_off(_artifact: object) -> bool:
    raise Declined


def aborting() -> Plan[None, Any]:
    """A failure beside a sibling that is cancelled, a thread, a retry, and steps that never start."""
    graph = Graph("aborting")
    first = graph.add_layer(quick)
    graph.add_layer(wait)
    graph.add_layer(quick_plainly)
    graph.add_layer(decline, name="tries_again", retries=3, retry_delay=30)
    failing = graph.add_layer(decline, name="failing", depends_on=first, retries=1, retry_delay=backoff(0.0001))
    graph.add_layer(quick, name="never", depends_on=failing)
    return compile_plan(graph)


def tolerant() -> Plan[None, Any]:
    """Failures of every kind, none of which ends the run."""
    graph = Graph("tolerant")

    async def numbers() -> list[int]:
        return [1, 2, 3]

    async def item(number: int) -> int:
        if number == 2:
            raise Declined
        return number

    source = graph.add_layer(numbers)
    item.__defaults__ = (each(source),)
    items = graph.layer.each(item)
    graph.add_layer(decline, name="in a coroutine")
    graph.add_layer(decline_plainly, name="in a thread")
    graph.add_layer(decline_plainly, name="inline", run_in="inline")
    graph.add_layer(quick, name="in a condition", depends_on=when(source, break_off))
    graph.add_layer(decline, name="with a recovery", on_error=str)
    graph.add_layer(wait, name="in time", timeout=0.0001)
    graph.add_layer(decline, name="twice", retries=1)

    @graph.layer
    async def skipped(batch: object = use(items), none: object = use("twice", type=object)) -> None: ...

    return compile_plan(graph, on_error="continue")


async def cancel_by_scope(plan: Plan[None, Any]) -> None:
    with anyio.move_on_after(0.0005):
        await plan.run()


async def cancel_by_handle(plan: Plan[None, Any]) -> None:
    async with plan.start() as handle:
        await anyio.lowlevel.checkpoint()
        handle.cancel()


def nested() -> Plan[None, Any]:
    """A run inside a run."""
    graph, inner = Graph("nested"), aborting()

    @graph.layer
    async def nest() -> None:
        await inner.run()

    return compile_plan(nest)


def kinds_of(what: str) -> list[Start]:
    """The runs that take turns."""
    failing = [aborting().run, tolerant().run, compile_plan(Graph("empty")).run]
    if what == "failures":
        return list(failing)
    waiting = aborting().options(retries=0)
    return [
        *failing,
        nested().run,
        waiting.options(deadline=0.0005).run,
        lambda: cancel_by_scope(waiting),
        lambda: cancel_by_handle(waiting),
        aborting().options(concurrency=2, discipline="lifo").run,
    ]


def megabytes() -> float:
    with open("/proc/self/statm", encoding="ascii") as status:  # noqa: PTH123 (read a hundred times)
        return int(status.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6


def standing() -> dict[str, float]:
    """What there is at this moment."""
    gc.collect()
    return {
        "objects": len(gc.get_objects()),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 (the fewest objects)
        "megabytes": megabytes(),
    }


async def rounds(starts: list[Start], count: int) -> None:
    for number in range(count):
        with suppress(Declined, TimeoutError):
            await starts[number % len(starts)]()


async def main(what: str, count: int, seconds: float) -> dict[str, Any]:
    """Run until everything is warm, then `count` times or for so many seconds, and compare."""
    with suppress(RuntimeError):  # trio has no such loop; a busy machine is slow, which asyncio's debug mode would tell
        asyncio.get_running_loop().slow_callback_duration = 60
    starts = kinds_of(what)
    await rounds(starts, 100)
    before = standing()
    ends, turns = time.monotonic() + seconds, 0
    while True:
        await rounds(starts, count)
        turns += 1
        if time.monotonic() >= ends:
            break
    after = standing()
    return {
        "grown": {name: after[name] - before[name] for name in before},
        "runs": count * turns,
        "tasks": len(anyio.get_running_tasks()),
    }


if __name__ == "__main__":
    kind, backend, runs, period = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    print(json.dumps(anyio.run(main, kind, runs, period, backend=backend)))  # noqa: T201 (its one output)
