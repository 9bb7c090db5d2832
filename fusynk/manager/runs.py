"""The runs of registered units: one at a time for each, from its begin to its end, told and kept."""

from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio import CancelScope

from fusynk._core.model import UNSET
from fusynk.errors import ManagerStopped, RunCancelled, UnitDisabled, UnitPaused, UnitRunning
from fusynk.handle import RunHandle
from fusynk.manager.entry import Entry
from fusynk.manager.events import ScheduleEnded, TicksMissed, UnitCancelled, UnitCompleted, UnitFailed, UnitStarted
from fusynk.manager.events import UnitPaused as UnitPausedEvent
from fusynk.manager.keeper import Keeper
from fusynk.manager.listeners import Listeners
from fusynk.manager.schedule import Due
from fusynk.manager.timetable import Timetable
from fusynk.run import Run


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
        if entry.status == "paused" or entry.is_pausing:
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

    async def follow(self, entry: Entry, handle: RunHandle[Any], *, is_scheduled: bool) -> Run[Any]:
        """Carry out a run that `begin` returned.

        Args:
            entry: The unit.
            handle: The run.
            is_scheduled: Whether its schedule started it.

        Raises:
            BaseException: What `plan.run()` raises.
        """
        run: Run[Any] | None = None
        try:
            await self._keeper.keep(entry)
            async with handle:
                entry.handle = handle
                self._listeners.tell(UnitStarted, entry.name, handle.id, is_scheduled)
                run = await handle.wait()
        except BaseException as error:
            self._end(entry, _failure_of(error), is_cancelled=_is_cancellation(error))
            raise
        else:
            self._end(entry, next(iter(run.failures.values()), None), is_cancelled=False)
            return run
        finally:
            with CancelScope(shield=True):
                await self._keeper.keep(entry)
            self._announce_end()

    def _announce_end(self) -> None:
        ended, self.ended = self.ended, anyio.Event()
        ended.set()

    def _end(self, entry: Entry, failure: BaseException | None, *, is_cancelled: bool) -> None:
        """Let a unit have ended."""
        run_id = entry.handle.id if entry.handle is not None else ""
        duration = entry.duration = self._clock() - entry.started
        entry.wall_ended = self._wall_clock()
        entry.handle = None
        if is_cancelled:
            entry.become("idle")
            self._listeners.tell(UnitCancelled, entry.name, run_id, duration)
        elif failure is not None:
            self.failed += 1
            entry.failures += 1
            entry.error = type(failure).__qualname__
            entry.become("error")
            self._listeners.tell(UnitFailed, entry.name, run_id, duration, entry.error)
        else:
            entry.error = None
            entry.become("completed")
            self._listeners.tell(UnitCompleted, entry.name, run_id, duration)
        if entry.is_pausing:
            self.pause(entry)
        else:
            self._timetable.put_back(entry)

    def pause(self, entry: Entry) -> None:
        """Let a unit that does not run be paused."""
        entry.is_pausing = False
        entry.paused_since = self._clock()
        entry.become("paused")
        self._timetable.leave(entry)
        self._listeners.tell(UnitPausedEvent, entry.name)


def _is_cancellation(error: BaseException) -> bool:
    """Tell whether a run was given up, and did not fail: from outside, through its handle, or by an interruption."""
    return isinstance(error, RunCancelled) or not isinstance(error, Exception)


def _failure_of(error: BaseException) -> BaseException | None:
    return None if _is_cancellation(error) else error
