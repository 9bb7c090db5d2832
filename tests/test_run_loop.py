"""The rules of the run loop, one by one: where bodies run, what they share, and what they never feel of each other."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from fusynk import Graph, compile_plan, current_step, each, use, when
from fusynk._runtime import host as host_module
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, running_tasks

mark: ContextVar[str] = ContextVar("mark", default="unset")


def task_id() -> int:
    return anyio.get_current_task().id


# Bodies run in child tasks


@pytest.mark.parametrize("suspends", [False, True])
async def test_every_body_runs_in_a_task_that_is_not_the_caller_s(suspends: bool) -> None:
    graph = Graph("children")

    async def body() -> int:
        if suspends:
            await anyio.lowlevel.checkpoint()
        return task_id()

    def inline() -> int:
        return task_id()

    for number in range(5):
        graph.add_layer(body, name=f"s{number}")
        graph.add_layer(inline, name=f"inline{number}", run_in="inline")

    run = await compile_plan(graph).run()

    assert task_id() not in {run[name] for name in run.outcomes}


async def test_a_body_stays_in_its_task_from_beginning_to_end() -> None:
    graph = Graph("stays")

    async def body() -> set[int]:
        seen = {task_id()}
        for _ in range(3):
            await anyio.sleep(0.001)
            seen.add(task_id())
        return seen

    for number in range(5):
        graph.add_layer(body, name=f"s{number}")

    run = await compile_plan(graph).run()

    assert [len(run[name]) for name in run.outcomes] == [1] * 5


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_cancel_scope_that_a_body_leaks_does_not_reach_the_caller(
    suspends: bool, timeout: float | None, backend: Backend
) -> None:
    graph = Graph("leak")

    async def leak() -> None:
        scope = anyio.CancelScope()
        scope.__enter__()
        if suspends:
            await anyio.sleep(1)
        scope.cancel()

    graph.add_layer(leak, timeout=timeout)

    async def main() -> str:
        before = running_tasks()
        try:
            await compile_plan(graph).run()
        except RuntimeError as error:
            assert "cancel scope" in str(error).lower()  # noqa: PT017 (the loop may complain or not)
        await anyio.sleep(1)
        await assert_settled(before)
        with anyio.move_on_after(1) as scope:
            await anyio.sleep(100)
        assert scope.cancelled_caught
        return "unharmed"

    assert run_virtual(main, backend=backend) == "unharmed"


def test_nor_does_it_reach_the_step_after_one_that_suspended(backend: Backend) -> None:
    graph, felt = Graph("next"), list[str]()

    @graph.layer
    async def leak() -> None:
        scope = anyio.CancelScope()
        scope.__enter__()
        await anyio.sleep(1)
        scope.cancel()

    @graph.layer(depends_on=leak)
    async def after() -> None:
        await anyio.sleep(1)
        felt.append("nothing")

    async def main() -> None:
        before = running_tasks()
        try:
            await compile_plan(after, concurrency=1).run()
        except RuntimeError as error:
            # Where the loop checks the scopes of a task that ends, it says so, and the run does not go on.
            assert "cancel scope" in str(error).lower()  # noqa: PT017 (the loop may complain or not)
        else:
            assert felt == ["nothing"]
        await assert_settled(before)

    run_virtual(main, backend=backend)


def test_slots_are_spawned_by_the_host_only(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    spawners, hosts = list[int](), list[int]()
    real: Callable[[], Any] = getattr(host_module, "create_task_group")  # noqa: B009 (imported there)

    def watched_group() -> Any:
        group = real()
        start_soon = group.start_soon

        def spawn(*arguments: Any, **options: Any) -> None:
            spawners.append(task_id())
            start_soon(*arguments, **options)

        group.start_soon = spawn
        return group

    monkeypatch.setattr(host_module, "create_task_group", watched_group)
    graph = Graph("spawning")

    async def body() -> None:
        await anyio.sleep(1)

    for number in range(10):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 2}"] if number > 1 else [])

    async def main() -> None:
        hosts.append(task_id())
        await compile_plan(graph).run()

    run_virtual(main, backend=backend)

    assert len(spawners) >= 10
    assert set(spawners) == set(hosts)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks from Python 3.12 on")
@pytest.mark.parametrize("suspends", [False, True])
def test_a_deep_chain_does_not_recurse_under_eager_tasks(suspends: bool) -> None:
    graph = Graph("deep")

    async def body() -> int:
        if suspends:
            await anyio.lowlevel.checkpoint()
        frame, depth = sys._getframe(), 0
        while frame.f_back is not None:
            frame, depth = frame.f_back, depth + 1
        return depth

    for number in range(3000):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 1}"] if number else [])

    async def main() -> list[int]:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 (3.12)
        run = await compile_plan(graph).run()
        return [run[name] for name in run.outcomes]

    assert max(asyncio.run(main())) < 200


# A slot retires after a body that suspended


def test_what_a_task_owns_is_not_the_next_step_s(backend: Backend) -> None:
    graph, lock = Graph("lock"), anyio.Lock()
    by_task: dict[int, str] = {}

    @graph.layer
    async def takes() -> None:
        await lock.acquire()
        by_task[task_id()] = "session of takes"
        await anyio.sleep(1)

    @graph.layer(depends_on=takes)
    async def after() -> str:
        found = by_task.get(task_id(), "none")
        try:
            lock.acquire_nowait()
        except anyio.WouldBlock:
            return f"session: {found}; the lock is somebody else's"
        return "the lock is mine"

    result = simulate(compile_plan(after, concurrency=1), backend=backend).result

    assert result == "session: none; the lock is somebody else's"


def test_bodies_that_never_suspend_cost_no_tasks(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    spawned, most = [0], list[int]()
    real: Callable[[], Any] = getattr(host_module, "create_task_group")  # noqa: B009 (imported there)

    def watched_group() -> Any:
        group = real()
        start_soon = group.start_soon

        def spawn(*arguments: Any, **options: Any) -> None:
            spawned[0] += 1
            start_soon(*arguments, **options)

        group.start_soon = spawn
        return group

    monkeypatch.setattr(host_module, "create_task_group", watched_group)
    graph = Graph("inline")

    async def body() -> None:
        if len(most) < 3:
            most.append(len(anyio.get_running_tasks()))

    for number in range(2000):
        graph.add_layer(body, name=f"s{number}")

    simulate(compile_plan(graph), backend=backend)

    assert spawned[0] < 5


async def test_a_step_that_waits_costs_no_task() -> None:
    graph, counts = Graph("waiting"), list[int]()

    @graph.layer
    async def first() -> None:
        await anyio.sleep(0.01)
        counts.append(len(anyio.get_running_tasks()))

    async def body() -> None:
        await anyio.lowlevel.checkpoint()
        if len(counts) < 50:
            counts.append(len(anyio.get_running_tasks()))

    for number in range(1000):
        graph.add_layer(body, name=f"s{number}", depends_on=first)
    before = len(anyio.get_running_tasks())

    await compile_plan(graph, concurrency=7).run()

    assert counts[0] <= before + 1
    assert max(counts) <= before + 7 + 1  # one may be on its way out


# Time-outs


@pytest.mark.parametrize("how", ["task group", "cancel scope"])
def test_a_timeout_is_around_what_the_body_opens_before_it_first_suspends(how: str, backend: Backend) -> None:
    graph = Graph("scopes")

    @graph.layer(timeout=5)
    async def in_time() -> str:
        if how == "task group":
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 2)
        else:
            with anyio.move_on_after(2):
                await anyio.sleep(100)
        return "done"

    @graph.layer(timeout=5, on_error="continue")
    async def too_late() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 100)

    trace = simulate(compile_plan(graph), backend=backend)

    assert (trace.run["in_time"], trace.seconds) == ("done", 5)
    assert isinstance(trace.run.failures["too_late"], TimeoutError)


# The loop is shared


async def test_other_tasks_go_on_during_fifty_thousand_steps_that_never_suspend() -> None:
    graph, beats, at_the_end = Graph("crowd"), [0], list[int]()

    async def body() -> None: ...

    former = [graph.add_layer(body, name=f"s{number}") for number in range(50_000)]

    @graph.layer(depends_on=former)
    async def last() -> None:
        at_the_end.append(beats[0])

    async def beat() -> None:
        while True:
            beats[0] += 1
            await anyio.lowlevel.checkpoint()

    plan = compile_plan(graph)
    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await plan.run()
        group.cancel_scope.cancel()

    assert at_the_end[0] >= 4


async def test_bodies_that_compute_let_others_in_every_few_milliseconds() -> None:
    graph, order = Graph("busy"), list[str]()

    async def compute() -> None:
        order.append("body")
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass

    for number in range(60):
        graph.add_layer(compute, name=f"s{number}")

    async def beat() -> None:
        while True:
            order.append("beat")
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(beat)
        await compile_plan(graph).run()
        group.cancel_scope.cancel()

    # Five milliseconds hold three bodies; on trio, which tasks of a turn go first is left to chance.
    between = "".join("b" if entry == "body" else " " for entry in order).split()
    assert max(map(len, between)) <= 8, between


async def test_a_cancellation_gets_in_between_steps_that_never_suspend() -> None:
    graph, done = Graph("interrupted"), [0]

    async def compute() -> None:
        done[0] += 1
        until = time.monotonic() + 0.001
        while time.monotonic() < until:
            pass

    for number in range(1000):
        graph.add_layer(compute, name=f"s{number}")

    with anyio.move_on_after(0.02) as scope:
        await compile_plan(graph).run()

    assert scope.cancelled_caught
    assert done[0] < 900


# Contexts


@pytest.mark.parametrize("suspends", [False, True])
def test_context_variables_come_in_from_the_caller_and_stay_with_their_step(suspends: bool, backend: Backend) -> None:
    graph, seen = Graph("contexts"), dict[str, str]()

    async def body(name: str) -> None:
        seen[name] = mark.get()
        mark.set(f"set by {name}")
        if suspends:
            await anyio.sleep(1)
        seen[f"{name} later"] = mark.get()

    for number in range(3):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 1}"] if number else [])

    async def main() -> None:
        mark.set("from the caller")
        for number in range(3):
            plan = compile_plan(graph.units[f"s{number}"], concurrency=1)
            await plan.run(name=f"run{number}")
        assert mark.get() == "from the caller"

    run_virtual(main, backend=backend)

    assert {key: value for key, value in seen.items() if not key.endswith("later")} == {
        f"run{number}": "from the caller" for number in range(3)
    }
    assert {value for key, value in seen.items() if key.endswith("later")} == {
        f"set by run{number}" for number in range(3)
    }


def test_neither_retries_nor_siblings_nor_plain_functions_see_what_a_body_set(backend: Backend) -> None:
    graph, seen = Graph("isolated"), list[str]()

    def look_and_set(name: str) -> None:
        seen.append(f"{name}: {mark.get()}")
        mark.set(name)

    @graph.layer(retries=2)
    async def flaky() -> None:
        look_and_set("flaky")
        await anyio.sleep(1)
        raise ValueError

    @graph.layer
    async def sibling() -> None:
        look_and_set("sibling")
        await anyio.sleep(1)
        look_and_set("sibling again")

    def inline() -> None:
        look_and_set("inline")

    def plain() -> None:
        look_and_set("plain")

    graph.add_layer(inline, run_in="inline")
    graph.add_layer(plain)

    async def main() -> None:
        mark.set("caller")
        await compile_plan(graph, on_error="continue").run()
        assert mark.get() == "caller"

    run_virtual(main, backend=backend)

    assert sorted(set(seen)) == [
        "flaky: caller",
        "inline: caller",
        "plain: caller",
        "sibling again: sibling",
        "sibling: caller",
    ]


async def test_a_body_s_context_goes_on_into_its_child_tasks_and_threads() -> None:
    graph, seen = Graph("inherited"), list[str]()

    async def child() -> None:
        seen.append(mark.get())

    @graph.layer
    async def body() -> None:
        mark.set("body")
        await anyio.lowlevel.checkpoint()
        async with anyio.create_task_group() as group:
            group.start_soon(child)
        seen.append(await anyio.to_thread.run_sync(mark.get))

    await compile_plan(graph).run()

    assert seen == ["body", "body"]


def test_a_body_keeps_its_context_while_it_is_being_cancelled(backend: Backend) -> None:
    graph, seen = Graph("cancelled"), list[str]()

    @graph.layer
    async def body() -> None:
        mark.set("body")
        try:
            await anyio.sleep(100)
        finally:
            seen.append(mark.get())

    async def main() -> None:
        with anyio.move_on_after(1):
            await compile_plan(body).run()

    run_virtual(main, backend=backend)

    assert seen == ["body"]


# The current step


async def test_current_step_is_known_wherever_a_body_s_work_is_done() -> None:
    graph, seen = Graph("current"), dict[str, str]()

    def note(where: str) -> None:
        here = current_step()
        seen[where] = f"{here.run_id}/{here.name}/{here.attempt}"

    async def child(where: str) -> None:
        note(where)
        await anyio.lowlevel.checkpoint()

    @graph.layer(retries=1)
    async def body() -> None:
        note("body")
        await anyio.lowlevel.checkpoint()
        note("body later")
        async with anyio.create_task_group() as group:
            group.start_soon(child, "child task")
        await anyio.to_thread.run_sync(note, "thread of a body")
        if current_step().attempt == 1:
            raise ValueError

    @graph.layer
    def plain() -> None:
        note("thread")
        anyio.from_thread.run(child, "back on the loop")

    def inline() -> None:
        note("inline")

    graph.add_layer(inline, run_in="inline")

    await compile_plan(graph, run_id="r").run()

    assert seen == {
        "body": "r/body/2",
        "body later": "r/body/2",
        "child task": "r/body/2",
        "thread of a body": "r/body/2",
        "thread": "r/plain/1",
        "back on the loop": "r/plain/1",
        "inline": "r/inline/1",
    }


async def test_current_step_is_known_to_everything_that_decides_about_a_step() -> None:
    graph, seen = Graph("deciding"), dict[str, str]()

    def note(where: str) -> bool:
        seen[where] = current_step().name
        return True

    async def note_async(where: str) -> bool:
        await anyio.lowlevel.checkpoint()
        return note(where)

    @graph.layer
    async def source() -> list[int]:
        return [1, 2]

    @graph.layer(depends_on=when(source, lambda _: note("condition")))
    async def conditional(numbers: object = use(source, when=lambda _: note("condition of data"))) -> None: ...

    def delay(_attempt: int) -> float:
        note("retry_delay")
        return 0

    @graph.layer(
        retries=1,
        retry_on=lambda _: note_async("retry_on"),
        retry_delay=delay,
        on_error=lambda _: note_async("on_error"),
    )
    async def fails() -> None:
        raise ValueError

    @graph.layer.each
    async def item(number: int = each(source)) -> None:
        note(f"item {number}")

    await compile_plan(graph).run()

    assert seen == {
        "condition": "conditional",
        "condition of data": "conditional",
        "retry_on": "fails",
        "retry_delay": "fails",
        "on_error": "fails",
        "item 1": "item[0]",
        "item 2": "item[1]",
    }


async def test_current_step_of_a_nested_run_is_the_inner_one_and_then_the_outer_one_again() -> None:
    outer_graph, inner_graph, seen = Graph("outer"), Graph("inner"), list[str]()

    @inner_graph.layer
    async def inside() -> int:
        seen.append(current_step().name)
        return 1

    def accept(_artifact: object) -> bool:
        seen.append(current_step().name)
        return True

    @inner_graph.layer(depends_on=when(inside, accept))
    async def conditional() -> None: ...

    inner = compile_plan(conditional)

    @outer_graph.layer
    async def outside() -> None:
        await inner.run()
        seen.append(current_step().name)

    await compile_plan(outside).run()

    assert seen == ["inside", "conditional", "outside"]


async def test_outside_a_body_there_is_no_current_step() -> None:
    graph = Graph("outside")

    @graph.layer
    async def body() -> None:
        await anyio.lowlevel.checkpoint()

    for _ in range(2):
        with pytest.raises(LookupError, match="outside a running step"):
            current_step()
        await compile_plan(body).run()


async def test_the_idempotency_key_is_the_same_for_every_attempt() -> None:
    graph, keys = Graph("keys"), list[str]()

    @graph.layer(retries=2)
    async def flaky() -> None:
        keys.append(current_step().idempotency_key)
        if len(keys) < 3:
            raise ValueError

    plan = compile_plan(flaky)
    await plan.options(run_id="order-42").run()
    first, second = (await plan.run()).id, (await plan.run()).id

    assert keys[:3] == ["order-42/flaky"] * 3
    assert keys[3:] == [f"{first}/flaky", f"{second}/flaky"]
    assert first != second


async def test_a_thread_can_ask_whether_its_run_has_ended() -> None:
    graph, begun, seen = Graph("asking"), threading.Event(), list[bool]()

    @graph.layer
    def blocking() -> None:
        here = current_step()
        seen.append(here.cancelled)
        begun.set()
        deadline = time.monotonic() + 30
        while not here.cancelled and time.monotonic() < deadline:
            time.sleep(0.001)
        seen.append(here.cancelled)

    @graph.layer
    async def fail() -> None:
        while not begun.is_set():  # noqa: ASYNC110 (set from a thread)
            await anyio.sleep(0.001)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (there is no other)
        await compile_plan(graph).run()

    assert seen == [False, True]


# The body's own tools


async def test_the_native_tools_of_the_loop_work_inside_a_body(anyio_backend_name: str) -> None:
    graph = Graph("native")

    async def asyncio_body() -> str:
        async with asyncio.TaskGroup() as group:
            child = group.create_task(asyncio.sleep(0.001, "child"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.sleep(30)
        return f"{child.result()} {await asyncio.wait_for(asyncio.sleep(0, 'waited'), 30)}"

    async def trio_body() -> str:
        import trio  # noqa: PLC0415 (one of two backends)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0.001)
        with trio.move_on_after(0.001):
            await trio.sleep(30)
        return "child waited"

    body = asyncio_body if anyio_backend_name == "asyncio" else trio_body
    graph.add_layer(body, name="plain")
    graph.add_layer(body, name="timed", timeout=30)

    run = await compile_plan(graph).run()

    assert [run[name] for name in run.outcomes] == ["child waited"] * 2


@pytest.mark.parametrize("hook", ["on_error", "retry_on"])
def test_a_question_about_an_error_that_takes_its_time_keeps_nobody_waiting(hook: str, backend: Backend) -> None:
    graph = Graph("questions")

    async def ponder(error: Exception) -> bool:
        await anyio.sleep(100)
        return False

    async def fails_at_once() -> None:
        raise ValueError

    @graph.layer
    async def other() -> float:
        return anyio.current_time()

    options: Any = {"on_error": "continue", "retries": int(hook == "retry_on"), hook: ponder}
    graph.add_layer(fails_at_once, name="first", priority=1, **options)

    async def main() -> float:
        begun = anyio.current_time()
        run = await compile_plan(graph).run()
        return float(run[other]) - begun

    assert run_virtual(main, backend=backend) == 0
