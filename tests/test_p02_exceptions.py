"""P2: after exactly `retries + 1` attempts a step has failed, with the very exception that its body raised."""

import traceback
from typing import Any

import anyio.lowlevel
import pytest

from fusynk import Failed, Graph, Succeeded, compile_plan, each, run_of, use
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend


class Declined(Exception):
    """What a service raises for itself."""


class Unprintable(Exception):
    """Neither its text nor its representation can be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no representation")


async def checkpoint() -> None:
    await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("retries", [0, 1, 2, 7])
@pytest.mark.parametrize("form", ["async", "sync", "inline"])
def test_p02_a_step_fails_after_exactly_retries_plus_one_attempts(retries: int, form: str, backend: Backend) -> None:
    graph, raised = Graph("attempts"), list[Declined]()

    def fail() -> None:
        raised.append(Declined(len(raised)))
        raise raised[-1]

    async def fail_async() -> None:
        fail()

    graph.add_layer(
        fail_async if form == "async" else fail,
        name="pay",
        retries=retries,
        run_in="inline" if form == "inline" else "auto",
    )

    trace = simulate(compile_plan(graph), backend=backend)

    assert len(raised) == retries + 1
    assert trace.error is raised[-1]
    assert trace.run.outcome("pay") == Failed(raised[-1])
    assert [(record.number, record.error) for record in trace.run.attempts("pay")] == list(enumerate(raised, 1))


def test_p02_a_later_attempt_that_returns_ends_the_retries(backend: Backend) -> None:
    graph, calls = Graph("flaky"), list[int]()

    @graph.layer(retries=5)
    async def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise Declined
        return "done"

    trace = simulate(compile_plan(flaky), backend=backend)

    assert (len(calls), trace.result, trace.error) == (3, "done", None)
    assert [record.error is None for record in trace.run.attempts(flaky)] == [False, False, True]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("on_error", ["abort", "continue"])
async def test_p02_type_traceback_and_cause_are_those_of_the_body(on_error: Any, suspends: bool) -> None:
    graph, cause = Graph("original"), ConnectionError("no route")

    async def charge_the_card() -> None:
        if suspends:
            await checkpoint()
        raise Declined("card 7") from cause

    @graph.layer(on_error=on_error)
    async def pay() -> None:
        await charge_the_card()

    try:
        error = (await compile_plan(pay).run()).failures["pay"]
    except Declined as raised:
        error = raised

    assert type(error) is Declined
    assert error.args == ("card 7",)
    assert error.__cause__ is cause
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == ["pay", "charge_the_card"]


async def test_p02_the_run_is_reachable_from_what_is_raised() -> None:
    graph = Graph("link")

    @graph.layer
    async def before() -> int:
        return 1

    @graph.layer
    async def pay(amount: int = use(before)) -> None:
        raise Declined(amount)

    with pytest.raises(Declined) as caught:
        await compile_plan(pay, run_id="order-42").run()

    run = run_of(caught.value)
    assert run is not None
    assert (run.id, run.status, run.ok) == ("order-42", "failed", False)
    assert run.outcomes == {"before": Succeeded(1), "pay": Failed(caught.value)}
    assert run.failures == {"pay": caught.value}


def test_p02_an_error_that_the_run_was_told_to_continue_after_is_in_its_failures(backend: Backend) -> None:
    graph, error = Graph("tolerated"), Declined("no stock")

    @graph.layer(on_error="continue")
    async def pay() -> None:
        raise error

    @graph.layer
    async def other() -> str:
        return "done"

    run = simulate(compile_plan(graph), backend=backend).run

    assert (run.ok, run.status, run["other"]) == (False, "failed", "done")
    assert run.failures == {"pay": error}
    with pytest.raises(ExceptionGroup) as caught:
        run.raise_for_failures()
    assert caught.value.exceptions == (error,)


def recovered(_error: Exception) -> str:
    return "recovered"


@pytest.mark.parametrize("form", ["async", "sync", "inline", "item"])
@pytest.mark.parametrize("on_error", ["abort", "continue", "recover"])
async def test_p02_an_exception_without_text_takes_the_same_path(form: str, on_error: Any) -> None:
    graph, calls = Graph("unprintable"), list[int]()

    def fail() -> None:
        calls.append(1)
        raise Unprintable

    async def fail_async() -> None:
        fail()

    async def numbers() -> list[int]:
        return [7]

    async def fail_item(_number: int) -> None:
        fail()

    policy: Any = recovered if on_error == "recover" else on_error
    options: dict[str, Any] = {"name": "broken", "retries": 2, "on_error": policy}
    if form == "item":
        fail_item.__defaults__ = (each(graph.add_layer(numbers)),)
        graph.layer.each(fail_item, **options)
    else:
        graph.add_layer(
            fail_async if form == "async" else fail, run_in="inline" if form == "inline" else "auto", **options
        )
    plan = compile_plan(graph)

    try:
        run = await plan.run()
    except Unprintable as error:
        linked = run_of(error)
        assert linked is not None
        run = linked

    assert len(calls) == 3
    assert len([record for record in run.attempts() if isinstance(record.error, Unprintable)]) == 3
    assert run.ok == (on_error == "recover")
    assert "Performance" in str(run.report)
    if on_error != "recover":
        assert [type(error) for error in run.failures.values()] == [Unprintable] * len(run.failures)
        assert len(run.failures) >= 1


async def test_p02_an_artifact_that_was_lost_to_an_error_names_it_as_its_cause() -> None:
    graph, error = Graph("lost"), Unprintable()

    @graph.layer(on_error="continue")
    async def pay() -> int:
        raise error

    @graph.layer
    async def after(_paid: int = use(pay)) -> int:
        return 0

    run = await compile_plan(after).run()

    for ask in (lambda: run.result, lambda: run[pay], lambda: run["after"]):
        with pytest.raises(LookupError) as caught:
            ask()
        assert caught.value.__cause__ is error


def is_declined(error: Exception) -> bool:
    return isinstance(error, Declined)


async def is_declined_async(error: Exception) -> bool:
    await checkpoint()
    return is_declined(error)


def never(_error: Exception) -> bool:
    return False


@pytest.mark.parametrize(
    ("retry_on", "attempts"),
    [
        pytest.param(Declined, 3, id="type"),
        pytest.param((ValueError, Declined), 3, id="types"),
        pytest.param(ValueError, 1, id="another type"),
        pytest.param((), 1, id="no type"),
        pytest.param(is_declined, 3, id="predicate"),
        pytest.param(never, 1, id="refusing predicate"),
        pytest.param(is_declined_async, 3, id="async predicate"),
    ],
)
def test_p02_retry_on_decides_which_errors_are_worth_another_attempt(
    retry_on: Any, attempts: int, backend: Backend
) -> None:
    graph, calls = Graph("retry_on"), list[int]()

    @graph.layer(retries=2, retry_on=retry_on)
    async def pay() -> None:
        calls.append(1)
        raise Declined

    trace = simulate(compile_plan(pay), backend=backend)

    assert (len(calls), type(trace.error)) == (attempts, Declined)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_p02_a_callable_on_error_recovers_after_the_last_attempt(asynchronous: bool, backend: Backend) -> None:
    graph, asked = Graph("recovery"), list[BaseException]()

    def recover(error: Exception) -> str:
        asked.append(error)
        return "from stock"

    async def recover_async(error: Exception) -> str:
        await checkpoint()
        return recover(error)

    @graph.layer(retries=2, on_error=recover_async if asynchronous else recover)
    async def fetch() -> str:
        raise Declined

    @graph.layer
    async def show(text: str = use(fetch)) -> str:
        return text.upper()

    trace = simulate(compile_plan(show), backend=backend)

    assert trace.result == "FROM STOCK"
    assert (trace.run.ok, trace.run.failures) == (True, {})
    attempts = trace.run.attempts(fetch)
    assert [(record.number, type(record.error)) for record in attempts] == [(1, Declined), (2, Declined), (3, Declined)]
    assert asked == [attempts[-1].error]
