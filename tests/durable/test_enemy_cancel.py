"""A recorded run is cancelled after each single step of its tasks: it settles, is free, and goes on where it was."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio
import pytest

from fusynk import Graph, Plan, Run, compile_plan, each, when
from fusynk.errors import DeadlineExceeded, RunCancelled, UnknownRun
from fusynk.handle import RunHandle
from fusynk.journals import MemoryJournal
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.durable.hostile import LateJournal, assert_free, assert_nothing_unrecorded, complete_in
from tests.observing import assert_settled, running_tasks
from tests.stepping import Steps, counted

LONG = bool(os.environ.get("FUSYNK_LONG"))
STRIDE = 1 if LONG else 3
pytestmark = pytest.mark.timeout(0 if LONG else 120)


class Diary:
    """What the bodies of a run did, over all its processes."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.told: list[str] = []
        self.dies: tuple[type[BaseException], int, bool] | None = None  # with what, at which call, at its end
        self._calls = 0

    def _die(self, *, at_end: bool) -> None:
        if self.dies is None or self.dies[2] != at_end:
            return
        self._calls += 1
        if self._calls == self.dies[1]:
            raise self.dies[0]

    async def live(self, name: str, *, seconds: float = 1, tidy: float = 0) -> None:
        self.begun[name] += 1
        try:
            self._die(at_end=False)
            await anyio.sleep(seconds)
            self._die(at_end=True)
        finally:
            if tidy:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(tidy)
            self.ended[name] += 1

    def hear(self, event: Any) -> None:
        if type(event).__name__ == "StepSucceeded":
            self.told.append(event.step)


Add = Callable[[Any, Diary], None]  # the graph's options are drawn together, so no checker can know them


def add_chain(graph: Any, diary: Diary) -> None:
    def make(name: str, *, slow: bool) -> Any:
        async def step() -> str:
            await diary.live(name, seconds=float(slow))
            return name

        async def at_once() -> str:
            diary.begun[name] += 1
            diary.ended[name] += 1
            return name

        return step if slow else at_once

    graph.add_layer(make("s0", slow=True), name="s0")
    for number in range(1, 6):
        name = f"s{number}"
        graph.add_layer(make(name, slow=not number % 2), name=name, depends_on=f"s{number - 1}")


def add_diamond(graph: Any, diary: Diary) -> None:
    async def source() -> int:
        await diary.live("source")
        return 1

    async def left(value: int) -> int:
        await diary.live("left", tidy=2)
        return value

    async def right(value: int) -> int:
        await diary.live("right", seconds=2, tidy=2)
        return value

    async def sink(one: int, other: int) -> int:
        await diary.live("sink")
        return one + other

    first = graph.add_layer(source)
    sides = [graph.add_layer(side, bind={"value": first}) for side in (left, right)]
    graph.add_layer(sink, bind={"one": sides[0], "other": sides[1]})


def add_retries(graph: Any, diary: Diary) -> None:
    async def ponder(_error: Exception) -> bool:
        await diary.live("retry_on")
        return True

    async def recover(_error: Exception) -> str:
        await diary.live("on_error")
        return "recovered"

    def make(name: str) -> Any:
        async def fail() -> str:
            await diary.live(name)
            raise ConnectionError(name)

        return fail

    graph.add_layer(make("delayed"), name="delayed", retries=2, retry_delay=3, on_error="continue")
    graph.add_layer(make("pondered"), name="pondered", retries=1, retry_on=ponder, on_error=recover)


def add_items(graph: Any, diary: Diary) -> None:
    async def numbers() -> list[int]:
        return [1, 2, 3]

    async def first(number: int) -> int:
        await diary.live(f"first[{number - 1}]", seconds=number)
        return number

    async def second(number: int) -> int:
        await diary.live(f"second[{number - 1}]")
        return number

    first.__defaults__ = (each(graph.add_layer(numbers)),)
    second.__defaults__ = (each(graph.layer.each(first)),)
    graph.layer.each(second)


def add_timeouts(graph: Any, diary: Diary) -> None:
    async def slow() -> None:
        await diary.live("slow", seconds=100, tidy=2)

    async def quick() -> None:
        await diary.live("quick")

    async def after() -> None:
        await diary.live("after")

    graph.add_layer(slow, name="slow", timeout=2, retries=1, on_error="continue")
    graph.add_layer(quick, name="quick", timeout=5)
    graph.add_layer(after, name="after", depends_on=["slow", "quick"], timeout=5)


def add_process(graph: Any, diary: Diary) -> None:
    def is_one(value: int) -> bool:
        return value == 1

    async def one() -> int:
        await diary.live("one")
        return 2

    def make(name: str) -> Any:
        async def member() -> str:
            await diary.live(name)
            return name

        return member

    source = graph.add_layer(one)
    taken = graph.add_layer(make("taken"), name="taken", depends_on=when(source, is_one))
    names = [f"member{number}" for number in range(2)]
    members = [taken, *[graph.add_layer(make(name), name=name) for name in names]]
    graph.process("isolated", *members, mode="isolated", delay=2)


