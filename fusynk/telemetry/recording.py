"""Recording telemetry in memory, for tests and for programs that look at their own. Needs the SDK, the extra `otel`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from types import MappingProxyType
from typing import Any, Self

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from fusynk.telemetry.providers import RECORDING, Providers


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of a metric.

    Attributes:
        name: The metric's name.
        attributes: What it is of.
        value: The value of a counter, the sum of a histogram.
        count: How many values a histogram holds; 1 for a counter.
        bounds: The boundaries of a histogram's buckets.
    """

    name: str
    attributes: Mapping[str, object]
    value: float
    count: int
    bounds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One log event.

    Attributes:
        name: The event's name.
        body: What it says.
        attributes: Its values.
        span_id: The span in which it happened, or 0.
        trace_id: The trace of that span, or 0.
    """

    name: str
    body: object
    attributes: Mapping[str, object]
    span_id: int
    trace_id: int


class _SpanKeeper(SpanProcessor):
    """Keeps spans that ended, in that order, and knows those that have not."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.open: dict[int, str] = {}
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - as the SDK calls it
        with self._lock:
            self.open[_id_of(span)] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            self.ended.append(span)
            self.open.pop(_id_of(span), None)


def _id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    return 0 if context is None else context.span_id


class _LogKeeper:
    """A logger provider and its one logger, which keeps what is emitted."""

    def __init__(self) -> None:
        self.emitted: list[LogEvent] = []

    def get_logger(self, name: str, version: str | None = None, /, **_others: object) -> Self:  # noqa: ARG002 - the API's shape
        return self

    def emit(
        self,
        record: Any = None,  # noqa: ANN401 - the API's shape, of a class that is not stable yet
        *,
        context: Context | None = None,
        body: object = None,
        attributes: Mapping[str, object] | None = None,
        event_name: str | None = None,
        **_others: object,
    ) -> None:
        if record is not None:
            body, attributes, event_name = record.body, record.attributes, getattr(record, "event_name", None)
            context = getattr(record, "context", None)
        span = trace.get_current_span(context).get_span_context()
        given = MappingProxyType(dict(attributes or {}))
        self.emitted.append(
            LogEvent(name=event_name or "", body=body, attributes=given, span_id=span.span_id, trace_id=span.trace_id)
        )


class Recording:
    """What was recorded: spans, figures and log events.

    Args:
        service_name: The name of the service.

    Attributes:
        tracer_provider: Makes tracers that record here; for spans of your own.
        meter_provider: Makes meters that record here.
    """

    def __init__(self, service_name: str) -> None:
        resource = Resource.create({"service.name": service_name})
        self._spans = _SpanKeeper()
        self._logs = _LogKeeper()
        self._reader = InMemoryMetricReader()
        self._final: tuple[Figure, ...] | None = None
        self.tracer_provider = TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(self._spans)
        self.meter_provider = MeterProvider([self._reader], resource, shutdown_on_exit=False)

    @property
    def providers(self) -> Providers:
        """What records here."""
        return Providers(traces=self.tracer_provider, figures=self.meter_provider, logs=self._logs)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans, in the order in which they ended."""
        return tuple(self._spans.ended)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """The names of spans that have started and not ended."""
        return tuple(self._spans.open.values())

    @property
    def log_events(self) -> tuple[LogEvent, ...]:
        """The log events, in order."""
        return tuple(self._logs.emitted)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures of all metrics."""
        return self._collected() if self._final is None else self._final

    def close(self) -> None:
        """Record no more."""
        if self._final is None:
            self._final = self._collected()
            self.tracer_provider.shutdown()
            self.meter_provider.shutdown()

    def _collected(self) -> tuple[Figure, ...]:
        read = self._reader.get_metrics_data()
        return tuple(
            _figure(metric.name, point)
            for resource in (read.resource_metrics if read is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
        )


def _figure(name: str, point: object) -> Figure:
    match point:
        case HistogramDataPoint():
            attributes = MappingProxyType(dict(point.attributes or {}))
            bounds = tuple(point.explicit_bounds)
            return Figure(name=name, attributes=attributes, value=point.sum, count=point.count, bounds=bounds)
        case NumberDataPoint():
            return Figure(
                name=name, attributes=MappingProxyType(dict(point.attributes or {})), value=point.value, count=1
            )
        case _:
            return Figure(name=name, attributes=MappingProxyType({}), value=0, count=0)


@contextmanager
def recorded() -> Generator[Recording]:
    """Record the telemetry of the runs that begin inside the block; see `fusynk.telemetry.capture`.

    Nothing global is touched: runs elsewhere, and spans of your own that come from the global provider, go where they
    always go. Spans of your own are recorded if they come from `recording.tracer_provider`.
    """
    recording, former = Recording("fusynk-recording"), RECORDING.get()
    RECORDING.set(recording.providers)
    try:
        yield recording
    finally:
        RECORDING.set(former)
        recording.close()
