"""P14: whoever listens slowly has a bounded buffer; what did not fit is counted, and the run is never held up."""

import asyncio
import gc
import os
import threading
import tracemalloc
import weakref
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import Graph, Plan, compile_plan, current_step, milestone
from fusynk._runtime import buffers as buffers_module
from fusynk._runtime.buffers import Buffer, EventStream
from fusynk.events import (
    AttemptStarted,
    Event,
    EventsDropped,
    MilestoneReached,
    RunEnded,
    RunStarted,
    StepSucceeded,
    Subscriber,
)
from fusynk.handle import RunHandle
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import busy_threads, heard

LONG = bool(os.environ.get("FUSYNK_LONG"))
pytestmark = pytest.mark.timeout(0 if LONG else 120)


def flood(milestones: int, *, turns: int = 1, **options: Any) -> Plan[Any, Any]:
    """A plan of one step that reports many milestones, all at once or in several turns of the loop."""
    graph = Graph("flood")

    @graph.layer
    async def pour() -> None:
        for _ in range(turns):
            for number in range(milestones // turns):
                milestone("drop", number=number)
            await anyio.sleep(1)

    return compile_plan(graph, **options)


def flat_plan(steps: int) -> Plan[Any, Any]:
    graph = Graph("flat")

    async def body() -> None: ...

    for number in range(steps):
        graph.add_layer(body, name=f"s{number}")
    return compile_plan(graph)


async def read(stream: EventStream) -> list[Event]:
    return [event async for event in stream]


def assert_complete(told: list[Event], total: int) -> int:
    """Every event is there or counted as missing, the start and the end are there. Returns how many are missing."""
    assert isinstance(told[0], RunStarted)
    assert isinstance(told[-1], RunEnded)
    return assert_no_unexplained_hole(told, total)


def assert_no_unexplained_hole(told: list[Event], total: int) -> int:
    last, missing = 0, 0
    for event in told:
        if isinstance(event, EventsDropped):
            assert event.sequence == last + event.count
            missing += event.count
        else:
            assert event.sequence == last + 1
        last = event.sequence
    assert last == total
    return missing


# The buffer by itself


def started(number: int) -> RunStarted:
    return RunStarted(number, float(number), "run", (), None)


def ended(number: int) -> RunEnded:
    return RunEnded(number, float(number), "run", "succeeded", None)


def step(number: int) -> Event:
    return AttemptStarted(number, float(number), "run", "step")


def drained(buffer: Buffer) -> list[Event]:
    taken = list[Event]()
    while (event := buffer.take()) is not None:
        taken.append(event)
    return taken


def test_a_buffer_gives_back_what_it_was_given() -> None:
    events = [started(1), step(2), step(3), ended(4)]
    buffer = Buffer(2)
    for event in events:
        buffer.put(event)
    assert (len(buffer), drained(buffer), len(buffer)) == (4, events, 0)


def test_a_full_buffer_drops_the_oldest_step_events_and_says_how_many() -> None:
    buffer = Buffer(2)
    for event in [started(1), *map(step, range(2, 8)), ended(8)]:
        buffer.put(event)
    assert drained(buffer) == [started(1), EventsDropped(5, 6.0, "run", 4), step(6), step(7), ended(8)]


def test_each_gap_is_told_once_where_it_is() -> None:
    buffer = Buffer(1)
    for number in (1, 2, 3):
        buffer.put(step(number))
    taken = [buffer.take(), buffer.take()]
    for number in (4, 5):
        buffer.put(step(number))
    assert [*taken, *drained(buffer)] == [
        EventsDropped(2, 3.0, "run", 2),
        step(3),
        EventsDropped(4, 5.0, "run", 1),
        step(5),
    ]


def test_what_was_missed_before_is_told_with_the_first_event() -> None:
    buffer = Buffer(5, missed=7)
    assert buffer.take() is None
    buffer.put(ended(8))
    assert drained(buffer) == [EventsDropped(7, 8.0, "run", 7), ended(8)]


@given(size=st.integers(1, 5), script=st.lists(st.booleans(), max_size=60), missed=st.integers(0, 3))
def test_a_buffer_is_never_over_its_size_and_loses_nothing_unsaid(size: int, script: list[bool], missed: int) -> None:
    buffer, taken = Buffer(size, missed), list[Event]()
    number = missed
    if not missed:
        number = 1
        buffer.put(started(1))
    for puts in script:
        if puts:
            number += 1
            buffer.put(step(number))
        elif (event := buffer.take()) is not None:
            taken.append(event)
        assert len(buffer) <= size + 1
    buffer.put(ended(number + 1))
    kept = len(buffer)
    taken += drained(buffer)

    assert assert_no_unexplained_hole(taken, number + 1) >= missed
    assert kept <= size + 2
    assert isinstance(taken[-1], RunEnded)
    assert missed or isinstance(taken[0], RunStarted)


# Iterators


def test_an_iterator_holds_a_thousand_and_twenty_four_step_events(backend: Backend) -> None:
    async def main(milestones: int) -> list[Event]:
        async with flood(milestones).start() as handle:
            stream = handle.events()
        return await read(stream)

    # Beside them there are the attempt's start, the step's end, and the start and the end of the run.
    assert assert_complete(run_virtual(main, 1022, backend=backend), 1026) == 0
    told = run_virtual(main, 5000, backend=backend)
    assert assert_complete(told, 5004) == 5002 - 1024
    assert [type(event) for event in told[:2]] == [RunStarted, EventsDropped]
    assert len(told) == 1024 + 3


@pytest.mark.parametrize("size", [1, 2, 10, 100_000])
def test_a_buffer_may_be_smaller_or_larger(size: int, backend: Backend) -> None:
    async def main() -> list[Event]:
        async with flood(500).start() as handle:
            stream = handle.events(buffer=size)
        return await read(stream)

    told = run_virtual(main, backend=backend)

    assert assert_complete(told, 504) == max(0, 502 - size)


def test_a_slow_reader_is_told_each_gap(backend: Backend) -> None:
    async def main() -> list[Event]:
        told = list[Event]()
        async with flood(500, turns=10).start() as handle:
            async for event in handle.events(buffer=20):
                told.append(event)
                if isinstance(event, EventsDropped):
                    await anyio.sleep(1.5)
        return told

    told = run_virtual(main, backend=backend)

    gaps = [event.count for event in told if isinstance(event, EventsDropped)]
    assert len(gaps) > 3
    assert assert_complete(told, 504) == sum(gaps)


def test_a_reader_that_keeps_up_misses_nothing(backend: Backend) -> None:
    async def main() -> list[Event]:
        async with flood(500, turns=50).start() as handle:
            return await read(handle.events(buffer=15))

    assert assert_complete(run_virtual(main, backend=backend), 504) == 0


def test_readers_do_not_feel_each_other(backend: Backend) -> None:
    async def main() -> tuple[list[Event], list[Event], list[Event]]:
        eager, streams = list[Event](), list[EventStream]()

        async def keep_up(stream: EventStream) -> None:
            eager.extend(await read(stream))

        async with flood(500, turns=50).start() as handle, anyio.create_task_group() as group:
            streams += [handle.events(buffer=3), handle.events(buffer=7)]
            group.start_soon(keep_up, handle.events(buffer=15))
            with anyio.move_on_after(5):
                await read(streams[1])
        return await read(streams[0]), eager, await read(streams[1])

    idle, eager, quitter = run_virtual(main, backend=backend)

    assert assert_complete(idle, 504) == 502 - 3
    assert assert_complete(eager, 504) == 0
    assert isinstance(quitter[0], EventsDropped)
    assert isinstance(quitter[-1], RunEnded)


def test_one_that_stops_reading_can_go_on_later(backend: Backend) -> None:
    async def main() -> list[Event]:
        told = list[Event]()
        async with flood(500, turns=10).start() as handle:
            stream = handle.events(buffer=5)
            async for event in stream:
                told.append(event)
                if len(told) == 3:
                    break
            assert (await handle.wait()).ok
        return [*told, *await read(stream)]

    assert assert_complete(run_virtual(main, backend=backend), 504) == 502 - 6


def test_a_reader_that_is_cancelled_loses_nothing(backend: Backend) -> None:
    async def main() -> list[Event]:
        told = list[Event]()

        async def take(stream: EventStream) -> None:
            async for event in stream:
                told.append(event)

        async with flood(500, turns=100).start() as handle:
            stream = handle.events()
            for _ in range(150):
                with anyio.move_on_after(0.7):
                    await take(stream)
        return told

    assert assert_complete(run_virtual(main, backend=backend), 504) == 0


def test_two_tasks_may_share_one_iterator(backend: Backend) -> None:
    async def main() -> list[Event]:
        told = list[Event]()

        async def take(stream: EventStream) -> None:
            async for event in stream:
                told.append(event)
                await anyio.lowlevel.checkpoint()

        async with flood(60, turns=20).start() as handle, anyio.create_task_group() as group:
            stream = handle.events()
            group.start_soon(take, stream)
            group.start_soon(take, stream)
        return told

    told = run_virtual(main, backend=backend)

    assert sorted(event.sequence for event in told) == list(range(1, 65))


def test_one_that_is_closed_is_told_no_more(backend: Backend) -> None:
    async def main() -> tuple[int, list[Event], list[Event]]:
        async with flood(500, turns=10).start() as handle:
            other = handle.events(buffer=1000)
            async with aclosing(handle.events()) as stream:
                async for _ in stream:
                    break
                await anyio.sleep(2.5)
            kept = len(stream._buffer)
            await handle.wait()
            assert len(stream._buffer) == kept
            await stream.aclose()
        return kept, await read(stream), await read(other)

    kept, rest, all_events = run_virtual(main, backend=backend)

    assert kept == len(rest) == 151
    assert rest == all_events[1:152]


def test_one_made_while_the_run_goes_on_begins_with_what_it_missed(backend: Backend) -> None:
    async def main() -> list[Event]:
        async with flood(100, turns=10).start() as handle:
            await anyio.sleep(3.5)
            return await read(handle.events())

    told = run_virtual(main, backend=backend)

    assert told[0] == EventsDropped(42, told[1].time, told[0].run_id, 42)
    assert assert_no_unexplained_hole(told, 104) == 42


def test_one_made_by_a_body_in_the_middle_of_a_slot_s_work_misses_nothing_after_it(backend: Backend) -> None:
    graph, handles, streams = Graph("inline"), list[RunHandle[Any]](), list[EventStream]()

    async def body() -> None:
        if current_step().name == "s3":
            streams.append(handles[0].events())

    for number in range(8):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 1}"] if number else [])

    async def main() -> list[Event]:
        async with compile_plan(graph).start() as handle:
            handles.append(handle)
            await handle.wait()
        return await read(streams[0])

    gap, *told = run_virtual(main, backend=backend)

    assert isinstance(gap, EventsDropped)
    assert gap.count == 8  # the run's start, three steps, and the start of the fourth
    assert [(type(event).__name__, getattr(event, "step", "")) for event in told] == [
        ("StepSucceeded", "s3"),
        *[(kind, f"s{number}") for number in range(4, 8) for kind in ("AttemptStarted", "StepSucceeded")],
        ("RunEnded", ""),
    ]


