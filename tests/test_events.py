"""Events say what the records say: nothing else, nothing twice, in the order in which it happened."""

import os
from collections.abc import Callable
from random import Random
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fusynk.events
from fusynk import Graph, Plan, Run, compile_plan, each, errors, milestone
from fusynk._core import events as core_events
from fusynk._runtime import bus as bus_module
from fusynk._runtime import voice as voice_module
from fusynk._runtime.buffers import EventStream
from fusynk.events import (
    AttemptFailed,
    AttemptStarted,
    BodyStuck,
    CompensationFailed,
    Event,
    EventsDropped,
    MilestoneReached,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StepCancelled,
    StepCompensated,
    StepEvent,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
    Subscriber,
    TeardownFailed,
    ThreadAbandoned,
)
from fusynk.handle import RunHandle
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.model.graphs import CROWDED, INSTANT, TIMED, Built, Shape, seeded_case
from tests.model.scenes import Part, Scene, Stage, play, scenes
from tests.model.telling import broken_laws, rebuilt
from tests.observing import python
from tests.test_t04_cancel_everywhere import PLANS, WAYS, Add, Diary, Way

LONG = bool(os.environ.get("FUSYNK_LONG"))
SCALE = 30 if LONG else 1
DRAWN = settings(max_examples=120 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TAPES = st.lists(st.integers(0, 5), max_size=30)
WIDE = 100_000
KINDS: list[type[Event]] = [
    kind
    for kind in (getattr(fusynk.events, name) for name in fusynk.events.__all__)
    if isinstance(kind, type) and issubclass(kind, Event) and kind not in {Event, StepEvent}
]
pytestmark = pytest.mark.timeout(0 if LONG else 120)


def nothing(_handle: RunHandle[Any]) -> None:
    """Watches a run by nothing but its subscribers."""


def assert_lawful(events: list[Event], run: Run[Any], plan: Plan[Any, Any], origin: object, **how: Any) -> None:
    broken = broken_laws(events, run, plan, **how)
    assert not broken, "\n".join([str(origin), *broken, *map(str, events)])


# The law, for every way of listening


@DRAWN
@given(scene=scenes(), tape=TAPES)
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_one_subscriber_is_told_what_the_records_say(backend_name: Backend, scene: Scene, tape: list[int]) -> None:
    told = list[Event]()
    plan = Stage(scene).plan.options(subscribers=[told.append])

    run = run_virtual(play, plan, scene, nothing, backend=backend_name, tape=tape)

    assert_lawful(told, run, plan, scene)


@DRAWN
@given(scene=scenes(), tape=TAPES)
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_so_are_several_and_iterators_and_all_are_told_the_same(
    backend_name: Backend, scene: Scene, tape: list[int]
) -> None:
    first, second, kept = list[Event](), list[Event](), list[Event]()
    plan = Stage(scene).plan.options(subscribers=[first.append, Subscriber(second.append, threaded=False)])

    async def read(stream: EventStream) -> None:
        kept.extend([event async for event in stream])

    async def main() -> tuple[Run[Any], list[Event]]:
        streams, runs = list[EventStream](), list[Run[Any]]()
        async with anyio.create_task_group() as group:

            def watch(handle: RunHandle[Any]) -> None:
                streams.append(handle.events(buffer=WIDE))
                group.start_soon(read, handle.events(buffer=WIDE))

            runs.append(await play(plan, scene, watch))
        return runs[0], [event async for event in streams[0]]

    run, unread = run_virtual(main, backend=backend_name, tape=tape)

    assert_lawful(first, run, plan, scene)
    assert second == first
    assert kept == first
    assert unread == first


@DRAWN
@given(scene=scenes(), tape=TAPES)
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_an_iterator_alone_is_told_the_same(backend_name: Backend, scene: Scene, tape: list[int]) -> None:
    plan = Stage(scene).plan
    streams = list[Any]()

    async def main() -> tuple[Run[Any], list[Event], dict[str, str]]:
        handles = list[RunHandle[Any]]()

        def watch(handle: RunHandle[Any]) -> None:
            handles.append(handle)
            streams.append(handle.events(buffer=WIDE))

        run = await play(plan, scene, watch)
        return run, [event async for event in streams[0]], handles[0].snapshot()

    run, told, snapshot = run_virtual(main, backend=backend_name, tape=tape)

    assert_lawful(told, run, plan, scene)
    assert rebuilt(told) == snapshot


@settings(DRAWN, max_examples=60 * SCALE)
@given(scene=scenes(instant=True))
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "not alone"])
def test_one_in_a_thread_is_told_the_same(alone: bool, backend_name: str, scene: Scene) -> None:
    inline, threaded = list[Event](), list[Event]()
    slow = Subscriber(threaded.append, buffer=WIDE)
    plan = Stage(scene).plan.options(subscribers=[slow] if alone else [inline.append, slow])

    run = anyio.run(play, plan, scene, nothing, backend=backend_name)

    assert_lawful(threaded, run, plan, scene, virtual=False)
    assert inline == ([] if alone else threaded)


