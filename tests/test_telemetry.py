"""P17: what a run looks like in OpenTelemetry: its spans, its metrics and its log events."""

import subprocess
import sys
import threading
from typing import Any

import anyio
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import ReadableSpan

from fusynk import Graph, Plan, compile_plan, each, layer, milestone, run_of, telemetry, use, when
from fusynk.telemetry.metrics import SECONDS
from fusynk.telemetry.recording import Recording
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.recorded import (
    assert_whole,
    attributes_of,
    figure,
    id_of,
    is_error,
    layer_of,
    links_of,
    parent_name,
    span_named,
    spans_named,
    state_of,
)


def recorded(plan: Plan[Any, Any], backend: Backend, inputs: Any = None) -> Recording:
    """Simulate a plan, whatever becomes of it, and return what was recorded."""
    with telemetry.capture() as recording:
        simulate(plan, inputs, backend=backend)
    assert_whole(recording)
    return recording


# The tree


def test_p17_layers_lie_in_their_plan_and_link_to_what_they_depend_on(backend: Backend) -> None:
    graph = Graph("tree")

    @graph.layer
    async def left() -> int:
        return 1

    @graph.layer
    async def right() -> int:
        return 2

    @graph.layer(priority=7, depends_on=left)
    async def both(one: int = use(left), two: int = use(right)) -> int:
        return one + two

    recording = recorded(compile_plan(both), backend)

    assert sorted(span.name for span in recording.spans) == ["layer both", "layer left", "layer right", "plan both"]
    assert {parent_name(recording, span) for span in recording.spans} == {"plan both", None}
    joined = span_named(recording, "layer both")
    assert links_of(recording, joined) == {"left": "layer left", "right": "layer right"}
    assert attributes_of(joined) == {
        "fusynk.plan.name": "both",
        "fusynk.run.id": "simulation",
        "fusynk.layer.name": "both",
        "fusynk.layer.priority": 7,
        "fusynk.layer.attempt": 1,
        "fusynk.layer.state": "succeeded",
        "code.function.name": f"{__name__}.{both.__wrapped__.__qualname__}",
        "code.file.path": __file__,
        "code.line.number": both.unit.location.line,
    }
    plan = span_named(recording, "plan both")
    assert attributes_of(plan) == {
        "fusynk.plan.name": "both",
        "fusynk.run.id": "simulation",
        "fusynk.run.status": "succeeded",
    }
    assert {span.kind for span in recording.spans} == {trace.SpanKind.INTERNAL}


def test_p17_a_plan_is_called_by_its_targets_and_of_many_by_the_first(backend: Backend) -> None:
    graph = Graph("wide")
    for number in range(5):
        graph.add_layer(nothing, name=f"s{number}")

    recording = recorded(compile_plan(graph), backend)

    assert recording.spans[-1].name == "plan s0, s1, s2, 2 more"


async def nothing() -> None: ...


def test_p17_the_span_of_a_layer_covers_every_attempt_and_the_delays_between(backend: Backend) -> None:
    calls: list[str] = []

    @layer(retries=2, retry_delay=3600)
    async def flaky() -> str:
        calls.append("called")
        if len(calls) < 3:
            raise ConnectionError
        return "done"

    recording = recorded(compile_plan(flaky), backend)

    names = [span.name for span in recording.spans]
    assert names == ["attempt 1", "attempt 2", "attempt 3", "layer flaky", "plan flaky"]
    attempts = recording.spans[:3]
    assert [parent_name(recording, span) for span in attempts] == ["layer flaky"] * 3
    assert [state_of(span) for span in attempts] == ["failed", "failed", "succeeded"]
    assert [attributes_of(span).get("error.type") for span in attempts] == ["ConnectionError", "ConnectionError", None]
    assert [attributes_of(span)["fusynk.layer.attempt"] for span in recording.spans[:4]] == [1, 2, 3, 3]
    assert not any(map(is_error, recording.spans))
    assert figure(recording, "fusynk.layer.duration", layer_name="flaky").value == 7200


def test_p17_only_the_final_failure_is_an_error(backend: Backend) -> None:
    @layer(retries=1)
    async def hopeless() -> None:
        raise ConnectionError

    recording = recorded(compile_plan(hopeless), backend)

    assert [(span.name, is_error(span)) for span in recording.spans] == [
        ("attempt 1", False),
        ("attempt 2", True),
        ("layer hopeless", True),
        ("plan hopeless", True),
    ]
    assert {attributes_of(span)["error.type"] for span in recording.spans} == {"ConnectionError"}