def add_nested(graph: Any, diary: Diary) -> None:
    inner = Graph("inner")
    add_diamond(inner, diary)
    plan = compile_plan(inner)
    graph.layer(name="nest")(plan)

    async def after() -> str:
        await diary.live("after")
        return "after"

    graph.add_layer(after, depends_on="nest")


def add_resource(graph: Any, diary: Diary) -> None:
    async def connection() -> AsyncIterator[list[int]]:
        diary.begun["connection"] += 1
        try:
            await anyio.sleep(1)
            yield [1]
            with anyio.CancelScope(shield=True):
                await anyio.sleep(1)
        finally:
            diary.ended["connection"] += 1

    async def query(given: list[int]) -> int:
        await diary.live("query")
        return len(given)

    async def tell(count: int) -> int:
        await diary.live("tell")
        return count

    held = graph.add_layer(connection)
    graph.add_layer(tell, bind={"count": graph.add_layer(query, bind={"given": held})})


def add_undoable(graph: Any, diary: Diary) -> None:
    async def undo(_artifact: str) -> None:
        await diary.live("undo")

    def make(name: str) -> Any:
        async def step() -> str:
            await diary.live(name)
            return name

        return step

    graph.layer(name="first", compensate=undo)(make("first"))
    graph.layer(name="second", compensate=undo, depends_on="first")(make("second"))


PLANS: list[Add] = [
    *(add_chain, add_diamond, add_retries, add_items, add_timeouts, add_process, add_nested, add_resource),
    add_undoable,
]

# Ways of cancelling. Each returns the run that was looked at, if it was ever begun.


async def by_scope(plan: Plan[Any, Any], at: int) -> tuple[int, RunHandle[Any] | None]:
    scope = anyio.CancelScope()
    steps = Steps(at, scope.cancel)
    with scope, counted(steps):
        _ = await plan.run()
    return steps.count, None


async def by_native_cancel(plan: Plan[Any, Any], at: int) -> tuple[int, RunHandle[Any] | None]:
    async def be_a_task() -> None:
        _ = await plan.run()

    steps = Steps(at, lambda: task.cancel())  # noqa: PLW0108 (the task is made below)
    with counted(steps):
        task = asyncio.create_task(be_a_task())
        with suppress(asyncio.CancelledError):
            await task
    return steps.count, None


async def by_a_scope_around_a_handle(plan: Plan[Any, Any], at: int) -> tuple[int, RunHandle[Any] | None]:
    scope, handle = anyio.CancelScope(), plan.start()
    steps = Steps(at, scope.cancel)
    with scope, counted(steps):
        async with handle:
            pass
    return steps.count, handle


async def by_handle(plan: Plan[Any, Any], at: int) -> tuple[int, RunHandle[Any] | None]:
    handle = plan.start()
    steps = Steps(at, lambda: handle.cancel())  # noqa: PLW0108 (a default)
    with suppress(RunCancelled), counted(steps):
        async with handle:
            pass
    return steps.count, handle


async def by_handle_with_grace(plan: Plan[Any, Any], at: int) -> tuple[int, RunHandle[Any] | None]:
    handle = plan.start()
    steps = Steps(at, lambda: handle.cancel(grace=1.5))
    with suppress(RunCancelled), counted(steps):
        async with handle:
            pass
    return steps.count, handle


Way = Callable[[Plan[Any, Any], int], Awaitable[tuple[int, RunHandle[Any] | None]]]
WAYS: list[Any] = [
    *[
        pytest.param(way, backend, id=f"{way.__name__}-{backend}")
        for way in (by_scope, by_a_scope_around_a_handle, by_handle, by_handle_with_grace)
        for backend in ("asyncio", "trio")
    ],
    pytest.param(by_native_cancel, "asyncio", id="by_native_cancel-asyncio"),
]
JOURNALS: list[Any] = [pytest.param(MemoryJournal, id="prompt"), pytest.param(lambda: LateJournal(0.5, 2), id="late")]


def ended(run: Run[Any]) -> dict[str, str]:
    return {name: repr(outcome) for name, outcome in run.outcomes.items() if name != "connection"}  # it is set up anew


def planned(add: Add, diary: Diary, journal: MemoryJournal | None) -> Plan[Any, Any]:
    graph = Graph("plan")
    add(graph, diary)
    plan = compile_plan(graph, concurrency=3)
    return plan if journal is None else plan.options(journal=journal, run_id="one", subscribers=[diary.hear])


async def calm_run(add: Add) -> tuple[dict[str, str], Counter[str], list[str]]:
    """How the plan ends undisturbed, which bodies it begins, and what it tells."""
    diary = Diary()
    run = await planned(add, diary, None).options(subscribers=[diary.hear]).run()
    return ended(run), diary.begun, diary.told


async def one_run(add: Add, way: Way, make: Callable[[], MemoryJournal], at: int, calm: Any) -> int:
    """Cancel a run, resume it, and check all that must hold. Returns how many steps there were."""
    diary, journal, before = Diary(), make(), running_tasks()
    plan = planned(add, diary, journal)
    steps, handle = await way(plan, at)
    await assert_settled(before)
    if handle is not None and handle._runner is not None:
        assert_nothing_unrecorded(handle._runner, journal)
    await assert_goes_on(plan, diary, journal, calm)
    await assert_settled(before)
    return steps


