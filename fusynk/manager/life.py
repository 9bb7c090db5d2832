"""The life of a manager: how it starts, in a block or in the background, and how it stops."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial

import anyio
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup, TaskStatus

from fusynk._core.numbers import check_seconds
from fusynk._runtime.company import company
from fusynk.errors import ManagerError
from fusynk.manager.background import run_in_background
from fusynk.manager.clocks import LoopClock
from fusynk.manager.companions import Companion
from fusynk.manager.engine import Engine
from fusynk.manager.events import ManagerStarted, ManagerStopped
from fusynk.manager.keeper import Keeper
from fusynk.manager.listeners import Listeners
from fusynk.manager.pools import Pools
from fusynk.manager.registry import Registry
from fusynk.manager.runs import Runs


@dataclass(slots=True, kw_only=True)
class Life:
    """Starts and stops the parts of a manager, in order.

    Attributes:
        registry: The units.
        keeper: What is kept over restarts.
        runs: The runs of the units.
        engine: The loop that starts them.
        pools: The worker pools.
        listeners: Who is told.
        clock: The clock of the loop.
        grace: Seconds that stopping gives to what is running, unless it is told otherwise.
        beside: Returns what goes on beside the loop.
        started: When it was started, on that clock, or `None`.
    """

    registry: Registry
    keeper: Keeper
    runs: Runs
    engine: Engine
    pools: Pools
    listeners: Listeners
    clock: LoopClock
    grace: float
    beside: Callable[[], list[Companion]]
    started: float | None = None
    _crash: BaseException | None = None
    _block: AbstractAsyncContextManager[TaskGroup] | None = None

    async def enter(self) -> None:
        """Start in a task group of the caller's.

        Raises:
            ManagerError: It runs already.
            StoreError: The store cannot be opened.
        """
        self._begin()
        self._block = company()
        group = await self._block.__aenter__()
        self.engine.note_crash = partial(self._give_up, group)
        try:
            await group.start(self._serve)
        except BaseException:
            self.engine.close()
            await self.leave()
            raise

    async def leave(self) -> None:
        """Stop, and leave the task group."""
        block, self._block = self._block, None
        try:
            await self.stop(None)
        finally:
            if block is not None:
                await block.__aexit__(None, None, None)

    def start(self) -> None:
        """Start in the background, unless it runs already; see `Manager.start`."""
        if self.started is None:
            self._begin()
            self.engine.note_crash = None
            run_in_background(self._serve, self._note_crash)

    def _give_up(self, group: TaskGroup, error: BaseException) -> None:
        """End the block for what is no ordinary error of a scheduled body, which the end of the block raises."""
        self._note_crash(error)
        group.cancel_scope.cancel()

    def _note_crash(self, error: BaseException) -> None:
        self._crash = error

    def _begin(self) -> None:
        if self.started is not None:
            message = "The manager runs already; enter it once, or call start() alone."
            raise ManagerError(message)
        self.clock.adopt()
        self._crash = None
        self.keeper.open()
        try:
            interrupted = self.keeper.hydrate(self.registry)
        except BaseException:
            self.keeper.close()
            raise
        self.runs.open()
        self.engine.open()
        self.started = self.clock()
        self.listeners.tell(ManagerStarted)
        self.keeper.report(interrupted)

    async def _serve(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        await self.engine.serve(*self.beside(), task_status=task_status)

    async def stop(self, grace: float | None) -> None:
        """Stop; see `Manager.stop`.

        Args:
            grace: Seconds, or `None` for those of the manager.

        Raises:
            InvalidOption: `grace` is no number of seconds from 0 up.
        """
        grace = self.grace if grace is None else grace
        check_seconds("manager.stop", "grace", grace)
        if self.started is None:
            return
        if not (self.runs.is_inside(self.registry) or self.engine.is_inside()):
            await self._stop(grace)
        elif not self.runs.is_closed:  # what waits for itself waits for ever
            self.runs.is_closed = True
            run_in_background(partial(self._stop, grace), self._note_crash)

    async def _stop(self, grace: float) -> None:
        cancelled: tuple[str, ...] = ()
        with CancelScope(shield=True):
            async with create_task_group() as group:
                group.start_soon(self.pools.stop, grace)
                cancelled = await self.engine.end(grace)
        if self.started is not None:  # of two that stop it at once, one has more to do
            self.started = None
            self.keeper.close()
            self.listeners.tell(ManagerStopped, cancelled)
        if self._crash is not None:
            raise self._crash
