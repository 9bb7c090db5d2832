"""T4: a run is cancelled after each single step of its tasks; it always settles, cleans up, and passes it on."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from fusynk import Cancelled, Failed, Graph, Skipped, Succeeded, compile_plan, each, when
from fusynk._runtime.runner import Runner
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, outcomes_of, runner_of, running_tasks
from tests.stepping import Steps, counted

LONG = bool(os.environ.get("FUSYNK_LONG"))
pytestmark = pytest.mark.timeout(0 if LONG else 120)


class Diary:
    """What the bodies of one run did."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()

    async def live(self, name: str, *, seconds: float = 1, tidy: float = 0) -> None:
        """Be a body that sleeps, and note that it began and that it cleaned up."""
        self.begun[name] += 1
        try:
            await anyio.sleep(seconds)
        finally:
            if tidy:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(tidy)
            self.ended[name] += 1


Add = Callable[[Graph, Diary], None]


def add_chain(graph: Graph, diary: Diary) -> None:
    async def step() -> None:
        await diary.live("step")

    async def at_once() -> None:
        diary.begun["at once"] += 1
        diary.ended["at once"] += 1

    graph.add_layer(step, name="s0")
    for number in range(1, 6):
        graph.add_layer(at_once if number % 2 else step, name=f"s{number}", depends_on=f"s{number - 1}")


def add_diamond(graph: Graph, diary: Diary) -> None:
    async def source() -> int:
        await diary.live("source")
        return 1

    async def side(value: int) -> int:
        await diary.live("side", seconds=value, tidy=2)
        return value

    async def sink(left: int, right: int) -> int:
        await diary.live("sink")
        return left + right

    first = graph.add_layer(source)
    left, right = [graph.add_layer(side, name=name, bind={"value": first}) for name in ("left", "right")]
    graph.add_layer(sink, bind={"left": left, "right": right})


def add_retries(graph: Graph, diary: Diary) -> None:
    async def ponder(_error: Exception) -> bool:
        await diary.live("retry_on")
        return True

    async def recover(_error: Exception) -> str:
        await diary.live("on_error")
        return "recovered"

    async def fail() -> None:
        await diary.live("fail")
        raise ConnectionError

    graph.add_layer(fail, name="delayed", retries=2, retry_delay=3, on_error="continue")
    graph.add_layer(fail, name="pondered", retries=1, retry_on=ponder, on_error=recover)


def add_items(graph: Graph, diary: Diary) -> None:
    async def numbers() -> list[int]:
        return [1, 2, 3]

    async def first(number: int) -> int:
        await diary.live("first", seconds=number)
        return number

    async def second(number: int) -> int:
        await diary.live("second")
        return number

    first.__defaults__ = (each(graph.add_layer(numbers)),)
    second.__defaults__ = (each(graph.layer.each(first)),)
    graph.layer.each(second)


def add_timeouts(graph: Graph, diary: Diary) -> None:
    async def slow() -> None:
        await diary.live("slow", seconds=100, tidy=2)

    async def quick() -> None:
        await diary.live("quick")

    graph.add_layer(slow, name="slow", timeout=2, retries=1, on_error="continue")
    graph.add_layer(quick, name="quick", timeout=5)
    graph.add_layer(quick, name="after", depends_on=["slow", "quick"], timeout=5)


def add_process(graph: Graph, diary: Diary) -> None:
    def is_one(value: int) -> bool:
        return value == 1

    async def one() -> int:
        await diary.live("one")
        return 1

    async def member() -> None:
        await diary.live("member")

    source = graph.add_layer(one)
    taken = graph.add_layer(member, name="taken", depends_on=when(source, is_one))
    members = [taken, *[graph.add_layer(member, name=f"member{number}") for number in range(2)]]
    graph.process("isolated", *members, mode="isolated", delay=2)


def add_nested(graph: Graph, diary: Diary) -> None:
    inner_graph = Graph("inner")
    add_diamond(inner_graph, diary)
    inner = compile_plan(inner_graph)

    async def nest() -> None:
        diary.begun["nest"] += 1
        try:
            await inner.run()
        finally:
            diary.ended["nest"] += 1

    graph.add_layer(nest)


def add_children(graph: Graph, diary: Diary) -> None:
    async def parent() -> None:
        diary.begun["parent"] += 1
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(child)
                group.start_soon(child)
                with anyio.move_on_after(1):
                    await anyio.sleep(100)
        finally:
            diary.ended["parent"] += 1

    async def child() -> None:
        await diary.live("child", seconds=2, tidy=1)

    graph.add_layer(parent)
    graph.add_layer(parent, name="another")


