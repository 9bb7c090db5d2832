"""Resources: generators with one yield, set up as steps, torn down in reverse order in every way a run can end."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import Batch, Graph, Plan, Succeeded, compile_plan, current_step, each, errors, run_of, use
from fusynk.executors.threads import InlineExecutor
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import ROOT, assert_settled, heard, running_tasks

TIMES_OUT = pytest.mark.timeout(60)


class Declined(Exception):
    """What a body of these tests raises."""


def diary_of(graph: Graph, end: Callable[[], Awaitable[None]]) -> list[str]:
    """Declares two resources, one upon the other, and a step `last` that uses both and then ends as it is told."""
    diary = list[str]()

    @graph.layer
    async def database() -> AsyncIterator[str]:
        diary.append("open database")
        yield "database"
        diary.append("close database")

    @graph.layer
    async def session(parent: str = use(database)) -> AsyncIterator[str]:
        diary.append(f"open session of {parent}")
        try:
            yield "session"
        finally:
            await anyio.sleep(1)
            diary.append("close session")

    @graph.layer
    async def last(mine: str = use(session)) -> str:
        diary.append(f"use {mine}")
        await end()
        return mine

    return diary


ALL = ["open database", "open session of database", "use session", "close session", "close database"]


async def return_at_once() -> None: ...


async def fail() -> None:
    raise Declined


async def hang() -> None:
    await anyio.sleep(1000)


async def interrupt() -> None:
    raise KeyboardInterrupt


# Every way a run can end


def test_a_resource_is_torn_down_in_reverse_order_when_the_run_succeeds(backend: Backend) -> None:
    graph = Graph("resources")
    diary = diary_of(graph, return_at_once)

    trace = simulate(compile_plan(graph), backend=backend)

    assert diary == ALL
    assert trace.result == {"last": "session"}
    assert trace.run["database"] == "database"
    assert trace.run.ok
    assert trace.run.teardown_failures == {}


def test_it_is_torn_down_when_the_run_aborts(backend: Backend) -> None:
    graph = Graph("resources")
    diary = diary_of(graph, fail)

    trace = simulate(compile_plan(graph), backend=backend)

    assert diary == ALL
    assert isinstance(trace.error, Declined)
    assert isinstance(trace.run.outcome("session"), Succeeded)


def test_it_is_torn_down_when_the_deadline_is_over(backend: Backend) -> None:
    graph = Graph("resources")
    diary = diary_of(graph, hang)

    trace = simulate(compile_plan(graph, deadline=10), backend=backend)

    assert diary == ALL
    assert isinstance(trace.error, errors.DeadlineExceeded)
    assert trace.seconds == 11


def test_it_is_torn_down_when_an_interruption_leaves_a_body(backend: Backend) -> None:
    graph = Graph("resources")
    diary = diary_of(graph, interrupt)

    with pytest.raises(KeyboardInterrupt) as caught:
        simulate(compile_plan(graph), backend=backend)

    assert diary == ALL
    assert run_of(caught.value) is not None


async def cancelled_by_a_scope(plan: Plan[Any, Any]) -> None:
    with anyio.move_on_after(10) as scope:
        await plan.run()
    assert scope.cancelled_caught


async def cancelled_by_its_handle(plan: Plan[Any, Any]) -> None:
    async with plan.start() as handle:
        await anyio.sleep(10)
        handle.cancel()
        with pytest.raises(errors.RunCancelled):
            await handle.wait()


async def cancelled_with_its_parent(plan: Plan[Any, Any]) -> None:
    with pytest.raises(ExceptionGroup):
        async with anyio.create_task_group() as group:
            group.start_soon(plan.run)
            await anyio.sleep(10)
            raise Declined


@pytest.mark.parametrize("way", [cancelled_by_a_scope, cancelled_by_its_handle, cancelled_with_its_parent])
def test_it_is_torn_down_when_the_run_is_cancelled(
    way: Callable[[Plan[Any, Any]], Awaitable[None]], backend: Backend
) -> None:
    graph = Graph("resources")
    diary = diary_of(graph, hang)

    async def main() -> None:
        before = running_tasks()
        await way(compile_plan(graph))
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert diary == ALL


def test_a_native_cancellation_that_comes_again_and_again_does_not_cut_a_teardown_short() -> None:
    import asyncio  # noqa: PLC0415 - only this test speaks of asyncio's own tasks

    graph = Graph("resources")
    diary = diary_of(graph, hang)

    async def main() -> None:
        running = asyncio.ensure_future(compile_plan(graph).run())
        for _ in range(10):
            await asyncio.sleep(0.2)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert running.cancelled()

    run_virtual(main)

    assert diary == ALL


@TIMES_OUT
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_it_is_torn_down_when_a_signal_ends_the_program(backend_name: str, tmp_path: Path) -> None:
    script = tmp_path / "service.py"
    script.write_text(f"""
