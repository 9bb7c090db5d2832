"""P25: blocking steps queue for threads and never block the loop; nested runs make progress, up to a depth."""

import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from fusynk import Graph, Plan, compile_plan, errors, run_of
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, running_tasks

pytestmark = pytest.mark.timeout(60)


def matryoshka(form: str) -> Plan[None, Any]:
    """A plan whose one step runs the plan again, one less deep, and adds one to what that returned."""
    graph = Graph("matryoshka")

    async def nest_async(depth: int) -> int:
        return 1 + (await plan.run(depth=depth - 1)).result if depth else 0

    def nest_through_the_loop(depth: int) -> int:
        return 1 + anyio.from_thread.run(run_deeper, depth - 1) if depth else 0

    async def run_deeper(depth: int) -> int:
        result: int = (await plan.run(depth=depth)).result
        return result

    def nest_in_own_loop(depth: int) -> int:
        return 1 + plan.run_sync(depth=depth - 1).result if depth else 0

    forms: dict[str, Callable[..., Any]] = {
        "async": nest_async,
        "from thread": nest_through_the_loop,
        "run_sync": nest_in_own_loop,
    }
    nest: Any = graph.add_layer(forms[form], name="nest")
    plan: Plan[None, Any] = compile_plan(nest, concurrency=1, threads=1)
    return plan


@pytest.mark.parametrize("form", ["async", "from thread", "run_sync"])
async def test_p25_runs_nested_fifty_deep_with_one_slot_and_one_thread_make_progress(form: str) -> None:
    assert (await matryoshka(form).run(depth=50)).result == 50


@pytest.mark.parametrize("form", ["async", "from thread", "run_sync"])
async def test_p25_a_plan_that_runs_itself_without_end_is_refused(form: str) -> None:
    before = running_tasks()

    with pytest.raises(errors.NestingTooDeep, match="nested more than 100 deep") as caught:
        await matryoshka(form).run(depth=10**9)

    assert isinstance(caught.value, RecursionError)
    assert run_of(caught.value) is not None
    await assert_settled(before)


async def test_p25_a_hundred_runs_deep_is_still_allowed() -> None:
    assert (await matryoshka("async").run(depth=99)).result == 99
    with pytest.raises(errors.NestingTooDeep):
        await matryoshka("async").run(depth=100)


async def test_p25_runs_beside_each_other_do_not_count_as_nested() -> None:
    graph = Graph("beside")

    @graph.layer
    async def wait() -> None:
        await anyio.sleep(0.01)

    @graph.layer
    async def nothing() -> None: ...

    async with anyio.create_task_group() as group:
        for _ in range(150):
            group.start_soon(compile_plan(wait).run)
    for _ in range(150):
        await compile_plan(nothing).run()


async def test_p25_more_blocking_steps_than_threads_queue() -> None:
    graph, lock = Graph("queue"), threading.Lock()
    live, peak, done = [0], [0], list[int]()

    def blocking() -> None:
        with lock:
            live[0] += 1
            peak[0] = max(peak[0], live[0])
        time.sleep(0.001)
        with lock:
            live[0] -= 1
            done.append(1)

    for number in range(60):
        graph.add_layer(blocking, name=f"s{number}")

    await compile_plan(graph, threads=3, concurrency=40).run()

    assert len(done) == 60
    assert peak[0] <= 3


async def test_p25_coroutines_go_on_while_every_thread_is_taken() -> None:
    graph, release = Graph("go on"), threading.Event()

    def blocking() -> bool:
        return release.wait(30)

    async def step() -> None:
        await anyio.lowlevel.checkpoint()

    for number in range(4):
        graph.add_layer(blocking, name=f"blocking{number}", priority=1)
    former = [graph.add_layer(step, name=f"s{number}") for number in range(20)]

    @graph.layer(depends_on=former)
    async def last() -> None:
        release.set()

    run = await compile_plan(graph, threads=1, concurrency=5).run()

    assert [run[f"blocking{number}"] for number in range(4)] == [True] * 4


@pytest.mark.parametrize("threads", [1, 3])
async def test_p25_blocking_steps_that_call_back_into_the_loop_do_not_deadlock(threads: int) -> None:
    graph = Graph("call back")
    plan_inside = compile_plan(graph.add_layer(lambda: 1, name="inside"), threads=1, concurrency=1)

    async def answer(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        result: int = (await plan_inside.run()).result
        return number + result + await anyio.to_thread.run_sync(lambda: 1)

    def call_back() -> int:
        return anyio.from_thread.run(answer, 1) + anyio.from_thread.run_sync(lambda: 1)

    steps = Graph("steps")
    for number in range(30):
        steps.add_layer(call_back, name=f"s{number}")

    run = await compile_plan(steps, threads=threads, concurrency=10).run()

    assert [run[f"s{number}"] for number in range(30)] == [4] * 30


async def test_p25_a_run_neither_needs_nor_takes_the_loop_s_own_threads() -> None:
    graph, release = Graph("own limiter"), threading.Event()
    limiter = anyio.to_thread.current_default_thread_limiter()
    former, limiter.total_tokens = limiter.total_tokens, 1
    taken: float = 0

    @graph.layer
    def blocking() -> float:
        return limiter.borrowed_tokens

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, release.wait, 30)
            while not limiter.borrowed_tokens:  # noqa: ASYNC110 (the host's own use of threads)
                await anyio.sleep(0.001)
            taken = (await compile_plan(blocking).run()).result
            release.set()
    finally:
        limiter.total_tokens = former

    assert taken == 1


def test_p25_nested_runs_keep_to_their_own_slots_in_virtual_time(backend: Backend) -> None:
    inner_graph, outer_graph = Graph("inner"), Graph("outer")

    async def sleep() -> None:
        await anyio.sleep(1)

    for number in range(4):
        inner_graph.add_layer(sleep, name=f"s{number}")
    inner = compile_plan(inner_graph, concurrency=2)

    async def nest() -> None:
        await inner.run()

    for number in range(4):
        outer_graph.add_layer(nest, name=f"n{number}")

    async def main() -> float:
        await compile_plan(outer_graph, concurrency=2).run()
        return anyio.current_time()

    begun = run_virtual(anyio_now, backend=backend)
    assert run_virtual(main, backend=backend) - begun == 4


async def anyio_now() -> float:
    return anyio.current_time()


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_p25_what_ends_the_outer_run_ends_the_inner_ones(how: str, backend: Backend) -> None:
    seen: list[str] = []
    inner_graph, outer_graph = Graph("inner"), Graph("outer")

    @inner_graph.layer
    async def sleep() -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append("inner finally")

    inner = compile_plan(inner_graph)

    @outer_graph.layer
    async def nest() -> None:
        await inner.run()

    @outer_graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        if how == "fails":
            raise ValueError

    async def main() -> None:
        before = running_tasks()
        if how == "fails":
            with pytest.raises(ValueError):  # noqa: PT011 (there is no other)
                await compile_plan(outer_graph).run()
        else:
            with anyio.move_on_after(2):
                await compile_plan(outer_graph).run()
        seen.append("run left")
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert seen == ["inner finally", "run left"]
