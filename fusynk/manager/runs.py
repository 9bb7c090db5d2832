"""The runs of registered units: one at a time for each, from its begin to its end, told and kept."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import anyio
from anyio import CancelScope

from fusynk._core.model import UNSET
from fusynk.blame import run_of
from fusynk.errors import ManagerStopped, RunCancelled, StoreError, UnitDisabled, UnitPaused, UnitRunning
from fusynk.handle import RunHandle
from fusynk.manager.entry import Entry
from fusynk.manager.events import ScheduleEnded, TicksMissed, UnitCancelled, UnitCompleted, UnitFailed, UnitStarted
from fusynk.manager.events import UnitPaused as UnitPausedEvent
from fusynk.manager.keeper import Keeper
from fusynk.manager.listeners import Listeners
from fusynk.manager.schedule import Due
from fusynk.manager.status import UnitStatus
from fusynk.manager.timetable import Timetable
from fusynk.run import Run

_AROUND: ContextVar[tuple[RunHandle[Any], ...]] = ContextVar("fusynk_managed_runs", default=())


class Runs:
    """Begins and ends the runs of units.

    Args:
        listeners: Who is told.
        timetable: When units are due.
        keeper: What is kept over restarts.
        clock: The monotonic clock of the loop.
        wall_clock: Seconds since the epoch.

    Attributes:
        begun: How many runs have begun.
        failed: How many failed.
        is_closed: Whether nothing more may run.
        ended: Set and made anew whenever a run ends.
    """

    def __init__(
        self,
        listeners: Listeners,
        timetable: Timetable,
        keeper: Keeper,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._listeners = listeners
        self._timetable = timetable
        self._keeper = keeper
        self._clock = clock
        self._wall_clock = wall_clock
        self.begun = 0
        self.failed = 0
        self.is_closed = False
        self.ended = anyio.Event()

    def open(self) -> None:
        """Let units run."""
        self.is_closed = False
        self.ended = anyio.Event()

    def begin(
        self, entry: Entry, inputs: object = UNSET, keywords: Mapping[str, object] | None = None, due: Due | None = None
    ) -> RunHandle[Any]:
        """Let a unit be running, and return its run, which `follow` carries out.

        Args:
            entry: The unit.
            inputs: An instance of its plan's input class.
            keywords: The inputs by name, instead.
            due: What its schedule starts it for, if that does.

        Raises:
            ManagerStopped: The manager has been stopped.
            UnitDisabled: The unit is disabled.
            UnitPaused: The unit is paused.
            UnitRunning: The unit runs already.
            InvalidInputs: An input is missing or unknown.
        """
        self._refuse(entry)
        entry.is_set = True
        handle: RunHandle[Any]
        handle = entry.plan.start(**(keywords or {})) if inputs is UNSET else entry.plan.start(inputs)
        self.begun += 1
        entry.runs += 1
        entry.become("running")
        entry.started = entry.last_sign = self._clock()
        entry.wall_started = self._wall_clock()
        entry.reported_stale = False
        if due is not None:
            self._advance(entry, due)
        return handle

    def _refuse(self, entry: Entry) -> None:
        name = entry.name
        if self.is_closed:
            raise ManagerStopped(f"{name!r} was not run: the manager has been stopped; start it again first.")
        if not entry.enabled:
            raise UnitDisabled(f"{name!r} is disabled; call enable({name!r}) first.")
        if entry.is_held:
            raise UnitPaused(f"{name!r} is paused; call resume({name!r}) first.")
        if entry.status == "running":
            seconds = self._clock() - entry.started
            raise UnitRunning(f"{name!r} has been running for {seconds:.3g} s; wait until it has ended.")

    def _advance(self, entry: Entry, due: Due) -> None:
        """Take note of what the schedule has started."""
        entry.scheduled_runs += 1
        missed = self._timetable.advance(entry, due)
        if missed:
            entry.missed += missed
            self._listeners.tell(TicksMissed, entry.name, missed)
        if not entry.may_be_scheduled:
            self._listeners.tell(ScheduleEnded, entry.name, entry.scheduled_runs)

    def is_inside(self, entries: Iterable[Entry]) -> bool:
        """Tell whether this is called from a body, or from what it called, of a run of one of these that goes on."""
        around = _AROUND.get()
        return any(entry.handle is not None and entry.handle in around for entry in entries)

    async def follow(self, entry: Entry, handle: RunHandle[Any], *, is_scheduled: bool) -> Run[Any]:
        """Carry out a run that `begin` returned.

        Args:
            entry: The unit.
            handle: The run.
            is_scheduled: Whether its schedule started it.

        Raises:
            StoreError: Its beginning or its success cannot be kept.
            BaseException: What `plan.run()` raises.
        """
        try:
            run = await self._carry_out(entry, handle, is_scheduled=is_scheduled)
        except BaseException as error:
            entry.last_run = run_of(error) or entry.last_run
            with suppress(StoreError):  # what was raised says more
                await self._end(entry, "idle" if _is_cancellation(error) else "error", type(error))
            raise
        entry.last_run = run
        failure = next(iter(run.failures.values()), None)
        await self._end(entry, "completed" if failure is None else "error", type(failure))
        return run

    async def _carry_out(self, entry: Entry, handle: RunHandle[Any], *, is_scheduled: bool) -> Run[Any]:
        await self._keeper.keep(entry)
        if self.is_closed:  # meanwhile
            raise RunCancelled(f"{entry.name!r} was not run: the manager was stopped before it began.")
        around = _AROUND.get()
        _ = _AROUND.set((*around, handle))
        try:
            async with handle:
                _ = _AROUND.set(around)  # bodies see the run around them; those who are told of it do not
                entry.handle = handle
                if self.is_closed:  # while it was entered
                    handle.cancel()
                self._listeners.tell(UnitStarted, entry.name, handle.id, is_scheduled)
                return await handle.wait()
        finally:
            _ = _AROUND.set(around)

    async def _end(self, entry: Entry, status: UnitStatus, error: type[object]) -> None:
        """Let a unit have ended: kept first, and told then, whether or not that could be kept.

        Raises:
            StoreError: It cannot be kept.
        """
        run_id, entry.handle = entry.handle.id if entry.handle is not None else "", None
        duration = entry.duration = self._clock() - entry.started
        entry.wall_ended = self._wall_clock()
        if status == "error":
            self.failed += 1
            entry.failures += 1
            entry.error = error.__qualname__
        elif status == "completed":
            entry.error = None
        try:
            with CancelScope(shield=True):
                await self._keep_end(entry, status)
        finally:
            entry.become(status)
            if not entry.is_pausing:
                self._timetable.put_back(entry)
            self._tell_end(entry, run_id, duration, status)
            ended, self.ended = self.ended, anyio.Event()
            ended.set()

    async def _keep_end(self, entry: Entry, status: UnitStatus) -> None:
        """Keep how a unit has ended. What operators did to it meanwhile was kept as of a unit that runs."""
        kept = None
        while kept != (entry.enabled, entry.is_pausing):
            kept = entry.enabled, entry.is_pausing
            await self._keeper.keep(entry, "paused" if entry.is_pausing else status)

    def _tell_end(self, entry: Entry, run_id: str, duration: float, status: UnitStatus) -> None:
        is_pausing = entry.is_pausing
        if is_pausing:
            self._pause(entry)
        if status == "idle":
            self._listeners.tell(UnitCancelled, entry.name, run_id, duration)
        elif status == "error":
            self._listeners.tell(UnitFailed, entry.name, run_id, duration, entry.error)
        else:
            self._listeners.tell(UnitCompleted, entry.name, run_id, duration)
        if is_pausing:
            self._listeners.tell(UnitPausedEvent, entry.name)

    def _pause(self, entry: Entry) -> None:
        """Let a unit be paused whose run has ended."""
        entry.is_pausing = False
        entry.paused_since = self._clock()
        entry.become("paused")
        self._timetable.leave(entry)


def _is_cancellation(error: BaseException) -> bool:
    """Tell whether a run was given up, and did not fail: from outside, through its handle, or by an interruption."""
    if not isinstance(error, RunCancelled):
        return not isinstance(error, Exception)
    run = run_of(error)
    return run is None or run.status != "failed"  # of a run inside a body, it is a failure
