"""Limits in whole runs, in virtual time: what they never let through, what they never keep, and who goes first."""

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from fusynk import Batch, Graph, Limit, Plan, backoff, compile_plan, current_step, each, errors, use
from fusynk._runtime import limits as runtime_limits
from fusynk._runtime.limits import permits_of
from fusynk.executors.threads import InlineExecutor
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.limiting import PATIENCE, Account, all_of, assert_whole, at, chain_of, compute, crowded_window, plan_of
from tests.limits_programs import Fault, Program, carry_out, crunch, hang, programs
from tests.observing import assert_settled, running_tasks
from tests.stepping import Steps, counted

SCALE = 20 if os.environ.get("FUSYNK_LONG") else 1
DRAWN = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None)
BACKENDS: st.SearchStrategy[Backend] = st.sampled_from(("asyncio", "trio"))
TAPES = st.lists(st.integers(0, 3), max_size=40)
pytestmark = pytest.mark.timeout(0 if SCALE > 1 else 120)


# What no limit ever lets through


def test_a_crowded_window_is_found_and_a_full_one_is_not() -> None:
    assert crowded_window([3, 0, 1], 2, 3) is None
    assert crowded_window([3, 0, 0.5, 2.5], 2, 3) == (0, 2.5)
    assert crowded_window([0.0, 1e-17 + 0.1], 1, 0.1) is None
    assert crowded_window([1e-17, 0.1], 1, 0.1) == (1e-17, 0.1)


@settings(DRAWN, max_examples=150 * SCALE)
@given(program=programs(), tape=TAPES, backend=BACKENDS)
def test_programs_of_every_kind_keep_their_limits_end_and_leave_them_whole(
    program: Program, tape: list[int], backend: Backend
) -> None:
    run_virtual(carry_out, program, backend=backend, tape=tape)


ODD = st.one_of(
    st.sampled_from((0.0, 0.1, 0.2, 0.3, 1 / 3, 1e-17, 6.339897628012819e-21, 0.7, 1e6)),
    st.floats(0, 2, allow_subnormal=True),
    st.floats(1e-20, 1e-3),
)


@settings(DRAWN, max_examples=100 * SCALE)
@given(
    waits=st.lists(ODD, min_size=2, max_size=12),
    rate=st.sampled_from(("1/0.1s", "2/0.3s", "3/333ms", "1/0.7s", "2/7ms")),
    backend=BACKENDS,
)
@example(waits=[6.339897628012819e-21, 0.0], rate="1/0.7s", backend="asyncio")
def test_no_window_holds_too_many_starts_however_odd_the_times(waits: list[float], rate: str, backend: Backend) -> None:
    limit, account = Limit("odd", rate=rate), Account()

    async def body() -> None:
        with account.body(limit):
            pass

    async def main() -> None:
        plans = [chain_of(partial(anyio.sleep, wait), body, limit=limit) for wait in waits]
        await all_of(*(plan.run for plan in plans))

    run_virtual(main, backend=backend)

    assert len(account.starts[limit]) == len(waits)
    assert not account.broken_laws(), account.broken_laws()


def test_a_limit_of_both_keeps_both(backend: Backend) -> None:
    limit, account = Limit("both", concurrency=2, rate="3/10s"), Account()

    async def body() -> None:
        with account.body(limit):
            await anyio.sleep(4)

    simulate(plan_of(*[body] * 6, limit=limit), backend=backend)

    assert account.starts[limit] == [0, 0, 4, 10, 10, 14]


def test_retries_count_as_starts(backend: Backend) -> None:
    limit, account = Limit("retries", rate="2/10s"), Account()

    async def fail() -> None:
        with account.body(limit):
            raise Fault

    graph = Graph("retries")
    graph.add_layer(fail, limit=limit, retries=4, on_error="continue")
    simulate(compile_plan(graph), backend=backend)

    assert account.starts[limit] == [0, 0, 10, 10, 20]


# Nobody waits while there is room: the earliest times there are, by a computation of its own


@dataclass(frozen=True)
class Ask:
    """A step that comes at a time and is alive for some seconds, once for each attempt."""

    comes: Fraction
    weight: int
    seconds: Fraction
    attempts: int
    delay: Fraction


@dataclass(frozen=True)
class Asking:
    """A run of such steps, which may be cut off."""

    asks: tuple[Ask, ...]
    leaves: Fraction | None
    way: str


GRID = 4096
times = st.integers(0, 12 * GRID).map(lambda count: Fraction(count, GRID))
lengths = st.integers(1, 3 * GRID).map(lambda count: Fraction(count, GRID))
asks = st.builds(
    Ask, comes=times, weight=st.integers(1, 3), seconds=lengths, attempts=st.sampled_from((1, 1, 1, 2)), delay=lengths
)
askings = st.builds(
    Asking,
    asks=st.lists(asks, min_size=1, max_size=4).map(tuple),
    leaves=st.one_of(st.none(), times),
    way=st.sampled_from(("scope", "handle", "deadline")),
)