def test_one_made_after_the_run_has_the_end_and_how_much_it_missed(backend: Backend) -> None:
    async def main() -> list[list[Event]]:
        async with flood(10).start() as handle:
            await handle.wait()
            inside = await read(handle.events())
        await anyio.sleep(5)
        return [inside, await read(handle.events()), await read(handle.events(buffer=1))]

    for told in run_virtual(main, backend=backend):
        gap, end = told
        assert gap == EventsDropped(13, end.time, end.run_id, 13)
        assert isinstance(end, RunEnded)
        assert (end.sequence, end.status, end.time) == (14, "succeeded", 1.0)


def test_an_iterator_ends_when_the_run_is_cancelled_around_it(backend: Backend) -> None:
    async def main() -> list[Event]:
        streams, told = list[EventStream](), list[Event]()

        async def take() -> None:
            told.extend(await read(streams[0]))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with flood(100, turns=10).start() as handle:
                    streams.append(handle.events())
                    group.start_soon(take)
                    await anyio.sleep(2.5)
                    scope.cancel()
        return told

    told = run_virtual(main, backend=backend)

    assert isinstance(told[-1], RunEnded)
    assert (told[-1].status, told[-1].by) == ("cancelled", "caller")


# What is left of them


def test_a_finished_iterator_keeps_nothing_of_its_run(backend: Backend) -> None:
    async def main() -> tuple[weakref.ref[Any], weakref.ref[Any], list[EventStream]]:
        async with flood(10).start() as handle:
            streams = [handle.events(), handle.events(), handle.events()]
            await anyio.lowlevel.checkpoint()
            await streams[1].aclose()
            await handle.wait()
        streams.append(handle.events())
        runner = handle._runner
        assert runner is not None
        return weakref.ref(runner), weakref.ref(runner.bus), streams

    runner, bus, streams = run_virtual(main, backend=backend)
    gc.collect()

    assert (runner(), bus()) == (None, None)
    assert len(streams[0]._buffer) == 14


