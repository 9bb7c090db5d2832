"""T11: observers that call back into the library from inside an event, come and go meanwhile, and block."""

import threading
from contextvars import Context, ContextVar, copy_context
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusynk import Graph, Plan, compile_plan, current_step, errors, milestone
from fusynk._runtime.buffers import EventStream
from fusynk.events import (
    AttemptStarted,
    Event,
    EventsDropped,
    MilestoneReached,
    RunEnded,
    RunStarted,
    StepCancelled,
    StepEvent,
    StepFailed,
    StepSucceeded,
    Subscriber,
)
from fusynk.handle import RunHandle
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.model.scenes import Part, Scene, Stage, play, scenes
from tests.model.telling import broken_laws
from tests.observing import assert_settled, busy_threads, running_tasks

DRAWN = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
mark: ContextVar[str] = ContextVar("mark", default="unset")


def ignored(_event: Event) -> None: ...


def pair(*, suspends: bool = True, **options: Any) -> Plan[Any, Any]:
    """Two steps, one after the other, each with a milestone."""
    graph = Graph("pair")

    async def body() -> None:
        milestone("here")
        if suspends:
            await anyio.sleep(1)

    graph.add_layer(body, name="first")
    graph.add_layer(body, name="second", depends_on="first")
    return compile_plan(graph, **options)


# Calls from inside an event


@DRAWN
@given(scene=scenes(), place=st.integers(1, 25))
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
@pytest.mark.parametrize("others", [0, 1])
def test_cancel_within_any_event_ends_the_run_as_ever(
    others: int, backend_name: Backend, scene: Scene, place: int
) -> None:
    handles, told = list[RunHandle[Any]](), list[Event]()

    def cancel(event: Event) -> None:
        told.append(event)
        if event.sequence == place:
            handles[0].cancel()

    plan = Stage(scene).plan.options(subscribers=[cancel, *[ignored] * others])

    async def main() -> Any:
        before = running_tasks()
        run = await play(plan, scene, handles.append)
        await assert_settled(before)
        return run

    run = run_virtual(main, backend=backend_name)

    assert not broken_laws(told, run, plan)
    late = [event.step for event in told[place + 1 :] if isinstance(event, AttemptStarted)]
    assert late == []


@pytest.mark.parametrize("others", [0, 1])
def test_cancel_within_the_last_event_changes_nothing(others: int, backend: Backend) -> None:
    handles = list[RunHandle[Any]]()

    def cancel(event: Event) -> None:
        if isinstance(event, RunEnded):
            handles[0].cancel()

    async def main() -> tuple[str, str]:
        async with pair(subscribers=[cancel, *[ignored] * others]).start() as handle:
            handles.append(handle)
            run = await handle.wait()
        return run.status, ",".join(handle.snapshot().values())

    assert run_virtual(main, backend=backend) == ("succeeded", "succeeded,succeeded")