def test_p17_a_layer_that_recovers_is_no_error(backend: Backend) -> None:
    @layer(retries=1, on_error=lambda _error: "instead")
    async def saved() -> str:
        raise ConnectionError

    recording = recorded(compile_plan(saved), backend)

    assert [state_of(span) for span in recording.spans] == ["failed", "failed", "succeeded", ""]
    assert not any(map(is_error, recording.spans))


def test_p17_items_lie_in_their_fan_out_and_link_along_a_chain(backend: Backend) -> None:
    graph = Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return [3, 1]

    @graph.layer.each
    async def first(number: int = each(numbers)) -> int:
        await anyio.sleep(number)
        return number

    @graph.layer.each
    async def second(number: int = each(first)) -> int:
        return number

    recording = recorded(compile_plan(graph), backend)

    for name in ("first", "second"):
        items = spans_named(recording, f"item {name}")
        assert {layer_of(span) for span in items} == {f"{name}[0]", f"{name}[1]"}
        assert {parent_name(recording, span) for span in items} == {f"layer {name}"}
    assert links_of(recording, span_named(recording, "layer first")) == {"numbers": "layer numbers"}
    ids = {id_of(span): layer_of(span) for span in recording.spans}
    chained = {layer_of(span): [ids[link.context.span_id] for link in span.links] for span in recording.spans}
    assert (chained["second[0]"], chained["second[1]"], chained["first[0]"]) == (["first[0]"], ["first[1]"], [])


def test_p17_a_fan_out_that_fails_ends_after_its_items(backend: Backend) -> None:
    graph = Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each
    async def item(number: int = each(numbers)) -> None:
        await anyio.sleep(number)
        if number == 2:
            raise ValueError(number)

    recording = recorded(compile_plan(graph), backend)

    names = [layer_of(span) for span in recording.spans]
    assert names.index("item") > max(names.index(f"item[{number}]") for number in range(3))
    states = {layer_of(span): state_of(span) for span in recording.spans}
    assert states["item"] == states["item[1]"] == "failed"
    assert (states["item[0]"], states["item[2]"]) == ("succeeded", "cancelled")


def test_p17_an_empty_fan_out_and_a_skipped_layer_have_no_span(backend: Backend) -> None:
    graph = Graph("empty")

    @graph.layer
    async def numbers() -> list[int]:
        return []

    @graph.layer.each
    async def item(number: int = each(numbers)) -> int:
        return number

    @graph.layer(depends_on=when(numbers, bool))
    async def skipped() -> None: ...

    recording = recorded(compile_plan(graph), backend)

    assert {layer_of(span) for span in recording.spans} == {"numbers", ""}
    [told] = recording.log_events
    assert (told.name, told.attributes["fusynk.layer.name"]) == ("fusynk.layer.skipped", "skipped")
    assert told.attributes["fusynk.skip.because"] == "numbers"
    assert told.span_id == id_of(recording.spans[-1])


def test_p17_a_layer_that_fails_before_it_is_called_has_its_span(backend: Backend) -> None:
    def break_down(_value: int) -> bool:
        raise LookupError

    graph = Graph("early")

    @graph.layer
    async def one() -> int:
        return 1

    @graph.layer(depends_on=when(one, break_down))
    async def never() -> None: ...

    recording = recorded(compile_plan(graph), backend)

    failed = span_named(recording, "layer never")
    assert (is_error(failed), attributes_of(failed)["error.type"]) == (True, "LookupError")
    assert figure(recording, "fusynk.layer.errors", layer_name="never").value == 1


def test_p17_what_is_cancelled_is_no_error(backend: Backend) -> None:
    graph = Graph("cancelled")

    @graph.layer
    async def slow() -> None:
        await anyio.sleep(100)

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(1)
        raise ValueError

    recording = recorded(compile_plan(graph), backend)

    cancelled = span_named(recording, "layer slow")
    assert (state_of(cancelled), is_error(cancelled)) == ("cancelled", False)
    plan = recording.spans[-1]
    assert (attributes_of(plan)["error.type"], is_error(plan)) == ("ValueError", True)


def test_p17_a_deadline_is_the_error_of_its_plan(backend: Backend) -> None:
    @layer
    async def slow() -> None:
        await anyio.sleep(100)

    recording = recorded(compile_plan(slow, deadline=1), backend)

    assert attributes_of(recording.spans[-1])["error.type"] == "DeadlineExceeded"
    assert [is_error(span) for span in recording.spans] == [False, True]