def test_a_finished_run_keeps_no_iterator(backend: Backend) -> None:
    async def main() -> tuple[RunHandle[Any], weakref.ref[Any]]:
        async with flood(10).start() as handle:
            stream = weakref.ref(handle.events())
        return handle, stream

    handle, stream = run_virtual(main, backend=backend)
    gc.collect()

    assert stream() is None
    assert handle.snapshot() == {"pour": "succeeded"}


def test_no_thread_outlives_its_run(backend: Backend) -> None:
    plan = flood(100, subscribers=[Subscriber(list[Event]().append), Subscriber(list[Event]().append)])

    async def main() -> None:
        for _ in range(3):
            await plan.run()
            assert not busy_threads("fusynk-subscriber")

    anyio.run(main, backend=backend)


def test_a_run_that_never_begins_starts_no_thread(backend: Backend) -> None:
    plan = flood(1, subscribers=[Subscriber(list[Event]().append)])

    async def main() -> None:
        plan._new_runner([])
        assert not busy_threads("fusynk-subscriber")

    anyio.run(main, backend=backend)


# Threads


def waiting_for(gate: threading.Event, told: list[Event], size: int = 1024) -> Subscriber:
    """A subscriber that takes its first event and then waits."""

    def take(event: Event) -> None:
        told.append(event)
        assert gate.wait(30)

    return Subscriber(take, buffer=size)