def earliest_starts(runs: Sequence[Asking], limit: Limit) -> list[tuple[Fraction, int, int]] | None:
    """First come, first served: when each attempt starts, as (time, run, step). None where two things coincide."""
    waiting = [(ask.comes, run, step, 1) for run, asking in enumerate(runs) for step, ask in enumerate(asking.asks)]
    heapify(waiting)
    taken: list[tuple[Fraction, Fraction, int]] = []  # start, end, weight of each attempt
    starts: list[tuple[Fraction, int, int]] = []
    moments = [moment for moment, *_ in waiting] + [run.leaves for run in runs if run.leaves is not None]
    served = Fraction(0)
    while waiting:
        comes, run, step, attempt = heappop(waiting)
        leaves, ask = runs[run].leaves, runs[run].asks[step]
        if leaves is not None and comes > leaves:
            continue
        start = earliest(max(comes, served), ask.weight, taken, limit)
        if leaves is not None and start >= leaves:
            served = max(served, leaves)
            continue
        end = start + ask.seconds
        served = start
        starts.append((start, run, step))
        if leaves is None or end <= leaves:
            taken.append((start, end, ask.weight))
            moments.append(end)
            if attempt < ask.attempts:
                heappush(waiting, (end + ask.delay, run, step, attempt + 1))
                moments.append(end + ask.delay)
        else:
            taken.append((start, leaves, ask.weight))
    opened = {start + Fraction(limit.period) for start, *_ in starts} if limit.starts else set[Fraction]()
    return sorted(starts) if len(moments) == len(set(moments)) and opened.isdisjoint(moments) else None


def earliest(since: Fraction, weight: int, taken: Sequence[tuple[Fraction, Fraction, int]], limit: Limit) -> Fraction:
    """The first time from `since` on at which there is room beside what has started."""
    period = Fraction(limit.period)
    moments = [since, *(end for _, end, _ in taken), *(start + period for start, _, _ in taken)]
    for moment in sorted(moment for moment in moments if moment >= since):
        alive = sum(other for start, end, other in taken if start <= moment < end)
        recent = sum(moment - period < start <= moment for start, _, _ in taken)
        fits = limit.concurrency is None or alive + weight <= limit.concurrency
        if fits and (not limit.starts or recent < limit.starts):
            return moment
    raise AssertionError


async def carry_out_asking(asking: Asking, run: int, limit: Limit, starts: list[tuple[float, int, int]]) -> None:
    async def body(step: int, ask: Ask) -> None:
        starts.append((anyio.current_time(), run, step))
        await anyio.sleep(float(ask.seconds))
        if current_step().attempt < ask.attempts:
            raise Fault

    graph = Graph("asking")
    for step, ask in enumerate(asking.asks):
        come = graph.add_layer(partial(anyio.sleep, float(ask.comes)), name=f"come{step}")
        options: Any = {"retries": ask.attempts - 1, "retry_delay": float(ask.delay)}
        options |= {} if limit.concurrency is None else {"weight": ask.weight}
        graph.add_layer(partial(body, step, ask), name=f"s{step}", depends_on=come, limit=limit, **options)
    await end_of(
        compile_plan(graph, concurrency=20), None if asking.leaves is None else float(asking.leaves), asking.way
    )


async def end_of(plan: Plan[None, Any], leaves: float | None, way: str) -> None:
    """Run a plan and cut it off at a time."""
    if leaves is None or way == "deadline":
        with_deadline = plan.options(deadline=leaves)
        try:
            await with_deadline.run()
        except errors.DeadlineExceeded:
            assert leaves is not None
    elif way == "scope":
        with anyio.CancelScope(deadline=leaves):
            await plan.run()
    else:
        async with plan.start() as handle:
            await anyio.sleep(leaves)
            handle.cancel()
            try:
                await handle.wait()
            except errors.RunCancelled:
                return


@settings(DRAWN, max_examples=150 * SCALE)
@given(
    runs=st.lists(askings, min_size=1, max_size=4),
    bounds=st.tuples(st.sampled_from((None, 1, 2, 3, 4)), st.sampled_from((None, "1/2s", "2/3s", "3/4s"))).filter(any),
    tape=TAPES,
    backend=BACKENDS,
)
def test_everybody_starts_at_the_earliest_time_that_first_come_first_served_allows(
    runs: list[Asking], bounds: tuple[int | None, str | None], tape: list[int], backend: Backend
) -> None:
    limit = Limit("shared", concurrency=bounds[0], rate=bounds[1])
    runs = [set_apart(asking, number, limit) for number, asking in enumerate(runs, 1)]
    due = earliest_starts(runs, limit)
    assume(due is not None)
    starts: list[tuple[float, int, int]] = []

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await all_of(*(partial(carry_out_asking, asking, run, limit, starts) for run, asking in enumerate(runs)))
        await assert_whole(limit)

    run_virtual(main, backend=backend, tape=tape)

    assert sorted(starts) == [(float(moment), run, step) for moment, run, step in due or []]


def set_apart(asking: Asking, number: int, limit: Limit) -> Asking:
    """The same with times that seldom coincide with those of others, and weights that the limit can grant."""
    apart: list[Ask] = []
    for step, ask in enumerate(asking.asks, number * len(asking.asks)):
        shift = Fraction(step, 64 * GRID)
        weight = 1 if limit.concurrency is None else min(ask.weight, limit.concurrency)
        apart.append(Ask(ask.comes + shift, weight, ask.seconds + 7 * shift, ask.attempts, ask.delay + 5 * shift))
    leaves = None if asking.leaves is None else asking.leaves + Fraction(1 + 3 * number, 128 * GRID)
    return Asking(tuple(apart), leaves, asking.way)


# Who goes first


