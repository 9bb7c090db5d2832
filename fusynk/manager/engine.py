"""The loop of a manager: it starts what is due, and ends with all that it started."""

from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import Any

import anyio
from anyio import CancelScope, move_on_after
from anyio.abc import TaskGroup, TaskStatus
from loguru import logger

from fusynk._core.printable import printable
from fusynk._runtime.company import company
from fusynk.errors import ManagerStopped, RunCancelled
from fusynk.handle import RunHandle
from fusynk.manager.entry import Entry
from fusynk.manager.registry import Registry
from fusynk.manager.runs import Runs
from fusynk.manager.settings import FOR_THREADS
from fusynk.manager.timetable import Timetable

_LONGEST_NAP = 30.0  # seconds; the clock of the wall may be set meanwhile

_AROUND: ContextVar[tuple["Engine", ...]] = ContextVar("fusynk_engines", default=())


class Engine:
    """Starts units when they are due.

    Args:
        registry: The units.
        timetable: When they are due.
        runs: Begins and ends their runs.
        clock: The monotonic clock of the loop.

    Attributes:
        is_ending: Whether nothing more is to be started.
        note_crash: Told what is no ordinary error of a scheduled body; without it, that goes up through the loop.
    """

    def __init__(self, registry: Registry, timetable: Timetable, runs: Runs, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._timetable = timetable
        self._runs = runs
        self._clock = clock
        self._group: TaskGroup | None = None
        self._bell = anyio.Event()
        self.is_ending = False
        self.note_crash: Callable[[BaseException], object] | None = None
        self._early: list[Callable[[], Any]] = []  # what was spawned before there was a group for it
        self._served = anyio.Event()
        self._served.set()

    def open(self) -> None:
        """Be ready to serve, on the running event loop."""
        self._bell = anyio.Event()
        self.is_ending = False
        self._early = []
        self._served = anyio.Event()

    async def serve(
        self, *companions: Callable[[], Any], task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Start what is due until `end` is called, and return when all that was started has ended.

        Args:
            companions: Run beside it, and are cancelled at the end.
            task_status: Told when it has begun.
        """
        scopes = [CancelScope() for _ in companions]
        try:
            async with company() as self._group:
                for companion, scope in zip(companions, scopes, strict=True):
                    self._group.start_soon(_within, scope, companion)
                for function in self._early:
                    self._group.start_soon(function)
                task_status.started()
                await self._start_all_that_is_due(self._group, scopes)
        finally:
            self._group = None
            self.close()

    def close(self) -> None:
        """Serve no more, or never: nobody need wait for it."""
        self._served.set()

    async def _start_all_that_is_due(self, group: TaskGroup, scopes: list[CancelScope]) -> None:
        """Start what is due until `end` is called, and cancel these scopes then."""
        try:
            while not self.is_ending:
                self.start_due(group)
                await self._nap()
        finally:
            for scope in scopes:
                scope.cancel()

    def enter(self) -> None:
        """Note when units are due that never were; for a manager that was not started.

        Raises:
            ManagerStopped: It was, and was stopped.
        """
        if self.is_ending:
            raise ManagerStopped("Nothing was run: the manager has been stopped; start it again first.")
        for entry in self._registry:
            if entry.due is None and entry.tick is None and entry.may_run:
                self._timetable.enter(entry)

    def start_due(self, group: TaskGroup) -> tuple[str, ...]:
        """Start what is due now, and return its names.

        Args:
            group: Where it runs.
        """
        names: list[str] = []
        for entry, due in self._timetable.take_due():
            if entry.due is not due:  # whoever was told of the one before changed that
                continue
            handle = self._runs.begin(entry, due=due)
            group.start_soon(self._follow, entry, handle)
            names.append(entry.name)
        return tuple(names)

    async def _follow(self, entry: Entry, handle: RunHandle[Any]) -> None:
        """Carry out a scheduled run. What it raises is told and logged; there is no caller."""
        try:
            await self._runs.follow(entry, handle, is_scheduled=True)
        except RunCancelled:
            pass
        except Exception as error:  # noqa: BLE001 - as said
            with suppress(Exception):  # a sink that raises must not hurt the manager
                message = "A scheduled run raised {}"
                logger.bind(unit=printable(entry.name), run_id=handle.id).warning(message, type(error).__name__)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            if self.note_crash is None:
                raise
            self.note_crash(error)
        self.look_again()

    def look_again(self) -> None:
        """Have the loop look what is due."""
        self._bell.set()

    async def _nap(self) -> None:
        """Wait until something is due, or may be."""
        earliest = self._timetable.earliest()
        wait = inf if earliest == inf else min(earliest - self._clock(), _LONGEST_NAP)
        with move_on_after(max(0.0, wait)):
            await self._bell.wait()
        self._bell = anyio.Event()

    def spawn(self, function: Callable[..., Any], *arguments: object) -> None:
        """Run something beside the units, until it ends or the manager does.

        Raises:
            ManagerStopped: The manager does not run.
        """
        if self._served.is_set() or self.is_ending:
            message = "The manager does not run; start it first."
            raise ManagerStopped(message)
        work = partial(self._work, function, *arguments)
        if self._group is None:
            self._early.append(work)
        else:
            self._group.start_soon(work)

    async def _work(self, function: Callable[..., Any], *arguments: object) -> None:
        _ = _AROUND.set((*_AROUND.get(), self))
        await function(*arguments)

    def is_inside(self) -> bool:
        """Tell whether this is called from what was spawned, or from what that called."""
        return self in _AROUND.get()

    async def end(self, grace: float) -> tuple[str, ...]:
        """Start nothing more, give what runs some time, cancel the rest, and return its names when all has ended.

        Args:
            grace: Seconds that running bodies have to end by themselves.
        """
        self._runs.is_closed = self.is_ending = True
        self._bell.set()
        running = [entry for entry in self._registry if entry.status == "running"]
        for entry in running:
            if entry.handle is not None:
                entry.handle.cancel(grace)
        with move_on_after(grace):
            await self._wait_for(running)
        late = [entry for entry in running if entry.status == "running"]
        with move_on_after(FOR_THREADS):
            await self._wait_for(late)
        for entry in late:
            if entry.handle is not None:
                entry.handle.leave_threads()
        await self._wait_for(late)
        await self._served.wait()
        for entry in self._registry:
            entry.position = self._timetable.position_of(entry)
        return tuple(entry.name for entry in late)

    async def _wait_for(self, entries: list[Entry]) -> None:
        while any(entry.status == "running" for entry in entries):
            await self._runs.ended.wait()


async def _within(scope: CancelScope, function: Callable[[], Any]) -> None:
    with scope:
        await function()
