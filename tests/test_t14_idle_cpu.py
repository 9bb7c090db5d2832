"""T14: a run that only waits takes less than a twentieth of a processor."""

import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest

from fusynk import Graph, compile_plan

PERIOD = 1.0
MOST_BUSY = 0.05
Main = Callable[[], Coroutine[Any, Any, None]]


async def busy_share() -> float:
    """The share of one processor that this process takes over a real second, once it has settled down."""
    await anyio.sleep(0.2)
    begun, used = time.monotonic(), time.process_time()
    await anyio.sleep(PERIOD)
    return (time.process_time() - used) / (time.monotonic() - begun)


@pytest.mark.parametrize("cancelled_by", ["caller", "abort", "deadline", "handle"])
@pytest.mark.parametrize("body", ["thread", "shielded coroutine"])
async def test_t14_an_ended_run_whose_body_goes_on_waits_quietly(cancelled_by: str, body: str) -> None:
    graph, release, shares = Graph("goes on"), threading.Event(), list[float]()
    let_go = anyio.Event()

    def block() -> None:
        release.wait(60)

    async def hold() -> None:
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    async def fail() -> None:
        await anyio.sleep(0.05 if cancelled_by == "abort" else 60)
        raise ValueError

    graph.add_layer(block if body == "thread" else hold, name="goes on")
    graph.add_layer(fail)
    plan = compile_plan(graph, deadline=0.05 if cancelled_by == "deadline" else None)

    async def measure() -> None:
        shares.append(await busy_share())
        release.set()
        let_go.set()

    async with anyio.create_task_group() as group:
        group.start_soon(measure)
        try:
            if cancelled_by == "handle":
                async with plan.start() as handle:
                    await anyio.sleep(0.05)
                    handle.cancel()
            else:
                with anyio.move_on_after(0.05 if cancelled_by == "caller" else 60):
                    await plan.run()
        except (ValueError, TimeoutError):
            pass

    assert shares[0] < MOST_BUSY


async def share_during_a_run(graph: Graph, **options: Any) -> float:
    """The busy share while a run of this graph waits; the run is cancelled then."""
    async with anyio.create_task_group() as group:
        group.start_soon(compile_plan(graph, **options).run)
        share = await busy_share()
        group.cancel_scope.cancel()
    return share


async def test_t14_a_thousand_delayed_retries_wait_quietly() -> None:
    graph = Graph("delayed")

    async def fail() -> None:
        raise ValueError

    for number in range(1000):
        graph.add_layer(fail, name=f"s{number}", retries=3, retry_delay=60)

    assert await share_during_a_run(graph) < MOST_BUSY


async def test_t14_a_thousand_suspended_bodies_with_timeouts_wait_quietly() -> None:
    graph = Graph("suspended")

    async def wait() -> None:
        await anyio.sleep(60)

    for number in range(1000):
        graph.add_layer(wait, name=f"s{number}", timeout=50)

    assert await share_during_a_run(graph, concurrency=1000, deadline=55) < MOST_BUSY


async def test_t14_a_blocking_body_with_others_behind_it_waits_quietly() -> None:
    graph, release = Graph("blocked"), threading.Event()

    def block() -> None:
        release.wait(5)

    for number in range(100):
        graph.add_layer(block, name=f"s{number}")
    async with anyio.create_task_group() as group:
        group.start_soon(compile_plan(graph, threads=2).run)
        share = await busy_share()
        group.cancel_scope.cancel()
        release.set()

    assert share < MOST_BUSY


async def test_t14_a_body_that_outlives_its_timeout_is_waited_for_quietly() -> None:
    graph, let_go = Graph("stubborn"), anyio.Event()

    @graph.layer(timeout=0.05, on_error="continue")
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await let_go.wait()

    async with anyio.create_task_group() as group:
        group.start_soon(compile_plan(graph).run)
        share = await busy_share()
        let_go.set()

    assert share < MOST_BUSY