@pytest.mark.parametrize("size", [1, 10, 1024])
def test_one_that_blocks_in_a_thread_does_not_hold_up_the_run(size: int, backend: Backend) -> None:
    graph, gate, told = Graph("blocked"), threading.Event(), list[Event]()

    @graph.layer
    async def pour() -> None:
        for number in range(5000):
            milestone("drop", number=number)

    @graph.layer(depends_on=pour)
    async def release() -> None:
        gate.set()  # what the subscriber waits for: were the run to wait for it, nothing would go on

    plan = compile_plan(graph, subscribers=[waiting_for(gate, told, size)])
    run = anyio.run(plan.run, backend=backend)

    assert run.ok
    assert assert_complete(told, 5006) > 5006 - size - 100
    assert run.subscriber_failures == {}


def test_several_that_block_are_left_behind_after_one_grace_and_named(backend: Backend) -> None:
    gate, told = threading.Event(), list[Event]()
    blocked = [waiting_for(gate, list[Event]()) for _ in range(3)]
    plan = flood(10, grace=7, subscribers=[*blocked, told.append])

    async def main() -> float:
        begun = anyio.current_time()
        await plan.run()
        return anyio.current_time() - begun

    with heard() as records:
        seconds = run_virtual(main, backend=backend)
    gate.set()
    for thread in busy_threads("fusynk-subscriber"):
        thread.join(30)

    assert seconds == 1 + 7
    left = [record for record in records if "left behind" in record["message"]]
    assert [record["extra"]["subscriber"] for record in left] == ["waiting_for.<locals>.take"] * 3
    assert assert_complete(told, 14) == 0


