"""P13: a subscriber that raises is counted and logged; the run, its results and other subscribers do not feel it."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger

from fusynk import Cancelled, Graph, Plan, Run, Succeeded, compile_plan, run_of
from fusynk.events import Event, RunEnded, RunStarted, StepCancelled, StepEvent, StepSucceeded, Subscriber
from fusynk.handle import RunHandle
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.model.scenes import Scene, Stage, play, scenes
from tests.model.telling import broken_laws
from tests.observing import assert_settled, busy_threads, heard, running_tasks

DRAWN = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FATAL = [SystemExit, GeneratorExit, asyncio.CancelledError, type("Own", (BaseException,), {})]


class Complaint(Exception):
    """What a subscriber raises."""


def chain(steps: int, *, suspends: bool = False, **options: Any) -> Plan[Any, Any]:
    """A chain of steps `s0`, `s1` and so on. Where they do not suspend, one slot runs them all."""
    graph = Graph("chain")

    async def body() -> int:
        if suspends:
            await anyio.sleep(1)
        return threading.get_ident()

    for number in range(steps):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 1}"] if number else [])
    return compile_plan(graph, **options)


def raises(error: type[BaseException]) -> Callable[[Event], None]:
    def complain(_event: Event) -> None:
        raise error

    return complain


def nothing(_handle: RunHandle[Any]) -> None: ...


# An ordinary error


@DRAWN
@given(scene=scenes(), wrong=st.integers(0, 30), first=st.booleans())
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_the_run_and_the_others_do_not_feel_it(backend_name: Backend, scene: Scene, wrong: int, first: bool) -> None:
    told, calm = list[Event](), list[Event]()

    def complain(event: Event) -> None:
        if event.sequence > wrong:
            raise Complaint

    ears = [complain, told.append] if first else [told.append, complain]
    plan = Stage(scene).plan.options(subscribers=ears)
    run = run_virtual(play, plan, scene, nothing, backend=backend_name)
    undisturbed = Stage(scene).plan.options(subscribers=[calm.append])
    run_virtual(play, undisturbed, scene, nothing, backend=backend_name)

    assert not broken_laws(told, run, plan)
    assert told == calm
    failures = {f"{complain.__qualname__}": len(told) - wrong} if len(told) > wrong else {}
    assert run.subscriber_failures == failures


@pytest.mark.parametrize("suspends", [False, True])
def test_alone_it_is_told_every_event_all_the_same(suspends: bool, backend: Backend) -> None:
    told = list[Event]()

    def complain(event: Event) -> None:
        told.append(event)
        raise Complaint

    plan = chain(20, suspends=suspends, subscribers=[complain])
    run = simulate(plan, backend=backend).run

    assert run.ok
    assert not broken_laws(told, run, plan)
    assert run.subscriber_failures == {complain.__qualname__: 42}


def test_it_is_logged_at_the_first_the_tenth_and_the_hundredth_time(backend: Backend) -> None:
    def complain(_event: Event) -> None:
        message = "the card's number"
        raise Complaint(message)

    with heard() as records:
        run = simulate(chain(60, subscribers=[complain]), backend=backend).run

    assert run.subscriber_failures == {complain.__qualname__: 122}
    assert [record["message"] for record in records] == [
        f"A subscriber raised Complaint ({count} so far); the run goes on" for count in (1, 10, 100)
    ]
    assert {record["extra"]["subscriber"] for record in records} == {complain.__qualname__}
    assert "card" not in str(records)


def test_each_subscriber_is_logged_by_itself(backend: Backend) -> None:
    with heard() as records:
        simulate(chain(3, subscribers=[raises(Complaint), raises(Complaint)]), backend=backend)

    assert len(records) == 2


def test_a_sink_of_the_log_that_raises_does_not_hurt_the_run_either(backend: Backend) -> None:
    def refuse(_message: object) -> None:
        raise Complaint

    sink = logger.add(refuse, catch=False, level=0)
    logger.enable("fusynk")
    try:
        subscribers = [raises(Complaint), raises(SystemExit)]
        run = simulate(chain(3, subscribers=subscribers), backend=backend).run
    finally:
        logger.disable("fusynk")
        logger.remove(sink)

    assert run.ok
    assert list(run.subscriber_failures.values()) == [8 + 1]


class Listener:
    def __call__(self, event: Event) -> None:
        raise Complaint

    def listen(self, event: Event) -> None:
        raise Complaint


@pytest.mark.parametrize(
    ("subscriber", "name"),
    [
        (raises(Complaint), "raises.<locals>.complain"),
        (Listener(), "Listener"),
        (Listener().listen, "Listener.listen"),
        (functools.partial(Listener().listen), "partial"),
        (Subscriber(Listener().listen, threaded=False), "Listener.listen"),
    ],
    ids=["function", "object", "method", "partial", "subscriber"],
)
def test_failures_are_counted_by_the_name_of_the_function(subscriber: Any, name: str) -> None:
    assert simulate(chain(1, subscribers=[subscriber])).run.subscriber_failures == {name: 4}


def test_those_that_share_a_name_are_counted_together(backend: Backend) -> None:
    subscribers = [raises(Complaint), raises(Complaint), list[Event]().append]
    run = simulate(chain(1, subscribers=subscribers), backend=backend).run

    assert run.subscriber_failures == {"raises.<locals>.complain": 8}


def test_a_run_without_failures_says_so() -> None:
    assert simulate(chain(1)).run.subscriber_failures == {}
    assert simulate(chain(1, subscribers=[list[Event]().append])).run.subscriber_failures == {}


# What is no ordinary error


@pytest.mark.parametrize("kind", FATAL)
@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("place", [1, 2, 3, 8])
def test_one_that_raises_what_is_no_ordinary_error_is_told_no_more(
    place: int, others: int, suspends: bool, kind: type[BaseException], backend: Backend
) -> None:
    told, rest = list[Event](), list[Event]()

    def quit_then(event: Event) -> None:
        told.append(event)
        if event.sequence == place:
            raise kind

    plan = chain(3, suspends=suspends, subscribers=[quit_then, rest.append][: 1 + others])
    with heard() as records:
        run = simulate(plan, backend=backend).run

    assert run.ok
    assert run.subscriber_failures == {quit_then.__qualname__: 1}
    assert [event.sequence for event in told] == list(range(1, place + 1))
    assert len(rest) == 8 * others
    assert [record["message"] for record in records] == [
        f"A subscriber raised {kind.__name__} (1 so far); the run goes on",
        f"A subscriber raised {kind.__name__} and is told no more",
    ]


def test_an_iterator_that_comes_after_it_knows_how_many_events_there_were(backend: Backend) -> None:
    handles = list[RunHandle[Any]]()

    async def main() -> list[Event]:
        plan = chain(3, suspends=True, subscribers=[raises(SystemExit)])
        async with plan.start() as handle:
            handles.append(handle)
            await anyio.sleep(1.5)
            return [event async for event in handle.events()]

    gap, *rest = run_virtual(main, backend=backend)

    assert (gap.sequence, getattr(gap, "count", None)) == (4, 4)
    assert [event.sequence for event in rest] == [5, 6, 7, 8]


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("place", range(1, 9))
def test_a_keyboard_interrupt_ends_the_run_bare(place: int, others: int, suspends: bool, backend: Backend) -> None:
    told = list[Event]()

    def interrupt(event: Event) -> None:
        if event.sequence == place:
            raise KeyboardInterrupt

    plan = chain(3, suspends=suspends, subscribers=[interrupt, told.append][: 1 + others])

    async def main() -> None:
        before = running_tasks()
        with pytest.raises(KeyboardInterrupt) as caught:
            await plan.run()
        await assert_settled(before)
        run = run_of(caught.value)
        assert run is not None
        _assert_interrupted(run, place, suspends=suspends)
        if told:
            assert not broken_laws(told, run, plan)

    run_virtual(main, backend=backend)


def _assert_interrupted(run: Run[Any], place: int, *, suspends: bool) -> None:
    """Nothing starts after an interrupt at that event. A body that is starting ends, unless it waits for something."""
    if place == 8:
        assert run.ok
        return
    kept = place // 2 - (suspends and place % 2 == 0)
    expected = [Succeeded] * kept + [Cancelled] * (3 - kept)
    assert [type(outcome) for outcome in run.outcomes.values()] == expected
    assert {outcome.by for outcome in run.outcomes.values() if isinstance(outcome, Cancelled)} <= {"signal"}


def test_an_interrupt_undoes_what_was_done(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    @graph.layer(compensate=diary.append)
    async def first() -> str:
        return "first"

    @graph.layer(depends_on=first)
    async def second() -> None:
        await anyio.sleep(100)

    def interrupt(event: Event) -> None:
        if isinstance(event, StepSucceeded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(compile_plan(graph, subscribers=[interrupt]), backend=backend)

    assert diary == ["first"]


def test_an_interrupt_reaches_whoever_waits_at_a_handle(backend: Backend) -> None:
    async def main() -> None:
        async with chain(3, suspends=True, subscribers=[raises(KeyboardInterrupt)]).start() as handle:
            with pytest.raises(KeyboardInterrupt):
                await handle.wait()

    run_virtual(main, backend=backend)


# In a thread


@pytest.mark.parametrize("suspends", [False, True])
def test_one_in_a_thread_that_raises_is_counted_and_told_every_event(suspends: bool, backend: Backend) -> None:
    told = list[Event]()

    def complain(event: Event) -> None:
        told.append(event)
        raise Complaint

    plan = chain(4, subscribers=[Subscriber(complain)])
    with heard() as records:
        run = anyio.run(plan.run, backend=backend)

    assert run.subscriber_failures == {complain.__qualname__: 10}
    assert not broken_laws(told, run, plan, virtual=False)
    assert len(records) == 2
    assert not busy_threads("fusynk-subscriber")


@pytest.mark.parametrize("kind", FATAL)
def test_one_in_a_thread_that_raises_what_is_no_ordinary_error_is_told_no_more(
    kind: type[BaseException], backend: Backend
) -> None:
    told = list[Event]()

    def give_up(event: Event) -> None:
        told.append(event)
        raise kind

    run = anyio.run(chain(4, subscribers=[Subscriber(give_up)]).run, backend=backend)

    assert run.ok
    assert len(told) == 1
    assert run.subscriber_failures == {give_up.__qualname__: 1}
    assert not busy_threads("fusynk-subscriber")


def test_an_interrupt_in_a_thread_ends_the_run_bare(backend: Backend) -> None:
    graph, interrupted = Graph("interrupted"), threading.Event()

    @graph.layer
    async def waits() -> None:
        await anyio.sleep(60)

    def interrupt(event: Event) -> None:
        if isinstance(event, StepEvent):
            interrupted.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        anyio.run(compile_plan(graph, subscribers=[Subscriber(interrupt)]).run, backend=backend)

    assert interrupted.is_set()
    run = run_of(caught.value)
    assert run is not None
    assert run.outcome("waits") == Cancelled("signal")
    assert not busy_threads("fusynk-subscriber")


def test_one_that_gets_no_thread_is_counted_and_left_out(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    told, start = list[Event](), threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "fusynk-subscriber":
            message = "can't start new thread"
            raise RuntimeError(message)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    subscribers = [Subscriber(told.append), told.append]
    run = anyio.run(chain(2, subscribers=subscribers).run, backend=backend)

    assert run.ok
    assert [type(event) for event in (told[0], told[-1])] == [RunStarted, RunEnded]
    assert len(told) == 6
    assert run.subscriber_failures == {"list.append": 1}


# Where events are told


@DRAWN
@given(scene=scenes())
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_subscriber_that_raises_at_a_cancellation_does_not_swallow_it(backend_name: Backend, scene: Scene) -> None:
    def complain(event: Event) -> None:
        if isinstance(event, (StepCancelled, RunEnded)):
            raise Complaint

    async def main() -> None:
        before = running_tasks()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await Stage(scene).plan.options(subscribers=[complain]).run()
        assert scope.cancelled_caught
        await assert_settled(before)

    run_virtual(main, backend=backend_name)
