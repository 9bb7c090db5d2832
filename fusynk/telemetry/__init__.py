"""OpenTelemetry: a plan's runs as spans, metrics and log events, wherever the application has set up a provider.

Nothing need be called for that. This module is for applications that have none (`setup`) and for tests (`capture`);
both need the SDK, the extra `otel`.
"""

from typing import TYPE_CHECKING, Literal

from fusynk._core.captured import Captured
from fusynk.errors import InvalidOption, shown
from fusynk.telemetry.errors import TelemetryInUse, TelemetryUnavailable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from fusynk.telemetry.recording import Recording
    from fusynk.telemetry.setting_up import Installed

__all__ = ["Captured", "TelemetryInUse", "TelemetryUnavailable", "capture", "setup"]

_EXPORTERS = ("console", "memory", "otlp")


def setup(*, exporter: Literal["console", "memory", "otlp"] = "console", service_name: str = "fusynk") -> "Installed":
    """Set the providers of OpenTelemetry for this process, which can be done once, and return what ends them.

    Args:
        exporter: "console" prints to standard error, "memory" keeps everything in `.recording`, "otlp" sends to the
            collector that OTEL_EXPORTER_OTLP_ENDPOINT names.
        service_name: How backends call this application.

    Raises:
        TelemetryInUse: The application has set a provider itself; fusynk uses that one.
        TelemetryUnavailable: The SDK, or the exporter of "otlp", is not installed.
        InvalidOption: There is no such exporter.
    """
    if exporter not in _EXPORTERS:
        message = f'telemetry.setup(exporter={shown(exporter)}): exporter must be "console", "memory" or "otlp".'
        raise InvalidOption(message)
    try:
        from fusynk.telemetry.setting_up import install  # noqa: PLC0415 - the SDK is optional, and slow to import
    except ImportError as error:
        raise TelemetryUnavailable(_without_sdk("setup")) from error
    return install(exporter, service_name)


def capture() -> "AbstractContextManager[Recording]":
    """Record the telemetry of the runs that begin inside a `with` block, for tests. Nothing global is touched.

    >>> from fusynk import compile_plan, layer
    >>> @layer
    ... async def answer() -> int:
    ...     return 42
    >>> with capture() as recording:
    ...     run = compile_plan(answer).run_sync()
    >>> [span.name for span in recording.spans]
    ['layer answer', 'plan answer']

    Raises:
        TelemetryUnavailable: The SDK is not installed.
    """
    try:
        from fusynk.telemetry.recording import recorded  # noqa: PLC0415 - as above
    except ImportError as error:
        raise TelemetryUnavailable(_without_sdk("capture")) from error
    return recorded()


def _without_sdk(function: str) -> str:
    return f"telemetry.{function}() needs the OpenTelemetry SDK, which is not installed; pip install 'fusynk[otel]'."
