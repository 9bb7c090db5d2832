"""Synchronous functions in threads, counted by the run that started them."""

from collections.abc import Callable, Sequence
from math import inf
from threading import Lock

from anyio import CancelScope, CapacityLimiter, to_thread


class ThreadExecutor:
    """Runs functions in worker threads that belong to one run.

    How many may run at once is the runner's to say; the limiter here only keeps the event loop's default one,
    which other code shares, out of it.

    Attributes:
        abandoned: How many threads are still at work for attempts that were given up.
        leaves_behind: Whether calls that are cancelled are left behind, whatever was asked for.
    """

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(inf)
        self._lock = Lock()
        self._waits: set[CancelScope] = set()
        self.abandoned = 0
        self.leaves_behind = False

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:
        """Call a function in a thread. See `Executor.call`."""
        call = _Call(self, function, arguments)
        with CancelScope(shield=not (abandon or self.leaves_behind)) as wait:
            self._waits.add(wait)
            try:
                await to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=self._limiter)
            except BaseException:
                call.leave_behind()
                raise
            finally:
                self._waits.discard(wait)
        if call.error is not None:
            raise call.error
        return call.returned

    def leave_behind(self) -> None:
        """Wait for no thread any more: what is cancelled returns at once. Called where the run lives."""
        self.leaves_behind = True
        for wait in self._waits:
            wait.shield = False

    def count_abandoned(self, change: int) -> None:
        """Add to the count of abandoned threads; called from any thread."""
        with self._lock:
            self.abandoned += change


class _Call:
    """One call, and what it gave. Errors do not travel through futures, which refuse `StopIteration`."""

    def __init__(self, executor: ThreadExecutor, function: Callable[..., object], arguments: Sequence[object]) -> None:
        self._executor = executor
        self._function = function
        self._arguments = arguments
        self._ended = False
        self._left_behind = False
        self._lock = Lock()
        self.returned: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.returned = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - handed over, and raised where it is awaited
            self.error = error
        with self._lock:
            self._ended = True
            if self._left_behind:
                self._executor.count_abandoned(-1)

    def leave_behind(self) -> None:
        """Note that nobody waits for this call any more."""
        with self._lock:
            if not self._ended:
                self._left_behind = True
                self._executor.count_abandoned(1)


class InlineExecutor:
    """Calls functions where it is awaited: deterministic, and the loop stands still meanwhile."""

    abandoned = 0

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:  # noqa: ARG002 - the protocol's shape
        """Call a function at once. See `Executor.call`."""
        return function(*arguments)