@DRAWN
@given(scene=scenes(), tape=TAPES, place=st.integers(1, 12))
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
@pytest.mark.parametrize("others", [0, 1], ids=["one subscriber", "two subscribers"])
def test_an_iterator_made_within_an_event_begins_with_the_next(
    others: int, backend_name: Backend, scene: Scene, tape: list[int], place: int
) -> None:
    told, streams, handles = list[Event](), list[Any](), list[RunHandle[Any]]()

    def subscribe(event: Event) -> None:
        told.append(event)
        if event.sequence == place:
            streams.append(handles[0].events(buffer=WIDE))

    plan = Stage(scene).plan.options(subscribers=[subscribe, *[list[Event]().append] * others])

    async def main() -> list[Event]:
        await play(plan, scene, handles.append)
        return [event async for event in streams[0]] if streams else []

    late = run_virtual(main, backend=backend_name, tape=tape)

    if place < len(told):
        assert late[0] == EventsDropped(place, told[place].time, "scene", place)
        assert late[1:] == told[place:]


@pytest.mark.parametrize("chunk", range(5))
@pytest.mark.parametrize("shape", [TIMED, INSTANT, CROWDED], ids=["timed", "instant", "crowded"])
def test_plans_of_the_model_tell_what_their_records_say(shape: Shape, chunk: int, backend: Backend) -> None:
    for seed in range(chunk * 40 * SCALE, (chunk + 1) * 40 * SCALE):
        told, chance = list[Event](), Random(seed)
        plan = Built(seeded_case(seed, shape)).plan.options(subscribers=[told.append])
        tape = [chance.randrange(4) for _ in range(chance.randrange(40))]

        run = simulate(plan, tape=tape, backend=backend).run

        assert_lawful(told, run, plan, f"seed {seed}")


async def _cancelled_run(add: Add, way: Way, at: int) -> int:
    """Cancel a run after so many steps of the loop's tasks, and return how many there were."""
    graph, told = Graph("plan"), list[Event]()
    add(graph, Diary())
    plan = compile_plan(graph, concurrency=3, subscribers=[told.append])
    runner = plan._new_runner([])

    steps, _ = await way(runner.run, at)

    assert_lawful(told, plan._ended(runner), plan, f"cancelled after step {at}")
    return steps


@pytest.mark.parametrize(("way", "backend"), WAYS)
@pytest.mark.parametrize("add", PLANS)
def test_a_run_that_is_cancelled_after_any_step_tells_what_its_records_say(
    add: Add, way: Way, backend: Backend
) -> None:
    total = run_virtual(_cancelled_run, add, way, 0, backend=backend)

    for at in range(1, total + 1):
        run_virtual(_cancelled_run, add, way, at, backend=backend)


# What a snapshot says at an event


@DRAWN
@given(scene=scenes())
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
@pytest.mark.parametrize("others", [0, 1], ids=["one subscriber", "two subscribers"])
def test_a_snapshot_taken_at_an_event_says_the_same(others: int, backend_name: Backend, scene: Scene) -> None:
    handles, told, differences = list[RunHandle[Any]](), list[Event](), list[object]()

    def compare(event: Event) -> None:
        told.append(event)
        if isinstance(event, (AttemptStarted, StepEvent)) and handles:
            said, seen = rebuilt(told).get(event.step), handles[0].snapshot().get(event.step)
            if said != seen and not isinstance(event, (AttemptFailed, MilestoneReached)):
                differences.append((event, said, seen))

    plan = Stage(scene).plan.options(subscribers=[compare, *[list[Event]().append] * others])

    run_virtual(play, plan, scene, handles.append, backend=backend_name)

    assert differences == []