def test_a_light_step_never_overtakes_a_heavy_one_that_waits(backend: Backend) -> None:
    limit, account = Limit("heavy", concurrency=3), Account()

    def plan(name: str, weight: int) -> Plan[None, Any]:
        async def body() -> None:
            with account.body(limit, weight, name=name):
                await anyio.sleep(10)

        graph = Graph(name)
        graph.add_layer(body, limit=limit, weight=weight)
        return compile_plan(graph)

    async def main() -> None:
        await all_of(
            partial(at, 0, plan("light", 1)),
            partial(at, 1, plan("heavy", 3)),
            partial(at, 2, plan("late and light", 1)),
            partial(at, 3, plan("last", 2)),
        )

    run_virtual(main, backend=backend)

    assert account.log == [("light", 0), ("heavy", 10), ("late and light", 20), ("last", 20)]


def test_steps_of_many_runs_go_in_the_order_in_which_they_came(backend: Backend) -> None:
    limit, order = Limit("queue", concurrency=1), list[int]()

    async def body(number: int) -> None:
        order.append(number)
        await anyio.sleep(100)

    async def main() -> None:
        await all_of(*(partial(at, n, plan_of(partial(body, n), limit=limit)) for n in (3, 1, 4, 15, 9, 2, 6, 5, 35)))

    run_virtual(main, backend=backend)

    assert order == sorted(order)


def test_priority_orders_those_that_are_ready_and_not_those_that_wait_for_the_limit(backend: Backend) -> None:
    limit, account, graph = Limit("queue", concurrency=1), Account(), Graph("priorities")

    def body(name: str) -> Callable[[], Awaitable[None]]:
        async def sleep() -> None:
            with account.body(limit, name=name):
                await anyio.sleep(10)

        return sleep

    graph.add_layer(body("first"), name="first", limit=limit, priority=1)
    graph.add_layer(body("waits"), name="waits", limit=limit)
    later = graph.add_layer(partial(anyio.sleep, 1), name="later")
    graph.add_layer(body("urgent"), name="urgent", limit=limit, priority=9, depends_on=later)
    simulate(compile_plan(graph), backend=backend)

    assert account.names() == ["first", "waits", "urgent"]


@pytest.mark.parametrize("room", ["slot", "thread"])
def test_who_has_no_slot_or_thread_to_start_in_is_passed_over_and_goes_first_when_there_is_one(
    room: str, backend: Backend
) -> None:
    limit, account = Limit("passed over", concurrency=1), Account()

    def sleeper(name: str, seconds: float) -> Callable[[], Awaitable[None]]:
        async def sleep() -> None:
            with account.body(limit, name=name):
                await anyio.sleep(seconds)

        return sleep

    def plain() -> None:
        account.log.append(("waits", anyio.current_time()))

    crowded = Graph("crowded")
    is_slot = room == "slot"
    crowded.add_layer(sleeper("waits", 5) if is_slot else plain, name="waits", limit=limit)
    crowded.add_layer(partial(anyio.sleep, 50) if is_slot else plain_sleeper(50), name="takes the room")
    crowded_plan = compile_plan(crowded, concurrency=1 if is_slot else 5, threads=1, executor=SlowExecutor())

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await all_of(
                partial(at, 0, plan_of(sleeper("holds", 10), limit=limit)),
                partial(at, 1, crowded_plan),
                partial(at, 20, plan_of(sleeper("passes", 41), limit=limit)),
                partial(at, 55, plan_of(sleeper("comes last", 1), limit=limit)),
            )
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log[:4] == [("holds", 0), ("passes", 20), ("waits", 61), ("comes last", 66 if is_slot else 61)]


def test_a_permit_whose_step_lost_its_slot_to_another_step_goes_to_who_can_start(backend: Backend) -> None:
    limit, account, crowded = Limit("lost slot", concurrency=1), Account(), Graph("crowded")
    crowded.add_layer(sleeps(limit, account, 1, name="waits"), name="waits", limit=limit)
    for number in range(3):
        crowded.add_layer(partial(anyio.sleep, 10), name=f"takes the slot{number}")

    async def main() -> None:
        with anyio.fail_after(PATIENCE):
            await all_of(
                plan_of(sleeps(limit, account, 3, name="holds"), limit=limit).run,
                partial(at, 1, compile_plan(crowded, concurrency=1)),
                # At 11 the slot came free, the permit was granted, and another step took the slot.
                partial(at, 15, plan_of(sleeps(limit, account, 1, name="passes"), limit=limit)),
            )
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert account.log == [("holds", 0), ("passes", 15), ("waits", 31)]


def test_a_run_with_one_slot_passes_its_permit_on_to_its_own_step_that_came_first(backend: Backend) -> None:
    limit, account = Limit("own", concurrency=1), Account()

    async def main() -> None:
        steps = [sleeps(limit, account, 10, name=f"own{number}") for number in range(2)]
        await all_of(
            plan_of(sleeps(limit, account, 10, name="holds"), limit=limit).run,
            partial(at, 1, plan_of(*steps, limit=limit, concurrency=1)),
            partial(at, 5, plan_of(sleeps(limit, account, 10, name="came later"), limit=limit)),
        )

    run_virtual(main, backend=backend)

    assert account.log == [("holds", 0), ("own0", 10), ("own1", 20), ("came later", 30)]


def test_a_permit_goes_on_when_the_slot_it_was_granted_for_asks_what_to_make_of_an_error(backend: Backend) -> None:
    limit, account = Limit("slot of a hook", concurrency=1), Account()
    failing, waits = sleeps(limit, account, 5, fault, name="fails"), sleeps(limit, account, 1, name="waits")

    async def ponder(_error: Exception) -> None:
        await anyio.sleep(100)

    crowded = Graph("crowded")
    crowded.add_layer(failing, name="fails", limit=limit, on_error=ponder)
    crowded.add_layer(waits, name="waits", limit=limit)

    async def main() -> None:
        await all_of(
            plan_of(sleeps(limit, account, 3, name="holds"), limit=limit).run,
            partial(at, 1, compile_plan(crowded, concurrency=1)),
            partial(at, 2, plan_of(sleeps(limit, account, 1, name="passes"), limit=limit)),
        )

    run_virtual(main, backend=backend)

    assert account.log == [("holds", 0), ("fails", 3), ("passes", 8), ("waits", 108)]


