"""Bounded buffers between a run and those who listen slowly: an iterator, or a thread."""

import threading
from collections import deque
from typing import TYPE_CHECKING, Self

import anyio
from anyio import move_on_after, to_thread

from fusynk._core.events import Event, EventsDropped, RunEnded, RunStarted, Subscriber

if TYPE_CHECKING:
    from fusynk._runtime.bus import Bus


class Buffer:
    """A bounded queue that drops its oldest step events when it is full, and says how many.

    Args:
        size: How many events it holds; the start and the end of the run are kept beyond that.
        missed: How many events there were before the first.
    """

    def __init__(self, size: int, missed: int = 0) -> None:
        self._size = size
        self._events: deque[Event] = deque()
        self._dropped = missed

    def __len__(self) -> int:
        return len(self._events) + bool(self._dropped and self._events)

    def put(self, event: Event) -> None:
        """Add an event, in place of the oldest step event if there is no room."""
        if len(self._events) >= self._size:
            kept = [self._events.popleft()] if self._events and isinstance(self._events[0], RunStarted) else []
            if self._events and not isinstance(self._events[0], RunEnded):
                self._events.popleft()
                self._dropped += 1
            self._events.extendleft(kept)
        self._events.append(event)

    def take(self) -> Event | None:
        """Return the next event, or what says how many are missing before it; `None` if there is none."""
        if not self._events:
            return None
        first = self._events[0]
        if self._dropped and not isinstance(first, RunStarted):
            gap = EventsDropped(first.sequence - 1, first.time, first.run_id, self._dropped)
            self._dropped = 0
            return gap
        return self._events.popleft()


class EventStream:
    """The events of one run, as an asynchronous iterator that ends with the run. Made by `handle.events()`."""

    def __init__(self, size: int, missed: int) -> None:
        self._buffer = Buffer(size, missed)
        self._bell = anyio.Event()
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event; `EventsDropped` stands for those that were too many for the buffer."""
        while True:
            event = self._buffer.take()
            if event is not None:
                return event
            if self._is_closed:
                raise StopAsyncIteration
            self._bell = anyio.Event()
            await self._bell.wait()

    def hear(self, event: Event) -> None:
        """Keep an event until it is asked for."""
        self._buffer.put(event)
        self._bell.set()

    def close(self) -> None:
        """Note that no more events come."""
        self._is_closed = True
        self._bell.set()


class ThreadedListener:
    """Calls a function with each event in a thread of its own.

    Args:
        subscriber: The function and the size of its buffer.
        bus: Who counts its failures.
    """

    def __init__(self, subscriber: Subscriber, bus: "Bus") -> None:
        self._function = subscriber.function
        self._bus = bus
        self._buffer = Buffer(subscriber.buffer)
        self._is_closed = False
        self._failures = 0
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._live, name="fusynk-subscriber", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Hand an event to the thread."""
        with self._condition:
            self._buffer.put(event)
            self._condition.notify()

    async def close(self, grace: float) -> None:
        """Let the thread end when its buffer is empty, and wait for it as long as the grace."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()
        with move_on_after(grace, shield=True):
            await to_thread.run_sync(self._thread.join, abandon_on_cancel=True)
        if self._thread.is_alive():
            self._bus.note_left_behind(self._function)

    def _live(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._function(event)
            except BaseException as error:  # noqa: BLE001 - counted and logged; a subscriber must not hurt a run
                self._failures += 1
                self._bus.note_failure(self._function, self._failures, error)

    def _next(self) -> Event | None:
        with self._condition:
            while True:
                event = self._buffer.take()
                if event is not None or self._is_closed:
                    return event
                self._condition.wait()