def test_a_snapshot_tells_every_status(backend: Backend) -> None:
    graph = Graph("statuses")

    @graph.layer
    async def first() -> list[int]:
        await anyio.sleep(1)
        return [1, 2]

    @graph.layer.each
    async def item(number: int = each(first)) -> int:
        await anyio.sleep(number)
        return number

    @graph.layer(retries=1, retry_delay=1, on_error="continue")
    async def flaky() -> None:
        await anyio.sleep(1)
        raise LookupError

    @graph.layer(depends_on=flaky)
    async def last() -> None: ...

    names = ["first", "item", "item[0]", "item[1]", "flaky", "last"]

    async def main() -> list[list[str]]:
        handle = compile_plan(graph, concurrency=2).start()
        seen = list[list[str]]()
        async with handle:
            for _ in range(4):
                statuses = handle.snapshot()
                seen.append([statuses[name] for name in names if name in statuses])
                await anyio.sleep(0.7)
            await handle.wait()
        return [*seen, [handle.snapshot()[name] for name in names]]

    assert run_virtual(main, backend=backend) == [
        ["ready", "pending", "ready", "pending"],  # the run begins when the block waits for something
        ["running", "pending", "running", "pending"],
        ["succeeded", "running", "running", "running", "retrying", "pending"],
        ["succeeded", "running", "succeeded", "running", "running", "pending"],
        ["succeeded", "succeeded", "succeeded", "succeeded", "failed", "succeeded"],
    ]


# What it costs when nobody listens


