"""The spans of one run: one for the plan, one for each layer over all its attempts, one for each attempt."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from contextvars import Context as Variables
from dataclasses import dataclass
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer

from fusynk._core.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    RetryScheduled,
    RunEnded,
    StepCancelled,
    StepEvent,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
    TeardownFailed,
)
from fusynk._core.printable import printable
from fusynk.telemetry.naming import (
    DEPENDENCY,
    ERROR_TYPE,
    LAYER_ATTEMPT,
    LAYER_NAME,
    LAYER_STATE,
    PLAN_NAME,
    RUN_ID,
    RUN_STATUS,
    Attributes,
    Names,
)

_STATES: Mapping[type[StepEvent], str] = {
    StepSucceeded: "succeeded",
    StepFailed: "failed",
    StepSkipped: "skipped",
    StepCancelled: "cancelled",
}


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a layer ended, while its span waits for those of its items."""

    state: str
    error: str | None


@dataclass(slots=True)
class _OpenLayer:
    """A layer that has begun and not ended.

    Attributes:
        span: Its span.
        context: The context in which that is the current one.
        attempt: The span of its attempt, where it may have several.
        inside: The context of its body.
        number: Which attempt it is at; 0 for a fan-out, which has none.
        failed_at: When the attempt failed, in nanoseconds of the system's time, while nobody knows what follows.
        error: The type of what the attempt raised.
        items: How many of its items have open spans.
        ending: How it ended, if it has.
    """

    span: Span
    context: Context
    inside: Context
    attempt: Span | None = None
    number: int = 0
    failed_at: int | None = None
    error: str | None = None
    items: int = 0
    ending: _Ending | None = None