@DRAWN
@given(scene=scenes())
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_each_event_may_ask_for_a_snapshot_the_stacks_and_an_iterator(backend_name: Backend, scene: Scene) -> None:
    handles, told, streams = list[RunHandle[Any]](), list[Event](), list[EventStream]()

    def ask(event: Event) -> None:
        told.append(event)
        if handles:
            handles[0].snapshot()
            handles[0].stacks()
            streams.append(handles[0].events())

    plan = Stage(scene).plan.options(subscribers=[ask])

    async def main() -> Any:
        run = await play(plan, scene, handles.append)
        for made_at, stream in enumerate(streams, start=1):
            gap, *rest = [event async for event in stream]
            missed = min(made_at, len(told) - 1)  # who comes with the end is told the end
            assert isinstance(gap, EventsDropped)
            assert (gap.sequence, gap.count) == (missed, missed)
            assert rest == told[missed:]
        return run

    run = run_virtual(main, backend=backend_name)

    assert not broken_laws(told, run, plan)
    assert len(streams) == len(told)
    assert run.subscriber_failures == {}


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_an_event_is_inside_no_step_whatever_is_told(others: int, suspends: bool, backend: Backend) -> None:
    refused = list[str]()

    def report(event: Event) -> None:
        milestone("inside")
        try:
            current_step()
        except LookupError:
            refused.append(type(event).__name__)

    run = simulate(pair(suspends=suspends, subscribers=[report, *[ignored] * others]), backend=backend).run

    assert refused == ["RunStarted", *["AttemptStarted", "MilestoneReached", "StepSucceeded"] * 2, "RunEnded"]
    assert len(run.milestones) == 2


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_nor_is_it_inside_the_step_that_started_the_run(others: int, suspends: bool, backend: Backend) -> None:
    refused = list[str]()

    def report(event: Event) -> None:
        milestone("inside")
        try:
            current_step()
        except LookupError:
            refused.append(type(event).__name__)

    inner, outer = pair(suspends=suspends, subscribers=[report, *[ignored] * others]), Graph("outer")

    @outer.layer
    async def around() -> None:
        await inner.run()

    run = simulate(compile_plan(around), backend=backend).run

    assert len(refused) == 8
    assert run.milestones == ()


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("others", [0, 1])
def test_run_sync_is_refused_within_an_event(others: int, suspends: bool, backend: Backend) -> None:
    refused, plan = list[str](), pair()

    def run(event: Event) -> None:
        with pytest.raises(errors.LoopRunning):
            plan.run_sync()
        refused.append(type(event).__name__)

    assert simulate(pair(suspends=suspends, subscribers=[run, *[ignored] * others]), backend=backend).run.ok
    assert len(refused) == 8


@pytest.mark.parametrize("others", [0, 1])
def test_what_an_event_brings_about_is_told_after_it_to_all(others: int, backend: Backend) -> None:
    """A body that waits for a lock is let in from an event; its own events come after that, to every subscriber."""
    graph, gate, depth = Graph("gate"), list[anyio.Event](), [0]
    first, second = list[Event](), list[Event]()

    @graph.layer
    async def opens() -> None:
        await anyio.sleep(1)

    @graph.layer
    async def waits() -> None:
        gate.append(anyio.Event())
        await gate[0].wait()
        milestone("let in")

    def open_gate(event: Event) -> None:
        depth[0] += 1
        assert depth[0] == 1
        first.append(event)
        if isinstance(event, StepSucceeded) and event.step == "opens":
            gate[0].set()
        depth[0] -= 1

    plan = compile_plan(graph, subscribers=[open_gate, *[second.append] * others])
    run = simulate(plan, backend=backend).run

    assert not broken_laws(first, run, plan)
    assert second == first * others


def test_a_milestone_that_answers_a_milestone_in_a_body_s_own_context_is_told_after_it(backend: Backend) -> None:
    graph, contexts, told, depths, depth = Graph("answers"), list[Context](), list[Event](), set[int](), [0]
    handles, streams = list[RunHandle[Any]](), list[EventStream]()

    @graph.layer
    async def body() -> None:
        contexts.append(copy_context())
        milestone("question")

    def answer(event: Event) -> None:
        depth[0] += 1
        depths.add(depth[0])
        told.append(event)
        if isinstance(event, MilestoneReached) and event.name == "question":
            contexts[0].run(milestone, "answer")
            streams.append(handles[0].events())
        depth[0] -= 1

    async def main() -> list[Event]:
        async with compile_plan(graph, subscribers=[answer, ignored]).start() as handle:
            handles.append(handle)
            run = await handle.wait()
        assert [reached.name for reached in run.milestones] == ["question", "answer"]
        assert run.subscriber_failures == {}
        return [event async for event in streams[0]]

    gap, *late = run_virtual(main, backend=backend)

    assert depths == {1}
    assert isinstance(gap, EventsDropped)
    assert (gap.sequence, gap.count) == (3, 3)  # up to the question; the answer is still to be told
    assert late == told[3:]


