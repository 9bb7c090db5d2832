"""P9: a cancellation from outside reaches every started step, and goes on; one that a body makes up is a failure."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import Cancelled, Failed, Graph, Plan, Succeeded, compile_plan, current_step, errors, run_of, when
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, outcomes_of, runner_of, running_tasks

BY_CALLER = Cancelled(by="caller")
Start = Callable[[], Coroutine[Any, Any, Any]]
Canceller = Callable[[Start], Coroutine[Any, Any, None]]


async def by_scope(run: Start) -> None:
    """Cancel a scope around the run after a second."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_later, scope)
            await run()
    assert scope.cancelled_caught


async def _cancel_later(scope: anyio.CancelScope) -> None:
    await anyio.sleep(1)
    scope.cancel()


async def by_deadline(run: Start) -> None:
    """Give the run a second."""
    with pytest.raises(TimeoutError) as caught, anyio.fail_after(1):
        await run()
    assert type(caught.value) is TimeoutError


async def by_parent(run: Start) -> None:
    """Let a task beside the run fail after a second."""

    async def fail() -> None:
        await anyio.sleep(1)
        raise ConnectionError

    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await run()
    assert [type(error) for error in caught.value.exceptions] == [ConnectionError]


async def by_parent_of_a_child(run: Start) -> None:
    """Run in a child task, and leave its group with an error after a second."""
    with pytest.raises(ExceptionGroup) as caught:
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await anyio.sleep(1)
            raise ConnectionError
    assert [type(error) for error in caught.value.exceptions] == [ConnectionError]


