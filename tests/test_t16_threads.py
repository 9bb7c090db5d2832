"""T16: threads under load: nothing hangs, and the event loop keeps its pace."""

import os
import statistics
import time
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from fusynk import Graph, Plan, compile_plan

LONG = bool(os.environ.get("FUSYNK_LONG"))
SEEDS = 500 if LONG else 10  # for each number of threads
pytestmark = pytest.mark.timeout(0 if LONG else 120)
PAUSE = 0.001


async def one() -> int:
    await anyio.lowlevel.checkpoint()
    return 1


def inner_plan() -> Plan[None, Any]:
    """What steps run in a run of their own: a thread behind a coroutine, in one slot."""
    graph = Graph("inner")
    first = graph.add_layer(one, name="first")

    @graph.layer(depends_on=first)
    def second() -> int:
        time.sleep(PAUSE / 2)
        return 1

    return compile_plan(second, concurrency=1, threads=1)


def blocking_bodies(inner: Plan[None, Any]) -> list[Callable[[], int]]:
    """Plain functions that sleep, compute, call back into the loop, and run plans there."""

    async def run_inner() -> int:
        result: int = (await inner.run()).result
        return result

    def sleep() -> int:
        time.sleep(PAUSE)
        return 1

    def compute() -> int:
        return sum(range(2000)) // 1999000

    def call_back() -> int:
        return anyio.from_thread.run(one)

    def nest() -> int:
        return anyio.from_thread.run(run_inner)

    return [sleep, sleep, compute, call_back, nest]


def suspending_bodies(inner: Plan[None, Any]) -> list[Callable[[], Any]]:
    """Coroutine functions that sleep, wait for a thread, and run plans."""

    async def sleep() -> int:
        await anyio.sleep(PAUSE)
        return 1

    async def return_at_once() -> int:
        return 1

    async def wait_for_a_thread() -> int:
        return await anyio.to_thread.run_sync(lambda: 1)

    async def nest() -> int:
        result: int = (await inner.run()).result
        return result

    return [sleep, return_at_once, wait_for_a_thread, nest, one]


def crowd(seed: int, threads: int) -> Plan[None, Any]:
    """200 blocking and 200 suspending steps, some of them behind others."""
    chance, graph, inner = Random(seed), Graph(f"crowd {seed}"), inner_plan()
    bodies = [(chance.choice(blocking_bodies(inner)), "blocking") for _ in range(200)]
    bodies += [(chance.choice(suspending_bodies(inner)), "suspending") for _ in range(200)]
    chance.shuffle(bodies)
    names: list[str] = []
    for number, (body, kind) in enumerate(bodies):
        before = chance.sample(names, k=min(len(names), chance.choice((0, 0, 1, 2))))
        names.append(f"{kind}{number}")
        graph.add_layer(body, name=names[-1], depends_on=before)
    return compile_plan(graph, concurrency=50, threads=threads)


class Heart:
    """A task of the loop that beats every millisecond and notes its longest pause."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def beat(self) -> None:
        last = time.monotonic()
        while True:
            await anyio.sleep(0.001)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            last = now


async def longest_pause(seed: int, threads: int) -> float:
    """Run a crowd and return how long the loop stood still at most, in seconds."""
    plan, heart = crowd(seed, threads), Heart()
    async with anyio.create_task_group() as group:
        group.start_soon(heart.beat)
        with anyio.move_on_after(30) as patience:
            run = await plan.run()
            assert run.ok, f"seed {seed}"
            assert [run[name] for name in plan.order] == [1] * 400, f"seed {seed}"
        assert not patience.cancelled_caught, f"seed {seed} hangs with {threads} threads"
        group.cancel_scope.cancel()
    return heart.longest


@pytest.mark.parametrize("threads", [1, 8])
async def test_t16_crowds_of_threads_and_coroutines_neither_hang_nor_stop_the_loop(threads: int) -> None:
    pauses = [await longest_pause(seed, threads) for seed in range(SEEDS)]
    # Another program on the machine can hold the loop up; it does not hold it up in every half of the runs.
    halves = (pauses[::2], pauses[1::2])
    assert min(statistics.median(half) for half in halves) < 0.05, f"pauses by seed: {pauses}"
