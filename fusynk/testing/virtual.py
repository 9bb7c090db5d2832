"""Virtual time: sleeping costs nothing, the order of callbacks is drawn from a tape."""

import asyncio
import selectors
import threading
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeVar, TypeVarTuple, cast

import anyio

from fusynk.errors import FusynkError, LoopRunning

if TYPE_CHECKING:
    from collections import deque

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Backend = Literal["asyncio", "trio"]

_THREAD_PATIENCE = 0.005


class NothingLeftToRun(FusynkError, RuntimeError):
    """A program in virtual time waits for something that will never happen."""


class _VirtualSelector(selectors.DefaultSelector):
    """Lets time jump to the next timer instead of waiting for it.

    While other threads are alive it looks for their news for a moment first: their work takes real time.
    """

    def __init__(self, tape: Sequence[int]) -> None:
        super().__init__()
        self.now = 0.0
        self.loop: asyncio.BaseEventLoop | None = None
        self._tape = iter(tape)
        self._others = frozenset(threading.enumerate())  # not their number: one of them may be ending

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._shuffle()
        has_others = not self._others.issuperset(threading.enumerate())  # asked first: one may tell its news and end
        events = super().select(0)
        if events or timeout == 0:
            return events
        if has_others:
            patience = None if timeout is None else _THREAD_PATIENCE
            events = super().select(patience)
            if events:
                return events
        if timeout is None:
            message = "Everything waits, and nothing is left that could wake it: no timer, no thread, no file."
            raise NothingLeftToRun(message)
        self.now += timeout
        return []

    def _shuffle(self) -> None:
        """Reorder the callbacks that are ready, as the tape says; once it ends, they keep their order."""
        # asyncio shows its ready callbacks nowhere else.
        ready = cast("deque[asyncio.Handle]", getattr(self.loop, "_ready", None))
        waiting = list(ready)
        ready.clear()
        while len(waiting) > 1:
            choice = next(self._tape, None)
            if choice is None:
                break
            ready.append(waiting.pop(choice % len(waiting)))
        ready.extend(waiting)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock starts at zero and moves only when everything waits.

    Args:
        tape: At each turn of the loop, which of the ready callbacks goes first, second and so on.
    """

    def __init__(self, tape: Sequence[int] = ()) -> None:
        self._virtual = _VirtualSelector(tape)
        super().__init__(self._virtual)
        self._virtual.loop = self

    def time(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._virtual.now


@contextmanager
def _seeded_trio(tape: Sequence[int]) -> Generator[None]:
    """Make trio's order of tasks a function of the tape; its own hook for that is a module's variable."""
    run: Any = import_module("trio._core._run")
    former, state = run._ALLOW_DETERMINISTIC_SCHEDULING, run._r.getstate()  # noqa: SLF001 - trio's own hook for tests
    run._ALLOW_DETERMINISTIC_SCHEDULING = True  # noqa: SLF001 - trio's own hook for tests
    run._r.seed(repr(list(tape)))  # noqa: SLF001 - trio's own hook for tests
    try:
        yield
    finally:
        run._ALLOW_DETERMINISTIC_SCHEDULING = former  # noqa: SLF001 - trio's own hook for tests
        run._r.setstate(state)  # noqa: SLF001 - trio's own hook for tests


def run_virtual(
    function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts, backend: Backend = "asyncio", tape: Sequence[int] = ()
) -> T:
    """Run an async function in virtual time and return what it returns.

    Hours of sleeping pass in milliseconds, in the same order each time. Functions in threads take real time; on
    trio the clock does not wait for them, so let plain functions run inline there, as `simulate` does.

    Args:
        function: The async function.
        arguments: Its arguments.
        backend: The event loop to run it on.
        tape: Small whole numbers that choose an interleaving. Empty: every callback in its turn. On asyncio each
            number picks the next of the ready callbacks; on trio the tape seeds the order of tasks.

    Raises:
        LoopRunning: An event loop runs in this thread already.
        NothingLeftToRun: Everything waits for something that will never happen (asyncio).
    """
    try:
        anyio.get_current_task()
    except RuntimeError:
        pass
    else:
        message = "run_virtual() was called inside a running event loop; call it from a plain function."
        raise LoopRunning(message)
    if backend == "asyncio":
        return anyio.run(function, *arguments, backend_options={"loop_factory": lambda: VirtualLoop(tape)})
    clock = import_module("trio.testing").MockClock(autojump_threshold=0)
    with _seeded_trio(tape):
        return anyio.run(function, *arguments, backend="trio", backend_options={"clock": clock})