async def by_native_cancel(run: Start) -> None:
    """Cancel the task of the run as asyncio does."""

    async def be_a_task() -> None:
        await run()

    task = asyncio.create_task(be_a_task())
    await asyncio.sleep(1)
    assert task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def by_native_timeout(run: Start) -> None:
    """Give the run a second, as asyncio does."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await run()


WAYS: Sequence[Any] = (
    *[
        pytest.param(way, backend, id=f"{way.__name__}-{backend}")
        for way in (by_scope, by_deadline, by_parent, by_parent_of_a_child)
        for backend in ("asyncio", "trio")
    ],
    *[pytest.param(way, "asyncio", id=way.__name__) for way in (by_native_cancel, by_native_timeout)],
)


def add_waiting_steps(graph: Graph, seen: list[str]) -> None:
    """Add steps that wait for something other than their own sleep."""

    async def wait(name: str) -> bool:
        try:
            await anyio.sleep(100)
        finally:
            seen.append(f"{name}: finally")
        return True

    @graph.layer
    async def parent() -> None:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(wait, "child")
                group.start_soon(wait, "child")
        finally:
            seen.append("parent: finally")

    async def is_worth_it(_error: Exception) -> bool:
        return await wait("retry_on")

    @graph.layer(retries=1, retry_delay=50)
    async def retrying() -> None:
        raise ValueError

    @graph.layer(retries=1, retry_on=is_worth_it)
    async def pondering() -> None:
        raise ValueError

    @graph.layer(timeout=60)
    async def timed() -> None:
        await wait("timed")


def in_flight(seen: list[str]) -> Graph:
    """A graph that after a second has steps in every state there is."""
    graph = Graph("in flight")

    @graph.layer
    async def done() -> int:
        return 1

    @graph.layer
    async def sleeping() -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append("sleeping: finally")

    @graph.layer
    async def tidy() -> None:
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            seen.append("tidy: finally")

    @graph.layer(depends_on=sleeping)
    async def dependent() -> None:
        seen.append("dependent ran")

    add_waiting_steps(graph, seen)
    graph.process("isolated", done, graph.units["timed"], mode="isolated", delay=0.5)
    return graph


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_p09_every_started_step_is_cancelled_and_its_finally_runs(way: Canceller, backend: Backend) -> None:
    seen: list[str] = []
    plan = compile_plan(in_flight(seen))

    async def main() -> None:
        before = running_tasks()
        await way(plan.run)
        seen.append("run left")
        await assert_settled(before)
        await anyio.sleep(1000)

    run_virtual(main, backend=backend)

    assert sorted(seen[:-1]) == [
        "child: finally",
        "child: finally",
        "parent: finally",
        "retry_on: finally",
        "sleeping: finally",
        "tidy: finally",
        "timed: finally",
    ]
    assert seen[-1] == "run left"


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_p09_what_had_not_ended_is_cancelled_by_the_caller(way: Canceller, backend: Backend) -> None:
    plan = compile_plan(in_flight([]))

    async def main() -> dict[str, Any]:
        runner = runner_of(plan)
        await way(runner.run)
        return outcomes_of(runner)

    outcomes = run_virtual(main, backend=backend)

    assert outcomes.pop("done") == Succeeded(1)
    assert set(outcomes.values()) == {BY_CALLER}


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_p09_the_balance_of_cancellations_is_kept(way: Canceller, backend: Backend) -> None:
    plan = compile_plan(in_flight([]))

    async def main() -> None:
        await way(plan.run)
        if backend == "asyncio":
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
        await anyio.sleep(1)

    run_virtual(main, backend=backend)


def test_p09_a_cancelled_scope_lets_nothing_start(backend: Backend) -> None:
    graph, started = Graph("too late"), list[int]()

    @graph.layer
    async def step() -> None:
        await anyio.lowlevel.checkpoint()
        started.append(1)

    async def main() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await compile_plan(step).run()
            started.append(2)
        assert scope.cancelled_caught

    run_virtual(main, backend=backend)

    assert started == []


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_p09_a_body_that_swallows_the_cancellation_does_not_stop_it(way: Canceller, backend: Backend) -> None:
    graph, error, seen = Graph("swallowed"), ValueError("of its own"), list[str]()

    @graph.layer
    async def swallows() -> str:
        try:
            await anyio.sleep(100)
        except anyio.get_cancelled_exc_class():
            return "all the same"
        return "never"

    @graph.layer(depends_on=swallows)
    async def dependent() -> None:
        seen.append("dependent")

    @graph.layer
    async def translates() -> None:
        try:
            await anyio.sleep(100)
        except anyio.get_cancelled_exc_class():
            raise error from None

    async def main() -> dict[str, Any]:
        runner = runner_of(compile_plan(graph))
        await way(runner.run)
        return outcomes_of(runner)

    outcomes = run_virtual(main, backend=backend)

    assert seen == []
    assert outcomes == {"swallows": Succeeded("all the same"), "dependent": BY_CALLER, "translates": Failed(error)}


async def test_p09_a_thread_at_work_is_awaited_and_may_ask_whether_it_is_cancelled() -> None:
    graph, seen = Graph("thread"), list[str]()
    begun = threading.Event()

    @graph.layer
    def blocking() -> None:
        begun.set()
        while not current_step().cancelled:
            threading.Event().wait(0.001)
        seen.append("thread ends")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                while not begun.is_set():  # noqa: ASYNC110 (set from a thread)
                    await anyio.sleep(0.001)
                scope.cancel()

            group.start_soon(cancel)
            await compile_plan(blocking).run()
    seen.append("run left")

    assert scope.cancelled_caught
    assert seen == ["thread ends", "run left"]


def test_p09_a_second_native_cancel_does_not_tear_the_run_apart() -> None:
    graph, seen = Graph("twice"), list[str]()

    @graph.layer
    async def tidy() -> None:
        try:
            await anyio.sleep(100)
        finally:
            try:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(10)
            finally:
                seen.append("finally")

    async def main() -> None:
        before = running_tasks()
        task = asyncio.create_task(run_in_task(compile_plan(tidy)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        seen.append("run left")
        await assert_settled(before)

    run_virtual(main)

    assert seen == ["finally", "run left"]


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_p09_after_a_cancellation_nothing_is_asked_of_the_user(way: Canceller, backend: Backend) -> None:
    graph, asked = Graph("no questions"), list[str]()

    def ask(what: str) -> bool:
        asked.append(what)
        return True

    def judge(_subject: object) -> bool:
        return ask("judge")

    @graph.layer(retries=3, retry_on=judge, on_error=judge)
    async def translates() -> None:
        ask("body")
        try:
            await anyio.sleep(100)
        except anyio.get_cancelled_exc_class():
            raise ValueError from None

    @graph.layer
    async def swallows() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)

    @graph.layer(depends_on=[when(swallows, judge), when(translates, judge)])
    async def dependent() -> None:
        ask("dependent")

    async def main() -> None:
        await way(compile_plan(graph).run)

    for seed in range(8):
        asked.clear()
        run_virtual(main, backend=backend, tape=[seed, seed % 3, seed % 2, seed % 5])
        assert asked == ["body"], f"tape of seed {seed}"


async def run_in_task(plan: Plan[Any, Any]) -> None:
    await plan.run()


async def made_up() -> None:
    """Raise a cancellation that nobody asked for, on either backend."""
    kept: BaseException | None = None
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            kept = error
            raise
    assert kept is not None
    raise kept


async def cancelled_future() -> None:
    """Wait for something that somebody else cancels."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.cancel)
    await future


