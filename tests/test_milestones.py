"""Milestones: named points that bodies report, from wherever they run, in the run they belong to."""

import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import msgspec
import pytest

from fusynk import Graph, Plan, Run, compile_plan, each, milestone, use
from fusynk.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    MilestoneReached,
    StepCompensated,
    StepEvent,
    StepFailed,
    StepSucceeded,
    Subscriber,
    TeardownFailed,
)
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.model.telling import broken_laws


def reported(run: Run[Any]) -> list[tuple[str, str, dict[str, object]]]:
    return [(reached.step, reached.name, dict(reached.values)) for reached in run.milestones]


def story(events: list[Event]) -> list[str]:
    """What was told of steps, in short."""
    return [
        f"{event.step}: {event.name if isinstance(event, MilestoneReached) else type(event).__name__}"
        for event in events
        if isinstance(event, StepEvent)
    ]


def run_really(plan: Plan[Any, Any], backend: str) -> Run[Any]:
    """Run in real time, with threads."""
    return anyio.run(plan.run, backend=backend)


# From wherever a body runs


@pytest.mark.parametrize("listens", [False, True])
def test_a_coroutine_reports_where_it_is(listens: bool, backend: Backend) -> None:
    graph, told = Graph("plain"), list[Event]()

    @graph.layer
    async def first() -> None:
        milestone("begun", of=2)
        await anyio.sleep(3)
        milestone("done")

    plan = compile_plan(first, subscribers=[told.append] if listens else [])
    run = simulate(plan, backend=backend).run

    assert reported(run) == [("first", "begun", {"of": 2}), ("first", "done", {})]
    zero = run.attempts("first")[0].started
    assert [reached.time - zero for reached in run.milestones] == [0, 3]
    expected = ["first: AttemptStarted", "first: begun", "first: done", "first: StepSucceeded"]
    assert story(told) == (expected if listens else [])


@pytest.mark.parametrize("suspends", [False, True])
def test_each_attempt_and_each_item_reports_for_itself(suspends: bool, backend: Backend) -> None:
    graph, told, calls = Graph("attempts"), list[Event](), list[int]()

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2]

    @graph.layer.each(retries=1)
    async def item(number: int = each(numbers)) -> int:
        calls.append(number)
        milestone("tried")
        if suspends:
            await anyio.sleep(number)
        if calls.count(number) == 1:
            raise LookupError
        return number

    plan = compile_plan(item, concurrency=1, subscribers=[told.append])
    run = simulate(plan, backend=backend).run

    assert not broken_laws(told, run, plan)
    for name in ("item[0]", "item[1]"):
        own = [line.partition(": ")[2] for line in story(told) if line.startswith(f"{name}: ")]
        assert own == [
            "AttemptStarted",
            "tried",
            "AttemptFailed",
            "RetryScheduled",
            "AttemptStarted",
            "tried",
            "StepSucceeded",
        ]


@pytest.mark.parametrize("way", ["inline", "threaded", "iterator", "none"])
@pytest.mark.parametrize("fails", [False, True])
def test_what_a_thread_reports_is_told_before_its_step_ends(fails: bool, way: str, backend: Backend) -> None:
    graph, told = Graph("threads"), list[Event]()

    @graph.layer(on_error="continue")
    def work() -> None:
        for number in range(20):
            milestone("part", number=number)
        if fails:
            raise LookupError

    @graph.layer
    async def beside() -> None:
        await anyio.sleep(0.01)

    listeners: dict[str, list[Any]] = {"inline": [told.append], "threaded": [Subscriber(told.append)]}
    plan = compile_plan(work, beside, subscribers=listeners.get(way, []))

    async def main() -> Run[Any]:
        async with plan.start() as handle:
            stream = handle.events() if way == "iterator" else None
        if stream is not None:
            told.extend([event async for event in stream])
        return await handle.wait()

    run = anyio.run(main, backend=backend)

    assert [number for _, _, values in reported(run) for number in values.values()] == list(range(20))
    if way != "none":
        assert not broken_laws(told, run, plan, virtual=False)
        own = [line.partition(": ")[2] for line in story(told) if line.startswith("work: ")]
        end = ["AttemptFailed", "StepFailed"] if fails else ["StepSucceeded"]
        assert own == ["AttemptStarted", *["part"] * 20, *end]


