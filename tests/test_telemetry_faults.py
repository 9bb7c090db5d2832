"""T12, P16, P17: whatever happens to a run, every span that started has ended; whatever records, the run goes on."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler, SamplingResult

from fusynk import Graph, Plan, compile_plan, milestone, telemetry
from fusynk.telemetry.providers import RECORDING, Providers
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests import test_t04_cancel_everywhere as t04
from tests import test_t05_faults as t05
from tests.observing import heard
from tests.recorded import assert_whole, attributes_of, layer_of, span_named, state_of

LONG = bool(os.environ.get("FUSYNK_LONG"))


# T12: in every case of T4 and T5


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize(("way", "backend"), t04.WAYS)
@pytest.mark.parametrize("add", t04.PLANS)
def test_t12_a_run_that_is_cancelled_after_any_step_ends_its_spans(
    add: t04.Add, way: t04.Way, backend: Backend
) -> None:
    total, spans = run_virtual(t04.one_run, add, way, 0, backend=backend), 0

    for at in range(1, total + 1):
        with telemetry.capture() as recording:
            run_virtual(t04.one_run, add, way, at, backend=backend)
        spans += len(recording.spans)
        try:
            assert_whole(recording)
        except BaseException as error:
            error.add_note(f"cancelled after step {at} of {total}")
            raise
    assert spans > total


@pytest.mark.parametrize("kind", t05.KINDS)
@pytest.mark.parametrize("add", t05.USER_SEAMS)
def test_t12_a_fault_in_user_code_ends_its_spans(
    add: Callable[[Graph, t05.Raise], None], kind: str, backend: Backend
) -> None:
    with telemetry.capture() as recording:
        t05.run_whole(backend, t05.one_faulty_run, add, kind)

    assert_whole(recording)
    assert state_of(span_named(recording, "layer sibling")) == "cancelled"
    failed = {layer_of(span) for span in recording.spans if state_of(span) == "failed"}
    assert failed & {"step", "step[1]"}
    assert attributes_of(recording.spans[-1])["fusynk.run.status"] == "failed"


@pytest.mark.parametrize("kind", t05.KINDS)
def test_t12_a_task_that_cannot_be_spawned_ends_the_spans(kind: str, backend: Backend) -> None:
    spans = 0
    for uses in range(1, 400):
        with telemetry.capture() as recording:
            came_to_it = run_virtual(t05.one_broken_run, kind, uses, t05.break_the_spawning, backend=backend)
        spans += len(recording.spans)
        try:
            assert_whole(recording)
        except BaseException as error:
            error.add_note(f"broken at use {uses}")
            raise
        if not came_to_it:
            assert spans > uses
            return
    pytest.fail("the seam is used without end")


# P16: what records is broken itself


class Broken(Exception):
    """What a broken part of OpenTelemetry raises."""


class BrokenProcessor(SpanProcessor):
    """Raises at the start or at the end of a span."""

    def __init__(self, error: BaseException, *, at_start: bool) -> None:
        self._error = error
        self._at_start = at_start

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self._at_start:
            raise self._error

    def on_end(self, span: ReadableSpan) -> None:
        if not self._at_start:
            raise self._error


class BrokenExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise Broken

    def shutdown(self) -> None: ...


class BrokenSampler(Sampler):
    def should_sample(self, *arguments: Any, **options: Any) -> SamplingResult:
        raise Broken

    def get_description(self) -> str:
        return "broken"


class BrokenProvider:
    """Makes nothing, of any kind."""

    def get_tracer(self, *arguments: Any, **options: Any) -> Any:
        raise Broken

    def get_meter(self, *arguments: Any, **options: Any) -> Any:
        raise Broken

    def get_logger(self, *arguments: Any, **options: Any) -> Any:
        raise Broken


class BrokenLogger:
    """A logger provider and its logger, which raises."""

    def get_logger(self, *arguments: Any) -> "BrokenLogger":
        return self

    def emit(self, *, event_name: str = "", **fields: object) -> None:
        raise Broken


class BrokenInstrument:
    """A meter provider, its meter and its instruments, which raise."""

    def __getattr__(self, name: str) -> Any:
        def make(*arguments: object, **options: object) -> "BrokenInstrument":
            if name in ("add", "record"):
                raise Broken
            return self

        return make


def provider_with(processor: SpanProcessor) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider


def nothing() -> Providers:
    return Providers(traces=None, figures=None, logs=None)


def broken_figures() -> Providers:
    figures: Any = BrokenInstrument()
    return Providers(traces=None, figures=figures, logs=None)


def broken_everything() -> Providers:
    everything: Any = BrokenProvider()
    return Providers(traces=everything, figures=everything, logs=everything)


def traced_by(provider: TracerProvider) -> Providers:
    return Providers(traces=provider, figures=None, logs=None)


BROKEN: dict[str, Callable[[], Providers]] = {
    "a processor at the start": lambda: traced_by(provider_with(BrokenProcessor(Broken(), at_start=True))),
    "a processor at the end": lambda: traced_by(provider_with(BrokenProcessor(Broken(), at_start=False))),
    "a processor that exits": lambda: traced_by(provider_with(BrokenProcessor(SystemExit(3), at_start=False))),
    "a processor that exits at the start": lambda: traced_by(
        provider_with(BrokenProcessor(SystemExit(3), at_start=True))
    ),
    "an exporter": lambda: traced_by(provider_with(SimpleSpanProcessor(BrokenExporter()))),
    "a sampler": lambda: traced_by(TracerProvider(BrokenSampler(), shutdown_on_exit=False)),
    "the instruments": broken_figures,
    "the providers": broken_everything,
    "the logger": lambda: Providers(traces=None, figures=None, logs=BrokenLogger()),
}


def plan_of_all_sorts(calls: list[str]) -> Plan[None, Any]:
    graph = Graph("all sorts")

    @graph.layer
    async def first() -> int:
        calls.append("first")
        milestone("begun", half=0.5)
        await anyio.sleep(1)
        return 1

    @graph.layer(retries=2, retry_delay=1, depends_on=first)
    async def flaky() -> int:
        calls.append("flaky")
        if calls.count("flaky") < 3:
            raise ConnectionError
        return 2

    @graph.layer(depends_on=first, on_error="continue")
    async def fails() -> None:
        calls.append("fails")
        raise ValueError

    @graph.layer(depends_on=[flaky, fails])
    async def last() -> str:
        calls.append("last")
        await anyio.sleep(1)
        return "done"

    return compile_plan(graph)


@pytest.mark.parametrize("part", BROKEN)
def test_p16_a_broken_part_of_opentelemetry_changes_nothing_of_a_run(
    part: str, backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    results: list[Any] = []
    for providers in (nothing(), BROKEN[part]()):
        calls: list[str] = []
        token = RECORDING.set(providers)
        try:
            with heard() as records:
                trace_of_run = simulate(plan_of_all_sorts(calls), backend=backend)
        finally:
            RECORDING.reset(token)
        told = [record["message"] for record in records if "raised" in record["message"]] + caplog.messages
        assert bool(told) == bool(results), told
        run = trace_of_run.run
        outcomes = {name: type(outcome).__name__ for name, outcome in run.outcomes.items()}
        attempts = [(attempt.step, attempt.number, type(attempt.error)) for attempt in run.attempts()]
        results.append((calls, outcomes, attempts, run.status, trace_of_run.seconds, trace_of_run.error))

    assert results[0] == results[1]


def test_p16_a_broken_processor_is_told_of_once_and_the_others_hear_the_rest(backend: Backend) -> None:
    class Lame(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise Broken

    with telemetry.capture() as recording:
        recording.tracer_provider.add_span_processor(Lame())
        trace_of_run = simulate(plan_of_all_sorts([]), backend=backend)

    assert trace_of_run.run.subscriber_failures == {}
    assert_whole(recording)
    assert state_of(span_named(recording, "layer last")) == "succeeded"


@pytest.mark.parametrize("at_start", [True, False])
def test_p16_a_processor_that_exits_leaves_no_span_open(backend: Backend, at_start: bool) -> None:
    class Exits(SpanProcessor):
        """Raises what is no ordinary error, at one span in the middle."""

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            if at_start and span.name == "layer flaky":
                raise SystemExit(3)

        def on_end(self, span: ReadableSpan) -> None:
            if not at_start and span.name == "attempt 2":
                raise SystemExit(3)

    with telemetry.capture() as recording:
        recording.tracer_provider.add_span_processor(Exits())
        run = simulate(plan_of_all_sorts([]), backend=backend).run

    assert run["last"] == "done"
    assert [name for name in recording.unfinished if not (at_start and name == "layer flaky")] == []


def test_p16_an_interrupt_that_meets_a_processor_ends_the_run_and_its_spans(backend: Backend) -> None:
    class Interrupted(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name == "attempt 2":
                raise KeyboardInterrupt

    with telemetry.capture() as recording:
        recording.tracer_provider.add_span_processor(Interrupted())
        with pytest.raises(KeyboardInterrupt):
            simulate(plan_of_all_sorts([]), backend=backend)

    assert recording.unfinished == ()


# P17, where nothing is sampled


def test_p17_a_run_that_is_not_sampled_has_no_spans_and_hands_that_decision_on(backend: Backend) -> None:
    seen: list[bool] = []
    graph = Graph("unsampled")

    @graph.layer(retries=1)
    async def step() -> None:
        span = trace.get_current_span()
        seen.append(span.get_span_context().is_valid and not span.get_span_context().trace_flags.sampled)

    token = RECORDING.set(traced_by(TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)))
    try:
        simulate(compile_plan(step), backend=backend)
    finally:
        RECORDING.reset(token)

    assert seen == [True]
