"""Everything that can be declared, with a journal: broken off in its last step, resumed, and given back whole."""

import json
import math
from collections.abc import AsyncIterator, Callable, Generator
from dataclasses import dataclass
from typing import Any

import anyio
import attrs
import msgspec
import pydantic
import pytest

from fusynk import (
    Batch,
    Graph,
    Limit,
    Manager,
    Outcome,
    Plan,
    Run,
    compile_plan,
    current_step,
    each,
    layer,
    run_items,
    run_of,
    telemetry,
    use,
    when,
    worker,
)
from fusynk.events import Subscriber
from fusynk.journals import Codec, Conversion, MemoryJournal
from fusynk.protocols import Journal
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks
from tests.recorded import assert_whole

pytestmark = pytest.mark.timeout(60)


class Outage(Exception):
    """What breaks a run off."""


class Notes:
    """What was called, and what fails how often."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken: dict[str, int] = {}

    def note(self, name: str) -> None:
        self.calls.append(name)
        if self.broken.get(name, 0):
            self.broken[name] -= 1
            raise Outage(name)

    def taken(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


Build = Callable[[Graph, Notes], Any]


def views(run: Run[Any]) -> None:
    """Whatever can be shown of a run can be."""
    assert "Makespan" in str(run.report)
    assert f"Run {run.id}" in run.timeline(80)
    events = json.loads(run.to_trace())["traceEvents"]
    assert all(event.get("dur", 0) >= 0 for event in events)
    assert "<html" in run.to_html()
    assert run.to_svg().startswith("<svg")
    assert run.draw(width=80)
    assert run.to_mermaid()
    report = run.report
    assert 0 <= report.success_rate <= 1 or math.isnan(report.success_rate)


def ended(run: Run[Any]) -> dict[str, str]:
    return {name: repr(outcome) for name, outcome in run.outcomes.items()}


def lasting(outcomes: dict[str, str]) -> dict[str, str]:
    """How everything ended but resources, which end with their process."""
    return {name: outcome for name, outcome in outcomes.items() if "held" not in name}


async def broken_off(plan: Plan[Any, Any]) -> Run[Any]:
    with pytest.raises(Outage) as caught:
        _ = await plan.run()
    run = run_of(caught.value)
    assert run is not None
    return run


def fan_outs_with_resources(graph: Graph, notes: Notes) -> Any:
    @graph.layer(name="held connection")
    async def connection() -> AsyncIterator[str]:
        notes.note("open")
        yield "c"
        notes.note("close")

    @graph.layer(name="held cursor")
    def cursor(given: str = use(connection)) -> Generator[str]:
        notes.note("open cursor")
        yield given
        notes.note("close cursor")

    @graph.layer
    async def numbers() -> list[int]:
        notes.note("numbers")
        return [1, 2]

    @graph.layer.each(name="held")
    async def held(number: int = each(numbers)) -> AsyncIterator[int]:
        notes.note(f"open {number}")
        yield 10 * number
        notes.note(f"close {number}")

    @graph.layer.each
    async def query(number: int = each(held), given: str = use(cursor)) -> str:
        notes.note(f"query {number}")
        return f"{given}{number}"

    @graph.layer
    async def end(batch: Batch[str] = use(query)) -> list[str]:
        notes.note("end")
        return list(batch)

    return end


def a_resource_that_cannot_be_set_up(graph: Graph, notes: Notes) -> Any:
    @graph.layer(on_error="continue")
    async def gone() -> AsyncIterator[str]:
        notes.note("setup")
        raise ConnectionError
        yield "never"

    @graph.layer
    async def end(outcome: Outcome[str] = use.outcome(gone)) -> str:
        notes.note("end")
        return type(outcome).__name__

    return end


def processes(mode: str, **extra: Any) -> Build:
    def build(graph: Graph, notes: Notes) -> Any:
        loose: Any = graph

        def member(name: str) -> Any:
            async def work() -> str:
                notes.note(name)
                if name == "m2":
                    raise ValueError(name)
                return name

            return loose.layer(name=name, on_error="continue")(work)

        whole = loose.process("all", *map(member, ("m0", "m1")), mode=mode, **extra)
        part = loose.process("some", *map(member, ("m2", "m3")), mode=mode, on_error="continue", **extra)

        @graph.layer
        async def end(one: Any = use(whole), outcome: Outcome[Any] = use.outcome(part)) -> str:
            notes.note("end")
            return f"{one} {outcome}"

        return end

    build.__name__ = mode
    return build


def threads_limits_and_recoveries(graph: Graph, notes: Notes) -> Any:
    limit = Limit("one at a time", concurrency=1)

    def recover(_error: Exception) -> int:
        notes.note("recover")
        return 5

    @graph.layer(limit=limit)
    def threaded() -> int:
        notes.note("threaded")
        return 1

    @graph.layer(limit=limit, run_in="inline", retries=2)
    def inline() -> int:
        notes.note("inline")
        if current_step().attempt < 2:
            raise ConnectionError
        return 2

    @graph.layer(on_error=recover)
    async def recovered() -> int:
        raise ValueError

    @graph.layer(depends_on=when(threaded, lambda count: count > 1))
    async def skipped() -> int:
        return 1

    @graph.layer
    async def end(
        one: int = use(threaded),
        two: int = use(inline),
        three: int = use(recovered),
        four: Any = use(skipped, default=0),
    ) -> int:
        notes.note("end")
        return one + two + three + int(four)

    return end


def a_subprocess(graph: Graph, notes: Notes) -> Any:
    elsewhere = graph.layer(run_in="subprocess", name="elsewhere")(_elsewhere)

    @graph.layer
    async def end(number: int = use(elsewhere)) -> int:
        notes.note("end")
        return number

    return end


def _elsewhere() -> int:
    return 42


def items_inside_a_step(graph: Graph, notes: Notes) -> Any:
    async def one(number: int) -> int:
        notes.note(f"item {number}")
        return 2 * number

    @graph.layer
    async def batch() -> list[int]:
        return list(await run_items([1, 2, 3], one))

    @graph.layer
    async def end(numbers: list[int] = use(batch)) -> int:
        notes.note("end")
        return sum(numbers)

    return end


def a_method(_graph: Graph, notes: Notes) -> Any:
    class Service:
        async def undo(self, artifact: int) -> None:
            notes.note(f"undo {artifact}")

        @layer
        async def first(self) -> int:
            notes.note("first")
            return 1

        @layer
        async def end(self, number: int = use(first)) -> int:
            notes.note("end")
            return number

    return Service().end


BUILDS: list[Build] = [
    *(fan_outs_with_resources, a_resource_that_cannot_be_set_up, threads_limits_and_recoveries, a_subprocess),
    *(items_inside_a_step, a_method, processes("parallel"), processes("sequential")),
    *(processes("batched", size=2), processes("isolated", delay=0.001)),
]


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
async def test_everything_goes_on_and_can_be_shown(build: Build, journal: Journal) -> None:
    notes, calm_notes, before = Notes(), Notes(), running_tasks()
    calm = await compile_plan(build(Graph("calm"), calm_notes)).run()
    plan = compile_plan(build(Graph("plan"), notes)).options(journal=journal, run_id="order")
    notes.broken["end"] = 1

    views(await broken_off(plan))
    first = notes.taken()
    run = await plan.run()
    views(run)
    again = notes.taken()
    whole = await plan.resume("order")
    views(whole)

    assert sorted(first) == sorted(calm_notes.calls)
    assert [name for name in again if "open" not in name and "close" not in name] == ["end"]
    assert (ended(run), run.result, run.status) == (ended(calm), calm.result, calm.status)
    assert (lasting(ended(whole)), whole.result, whole.status) == (lasting(ended(calm)), calm.result, calm.status)
    assert notes.calls == []
    assert [found.status for found in journal.runs()] == [calm.status]
    await assert_settled(before)


# What goes in and comes out


@dataclass(frozen=True)
class Plain:
    name: str
    sizes: tuple[int, ...]


@attrs.frozen
class Defined:
    name: str
    sizes: tuple[int, ...]


class Packed(msgspec.Struct, frozen=True):
    name: str
    sizes: tuple[int, ...]


class Modelled(pydantic.BaseModel, frozen=True):
    name: str
    sizes: tuple[int, ...]


def to_plain(model: Modelled) -> Any:
    return model.model_dump(mode="json")


OF_MODELS = Codec([Conversion(Modelled, to_plain, Modelled.model_validate)])


@pytest.mark.parametrize("kind", [Plain, Defined, Packed, Modelled])
async def test_classes_of_inputs_and_artifacts(kind: Any) -> None:
    notes, graph, journal = Notes(), Graph("classes"), MemoryJournal(codec=OF_MODELS)
    value = kind(name="chair", sizes=(1, 2))

    async def pass_on(given: Any) -> Any:
        notes.note("pass on")
        return given

    async def end(given: Any, name: str, sizes: tuple[int, ...]) -> Any:
        notes.note("end")
        return given, name, sizes

    pass_on.__annotations__ = {"given": kind, "return": kind}
    end.__annotations__ |= {"given": kind, "return": tuple[kind, str, tuple[int, ...]]}
    loose: Any = graph
    last = loose.add_layer(end, bind={"given": loose.add_layer(pass_on)})
    plan: Any = compile_plan(last).options(journal=journal, run_id="order")
    notes.broken["end"] = 1

    with pytest.raises(Outage):
        await plan.run(given=value, name="n", sizes=(3,))
    run = await plan.resume("order")

    assert run.result == (value, "n", (3,))
    assert type(run.result[0]) is kind
    assert notes.calls == ["pass on", "end", "end"]
    assert (await plan.run(given=value, name="n", sizes=(3,))).result == run.result


async def test_a_plan_with_a_class_of_inputs(journal: Journal) -> None:
    graph = Graph("inputs")

    @graph.layer
    async def end(name: str, sizes: tuple[int, ...]) -> str:
        return f"{name} {sizes}"

    plan = compile_plan(end, inputs=Plain).options(journal=journal, run_id="order")
    assert (await plan.run(Plain("chair", (1, 2)))).result == "chair (1, 2)"
    assert (await plan.run(Plain("chair", (1, 2)))).replayed == ("end",)
    assert (await plan.resume("order")).result == "chair (1, 2)"


@dataclass(frozen=True)
class Till:
    shop: str

    async def undo(self, artifact: str) -> None:
        LEDGER.append(f"undo {artifact} of {self.shop}")

    @layer(compensate=undo)
    async def pay(self) -> str:
        LEDGER.append("pay")
        return f"paid {self.shop}"

    @layer
    async def ship(self, paid: str = use(pay)) -> str:
        raise Outage(paid)


LEDGER: list[str] = []


async def test_an_instance_that_is_an_input_is_kept_and_undone_by(journal: Journal) -> None:
    LEDGER.clear()
    plan: Any = compile_plan(Till.ship).options(journal=journal, run_id="order")
    for _ in range(2):
        with pytest.raises(Outage):
            await plan.run(self=Till("corner"))
    with pytest.raises(Outage):
        await plan.resume("order")
    assert LEDGER == ["pay", "undo paid corner of corner"]


# Nested plans


async def test_a_nested_plan_with_a_journal_and_an_id_goes_on_inside(journal: Journal) -> None:
    notes, inner, outer = Notes(), Graph("inner"), Graph("outer")

    @inner.layer
    async def first() -> str:
        notes.note("first")
        return "first"

    @inner.layer
    async def second(given: str = use(first)) -> str:
        notes.note("second")
        return given

    within = outer.layer(compile_plan(second).options(journal=journal, run_id="inner"), name="within")
    plan = compile_plan(within).options(journal=journal, run_id="outer")
    notes.broken["second"] = 1

    with pytest.raises(Outage):
        _ = await plan.run()
    assert (await plan.run()).result == "first"
    assert notes.calls == ["first", "second", "second"]
    assert {found.run_id: found.status for found in journal.runs()} == {"inner": "succeeded", "outer": "succeeded"}


# Stand-ins


async def test_stand_ins_are_recorded_like_what_they_stand_for(journal: Journal) -> None:
    notes, graph = Notes(), Graph("stand-ins")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2]

    @graph.layer.each
    async def double(number: int = each(numbers)) -> int:
        return 2 * number

    @graph.layer
    async def total(batch: Batch[int] = use(double)) -> int:
        return sum(batch)

    @graph.layer
    async def end(number: int = use(total)) -> int:
        notes.note("end")
        return number

    async def other(batch: Batch[int]) -> int:
        notes.note("other")
        return 10 * sum(batch)

    stand_ins: dict[str, tuple[Any, int]] = {
        "one": (total.returns(7), 7),
        "whole": (double.returns(Batch({0: 5, 1: 6}, {})), 11),
        "calls": (total.calls(other), 60),
        "options": (total.with_options(retries=3), 6),
    }
    for run_id, (stand_in, due) in stand_ins.items():
        plan = compile_plan(end).override(stand_in).options(journal=journal, run_id=run_id)
        notes.broken["end"] = 1
        _ = await broken_off(plan)
        run = await plan.run()
        views(run)
        assert run.result == due
        assert (await plan.resume(run_id)).result == due
    assert notes.calls.count("other") == 1


# Who looks on


def watched(graph: Graph, notes: Notes) -> Any:
    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each(on_error="continue")
    async def item(number: int = each(numbers)) -> int:
        if number == 2:
            raise ValueError(number)
        return number

    @graph.layer(depends_on=when(numbers, lambda found: len(found) > 3))
    async def skipped() -> int:
        return 1

    @graph.layer
    async def end(batch: Batch[int] = use(item), extra: Any = use(skipped, default=0)) -> int:
        notes.note("end")
        return sum(batch) + int(extra)

    return end


async def test_subscribers_hear_the_same_ends_in_each_process(journal: Journal) -> None:
    notes = Notes()
    notes.broken["end"] = 1
    plan = compile_plan(watched(Graph("plan"), notes)).options(journal=journal, run_id="order")
    ends: list[dict[str, str]] = []
    orders: list[list[str]] = []

    def fall(_event: object) -> None:
        raise RuntimeError

    for number in range(3):
        inline: list[Any] = []
        threaded: list[Any] = []
        subscribers: list[Any] = [inline.append, Subscriber(threaded.append, threaded=True), fall]
        looked_at = plan.options(subscribers=subscribers, progress=True, verbose=True)
        with heard() as lines:
            run = await (looked_at.run() if number else broken_off(looked_at))
        assert sum(run.subscriber_failures.values()) == len(inline)
        assert [type(event) for event in inline] == [type(event) for event in threaded]
        orders.append([type(event).__name__ for event in inline])
        ends.append({event.step: type(event).__name__ for event in inline if _is_end(event)})
        assert len([line for line in lines if "succeeded" in line["message"]]) >= 3
        views(run)

    assert all((order[0], order[-1]) == ("RunStarted", "RunEnded") for order in orders)
    assert ends[1] == ends[2] == {**ends[0], "end": "StepSucceeded"}
    assert orders[2].count("AttemptStarted") == 0


def _is_end(event: object) -> bool:
    return type(event).__name__ in {"StepSucceeded", "StepFailed", "StepSkipped"}


def test_spans_of_a_resumed_run_are_whole(backend: Backend) -> None:
    notes, journal = Notes(), MemoryJournal()
    notes.broken["end"] = 1
    plan = compile_plan(watched(Graph("plan"), notes)).options(journal=journal, run_id="order")
    statuses: list[object] = []
    for _ in range(3):
        with telemetry.capture() as recording:
            _ = simulate(plan, backend=backend)
        assert_whole(recording)
        root = next(span for span in recording.spans if span.name == "plan end")
        statuses.append(dict(root.attributes or {})["fusynk.run.status"])
        assert "layer numbers" in {span.name for span in recording.spans} or len(statuses) > 1
    assert statuses == ["failed"] * 3


# The manager


async def test_runs_of_the_manager_are_recorded_each(journal: Journal) -> None:
    ran = anyio.Event()
    count = 0

    @worker(every=0.01)
    async def tick() -> int:
        nonlocal count
        count += 1
        if count == 3:
            ran.set()
        return count

    async with Manager(tick, options={"journal": journal}):
        with anyio.fail_after(20):
            await ran.wait()

    found = journal.runs()
    assert len(found) >= 3
    assert len({summary.run_id for summary in found}) == len(found)
    assert {summary.status for summary in found} <= {"succeeded", "cancelled"}