def test_many_threads_report_at_once_and_nothing_is_lost(backend: Backend) -> None:
    graph, told, barrier = Graph("threads"), list[Event](), threading.Barrier(4)

    def work() -> None:
        barrier.wait(30)
        for number in range(200):
            milestone("part", number=number)

    for number in range(4):
        graph.add_layer(work, name=f"w{number}")
    plan = compile_plan(graph, threads=4, subscribers=[told.append])
    run = run_really(plan, backend)

    for name in ("w0", "w1", "w2", "w3"):
        in_records = [values["number"] for step, _, values in reported(run) if step == name]
        in_events = [e.values["number"] for e in told if isinstance(e, MilestoneReached) and e.step == name]
        assert in_records == in_events == list(range(200))
    ends = {event.step: place for place, event in enumerate(told) if isinstance(event, StepSucceeded)}
    assert all(place < ends[e.step] for place, e in enumerate(told) if isinstance(e, MilestoneReached))
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


def test_child_tasks_and_threads_of_a_body_report_for_its_step(backend: Backend) -> None:
    graph, told = Graph("children"), list[Event]()

    @graph.layer
    async def parent() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child, 1)
            group.start_soon(child, 2)
        await anyio.to_thread.run_sync(from_thread)
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(milestone, "own thread"))
        thread.start()
        await anyio.to_thread.run_sync(thread.join)

    async def child(number: int) -> None:
        await anyio.sleep(number / 1000)
        milestone("child", number=number)

    def from_thread() -> None:
        milestone("thread")
        anyio.from_thread.run_sync(milestone, "from thread")

    plan = compile_plan(parent, subscribers=[told.append])
    run = run_really(plan, backend)

    names = [name for _, name, _ in reported(run)]
    assert names == ["child", "child", "thread", "from thread", "own thread"]
    assert {step for step, _, _ in reported(run)} == {"parent"}
    assert sorted(story(told)[1:-1]) == sorted(f"parent: {name}" for name in names)


def test_a_plain_function_on_the_loop_reports_at_once(backend: Backend) -> None:
    graph, told = Graph("inline"), list[Event]()

    @graph.layer(run_in="inline")
    def inline() -> None:
        milestone("first")
        assert story(told)[-1] == "inline: first"

    assert simulate(compile_plan(inline, subscribers=[told.append]), backend=backend).run.ok


def test_a_nested_run_keeps_its_own(backend: Backend) -> None:
    inner_told, outer_told, inner, outer = list[Event](), list[Event](), Graph("inner"), Graph("outer")

    @inner.layer
    async def within() -> None:
        milestone("within")

    inner_plan = compile_plan(within, subscribers=[inner_told.append])

    @outer.layer
    async def around() -> Run[Any]:
        milestone("before")
        run = await inner_plan.run()
        milestone("after")
        return run

    run = simulate(compile_plan(around, subscribers=[outer_told.append]), backend=backend).run

    assert reported(run) == [("around", "before", {}), ("around", "after", {})]
    assert reported(run.result) == [("within", "within", {})]
    assert story(inner_told) == ["within: AttemptStarted", "within: within", "within: StepSucceeded"]
    assert story(outer_told) == ["around: AttemptStarted", "around: before", "around: after", "around: StepSucceeded"]


def test_a_run_in_a_thread_of_a_body_keeps_its_own_too(backend: Backend) -> None:
    inner, outer = Graph("inner"), Graph("outer")

    @inner.layer
    async def within() -> None:
        milestone("within")

    told = list[Event]()
    inner_plan = compile_plan(within, subscribers=[told.append])

    @outer.layer
    def around() -> Run[Any]:
        run = inner_plan.run_sync()
        milestone("after")
        return run

    run = run_really(compile_plan(around), backend)

    assert reported(run) == [("around", "after", {})]
    assert reported(run.result) == [("within", "within", {})]
    assert "within: within" in story(told)


