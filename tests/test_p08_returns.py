"""P8: what a plain function returns is awaited if it can be; a generator is an error; `StopIteration` is a failure."""

from collections.abc import AsyncGenerator, Generator
from typing import Any

import anyio.lowlevel
import pytest

from fusynk import Batch, Failed, Graph, compile_plan, current_step, each, errors, run_of, use
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend

FORMS = ("async", "thread", "inline", "item")


class Promise:
    """Something that can be awaited and is no coroutine."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __await__(self) -> Generator[Any, Any, object]:
        yield from anyio.lowlevel.checkpoint().__await__()
        return self._value


async def answer(value: object) -> object:
    await anyio.lowlevel.checkpoint()
    return value


@pytest.mark.parametrize("returned", [answer, Promise])
@pytest.mark.parametrize("run_in", ["thread", "inline"])
async def test_p08_what_a_plain_function_returns_is_awaited(returned: Any, run_in: Any) -> None:
    graph = Graph("awaitable")

    def ask() -> object:
        return returned(7)

    first = graph.add_layer(ask, run_in=run_in)

    @graph.layer
    async def dependent(value: object = use(first)) -> object:
        return value

    assert (await compile_plan(dependent).run()).result == 7


@pytest.mark.parametrize("returned", [answer, Promise])
def test_p08_so_is_what_an_item_returns(returned: Any, backend: Backend) -> None:
    graph = Graph("awaitable items")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each
    def item(number: int = each(numbers)) -> Any:
        return returned(number * 10)

    @graph.layer
    async def total(batch: Batch[Any] = use(item)) -> int:
        return sum(batch)

    assert simulate(compile_plan(total), backend=backend).result == 60


@pytest.mark.parametrize("run_in", ["thread", "inline"])
async def test_p08_an_awaited_answer_belongs_to_its_step(run_in: Any) -> None:
    graph, names = Graph("belongs"), list[str]()

    async def name_the_step() -> None:
        names.append(current_step().name)
        await anyio.lowlevel.checkpoint()
        names.append(current_step().name)

    def ask() -> object:
        names.append(current_step().name)
        return name_the_step()

    graph.add_layer(ask, run_in=run_in)
    await compile_plan(graph).run()

    assert names == ["ask"] * 3


@pytest.mark.parametrize("run_in", ["thread", "inline"])
async def test_p08_an_answer_that_fails_fails_the_step(run_in: Any) -> None:
    graph, error, calls = Graph("failing answer"), ConnectionError("lost"), list[int]()

    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        calls.append(1)
        raise error

    def ask() -> object:
        return fail()

    graph.add_layer(ask, run_in=run_in, retries=2)

    with pytest.raises(ConnectionError) as caught:
        await compile_plan(graph).run()

    assert caught.value is error
    assert len(calls) == 3


def count_up() -> Generator[int]:
    yield 1


async def count_up_async() -> AsyncGenerator[int]:
    yield 1


def add_step(graph: Graph, form: str, function: Any, **options: Any) -> None:
    """Add a step named `step` that calls a function in one of the forms of a body."""

    async def call_async() -> object:
        return function()

    async def numbers() -> list[int]:
        return [0]

    async def call_item(_number: int) -> object:
        return function()

    def call() -> object:
        return function()

    if form == "async":
        graph.add_layer(call_async, name="step", **options)
    elif form == "item":
        call_item.__defaults__ = (each(graph.add_layer(numbers)),)
        graph.layer.each(call_item, name="step", **options)
    else:
        graph.add_layer(call, name="step", run_in="thread" if form == "thread" else "inline", **options)


@pytest.mark.parametrize("generator", [count_up, count_up_async])
@pytest.mark.parametrize("form", FORMS)
async def test_p08_a_generator_that_is_returned_is_an_error_naming_the_step(generator: Any, form: str) -> None:
    graph = Graph("generator")
    add_step(graph, form, generator)

    with pytest.raises(errors.GeneratorReturned) as caught:
        await compile_plan(graph).run()

    assert ("'step[0]'" if form == "item" else "'step'") in str(caught.value)
    assert isinstance(caught.value, TypeError)
    run = run_of(caught.value)
    assert run is not None
    assert run.failures["step[0]" if form == "item" else "step"] is caught.value


@pytest.mark.parametrize("run_in", ["thread", "inline"])
async def test_p08_a_generator_in_an_awaited_answer_is_no_better(run_in: Any) -> None:
    graph = Graph("awaited generator")

    def ask() -> object:
        return answer(count_up())

    graph.add_layer(ask, run_in=run_in, on_error="continue")

    assert isinstance((await compile_plan(graph).run()).failures["ask"], errors.GeneratorReturned)


def test_p08_dependents_of_a_generator_are_skipped(backend: Backend) -> None:
    graph, called = Graph("skipped"), list[object]()

    @graph.layer(on_error="continue")
    async def source() -> object:
        return count_up()

    @graph.layer
    async def dependent(value: object = use(source)) -> None:
        called.append(value)

    run = simulate(compile_plan(dependent), backend=backend).run

    assert called == []
    assert isinstance(run.outcome("source"), Failed)


def stop() -> None:
    raise StopIteration(7)


def stop_async() -> None:
    raise StopAsyncIteration


@pytest.mark.timeout(10)
@pytest.mark.parametrize("stop", [stop, stop_async])
@pytest.mark.parametrize("form", [*FORMS, "answer"])
async def test_p08_stop_iteration_is_a_failure_like_any_other(stop: Any, form: str) -> None:
    graph, calls = Graph("stop"), list[int]()

    async def stop_later() -> None:
        await anyio.lowlevel.checkpoint()
        stop()

    def call() -> object:
        calls.append(1)
        return stop_later() if form == "answer" else stop()

    add_step(graph, "inline" if form == "answer" else form, call, retries=1, on_error="continue")

    @graph.layer
    async def other() -> str:
        return "done"

    run = await compile_plan(graph).run()

    error = next(iter(run.failures.values()))
    assert run["other"] == "done"
    assert len(calls) == 2
    # Python itself turns a StopIteration that leaves a coroutine into a RuntimeError with the original as its cause.
    assert isinstance(error, StopAsyncIteration) or isinstance(error.__cause__, StopIteration)
