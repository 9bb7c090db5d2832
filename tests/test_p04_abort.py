"""P4: an abort cancels and awaits the running siblings; what started it is raised, by itself, once all is settled."""

import threading

import anyio
import pytest

from fusynk import Cancelled, Failed, Graph, Succeeded, compile_plan, each, run_of, use, when
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, running_tasks

BY_ABORT = Cancelled(by="abort")


class Declined(Exception):
    """What ends these runs."""


def test_p04_running_siblings_are_cancelled_and_awaited_before_run_leaves(backend: Backend) -> None:
    graph, seen = Graph("siblings"), list[str]()

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer
    async def sibling() -> None:
        try:
            await anyio.sleep(100)
            seen.append("side effect")
        finally:
            seen.append("cleanup begins")
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            seen.append("cleanup ends")

    async def main() -> None:
        before = running_tasks()
        with pytest.raises(Declined):
            await compile_plan(graph).run()
        seen.append("run left")
        await assert_settled(before)
        await anyio.sleep(1000)

    run_virtual(main, backend=backend)

    assert seen == ["cleanup begins", "cleanup ends", "run left"]


def test_p04_what_had_not_started_is_cancelled_by_the_abort(backend: Backend) -> None:
    graph, started = Graph("unstarted"), list[str]()

    @graph.layer
    async def done() -> int:
        return 1

    @graph.layer(retries=3, retry_delay=50)
    async def retrying() -> None:
        raise ValueError

    @graph.layer(depends_on=done)
    async def fail() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer(depends_on=fail)
    async def dependent() -> None:
        started.append("dependent")

    @graph.layer
    async def live() -> None:
        await anyio.sleep(5)

    @graph.layer(priority=-1)
    async def queued() -> None:
        started.append("queued")

    trace = simulate(compile_plan(graph, concurrency=2), backend=backend)

    assert isinstance(trace.error, Declined)
    assert (trace.seconds, started) == (1, [])
    assert trace.run.outcomes == {
        "done": Succeeded(1),
        "retrying": BY_ABORT,
        "fail": Failed(trace.error),
        "dependent": BY_ABORT,
        "live": BY_ABORT,
        "queued": BY_ABORT,
    }
    assert trace.run.status == "failed"


def test_p04_the_failure_that_started_the_abort_is_raised_and_the_others_are_told(backend: Backend) -> None:
    graph, late = Graph("several"), ConnectionError("lost while cleaning up")

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer
    async def sibling() -> None:
        try:
            await anyio.sleep(100)
        finally:
            raise late

    @graph.layer(on_error="continue")
    async def earlier() -> None:
        raise KeyError

    trace = simulate(compile_plan(graph), backend=backend)

    assert isinstance(trace.error, Declined)
    assert set(trace.run.failures) == {"fail", "sibling", "earlier"}
    assert trace.run.failures["sibling"] is late
    notes = "\n".join(trace.error.__notes__)
    assert "sibling" in notes
    assert "earlier" in notes


def test_p04_of_two_failures_at_one_instant_the_first_in_plan_order_is_raised(backend: Backend) -> None:
    graph = Graph("tie")

    @graph.layer
    async def first() -> None:
        await anyio.sleep(1)
        raise Declined("first")

    @graph.layer
    async def second() -> None:
        await anyio.sleep(1)
        raise Declined("second")

    plan, ties = compile_plan(graph), 0
    for seed in range(40):
        trace = simulate(plan, backend=backend, tape=[seed, seed % 3, seed % 2, seed % 5])
        # Where the first to run has the other one cancelled in time, there is no tie.
        ties += len(trace.run.failures) == 2
        assert trace.error is next(iter(trace.run.failures.values())), f"tape of seed {seed}"
    assert ties