@pytest.mark.parametrize("runs_in", ["loop", "thread"])
def test_a_resource_reports_from_its_setup_and_its_teardown(runs_in: str, backend: Backend) -> None:
    graph, told = Graph("resource"), list[Event]()

    async def on_the_loop() -> AsyncIterator[str]:
        milestone("opening")
        yield "open"
        milestone("closing")
        raise LookupError

    def in_a_thread() -> Iterator[str]:
        milestone("opening")
        yield "open"
        milestone("closing")
        raise LookupError

    function: Any = on_the_loop if runs_in == "loop" else in_a_thread
    declare: Any = graph.layer(name="resource", on_error="continue")
    resource: Any = declare(function)

    @graph.layer
    async def user(opened: str = use(resource)) -> None:
        milestone("using")

    run = run_really(compile_plan(user, subscribers=[told.append]), backend)

    assert story(told) == [
        "resource: AttemptStarted",
        "resource: opening",
        "resource: StepSucceeded",
        "user: AttemptStarted",
        "user: using",
        "user: StepSucceeded",
        "resource: closing",
        "resource: TeardownFailed",
    ]
    assert isinstance(told[-2], TeardownFailed)
    assert len(run.milestones) == 3


@pytest.mark.parametrize("runs_in", ["loop", "thread"])
def test_a_compensation_reports_for_the_step_that_it_undoes(runs_in: str, backend: Backend) -> None:
    graph, told = Graph("undone"), list[Event]()

    async def undo(artifact: str) -> None:
        milestone("undoing", artifact=artifact)

    def undo_in_a_thread(artifact: str) -> None:
        milestone("undoing", artifact=artifact)

    @graph.layer(compensate=undo if runs_in == "loop" else undo_in_a_thread)
    async def booked() -> str:
        return "booking"

    @graph.layer(depends_on=booked)
    async def fails() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        run_really(compile_plan(fails, subscribers=[told.append]), backend)

    assert story(told)[-2:] == ["booked: undoing", "booked: StepCompensated"]
    assert isinstance(told[-2], StepCompensated)


def test_conditions_and_recoveries_report_for_the_step_that_asks(backend: Backend) -> None:
    graph = Graph("questions")

    @graph.layer
    async def source() -> int:
        return 1

    def judge(value: int) -> bool:
        milestone("judged", value=value)
        return True

    def recover(error: Exception) -> int:
        milestone("recovered")
        return 2

    @graph.layer(on_error=recover)
    async def asks(value: int = use(source, when=judge)) -> int:
        raise LookupError

    run = simulate(compile_plan(asks), backend=backend).run

    assert reported(run) == [("asks", "judged", {"value": 1}), ("asks", "recovered", {})]


def work_elsewhere(fails: bool) -> int:
    """A body in an OS process."""
    milestone("begun", where="elsewhere")
    milestone("done")
    if fails:
        raise LookupError
    return 3


@pytest.mark.parametrize("fails", [False, True])
def test_an_os_process_reports_before_its_step_ends(fails: bool, backend: Backend) -> None:
    graph, told = Graph("process"), list[Event]()
    step = graph.add_layer(work_elsewhere, run_in="subprocess", on_error="continue", bind={})

    async def main() -> Run[Any]:
        return await compile_plan(step, subscribers=[told.append]).run(fails=fails)

    run = anyio.run(main, backend=backend)

    assert reported(run) == [("work_elsewhere", "begun", {"where": "elsewhere"}), ("work_elsewhere", "done", {})]
    end = ["AttemptFailed", "StepFailed"] if fails else ["StepSucceeded"]
    assert story(told) == [f"work_elsewhere: {what}" for what in ("AttemptStarted", "begun", "done", *end)]


# Outside of a body


def test_a_function_that_reports_is_called_like_any_other(backend: Backend) -> None:
    graph = Graph("ordinary")

    @graph.layer
    async def counts() -> int:
        milestone("counted", count=3)
        return 3

    assert run_virtual(counts, backend=backend) == 3


def test_beside_a_run_and_after_it_nothing_is_reported(backend: Backend) -> None:
    graph, told = Graph("beside"), list[Event]()

    @graph.layer
    async def step() -> None:
        await anyio.sleep(1)

    async def main() -> Run[None]:
        async with compile_plan(step, subscribers=[told.append]).start() as handle:
            await anyio.sleep(0.5)
            milestone("beside")
        milestone("after")
        return await handle.wait()

    assert run_virtual(main, backend=backend).milestones == ()
    assert story(told) == ["step: AttemptStarted", "step: StepSucceeded"]


