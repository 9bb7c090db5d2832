"""Setting up OpenTelemetry: once, on request, and never in place of what the application has set up."""

import json
from inspect import signature
from typing import Any

import pytest
from opentelemetry._logs import Logger

from fusynk import errors, telemetry
from tests.observing import python

PLAN = """
from fusynk import compile_plan, layer, milestone, telemetry

@layer(retries=1)
async def step() -> None:
    milestone("halfway", done=1)

plan = compile_plan(step)
"""


def said(source: str) -> tuple[str, str]:
    """What a program of its own prints, and what it prints to standard error."""
    ended = python(PLAN.replace(", telemetry", "") + "from fusynk import telemetry\n" + source, flags=("-W", "error"))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip(), ended.stderr.strip()


def test_the_console_gets_a_line_for_each_span_event_and_collection_of_metrics() -> None:
    out, err = said("""
installed = telemetry.setup(exporter="console", service_name="shop")
plan.run_sync()
installed.shutdown()
installed.shutdown()
""")

    told = [json.loads(line) for line in err.splitlines()]
    assert [document["name"] for document in told if "kind" in document] == ["attempt 1", "layer step", "plan step"]
    knows_events = "event_name" in signature(Logger.emit).parameters  # versions before 1.38 do not
    events = [document["event_name"] for document in told if "event_name" in document]
    assert events == (["fusynk.milestone"] if knows_events else [])
    [metrics] = [document for document in told if "resource_metrics" in document]
    names = {metric["name"] for scope in metrics["resource_metrics"][0]["scope_metrics"] for metric in scope["metrics"]}
    assert {"fusynk.layer.duration", "fusynk.plan.duration", "fusynk.layer.wait"} <= names
    assert {document["resource"]["attributes"]["service.name"] for document in told if "kind" in document} == {"shop"}
    assert out == ""


def test_memory_keeps_what_fusynk_and_the_application_record() -> None:
    out, err = said("""
from opentelemetry import trace
installed = telemetry.setup(exporter="memory")
with trace.get_tracer("mine").start_as_current_span("mine"):
    plan.run_sync()
installed.shutdown()
print([span.name for span in installed.recording.spans], [event.name for event in installed.recording.log_events])
print(sorted({figure.name for figure in installed.recording.figures}))
""")

    spans, figures = out.splitlines()
    assert spans == "['attempt 1', 'layer step', 'plan step', 'mine'] ['fusynk.milestone']"
    assert "'fusynk.layer.duration'" in figures
    assert err == ""


@pytest.mark.parametrize(
    "setting",
    [
        "from opentelemetry.sdk.trace import TracerProvider; trace.set_tracer_provider(TracerProvider())",
        "from opentelemetry.sdk.metrics import MeterProvider; metrics.set_meter_provider(MeterProvider())",
        'telemetry.setup(exporter="memory")',
    ],
)
def test_a_provider_that_is_set_is_left_alone(setting: str) -> None:
    out, _ = said(f"""
from opentelemetry import metrics, trace
{setting}
before = trace.get_tracer_provider(), metrics.get_meter_provider()
try:
    telemetry.setup(exporter="memory")
except telemetry.TelemetryInUse as error:
    print(error)
assert before == (trace.get_tracer_provider(), metrics.get_meter_provider())
""")

    assert out.startswith("The application has set its own ")
    assert out.endswith("leave out telemetry.setup(): fusynk uses what is set.")


def test_an_exporter_that_is_not_installed_is_named() -> None:
    out, _ = said("""
import sys
sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None
from opentelemetry import trace
try:
    telemetry.setup(exporter="otlp")
except telemetry.TelemetryUnavailable as error:
    print(error)
print(type(trace.get_tracer_provider()).__name__)
""")

    message, provider = out.splitlines()
    assert message == (
        'telemetry.setup(exporter="otlp") needs the package opentelemetry-exporter-otlp-proto-http, which is not '
        'installed; pip install it, or choose "console" or "memory".'
    )
    assert provider == "ProxyTracerProvider"


@pytest.mark.parametrize("function", ["setup", "capture"])
def test_without_the_sdk_an_error_says_what_to_install(function: str) -> None:
    out, _ = said(f"""
import sys
sys.modules["opentelemetry.sdk"] = None
try:
    telemetry.{function}()
except telemetry.TelemetryUnavailable as error:
    print(error)
print(plan.run_sync().ok)
""")

    message, ok = out.splitlines()
    assert message == (
        f"telemetry.{function}() needs the OpenTelemetry SDK, which is not installed; pip install 'fusynk[otel]'."
    )
    assert ok == "True"


def test_an_exporter_that_does_not_exist_is_refused() -> None:
    unknown: Any = "jaeger"
    with pytest.raises(errors.InvalidOption) as caught:
        telemetry.setup(exporter=unknown)
    assert str(caught.value) == (
        'telemetry.setup(exporter=\'jaeger\'): exporter must be "console", "memory" or "otlp".'
    )


def test_importing_telemetry_loads_no_sdk() -> None:
    ended = python("import sys, fusynk.telemetry; print([name for name in sys.modules if 'opentelemetry.sdk' in name])")
    assert (ended.stdout.strip(), ended.stderr) == ("[]", "")
