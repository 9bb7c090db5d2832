"""A run that is cancelled with a grace winds down: what runs may end, nothing more starts."""

import threading
from collections.abc import Callable, Generator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk import Cancelled, Graph, Plan, Run, Succeeded, compile_plan, each, errors, run_of
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, running_tasks

BY_STOP = Cancelled(by="stop")


def steps(**seconds: float) -> Graph:
    """A graph of a chain of steps that take so many seconds."""
    graph, before = Graph("steps"), list[str]()

    def taking(length: float) -> Callable[[], Any]:
        async def body() -> float:
            await anyio.sleep(length)
            return length

        return body

    for name, length in seconds.items():
        graph.add_layer(taking(length), name=name, depends_on=before)
        before = [name]
    return graph


def stopped(plan: Plan[None, Any], at: float, grace: float, *, backend: Backend = "asyncio") -> tuple[Any, float]:
    """What a run that is cancelled with a grace comes to, and when."""

    async def main() -> tuple[Any, float]:
        before, begun = running_tasks(), anyio.current_time()
        outcome: Any = None
        async with plan.start() as handle:
            await anyio.sleep(at)
            handle.cancel(grace)
            try:
                outcome = await handle.wait()
            except Exception as error:  # noqa: BLE001 - it is what is looked at
                outcome = error
        await assert_settled(before)
        return outcome, anyio.current_time() - begun

    return run_virtual(main, backend=backend)


def test_a_body_that_ends_within_the_grace_ends_its_run_well(backend: Backend) -> None:
    run, seconds = stopped(compile_plan(steps(only=3)), 1, 5, backend=backend)

    assert isinstance(run, Run)
    assert (run.status, run["only"], seconds) == ("succeeded", 3, 3)


def test_a_body_that_takes_longer_is_cancelled_at_the_end_of_the_grace(backend: Backend) -> None:
    error, seconds = stopped(compile_plan(steps(only=30)), 1, 5, backend=backend)

    assert isinstance(error, errors.RunCancelled)
    assert seconds == 6
    run = run_of(error)
    assert run is not None
    assert dict(run.outcomes) == {"only": BY_STOP}


def test_no_further_step_starts_and_nobody_waits_when_nothing_runs(backend: Backend) -> None:
    error, seconds = stopped(compile_plan(steps(first=3, second=3)), 1, 50, backend=backend)

    run = run_of(error)
    assert run is not None
    assert dict(run.outcomes) == {"first": Succeeded(3), "second": BY_STOP}
    assert seconds == 3


def test_steps_that_never_suspend_stop_between_two_of_them() -> None:
    graph, ran, handles = Graph("inline"), list[int](), list[Any]()

    def body_of(number: int) -> Callable[[], None]:
        def body() -> None:
            ran.append(number)
            if number == 4:
                handles[0].cancel(60)

        return body

    before: list[str] = []
    for number in range(10):
        graph.add_layer(body_of(number), name=f"s{number}", depends_on=before, run_in="inline")
        before = [f"s{number}"]

    async def main() -> None:
        async with compile_plan(graph).start() as handle:
            handles.append(handle)
            await handle.wait()

    with pytest.raises(errors.RunCancelled):
        run_virtual(main)
    assert ran == [0, 1, 2, 3, 4]


def test_a_retry_is_not_waited_for(backend: Backend) -> None:
    graph = Graph("retrying")

    @graph.layer(retries=3, retry_delay=10)
    async def fails() -> None:
        raise ConnectionError

    error, seconds = stopped(compile_plan(fails), 1, 50, backend=backend)

    assert isinstance(error, errors.RunCancelled)
    assert seconds == 1


def test_a_step_that_fails_within_the_grace_fails_its_run_as_ever(backend: Backend) -> None:
    graph = Graph("failing")

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(2)
        raise LookupError

    error, seconds = stopped(compile_plan(fails), 1, 50, backend=backend)

    assert isinstance(error, LookupError)
    assert seconds == 2


def test_timeouts_hold_within_the_grace(backend: Backend) -> None:
    graph = Graph("slow")

    @graph.layer(timeout=3)
    async def slow() -> None:
        await anyio.sleep(100)

    error, seconds = stopped(compile_plan(slow), 1, 50, backend=backend)

    assert isinstance(error, errors.LayerTimeout)
    assert seconds == 3


