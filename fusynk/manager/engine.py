"""The loop of a manager: it starts what is due, and ends with all that it started."""

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import Any

import anyio
from anyio import CancelScope, move_on_after
from anyio.abc import TaskGroup, TaskStatus
from loguru import logger

from fusynk._core.printable import printable
from fusynk._runtime.company import company
from fusynk.errors import ManagerStopped
from fusynk.handle import RunHandle
from fusynk.manager.entry import Entry
from fusynk.manager.registry import Registry
from fusynk.manager.runs import Runs
from fusynk.manager.timetable import Timetable

_LONGEST_NAP = 30.0  # seconds; the clock of the wall may be set meanwhile
_FOR_THREADS = 0.5  # seconds that a cancelled run is given to leave its threads


class Engine:
    """Starts units when they are due.

    Args:
        registry: The units.
        timetable: When they are due.
        runs: Begins and ends their runs.
        clock: The monotonic clock of the loop.
    """

    def __init__(self, registry: Registry, timetable: Timetable, runs: Runs, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._timetable = timetable
        self._runs = runs
        self._clock = clock
        self._group: TaskGroup | None = None
        self._bell = anyio.Event()
        self._is_ending = False

    def open(self) -> None:
        """Be ready to serve, on the running event loop."""
        self._bell = anyio.Event()
        self._is_ending = False

    async def serve(
        self, *companions: Callable[[], Any], task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start what is due until `end` is called, and return when all that was started has ended.

        Args:
            companions: Run beside it, and are cancelled at the end.
            task_status: Told when it has begun.
        """
        async with company() as self._group:
            scopes = [CancelScope() for _ in companions]
            for companion, scope in zip(companions, scopes, strict=True):
                self._group.start_soon(_within, scope, companion)
            task_status.started()
            try:
                while not self._is_ending:
                    self.start_due(self._group)
                    await self._nap()
            finally:
                for scope in scopes:
                    scope.cancel()
        self._group = None

    def start_due(self, group: TaskGroup) -> tuple[str, ...]:
        """Start what is due now, and return its names.

        Args:
            group: Where it runs.
        """
        names: list[str] = []
        for entry, due in self._timetable.take_due():
            handle = self._runs.begin(entry, due=due)
            group.start_soon(self._follow, entry, handle)
            names.append(entry.name)
        return tuple(names)

    async def _follow(self, entry: Entry, handle: RunHandle[Any]) -> None:
        """Carry out a scheduled run. What it raises is told and logged; there is no caller."""
        try:
            await self._runs.follow(entry, handle, is_scheduled=True)
        except Exception as error:  # noqa: BLE001 - as said
            with suppress(Exception):  # a sink that raises must not hurt the manager
                message = "A scheduled run raised {}"
                logger.bind(unit=printable(entry.name), run_id=handle.id).warning(message, type(error).__name__)
        self.look_again()

    def look_again(self) -> None:
        """Have the loop look what is due."""
        self._bell.set()

    async def _nap(self) -> None:
        """Wait until something is due, or may be."""
        wait = min(self._timetable.earliest() - self._clock(), _LONGEST_NAP)
        if self._timetable.earliest() == inf:
            wait = inf
        with move_on_after(max(0.0, wait)):
            await self._bell.wait()
        self._bell = anyio.Event()

    def spawn(self, function: Callable[..., Any], *arguments: object) -> None:
        """Run something beside the units, until it ends or the manager does.

        Raises:
            ManagerStopped: The manager does not run.
        """
        if self._group is None or self._is_ending:
            message = "The manager does not run; start it first."
            raise ManagerStopped(message)
        self._group.start_soon(function, *arguments)

    async def end(self, grace: float) -> tuple[str, ...]:
        """Start nothing more, give what runs some time, cancel the rest, and return its names when all has ended.

        Args:
            grace: Seconds that running bodies have to end by themselves.
        """
        self._runs.is_closed = self._is_ending = True
        self._bell.set()
        running = [entry for entry in self._registry if entry.status == "running"]
        for entry in running:
            if entry.handle is not None:
                entry.handle.cancel(grace)
        late: list[str] = []
        with move_on_after(grace + _FOR_THREADS):
            await self._wait_for(running)
        for entry in running:
            if entry.status == "running" and entry.handle is not None:
                late.append(entry.name)
                entry.handle.leave_threads()
        await self._wait_for(running)
        return tuple(late)

    async def _wait_for(self, entries: list[Entry]) -> None:
        while any(entry.status == "running" for entry in entries):
            await self._runs.ended.wait()


async def _within(scope: CancelScope, function: Callable[[], Any]) -> None:
    with scope:
        await function()