@pytest.mark.parametrize("others", [0, 1])
def test_variables_that_a_subscriber_sets_reach_no_body(others: int, backend: Backend) -> None:
    graph, seen = Graph("variables"), list[str]()

    async def body() -> None:
        milestone("before")
        seen.append(mark.get())
        await anyio.sleep(1)
        milestone("after")
        seen.append(mark.get())

    for number in range(3):
        graph.add_layer(body, name=f"s{number}", depends_on=[f"s{number - 1}"] if number else [])

    def leak(event: Event) -> None:
        mark.set(f"leaked by {event.sequence}")

    async def main() -> None:
        mark.set("the caller's")
        await compile_plan(graph, subscribers=[leak, *[ignored] * others]).run()
        assert mark.get() == "the caller's"

    run_virtual(main, backend=backend)

    assert seen == ["the caller's"] * 6


@pytest.mark.parametrize("others", [0, 1])
def test_a_subscriber_sees_the_variables_of_who_called_run(others: int, backend: Backend) -> None:
    seen = set[str]()

    def look(_event: Event) -> None:
        seen.add(mark.get())

    async def main() -> None:
        mark.set("the caller's")
        await pair(subscribers=[look, *[ignored] * others]).run()

    run_virtual(main, backend=backend)

    assert seen == {"the caller's"}


# Coming and going meanwhile


@DRAWN
@given(scene=scenes(), script=st.lists(st.sampled_from(["open", "close", "nothing"]), max_size=25))
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_iterators_may_come_and_go_within_events(backend_name: Backend, scene: Scene, script: list[str]) -> None:
    handles, told, open_streams = list[RunHandle[Any]](), list[Event](), list[EventStream]()
    spans = dict[EventStream, tuple[int, int | None]]()

    def act(event: Event) -> None:
        told.append(event)
        wish = script[event.sequence - 1] if event.sequence <= len(script) else "nothing"
        if wish == "open" and handles:
            stream = handles[0].events()
            open_streams.append(stream)
            spans[stream] = event.sequence, None
        elif wish == "close" and open_streams:
            stream = open_streams.pop(0)
            _finish(stream.aclose())
            spans[stream] = spans[stream][0], event.sequence

    plan = Stage(scene).plan.options(subscribers=[act])

    async def main() -> Any:
        run = await play(plan, scene, handles.append)
        for stream, (begun, closed) in spans.items():
            rest = [event async for event in stream if not isinstance(event, EventsDropped)]
            last = len(told) if closed is None else closed - 1
            assert rest == told[min(begun, len(told) - 1) : last]
        return run

    run = run_virtual(main, backend=backend_name)

    assert not broken_laws(told, run, plan)
    assert run.subscriber_failures == {}


def _finish(closing: Any) -> None:
    """Run a coroutine that waits for nothing."""
    with pytest.raises(StopIteration):
        closing.send(None)


def test_a_body_may_listen_to_its_own_run(backend: Backend) -> None:
    graph, handles, heard = Graph("itself"), list[RunHandle[Any]](), list[str]()

    @graph.layer
    async def listens() -> None:
        async for event in handles[0].events():
            if isinstance(event, StepSucceeded):
                heard.append(event.step)
                break

    @graph.layer
    async def speaks() -> None:
        await anyio.sleep(1)

    async def main() -> None:
        async with compile_plan(graph).start() as handle:
            handles.append(handle)
            assert (await handle.wait()).ok

    run_virtual(main, backend=backend)

    assert heard == ["speaks"]


# Several runs


