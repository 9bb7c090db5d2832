"""The bus of a run: it makes events of what happens and tells those who listen. None of them can hurt the run."""

from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Protocol

from loguru import logger

from fusynk._core import events
from fusynk._core.events import (
    AttemptFailed,
    AttemptStarted,
    Event,
    Listener,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StepCancelled,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
    Subscriber,
)
from fusynk._core.model import Cancelled, Skipped, Status
from fusynk._core.scheduler import Scheduler
from fusynk._runtime.buffers import EventStream, ThreadedListener

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner


class Ear(Protocol):
    """Somebody who is told of events."""

    def hear(self, event: Event) -> None:
        """Take an event, without delay and without an error."""
        ...


class _InlineEar:
    """Calls a function with each event, and keeps its errors from the run.

    Args:
        function: The function.
        bus: What it is removed from if it raises what is no ordinary error.
    """

    def __init__(self, function: Listener, bus: "Bus") -> None:
        self.function = function
        self._bus = bus
        self._failures = 0

    def hear(self, event: Event) -> None:
        """Call the function."""
        try:
            self.function(event)
        except BaseException as error:  # noqa: BLE001 - counted and logged; a subscriber must not hurt a run
            self.blame(error)

    def blame(self, error: BaseException) -> None:
        """Count what the function raised. It is asked no more if that is no ordinary error."""
        self._failures += 1
        self._bus.note_failure(self.function, self._failures, error)
        if not isinstance(error, Exception):
            self._bus.remove(self, error)


