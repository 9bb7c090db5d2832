"""P5: a timeout ends one attempt and a deadline the run; a body is cancelled and awaited before anything follows."""

from typing import Any

import anyio
import pytest

from fusynk import Cancelled, Failed, Graph, Succeeded, compile_plan, each, errors, run_of, use
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks


def test_p05_a_timeout_cancels_the_body_and_fails_the_step(backend: Backend) -> None:
    graph, seen = Graph("timeout"), list[str]()

    @graph.layer(timeout=5)
    async def slow() -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append("finally")

    trace = simulate(compile_plan(slow), backend=backend)

    assert isinstance(trace.error, errors.LayerTimeout)
    assert isinstance(trace.error, TimeoutError)
    assert "'slow' took longer than its timeout of 5 s" in str(trace.error)
    assert (seen, trace.seconds) == (["finally"], 5)
    assert trace.run.outcome(slow) == Failed(trace.error)
    (attempt,) = trace.run.attempts(slow)
    assert (attempt.duration, attempt.error) == (5, trace.error)


def test_p05_each_attempt_has_the_whole_timeout(backend: Backend) -> None:
    graph, begun = Graph("per attempt"), list[float]()

    @graph.layer(timeout=5, retries=3, retry_delay=10)
    async def slow() -> str:
        begun.append(anyio.current_time())
        await anyio.sleep(100 if len(begun) < 4 else 4)
        return "done"

    trace = simulate(compile_plan(slow), backend=backend)

    assert [moment - begun[0] for moment in begun] == [0, 15, 30, 45]
    assert (trace.result, trace.seconds) == ("done", 49)


def test_p05_a_retry_begins_only_when_the_timed_out_body_has_ended(backend: Backend) -> None:
    graph, live, peaks, begun = Graph("one body"), [0], list[int](), list[float]()

    @graph.layer(timeout=1, retries=2)
    async def slow() -> None:
        begun.append(anyio.current_time())
        live[0] += 1
        peaks.append(live[0])
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            live[0] -= 1

    trace = simulate(compile_plan(slow), backend=backend)

    assert max(peaks) == 1
    assert [moment - begun[0] for moment in begun] == [0, 4, 8]
    assert isinstance(trace.error, errors.LayerTimeout)


def test_p05_child_tasks_of_a_timed_out_body_are_cancelled_and_awaited(backend: Backend) -> None:
    graph, seen = Graph("children"), list[str]()

    async def child(name: str) -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append(name)

    @graph.layer(timeout=1, on_error="continue")
    async def parent() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child, "one")
            group.start_soon(child, "two")

    async def main() -> None:
        before = running_tasks()
        run = await compile_plan(parent).run()
        await assert_settled(before)
        assert isinstance(run.failures["parent"], errors.LayerTimeout)

    run_virtual(main, backend=backend)

    assert sorted(seen) == ["one", "two"]


def test_p05_a_result_that_comes_after_the_timeout_is_thrown_away_and_logged(backend: Backend) -> None:
    graph, received = Graph("late"), list[int]()

    @graph.layer(timeout=1, on_error="continue")
    async def late() -> int:
        try:
            await anyio.sleep(100)
        except anyio.get_cancelled_exc_class():
            return 7
        return 8

    @graph.layer
    async def dependent(value: int = use(late, default=0)) -> None:
        received.append(value)

    with heard() as records:
        run = simulate(compile_plan(graph), backend=backend).run

    assert isinstance(run.failures["late"], errors.LayerTimeout)
    assert received == [0]
    assert [record["extra"].get("layer") for record in records] == ["late"]


def test_p05_an_error_that_comes_after_the_timeout_becomes_the_cause(backend: Backend) -> None:
    graph, error = Graph("late error"), ValueError("cleanup failed")

    @graph.layer(timeout=1)
    async def late() -> None:
        try:
            await anyio.sleep(100)
        finally:
            raise error

    trace = simulate(compile_plan(late), backend=backend)

    assert isinstance(trace.error, errors.LayerTimeout)
    assert trace.error.__cause__ is error


def test_p05_a_body_that_outlives_its_grace_is_waited_for_and_reported(backend: Backend) -> None:
    graph = Graph("stuck")

    @graph.layer(timeout=1, on_error="continue")
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(18)

    @graph.layer(depends_on=stubborn)
    async def after() -> str:
        return "went on"

    with heard() as records:
        trace = simulate(compile_plan(after, grace=5), backend=backend)

    assert (trace.seconds, trace.result, trace.run.stuck) == (18, "went on", ("stubborn",))
    reports = [record for record in records if "grace" in record["message"]]
    assert [record["extra"]["layer"] for record in reports] == ["stubborn"] * 3


@pytest.mark.parametrize("ending", ["abort", "deadline"])
def test_p05_a_cancelled_body_that_outlives_its_grace_is_reported_by_name(ending: str, backend: Backend) -> None:
    graph = Graph("stuck siblings")

    @graph.layer
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(18)

    @graph.layer
    async def prompt() -> None:
        await anyio.sleep(100)

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(1 if ending == "abort" else 100)
        raise ValueError

    plan = compile_plan(graph, grace=5, deadline=1 if ending == "deadline" else None)

    trace = simulate(plan, backend=backend)

    assert isinstance(trace.error, ValueError if ending == "abort" else errors.DeadlineExceeded)
    assert (trace.seconds, trace.run.stuck) == (18, ("stubborn",))