def test_one_subscriber_may_watch_two_runs_of_one_plan_at_once(backend: Backend) -> None:
    told = list[Event]()
    plan = pair(subscribers=[told.append])
    runs = list[Any]()

    async def one(delay: float) -> None:
        await anyio.sleep(delay)
        runs.append(await plan.run())

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(one, 0)
            group.start_soon(one, 0.5)

    run_virtual(main, backend=backend)

    first, second = runs
    assert first.id != second.id
    for run in runs:
        assert not broken_laws([event for event in told if event.run_id == run.id], run, plan)
    assert [event.run_id for event in told] != sorted((event.run_id for event in told), reverse=first.id > second.id)


def test_a_nested_run_tells_its_own_subscribers_and_names_the_run_around_it(backend: Backend) -> None:
    inner_told, outer_told, outer = list[Event](), list[Event](), Graph("outer")
    inner = pair(subscribers=[inner_told.append])

    @outer.layer
    async def around() -> str:
        return (await inner.run()).id

    plan = compile_plan(around, subscribers=[outer_told.append])
    run = simulate(plan, backend=backend).run

    assert not broken_laws(outer_told, run, plan)
    assert {event.run_id for event in inner_told} == {run.result}
    assert isinstance(inner_told[0], RunStarted)
    assert inner_told[0].parent_id == run.id
    assert len(outer_told) == 4


# From other threads


def test_a_subscriber_in_a_thread_may_cancel_the_run(backend: Backend) -> None:
    handles, told = list[RunHandle[Any]](), list[Event]()
    graph = Graph("hangs")

    @graph.layer
    async def hangs() -> None:
        await anyio.Event().wait()

    def cancel(event: Event) -> None:
        told.append(event)
        if isinstance(event, StepEvent):
            handles[0].cancel()

    async def main() -> None:
        async with compile_plan(graph, subscribers=[Subscriber(cancel)]).start() as handle:
            handles.append(handle)
            with pytest.raises(errors.RunCancelled):
                await handle.wait()

    anyio.run(main, backend=backend)

    assert [type(event) for event in told] == [RunStarted, AttemptStarted, StepCancelled, RunEnded]
    assert not busy_threads("fusynk-subscriber")


def test_a_subscriber_in_a_thread_may_ask_for_snapshots_and_run_plans(backend: Backend) -> None:
    handles, snapshots, results = list[RunHandle[Any]](), list[dict[str, str]](), list[bool]()
    plan = pair(suspends=False)

    def ask(event: Event) -> None:
        snapshots.append(handles[0].snapshot())
        results.append(plan.run_sync().ok)

    async def main() -> None:
        async with pair(suspends=False, subscribers=[Subscriber(ask)]).start() as handle:
            handles.append(handle)
            assert (await handle.wait()).subscriber_failures == {}

    anyio.run(main, backend=backend)

    assert results == [True] * 8
    assert snapshots[-1] == {"first": "succeeded", "second": "succeeded"}


# Attempts that fail before they are called


def test_an_attempt_that_finds_no_thread_is_told_like_any_other(backend: Backend) -> None:
    graph, gate, told = Graph("exhausted"), threading.Event(), list[Event]()

    def blocks() -> None:
        assert gate.wait(30)

    def finds_none() -> None: ...

    blocking = graph.add_layer(blocks, timeout=0.01, abandon_on_timeout=True, on_error="continue")
    graph.add_layer(finds_none, depends_on=blocking, on_error="continue")
    plan = compile_plan(graph, threads=1, subscribers=[told.append])

    run = anyio.run(plan.run, backend=backend)
    gate.set()

    assert isinstance(run.failures["finds_none"], errors.ThreadsExhausted)
    assert not broken_laws(told, run, plan, virtual=False)


def test_the_item_that_ends_a_run_is_told_before_its_fan_out(backend: Backend) -> None:
    told = list[Event]()
    plan = Stage(Scene(parts=(Part("fan-out", failures=1, on_error="abort", count=3),))).plan

    simulate(plan.options(subscribers=[told.append]), backend=backend)

    failed = [event.step for event in told if isinstance(event, StepFailed)]
    assert failed[-1] == "p0"
    assert failed[0].startswith("p0[")