def test_a_thread_that_was_left_behind_reports_into_a_run_that_is_over_without_harm(backend: Backend) -> None:
    graph, gate, told, errors = Graph("late"), threading.Event(), list[Event](), list[BaseException]()
    threads = list[threading.Thread]()

    @graph.layer(timeout=0.01, abandon_on_timeout=True, on_error="continue")
    def late() -> None:
        threads.append(threading.current_thread())
        gate.wait(30)
        try:
            milestone("too late")
        except BaseException as error:
            errors.append(error)
            raise

    run_really(compile_plan(late, subscribers=[told.append]), backend)
    count = len(told)
    gate.set()
    for thread in threads:
        thread.join(30)

    assert errors == []
    assert len(told) == count
    assert [type(event) for event in told if isinstance(event, (AttemptFailed, StepFailed, AttemptStarted))] == [
        AttemptStarted,
        AttemptFailed,
        StepFailed,
    ]


# Names and values


@pytest.mark.parametrize(
    "name",
    ["", " ", "two\nlines", "\x1b[31mred\x1b[0m", "{braces} %s", "name", "self", "\N{SNOWMAN}" * 1000, "\x00", "a[0]"],
    ids=["empty", "blank", "lines", "escape", "format", "name", "self", "long", "null", "item"],
)
def test_any_text_is_a_name_and_any_word_a_value(name: str, backend: Backend) -> None:
    graph, told = Graph("hostile"), list[Event]()
    values: dict[str, Any] = {"name": 1, "self": 2, "index": 3, "values": 4, "step": 5, "run_id": 6, "time": 7}

    @graph.layer
    async def step() -> None:
        milestone(name, **values)

    run = simulate(compile_plan(step, subscribers=[told.append]), backend=backend).run

    assert reported(run) == [("step", name, values)]
    event = told[2]
    assert isinstance(event, MilestoneReached)
    assert (event.name, event.values) == (name, values)
    line = msgspec.json.encode(event)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=MilestoneReached) == event


def test_a_name_that_no_file_can_hold_breaks_who_writes_it_and_nobody_else(backend: Backend) -> None:
    graph = Graph("surrogate")

    @graph.layer
    async def step() -> str:
        milestone("\ud800")
        return "artifact"

    run = simulate(compile_plan(step, subscribers=[msgspec.json.encode]), backend=backend).run

    assert run.result == "artifact"
    assert list(run.subscriber_failures.values()) == [1]


def test_values_are_the_objects_themselves_under_names_that_stay(backend: Backend) -> None:
    graph, told, basket = Graph("values"), list[Event](), ["apple"]

    @graph.layer
    async def step() -> None:
        values: dict[str, Any] = {"basket": basket, "count": 1}
        milestone("packed", **values)
        basket.append("pear")
        values["count"] = 2

    run = simulate(compile_plan(step, subscribers=[told.append]), backend=backend).run

    assert run.milestones[0].values["basket"] is basket
    assert dict(run.milestones[0].values) == {"basket": ["apple", "pear"], "count": 1}
    event = told[2]
    assert isinstance(event, MilestoneReached)
    assert event.values == {"basket": ["apple", "pear"], "count": 1}


def test_a_subscriber_that_changes_the_values_does_not_change_the_record(backend: Backend) -> None:
    graph = Graph("values")

    @graph.layer
    async def step() -> None:
        milestone("here", count=1)

    def forge(event: Event) -> None:
        if isinstance(event, MilestoneReached):
            values: Any = event.values
            values["count"] = 2

    run = simulate(compile_plan(step, subscribers=[forge]), backend=backend).run

    assert reported(run) == [("step", "here", {"count": 1})]
    record: Any = run.milestones[0].values
    with pytest.raises(TypeError):
        record["count"] = 3


def test_a_report_does_not_suspend_the_body_nor_raise_what_a_subscriber_raises(backend: Backend) -> None:
    graph, order = Graph("calm"), list[str]()

    @graph.layer
    async def first() -> None:
        milestone("loud")
        order.append("first")

    @graph.layer
    async def second() -> None:
        order.append("second")

    def complain(event: Event) -> None:
        if isinstance(event, MilestoneReached):
            raise LookupError  # noqa: TRY004 (it is what a subscriber may do wrong)

    run = simulate(compile_plan(first, second, subscribers=[complain]), backend=backend).run

    assert run.ok
    assert order == ["first", "second"]
    assert list(run.subscriber_failures.values()) == [1]
