"""P7: a retry delay holds no slot and no thread; its jitter comes from a seed."""

from itertools import pairwise
from typing import Any

import anyio
import pytest

from fusynk import Backoff, Graph, Run, backoff, compile_plan
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.observing import runner_of


def delays_of(run: Run[Any], step: str) -> list[float]:
    """The seconds between the end of each attempt and the start of the next."""
    attempts = run.attempts(step)
    return [later.started - former.ended for former, later in pairwise(attempts)]


@pytest.mark.parametrize("form", ["async", "sync"])
def test_p07_a_retry_delay_holds_neither_slot_nor_thread(form: str, backend: Backend) -> None:
    graph, order = Graph("delay"), list[str]()

    def fail_once() -> None:
        order.append("flaky")
        if order.count("flaky") == 1:
            raise ValueError

    async def fail_once_async() -> None:
        fail_once()

    def other() -> None:
        order.append("other")

    async def other_async() -> None:
        await anyio.sleep(10)
        other()

    is_async = form == "async"
    graph.add_layer(fail_once_async if is_async else fail_once, name="flaky", retries=1, retry_delay=100)
    graph.add_layer(other_async if is_async else other, name="other")

    trace = simulate(compile_plan(graph, concurrency=1, threads=1), backend=backend)

    assert order == ["flaky", "other", "flaky"]
    assert (trace.seconds, trace.error) == (100, None)


def test_p07_many_delays_at_once_need_one_slot(backend: Backend) -> None:
    graph = Graph("many")

    async def flaky() -> None:
        raise ValueError

    for number in range(200):
        graph.add_layer(flaky, name=f"s{number}", retries=3, retry_delay=7, on_error="continue")

    trace = simulate(compile_plan(graph, concurrency=1), backend=backend)

    assert trace.seconds == 21
    assert len(trace.run.attempts()) == 800


def test_p07_a_delay_counts_from_the_end_of_the_attempt(backend: Backend) -> None:
    graph = Graph("from the end")

    @graph.layer(retries=2, retry_delay=3)
    async def slow() -> None:
        await anyio.sleep(5)
        raise ValueError

    trace = simulate(compile_plan(slow), backend=backend)

    assert delays_of(trace.run, "slow") == [3, 3]
    assert trace.seconds == 21


def test_p07_a_delay_may_be_a_function_of_the_attempt_and_the_error(backend: Backend) -> None:
    graph, begun = Graph("retry after"), list[float]()

    class TryLaterError(Exception):
        seconds = 30

    def as_told(attempt: int, error: Exception) -> float | Backoff:
        return error.seconds if isinstance(error, TryLaterError) else backoff(4, factor=1, jitter=False)

    def not_told(attempt: int, factor: float = 2) -> float:
        return attempt * factor

    @graph.layer(retries=2, retry_delay=as_told)
    async def flaky() -> None:
        begun.append(anyio.current_time())
        raise TryLaterError if len(begun) == 1 else ValueError

    @graph.layer(retries=1, retry_delay=not_told, on_error="continue")
    async def other() -> None:
        raise ValueError

    trace = simulate(compile_plan(flaky), backend=backend)

    assert [moment - begun[0] for moment in begun] == [0, 30, 34]
    assert isinstance(trace.error, ValueError)
    assert simulate(compile_plan(other), backend=backend).seconds == 2


def test_p07_a_delay_may_be_a_function_of_the_attempt(backend: Backend) -> None:
    graph, asked = Graph("function"), list[int]()

    def delay(attempt: int) -> float:
        asked.append(attempt)
        return attempt * 10

    @graph.layer(retries=3, retry_delay=delay)
    async def broken() -> None:
        raise ValueError

    trace = simulate(compile_plan(broken), backend=backend)

    assert asked == [1, 2, 3]
    assert delays_of(trace.run, "broken") == [10, 20, 30]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "soon", None])
def test_p07_a_delay_that_is_no_delay_fails_the_step_and_keeps_its_error(seconds: Any, backend: Backend) -> None:
    graph, error = Graph("no delay"), ConnectionError("lost")

    def delay(_attempt: int) -> float:
        return seconds  # type: ignore[no-any-return]

    @graph.layer(retries=3, retry_delay=delay, on_error="continue")
    async def broken() -> None:
        raise error

    run = simulate(compile_plan(broken), backend=backend).run

    assert len(run.attempts(broken)) == 1
    assert isinstance(run.failures["broken"], (ValueError, TypeError))
    assert run.failures["broken"].__cause__ is error


def jittered(seed: int | str | None, backend: Backend, steps: int = 1) -> list[list[float]]:
    graph = Graph("jitter")

    async def broken() -> None:
        raise ValueError

    for number in range(steps):
        graph.add_layer(
            broken, name=f"s{number}", retries=5, retry_delay=backoff(1, factor=2, max=10), on_error="continue"
        )
    run = simulate(compile_plan(graph, seed=seed, concurrency=1), backend=backend).run
    return [delays_of(run, f"s{number}") for number in range(steps)]


def test_p07_the_jitter_is_a_function_of_the_seed(backend: Backend) -> None:
    assert jittered(7, backend) == jittered(7, backend)
    assert jittered("order-42", backend) == jittered("order-42", backend)
    assert jittered(7, backend) != jittered(8, backend)


def test_p07_backoff_grows_up_to_its_maximum_with_full_jitter(backend: Backend) -> None:
    bounds = [1, 2, 4, 8, 10]
    runs = [jittered(seed, backend)[0] for seed in range(100)]

    # A clock that counts up from the run's start keeps a delay to within a rounding error.
    assert all(0 <= delay <= bound + 1e-9 for delays in runs for delay, bound in zip(delays, bounds, strict=True))
    for position, bound in enumerate(bounds):
        drawn = sorted(delays[position] for delays in runs)
        assert drawn[0] < bound / 4, f"after attempt {position + 1}"
        assert drawn[-1] > bound * 3 / 4, f"after attempt {position + 1}"


def test_p07_steps_that_failed_together_do_not_retry_in_step(backend: Backend) -> None:
    first = [delays[0] for delays in jittered(1, backend, steps=20)]

    assert len(set(first)) == 20


async def test_p07_without_a_seed_each_run_draws_its_own_jitter() -> None:
    graph = Graph("own jitter")

    @graph.layer(retries=3, retry_delay=backoff(0.001), on_error="continue")
    async def broken() -> None:
        raise ValueError

    plan = compile_plan(broken)
    one, other = runner_of(plan), runner_of(plan)

    assert [one.draw() for _ in range(3)] != [other.draw() for _ in range(3)]
