"""What looks on at one run for OpenTelemetry. Whatever a processor, sampler or exporter raises, the run goes on."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from contextvars import Context as Variables
from typing import Any

from loguru import logger
from opentelemetry.context import Context

from fusynk._core.events import Event, RunStarted
from fusynk._core.program import Program
from fusynk.telemetry.capturing import capturing
from fusynk.telemetry.log_events import RunLogEvents
from fusynk.telemetry.metrics import RunMetrics
from fusynk.telemetry.naming import Names
from fusynk.telemetry.providers import Providers, current_providers, emitter_of, instruments_of, tracer_of
from fusynk.telemetry.spans import RunSpans

_Ear = Callable[[Any], object]


class Telemetry:
    """The spans, figures and log events of one run.

    Args:
        providers: Where they go.
        program: What the run runs.
        plan: How the plan is called.
        run_id: The id of the run.

    Attributes:
        program: What the run runs, with functions that show their values if the plan's `capture` says so.
        variables: The context variables of the run, of which bodies get copies. Set before the run begins.
    """

    def __init__(self, providers: Providers, program: Program, plan: str, run_id: str) -> None:
        self._names = Names(program, plan)
        self._run_id = run_id
        self._has_failed = False
        self._ears: dict[type[Event], list[_Ear]] = {}
        self._spans: RunSpans | None = None
        self._metrics: RunMetrics | None = None
        self._log_events: RunLogEvents | None = None
        self.program = program
        self.variables = Variables()
        for find in (self._find_spans, self._find_metrics, self._find_log_events):
            self._guarded(find, providers)

    def _find_spans(self, providers: Providers) -> None:
        tracer = None if providers.traces is None else tracer_of(providers.traces)
        if tracer is not None:
            self._spans = RunSpans(tracer, self._names, self._run_id)
            self.program = capturing(self.program, self._spans.show)

    def _find_metrics(self, providers: Providers) -> None:
        if providers.figures is not None:
            self._metrics = RunMetrics(instruments_of(providers.figures), self._names)

    def _find_log_events(self, providers: Providers) -> None:
        emit = None if providers.logs is None else emitter_of(providers.logs)
        if emit is not None:
            self._log_events = RunLogEvents(emit, self._names, self._run_id, self._inside)

    @property
    def is_of_use(self) -> bool:
        """Whether anything records."""
        return not (self._spans is None and self._metrics is None and self._log_events is None)

    def enter(self, step: str, attempt: int) -> None:  # noqa: ARG002 - as an instrument is asked
        """Make the span of a body the current one, inside the body's own context."""
        if self._spans is not None:
            self._spans.enter(step)

    def hear(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, RunStarted):
            self._start(event)
            return
        for ear in self._ears.get(type(event), ()):
            self._guarded(ear, event)

    def _start(self, event: RunStarted) -> None:
        """Begin, in the context of the task that called `run()`."""
        if self._spans is not None:
            self._guarded(self._spans.start, self.variables)
            self._listen(self._spans.ears())
        if self._metrics is not None:
            self._listen(self._metrics.ears())
            self._guarded(self._metrics.start, event)
        if self._log_events is not None:
            self._listen(self._log_events.ears())

    def _listen(self, ears: Mapping[type[Event], _Ear]) -> None:
        for kind, ear in ears.items():
            self._ears.setdefault(kind, []).append(ear)

    def _guarded(self, function: Callable[[Any], object], argument: object) -> None:
        """Call a function of which nothing may reach the run."""
        try:
            function(argument)
        except Exception as error:  # noqa: BLE001 - told once; what records must not hurt a run
            self._note_failure(error)
        except BaseException:
            # The bus asks no more after this, so what is open would stay open.
            self._ears = {}
            if self._spans is not None:
                with suppress(Exception):
                    self._spans.give_up()
            raise

    def _note_failure(self, error: Exception) -> None:
        """Log the first failure of the run."""
        if not self._has_failed:
            self._has_failed = True
            with suppress(Exception):  # a sink may be what is broken
                logger.bind(run_id=self._run_id).warning("Telemetry raised {}; the run goes on", type(error).__name__)

    def _inside(self, step: str) -> Context | None:
        return None if self._spans is None else self._spans.inside(step)


def telemetry_of(program: Program, plan: str, run_id: str) -> Telemetry | None:
    """Return what looks on at a run, or `None` if nothing records.

    Args:
        program: What the run runs.
        plan: How the plan is called.
        run_id: The id of the run.
    """
    providers = current_providers()
    if providers.traces is None and providers.figures is None and providers.logs is None:
        return None
    telemetry = Telemetry(providers, program, plan, run_id)
    return telemetry if telemetry.is_of_use else None