async def cancelled_task() -> None:
    """Wait for a task that somebody else cancels."""
    task = asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(1)
    task.cancel()
    await task


async def raised_at_once() -> None:
    raise asyncio.CancelledError


async def raised_later() -> None:
    await asyncio.sleep(1)
    raise asyncio.CancelledError


STRAYS: Sequence[Any] = (
    pytest.param(made_up, "asyncio", id="made_up-asyncio"),
    pytest.param(made_up, "trio", id="made_up-trio"),
    *[
        pytest.param(body, "asyncio", id=body.__name__)
        for body in (cancelled_future, cancelled_task, raised_at_once, raised_later)
    ],
)


@pytest.mark.parametrize(("body", "backend"), STRAYS)
def test_p09_a_cancellation_that_nobody_asked_for_is_a_failure_and_siblings_go_on(body: Any, backend: Backend) -> None:
    graph = Graph("stray")
    graph.add_layer(body, name="stray", on_error="continue")

    @graph.layer
    async def sibling() -> str:
        await anyio.sleep(5)
        return "went on"

    @graph.layer(depends_on="stray")
    async def after() -> str:
        return "too"

    async def main() -> None:
        run = await compile_plan(graph).run()
        assert (run["sibling"], run["after"]) == ("went on", "too")
        error = run.failures["stray"]
        assert isinstance(error, errors.StrayCancellation)
        assert "'stray'" in str(error)
        assert isinstance(error.__cause__, anyio.get_cancelled_exc_class())

    run_virtual(main, backend=backend)


@pytest.mark.parametrize(("body", "backend"), STRAYS)
def test_p09_it_ends_the_run_like_any_other_failure(body: Any, backend: Backend) -> None:
    graph, seen = Graph("stray abort"), list[str]()
    graph.add_layer(body, name="stray", retries=2)

    @graph.layer
    async def sibling() -> None:
        try:
            await anyio.sleep(100)
        finally:
            seen.append("finally")

    async def main() -> None:
        with pytest.raises(errors.StrayCancellation) as caught:
            await compile_plan(graph).run()
        run = run_of(caught.value)
        assert run is not None
        assert len(run.attempts("stray")) == 3
        assert run.outcome("sibling") == Cancelled(by="abort")
        await anyio.sleep(1)

    run_virtual(main, backend=backend)

    assert seen == ["finally"]


@pytest.mark.parametrize("raised", [asyncio.CancelledError, asyncio.CancelledError("with a text")])
def test_p09_so_is_one_from_a_thread(raised: Any) -> None:
    graph = Graph("stray thread")

    @graph.layer(on_error="continue")
    def blocking() -> None:
        raise raised

    @graph.layer
    async def sibling() -> str:
        return "went on"

    run = compile_plan(graph).run_sync()

    assert run["sibling"] == "went on"
    assert isinstance(run.failures["blocking"], errors.StrayCancellation)


def test_p09_a_body_that_cancels_its_own_task_harms_itself_only() -> None:
    graph = Graph("own task")

    @graph.layer(on_error="continue")
    async def suicidal() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(1)

    @graph.layer(depends_on=suicidal)
    async def after() -> str:
        await asyncio.sleep(1)
        return "went on"

    async def main() -> None:
        run = await compile_plan(graph).run()
        assert run["after"] == "went on"
        assert isinstance(run.failures["suicidal"], errors.StrayCancellation)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    run_virtual(main)