async def test_p17_a_run_that_its_caller_cancels_is_no_error() -> None:
    @layer
    async def slow() -> None:
        await anyio.sleep(100)

    with telemetry.capture() as recording, anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(compile_plan(slow).run)
            await anyio.sleep(0.01)
            scope.cancel()

    assert_whole(recording)
    assert [(state_of(span), is_error(span)) for span in recording.spans] == [("cancelled", False), ("", False)]
    assert attributes_of(recording.spans[-1])["fusynk.run.status"] == "cancelled"


def test_p17_compensations_and_teardowns_that_fail_are_told_and_leave_no_span_open(backend: Backend) -> None:
    graph = Graph("undone")

    def undo(_artifact: int) -> None:
        raise LookupError

    @graph.layer(compensate=undo)
    async def done() -> int:
        return 1

    @graph.layer
    async def resource() -> Any:
        yield 1
        raise OSError

    @graph.layer(depends_on=[done, resource])
    async def fails() -> None:
        raise ValueError

    recording = recorded(compile_plan(graph), backend)

    told = {event.name: event.attributes for event in recording.log_events}
    assert told["fusynk.layer.compensation_failed"]["error.type"] == "LookupError"
    assert told["fusynk.layer.teardown_failed"]["error.type"] == "OSError"
    assert attributes_of(recording.spans[-1])["error.type"] == "ValueError"


# The context of bodies


def current_id() -> int:
    return trace.get_current_span().get_span_context().span_id


async def test_p17_the_span_of_an_attempt_is_current_in_every_kind_of_body() -> None:  # noqa: C901 (many small functions)
    graph, seen = Graph("bodies"), dict[str, int]()

    @graph.layer
    async def at_once() -> None:
        seen["layer at_once"] = current_id()

    @graph.layer
    async def suspended() -> None:
        await anyio.sleep(0.001)
        seen["layer suspended"] = current_id()

    @graph.layer
    async def parent() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async def child() -> None:
        await anyio.sleep(0.001)
        seen["layer parent"] = current_id()

    @graph.layer
    def threaded() -> None:
        seen["layer threaded"] = current_id()
        assert threading.current_thread() is not threading.main_thread()

    @graph.layer(run_in="inline")
    def inline() -> None:
        seen["layer inline"] = current_id()

    @graph.layer(retries=1)
    async def retried() -> None:
        seen["attempt 1"] = current_id()

    @graph.layer
    async def resource() -> Any:
        seen["layer resource"] = current_id()
        yield
        assert seen["layer resource"] == current_id()

    @graph.layer(depends_on=[resource])
    async def fails() -> None:
        raise UnicodeError

    def undo(_artifact: None) -> None:
        seen["plan"] = current_id()

    graph.add_layer(nothing, name="undone", compensate=undo)
    before = current_id()
    with telemetry.capture() as recording, pytest.raises(UnicodeError):
        await compile_plan(graph, concurrency=1).run()

    assert current_id() == before
    assert_whole(recording)
    ids = {span.name: id_of(span) for span in recording.spans}
    ids["plan"] = id_of(recording.spans[-1])
    assert seen == {name: ids[name] for name in seen}
    assert len(seen) == 8


async def test_p17_spans_of_the_user_s_own_nest_where_they_were_made() -> None:
    graph = Graph("nested")
    with telemetry.capture() as recording:
        tracer = trace.get_tracer("mine", tracer_provider=recording.tracer_provider)

        @graph.layer
        def query() -> None:
            with tracer.start_as_current_span("select"):
                pass

        @graph.layer(depends_on=query)
        async def request() -> None:
            with tracer.start_as_current_span("get"):
                await anyio.sleep(0.001)

        with tracer.start_as_current_span("caller"):
            await compile_plan(request).run()

    assert recording.unfinished == ()
    parents = {span.name: parent_name(recording, span) for span in recording.spans}
    assert parents == {
        "select": "layer query",
        "layer query": "plan request",
        "get": "layer request",
        "layer request": "plan request",
        "plan request": "caller",
        "caller": None,
    }


async def test_p17_a_nested_run_lies_in_the_layer_that_starts_it() -> None:
    @layer
    async def inner() -> int:
        return 1

    nested = layer(compile_plan(inner), name="nested")

    @layer
    async def by_hand(value: int = use(nested)) -> int:
        return value + (await compile_plan(inner).run()).result

    with telemetry.capture() as recording:
        run = await compile_plan(by_hand).run()

    assert run.result == 2
    assert_whole(recording)
    parents = [parent_name(recording, span) for span in spans_named(recording, "plan inner")]
    assert parents == ["layer nested", "layer by_hand"]


