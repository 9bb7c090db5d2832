"""P29: runs of one plan do not see each other; context comes in from the caller and leaks nowhere."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import Batch, Graph, Layer, Plan, Run, compile_plan, current_step, each, layer, run_of, use, when
from fusynk.testing import simulate

AT_ONCE = 50
caller: ContextVar[str] = ContextVar("caller", default="nobody")
leaked: ContextVar[str] = ContextVar("leaked", default="nothing")


@layer
async def doubled(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    return number * 2


@layer(run_in="thread")
def text(number: int, twice: int = use(doubled)) -> str:
    return f"{number}:{twice}:{current_step().run_id}"


@layer
async def letters(number: int) -> list[str]:
    return list(str(number))


@layer.each
async def items(letter: str = each(letters), number: int = 0) -> str:
    await anyio.lowlevel.checkpoint()
    return f"{letter} of {number}"


@layer(on_error="continue", retries=1)
async def odd(number: int) -> int:
    await anyio.lowlevel.checkpoint()
    if number % 2 == 0:
        raise ValueError(number)
    return number


@layer
async def seen(found: str = use(text), parts: Batch[str] = use(items), maybe: int = use(odd, default=-1)) -> object:
    return found, list(parts), maybe


PLAN = compile_plan(seen, concurrency=3, threads=2)


def assert_is_the_run_of(number: int, run: Run[object]) -> None:
    assert run.result == (
        f"{number}:{number * 2}:{run.id}",
        [f"{letter} of {number}" for letter in str(number)],
        number if number % 2 else -1,
    )
    assert run[doubled] == number * 2
    assert len(run.attempts(odd)) == (1 if number % 2 else 2)
    assert list(run.failures) == ([] if number % 2 else ["odd"])
    assert [record.step for record in run.attempts(items)] == [f"items[{place}]" for place in range(len(str(number)))]


async def test_p29_one_plan_runs_fifty_times_at_once() -> None:
    runs: dict[int, Run[object]] = {}

    async def run(number: int) -> None:
        runs[number] = await PLAN.run(number=number)

    async with anyio.create_task_group() as group:
        for number in range(AT_ONCE):
            group.start_soon(run, number)

    for number in range(AT_ONCE):
        assert_is_the_run_of(number, runs[number])
    assert len({run.id for run in runs.values()}) == AT_ONCE


async def test_p29_one_plan_runs_again_and_again() -> None:
    first, second = await PLAN.run(number=11), await PLAN.run(number=12)

    assert_is_the_run_of(11, first)
    assert_is_the_run_of(12, second)


def test_p29_one_plan_runs_in_several_threads_at_once() -> None:
    gate = threading.Barrier(4)

    def run(number: int) -> Run[object]:
        gate.wait()
        return PLAN.run_sync(number=number)

    with ThreadPoolExecutor(4) as pool:
        for number, finished in zip((1, 2, 3, 4), pool.map(run, (1, 2, 3, 4)), strict=True):
            assert_is_the_run_of(number, finished)


async def test_p29_a_run_that_fails_leaves_the_others_alone() -> None:
    @layer
    async def picky(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        if number % 5 == 0:
            raise ConnectionError(number)
        return number

    @layer
    async def after(number: int = use(picky)) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    plan = compile_plan(after)
    results: dict[int, object] = {}

    async def run(number: int) -> None:
        try:
            results[number] = (await plan.run(number=number)).result
        except ConnectionError as error:
            failed = run_of(error)
            assert failed is not None
            results[number] = failed.failures["picky"].args

    async with anyio.create_task_group() as group:
        for number in range(AT_ONCE):
            group.start_soon(run, number)

    assert results == {number: (number,) if number % 5 == 0 else number for number in range(AT_ONCE)}


async def test_p29_a_cancelled_run_leaves_the_others_alone() -> None:
    results: dict[int, object] = {}

    async def run(number: int) -> None:
        with anyio.CancelScope() as scope:
            if number % 2:
                scope.cancel()
            results[number] = (await PLAN.run(number=number)).id

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(run, number)

    assert sorted(results) == [0, 2, 4, 6, 8]


async def test_p29_a_plan_may_run_itself_inside_its_steps() -> None:
    graph = Graph("nested")

    @graph.layer
    async def deeper(depth: int) -> list[int]:
        if depth == 0:
            return [0]
        inner = await plan.run(depth=depth - 1)
        return [depth, *inner.result]

    plan: Plan[None, list[int]] = compile_plan(deeper, concurrency=1)

    assert (await plan.run(depth=8)).result == [8, 7, 6, 5, 4, 3, 2, 1, 0]


def readers(variable: ContextVar[str]) -> Graph:
    """A unit of each kind that returns what it sees in a context variable."""
    graph = Graph("readers")

    @graph.layer
    async def at_once() -> str:
        return variable.get()

    @graph.layer
    async def suspending() -> str:
        await anyio.lowlevel.checkpoint()
        return variable.get()

    @graph.layer
    async def in_a_child() -> str:
        found: list[str] = []

        async def look() -> None:
            await anyio.lowlevel.checkpoint()
            found.append(variable.get())

        async with anyio.create_task_group() as group:
            group.start_soon(look)
        return found[0]

    @graph.layer(run_in="thread")
    def in_a_thread() -> str:
        return variable.get()

    @graph.layer(run_in="inline")
    def inline() -> str:
        return variable.get()

    @graph.layer
    async def pair() -> list[int]:
        return [1, 2]

    @graph.layer.each
    async def item(number: int = each(pair)) -> str:
        await anyio.lowlevel.checkpoint()
        return variable.get()

    @graph.process(at_once, inline, mode="sequential")
    async def last() -> str:
        return variable.get()

    return graph


READERS = ("at_once", "suspending", "in_a_child", "in_a_thread", "inline", "last")


def seen_in(run: Run[object]) -> set[str]:
    return {run[name] for name in READERS} | set(run["item"])


async def test_p29_context_comes_in_from_each_caller() -> None:
    plan = compile_plan(readers(caller), concurrency=4)
    found: dict[str, set[str]] = {}

    async def run(name: str) -> None:
        caller.set(name)
        await anyio.lowlevel.checkpoint()
        found[name] = seen_in(await plan.run())

    async with anyio.create_task_group() as group:
        for number in range(AT_ONCE // 5):
            group.start_soon(run, f"caller {number}")

    assert found == {name: {name} for name in found}
    assert len(found) == AT_ONCE // 5


async def test_p29_a_handle_brings_the_context_of_who_started_it() -> None:
    token = caller.set("starter")
    try:
        async with compile_plan(readers(caller)).start() as handle:
            assert seen_in(await handle.wait()) == {"starter"}
    finally:
        caller.reset(token)


async def leak_at_once() -> None:
    leaked.set("at once")


async def leak_and_suspend() -> None:
    leaked.set("before")
    await anyio.lowlevel.checkpoint()
    leaked.set("after")


async def leak_and_fail() -> None:
    leaked.set("failing")
    await anyio.lowlevel.checkpoint()
    raise ValueError


def leak_in_plain_code() -> None:
    leaked.set("plain")


def leak_in_an_answer(answer: Any) -> Callable[[object], Any]:
    """A function that the engine asks, and that sets the variable before it answers."""

    def answering(_: object) -> Any:
        leaked.set("answer")
        return answer

    return answering


def one() -> int:
    return 1


LEAKS: dict[str, Callable[[Graph], Layer[..., Any, Any]]] = {
    "a body that does not suspend": lambda graph: graph.add_layer(leak_at_once),
    "a body that suspends": lambda graph: graph.add_layer(leak_and_suspend),
    "a body that fails": lambda graph: graph.add_layer(leak_and_fail, on_error="continue"),
    "a body that is tried again": lambda graph: graph.add_layer(leak_and_fail, retries=2, on_error="continue"),
    "a body in a thread": lambda graph: graph.add_layer(leak_in_plain_code),
    "a body inline": lambda graph: graph.add_layer(leak_in_plain_code, run_in="inline"),
    "a recovery": lambda graph: graph.add_layer(leak_and_fail, on_error=leak_in_an_answer(True)),
    "a decision to retry": lambda graph: graph.add_layer(
        leak_and_fail, retries=1, retry_on=leak_in_an_answer(True), on_error="continue"
    ),
    "a delay": lambda graph: graph.add_layer(
        leak_and_fail, retries=1, retry_delay=leak_in_an_answer(0.0), on_error="continue"
    ),
    "a condition": lambda graph: graph.add_layer(
        one, name="judged", depends_on=when(graph.add_layer(one, name="judge"), leak_in_an_answer(True))
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_p29_what_a_step_sets_no_other_step_and_no_caller_sees(leak: str, concurrency: int) -> None:
    leaks = Graph("leaks")
    members = [unit for name, unit in readers(leaked).units.items() if name != "last"]
    everything = leaks.process("everything", LEAKS[leak](leaks), *members, mode="sequential", on_error="continue")

    run = await compile_plan(everything, concurrency=concurrency).run()

    assert {run[name] for name in READERS if name != "last"} | set(run["item"]) == {"nothing"}
    assert leaked.get() == "nothing"


async def test_p29_a_dependent_does_not_see_what_its_source_set() -> None:
    @layer
    async def source() -> str:
        leaked.set("source")
        await anyio.lowlevel.checkpoint()
        return leaked.get()

    @layer
    async def dependent(value: str = use(source)) -> tuple[str, str]:
        return value, leaked.get()

    assert (await compile_plan(dependent).run()).result == ("source", "nothing")


def test_p29_every_step_knows_its_own_run_and_attempt(backend: str) -> None:
    tries = count()

    @layer(retries=3)
    async def flaky() -> tuple[str, str, int, str]:
        await anyio.lowlevel.checkpoint()
        if next(tries) < 2:
            raise ConnectionError
        step = current_step()
        return step.run_id, step.name, step.attempt, step.idempotency_key

    trace = simulate(compile_plan(flaky, run_id="mine"), backend="trio" if backend == "trio" else "asyncio")

    assert trace.result == ("mine", "flaky", 3, "mine/flaky")


async def test_p29_overrides_of_one_run_do_not_reach_another() -> None:
    replaced = PLAN.override(doubled.returns(-1))

    results: dict[str, object] = {}

    async def run(name: str, plan: Plan[None, object]) -> None:
        results[name] = (await plan.run(number=3))[doubled]

    async with anyio.create_task_group() as group:
        group.start_soon(run, "plan", PLAN)
        group.start_soon(run, "replaced", replaced)

    assert results == {"plan": 6, "replaced": -1}
