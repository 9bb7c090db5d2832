"""P6: a timeout on a plain function is refused, unless its thread may be left behind; that is counted and capped."""

import threading
from collections.abc import Generator
from typing import Any

import anyio
import pytest

from fusynk import Failed, Graph, compile_plan, errors, run_of
from fusynk.executors.threads import ThreadExecutor


@pytest.fixture
def release() -> Generator[threading.Event]:
    """Lets go of the threads of a test, at its end at the latest."""
    event = threading.Event()
    yield event
    event.set()


async def until_none_is_abandoned(executor: ThreadExecutor) -> None:
    with anyio.fail_after(10):
        while executor.abandoned:  # noqa: ASYNC110 (threads count themselves)
            await anyio.sleep(0.001)


@pytest.mark.parametrize("origin", ["layer", "plan", "options"])
@pytest.mark.parametrize("run_in", ["auto", "thread", "inline"])
def test_p06_a_timeout_on_a_plain_function_is_refused(origin: str, run_in: Any) -> None:
    graph, called = Graph("unstoppable"), list[int]()

    def blocking() -> None:
        called.append(1)

    options: dict[str, Any] = {"timeout": 5} if origin == "layer" else {}
    graph.add_layer(blocking, run_in=run_in, **options)

    with pytest.raises(errors.InvalidPlan) as caught:
        if origin == "options":
            compile_plan(graph).options(timeout=5)
        else:
            compile_plan(graph, timeout=5 if origin == "plan" else None)

    (fault,) = caught.value.exceptions
    assert isinstance(fault, errors.UnstoppableTimeout)
    assert fault.unit == "blocking"
    assert "abandon_on_timeout=True" in str(fault)
    assert called == []


def test_p06_a_plain_function_may_refuse_the_plan_s_timeout() -> None:
    graph = Graph("own word")

    @graph.layer(timeout=None)
    def blocking() -> str:
        return "done"

    assert compile_plan(blocking, timeout=5).run_sync().result == "done"


async def test_p06_an_abandoned_thread_is_left_behind_at_once_and_counted(release: threading.Event) -> None:
    graph, executor, seen = Graph("abandoned"), ThreadExecutor(), list[str]()

    @graph.layer(timeout=0.05, abandon_on_timeout=True)
    def blocking() -> str:
        release.wait(60)
        seen.append("thread ends")
        return "late"

    with pytest.raises(errors.LayerTimeout) as caught:
        await compile_plan(blocking, executor=executor).run()

    assert (seen, executor.abandoned) == ([], 1)
    release.set()
    await until_none_is_abandoned(executor)
    assert seen == ["thread ends"]
    run = run_of(caught.value)
    assert run is not None
    assert run.outcome(blocking) == Failed(caught.value)
    assert run.abandoned == ("blocking",)


async def test_p06_the_slot_of_an_abandoned_thread_is_free_again(release: threading.Event) -> None:
    graph, alive = Graph("slot"), list[bool]()

    @graph.layer(timeout=0.05, abandon_on_timeout=True, on_error="continue")
    def blocking() -> None:
        release.wait(60)

    @graph.layer(depends_on=blocking)
    async def after() -> str:
        alive.append(not release.is_set())
        return "went on"

    run = await compile_plan(after, concurrency=1).run()

    assert (run.result, alive) == ("went on", [True])


async def test_p06_an_abandoned_body_is_not_tried_again_while_it_is_alive(release: threading.Event) -> None:
    graph, live, peaks = Graph("no second body"), [0], list[int]()
    lock = threading.Lock()

    @graph.layer(timeout=0.05, abandon_on_timeout=True, retries=3, on_error="continue")
    def blocking() -> None:
        with lock:
            live[0] += 1
            peaks.append(live[0])
        release.wait(60)
        with lock:
            live[0] -= 1

    run = await compile_plan(blocking).run()

    assert isinstance(run.failures["blocking"], errors.LayerTimeout)
    assert peaks == [1]


async def test_p06_abandoned_threads_count_against_the_run_s_threads(release: threading.Event) -> None:
    graph, called = Graph("capped"), list[str]()

    def blocking() -> None:
        release.wait(60)

    def last() -> None:
        called.append("last")

    options: dict[str, Any] = {"timeout": 0.05, "abandon_on_timeout": True, "on_error": "continue"}
    held = [graph.add_layer(blocking, name=f"blocking{number}", **options) for number in range(2)]
    graph.add_layer(last, depends_on=held, on_error="continue")

    run = await compile_plan(graph, threads=2).run()

    assert called == []
    error = run.failures["last"]
    assert isinstance(error, errors.ThreadsExhausted)
    assert "'last'" in str(error)
    assert "threads=" in str(error)


async def test_p06_a_thread_that_ended_makes_room_again(release: threading.Event) -> None:
    graph, executor = Graph("room"), ThreadExecutor()

    @graph.layer(timeout=0.05, abandon_on_timeout=True, on_error="continue")
    def blocking() -> None:
        release.wait(60)

    @graph.layer(depends_on=blocking)
    async def let_go() -> None:
        release.set()
        await until_none_is_abandoned(executor)

    @graph.layer(depends_on=let_go)
    def last() -> str:
        return "ran"

    run = await compile_plan(last, threads=1, executor=executor).run()

    assert run.result == "ran"


async def test_p06_a_function_that_is_quick_enough_is_not_disturbed() -> None:
    graph = Graph("quick")

    @graph.layer(timeout=30, abandon_on_timeout=True)
    def quick() -> str:
        return "done"

    assert (await compile_plan(quick).run()).result == "done"


async def test_p06_a_thread_that_is_not_to_be_left_behind_is_awaited_and_named(release: threading.Event) -> None:
    graph, seen = Graph("named"), list[str]()

    @graph.layer
    def blocking() -> None:
        release.wait(60)
        seen.append("thread ends")

    @graph.layer
    async def fail() -> None:
        await anyio.sleep(0.01)
        threading.Timer(0.2, release.set).start()
        raise ValueError

    with pytest.raises(ValueError) as caught:  # noqa: PT011 (there is no other)
        await compile_plan(graph, grace=0.02).run()

    run = run_of(caught.value)
    assert run is not None
    assert (seen, run.stuck, run.abandoned) == (["thread ends"], ("blocking",), ())