async def test_p17_baggage_of_the_caller_reaches_bodies_and_nothing_leaks_out() -> None:
    seen: list[object] = []

    @layer
    async def first() -> None:
        seen.append(baggage.get_baggage("tenant"))
        contexts.attach(baggage.set_baggage("tenant", "changed"))

    @layer(depends_on=first)
    async def second() -> None:
        seen.append(baggage.get_baggage("tenant"))

    token = contexts.attach(baggage.set_baggage("tenant", "acme"))
    before = contexts.get_current()
    try:
        with telemetry.capture():
            await compile_plan(second).run()
        assert contexts.get_current() is before
    finally:
        contexts.detach(token)

    assert seen == ["acme", "acme"]


def trace_parent() -> int:
    """The id of the span that is current in a subprocess."""
    milestone("asked")
    return current_id()


async def test_p17_a_subprocess_continues_the_trace() -> None:
    asked = layer(trace_parent, name="asked", run_in="subprocess")

    with telemetry.capture() as recording:
        run = await compile_plan(asked).run()

    assert_whole(recording)
    assert run.result == id_of(span_named(recording, "layer asked"))
    assert [event.span_id for event in recording.log_events] == [run.result]


# Metrics


def test_p17_figures_count_what_happened(backend: Backend) -> None:
    graph, calls = Graph("figures"), list[int]()

    @graph.layer
    async def first() -> list[int]:
        await anyio.sleep(2)
        return [1, 2]

    @graph.layer.each(on_error="continue")
    async def item(number: int = each(first)) -> int:
        await anyio.sleep(10)
        if number == 2:
            raise ValueError
        return number

    @graph.layer(retries=3, retry_delay=1)
    async def flaky() -> None:
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError

    recording = recorded(compile_plan(graph, concurrency=1), backend)

    total = figure(recording, "fusynk.plan.duration")
    assert (total.value, total.count, total.bounds) == (23, 1, SECONDS)
    assert total.attributes == {"fusynk.plan.name": "flaky, item", "fusynk.run.status": "failed"}
    assert figure(recording, "fusynk.layer.duration", layer_name="first").value == 2
    assert figure(recording, "fusynk.layer.duration", layer_name="item", layer_state="failed").count == 1
    assert figure(recording, "fusynk.layer.wait", layer_name="first").value == 0
    assert figure(recording, "fusynk.layer.wait", layer_name="item").value == 10
    assert figure(recording, "fusynk.layer.wait", layer_name="flaky").value == 2
    assert figure(recording, "fusynk.layer.retries", layer_name="flaky").value == 2
    errors = {
        (one.attributes["fusynk.layer.name"], one.attributes["error.type"]): one.value
        for one in recording.figures
        if one.name == "fusynk.layer.errors"
    }
    assert errors == {("flaky", "ConnectionError"): 2, ("item", "ValueError"): 1}
    assert not any("fusynk.run.id" in one.attributes for one in recording.figures)


async def test_p17_gauges_show_what_runs_and_what_waits_while_it_does() -> None:
    graph, seen = Graph("gauges"), list[tuple[float, float]]()

    @graph.layer
    async def looks() -> None:
        seen.append((figure(recording, "fusynk.layer.running").value, figure(recording, "fusynk.layer.pending").value))

    graph.add_layer(nothing, name="later", depends_on="looks")
    graph.add_layer(nothing, name="last", depends_on="later")
    with telemetry.capture() as recording:
        await compile_plan(graph).run()

    assert seen == [(1, 2)]
    assert_whole(recording)


def test_p17_the_pause_of_an_isolated_process_is_no_waiting(backend: Backend) -> None:
    graph = Graph("isolated")
    members = [graph.add_layer(nothing, name=name) for name in ("a", "b")]
    graph.process("isolated", *members, mode="isolated", delay=5)

    recording = recorded(compile_plan(graph), backend)

    assert figure(recording, "fusynk.layer.wait", layer_name="b").value == 0
    assert figure(recording, "fusynk.plan.duration").value == 5


async def test_p17_the_instruments_are_made_once_for_a_provider() -> None:
    @layer
    async def step() -> None: ...

    with telemetry.capture() as recording:
        for _ in range(3):
            await compile_plan(step).run()

    assert figure(recording, "fusynk.plan.duration").count == 3


# Log events


