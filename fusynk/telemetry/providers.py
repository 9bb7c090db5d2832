"""Where telemetry goes: what the application has set up, or what a test records with. Nothing is set up here."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from inspect import signature
from typing import Any, Final, Protocol, TypeVar, cast
from weakref import WeakKeyDictionary

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import NoOpTracer, Tracer, TracerProvider

from fusynk.telemetry.log_events import Emit
from fusynk.telemetry.metrics import Instruments, make_instruments

T = TypeVar("T")
P = TypeVar("P")

_LOGS: Final = "opentelemetry._logs"  # the interface of logs is not stable yet, hence the underscore
_SCOPE: Final = "fusynk"


class LoggerProvider(Protocol):
    """What makes loggers."""

    def get_logger(self, name: str, version: str | None = None, /) -> Any:  # noqa: ANN401 - not stable yet
        """Return a logger."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Who makes tracers, meters and loggers; `None` where nobody records.

    Attributes:
        traces: Makes tracers.
        figures: Makes meters.
        logs: Makes loggers.
    """

    traces: TracerProvider | None
    figures: MeterProvider | None
    logs: LoggerProvider | None


RECORDING: Final = ContextVar[Providers | None]("fusynk_recording", default=None)


def current_providers() -> Providers:
    """Return where the telemetry of a run that begins now goes."""
    return RECORDING.get() or global_providers()


def global_providers() -> Providers:
    """Return what the application has set."""
    logs = sys.modules.get(_LOGS)
    return Providers(
        traces=_unless_idle(trace.get_tracer_provider()),
        figures=_unless_idle(metrics.get_meter_provider()),
        logs=_unless_idle(cast("LoggerProvider", logs.get_logger_provider())) if logs is not None else None,
    )


def _unless_idle(provider: P) -> P | None:
    """Return a provider unless it is one of those that OpenTelemetry has where nobody has set one."""
    return None if type(provider).__name__.lstrip("_").startswith(("Proxy", "NoOp")) else provider


@cache
def _version() -> str:
    try:
        return metadata.version(_SCOPE)
    except metadata.PackageNotFoundError:
        return ""


_TRACERS: Final = WeakKeyDictionary[TracerProvider, Tracer]()
_INSTRUMENTS: Final = WeakKeyDictionary[MeterProvider, Instruments]()


def tracer_of(provider: TracerProvider) -> Tracer | None:
    """Return the tracer of a provider, or `None` if it records nothing."""
    tracer = _kept(_TRACERS, provider, lambda: provider.get_tracer(_SCOPE, _version()))
    return None if isinstance(tracer, NoOpTracer) else tracer


def instruments_of(provider: MeterProvider) -> Instruments:
    """Return the instruments of a provider, the same for every run."""
    return _kept(_INSTRUMENTS, provider, lambda: make_instruments(provider, _version()))


def _kept(known: WeakKeyDictionary[P, T], provider: P, make: Callable[[], T]) -> T:
    """Return what was made of a provider before, or make it."""
    with suppress(TypeError):  # not every object can be referred to weakly
        if provider not in known:
            known[provider] = make()
        return known[provider]
    return make()


def emitter_of(provider: LoggerProvider) -> Emit | None:
    """Return what emits log events, or `None` if this version of OpenTelemetry knows no events."""
    logs: Any = import_module(_LOGS)
    logger = provider.get_logger(_SCOPE, _version())
    if "event_name" not in signature(logger.emit).parameters:
        return None

    def emit(*, severity_number: int, **fields: object) -> None:
        logger.emit(timestamp=time.time_ns(), severity_number=logs.SeverityNumber(severity_number), **fields)

    return emit