import anyio
from fusynk import compile_plan, layer, use

@layer
async def connection():
    print("open", flush=True)
    yield 1
    await anyio.sleep(0)
    print("closed", flush=True)

@layer
async def serve(one=use(connection)):
    print("ready", flush=True)
    await anyio.sleep(1000)

anyio.run(compile_plan(serve).run, backend={backend_name!r})
""")
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert [program.stdout.readline().strip() for _ in range(2)] == ["open", "ready"]
        os.kill(program.pid, signal.SIGINT)
        out, said = program.communicate(timeout=30)

    assert out.strip() == "closed", said
    assert "KeyboardInterrupt" in said


# The task and the context of its own


def test_a_task_group_may_lie_around_the_yield(backend: Backend) -> None:
    graph, beats = Graph("resources"), list[str]()

    @graph.layer
    async def heart() -> AsyncIterator[str]:
        async with anyio.create_task_group() as group:

            async def beat() -> None:
                while True:
                    beats.append("beat")
                    await anyio.sleep(1)

            group.start_soon(beat)
            yield "heart"
            group.cancel_scope.cancel()

    @graph.layer
    async def work(organ: str = use(heart)) -> str:
        await anyio.sleep(4.5)
        return organ

    trace = simulate(compile_plan(work), backend=backend)

    assert trace.result == "heart"
    assert len(beats) == 5


def test_a_child_task_that_fails_ends_the_run_with_its_error(backend: Backend) -> None:
    graph, seen = Graph("resources"), list[str]()

    @graph.layer
    async def broker() -> AsyncIterator[str]:
        async with anyio.create_task_group() as group:

            async def lose_connection() -> None:
                await anyio.sleep(3)
                raise ConnectionError

            group.start_soon(lose_connection)
            yield "broker"

    @graph.layer
    async def consume(source: str = use(broker)) -> None:
        try:
            await anyio.sleep(1000)
        finally:
            seen.append(f"left {source}")

    trace = simulate(compile_plan(consume), backend=backend)

    error: Any = trace.error
    assert type(error) is ExceptionGroup
    assert [type(one) for one in error.exceptions] == [ConnectionError]
    assert (trace.run.cause, trace.seconds, seen) == ("broker", 3, ["left broker"])
    assert trace.run.teardown_failures == {"broker": error}


def test_under_continue_a_resource_that_breaks_lets_the_run_go_on(backend: Backend) -> None:
    graph = Graph("resources")

    @graph.layer(on_error="continue")
    async def lease() -> AsyncIterator[str]:
        with anyio.move_on_after(3):
            yield "lease"

    @graph.layer
    async def work(held: str = use(lease)) -> str:
        await anyio.sleep(10)
        return held

    trace = simulate(compile_plan(work), backend=backend)

    assert (trace.result, trace.seconds, trace.run.ok) == ("lease", 10, False)
    assert isinstance(trace.run.teardown_failures["lease"], errors.ResourceMisused)
    assert "'lease' ended before its run did" in str(trace.run.teardown_failures["lease"])


LEVEL: ContextVar[str] = ContextVar("level", default="outside")


@pytest.mark.parametrize("virtual", [True, False], ids=["inline", "threads"])
@pytest.mark.parametrize("form", ["async", "plain"])
def test_a_context_variable_set_before_the_yield_can_be_reset_after_it(
    form: str, virtual: bool, backend: Backend
) -> None:
    graph, seen = Graph("resources"), list[str]()

    @graph.layer(name="scoped")
    async def scoped() -> AsyncIterator[str]:
        token = LEVEL.set("inside")
        yield "async"
        seen.append(LEVEL.get())
        LEVEL.reset(token)

    @graph.layer(name="plain")
    def plain() -> Iterator[str]:
        token = LEVEL.set("inside")
        yield "plain"
        seen.append(LEVEL.get())
        LEVEL.reset(token)

    unit: Any = scoped if form == "async" else plain

    @graph.layer
    async def look(artifact: str = use(unit)) -> str:
        seen.append(LEVEL.get())
        return artifact

    plan = compile_plan(look)
    if virtual:
        assert simulate(plan, backend=backend).result == form
    else:
        assert anyio.run(plan.run, backend=backend).result == form

    assert seen == ["outside", "inside"]


def test_the_body_of_a_resource_knows_its_step_before_and_after_the_yield(backend: Backend) -> None:
    graph, keys = Graph("resources"), list[str]()

    @graph.layer
    async def database() -> AsyncIterator[int]:
        keys.append(current_step().idempotency_key)
        yield 1
        keys.append(current_step().idempotency_key)

    simulate(compile_plan(database, run_id="r"), backend=backend)

    assert keys == ["r/database", "r/database"]


@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_plain_generator_runs_in_threads_and_blocks_nobody(backend_name: str) -> None:
    graph, places = Graph("resources"), list[bool]()
    release = threading.Event()
    main_thread = threading.get_ident()

    @graph.layer
    def connection() -> Generator[sqlite3.Connection, None, None]:
        places.append(threading.get_ident() == main_thread)
        assert release.wait(10), "the loop stood still: nobody could set the event"
        with sqlite3.connect(":memory:", check_same_thread=False) as opened:
            yield opened
        opened.close()
        places.append(threading.get_ident() == main_thread)

    @graph.layer
    async def free() -> None:
        release.set()

    @graph.layer
    def ask(database: sqlite3.Connection = use(connection)) -> int:
        return int(database.execute("select 6 * 7").fetchone()[0])

    run = anyio.run(compile_plan(graph, threads=1).run, backend=backend_name)

    assert run["ask"] == 42
    assert places == [False, False]
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        run[connection].execute("select 1")


def test_a_plain_generator_may_run_inline() -> None:
    graph, places = Graph("resources"), list[int]()

    @graph.layer(run_in="inline")
    def here() -> Generator[int, None, None]:
        places.append(threading.get_ident())
        yield 1
        places.append(threading.get_ident())

    assert compile_plan(here).run_sync().result == 1

    assert places == [threading.get_ident()] * 2


# What the yield evaluates to


def test_the_yield_evaluates_to_what_ended_the_run(backend: Backend) -> None:
    told = list[object]()

    def plan_of(end: Callable[[], Awaitable[None]]) -> Plan[Any, Any]:
        graph = Graph("resources")

        @graph.layer
        async def transaction() -> AsyncGenerator[str, BaseException | None]:
            told.append((yield "transaction"))

        @graph.layer
        def plain() -> Generator[str, BaseException | None, None]:
            told.append((yield "plain"))

        @graph.layer(depends_on=[transaction, plain])
        async def last() -> None:
            await end()

        return compile_plan(last)

    def after(end: Callable[[], Awaitable[None]], **options: Any) -> list[object]:
        told.clear()
        simulate(plan_of(end).options(**options), backend=backend)
        return [type(one) for one in told]

    assert after(return_at_once) == [type(None)] * 2
    assert after(fail) == [Declined] * 2
    assert after(hang, deadline=5) == [errors.DeadlineExceeded] * 2

    told.clear()
    run_virtual(cancelled_by_a_scope, plan_of(hang).options(executor=InlineExecutor()), backend=backend)
    assert [type(one) for one in told] == [errors.RunCancelled] * 2


# Setups that fail, are retried or time out


def test_a_setup_that_fails_is_retried_with_a_fresh_generator(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer(retries=2, retry_delay=5)
    async def database() -> AsyncIterator[int]:
        attempt = current_step().attempt
        try:
            if attempt < 3:
                raise ConnectionError
            yield attempt
        finally:
            diary.append(f"leave {attempt}")

    trace = simulate(compile_plan(database), backend=backend)

    assert (trace.result, trace.seconds) == (3, 10)
    assert diary == ["leave 1", "leave 2", "leave 3"]
    assert [attempt.error is None for attempt in trace.run.attempts(database)] == [False, False, True]


def test_a_timeout_cancels_the_setup_only(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer(timeout=5, retries=1)
    async def database() -> AsyncIterator[str]:
        try:
            await anyio.sleep(100 if current_step().attempt == 1 else 1)
            yield "open"
        finally:
            diary.append(f"leave {current_step().attempt}")

    @graph.layer
    async def work(opened: str = use(database)) -> str:
        await anyio.sleep(50)
        diary.append("worked")
        return opened

    trace = simulate(compile_plan(work), backend=backend)

    assert (trace.result, trace.seconds) == ("open", 56)
    assert diary == ["leave 1", "worked", "leave 2"]


def test_a_setup_that_fails_aborts_like_any_step(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def first() -> AsyncIterator[str]:
        yield "first"
        diary.append("close first")

    @graph.layer(depends_on=first)
    async def second() -> AsyncIterator[str]:
        raise Declined
        yield "second"

    trace = simulate(compile_plan(second), backend=backend)

    assert isinstance(trace.error, Declined)
    assert trace.run.cause == "second"
    assert diary == ["close first"]
    own = trace.error.__traceback__
    assert own is not None
    assert own.tb_frame.f_code.co_filename in (__file__, simulate.__code__.co_filename)


def test_a_cancelled_setup_has_ended_before_the_run_has(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def slow() -> AsyncIterator[str]:
        try:
            await anyio.sleep(100)
            yield "slow"
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            diary.append("left slow")

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(1)
        raise Declined

    trace = simulate(compile_plan(graph), backend=backend)

    assert diary == ["left slow"]
    assert (trace.run.cause, trace.seconds) == ("fails", 4)


# Teardowns that fail


def test_a_failed_teardown_of_a_good_run_is_raised_and_the_artifacts_are_there(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def first() -> AsyncIterator[str]:
        yield "first"
        diary.append("close first")

    @graph.layer(depends_on=first)
    async def second() -> AsyncIterator[str]:
        yield "second"
        raise Declined("the disk is full")

    trace = simulate(compile_plan(second), backend=backend)

    assert isinstance(trace.error, Declined)
    assert diary == ["close first"]
    assert (trace.run.result, trace.run.ok, trace.run.status) == ("second", False, "failed")
    assert trace.run.teardown_failures == {"second": trace.error}
    assert "teardown of 'second' failed with Declined" in trace.error.__notes__
    assert run_of(trace.error) is trace.run


def test_under_continue_a_failed_teardown_is_told_by_the_run(backend: Backend) -> None:
    graph = Graph("resources")

    @graph.layer(on_error="continue")
    async def only() -> AsyncIterator[str]:
        yield "only"
        raise Declined

    trace = simulate(compile_plan(only), backend=backend)

    assert trace.result == "only"
    assert not trace.run.ok
    assert [type(error) for error in trace.run.teardown_failures.values()] == [Declined]


def test_a_failed_teardown_does_not_hide_the_first_error(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def first() -> AsyncIterator[str]:
        yield "first"
        diary.append("close first")
        raise OSError

    @graph.layer(depends_on=first)
    async def second() -> AsyncIterator[str]:
        yield "second"
        diary.append("close second")
        raise LookupError

    @graph.layer(depends_on=second)
    async def last() -> None:
        raise Declined

    trace = simulate(compile_plan(last), backend=backend)

    assert isinstance(trace.error, Declined)
    assert diary == ["close second", "close first"]
    assert {name: type(error) for name, error in trace.run.teardown_failures.items()} == {
        "first": OSError,
        "second": LookupError,
    }
    assert "teardown of 'first' failed with OSError" in trace.error.__notes__


def test_an_interruption_during_a_teardown_leaves_bare_after_all_others(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def first() -> AsyncIterator[str]:
        yield "first"
        diary.append("close first")

    @graph.layer(depends_on=first)
    async def second() -> AsyncIterator[str]:
        yield "second"
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        simulate(compile_plan(second), backend=backend)

    assert caught.value.code == 3
    assert diary == ["close first"]


def test_a_teardown_beyond_the_grace_is_cancelled_and_told(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def first() -> AsyncIterator[str]:
        yield "first"
        diary.append("close first")

    @graph.layer(depends_on=first)
    async def slow() -> AsyncIterator[str]:
        yield "slow"
        try:
            await anyio.sleep(1000)
        finally:
            diary.append("cancelled")

    trace = simulate(compile_plan(slow, grace=7), backend=backend)

    assert isinstance(trace.error, errors.TeardownTimeout)
    assert isinstance(trace.error, TimeoutError)
    assert "The teardown of 'slow' took longer than the grace of 7 s" in str(trace.error)
    assert diary == ["cancelled", "close first"]
    assert trace.seconds == 7


def test_a_teardown_that_refuses_its_cancellation_is_waited_for_and_named(backend: Backend) -> None:
    graph = Graph("resources")

    @graph.layer(on_error="continue")
    async def stubborn() -> AsyncIterator[str]:
        yield "stubborn"
        with anyio.CancelScope(shield=True):
            await anyio.sleep(20)

    with heard() as records:
        trace = simulate(compile_plan(stubborn, grace=3), backend=backend)

    assert trace.seconds == 20
    assert trace.run.stuck == ("stubborn",)
    assert trace.run.teardown_failures == {}  # late, but done
    assert {record["extra"]["layer"] for record in records} == {"stubborn"}


@TIMES_OUT
def test_a_thread_that_does_not_end_its_teardown_is_left_behind_and_named() -> None:
    graph, release = Graph("resources"), threading.Event()

    @graph.layer(on_error="continue")
    def hangs() -> Iterator[str]:
        yield "hangs"
        release.wait(30)

    try:
        run = compile_plan(hangs, grace=0.05).run_sync()
    finally:
        release.set()

    assert isinstance(run.teardown_failures["hangs"], errors.TeardownTimeout)
    assert run.abandoned == ("hangs",)


# Generators that are no resources


@pytest.mark.parametrize("form", ["async", "plain"])
def test_a_generator_that_never_yields_fails_its_step(form: str, backend: Backend) -> None:
    graph = Graph("resources")

    async def empty() -> AsyncIterator[int]:
        return
        yield 1

    def plain_empty() -> Iterator[int]:
        return
        yield 1

    unit = graph.add_layer(empty if form == "async" else plain_empty, name="empty")

    trace = simulate(compile_plan(unit), backend=backend)

    assert isinstance(trace.error, errors.ResourceMisused)
    assert "'empty' ended without a yield" in str(trace.error)


@pytest.mark.parametrize("form", ["async", "plain"])
def test_a_generator_that_yields_twice_is_closed_and_told(form: str, backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    async def twice() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            diary.append("closed")

    def plain_twice() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            diary.append("closed")

    unit = graph.add_layer(twice if form == "async" else plain_twice, name="twice")

    trace = simulate(compile_plan(unit), backend=backend)

    assert isinstance(trace.error, errors.ResourceMisused)
    assert "'twice' yielded twice" in str(trace.error)
    assert diary == ["closed"]


def test_a_timeout_on_a_plain_generator_is_refused() -> None:
    graph = Graph("resources")

    @graph.layer(timeout=5, abandon_on_timeout=True)
    def database() -> Iterator[int]:
        yield 1

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(database)

    assert "a plain generator run in threads, which nothing can stop" in str(caught.value)


# With the rest of the DSL


def test_each_item_of_a_fan_out_may_be_a_resource(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def names() -> list[str]:
        return ["a", "b", "c"]

    @graph.layer.each
    async def opened(name: str = each(names)) -> AsyncIterator[str]:
        diary.append(f"open {name}")
        yield name.upper()
        diary.append(f"close {name}")

    @graph.layer
    async def joined(files: Batch[str] = use(opened)) -> str:
        return "".join(files)

    trace = simulate(compile_plan(joined, concurrency=1), backend=backend)

    assert trace.result == "ABC"
    assert diary == [f"{verb} {name}" for verb, order in (("open", "abc"), ("close", "cba")) for name in order]


def test_methods_and_partials_may_be_resources(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    class Service:
        def __init__(self, name: str) -> None:
            self.name = name

        @graph.layer
        async def connection(self) -> AsyncIterator[str]:
            yield f"connection of {self.name}"
            diary.append(f"closed by {self.name}")

        @graph.layer
        async def ask(self, one: str = use(connection)) -> str:
            return one

    assert simulate(compile_plan(Service("a").ask), backend=backend).result == "connection of a"
    assert simulate(compile_plan(Service.ask), {"self": Service("b")}, backend=backend).result == "connection of b"
    assert diary == ["closed by a", "closed by b"]

    async def numbered(number: int) -> AsyncIterator[int]:
        yield number
        diary.append(f"closed {number}")

    unit = graph.add_layer(partial(numbered, 7), name="seven")
    assert simulate(compile_plan(unit), backend=backend).result == 7
    assert diary[-1] == "closed 7"


def test_a_stand_in_replaces_setup_and_teardown(backend: Backend) -> None:
    graph, diary = Graph("resources"), list[str]()

    @graph.layer
    async def database() -> AsyncIterator[str]:
        diary.append("never")
        yield "real"

    def fake() -> Iterator[str]:
        yield "fake"
        diary.append("close fake")

    plan = compile_plan(database)

    assert simulate(plan.override(database.returns("stub")), backend=backend).result == "stub"
    assert simulate(plan.override(database.calls(lambda: "called")), backend=backend).result == "called"
    assert simulate(plan.override(database.calls(fake)), backend=backend).result == "fake"
    assert isinstance(simulate(plan.override(database.raises(Declined)), backend=backend).error, Declined)
    assert diary == ["close fake"]


def test_an_ordinary_call_gives_the_generator_itself() -> None:
    graph = Graph("resources")

    @graph.layer
    def numbers(start: int) -> Iterator[int]:
        yield start

    assert list(numbers(3)) == [3]


def test_the_type_that_is_yielded_is_checked_on_the_edge() -> None:
    graph = Graph("resources")

    @graph.layer
    async def database() -> AsyncIterator[int]:
        yield 1

    def takes_text(value: str) -> None: ...

    unit = graph.add_layer(takes_text, bind={"value": database})

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(unit)

    assert "returns int" in str(caught.value)


def test_explain_says_what_is_a_resource() -> None:
    graph = Graph("resources")
    diary_of(graph, return_at_once)

    assert "database  (level 0, resource, " in compile_plan(graph).explain()


# Laws


@given(tape=st.lists(st.integers(0, 7), max_size=40), fails=st.integers(-1, 5), when=st.integers(0, 6))
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_what_is_opened_is_closed_once_in_reverse_and_after_its_users(
    backend_name: Backend, tape: list[int], fails: int, when: int
) -> None:
    graph, diary = Graph("resources"), list[tuple[str, int]]()

    async def resource(number: int) -> AsyncIterator[int]:
        await anyio.sleep(number % 3)
        diary.append(("open", number))
        yield number
        await anyio.sleep(number % 2)
        diary.append(("close", number))

    async def user(number: int) -> None:
        diary.append(("use", number))
        await anyio.sleep(when)
        if number == fails:
            raise Declined

    for number in range(6):
        before = [f"r{number - 2}"] if number > 1 else []
        graph.add_layer(partial(resource, number), name=f"r{number}", depends_on=before)
        graph.add_layer(partial(user, number), name=f"u{number}", depends_on=[f"r{number}"])

    trace = simulate(compile_plan(graph), tape=tape, backend=backend_name)

    opened = [number for verb, number in diary if verb == "open"]
    assert [number for verb, number in diary if verb == "close"] == opened[::-1]
    assert (trace.error is None) == (fails == -1)
    first_close = next((place for place, (verb, _) in enumerate(diary) if verb == "close"), len(diary))
    assert all(verb == "close" for verb, _ in diary[first_close:])