def plain_sleeper(seconds: float) -> Callable[[], Any]:
    """A plain function that `SlowExecutor` takes some time for."""

    def sleeper() -> float:
        return seconds

    sleeper.__dict__["seconds"] = seconds
    return sleeper


class SlowExecutor:
    """Calls plain functions inline, after the virtual seconds that they say they take."""

    abandoned = 0

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:
        await anyio.sleep(getattr(function, "seconds", 0))
        return function(*arguments)


# What waits holds nothing


@pytest.mark.parametrize("form", ["async", "thread"])
def test_waiting_holds_neither_slot_nor_thread(form: str, backend: Backend) -> None:
    limit, order, graph = Limit("waiting", concurrency=1), list[str](), Graph("waiting")

    def step(name: str) -> Callable[[], Any]:
        def plain() -> None:
            order.append(name)

        async def coroutine() -> None:
            await anyio.sleep(1)
            order.append(name)

        return coroutine if form == "async" else plain

    async def hold() -> None:
        await anyio.sleep(100)
        order.append("held")

    for number in range(3):
        graph.add_layer(step(f"limited{number}"), name=f"limited{number}", limit=limit)
    for number in range(3):
        graph.add_layer(step(f"free{number}"), name=f"free{number}")
    plan = compile_plan(graph, concurrency=1, threads=1, executor=InlineExecutor())

    async def main() -> None:
        await all_of(partial(at, 0, plan_of(hold, limit=limit)), partial(at, 1, plan))

    run_virtual(main, backend=backend)

    assert order == ["free0", "free1", "free2", "held", "limited0", "limited1", "limited2"]


def test_ten_thousand_that_wait_need_one_slot_and_no_task(backend: Backend) -> None:
    limit, counts, graph = Limit("waiting", rate="1/1000s"), list[int](), Graph("waiting")

    async def body() -> None:
        counts.append(len(anyio.get_running_tasks()))

    @graph.layer
    async def last() -> None:
        await anyio.sleep(1)
        counts.append(len(anyio.get_running_tasks()))

    for number in range(10_000):
        graph.add_layer(body, name=f"s{number}", limit=limit)

    async def main() -> None:
        before = len(anyio.get_running_tasks())
        with anyio.move_on_after(10):
            await compile_plan(graph, concurrency=2).run()
        assert max(counts) <= before + 2
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    assert len(counts) == 2


def test_waiting_for_a_rate_does_not_keep_the_loop_busy(backend: Backend) -> None:
    limit, steps = Limit("rare", rate="1/1000s"), Steps()

    async def nothing() -> None: ...

    async def main() -> None:
        with counted(steps):
            await plan_of(*[nothing] * 10, limit=limit).run()

    run_virtual(main, backend=backend)

    assert steps.count < 10 * 10


# What ends in whatever way gives back what it has


Ending = Callable[[Limit, Account], Awaitable[None]]


def part_of(limit: Limit, account: Account, holder: Callable[[], Any], **options: Any) -> Plan[None, Any]:
    """A plan with one step that holds a permit and two that wait for one."""
    graph = Graph("part")
    graph.add_layer(holder, name="holder", limit=limit)

    async def body() -> None:
        with account.body(limit, name="part"):
            await anyio.sleep(1)

    for number in range(2):
        graph.add_layer(body, name=f"s{number}", limit=limit)
    given: Any = {"concurrency": 2, "executor": InlineExecutor(), **options}
    return compile_plan(graph, **given)


def sleeps(
    limit: Limit, account: Account, seconds: float, end: Callable[[], object] = int, *, name: str = "holder"
) -> Callable[[], Any]:
    """A body that is alive for some seconds and then ends as it is told."""

    async def body() -> object:
        with account.body(limit, name=name):
            await anyio.sleep(seconds)
            return end()

    return body


def fault() -> None:
    raise Fault


def interrupt() -> None:
    raise KeyboardInterrupt


async def fails_and_aborts(limit: Limit, account: Account) -> None:
    with pytest.raises(Fault):
        await part_of(limit, account, sleeps(limit, account, 2, fault)).run()


async def fails_and_goes_on(limit: Limit, account: Account) -> None:
    run = await part_of(limit, account, sleeps(limit, account, 2, fault), on_error="continue").run()
    assert list(run.failures) == ["holder"]


async def fails_before_it_suspends(limit: Limit, account: Account) -> None:
    async def body() -> None:
        raise Fault

    run = await part_of(limit, account, body, on_error="continue", retries=2).run()
    assert len(run.attempts("holder")) == 3


async def fails_in_a_thread(limit: Limit, account: Account) -> None:
    run = await part_of(limit, account, fault, on_error="continue").run()
    assert list(run.failures) == ["holder"]


async def cannot_be_called(limit: Limit, account: Account) -> None:
    plan = part_of(limit, account, sleeps(limit, account, 2), on_error="continue")

    class Odd:
        def __call__(self) -> Any:
            raise Fault

    run = await plan.override(plan_layer(plan, "holder").calls(Odd())).run()
    assert list(run.failures) == ["holder"]


