"""Bounded buffers between a run and those who listen slowly: an iterator, or a thread."""

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

import anyio

from fusynk._core.events import Event, EventsDropped, RunEnded, RunStarted, Subscriber
from fusynk._runtime.backend import loop_poster

if TYPE_CHECKING:
    from fusynk._runtime.bus import Bus


class Buffer:
    """A bounded queue that drops its oldest step events when it is full, and says how many.

    Args:
        size: How many step events it holds; the start and the end of the run are kept beyond that.
        missed: How many events there were before the first.
    """

    def __init__(self, size: int, missed: int = 0) -> None:
        self._size = size
        self._start: Event | None = None
        self._events: deque[Event] = deque(maxlen=size)
        self._end: Event | None = None
        self._dropped = missed

    def __len__(self) -> int:
        return len(self._events) + (self._start is not None) + (self._end is not None)

    def put(self, event: Event) -> None:
        """Add an event, in place of the oldest step event if there is no room."""
        kind = event.__class__
        if kind is RunStarted:
            self._start = event
        elif kind is RunEnded:
            self._end = event
        else:
            if len(self._events) == self._size:
                self._dropped += 1
            self._events.append(event)

    def take(self) -> Event | None:
        """Return the next event, or what says how many are missing before it; `None` if there is none."""
        event, self._start = self._start, None
        if event is not None:
            return event
        event = self._events[0] if self._events else self._end
        if event is None:
            return None
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return EventsDropped(event.sequence - 1, event.time, event.run_id, dropped)
        if event is self._end:
            self._end = None
        else:
            self._events.popleft()
        return event


class EventStream:
    """The events of one run, as an asynchronous iterator that ends with the run. Made by `handle.events()`.

    Args:
        size: How many step events are kept for a slow reader.
        missed: How many events there were before.
        leave: Called when it is told no more.
    """

    def __init__(self, size: int, missed: int, leave: "Callable[[EventStream], None]") -> None:
        self._buffer = Buffer(size, missed)
        self._bell: anyio.Event | None = None  # there while somebody waits
        # Dropped with the end, so that who keeps a stream does not keep the run.
        self._leave: Callable[[EventStream], None] | None = leave

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event; `EventsDropped` stands for those that were too many for the buffer."""
        while True:
            event = self._buffer.take()
            if event is not None:
                return event
            if self._leave is None:
                raise StopAsyncIteration
            if self._bell is None:
                self._bell = anyio.Event()
            await self._bell.wait()

    async def aclose(self) -> None:
        """Stop listening. What is kept can still be read; then the iteration ends."""
        leave = self._leave
        if leave is not None:
            leave(self)
        self.close()

    def hear(self, event: Event) -> None:
        """Keep an event until it is asked for."""
        if self._leave is not None:
            self._buffer.put(event)
            self._ring()

    def close(self) -> None:
        """Note that no more events come."""
        self._leave = None
        self._ring()

    def _ring(self) -> None:
        """Wake up who waits."""
        if self._bell is not None:
            self._bell.set()
            self._bell = None


class ThreadedListener:
    """Calls a function with each event in a thread of its own.

    Args:
        subscriber: The function and the size of its buffer.
        bus: Who counts its failures.

    Attributes:
        function: The function.
        ended: Set when the thread has nothing left to do.
    """

    def __init__(self, subscriber: Subscriber, bus: "Bus") -> None:
        self.function = subscriber.function
        self.ended = anyio.Event()
        self._bus = bus
        self._post = loop_poster()
        self._buffer = Buffer(subscriber.buffer)
        self._is_closed = False
        self._is_waiting = False
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._live, name="fusynk-subscriber", daemon=True)

    def start(self) -> None:
        """Begin to listen.

        Raises:
            RuntimeError: There can be no more threads.
        """
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Hand an event to the thread."""
        with self._condition:
            self._buffer.put(event)
            if self._is_waiting:
                self._condition.notify()

    def close(self) -> None:
        """Let the thread end when its buffer is empty."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()

    def join(self) -> None:
        """Wait for the thread, once `ended` is set; it has nothing left to do."""
        self._thread.join()

    def _live(self) -> None:
        """Be the thread."""
        try:
            event = self._next()
            while event is not None and self._called_with(event):
                event = self._next()
        finally:
            self._call_in_loop(self.ended.set)

    def _called_with(self, event: Event) -> bool:
        """Call the function, and return whether it may be called again."""
        try:
            self.function(event)
        except BaseException as error:  # noqa: BLE001 - counted and logged; a subscriber must not hurt a run
            self._bus.note_failure(self, error)
            if not isinstance(error, Exception):
                self._call_in_loop(partial(self._bus.remove, self, error))
                return False
        return True

    def _call_in_loop(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # a thread that was left behind may outlive its loop
            self._post(function)

    def _next(self) -> Event | None:
        with self._condition:
            while True:
                event = self._buffer.take()
                if event is not None or self._is_closed:
                    return event
                self._is_waiting = True
                self._condition.wait()
                self._is_waiting = False