def test_importing_the_library_and_running_a_plan_builds_no_event() -> None:
    ended = python(
        "import sys, anyio, fusynk\n"
        "assert 'msgspec' not in sys.modules\n"
        "graph = fusynk.Graph('plain')\n"
        "@graph.layer\n"
        "async def step(): fusynk.milestone('here')\n"
        "plan = fusynk.compile_plan(step)\n"
        "plan.run_sync()\n"
        "loaded = {'msgspec', 'fusynk._core.events', 'fusynk._runtime.bus'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_run_with_a_handle_builds_no_event_either_until_somebody_listens(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_facts: object) -> None:
        raise AssertionError

    stage = Stage(Scene(parts=(Part("body", failures=1, retries=1), Part("chain"), Part("undoable", after=(0, 1)))))
    handles = list[RunHandle[Any]]()
    scene = Scene(parts=())
    for module in (bus_module, voice_module, core_events):
        for kind in KINDS:
            monkeypatch.setattr(module, kind.__name__, refuse, raising=False)

    run = run_virtual(play, stage.plan, scene, handles.append, backend=backend)

    assert run.ok
    assert len(run.milestones) == 7
    assert set(handles[0].snapshot().values()) == {"succeeded"}


# As JSON

EXAMPLES: list[Event] = [
    RunStarted(1, 0.5, "run", ("a", "b"), None),
    RunStarted(0, 0.5, "run", (), "outer"),
    StepExpanded(2, 0.5, "run", "a", 3),
    AttemptStarted(3, 0.5, "run", "a[0]"),
    AttemptFailed(4, 0.5, "run", "a", 1, "ValueError"),
    RetryScheduled(5, 0.5, "run", "a", 2, 1.5),
    StepSucceeded(6, 0.5, "run", "a", 2, recovered=True),
    StepFailed(7, 0.5, "run", "a", 1, "ValueError"),
    StepSkipped(8, 0.5, "run", "b", "a", "condition"),
    StepCancelled(9, 0.5, "run", "b", "deadline"),
    StepCompensated(10, 0.5, "run", "a"),
    CompensationFailed(11, 0.5, "run", "a", "OSError"),
    TeardownFailed(12, 0.5, "run", "a", "OSError"),
    BodyStuck(13, 0.5, "run", "a"),
    ThreadAbandoned(14, 0.5, "run", "a"),
    MilestoneReached(15, 0.5, "run", "a", "half \n \x00 \N{SNOWMAN}", {"seen": 2, "of": [1.5, None, {"x": True}]}),
    EventsDropped(16, 0.5, "run", 7),
    RunEnded(17, 0.5, "run", "cancelled", "stop"),
    RunEnded(18, 0.5, "run", "succeeded", None),
]


def test_there_is_an_example_of_every_event() -> None:
    assert {type(event) for event in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("event", EXAMPLES, ids=[f"{type(event).__name__}-{event.sequence}" for event in EXAMPLES])
def test_an_event_goes_into_a_line_of_json_and_comes_back(event: Event) -> None:
    line = msgspec.json.encode(event)

    assert b"\n" not in line
    assert msgspec.json.decode(line)["type"] == type(event).__name__
    assert msgspec.json.decode(line, type=fusynk.events.AnyEvent) == event


@DRAWN
@given(scene=scenes())
def test_the_events_of_a_run_go_through_a_file_of_lines(scene: Scene) -> None:
    lines, told = bytearray(), list[Event]()
    decoder = msgspec.json.Decoder(fusynk.events.AnyEvent)

    def write(event: Event) -> None:
        told.append(event)
        lines.extend(msgspec.json.encode(event) + b"\n")

    plan = Stage(scene).plan.options(subscribers=[write])
    run = run_virtual(play, plan, scene, nothing)

    assert [decoder.decode(line) for line in lines.splitlines()] == told
    assert run.subscriber_failures == {}


def test_what_cannot_be_json_is_the_subscriber_s_to_convert(backend: Backend) -> None:
    graph, lines = Graph("values"), list[bytes]()

    @graph.layer
    async def step() -> str:
        milestone("strange", value=step)
        return "artifact"

    def strict(event: Event) -> None:
        msgspec.json.encode(event)

    def lenient(event: Event) -> None:
        lines.append(msgspec.json.encode(event, enc_hook=repr))

    run = simulate(compile_plan(step, subscribers=[strict, lenient]), backend=backend).run

    assert run.result == "artifact"
    assert list(run.subscriber_failures.values()) == [1]
    assert len(lines) == 5
    assert msgspec.json.decode(lines[2])["values"] == {"value": repr(step)}


def test_an_event_cannot_be_changed() -> None:
    event: Any = EXAMPLES[3]
    with pytest.raises(AttributeError):
        event.step = "another"


# How they are asked for


@pytest.mark.parametrize("size", [0, -1, 1.5, "many", None, True])
def test_a_buffer_that_holds_nothing_is_refused(size: Any, backend: Backend) -> None:
    with pytest.raises(errors.InvalidOption, match=r"Subscriber\(buffer=.*\): buffer must be a whole number from 1 up"):
        Subscriber(print, buffer=size)

    async def main() -> None:
        async with Stage(Scene(parts=(Part("body"),))).plan.start() as handle:
            with pytest.raises(errors.InvalidOption, match=r"handle\.events\(buffer=.*\): buffer must be"):
                handle.events(buffer=size)
            assert (await handle.wait()).ok

    run_virtual(main, backend=backend)


async def _listen(_event: Event) -> None: ...


class AsynchronousListener:
    async def __call__(self, event: Event) -> None: ...


@pytest.mark.parametrize(
    "wrong",
    [print, [3], [lambda: None], [Subscriber(lambda: None)], _listen, [_listen], [AsynchronousListener()]],  # type: ignore[arg-type, misc] # pyright: ignore[reportArgumentType]
    ids=["no sequence", "no function", "no parameter", "nor in a thread", "alone", "asynchronous", "object"],
)
def test_what_cannot_listen_is_refused(wrong: Any) -> None:
    plan = Stage(Scene(parts=(Part("body"),))).plan
    with pytest.raises(errors.InvalidOption, match="subscribers must be a sequence of"):
        plan.options(subscribers=wrong)


def test_a_subscriber_may_be_any_callable(backend: Backend) -> None:
    class Listener:
        def __init__(self) -> None:
            self.told = list[Event]()

        def __call__(self, event: Event) -> None:
            self.told.append(event)

        def listen(self, event: Event, *, loud: bool = False) -> None:
            self.told.append(event)

    listener = Listener()
    functions: list[Callable[[Event], object]] = [listener, listener.listen, listener.told.append]
    plan = Stage(Scene(parts=(Part("body"),))).plan.options(subscribers=functions)

    run = simulate(plan, backend=backend).run

    assert run.subscriber_failures == {}
    assert len(listener.told) == 3 * 5


def test_events_are_there_once_the_block_is_entered(backend: Backend) -> None:
    async def main() -> None:
        handle = Stage(Scene(parts=(Part("body"),))).plan.start()
        with pytest.raises(RuntimeError, match="call it inside the block"):
            handle.events()
        assert handle.snapshot() == {}
        async with handle:
            stream = handle.events()
        assert len([event async for event in stream]) == 5
        assert handle.snapshot() == {"p0": "succeeded"}

    run_virtual(main, backend=backend)