class Bus:
    """Makes events and tells them to whoever listens, in order, each with the next number.

    Nothing is built while nobody listens. A listener may call the API: what follows from that is told after the event
    that it was told, not within.

    Args:
        run: The run.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._ears: list[Ear] = []
        self._threads: list[ThreadedListener] = []
        self._streams: list[EventStream] = []
        self._sequence = count(1)
        self._late: deque[Event] = deque()
        self._is_telling = False
        self.failures: dict[str, int] = {}
        self.begin: Callable[[int], None] = run.records.begun.append
        self.succeed: Callable[[int, object], None] = run.scheduler.succeed

    # Who listens

    def subscribe(self, subscribers: Sequence[Listener | Subscriber]) -> None:
        """Add listeners; those with a thread of their own get it now."""
        for subscriber in subscribers:
            if isinstance(subscriber, Subscriber) and subscriber.threaded:
                thread = ThreadedListener(subscriber, self)
                self._threads.append(thread)
                self._add(thread)
            else:
                function = subscriber.function if isinstance(subscriber, Subscriber) else subscriber
                self._add(_InlineEar(function, self))

    def stream(self, buffer: int) -> EventStream:
        """Return an iterator over the events from now on."""
        stream = EventStream(buffer, missed=next(copy(self._sequence)) - 1)
        self._streams.append(stream)
        self._add(stream)
        return stream

    def _add(self, ear: Ear) -> None:
        self._ears.append(ear)
        self.begin, self.succeed = self._begin_and_tell, self._run.scheduler.succeed
        if len(self._ears) == 1 and isinstance(ear, _InlineEar):
            self._shorten(ear)

    def _shorten(self, ear: "_InlineEar") -> None:
        """Make the way of a plain step short where one function listens."""
        self.begin = self._short_begin(ear)
        if self._run.aftermath is None:
            self.succeed = self._short_succeed(ear)

    def _short_begin(self, ear: "_InlineEar") -> Callable[[int], None]:
        run, names, numbers = self._run, self._run.program.wiring.names, self._run.records.numbers
        begun, clock, run_id, number = run.records.begun.append, run.clock, run.run_id, self._sequence.__next__
        tell = ear.function

        def begin(index: int) -> None:
            begun(index)
            try:
                if index in numbers:
                    tell(AttemptStarted(number(), clock(), run_id, names[index], numbers[index]))
                else:
                    tell(AttemptStarted(number(), clock(), run_id, names[index]))
            except BaseException as error:  # noqa: BLE001 - a subscriber must not hurt a run
                ear.blame(error)

        return begin

    def _short_succeed(self, ear: "_InlineEar") -> Callable[[int, object], None]:
        run, names, numbers = self._run, self._run.program.wiring.names, self._run.records.numbers
        ended, run_id, number, base = run.records.ended, run.run_id, self._sequence.__next__, run.scheduler.base
        tell, succeed, unwatched = ear.function, run.scheduler.succeed, partial(Scheduler.succeed, run.scheduler)

        def succeed_and_tell(index: int, artifact: object) -> None:
            if index >= base or index in numbers:
                succeed(index, artifact)
                return
            try:
                tell(StepSucceeded(number(), ended[index], run_id, names[index]))
            except BaseException as error:  # noqa: BLE001 - as above
                ear.blame(error)
            unwatched(index, artifact)

        return succeed_and_tell

    def remove(self, ear: Ear, error: BaseException) -> None:
        """Ask a listener no more. What it raised goes on if it is a keyboard interrupt."""
        self._ears = [other for other in self._ears if other is not ear]
        if isinstance(error, KeyboardInterrupt):
            self._run.crash(error)
        else:
            logger.bind(run_id=self._run.run_id).warning(
                "A subscriber raised {} and is told no more", type(error).__name__
            )

    def note_failure(self, function: object, failures: int, error: BaseException) -> None:
        """Count what a listener raised, and log it at the first, tenth, hundredth time."""
        name = getattr(function, "__qualname__", type(function).__name__)
        self.failures[name] = failures
        if str(failures).strip("0") == "1":
            logger.bind(run_id=self._run.run_id, subscriber=name).warning(
                "A subscriber raised {} ({} so far); the run goes on", type(error).__name__, failures
            )

    # What is told

    def emit(self, kind: type[Event], *facts: object) -> None:
        """Tell an event, if anybody listens.

        Args:
            kind: Its class.
            facts: Its own fields, in order.
        """
        if not self._ears:
            return
        event = kind(next(self._sequence), self._run.clock(), self._run.run_id, *facts)
        if self._is_telling:
            self._late.append(event)
            return
        self._late.append(event)
        self._catch_up()

    def _catch_up(self) -> None:
        """Tell what has happened, also what happens while it is told."""
        self._is_telling = True
        while self._late:
            event = self._late.popleft()
            for ear in self._ears:
                ear.hear(event)
        self._is_telling = False

    def emit_named(self, kind: str, *facts: object) -> None:
        """Tell an event by the name of its class; see `emit`."""
        self.emit(getattr(events, kind), *facts)

    def note_left_behind(self, function: object) -> None:
        """Log that the thread of a listener goes on after the grace."""
        name = getattr(function, "__qualname__", type(function).__name__)
        logger.bind(run_id=self._run.run_id, subscriber=name).warning("The thread of a subscriber was left behind")

    def _begin_and_tell(self, index: int) -> None:
        """Log the start of a plain step, and tell it."""
        self._run.records.begun.append(index)
        self.note_started(index)

    def note_run_started(self) -> None:
        """Tell that the run begins."""
        wiring = self._run.program.wiring
        names = tuple(wiring.names[step] for step in wiring.in_order(self._run.scheduler.discipline))
        self.emit(RunStarted, names, self._run.parent_id)

    def note_started(self, index: int) -> None:
        """Tell that a body begins."""
        run = self._run
        self.emit(AttemptStarted, run.scheduler.name_of(index), run.records.attempt_of(index))

    def note_failed(self, index: int, error: BaseException) -> None:
        """Tell that an attempt failed."""
        run = self._run
        name, attempt = run.scheduler.name_of(index), run.records.attempt_of(index)
        self.emit(AttemptFailed, name, attempt, type(error).__qualname__)

    def note_retry(self, index: int, delay: float) -> None:
        """Tell that a step waits for its next attempt."""
        run = self._run
        self.emit(RetryScheduled, run.scheduler.name_of(index), run.records.attempt_of(index), delay)

    def note_expanded(self, step: int, count: int) -> None:
        """Tell how many items a fan-out has."""
        self.emit(StepExpanded, self._run.scheduler.name_of(step), count)

    def note_ended(self, index: int, state: Status, value: object) -> None:
        """Tell how a step or an item ended."""
        run = self._run
        if index in run.program.wiring.delays or not self._ears:
            return
        name, attempts = run.scheduler.name_of(index), run.records.attempt_of(index)
        if state == Status.SUCCEEDED:
            self.emit(StepSucceeded, name, attempts, index in run.records.recovered)
        elif state == Status.FAILED:
            self.emit(StepFailed, name, attempts, type(value).__qualname__)
        elif isinstance(value, Skipped):
            self.emit(StepSkipped, name, value.because, value.cause)
        elif isinstance(value, Cancelled):
            self.emit(StepCancelled, name, value.by)

    async def close(self) -> None:
        """Tell that the run has ended, and wait for the threads of listeners, for as long as the grace."""
        ending = self._run.ending
        self.emit(RunEnded, self._run.status, ending.by)
        self._ears = []
        for stream in self._streams:
            stream.close()
        for thread in self._threads:
            await thread.close(self._run.program.settings.grace)