def plan_layer(plan: Plan[None, Any], name: str) -> Any:
    """The declared unit of a step."""
    return plan._program.wiring.layers[plan._program.wiring.names.index(name)]


async def retries_with_a_delay(limit: Limit, account: Account) -> None:
    options: Any = {"on_error": "continue", "retries": 3, "retry_delay": backoff(2), "seed": 1}
    run = await part_of(limit, account, sleeps(limit, account, 1, fault), **options).run()
    assert len(run.attempts("holder")) == 4


async def takes_too_long(limit: Limit, account: Account) -> None:
    run = await part_of(limit, account, sleeps(limit, account, 50), on_error="continue", timeout=2, retries=1).run()
    assert isinstance(run.failures["holder"], errors.LayerTimeout)


async def meets_its_deadline(limit: Limit, account: Account) -> None:
    with pytest.raises(errors.DeadlineExceeded):
        await part_of(limit, account, sleeps(limit, account, 50), deadline=3).run()


async def is_cancelled(limit: Limit, account: Account) -> None:
    with anyio.move_on_after(3) as scope:
        await part_of(limit, account, sleeps(limit, account, 50)).run()
    assert scope.cancelled_caught


async def is_stopped_by_its_handle(limit: Limit, account: Account) -> None:
    async with part_of(limit, account, sleeps(limit, account, 50)).start() as handle:
        await anyio.sleep(3)
        handle.cancel()


async def is_stopped_by_an_error_beside_it(limit: Limit, account: Account) -> None:
    with pytest.raises(Fault):
        async with part_of(limit, account, sleeps(limit, account, 50)).start():
            await anyio.sleep(3)
            fault()


async def is_interrupted(limit: Limit, account: Account) -> None:
    with pytest.raises(KeyboardInterrupt):
        await part_of(limit, account, sleeps(limit, account, 3, interrupt)).run()


async def is_interrupted_in_a_thread(limit: Limit, account: Account) -> None:
    with pytest.raises(KeyboardInterrupt):
        await part_of(limit, account, interrupt).run()


async def returns_a_generator(limit: Limit, account: Account) -> None:
    holder = sleeps(limit, account, 2, lambda: (number for number in range(3)))
    with pytest.raises(errors.GeneratorReturned):
        await part_of(limit, account, holder).run()


async def makes_a_cancellation_up(limit: Limit, account: Account) -> None:
    async def body() -> None:
        await anyio.sleep(1)
        raise anyio.get_cancelled_exc_class()

    if anyio.get_cancelled_exc_class().__module__ == "asyncio.exceptions":
        run = await part_of(limit, account, body, on_error="continue").run()
        assert isinstance(run.failures["holder"], errors.StrayCancellation)


async def cleans_up_for_long(limit: Limit, account: Account) -> None:
    async def beside() -> None:
        try:
            await anyio.sleep(50)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)

    graph = Graph("cleaning")
    graph.add_layer(sleeps(limit, account, 2, fault), name="fails", limit=limit)
    graph.add_layer(beside)
    for number in range(3):
        graph.add_layer(sleeps(limit, account, 1), name=f"s{number}", limit=limit)
    with pytest.raises(Fault):
        await compile_plan(graph).run()


async def finds_all_threads_left_behind(limit: Limit, account: Account) -> None:
    executor = InlineExecutor()

    async def abandon() -> None:
        executor.abandoned = 1
        await anyio.sleep(100)

    def plain() -> None: ...

    graph = Graph("threads")
    graph.add_layer(sleeps(limit, account, 1), name="holder", limit=limit)
    graph.add_layer(plain, limit=limit)
    graph.add_layer(abandon)
    run = await compile_plan(graph, threads=1, executor=executor, on_error="continue").run()
    assert isinstance(run.failures["plain"], errors.ThreadsExhausted)


async def fails_in_its_setup(limit: Limit, account: Account) -> None:
    async def resource() -> AsyncIterator[None]:
        with account.body(limit, name="holder"):
            await anyio.sleep(2)
            fault()
        yield

    run = await part_of(limit, account, resource, on_error="continue").run()
    assert list(run.failures) == ["holder"]


async def is_cancelled_in_its_setup(limit: Limit, account: Account) -> None:
    async def resource() -> AsyncIterator[None]:
        with account.body(limit, name="holder"):
            await anyio.sleep(50)
        yield

    with anyio.move_on_after(3) as scope:
        await part_of(limit, account, resource).run()
    assert scope.cancelled_caught


ENDINGS: list[Ending] = [
    fails_and_aborts,
    fails_and_goes_on,
    fails_before_it_suspends,
    fails_in_a_thread,
    cannot_be_called,
    retries_with_a_delay,
    takes_too_long,
    meets_its_deadline,
    is_cancelled,
    is_stopped_by_its_handle,
    is_stopped_by_an_error_beside_it,
    is_interrupted,
    is_interrupted_in_a_thread,
    returns_a_generator,
    makes_a_cancellation_up,
    cleans_up_for_long,
    finds_all_threads_left_behind,
    fails_in_its_setup,
    is_cancelled_in_its_setup,
]


