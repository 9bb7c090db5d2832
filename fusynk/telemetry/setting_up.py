"""Setting up OpenTelemetry for an application that has not: opt-in, once, and never in place of a provider."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SimpleSpanProcessor

from fusynk.telemetry.errors import TelemetryInUse, TelemetryUnavailable
from fusynk.telemetry.providers import Providers, global_providers
from fusynk.telemetry.recording import Recording

_OTLP = "opentelemetry.exporter.otlp.proto.http"
_Anything: TypeAlias = Any  # of logs, whose interface is not stable yet


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exporters:
    """Where spans, metrics and logs go."""

    spans: SpanProcessor
    reader: MetricReader
    logs: _Anything


class Installed:
    """What `setup()` has set up.

    Attributes:
        recording: What was recorded, for the exporter "memory"; else `None`.
    """

    def __init__(self, close: Callable[[], None], recording: Recording | None = None) -> None:
        self._close: Callable[[], None] | None = close
        self.recording = recording

    def shutdown(self) -> None:
        """Export what is still buffered, and end. May be called again, to no effect."""
        close, self._close = self._close, None
        if close is not None:
            close()


def install(exporter: str, service_name: str) -> Installed:
    """Set the global providers; see `fusynk.telemetry.setup`."""
    _refuse_a_second_time()
    if exporter == "memory":
        recording = Recording(service_name)
        _set(recording.providers)
        return Installed(recording.close, recording)
    exporters = _console() if exporter == "console" else _otlp()
    resource = Resource.create({"service.name": service_name})
    traces, figures = TracerProvider(resource=resource), MeterProvider([exporters.reader], resource)
    traces.add_span_processor(exporters.spans)
    logs = _sdk_logs().LoggerProvider(resource)
    logs.add_log_record_processor(exporters.logs)
    _set(Providers(traces=traces, figures=figures, logs=logs))

    def close() -> None:
        traces.shutdown()
        figures.shutdown()
        logs.shutdown()

    return Installed(close)


def _refuse_a_second_time() -> None:
    known = global_providers()
    found = {"tracer": known.traces, "meter": known.figures, "logger": known.logs}
    taken = [f"{name} provider" for name, provider in found.items() if provider is not None]
    if taken:
        message = (
            f"The application has set its own {' and '.join(taken)}, and OpenTelemetry takes one only; "
            "leave out telemetry.setup(): fusynk uses what is set."
        )
        raise TelemetryInUse(message)


def _set(providers: Providers) -> None:
    if providers.traces is not None:
        trace.set_tracer_provider(providers.traces)
    if providers.figures is not None:
        metrics.set_meter_provider(providers.figures)
    _api_logs().set_logger_provider(providers.logs)


def _console() -> _Exporters:
    """Print to standard error, a line each: standard output is the program's."""
    export = import_module("opentelemetry.sdk._logs.export")
    console_of_logs: _Anything = getattr(export, "ConsoleLogRecordExporter", None) or export.ConsoleLogExporter
    return _Exporters(
        spans=SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stderr, formatter=_as_line)),
        reader=PeriodicExportingMetricReader(ConsoleMetricExporter(out=sys.stderr, formatter=_as_line)),
        logs=export.SimpleLogRecordProcessor(console_of_logs(out=sys.stderr, formatter=_as_line)),
    )


def _as_line(exported: _Anything) -> str:
    return f"{exported.to_json(indent=None)}\n"


def _otlp() -> _Exporters:
    """Send to a collector, where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    try:
        spans = import_module(f"{_OTLP}.trace_exporter")
        figures = import_module(f"{_OTLP}.metric_exporter")
        logs = import_module(f"{_OTLP}._log_exporter")
    except ImportError as error:
        message = (
            'telemetry.setup(exporter="otlp") needs the package opentelemetry-exporter-otlp-proto-http, which is not '
            'installed; pip install it, or choose "console" or "memory".'
        )
        raise TelemetryUnavailable(message) from error
    export = import_module("opentelemetry.sdk._logs.export")
    return _Exporters(
        spans=BatchSpanProcessor(spans.OTLPSpanExporter()),
        reader=PeriodicExportingMetricReader(figures.OTLPMetricExporter()),
        logs=export.BatchLogRecordProcessor(logs.OTLPLogExporter()),
    )


def _sdk_logs() -> _Anything:
    return import_module("opentelemetry.sdk._logs")


def _api_logs() -> _Anything:
    return import_module("opentelemetry._logs")