def test_p05_waiting_for_a_slot_or_a_retry_does_not_use_up_the_timeout(backend: Backend) -> None:
    graph = Graph("waiting")

    @graph.layer
    async def first() -> None:
        await anyio.sleep(60)

    @graph.layer(timeout=5)
    async def second() -> None:
        await anyio.sleep(4)

    trace = simulate(compile_plan(graph, concurrency=1), backend=backend)

    assert (trace.error, trace.seconds) == (None, 64)


def test_p05_a_timeout_of_the_body_s_own_is_its_own_error(backend: Backend) -> None:
    graph = Graph("own timeout")

    @graph.layer(timeout=50, on_error="continue")
    async def own() -> None:
        with anyio.fail_after(1):
            await anyio.sleep(100)

    @graph.layer(timeout=50)
    async def handled() -> str:
        with anyio.move_on_after(1):
            await anyio.sleep(100)
        return "moved on"

    run = simulate(compile_plan(graph), backend=backend).run

    assert type(run.failures["own"]) is TimeoutError
    assert run["handled"] == "moved on"


def test_p05_a_timed_out_item_leaves_the_others_alone(backend: Backend) -> None:
    graph = Graph("items")

    @graph.layer
    async def delays() -> list[int]:
        return [1, 100, 2]

    @graph.layer.each(timeout=5, on_error="continue")
    async def item(delay: int = each(delays)) -> int:
        await anyio.sleep(delay)
        return delay

    run = simulate(compile_plan(item), backend=backend).run

    assert run.result.succeeded == {0: 1, 2: 2}
    assert {number: type(error) for number, error in run.result.failed.items()} == {1: errors.LayerTimeout}


@pytest.mark.parametrize("policy", ["retry_on", "on_error"])
def test_p05_a_timeout_is_an_error_like_any_other_to_the_policy(policy: str, backend: Backend) -> None:
    graph, calls = Graph("policy"), list[int]()

    def recover(error: Exception) -> str:
        return type(error).__name__

    options: dict[str, Any] = (
        {"retry_on": ConnectionError, "retries": 3} if policy == "retry_on" else {"on_error": recover}
    )

    @graph.layer(timeout=1, **options)
    async def slow() -> str:
        calls.append(1)
        await anyio.sleep(100)
        return ""

    trace = simulate(compile_plan(slow), backend=backend)

    assert len(calls) == 1
    if policy == "on_error":
        assert trace.result == "LayerTimeout"
    else:
        assert isinstance(trace.error, errors.LayerTimeout)


def test_p05_a_body_that_ends_in_time_is_not_disturbed_later(backend: Backend) -> None:
    graph, seen = Graph("in time"), list[str]()

    @graph.layer(timeout=5)
    async def quick() -> None:
        await anyio.sleep(1)

    @graph.layer(depends_on=quick, timeout=50)
    async def long() -> None:
        await anyio.sleep(40)
        seen.append("long")

    trace = simulate(compile_plan(long, concurrency=1), backend=backend)

    assert (trace.error, seen, trace.seconds) == (None, ["long"], 41)


@pytest.mark.parametrize("waiting", ["body", "retry", "pause of a process"])
def test_p05_the_deadline_bounds_the_run_whatever_it_waits_for(waiting: str, backend: Backend) -> None:
    graph, seen = Graph("deadline"), list[str]()

    @graph.layer
    async def done() -> int:
        return 1

    @graph.layer(retries=9, retry_delay=100, depends_on=done)
    async def step() -> None:
        if waiting == "retry":
            raise ValueError
        try:
            await anyio.sleep(0 if waiting == "pause of a process" else 1000)
        finally:
            seen.append("finally")

    @graph.layer
    async def last() -> None:
        seen.append("last")

    graph.process("both", step, last, mode="isolated", delay=500)

    trace = simulate(compile_plan(graph, deadline=60), backend=backend)

    assert isinstance(trace.error, errors.DeadlineExceeded)
    assert isinstance(trace.error, TimeoutError)
    assert "60 s" in str(trace.error)
    assert (trace.seconds, seen) == (60, [] if waiting == "retry" else ["finally"])
    by_deadline = Cancelled(by="deadline")
    assert trace.run.outcome("done") == Succeeded(1)
    assert trace.run.outcome("step") == (Succeeded(None) if waiting == "pause of a process" else by_deadline)
    assert (trace.run.outcome("last"), trace.run.outcome("both")) == (by_deadline, by_deadline)
    assert trace.run.status == "failed"


def test_p05_a_run_within_its_deadline_leaves_nothing_waiting_for_it(backend: Backend) -> None:
    graph = Graph("within")

    @graph.layer
    async def quick() -> str:
        await anyio.sleep(1)
        return "done"

    async def main() -> None:
        before = running_tasks()
        run = await compile_plan(quick, deadline=3600).run()
        await assert_settled(before)
        assert (run.result, anyio.current_time() - run.attempts()[0].started) == ("done", 1)

    run_virtual(main, backend=backend)


def test_p05_the_run_that_missed_its_deadline_can_be_had(backend: Backend) -> None:
    graph = Graph("link")

    @graph.layer
    async def slow() -> None:
        await anyio.sleep(100)

    async def main() -> None:
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await compile_plan(slow, deadline=1, run_id="late").run()
        run = run_of(caught.value)
        assert run is not None
        assert run.id == "late"

    run_virtual(main, backend=backend)
