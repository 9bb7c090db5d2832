"""The one thread that writes: what comes meanwhile is written together."""

from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from threading import Event, ExceptHookArgs, Lock, Thread, excepthook
from typing import Generic, TypeAlias, TypeVar

from fusynk._core.envelope import Record
from fusynk.errors import JournalClosed, JournalError
from fusynk.journals.journalled_run import JournalledRun

LARGEST_GROUP = 4096
T = TypeVar("T")

Group: TypeAlias = dict[JournalledRun, list[Record]]
"""What is written at once, by run."""


class _Call(Generic[T]):
    """A function that the thread calls in its turn, and what came of it."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._function = function
        self._over = Event()
        self._value: list[T] = []
        self._error: BaseException | None = None

    def make(self) -> None:
        try:
            self._value.append(self._function())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._error = error
        self._over.set()

    def wait(self) -> T:
        self._over.wait()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # lest it hold this frame
        return self._value[0]


class Writer:
    """Writes groups of records, and makes calls between them, in the order in which they came.

    Attributes:
        wake: Says that a run has records to be written where it had none.
    """

    def __init__(
        self, commit: Callable[[Group], Mapping[JournalledRun, JournalError]], beat: Callable[[], float | None]
    ) -> None:
        """Begin.

        Args:
            commit: Writes a group, and returns for which runs it could not, and why. It never raises.
            beat: Is called now and then, and returns in how many seconds it wants to be again, or `None`.
        """
        self._commit = commit
        self._beat = beat
        self._queue: SimpleQueue[JournalledRun | _Call[object] | None] = SimpleQueue()
        self.wake: Callable[[JournalledRun], None] = self._queue.put
        self._lock = Lock()
        self._is_stopped = False
        self._thread = Thread(target=self._run, name="fusynk-journal", daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], T]) -> T:
        """Have a function called after all that was appended, and return what it returns.

        Args:
            function: The function.

        Raises:
            BaseException: What it raised.
            JournalClosed: The thread has ended.
        """
        call = _Call(function)
        with self._lock:
            if self._is_stopped:
                raise _closed()
            self._queue.put(call)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] # its value is its caller's
        return call.wait()

    def stop(self) -> None:
        """Write what was appended, and end."""
        with self._lock:
            self._is_stopped = True
            self._queue.put(None)
        self._thread.join()
        while not self._queue.empty():  # what came in the moment in which it was closed
            item = self._queue.get()
            if isinstance(item, JournalledRun) and (records := item.take()):
                item.tell(records, _closed())

    def _run(self) -> None:
        while True:
            waiting, other = self._next()
            for group in _parts(waiting):
                self._write(group)
            if isinstance(other, _Call):
                other.make()
            elif other == "stop":
                return

    def _write(self, group: Group) -> None:
        """Write a group and have its owners told, each of whom may fail at that without harm to others."""
        refused = self._commit(group)
        for run, records in group.items():
            try:
                run.tell(records, refused.get(run))
            except Exception as error:  # noqa: BLE001 - of the owner's function; the other owners go on
                excepthook(ExceptHookArgs((type(error), error, error.__traceback__, self._thread)))

    def _next(self) -> "tuple[Group, _Call[object] | str]":
        """Return what is there to be written, and what to do after it."""
        waiting: Group = {}
        try:
            item = self._queue.get(timeout=self._beat())
            while isinstance(item, JournalledRun):
                if records := item.take():  # else they were taken while the run said that they were there
                    waiting.setdefault(item, []).extend(records)
                item = self._queue.get_nowait()
        except Empty:
            return waiting, ""
        return waiting, "stop" if item is None else item


def _parts(waiting: Group) -> Iterator[Group]:
    """Yield what is written at once: all, if it is not too much for that."""
    if waiting and sum(map(len, waiting.values())) <= LARGEST_GROUP:
        yield waiting
        return
    for run, records in waiting.items():
        for first in range(0, len(records), LARGEST_GROUP):
            yield {run: records[first : first + LARGEST_GROUP]}


def _closed() -> JournalClosed:
    return JournalClosed("The journal was closed meanwhile; open it anew.", path="")