def test_p04_a_sibling_that_ends_all_the_same_keeps_its_artifact_and_nothing_follows(backend: Backend) -> None:
    graph, started = Graph("stubborn"), list[int]()

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer
    async def stubborn() -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3)
        return 3

    @graph.layer
    async def dependent(value: int = use(stubborn)) -> None:
        started.append(value)

    trace = simulate(compile_plan(graph), backend=backend)

    assert isinstance(trace.error, Declined)
    assert (started, trace.run.outcome(stubborn), trace.run.outcome(dependent)) == ([], Succeeded(3), BY_ABORT)


def test_p04_nothing_is_asked_of_the_user_any_more_after_an_abort(backend: Backend) -> None:
    graph, asked = Graph("no questions"), list[str]()

    def ask(what: str) -> bool:
        asked.append(what)
        return True

    def accept(_artifact: object) -> bool:
        return ask("condition")

    def is_worth_it(_error: Exception) -> bool:
        return ask("retry_on")

    def recover(_error: Exception) -> bool:
        return ask("on_error")

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer
    async def late() -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)
        return 1

    @graph.layer(depends_on=when(late, accept))
    async def conditional() -> None: ...

    @graph.layer(retries=3, retry_on=is_worth_it, on_error=recover)
    async def breaks_late() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)
        raise ValueError

    trace = simulate(compile_plan(graph), backend=backend)

    assert (type(trace.error), asked) == (Declined, [])
    assert isinstance(trace.run.failures["breaks_late"], ValueError)


def test_p04_a_failing_item_ends_its_fan_out_and_the_run(backend: Backend) -> None:
    graph, done = Graph("items"), list[int]()

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3, 4, 5]

    @graph.layer.each
    async def item(number: int = each(numbers)) -> int:
        await anyio.sleep(number)
        if number == 3:
            raise Declined(number)
        done.append(number)
        return number

    trace = simulate(compile_plan(item), backend=backend)

    assert isinstance(trace.error, Declined)
    assert (done, trace.seconds) == ([1, 2], 3)
    assert trace.run.outcome("item[0]") == Succeeded(1)
    assert trace.run.outcome("item[2]") == Failed(trace.error)
    assert trace.run.outcome("item[4]") == BY_ABORT
    assert trace.run.failures["item[2]"] is trace.error


def test_p04_a_group_that_a_body_raises_itself_is_its_own_exception(backend: Backend) -> None:
    graph, error = Graph("own group"), ExceptionGroup("two of them", [Declined("a"), KeyError("b")])

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1)
        raise error

    @graph.layer
    async def sibling() -> None:
        await anyio.sleep(5)

    trace = simulate(compile_plan(graph), backend=backend)

    assert trace.error is error


def test_p04_an_on_error_that_fails_aborts_with_its_own_error_and_keeps_the_cause(backend: Backend) -> None:
    graph, first, second = Graph("recovery"), Declined("first"), ConnectionError("second")

    def recover(_error: Exception) -> None:
        raise second

    @graph.layer(on_error=recover)
    async def fail() -> None:
        raise first

    trace = simulate(compile_plan(fail), backend=backend)

    assert trace.error is second
    assert second.__cause__ is first
    assert trace.run.outcome(fail) == Failed(second)


async def test_p04_a_thread_at_work_is_awaited() -> None:
    graph, seen = Graph("thread"), list[str]()
    begun, release = threading.Event(), threading.Event()

    @graph.layer
    def blocking() -> None:
        begun.set()
        release.wait(30)
        seen.append("thread ends")

    @graph.layer
    async def fail() -> None:
        while not begun.is_set():  # noqa: ASYNC110 (set from a thread)
            await anyio.sleep(0.001)
        threading.Timer(0.05, release.set).start()
        raise Declined

    with pytest.raises(Declined) as caught:
        await compile_plan(graph).run()
    seen.append("run left")

    assert seen == ["thread ends", "run left"]
    run = run_of(caught.value)
    assert run is not None
    assert run.outcome(blocking) in (Succeeded(None), BY_ABORT)