class RunSpans:
    """Starts and ends the spans of one run. Each that is started is ended.

    Args:
        tracer: Where they come from.
        names: The names of the plan.
        run_id: The id of the run.

    Attributes:
        is_recording: Whether the span of the plan is recorded; if not, there are no others.
        context: The context of the run: that of its caller, with the span of the plan.
    """

    def __init__(self, tracer: Tracer, names: Names, run_id: str) -> None:
        self._tracer = tracer
        self._names = names
        self._run_id = printable(run_id)
        self._plan: Span = trace.INVALID_SPAN
        self._open: dict[str, _OpenLayer] = {}
        self._ended: dict[str, SpanContext] = {}
        self._first_error: str | None = None
        self._cause: str | None = None
        self.is_recording = False
        self.context: Context | None = None

    def start(self, variables: Variables) -> None:
        """Start the span of the plan, inside the caller's current one.

        Args:
            variables: The context variables of the run, which bodies get copies of.
        """
        attributes: Attributes = {PLAN_NAME: self._names.plan, RUN_ID: self._run_id}
        self._plan = self._tracer.start_span(
            f"plan {self._names.plan}", attributes=attributes, record_exception=False, set_status_on_exception=False
        )
        self.context = trace.set_span_in_context(self._plan)
        self.is_recording = self._plan.is_recording()
        variables.run(contexts.attach, self.context)

    def ears(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """Return what hears which event."""
        if not self.is_recording:
            return {RunEnded: self._end_plan}
        return {
            StepExpanded: self._start_fan_out,
            AttemptStarted: self._start_attempt,
            AttemptFailed: self._note_failed_attempt,
            RetryScheduled: self._end_attempt_before_another,
            **dict.fromkeys(_STATES, self._end_step),
            TeardownFailed: self._note_failed_teardown,
            RunEnded: self._end_plan,
        }

    def enter(self, name: str) -> None:
        """Make the span of an attempt or layer the current one. Called in the context of a body."""
        layer = self._open.get(name)
        if layer is not None:
            contexts.attach(layer.inside)

    def inside(self, name: str) -> Context | None:
        """Return the context of a body, in which the span of its attempt or layer is the current one."""
        layer = self._open.get(name)
        return self.context if layer is None else layer.inside

    def show(self, name: str, attributes: Mapping[str, str]) -> None:
        """Set attributes on the span of an attempt or layer, from any thread."""
        layer = self._open.get(name)
        if layer is not None:
            span = layer.attempt or layer.span
            if span.is_recording():
                span.set_attributes(attributes)

    def give_up(self) -> None:
        """End everything that is open."""
        self._end_all({}, None)

    # The plan

    def _note_failed_teardown(self, event: TeardownFailed) -> None:
        self._note_failure(event.step, event.error)

    def _note_failure(self, name: str, error: str) -> None:
        """Keep what may have ended the run: the first failure that its step does not let pass."""
        self._first_error = self._first_error or error
        policy = self._names.program.policies[self._names.step_of(name)]
        if policy.on_error != "continue":
            self._cause = self._cause or error

    def _end_plan(self, event: RunEnded) -> None:
        error = None
        if event.status == "failed":
            error = "DeadlineExceeded" if event.by == "deadline" else self._cause or self._first_error or "unknown"
        self._end_all({RUN_STATUS: event.status}, error)

    def _end_all(self, attributes: Attributes, error: str | None) -> None:
        """End the span of the plan, and before it what is still open inside, whatever a processor raises."""
        with ExitStack() as ends:
            ends.callback(_end, self._plan, attributes, error)
            for name in sorted(self._open, key=self._names.owner_of):
                layer = self._open[name]
                ends.callback(_end, layer.span, {LAYER_STATE: "cancelled"}, None)
                ends.callback(_end_attempt, layer, "cancelled")
            self._open = {}

    # Layers

    def _start_layer(self, name: str) -> _OpenLayer:
        """Start the span of a layer, or of an item inside that of its fan-out."""
        step, owner = self._names.step_of(name), self._names.owner_of(name)
        around = self._open.get(owner) if owner else None
        parent = self.context if around is None else around.context
        span = self._tracer.start_span(
            f"item {printable(owner)}" if owner else f"layer {printable(name)}",
            context=parent,
            attributes={**self._names.layer_attributes(name, step), RUN_ID: self._run_id},
            links=list(self._links(name, step, owner)),
            record_exception=False,
            set_status_on_exception=False,
        )
        context = trace.set_span_in_context(span, parent)
        layer = self._open[name] = _OpenLayer(span, context, context)
        if around is not None:
            around.items += 1
        return layer

    def _links(self, name: str, step: int, owner: str) -> Iterator[Link]:
        """Yield a link to each predecessor of a layer; of an item, to the item that it chains to."""
        wiring = self._names.wiring
        if owner:
            before = wiring.predecessors[step][wiring.fan_outs[step]]
            found = self._ended.get(f"{wiring.names[before]}{name.removeprefix(owner)}")
            if found is not None:
                yield Link(found, {DEPENDENCY: printable(wiring.names[before])})
            return
        for before in dict.fromkeys(wiring.predecessors[step]):
            dependency = wiring.names[before]
            known = self._open.get(dependency)
            found = known.span.get_span_context() if known is not None else self._ended.get(dependency)
            if found is not None:
                yield Link(found, {DEPENDENCY: printable(dependency)})

    def _start_fan_out(self, event: StepExpanded) -> None:
        if event.count:
            self._start_layer(event.step)

    def _end_step(self, event: StepEvent) -> None:
        """End the span of a step or item. A step that failed before it was called gets its span now."""
        error = event.error if isinstance(event, StepFailed) else None
        layer = self._open.get(event.step)
        if error is not None:
            self._note_failure(event.step, error)
            if layer is None:
                layer = self._start_layer(event.step)
        if layer is None:
            return
        state = _STATES[type(event)]
        _end_attempt(layer, state, error)
        if layer.items:
            layer.ending = _Ending(state, error)
        else:
            self._end_layer(event.step, layer, state, error)

    def _end_layer(self, name: str, layer: _OpenLayer, state: str, error: str | None) -> None:
        """End the span of a layer, and that of its fan-out if it is the last that this waited for."""
        del self._open[name]
        if self._names.is_awaited(name):
            self._ended[name] = layer.span.get_span_context()
        owner = self._names.owner_of(name)
        attributes: Attributes = {LAYER_STATE: state}
        if layer.number:
            attributes[LAYER_ATTEMPT] = layer.number
        try:
            _end(layer.span, attributes, error)
        finally:
            around = self._open.get(owner)
            if around is not None:
                around.items -= 1
                if around.ending is not None and not around.items:
                    self._end_layer(owner, around, around.ending.state, around.ending.error)

    # Attempts

    def _start_attempt(self, event: AttemptStarted) -> None:
        """Start the span of an attempt; of the first, that of its layer, too."""
        layer = self._open.get(event.step) if event.attempt > 1 else None
        if layer is None:
            layer = self._start_layer(event.step)
        layer.number = event.attempt
        layer.failed_at = layer.error = None
        if not self._names.program.policies[self._names.step_of(event.step)].retries:
            return
        attributes: Attributes = {LAYER_NAME: printable(event.step), LAYER_ATTEMPT: event.attempt, RUN_ID: self._run_id}
        layer.attempt = self._tracer.start_span(
            f"attempt {event.attempt}",
            context=layer.context,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        )
        layer.inside = trace.set_span_in_context(layer.attempt, layer.context)

    def _note_failed_attempt(self, event: AttemptFailed) -> None:
        layer = self._open.get(event.step)
        if layer is not None:
            layer.failed_at, layer.error = time.time_ns(), event.error

    def _end_attempt_before_another(self, event: RetryScheduled) -> None:
        layer = self._open.get(event.step)
        if layer is not None:
            _end_attempt(layer, "failed")


def _end_attempt(layer: _OpenLayer, state: str, error: str | None = None) -> None:
    """End the span of an attempt, if there is one; it failed when it did, not when that was judged."""
    attempt, layer.attempt, layer.inside = layer.attempt, None, layer.context
    if attempt is None:
        return
    attributes: Attributes = {LAYER_STATE: "failed" if layer.failed_at else state}
    if layer.error is not None:
        attributes[ERROR_TYPE] = printable(layer.error)
    _end(attempt, attributes, error, layer.failed_at)


def _end(span: Span, attributes: Attributes, error: str | None, at: int | None = None) -> None:
    """End a span. Its status says only whether there was an error; what that said may be a secret."""
    try:
        if span.is_recording():
            if error is not None:
                attributes = {**attributes, ERROR_TYPE: printable(error)}
                span.set_status(Status(StatusCode.ERROR))
            span.set_attributes(attributes)
    finally:
        span.end(at)
