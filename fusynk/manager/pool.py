"""The worker pool: named pieces of work, run in order in a number of slots that can be changed meanwhile."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeVar, overload

import anyio
from loguru import logger
from typing_extensions import Unpack

from fusynk._core.limits import Limit
from fusynk._core.model import Milestone
from fusynk._core.numbers import check_seconds, is_count
from fusynk._core.options import RetryDelay, RetryOn
from fusynk._core.printable import printable
from fusynk.errors import InvalidOption, ManagerStopped, PieceCancelled, RunCancelled, shown
from fusynk.manager import events, pool_events
from fusynk.manager.piece import Piece, PieceChanges, PieceEntry, PieceOptions, Work
from fusynk.manager.pool_order import PoolOrder
from fusynk.manager.pool_status import EndedPiece, PoolStatus, Simulation, SlotStatus, WaitingPiece
from fusynk.manager.settings import FOR_THREADS

A = TypeVar("A")


class Spawn(Protocol):
    """Starts an async function among what its owner waits for, as `TaskGroup.start_soon` does."""

    def __call__(self, function: Callable[..., Coroutine[Any, Any, None]], /, *arguments: object) -> object:
        """Start it; it runs when the caller waits for something."""
        ...


class Tell(Protocol):
    """Tells an event of a manager."""

    def __call__(self, kind: type[events.ManagerEvent], /, *facts: object) -> object:
        """Number the event, and tell it with these fields of its own, in order."""
        ...


class Pool:
    """Runs named pieces of work in a number of slots, in the order in which they were added.

    Made by `manager.pool(size)`. Its methods are called on the manager's event loop.

    Args:
        name: Its name.
        size: How many slots it has, from 0.
        spawn: Starts what runs a piece, in a task group that the pool does not outlive.
        tell: Tells events.

    Raises:
        InvalidOption: The name is no text, or the size no whole number from 0 up.
    """

    def __init__(self, name: str, size: int, spawn: Spawn, tell: Tell) -> None:
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"pool(name={shown(name)}): the name must be a text that is not empty.")
        self.name = name
        self._order = PoolOrder(name, _checked_size("pool", size))
        self._entries: dict[str, PieceEntry] = {}
        self._spawn = spawn
        self._tell = tell
        self._is_stopped = False
        self._quiet = anyio.Event()

    @property
    def size(self) -> int:
        """How many slots it has."""
        return self._order.size

    # What is to be done

    @overload
    def add(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, A]],
        /,
        *arguments: object,
        retries: int = 0,
        retry_delay: RetryDelay = 0.0,
        retry_on: RetryOn = Exception,
        timeout: float | None = None,
        limit: Limit | None = None,
        **keywords: object,
    ) -> Piece[A]: ...
    @overload
    def add(
        self,
        name: str,
        function: Callable[..., A],
        /,
        *arguments: object,
        retries: int = 0,
        retry_delay: RetryDelay = 0.0,
        retry_on: RetryOn = Exception,
        timeout: None = None,
        limit: Limit | None = None,
        **keywords: object,
    ) -> Piece[A]: ...
    def add(
        self,
        name: str,
        function: Callable[..., object],
        /,
        *arguments: object,
        retries: int = 0,
        retry_delay: RetryDelay = 0.0,
        retry_on: RetryOn = Exception,
        timeout: float | None = None,
        limit: Limit | None = None,
        **keywords: object,
    ) -> Piece[Any]:
        """Put a piece of work at the end. It starts as soon as a slot is free and nothing before it is held.

        Args:
            name: Its name.
            function: Called with the arguments; a plain function runs in a thread.
            arguments: Its positional arguments.
            retries: How often it is tried again if it fails, at most.
            retry_delay: Seconds before that, a `backoff(...)`, or a function of the attempt.
            retry_on: The errors after which it is, or a function of the error.
            timeout: Seconds that an attempt may take; for async functions only.
            limit: What it shares with others.
            keywords: Its other arguments. For one that is named like an option, pass a `functools.partial`.

        Raises:
            DuplicatePiece: A piece of that name waits or runs.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: The function cannot be called like that.
            ManagerStopped: The pool was stopped.
        """
        if not isinstance(name, str) or not name:
            raise InvalidOption(f"pool.add({shown(name)}): the name must be a text that is not empty.")
        if self._is_stopped:
            message = f"pool.add({name!r}): pool {self.name!r} was stopped and runs nothing more; make another."
            raise ManagerStopped(message)
        options: PieceOptions = {"retries": retries, "retry_delay": retry_delay, "retry_on": retry_on, "limit": limit}
        if timeout is not None:
            options["timeout"] = timeout
        work = Work(function=function, arguments=arguments, keywords=MappingProxyType(dict(keywords)), options=options)
        entry = PieceEntry(self.name, name, work, self._pass_on)
        self._order.add(name)
        self._entries[name] = entry
        self._tell(pool_events.PieceAdded, self.name, name)
        try:
            self._fill()
        except BaseException:
            if name in self._entries:  # nothing can be started, so what was not added shall not wait
                self._conclude(entry, "cancelled")
            raise
        return Piece(entry)

    def update(self, name: str, **changes: Unpack[PieceChanges]) -> None:
        """Change what a waiting piece calls, with what, or how.

        Args:
            name: Its name.
            changes: `function`, `arguments` (a tuple), `keywords` (a mapping), or an option of `add`.

        Raises:
            PieceNotWaiting: It runs, or has ended.
            UnknownPiece: There is none of that name.
            UnknownOption: There is no such thing to change.
            InvalidOption: A value makes no sense.
            InvalidDeclaration: The function cannot be called like that.
        """
        self._order.check_waiting(name, "changed")
        self._entries[name].change(changes)
        if changes:
            self._tell(pool_events.PieceUpdated, self.name, name, tuple(changes))

    def pause(self, name: str) -> None:
        """Hold a waiting piece and everything behind it. What is paused already stays so.

        Raises:
            PieceNotWaiting: It runs, or has ended.
            UnknownPiece: There is none of that name.
        """
        if self._order.pause(name):
            self._entries[name].status = "paused"
            self._tell(pool_events.PiecePaused, self.name, name)

    def resume(self, name: str) -> None:
        """Hold a paused piece no more. What is not paused stays so.

        Raises:
            PieceNotWaiting: It runs, or has ended.
            UnknownPiece: There is none of that name.
        """
        if self._order.resume(name):
            self._entries[name].status = "waiting"
            self._tell(pool_events.PieceResumed, self.name, name)
            self._fill()

    async def cancel(self, name: str) -> None:
        """Remove a waiting piece, or cancel a running one and wait until it has ended.

        Raises:
            PieceNotWaiting: It has ended.
            UnknownPiece: There is none of that name.
        """
        self._order.check_known(name, "cancelled")
        entry = self._entries[name]
        if not self._order.is_running(name):
            self._conclude(entry, "cancelled")
            self._fill()
            return
        entry.cancel(0)
        await entry.ended.wait()

    def resize(self, size: int) -> None:
        """Change how many slots there are. What runs in those that are too many runs on; 0 starts nothing more.

        Raises:
            InvalidOption: It is no whole number from 0 up.
        """
        former, self._order.size = self._order.size, _checked_size("pool.resize", size)
        if former != size:
            self._tell(pool_events.PoolResized, self.name, former, size)
            self._fill()

    # What can be seen

    def simulate(self) -> Simulation:
        """Return the waiting pieces in the order in which they would start, up to the first paused one."""
        return self._order.simulate()

    def status(self) -> PoolStatus:
        """Return what each slot does, what waits, and what has ended last."""
        now = anyio.current_time() if self._order.running else 0.0
        return PoolStatus(
            pool=self.name,
            size=self.size,
            slots=tuple(self._slot_status(number, name, now) for number, name in self._order.slots.items()),
            waiting=tuple(
                WaitingPiece(name=name, is_paused=is_paused) for name, is_paused in self._order.waiting.items()
            ),
            ended=tuple(self._order.ended.values()),
        )

    def _slot_status(self, number: int, name: str | None, now: float) -> SlotStatus:
        if name is None:
            return SlotStatus(number=number)
        entry = self._entries[name]
        return SlotStatus(
            number=number,
            piece=name,
            run_id=entry.run_id,
            seconds=0.0 if entry.begun is None else now - entry.begun,
            milestone=entry.milestone,
            is_closing=number > self.size,
        )

    # How it ends

    async def join(self) -> tuple[str, ...]:
        """Wait until nothing runs, and return the names of what waits then.

        That is empty unless a paused piece, or a size of 0, holds the rest: what is held is not waited for.
        """
        while self._order.running:
            await self._quiet.wait()
        return tuple(self._order.waiting)

    async def stop(self, grace: float = 0.0) -> None:
        """Take nothing more: cancel what waits, and what runs after a grace; wait until it has ended.

        Args:
            grace: Seconds that running pieces have to end by themselves. A thread that goes on half a second later
                is left behind.

        Raises:
            InvalidOption: `grace` is no number of seconds from 0 up.
        """
        check_seconds("pool.stop", "grace", grace)
        self._close()
        running = [self._entries[name] for name in self._order.running.values()]
        for entry in running:
            entry.cancel(grace)
        with anyio.move_on_after(grace + FOR_THREADS):
            await self.join()
        for entry in running:
            entry.leave_threads()
        await self.join()

    def _close(self) -> None:
        """Start nothing more, and let everything that waits be cancelled."""
        self._is_stopped = True
        for name in self._order.waiting:
            self._conclude(self._entries[name], "cancelled")

    # How a piece runs

    def _fill(self) -> None:
        """Start what can start."""
        while not self._is_stopped and (started := self._order.start_next()) is not None:
            slot, name = started
            entry = self._entries[name]
            entry.status = "running"
            self._tell(pool_events.PieceStarted, self.name, name, slot, entry.run_id)
            try:
                self._spawn(self._live, entry)
            except BaseException:
                self._conclude(entry, "cancelled")
                raise

    async def _live(self, entry: PieceEntry) -> None:
        """Run a piece in its slot, and then what follows."""
        try:
            entry.artifact = await entry.run()
        except RunCancelled as error:
            if entry.is_cancelling:
                self._conclude(entry, "cancelled")
            else:
                self._conclude(entry, "failed", error)
        except Exception as error:  # noqa: BLE001 - it is the piece's, and whoever waits for it gets it
            self._conclude(entry, "failed", error)
            self._log(entry, error)
        except anyio.get_cancelled_exc_class():
            # The manager is being cancelled: whatever started now would only be cancelled, too.
            self._conclude(entry, "cancelled")
            self._close()
            raise
        except BaseException as error:
            self._conclude(entry, "failed", error)
            self._close()
            raise
        else:
            self._conclude(entry, "succeeded")
        finally:
            try:
                self._fill()
            except ManagerStopped:
                self._close()
            self._note_quiet()

    def _conclude(
        self, entry: PieceEntry, status: Literal["succeeded", "failed", "cancelled"], error: BaseException | None = None
    ) -> None:
        """Note how a piece ended, and tell it."""
        has_started = entry.status == "running"
        name, duration, kind = entry.name, entry.duration, type(error).__qualname__ if error is not None else None
        del self._entries[name]
        self._order.end(EndedPiece(name=name, status=status, duration=duration, error=kind))
        entry.status, entry.error = status, error
        if status == "cancelled":
            entry.error = PieceCancelled(f"The piece {name!r} of pool {self.name!r} was cancelled before it ended.")
        entry.ended.set()
        if status == "cancelled":
            self._tell(pool_events.PieceCancelled, self.name, name, entry.run_id if has_started else None, duration)
        elif error is not None:
            self._tell(pool_events.PieceFailed, self.name, name, entry.run_id, duration, kind)
        else:
            self._tell(pool_events.PieceSucceeded, self.name, name, entry.run_id, duration)

    def _log(self, entry: PieceEntry, error: Exception) -> None:
        """Log that a piece failed: perhaps nobody waits for it."""
        with suppress(Exception):  # a sink that raises must not hurt the pool
            bound = logger.bind(pool=printable(self.name), piece=printable(entry.name), run_id=entry.run_id)
            bound.warning("A piece of work raised {}", type(error).__name__)

    def _note_quiet(self) -> None:
        """Wake those who wait until nothing runs any more."""
        if not self._order.running:
            self._quiet.set()
            self._quiet = anyio.Event()

    def _pass_on(self, milestone: Milestone) -> None:
        """Tell a milestone of a piece."""
        self._tell(events.MilestoneReached, milestone.name, milestone.values, None, milestone.step)


def _checked_size(caller: str, size: int) -> int:
    if not is_count(size):
        raise InvalidOption(f"{caller}(size={shown(size)}): size must be a whole number from 0 up.")
    return size
