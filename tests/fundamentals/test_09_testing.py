"""Testing: call a layer as a function, replace it in a plan, and let hours pass in milliseconds."""

import anyio
import anyio.lowlevel
import pytest

from fusynk import Graph, compile_plan, current_step, layer, use
from fusynk.testing import run_virtual, simulate


@layer
async def ask_bank(amount: int) -> str:
    message = "a test must not call the bank"
    raise AssertionError(message)


@layer(retries=3, retry_delay=3600)
async def pay(answer: str = use(ask_bank)) -> str:
    return f"paid: {answer}"


async def test_a_layer_is_tested_by_calling_it() -> None:
    assert await pay("yes") == "paid: yes"


def test_returns_replaces_a_layer_by_a_value() -> None:
    plan = compile_plan(pay).override(ask_bank.returns("fine"))

    assert simulate(plan, {"amount": 3}).result == "paid: fine"


def test_raises_replaces_it_by_an_error() -> None:
    plan = compile_plan(pay).override(ask_bank.raises(TimeoutError("bank")))

    trace = simulate(plan, {"amount": 3})

    assert isinstance(trace.error, TimeoutError)


def test_calls_replaces_it_by_another_function() -> None:
    async def answer(amount: int) -> str:
        return "yes" if amount < 10 else "no"

    plan = compile_plan(pay).override(ask_bank.calls(answer))

    assert simulate(plan, {"amount": 30}).result == "paid: no"


def test_an_override_is_another_plan() -> None:
    plan = compile_plan(pay)

    plan.override(ask_bank.returns("fine"))

    assert isinstance(simulate(plan, {"amount": 3}).error, AssertionError)


def test_time_is_virtual_so_hours_cost_nothing() -> None:
    async def busy(answer: str) -> str:
        raise ConnectionError(answer)

    plan = compile_plan(pay).override(ask_bank.returns("fine"), pay.calls(busy))

    trace = simulate(plan, {"amount": 3})

    assert trace.seconds == 3 * 3600
    assert [record.started for record in trace.run.attempts(pay)] == [0, 3600, 7200, 10800]


def test_the_same_simulation_gives_the_same_run_on_both_backends(backend: str) -> None:
    @layer
    async def slow() -> float:
        await anyio.sleep(86_400)
        return 1.0

    trace = simulate(compile_plan(slow), backend="trio" if backend == "trio" else "asyncio")

    assert (trace.result, trace.seconds, trace.run.id) == (1.0, 86_400, "simulation")


def test_a_tape_chooses_another_order_and_repeats_it() -> None:
    def order(tape: list[int]) -> list[str]:
        log: list[str] = []

        async def body() -> None:
            await anyio.lowlevel.checkpoint()
            log.append(current_step().name)

        crowd = Graph("crowd")
        for name in "abcd":
            crowd.add_layer(body, name=name)
        simulate(compile_plan(crowd), tape=tape)
        return log

    tapes = [[number % 3, number % 2, 1, 2, 1] * 9 for number in range(9)]
    assert len({tuple(order(tape)) for tape in tapes}) > 1
    assert all(order(tape) == order(tape) for tape in tapes)


def test_any_async_function_runs_in_virtual_time() -> None:
    async def wait_for(seconds: float) -> float:
        await anyio.sleep(seconds)
        return anyio.current_time()

    assert run_virtual(wait_for, 500.0) == pytest.approx(500)