def test_p17_milestones_and_retries_are_log_events_of_their_span(backend: Backend) -> None:
    calls: list[int] = []

    @layer(retries=1, retry_delay=4)
    async def flaky() -> None:
        calls.append(1)
        milestone("halfway", done=3, of=4.5, who="me", why=object())
        if len(calls) == 1:
            raise ConnectionError

    recording = recorded(compile_plan(flaky), backend)

    ids = {span.name: id_of(span) for span in recording.spans}
    told = [(event.name, event.span_id) for event in recording.log_events]
    assert told == [
        ("fusynk.milestone", ids["attempt 1"]),
        ("fusynk.layer.retry", ids["layer flaky"]),
        ("fusynk.milestone", ids["attempt 2"]),
    ]
    reached, retried = recording.log_events[:2]
    assert {name: value for name, value in reached.attributes.items() if "milestone" in name} == {
        "fusynk.milestone.name": "halfway",
        "fusynk.milestone.value.done": 3,
        "fusynk.milestone.value.of": 4.5,
        "fusynk.milestone.value.who": "me",
        "fusynk.milestone.value.why": "<object>",
    }
    assert (retried.attributes["fusynk.layer.attempt"], retried.attributes["fusynk.retry.delay"]) == (2, 4)


def test_a_milestone_of_a_thread_belongs_to_its_span() -> None:
    @layer
    def threaded() -> None:
        milestone("there")

    with telemetry.capture() as recording:
        compile_plan(threaded).run_sync()

    [event] = recording.log_events
    assert event.span_id == id_of(span_named(recording, "layer threaded"))


# What it takes


def in_a_fresh_interpreter(source: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", source], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_neither_importing_nor_running_loads_opentelemetry_unless_the_application_does() -> None:
    source = """
import sys
from fusynk import compile_plan, layer

@layer
async def step() -> None: ...

compile_plan(step).run_sync()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    assert in_a_fresh_interpreter(source) == "[]"


def test_an_application_that_only_loads_the_api_gets_no_provider_and_no_span() -> None:
    source = """
import sys
from opentelemetry import trace
from fusynk import compile_plan, layer

@layer
async def step() -> bool:
    return trace.get_current_span() is trace.INVALID_SPAN

print(compile_plan(step).run_sync().result, type(trace.get_tracer_provider()).__name__)
print([name for name in sys.modules if name.startswith("opentelemetry.sdk")])
"""
    assert in_a_fresh_interpreter(source).splitlines() == ["True ProxyTracerProvider", "[]"]


def test_a_provider_that_the_application_sets_is_used_by_runs_that_begin_later() -> None:
    source = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from fusynk import compile_plan, layer

@layer
async def step() -> None: ...

plan, exporter = compile_plan(step), InMemorySpanExporter()
plan.run_sync()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
plan.run_sync()
print([span.name for span in exporter.get_finished_spans()])
print({span.instrumentation_scope.name for span in exporter.get_finished_spans()})
"""
    assert in_a_fresh_interpreter(source).splitlines() == ["['layer step', 'plan step']", "{'fusynk'}"]


def test_an_interpreter_without_opentelemetry_runs_plans() -> None:
    source = """
import sys
sys.modules["opentelemetry"] = sys.modules["opentelemetry.trace"] = None
from fusynk import compile_plan, layer

@layer
async def step() -> int:
    return 1

print(compile_plan(step).run_sync().result)
"""
    assert in_a_fresh_interpreter(source) == "1"


def test_what_is_recorded_can_be_read_while_recording_and_afterwards(backend: Backend) -> None:
    @layer
    async def step() -> None: ...

    with telemetry.capture() as recording:
        simulate(compile_plan(step), backend=backend)
        during = (len(recording.spans), len(recording.figures))
        with telemetry.capture() as inner:
            simulate(compile_plan(step), backend=backend)
    simulate(compile_plan(step), backend=backend)

    assert during == (len(recording.spans), len(recording.figures))
    assert len(inner.spans) == 2
    assert during[0] == 2


def test_a_failed_run_is_recorded_with_its_run_id(backend: Backend) -> None:
    @layer
    async def fails() -> None:
        raise ValueError

    with telemetry.capture() as recording:
        error = simulate(compile_plan(fails, run_id="order-42"), backend=backend).error

    assert error is not None
    run = run_of(error)
    assert run is not None
    spans: list[ReadableSpan] = [*recording.spans]
    assert {attributes_of(span)["fusynk.run.id"] for span in spans} == {run.id} == {"order-42"}
