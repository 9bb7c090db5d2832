"""The bus of a run: it makes events of what happens and tells those who listen. None of them can hurt the run."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol

import anyio
from anyio import CancelScope, move_on_after
from loguru import logger

from fusynk._core import events
from fusynk._core.callables import called
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
    check_buffer,
)
from fusynk._core.model import Cancelled, Skipped, Status
from fusynk._core.numbers import is_power_of_ten
from fusynk._core.records import NEVER
from fusynk._runtime.buffers import EventStream, ThreadedListener
from fusynk._runtime.voice import Voice, voice_of

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner


class Ear(Protocol):
    """Somebody who is told of events."""

    def hear(self, event: Event) -> None:
        """Take an event, without delay and without an error."""
        ...


class FallibleEar(Protocol):
    """Somebody who calls a function of the user's, which may raise."""

    @property
    def function(self) -> Callable[..., object]:
        """The function; failures go by its name."""
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

    def hear(self, event: Event) -> None:
        """Call the function."""
        try:
            self.function(event)
        except BaseException as error:  # noqa: BLE001 - counted and logged; a subscriber must not hurt a run
            self.blame(error)

    def blame(self, error: BaseException) -> None:
        """Count what the function raised. It is asked no more if that is no ordinary error."""
        self._bus.note_failure(self, error)
        if not isinstance(error, Exception):
            self._bus.remove(self, error)