async def assert_goes_on(plan: Plan[Any, Any], diary: Diary, journal: MemoryJournal, calm: Any) -> None:
    """What was broken off is free, and comes to the same end without doing again what it told."""
    assert diary.begun == diary.ended
    begun, told = Counter(diary.begun), set(diary.told) & set(diary.begun)
    try:
        assert_free(journal, "one")
    except UnknownRun:
        assert not begun
    else:
        assert told <= complete_in(journal, "one")
    run = await plan.run()
    assert ended(run) == calm[0]
    assert diary.begun == diary.ended
    redone = {name for name in told if diary.begun[name] > begun[name]}
    assert redone <= {"connection"}, "a resource is set up anew, and nothing else that was told"
    assert set(diary.told) & set(calm[1]) == set(calm[2]) & set(calm[1])
    assert_free(journal, "one")


@pytest.mark.parametrize(("way", "backend"), WAYS)
@pytest.mark.parametrize("make", JOURNALS)
@pytest.mark.parametrize("add", PLANS)
def test_a_run_that_is_cancelled_after_any_step_is_free_and_goes_on(
    add: Add, make: Callable[[], MemoryJournal], way: Way, backend: Backend
) -> None:
    calm = run_virtual(calm_run, add, backend=backend)
    total = run_virtual(one_run, add, way, make, 0, calm, backend=backend)

    assert total > 5
    for at in range(1 + len(add.__name__) % STRIDE, total + 2, STRIDE):
        try:
            _ = run_virtual(one_run, add, way, make, at, calm, backend=backend)
        except BaseException as error:
            error.add_note(f"cancelled after step {at} of {total}")
            raise


# What a body, a subscriber or the clock does to a run


async def with_deadline(plan: Plan[Any, Any], diary: Diary, at: int) -> bool:
    """Let the run reach its deadline. Returns whether it was broken off."""
    try:
        _ = await plan.options(deadline=at / 4).run()
    except DeadlineExceeded:
        return True
    return False


def dies_with(kind: type[BaseException], *, at_end: bool) -> Any:
    async def dies(plan: Plan[Any, Any], diary: Diary, at: int) -> bool:
        diary.dies = (kind, at, at_end)
        try:
            _ = await plan.run()
        except kind:
            diary.dies = None
            return True
        finally:
            assert asyncio_is_calm()
        return False

    return dies


def asyncio_is_calm() -> bool:
    """Nobody else was cancelled in the place of the run."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return True
    return task is None or task.cancelling() == 0


async def by_subscriber(plan: Plan[Any, Any], diary: Diary, at: int) -> bool:
    """Have a subscriber raise what ends programs, at one of its events."""
    count = 0

    def hear(_event: object) -> None:
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt

    try:
        _ = await plan.options(subscribers=[*plan.settings.subscribers, hear]).run()
    except KeyboardInterrupt:
        return True
    return count >= at


ENDS: list[Any] = [
    pytest.param(with_deadline, id="deadline"),
    pytest.param(dies_with(KeyboardInterrupt, at_end=False), id="interrupt at a begin"),
    pytest.param(dies_with(KeyboardInterrupt, at_end=True), id="interrupt at an end"),
    pytest.param(dies_with(SystemExit, at_end=True), id="exit at an end"),
    pytest.param(by_subscriber, id="interrupt by a subscriber"),
]


async def one_end(add: Add, end: Any, make: Callable[[], MemoryJournal], at: int, calm: Any) -> bool:
    diary, journal, before = Diary(), make(), running_tasks()
    plan = planned(add, diary, journal)
    broken_off = await end(plan, diary, at)
    await anyio.sleep(10)  # virtual seconds, for what a late journal has set itself
    await assert_settled(before)
    if end is with_deadline and add is add_undoable and broken_off:
        return await _stays_undone(plan, diary, journal)
    await assert_goes_on(plan, diary, journal, calm)
    return bool(broken_off)


async def _stays_undone(plan: Plan[Any, Any], diary: Diary, journal: MemoryJournal) -> bool:
    """A run that is undone at its deadline is never continued."""
    assert_free(journal, "one")
    begun = Counter(diary.begun)
    assert begun["undo"] == len(complete_in(journal, "one"))
    with pytest.raises(DeadlineExceeded):
        _ = await plan.run()
    assert diary.begun == begun
    return True


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("make", JOURNALS)
@pytest.mark.parametrize("add", PLANS)
def test_a_run_that_is_ended_from_inside_is_free_and_goes_on(
    add: Add, make: Callable[[], MemoryJournal], end: Any, backend: Backend
) -> None:
    calm = run_virtual(calm_run, add, backend=backend)

    for at in range(1, 200):
        try:
            if not run_virtual(one_end, add, end, make, at, calm, backend=backend):
                break
        except BaseException as error:
            error.add_note(f"ended at {at}")
            raise
    else:
        pytest.fail("it never came to its end")
    assert at > 1
