"""What happens in a run besides spans, as OpenTelemetry log events that belong to the span they happened in."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context

from fusynk._core.events import (
    BodyStuck,
    CompensationFailed,
    Event,
    MilestoneReached,
    RetryScheduled,
    StepCompensated,
    StepEvent,
    StepSkipped,
    TeardownFailed,
    ThreadAbandoned,
)
from fusynk._core.printable import plain, printable
from fusynk.telemetry.naming import ERROR_TYPE, LAYER_ATTEMPT, LAYER_NAME, PLAN_NAME, RUN_ID, Attributes, Names

_INFO, _WARN, _ERROR = 9, 13, 17  # OpenTelemetry's severity numbers


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an event is told.

    Attributes:
        name: The name of the log event.
        severity: How grave it is.
        body: What it says, the same each time.
        attributes: For fields of the event, the names of their attributes.
    """

    name: str
    severity: int
    body: str
    attributes: Mapping[str, str] = field(default_factory=dict[str, str])


_KINDS: Mapping[type[StepEvent], _Kind] = {
    RetryScheduled: _Kind(
        "fusynk.layer.retry",
        _WARN,
        "Another attempt follows",
        {"attempt": LAYER_ATTEMPT, "delay": "fusynk.retry.delay"},
    ),
    StepSkipped: _Kind(
        "fusynk.layer.skipped",
        _INFO,
        "The layer is skipped",
        {"because": "fusynk.skip.because", "cause": "fusynk.skip.cause"},
    ),
    MilestoneReached: _Kind("fusynk.milestone", _INFO, "A milestone is reached", {"name": "fusynk.milestone.name"}),
    BodyStuck: _Kind("fusynk.layer.stuck", _WARN, "A cancelled body has not ended within its grace"),
    ThreadAbandoned: _Kind("fusynk.layer.abandoned", _WARN, "A thread was left behind; its function goes on"),
    StepCompensated: _Kind("fusynk.layer.compensated", _INFO, "The layer was undone"),
    CompensationFailed: _Kind(
        "fusynk.layer.compensation_failed", _ERROR, "The layer could not be undone", {"error": ERROR_TYPE}
    ),
    TeardownFailed: _Kind(
        "fusynk.layer.teardown_failed", _ERROR, "A resource failed after its setup", {"error": ERROR_TYPE}
    ),
}

Emit = Callable[..., object]


class RunLogEvents:
    """Emits the log events of one run.

    Args:
        emit: Emits one, as `Logger.emit` of OpenTelemetry does.
        names: The names of the plan.
        run_id: The id of the run.
        context_of: Returns the context in which the span of a body is the current one.
    """

    def __init__(self, emit: Emit, names: Names, run_id: str, context_of: Callable[[str], Context | None]) -> None:
        self._emit = emit
        self._of_run: Attributes = {PLAN_NAME: names.plan, RUN_ID: printable(run_id)}
        self._context_of = context_of

    def ears(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """Return what hears which event."""
        return dict.fromkeys(_KINDS, self._tell)

    def _tell(self, event: StepEvent) -> None:
        kind = _KINDS[type(event)]
        attributes = {**self._of_run, LAYER_NAME: printable(event.step), **dict(_attributes(event, kind))}
        self._emit(
            context=self._context_of(event.step),
            severity_number=kind.severity,
            body=kind.body,
            attributes=attributes,
            event_name=kind.name,
        )


def _attributes(event: StepEvent, kind: _Kind) -> Iterator[tuple[str, str | int | float | bool]]:
    for name, attribute in kind.attributes.items():
        yield attribute, plain(getattr(event, name))
    if isinstance(event, MilestoneReached):
        for name, value in event.values.items():
            yield f"fusynk.milestone.value.{printable(name)}", plain(value)