class Bus:
    """Makes events and tells them to whoever listens, in order, each with the next number.

    Events are numbered, but not built, while nobody listens. A listener may call the API: what follows from that is
    told after the event that it was told, not within. Listeners are called in a context of their own, which is no
    step's.

    Args:
        run: The run.

    Attributes:
        begin: Notes that a plain step begins, and tells it.
        succeed: Notes that a step or an item returned, and tells it.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._ears: tuple[Ear, ...] = ()
        self._threads: list[ThreadedListener] = []
        self._streams: list[EventStream] = []
        self._late: deque[Event] = deque()
        self._is_telling = False
        self._context = run.context.copy()
        self._lock = threading.Lock()
        self._failed: dict[FallibleEar, int] = {}
        self._last_word: Callable[[], Event] | None = None
        self._voice: Voice = voice_of(run, _raise)
        self.begin: Callable[[int], None] = self._voice.begin
        self.succeed: Callable[[int, object], None] = self._voice.succeed

    # Who listens

    def subscribe(self, subscribers: Sequence[Listener | Subscriber]) -> None:
        """Add listeners. Those with a thread of their own get it when the run begins."""
        for subscriber in subscribers:
            if isinstance(subscriber, Subscriber) and subscriber.threaded:
                thread = ThreadedListener(subscriber, self)
                self._threads.append(thread)
                self._listen_to(*self._ears, thread)
            else:
                function = subscriber.function if isinstance(subscriber, Subscriber) else subscriber
                self._listen_to(*self._ears, _InlineEar(function, self))

    def stream(self, buffer: int) -> EventStream:
        """Return an iterator over the events from now on; of a run that has ended it has only the end.

        Args:
            buffer: How many step events it keeps for a slow reader.

        Raises:
            InvalidOption: `buffer` is no whole number from 1 up.
        """
        check_buffer("handle.events", buffer)
        if self._last_word is not None:
            end = self._last_word()
            stream = EventStream(buffer, end.sequence - 1, self._forget)
            stream.hear(end)
            stream.close()
            return stream
        stream = EventStream(buffer, self._voice.count(0) - len(self._late), self._forget)
        self._streams.append(stream)
        self._listen_to(*self._ears, stream)
        return stream

    def _listen_to(self, *ears: Ear) -> None:
        """Replace who listens. One function alone is called directly by what tells a plain step."""
        self._ears = ears
        if not ears:
            self._voice.address(None, _raise)
        elif len(ears) == 1 and isinstance(ears[0], _InlineEar):
            self._voice.address(ears[0].function, ears[0].blame)
        else:
            self._voice.address(self._tell, _raise)

    def _forget(self, ear: Ear | FallibleEar) -> None:
        self._listen_to(*[other for other in self._ears if other is not ear])

    def remove(self, ear: FallibleEar, error: BaseException) -> None:
        """Ask a listener no more. What it raised goes on if it is a keyboard interrupt."""
        self._forget(ear)
        if isinstance(error, KeyboardInterrupt):
            self._run.crash(error)
        else:
            self._warn(called(ear.function), "A subscriber raised {} and is told no more", type(error).__name__)

    def note_failure(self, ear: FallibleEar, error: BaseException) -> None:
        """Count what a listener raised, from any thread, and log it at the first, tenth, hundredth time."""
        with self._lock:
            failures = self._failed[ear] = self._failed.get(ear, 0) + 1
        if is_power_of_ten(failures):
            told = "A subscriber raised {} ({} so far); the run goes on"
            self._warn(called(ear.function), told, type(error).__name__, failures)

    def _warn(self, subscriber: str, message: str, *facts: object) -> None:
        """Log what becomes of a listener. A sink that raises must not hurt the run either."""
        with suppress(Exception):
            logger.bind(run_id=self._run.run_id, subscriber=subscriber).warning(message, *facts)

    @property
    def failures(self) -> Mapping[str, int]:
        """How often listeners have raised, by name; those that share a name are counted together."""
        counts: dict[str, int] = {}
        with self._lock:
            for ear, failures in self._failed.items():
                counts[called(ear.function)] = counts.get(called(ear.function), 0) + failures
        return counts

    # What is told

    def emit(self, kind: type[Event], *facts: object) -> None:
        """Number an event, and tell it if anybody listens.

        Args:
            kind: Its class.
            facts: Its own fields, in order.
        """
        number = self._voice.count(1)
        if self._ears:
            self._tell(kind(number, self._run.clock(), self._run.run_id, *facts))

    def emit_named(self, kind: str, *facts: object) -> None:
        """Tell an event by the name of its class; see `emit`."""
        self.emit(getattr(events, kind), *facts)

    def _tell(self, event: Event) -> None:
        """Tell what has happened, also what happens while it is told."""
        self._late.append(event)
        if not self._is_telling:
            self._is_telling = True
            try:
                self._context.run(self._catch_up)
            finally:
                self._is_telling = False

    def _catch_up(self) -> None:
        while self._late:
            event = self._late.popleft()
            for ear in self._ears:
                ear.hear(event)

    def note_run_started(self) -> None:
        """Let threads begin to listen, and tell that the run begins."""
        for thread in tuple(self._threads):
            try:
                thread.start()
            except RuntimeError as error:
                self._threads.remove(thread)
                self._forget(thread)
                self.note_failure(thread, error)
        wiring = self._run.program.wiring
        steps = wiring.in_order(self._run.scheduler.discipline) if self._ears else ()
        self.emit(RunStarted, tuple(map(wiring.names.__getitem__, steps)), self._run.inside.parent_id)

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
        if index in run.program.wiring.delays:
            return
        name = run.scheduler.name_of(index)
        if state == Status.SUCCEEDED:
            self.emit(StepSucceeded, name, self._attempts_of(index), index in run.records.recovered)
        elif state == Status.FAILED:
            self.emit(StepFailed, name, self._attempts_of(index), type(value).__qualname__)
        elif isinstance(value, Skipped):
            self.emit(StepSkipped, name, value.because, value.cause)
        elif isinstance(value, Cancelled):
            self.emit(StepCancelled, name, value.by)

    def _attempts_of(self, index: int) -> int:
        """Return how often a body has been called."""
        records = self._run.records
        was_called = index in records.failed or (index < len(records.started) and records.started[index] != NEVER)
        return records.attempt_of(index) if was_called else 0

    # How it ends

    async def close(self) -> None:
        """Tell that the run has ended, and wait for the threads of listeners, for as long as the grace."""
        run = self._run
        run.stopping = True  # what a listener asks for from here on says nothing about how the run ended
        status, by, number = run.status, run.by, self._voice.count(0) + 1
        self._last_word = partial(RunEnded, number, run.clock(), run.run_id, status, by)
        self.emit(RunEnded, status, by)
        self._listen_to()
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        for thread in self._threads:
            thread.close()
        await self._wait_for_threads()

    async def _wait_for_threads(self) -> None:
        """Wait until the threads have ended, whatever is cancelled meanwhile; a native cancellation goes on then."""
        late: list[BaseException] = []
        with move_on_after(self._run.program.settings.grace, shield=True) as patience:
            for thread in self._threads:
                await _end_of(thread, patience, late)
        for thread in self._threads:
            self._part_with(thread)
        if late:
            raise late[0]

    def _part_with(self, thread: ThreadedListener) -> None:
        """See the thread of a listener end, or log that it goes on after the grace."""
        if thread.ended.is_set():
            thread.join()
        else:
            self._warn(called(thread.function), "The thread of a subscriber was left behind")


async def _end_of(thread: ThreadedListener, patience: CancelScope, late: list[BaseException]) -> None:
    """Wait for a thread until patience is over, and note what was cancelled meanwhile."""
    while not thread.ended.is_set():
        try:
            await thread.ended.wait()
        except anyio.get_cancelled_exc_class() as error:
            if patience.cancel_called:
                raise
            late.append(error)


def _raise(error: BaseException) -> None:
    """Raise what cannot have come from a listener."""
    raise error
