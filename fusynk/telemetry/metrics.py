"""The figures of runs as OpenTelemetry metrics. The id of a run is never among their attributes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.metrics import Counter, Histogram, MeterProvider, UpDownCounter

from fusynk._core.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StepCancelled,
    StepEvent,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
)
from fusynk._core.printable import printable
from fusynk.telemetry.naming import ERROR_TYPE, LAYER_NAME, LAYER_STATE, PLAN_NAME, RUN_STATUS, Attributes, Names

SECONDS = (0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800)  # boundaries of the histograms' buckets


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruments:
    """Where figures are recorded."""

    layer_duration: Histogram
    layer_wait: Histogram
    plan_duration: Histogram
    running: UpDownCounter
    pending: UpDownCounter
    retries: Counter
    errors: Counter


def make_instruments(provider: MeterProvider, version: str) -> Instruments:
    """Return the instruments of a provider."""
    meter = provider.get_meter("fusynk", version)

    def histogram(name: str, description: str) -> Histogram:
        return meter.create_histogram(
            name, unit="s", description=description, explicit_bucket_boundaries_advisory=SECONDS
        )

    return Instruments(
        layer_duration=histogram("fusynk.layer.duration", "From the start of its first attempt to its end"),
        layer_wait=histogram("fusynk.layer.wait", "From when nothing stood in its way to its first attempt"),
        plan_duration=histogram("fusynk.plan.duration", "From the start of a run to its end"),
        running=meter.create_up_down_counter("fusynk.layer.running", "{layer}", "Whose body is running"),
        pending=meter.create_up_down_counter("fusynk.layer.pending", "{layer}", "Whose body is yet to run"),
        retries=meter.create_counter("fusynk.layer.retries", "{attempt}", "Attempts after a first one"),
        errors=meter.create_counter("fusynk.layer.errors", "{error}", "Attempts that failed, by type of error"),
    )


class RunMetrics:
    """Records the figures of one run, with the times of its own clock.

    Items of a fan-out count under the name of their layer; the fan-out itself counts for nothing.

    Args:
        instruments: Where they are recorded.
        names: The names of the plan.
    """

    def __init__(self, instruments: Instruments, names: Names) -> None:
        self._to = instruments
        self._names = names
        self._of_plan: Attributes = {PLAN_NAME: names.plan}
        self._began = 0.0
        self._pending = 0
        self._first_starts: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._expansions: dict[str, float] = {}
        self._running: set[str] = set()
        self._failing: set[str] = set()

    def start(self, event: RunStarted) -> None:
        """Count the steps of the run."""
        self._began = event.time
        self._count_pending(len(event.steps))

    def ears(self) -> Mapping[type[Event], Callable[[Any], None]]:
        """Return what hears which event."""
        ends = (StepSucceeded, StepFailed, StepSkipped, StepCancelled)
        return {
            StepExpanded: self._note_expansion,
            AttemptStarted: self._note_start,
            AttemptFailed: self._note_failure,
            RetryScheduled: self._note_retry,
            **dict.fromkeys(ends, self._note_end),
            RunEnded: self._note_end_of_run,
        }

    def _count_pending(self, change: int) -> None:
        if change:
            self._pending += change
            self._to.pending.add(change, self._of_plan)

    def _of_layer(self, name: str) -> Attributes:
        return {PLAN_NAME: self._names.plan, LAYER_NAME: printable(self._names.owner_of(name) or name)}

    def _note_expansion(self, event: StepExpanded) -> None:
        if event.count:
            self._expansions[event.step] = event.time
            self._count_pending(event.count - 1)

    def _note_start(self, event: AttemptStarted) -> None:
        name = event.step
        if name not in self._first_starts:
            self._first_starts[name] = event.time
            self._to.layer_wait.record(max(0.0, event.time - self._free_since(name)), self._of_layer(name))
        self._failing.discard(name)
        self._running.add(name)
        self._count_pending(-1)
        self._to.running.add(1, self._of_plan)

    def _free_since(self, name: str) -> float:
        """Return when nothing but a slot, a thread or a limit was missing any more."""
        wiring, step, owner = self._names.wiring, self._names.step_of(name), self._names.owner_of(name)
        if not owner:
            return self._free_step_since(step)
        expanded = self._expansions.get(owner, self._began)
        before = wiring.names[wiring.predecessors[step][wiring.fan_outs[step]]]
        return max(expanded, self._ends.get(f"{before}{name.removeprefix(owner)}", expanded))

    def _free_step_since(self, step: int) -> float:
        wiring, since = self._names.wiring, self._began
        for before in wiring.predecessors[step]:
            if before in wiring.delays:
                since = max(since, self._free_step_since(before) + wiring.delays[before])
            else:
                since = max(since, self._ends.get(wiring.names[before], since))
        return since

    def _note_failure(self, event: AttemptFailed) -> None:
        self._failing.add(event.step)
        self._to.errors.add(1, {**self._of_layer(event.step), ERROR_TYPE: printable(event.error)})
        if self._stop_running(event.step):
            self._count_pending(1)

    def _stop_running(self, name: str) -> bool:
        if name not in self._running:
            return False
        self._running.remove(name)
        self._to.running.add(-1, self._of_plan)
        return True

    def _note_retry(self, event: RetryScheduled) -> None:
        self._to.retries.add(1, self._of_layer(event.step))

    def _note_end(self, event: StepEvent) -> None:
        name = event.step
        if self._names.is_awaited(name):
            self._ends[name] = event.time
        if name in self._expansions:
            return
        if not self._stop_running(name):
            self._count_pending(-1)
        if isinstance(event, StepFailed) and name not in self._failing:
            self._to.errors.add(1, {**self._of_layer(name), ERROR_TYPE: printable(event.error)})
        began = self._first_starts.pop(name, None)
        if began is not None:
            state = type(event).__name__.removeprefix("Step").lower()
            self._to.layer_duration.record(event.time - began, {**self._of_layer(name), LAYER_STATE: state})

    def _note_end_of_run(self, event: RunEnded) -> None:
        for name in list(self._running):
            self._stop_running(name)
        self._count_pending(-self._pending)
        self._to.plan_duration.record(event.time - self._began, {**self._of_plan, RUN_STATUS: event.status})
