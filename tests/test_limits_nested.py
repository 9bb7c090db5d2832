"""Nested runs and limits: one step at a time re-enters the permit of the body around its run, while that is held."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

from fusynk import Graph, Limit, Plan, compile_plan, layer
from fusynk._runtime.limits import permits_of
from fusynk.executors.threads import InlineExecutor
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.limiting import PATIENCE, Account, all_of, assert_whole, at, plan_of

pytestmark = pytest.mark.timeout(60)


def body_of(account: Account, limit: Limit, seconds: float = 1, *, weight: int = 1, name: str = "") -> Any:
    """A body of the limit that is alive for some seconds."""

    async def body() -> None:
        with account.body(limit, weight, name=name):
            await anyio.sleep(seconds)

    return body


def nest_of(account: Account, limit: Limit, plan: Plan[None, Any], *, weight: int = 1, name: str = "") -> Any:
    """A body of the limit that runs a plan."""

    async def nest() -> None:
        with account.body(limit, weight, name=name), account.lending(limit, weight):
            await plan.run()

    return nest


async def ended(*functions: Callable[[], Awaitable[object]]) -> None:
    """All of them end, beside each other."""
    with anyio.fail_after(PATIENCE):
        await all_of(*functions)


def matryoshka(limit: Limit, account: Account, form: str) -> Plan[None, Any]:
    """A plan whose one step has the limit and runs the plan again, one less deep."""

    async def nest(depth: int) -> int:
        with account.body(limit), account.lending(limit):
            return 1 + (await plan.run(depth=depth - 1)).result if depth else 0

    def nest_through_the_loop(depth: int) -> int:
        return 1 + anyio.from_thread.run(run_deeper, depth - 1) if depth else 0

    async def run_deeper(depth: int) -> int:
        result: int = (await plan.run(depth=depth)).result
        return result

    graph = Graph("matryoshka")
    only: Any = graph.add_layer(nest if form == "async" else nest_through_the_loop, name="nest", limit=limit)
    plan: Plan[None, Any] = compile_plan(only, concurrency=1, threads=1)
    return plan


def test_runs_nested_twenty_deep_re_enter_one_permit_and_their_starts_count(backend: Backend) -> None:
    limit, account = Limit("deep", concurrency=1, rate="2/10s"), Account()

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            assert (await matryoshka(limit, account, "async").run(depth=20)).result == 20
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.starts[limit] == [10 * (number // 2) for number in range(21)]


async def test_runs_nested_through_threads_re_enter_one_permit() -> None:
    limit = Limit("deep threads", concurrency=1)

    assert (await matryoshka(limit, Account(), "from thread").run(depth=20)).result == 20
    await assert_whole(limit)


def test_a_nested_plan_as_a_step_re_enters_the_limit_of_its_step(backend: Backend) -> None:
    limit, account = Limit("layer of a plan", concurrency=1), Account()
    plan = plan_of(body_of(account, limit), limit=limit)
    for _ in range(5):
        plan = compile_plan(layer(plan, name="nested", limit=limit), concurrency=1)

    assert simulate(plan, backend=backend).seconds == 1


@pytest.mark.parametrize(("concurrency", "most", "seconds"), [(1, 1, 6), (3, 3, 2), (4, 4, 2), (6, 6, 1)])
def test_one_nested_step_at_a_time_re_enters_and_others_take_permits_of_their_own(
    concurrency: int, most: int, seconds: float, backend: Backend
) -> None:
    limit, account = Limit("beside", concurrency=concurrency), Account()
    inner = plan_of(*[body_of(account, limit)] * 6, limit=limit)

    trace = simulate(plan_of(nest_of(account, limit, inner), limit=limit), backend=backend)

    assert (account.most[limit], trace.seconds) == (most, seconds)


def test_two_runs_in_one_body_share_its_permit(backend: Backend) -> None:
    limit, account = Limit("two runs", concurrency=1), Account()
    plans = [plan_of(body_of(account, limit), limit=limit) for _ in range(2)]

    async def nest() -> None:
        with account.body(limit), account.lending(limit):
            await all_of(*(plan.run for plan in plans))

    trace = simulate(plan_of(nest, limit=limit), backend=backend)

    assert (account.most[limit], trace.seconds) == (1, 2)


def test_a_nested_step_goes_before_those_that_wait_for_what_its_ancestor_holds(backend: Backend) -> None:
    limit, account = Limit("before", concurrency=1), Account()
    inner = plan_of(*[body_of(account, limit, 10, name=f"inner{number}") for number in range(2)], limit=limit)

    async def late() -> None:
        with account.body(limit, name="outer"), account.lending(limit):
            await anyio.sleep(5)
            await inner.run()

    async def main() -> None:
        waiting = plan_of(body_of(account, limit, name="waiting"), limit=limit)
        await ended(plan_of(late, limit=limit).run, waiting.run)
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log == [("outer", 0), ("inner0", 5), ("inner1", 15), ("waiting", 25)]


def test_a_nested_step_waits_for_the_rate_before_others_too(backend: Backend) -> None:
    limit, account = Limit("rated", concurrency=1, rate="1/10s"), Account()
    inner = plan_of(body_of(account, limit, name="inner"), limit=limit)

    async def main() -> None:
        outer = plan_of(nest_of(account, limit, inner, name="outer"), limit=limit)
        waiting = plan_of(body_of(account, limit, name="waiting"), limit=limit)
        await ended(outer.run, waiting.run)

    run_virtual(main, backend=backend)

    assert account.log == [("outer", 0), ("inner", 10), ("waiting", 20)]


def test_nested_steps_heavier_than_what_is_held_around_them_still_make_progress(backend: Backend) -> None:
    limit, account = Limit("heavy", concurrency=2), Account()

    def plan(number: int) -> Plan[None, Any]:
        inner = Graph("inner")
        for heavy in range(2):
            body = body_of(Account(), limit, weight=2, name=f"heavy{number}")
            inner.add_layer(body, name=f"s{heavy}", limit=limit, weight=2)
        return plan_of(nest_of(account, limit, compile_plan(inner)), limit=limit)

    async def main() -> None:
        await ended(*(plan(number).run for number in range(4)))
        await assert_whole(limit)

    run_virtual(main, backend=backend)


def test_limits_of_several_bodies_around_are_all_re_entered(backend: Backend) -> None:
    first, second, account = Limit("first", concurrency=1), Limit("second", concurrency=1), Account()
    inner = Graph("inner")
    inner.add_layer(body_of(account, first), name="of the first", limit=first)
    inner.add_layer(body_of(account, second), name="of the second", limit=second)
    middle = plan_of(nest_of(account, second, compile_plan(inner)), limit=second)

    async def run_the_middle() -> None:
        await middle.run()

    trace = simulate(plan_of(nest_of(account, first, plan_of(run_the_middle)), limit=first), backend=backend)

    assert trace.seconds == 1
    assert not account.broken_laws()


# Nested runs never deadlock


@pytest.mark.parametrize("room", ["slot", "thread"])
def test_a_permit_for_a_step_that_cannot_start_never_keeps_a_nested_run_from_going_on(
    room: str, backend: Backend
) -> None:
    limit, account, outer = Limit("knot", concurrency=1), Account(), Graph("outer")
    inner = plan_of(body_of(account, limit, name="inner"), limit=limit)

    class LateExecutor(InlineExecutor):
        async def call(self, function: Any, arguments: Any, *, abandon: bool) -> object:
            await anyio.sleep(5)
            return await function(*arguments)

    async def takes_the_room() -> None:
        await anyio.sleep(5)
        await inner.run()

    def plain() -> Awaitable[None]:
        account.log.append(("waits", anyio.current_time()))
        return anyio.lowlevel.checkpoint()

    def plain_that_takes_the_room() -> Any:
        return inner.run()

    if room == "slot":
        outer.add_layer(body_of(account, limit, name="waits"), name="waits", limit=limit)
        outer.add_layer(takes_the_room)
    else:
        outer.add_layer(plain, name="waits", limit=limit)
        outer.add_layer(plain_that_takes_the_room)
    plan = compile_plan(outer, concurrency=1 if room == "slot" else 5, threads=1, executor=LateExecutor())

    async def main() -> None:
        holding = plan_of(body_of(account, limit, 3, name="holds"), limit=limit)
        await ended(holding.run, partial(at, 0.5, plan))
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.names()[0] == "holds"
    assert sorted(account.names()) == ["holds", "inner", "waits"]


@pytest.mark.parametrize("hook", ["on_error", "retry_on"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_slot_that_asks_what_to_make_of_an_error_is_no_room_for_a_step_that_waits(
    hook: str, nested: bool, backend: Backend
) -> None:
    limit, account, outer = Limit("hooks", concurrency=1), Account(), Graph("outer")
    inner = plan_of(body_of(account, limit, 0, name="inner"), limit=limit)

    async def ponder(_error: Exception) -> bool:
        await anyio.sleep(100)
        if nested:
            await inner.run()
        return False

    async def fail() -> None:
        await anyio.sleep(1)
        raise ValueError

    options: Any = {"on_error": "continue", "retries": int(hook == "retry_on"), hook: ponder}
    outer.add_layer(body_of(account, limit, 0, name="waits"), name="waits", limit=limit)
    outer.add_layer(fail, **options)

    async def main() -> None:
        late = Graph("late")
        nap = late.add_layer(partial(anyio.sleep, 5), name="nap")
        late.add_layer(body_of(account, limit, 0, name="late"), name="late", limit=limit, depends_on=nap)
        await ended(
            plan_of(body_of(account, limit, 3, name="holds"), limit=limit).run,
            partial(at, 0.5, compile_plan(outer, concurrency=1)),
            compile_plan(late).run,
        )
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log[:2] == [("holds", 0), ("late", 5)]
    assert set(account.log[2:]) == {("waits", 101.5)} | ({("inner", 101.5)} if nested else set())


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("hook", ["on_error", "retry_on"])
def test_an_error_handler_that_takes_its_time_holds_one_slot_only(hook: str, suspends: bool, backend: Backend) -> None:
    limit, account, graph = Limit("handlers", rate="1/10s"), Account(), Graph("handlers")
    inner = plan_of(body_of(account, limit, 0, name="inner"), limit=limit)

    async def ponder(_error: Exception) -> bool:
        await anyio.sleep(100)
        await inner.run()
        return False

    async def fail() -> None:
        if suspends:
            await anyio.lowlevel.checkpoint()
        raise ValueError

    async def free() -> None:
        account.log.append(("free", anyio.current_time()))

    options: Any = {"on_error": "continue", "retries": int(hook == "retry_on"), hook: ponder}
    graph.add_layer(fail, limit=limit, **options)
    graph.add_layer(free)
    graph.add_layer(body_of(account, limit, 0, name="limited"), name="limited", limit=limit)

    async def main() -> None:
        await ended(compile_plan(graph, concurrency=2).run)
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log == [("free", 0), ("limited", 10), ("inner", 100)]


# What is held no longer is not re-entered


def test_a_resource_holds_the_permit_during_its_setup_only(backend: Backend) -> None:
    limit, account, graph = Limit("setup", concurrency=1), Account(), Graph("resource")

    @graph.layer(limit=limit)
    async def resource() -> AsyncIterator[str]:
        with account.body(limit, name="setup"):
            await anyio.sleep(1)
        yield "open"

    graph.add_layer(body_of(account, limit, name="body"), depends_on=resource, limit=limit)

    assert simulate(compile_plan(graph), backend=backend).error is None
    assert account.log == [("setup", 0), ("body", 1)]


@pytest.mark.parametrize("form", ["async", "plain"])
def test_a_run_in_a_teardown_re_enters_nothing(form: str, backend: Backend) -> None:
    limit, account, graph = Limit("teardown", concurrency=1), Account(), Graph("resource")
    inner = plan_of(*[body_of(account, limit)] * 3, limit=limit)
    group_of_the_caller: list[Any] = []

    async def async_resource() -> AsyncIterator[None]:
        yield
        await inner.run()

    def plain_resource() -> Iterator[None]:
        yield
        group_of_the_caller[0].start_soon(inner.run)

    graph.add_layer(async_resource if form == "async" else plain_resource, name="resource", limit=limit, timeout=None)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group_of_the_caller.append(group)
            group.start_soon(plan_of(body_of(account, limit, 2), limit=limit).run)
            await compile_plan(graph, grace=60, executor=InlineExecutor()).run()
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.starts[limit] == [0, 2, 3, 4]
    assert not account.broken_laws()


def test_a_task_that_outlives_its_body_re_enters_nothing(backend: Backend) -> None:
    limit, account = Limit("outlives", concurrency=1), Account()
    inner = plan_of(*[body_of(account, limit)] * 3, limit=limit)

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def later() -> None:
                await anyio.sleep(1)
                await inner.run()

            async def body() -> None:
                group.start_soon(later)

            await plan_of(body, limit=limit).run()
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert (account.most[limit], account.starts[limit]) == (1, [1, 2, 3])


def test_a_nested_run_that_outlives_the_body_around_it_keeps_what_it_re_entered(backend: Backend) -> None:
    limit, account = Limit("lent", concurrency=1), Account()
    inner = plan_of(body_of(account, limit, 10, name="inner"), limit=limit)

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def body() -> None:
                group.start_soon(inner.run)
                await anyio.sleep(1)

            await plan_of(body, limit=limit).run()
            await plan_of(body_of(account, limit, name="next"), limit=limit).run()
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log == [("inner", 0), ("next", 10)]


def test_a_nested_run_that_outlives_two_bodies_around_it_uses_one_permit(backend: Backend) -> None:
    limit, account = Limit("lent on", concurrency=1), Account()
    innermost = plan_of(body_of(account, limit, 10, name="innermost"), limit=limit)
    beside = plan_of(body_of(account, limit, name="beside"), limit=limit)

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def middle_body() -> None:
                group.start_soon(innermost.run)
                await anyio.sleep(1)

            middle = plan_of(middle_body, limit=limit)

            async def outer() -> None:
                await middle.run()
                await beside.run()

            await plan_of(outer, limit=limit).run()
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log == [("innermost", 0), ("beside", 10)]


async def test_another_event_loop_re_enters_nothing() -> None:
    limit, lock, alive, most = Limit("another loop", concurrency=1), threading.Lock(), [0], [0]

    async def inner() -> None:
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        await anyio.sleep(0.001)
        with lock:
            alive[0] -= 1

    inner_plan = plan_of(*[inner] * 5, limit=limit)

    def nest() -> None:
        inner_plan.run_sync()

    await plan_of(nest, limit=limit).run()

    assert most == [1]
    assert (permits_of(limit).in_use, permits_of(limit).waiting) == (0, 0)