async def cancelled_by_scope(plan: Plan[Any, Any]) -> None:
    with anyio.CancelScope(deadline=anyio.current_time() + 0.1) as scope:
        await plan.run()
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def cancelled_natively(plan: Plan[Any, Any]) -> None:
    task = asyncio.ensure_future(plan.run())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("cancelled", "backend_name"),
    [(cancelled_by_scope, "asyncio"), (cancelled_by_scope, "trio"), (cancelled_natively, "asyncio")],
    ids=["scope-asyncio", "scope-trio", "native-asyncio"],
)
def test_a_cancellation_while_threads_are_waited_for_comes_through_after_them(
    cancelled: Callable[[Plan[Any, Any]], Awaitable[None]], backend_name: str
) -> None:
    gate, told, order = threading.Event(), list[Event](), list[str]()
    plan = flat_plan(1).options(subscribers=[waiting_for(gate, told), Subscriber(told.append)])

    def release() -> None:
        order.append("released")
        gate.set()

    async def main() -> None:
        await cancelled(plan)
        order.append("cancelled")
        assert not busy_threads("fusynk-subscriber")

    timer = threading.Timer(0.5, release)
    timer.start()
    anyio.run(main, backend=backend_name)
    timer.join()

    assert order == ["released", "cancelled"]


# Floods


def test_a_million_events_through_a_buffer_leave_it_bounded() -> None:
    buffer = Buffer(1024)
    event = step(1)
    for _ in range(1_000_000):
        buffer.put(event)
    assert len(buffer) == 1024
    assert drained(buffer)[0] == EventsDropped(0, 1.0, "run", 1_000_000 - 1024)


STEPS = 500_000 if LONG else 5_000


@pytest.mark.parametrize("kind", ["iterator", "thread"])
def test_a_flood_of_events_takes_no_memory_that_stays(kind: str, backend: Backend) -> None:
    plan, gate, told = flat_plan(STEPS), threading.Event(), list[Event]()
    if kind == "thread":
        plan = plan.options(subscribers=[waiting_for(gate, told)])

    async def main() -> tuple[int, list[Event]]:
        async with plan.start() as handle:
            stream = handle.events() if kind == "iterator" else None
            tracemalloc.start()
            assert handle._runner is not None
            while handle._runner.scheduler.unfinished:
                await anyio.lowlevel.checkpoint()
            held = tracemalloc.take_snapshot()
            tracemalloc.stop()
            gate.set()
            await handle.wait()
        return _bytes_of_events(held), told if stream is None else await read(stream)

    held, events = anyio.run(main, backend=backend)

    assert held < 1024 * 1024
    assert assert_complete(events, 2 * STEPS + 2) > 2 * STEPS - 1100


def _bytes_of_events(snapshot: tracemalloc.Snapshot) -> int:
    """How much is alive of what was made where events are made."""
    folder = os.path.dirname(buffers_module.__file__)  # noqa: PTH120 (what tracemalloc takes is a text)
    names = ("bus.py", "voice.py", "buffers.py")
    wanted = [tracemalloc.Filter(inclusive=True, filename_pattern=f"{folder}/{name}") for name in names]
    return sum(trace.size for trace in snapshot.filter_traces(wanted).traces)


@pytest.mark.skipif(not LONG, reason="a million milestones take a while: FUSYNK_LONG=1")
def test_a_million_milestones_reach_a_reader_that_keeps_up(backend: Backend) -> None:
    counted = 0

    async def main() -> None:
        nonlocal counted
        async with flood(1_000_000, turns=1000).start() as handle:
            async for event in handle.events(buffer=1100):
                counted += isinstance(event, (MilestoneReached, StepSucceeded))

    run_virtual(main, backend=backend)

    assert counted == 1_000_001