PLANS: list[Add] = [add_chain, add_diamond, add_retries, add_items, add_timeouts, add_process, add_nested, add_children]


async def cancelled_by_scope(run: Callable[[], Awaitable[Any]], at: int) -> tuple[int, bool]:
    """Run, cancel a scope around it after so many steps, and tell how many there were and whether that was felt."""
    finished, scope = False, anyio.CancelScope()
    steps = Steps(at, scope.cancel)
    with scope:
        with counted(steps):
            await run()
        finished = True
    assert finished != scope.cancelled_caught
    return steps.count, scope.cancelled_caught


class ParentFailure(Exception):
    """What the task beside the run raises."""


async def cancelled_by_parent(run: Callable[[], Awaitable[Any]], at: int) -> tuple[int, bool]:
    """The same by a task beside it that fails."""
    fail_now, finished = anyio.Event(), False
    steps = Steps(at, fail_now.set)

    async def fail() -> None:
        await fail_now.wait()
        raise ParentFailure

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            with counted(steps):
                await run()
            finished = True
            group.cancel_scope.cancel()
    except* ParentFailure:
        assert at
    return steps.count, not finished


async def cancelled_natively(run: Callable[[], Awaitable[Any]], at: int) -> tuple[int, bool]:
    """The same by `task.cancel()`, on asyncio."""

    async def be_a_task() -> None:
        await run()

    steps = Steps(at, lambda: task.cancel())  # noqa: PLW0108 (the task is made below)
    with counted(steps):
        task = asyncio.create_task(be_a_task())
        try:
            await task
        except asyncio.CancelledError:
            assert task.cancelled()
            return steps.count, True
    return steps.count, False


Way = Callable[[Callable[[], Awaitable[Any]], int], Awaitable[tuple[int, bool]]]
WAYS: list[Any] = [
    pytest.param(cancelled_by_scope, "asyncio", id="scope-asyncio"),
    pytest.param(cancelled_by_scope, "trio", id="scope-trio"),
    pytest.param(cancelled_by_parent, "asyncio", id="parent-asyncio"),
    pytest.param(cancelled_by_parent, "trio", id="parent-trio"),
    pytest.param(cancelled_natively, "asyncio", id="native-asyncio"),
]
MOST_TIDYING = 2.0


async def one_run(add: Add, way: Way, at: int) -> int:
    """Run a plan, cancelled after so many steps, and check everything that must hold. Returns the count of steps."""
    graph, diary, before = Graph("plan"), Diary(), running_tasks()
    add(graph, diary)
    runner = runner_of(compile_plan(graph, concurrency=3))

    steps, felt = await way(runner.run, at)

    assert diary.begun == diary.ended
    assert (runner.host.live, runner.host.spawning, runner.suspended) == (0, 0, {})
    await assert_settled(before)
    if asyncio_task := _current_asyncio_task():
        assert asyncio_task.cancelling() == 0
    _assert_told(runner, felt=felt)
    settled_at = anyio.current_time()
    await anyio.sleep(1000)
    assert (diary.begun, anyio.current_time()) == (diary.ended, settled_at + 1000)
    return steps


def _current_asyncio_task() -> Any:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _assert_told(runner: Runner, *, felt: bool) -> None:
    """Every step has an outcome; those that were cut off say by whom."""
    outcomes = list(outcomes_of(runner).values())
    cut_off = [outcome for outcome in outcomes if isinstance(outcome, Cancelled)]
    assert all(isinstance(outcome, (Succeeded, Failed, Skipped, Cancelled)) for outcome in outcomes)
    assert set(cut_off) <= {Cancelled(by="caller")}
    assert felt or not cut_off


@pytest.mark.parametrize(("way", "backend"), WAYS)
@pytest.mark.parametrize("add", PLANS)
def test_t04_a_run_that_is_cancelled_after_any_step_settles_and_passes_it_on(
    add: Add, way: Way, backend: Backend
) -> None:
    total = run_virtual(one_run, add, way, 0, backend=backend)

    assert total > 5
    for at in range(1, total + 1):
        try:
            run_virtual(one_run, add, way, at, backend=backend)
        except BaseException as error:
            error.add_note(f"cancelled after step {at} of {total}")
            raise