def test_a_second_call_without_grace_ends_the_first_ones(backend: Backend) -> None:
    async def main() -> float:
        begun = anyio.current_time()
        async with compile_plan(steps(only=30)).start() as handle:
            await anyio.sleep(1)
            handle.cancel(20)
            await anyio.sleep(1)
            handle.cancel()
            with pytest.raises(errors.RunCancelled):
                await handle.wait()
        return anyio.current_time() - begun

    assert run_virtual(main, backend=backend) == 2


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), "5", True, None])
def test_a_grace_that_is_no_number_of_seconds_is_refused(grace: Any) -> None:
    async def main() -> None:
        async with compile_plan(steps(only=1)).start() as handle:
            with pytest.raises(errors.InvalidOption, match=r"handle\.cancel\(grace=.*seconds from 0 up"):
                handle.cancel(grace)

    run_virtual(main)


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    concurrency=st.integers(1, 3),
    at=st.integers(0, 8),
    grace=st.integers(1, 6),
    tape=st.lists(st.integers(0, 3), max_size=12),
)
def test_what_had_begun_ends_in_the_grace_or_is_cancelled_at_its_end_and_nothing_else_begins(
    lengths: list[int], concurrency: int, at: int, grace: int, tape: list[int]
) -> None:
    graph, begun, ended = Graph("items"), dict[int, float](), dict[int, float]()

    @graph.layer
    async def numbers() -> list[int]:
        return list(range(len(lengths)))

    @graph.layer.each
    async def item(number: int = each(numbers)) -> None:
        begun[number] = anyio.current_time()
        try:
            await anyio.sleep(lengths[number] + 0.5)
        finally:
            ended[number] = anyio.current_time()

    async def main() -> tuple[float, str]:
        start = anyio.current_time()
        async with compile_plan(item, concurrency=concurrency).start() as handle:
            await anyio.sleep(at)
            handle.cancel(grace)
            try:
                status = (await handle.wait()).status
            except errors.RunCancelled:
                status = "cancelled"
        return start, status

    start, status = run_virtual(main, tape=tape)

    assert all(when <= start + at for when in begun.values())
    assert begun.keys() == ended.keys()
    for number, when in ended.items():
        assert when == min(begun[number] + lengths[number] + 0.5, start + at + grace)
    complete = len(begun) == len(lengths) and all(
        ended[number] == begun[number] + lengths[number] + 0.5 for number in begun
    )
    assert (status == "succeeded") == complete


# Threads, which nothing can stop


@pytest.fixture
def blocked() -> Generator["Blocked"]:
    body = Blocked()
    yield body
    body.gate.set()


class Blocked:
    """A plain function that does not end until its gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun = threading.Event()
        graph = Graph("blocked")

        @graph.layer
        def blocked() -> None:
            self.begun.set()
            self.gate.wait(60)

        self.plan = compile_plan(blocked)


async def test_a_thread_that_does_not_end_is_left_behind_when_nobody_waits_for_it_any_more(blocked: Blocked) -> None:
    async with blocked.plan.start() as handle:
        await anyio.to_thread.run_sync(blocked.begun.wait)
        handle.cancel()
        await anyio.sleep(0.05)
        handle.leave_threads()
        with pytest.raises(errors.RunCancelled) as raised:
            await handle.wait()

    run = run_of(raised.value)
    assert run is not None
    assert (run.abandoned, dict(run.outcomes)) == (("blocked",), {"blocked": BY_STOP})


async def test_without_that_word_it_is_waited_for(blocked: Blocked) -> None:
    async with blocked.plan.start() as handle:
        await anyio.to_thread.run_sync(blocked.begun.wait)
        handle.cancel()
        with anyio.move_on_after(0.1) as patience:
            await handle.wait()
        assert patience.cancelled_caught
        blocked.gate.set()
        with pytest.raises(errors.RunCancelled) as raised:
            await handle.wait()

    run = run_of(raised.value)
    assert run is not None
    assert run.abandoned == ()