@pytest.mark.parametrize("rate", [None, "2/5s"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_ends_in_any_way_leaves_the_limit_whole_and_other_runs_go_on(
    ending: Ending, rate: str | None, backend: Backend
) -> None:
    limit, account = Limit("shared", concurrency=1, rate=rate), Account()

    async def body() -> None:
        with account.body(limit, name="bystander"):
            await anyio.sleep(1)

    async def main() -> None:
        before = running_tasks()
        with anyio.fail_after(PATIENCE):
            bystander = plan_of(*[body] * 3, limit=limit)
            await all_of(partial(ending, limit, account), partial(at, 0.5, bystander))
        await assert_settled(before)
        await assert_whole(limit)

    run_virtual(main, backend=backend)

    # Those of the bystander come to the queue at 0.5, behind the three of the other run.
    last = max(moment for name, moment in account.log if name == "bystander")
    assert account.names().count("bystander") == 3
    assert last < 30, account.log
    assert not account.broken_laws()


# Cancelled at any moment


def plan_of_every_kind(limit: Limit, account: Account) -> Plan[None, Any]:
    """Steps that hold, wait for, and ask again for permits."""
    graph, inner = Graph("every kind"), plan_of(sleeps(limit, account, 1), limit=limit)

    def plain() -> None:
        with account.body(limit):
            compute(0.1)

    async def numbers() -> list[int]:
        return [1, 2]

    async def item(_number: int) -> None:
        await sleeps(limit, account, 1)()

    async def resource() -> AsyncIterator[None]:
        await sleeps(limit, account, 1)()
        yield

    async def nest() -> None:
        with account.body(limit), account.lending(limit):
            await inner.run()

    graph.add_layer(sleeps(limit, account, 1), name="hold", limit=limit, timeout=20)
    failing: Any = {"retries": 1, "retry_delay": 0.5, "on_error": "continue"}
    graph.add_layer(sleeps(limit, account, 1, fault), name="fail", limit=limit, **failing)
    graph.add_layer(plain, limit=limit)
    item.__defaults__ = (each(graph.add_layer(numbers)),)
    graph.layer.each(limit=limit)(item)
    graph.add_layer(resource, limit=limit)
    graph.add_layer(nest, limit=limit)
    return compile_plan(graph, concurrency=2, threads=1, executor=InlineExecutor())


async def cut_by_a_scope(plan: Plan[None, Any], cuts: list[Callable[[], object]]) -> None:
    with anyio.CancelScope() as scope:
        cuts.append(scope.cancel)
        await plan.run()


async def cut_by_its_handle(plan: Plan[None, Any], cuts: list[Callable[[], object]]) -> None:
    async with plan.start() as handle:
        cuts.append(handle.cancel)


async def cut_by_its_task(plan: Plan[None, Any], cuts: list[Callable[[], object]]) -> None:
    async def be_a_task() -> None:
        await plan.run()

    task = asyncio.create_task(be_a_task())
    cuts.append(task.cancel)
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


Cut = Callable[[Plan[None, Any], list[Callable[[], object]]], Awaitable[None]]
CUTS: list[Any] = [
    pytest.param(cut_by_a_scope, "asyncio", id="scope-asyncio"),
    pytest.param(cut_by_a_scope, "trio", id="scope-trio"),
    pytest.param(cut_by_its_handle, "asyncio", id="handle-asyncio"),
    pytest.param(cut_by_its_handle, "trio", id="handle-trio"),
    pytest.param(cut_by_its_task, "asyncio", id="native-asyncio"),
]


async def cut_after(at_step: int, cut: Cut, limit: Limit) -> int:
    """Run it beside another run and cut it off after so many steps of all tasks. Returns how many there were."""
    account, cuts = Account(), list[Callable[[], object]]()

    async def body() -> None:
        with account.body(limit, name="bystander"):
            await anyio.sleep(1)

    steps = Steps(at_step, lambda: [act() for act in cuts])
    with anyio.fail_after(PATIENCE):
        bystander = plan_of(*[body] * 3, limit=limit, concurrency=2)
        with counted(steps):
            await all_of(bystander.run, partial(cut, plan_of_every_kind(limit, account), cuts))
        assert account.names().count("bystander") == 3
        assert not account.broken_laws(), account.broken_laws()
        await assert_whole(limit)
    return steps.count


@pytest.mark.parametrize("limit", [Limit("one", concurrency=1), Limit("two", concurrency=2, rate="3/2s")], ids=repr)
@pytest.mark.parametrize(("cut", "backend"), CUTS)
def test_a_run_that_is_cut_off_after_any_step_of_any_task_keeps_nothing(
    cut: Cut, limit: Limit, backend: Backend
) -> None:
    total = run_virtual(cut_after, 0, cut, limit, backend=backend)

    assert total > 50
    for at_step in range(1, total + 1):
        try:
            run_virtual(cut_after, at_step, cut, limit, backend=backend)
        except BaseException as error:
            error.add_note(f"cut off after step {at_step} of {total}")
            raise


# One state for each event loop and each limit


def test_equal_limits_are_one_and_different_ones_are_two(backend: Backend) -> None:
    account, key = Account(), Limit("key", concurrency=1)

    async def body() -> None:
        with account.body(key):
            await anyio.sleep(1)

    def seconds(*limits: Limit) -> float:
        graph = Graph("equal or not")
        for number, limit in enumerate(limits):
            graph.add_layer(body, name=f"s{number}", limit=limit)
        return simulate(compile_plan(graph), backend=backend).seconds

    assert seconds(Limit("a", concurrency=1), Limit("a", concurrency=1)) == 2
    assert seconds(Limit("a", rate="1/1s"), Limit("a", rate="1/1000ms")) == 2
    assert seconds(Limit("a", concurrency=1), Limit("b", concurrency=1)) == 1
    assert seconds(Limit("a", concurrency=1), Limit("a", concurrency=2)) == 1
    assert seconds(Limit("a", concurrency=1), Limit("a", concurrency=1, rate="9/s")) == 1


def test_event_loops_one_after_the_other_share_nothing(backend: Backend) -> None:
    limit, account = Limit("loops", concurrency=1, rate="1/1000s"), Account()

    async def cut_off() -> None:
        with anyio.move_on_after(1):
            await plan_of(sleeps(limit, account, 100), limit=limit).run()

    for _ in range(3):
        run_virtual(cut_off, backend=backend)

    assert account.starts[limit] == [0, 0, 0]


@pytest.mark.parametrize("main_backend", ["asyncio", "trio"])
def test_event_loops_in_two_threads_at_once_share_nothing(main_backend: str) -> None:
    limit, both = Limit("loops", concurrency=1), threading.Barrier(2)

    def meet() -> bool:
        both.wait(30)  # only passed if both bodies are alive at once
        return True

    def live() -> None:
        assert anyio.run(plan_of(meet, limit=limit).run, backend=main_backend).result == {"s0": True}

    threads = [threading.Thread(target=live) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert both.broken is False
    assert not any(thread.is_alive() for thread in threads)


# How it goes together with the other options


def test_each_item_asks_for_itself(backend: Backend) -> None:
    limit, account, graph = Limit("items", concurrency=3), Account(), Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return list(range(5))

    @graph.layer.each(limit=limit, weight=2, retries=1, on_error="continue")
    async def item(number: int = each(numbers)) -> int:
        with account.body(limit, 2, name=f"item{number}"):
            await anyio.sleep(1)
            if number == 1:
                fault()
        return number

    @graph.layer
    async def count(batch: Batch[int] = use(item)) -> tuple[int, ...]:
        return tuple(batch)

    trace = simulate(compile_plan(count), backend=backend)

    assert account.names() == ["item0", "item1", "item2", "item3", "item4", "item1"]
    assert (trace.seconds, trace.result) == (6, (0, 2, 3, 4))


@pytest.mark.parametrize("verb", ["returns", "raises", "calls"])
def test_a_stand_in_asks_for_the_limit_of_the_unit_as_it_keeps_its_other_options(verb: str, backend: Backend) -> None:
    limit, graph = Limit("stand-in", rate="1/10s"), Graph("stand-ins")

    async def real() -> str:
        return "real"

    async def called() -> str:
        return "called"

    units = [graph.add_layer(real, name=f"s{number}", limit=limit, on_error="continue") for number in range(3)]
    values: dict[str, Any] = {"returns": "returned", "raises": Fault(), "calls": called}
    overrides = [getattr(unit, verb)(values[verb]) for unit in units]
    run = simulate(compile_plan(graph).override(*overrides), backend=backend).run

    assert [attempt.started for attempt in run.attempts()] == [0, 10, 20]


def test_the_timeout_counts_from_the_start_of_the_body(backend: Backend) -> None:
    limit, account = Limit("timeout", concurrency=1), Account()

    trace = simulate(plan_of(*[sleeps(limit, account, 4)] * 5, limit=limit, timeout=5), backend=backend)

    assert (trace.error, trace.seconds) == (None, 20)


def test_the_record_of_an_attempt_starts_with_its_body(backend: Backend) -> None:
    limit, account = Limit("records", concurrency=1, rate="2/5s"), Account()
    plan = plan_of(*[sleeps(limit, account, 1, fault)] * 3, limit=limit, retries=1, retry_delay=1, on_error="continue")

    run = simulate(plan, backend=backend).run

    attempts = run.attempts()
    assert [attempt.started for attempt in attempts] == account.starts[limit] == [0, 1, 5, 6, 10, 11]
    assert {attempt.duration for attempt in attempts} == {1}
    assert [(attempt.step, attempt.number) for attempt in attempts] == [
        *[("s0", 1), ("s1", 1)],
        *[("s2", 1), ("s0", 2)],
        *[("s1", 2), ("s2", 2)],
    ]


async def test_steps_in_real_threads_keep_the_concurrency() -> None:
    limit, lock, alive, most = Limit("threads", concurrency=2), threading.Lock(), [0], [0]

    def plain() -> None:
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        time.sleep(0.001)
        with lock:
            alive[0] -= 1

    await all_of(*(plan_of(*[plain] * 20, limit=limit, threads=threads).run for threads in (1, 4, 8)))

    assert most == [2]
    await assert_whole(limit)


def test_steps_in_os_processes_keep_the_concurrency_and_give_back_what_they_have_when_killed() -> None:
    limit, graph = Limit("processes", concurrency=1), Graph("processes")
    for number in range(3):
        graph.add_layer(crunch, name=f"s{number}", limit=limit, run_in="subprocess")
    killed: Any = {"run_in": "subprocess", "timeout": 0.2, "on_error": "continue"}
    graph.add_layer(hang, limit=limit, **killed)

    async def main() -> None:
        run = await compile_plan(graph, processes=4).run()
        spans = sorted(run[f"s{number}"] for number in range(3))
        assert all(former[1] <= later[0] for former, later in pairwise(spans))
        assert list(run.failures) == ["hang"]
        await assert_whole(limit)

    anyio.run(main)


async def test_in_real_time_no_window_holds_too_many_starts_either() -> None:
    limit, starts = Limit("real", rate="5/20ms"), list[float]()

    async def body() -> None:
        starts.append(time.monotonic())

    await all_of(*(plan_of(*[body] * 15, limit=limit).run for _ in range(3)))

    assert len(starts) == 45
    assert crowded_window(starts, limit.starts, limit.period) is None


def test_a_run_without_limits_never_touches_them(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    graph = Graph("no limits")

    async def step() -> None:
        await anyio.sleep(1)

    def plain() -> None: ...

    graph.add_layer(step)
    graph.add_layer(plain)
    monkeypatch.setattr(runtime_limits, "permits_of", None)

    async def main() -> None:
        await compile_plan(graph, executor=InlineExecutor()).run()
        with pytest.raises(LookupError):
            runtime_limits._ON_THIS_LOOP.get()

    run_virtual(main, backend=backend)


def test_a_unit_without_the_limit_is_not_held_up_by_it(backend: Backend) -> None:
    limit, account, graph = Limit("held up", concurrency=1, rate="1/100s"), Account(), Graph("held up")

    for number in range(3):
        graph.add_layer(sleeps(limit, account, 1), name=f"limited{number}", limit=limit)

    async def free() -> float:
        return anyio.current_time()

    frees = [graph.add_layer(free, name=f"free{number}") for number in range(3)]
    trace = simulate(compile_plan(*frees, graph.units["limited2"], concurrency=1), backend=backend)

    assert max(trace.run[f"free{number}"] for number in range(3)) <= 1


# Many


def seconds_of(count: int, backend: Backend) -> float:
    """CPU seconds of a fan-out of so many items through a limit of concurrency 4."""
    limit, graph = Limit("many", concurrency=4), Graph("many")

    @graph.layer
    async def numbers() -> range:
        return range(count)

    @graph.layer.each(limit=limit)
    async def item(number: int = each(numbers)) -> None:
        await anyio.lowlevel.checkpoint()

    plan = compile_plan(item)
    begun = time.process_time()
    run = run_virtual(plan.run, backend=backend)
    assert len(run.result) == count
    return time.process_time() - begun


def test_what_an_item_costs_does_not_grow_with_their_number(backend: Backend) -> None:
    assert any(seconds_of(8000, backend) < 2 * 4 * seconds_of(2000, backend) for _ in range(3))


def test_ten_thousand_items_pass_in_reasonable_time(backend: Backend) -> None:
    assert seconds_of(10_000, backend) < 20


def seconds_to_leave(count: int, backend: Backend) -> float:
    """CPU seconds of cancelling a run with so many waiting steps, behind as many of another run."""
    limit, account, spent = Limit("queue", concurrency=1), Account(), list[float]()

    async def main() -> None:
        scope, plans = anyio.CancelScope(), [plan_of(*[sleeps(limit, account, 1)] * count, limit=limit) for _ in "ab"]

        async def leave() -> None:
            with scope:
                await plans[1].run()
            spent.append(time.process_time())

        async with anyio.create_task_group() as group:
            group.start_soon(plans[0].run)
            await anyio.sleep(0.1)
            group.start_soon(leave)
            await anyio.sleep(0.1)
            spent.append(time.process_time())
            scope.cancel()
            await anyio.sleep(0.1)
            assert permits_of(limit).waiting == count - 1
            group.cancel_scope.cancel()
        assert (permits_of(limit).in_use, permits_of(limit).waiting) == (0, 0)

    run_virtual(main, backend=backend)
    return spent[1] - spent[0]


def test_leaving_a_long_queue_does_not_cost_its_square(backend: Backend) -> None:
    assert any(seconds_to_leave(8000, backend) < 2 * 4 * seconds_to_leave(2000, backend) for _ in range(3))


def seconds_beside(stuck: int, backend: Backend) -> float:
    """CPU seconds of a fan-out through a limit, beside so many runs that wait for it and have no slot."""
    limit, account, spent = Limit("stuck", concurrency=1), Account(), list[float]()
    crowded = Graph("crowded")
    crowded.add_layer(sleeps(limit, account, 1), name="waits", limit=limit)
    crowded.add_layer(partial(anyio.sleep, 10_000), name="takes the slot")
    crowded_plan, passing = compile_plan(crowded, concurrency=1), Graph("passing")

    @passing.layer
    async def numbers() -> range:
        return range(300)

    @passing.layer.each(limit=limit)
    async def item(number: int = each(numbers)) -> None:
        await anyio.lowlevel.checkpoint()

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(plan_of(sleeps(limit, account, 5), limit=limit).run)
            await anyio.sleep(1)
            for _ in range(stuck):
                group.start_soon(crowded_plan.run)
            await anyio.sleep(100)
            assert permits_of(limit).waiting == stuck
            begun = time.process_time()
            assert (await compile_plan(item).run()).result.success_rate == 1
            spent.append(time.process_time() - begun)
            group.cancel_scope.cancel()

    run_virtual(main, backend=backend)
    return spent[0]


def test_runs_that_cannot_start_cost_those_that_can_nothing(backend: Backend) -> None:
    assert any(seconds_beside(600, backend) < 3 * seconds_beside(10, backend) for _ in range(3))


async def test_other_tasks_go_on_while_twenty_thousand_steps_queue() -> None:
    limit, graph, queued = Limit("crowd", concurrency=1), Graph("crowd"), [0]
    jumps: list[int] = []

    async def body() -> None: ...

    async def hold() -> None:
        await anyio.sleep(3600)

    graph.add_layer(hold, limit=limit)
    for number in range(20_000):
        graph.add_layer(body, name=f"s{number}", limit=limit)

    async def beat() -> None:
        while queued[0] < 20_000:
            await anyio.lowlevel.checkpoint()
            waiting = permits_of(limit).waiting
            jumps.append(waiting - queued[0])
            queued[0] = waiting
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await compile_plan(graph).run()

    # Five milliseconds are enough for a thousand or two.
    assert max(jumps) < 10_000
