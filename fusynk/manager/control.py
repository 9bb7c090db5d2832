"""What operators do to registered units: every change is kept, told, and made whole or not at all."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from fusynk._core import events as of_runs
from fusynk.errors import UnitRunning
from fusynk.items import PROGRESS
from fusynk.manager.entry import Entry
from fusynk.manager.events import (
    MilestoneReached,
    UnitDisabled,
    UnitEnabled,
    UnitPaused,
    UnitRegistered,
    UnitReleased,
    UnitResumed,
    UnitUpdated,
)
from fusynk.manager.keeper import Keeper
from fusynk.manager.listeners import Listeners
from fusynk.manager.registry import Registry
from fusynk.manager.timetable import Timetable


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Changes registered units.

    Attributes:
        registry: The units.
        timetable: When they are due.
        keeper: What is kept over restarts.
        listeners: Who is told.
        clock: The monotonic clock of the loop.
        look_again: Has the loop look what is due.
    """

    registry: Registry
    timetable: Timetable
    keeper: Keeper
    listeners: Listeners
    clock: Callable[[], float]
    look_again: Callable[[], None]

    def register(self, unit: object, name: str | None, *, replaces: bool, is_live: bool) -> None:
        """Register a unit; what it replaces must not run."""
        entry = self.registry.made(unit, name)
        former = self.registry.find(entry.name) if replaces and self.registry.has(entry.name) else None
        if former is not None:
            self._refuse_running(former, "replaced")
            entry.take_over(former)
        self.registry.add(entry, replaces=replaces)
        entry.plan = entry.plan.options(subscribers=[*entry.plan.settings.subscribers, self._hearing(entry)])
        interrupted = self._hydrate(entry, former) if is_live else ()
        self.listeners.tell(UnitRegistered, entry.name, entry.kind)
        self.keeper.report(interrupted)

    def _hydrate(self, entry: Entry, former: Entry | None) -> tuple[Entry, ...]:
        """Let a new unit go on where it was, or what it replaces; it is registered only if that can be kept."""
        if former is not None:
            entry.position = self.timetable.position_of(former)
        try:
            interrupted = self.keeper.hydrate([entry])
        except BaseException:
            self.timetable.leave(entry)
            self.registry.remove(entry)
            if former is not None:
                self.registry.add(former)
            raise
        if former is not None:
            self.timetable.leave(former)
        self.look_again()
        return interrupted

    def _hearing(self, entry: Entry) -> Callable[[of_runs.Event], None]:
        """Return what passes on the milestones of a unit's runs. They are signs of life."""

        def hear(event: of_runs.Event) -> None:
            if isinstance(event, of_runs.MilestoneReached):
                entry.milestone = entry.milestone if event.name == PROGRESS else event.name
                entry.last_sign = self.clock()
                entry.reported_stale = False
                self.listeners.tell(MilestoneReached, event.name, event.values, entry.name, event.step)

        return hear

    def release(self, entry: Entry) -> None:
        """Register a unit no longer."""
        self._refuse_running(entry, "released")
        self.keeper.forget(entry)
        self.timetable.leave(entry)
        self.registry.remove(entry)
        self.listeners.tell(UnitReleased, entry.name)

    def _refuse_running(self, entry: Entry, verb: str) -> None:
        if entry.status == "running":
            seconds = self.clock() - entry.started
            message = (
                f"{entry.name!r} has been running for {seconds:.3g} s and cannot be {verb}; wait until it has ended."
            )
            raise UnitRunning(message)

    def enable(self, entry: Entry) -> None:
        """Let a unit run again."""
        if not entry.enabled:
            with self._kept([entry]):
                entry.enabled = True
                entry.is_set = True
                if not entry.is_held:
                    self._schedule(entry)
            self.listeners.tell(UnitEnabled, entry.name)

    def disable(self, entry: Entry) -> None:
        """Let a unit not run until it is enabled; a run that goes on ends as ever."""
        if entry.enabled:
            with self._kept([entry]):
                entry.enabled = False
                entry.is_set = True
                self.timetable.leave(entry)
            self.listeners.tell(UnitDisabled, entry.name)

    def pause(self, entries: Iterable[Entry]) -> None:
        """Pause units; those that run, when their runs have ended."""
        changing = [entry for entry in entries if not entry.is_held]
        with self._kept(changing):
            for entry in changing:
                entry.is_set = True
                if entry.status == "running":
                    entry.is_pausing = True
                else:
                    entry.become("paused")
                    entry.paused_since = self.clock()
                self.timetable.leave(entry)
        for entry in changing:
            if entry.status == "paused":
                self.listeners.tell(UnitPaused, entry.name)

    def resume(self, entries: Iterable[Entry], by: Literal["caller", "watchdog"] = "caller") -> None:
        """Let paused units run again."""
        changing = [entry for entry in entries if entry.is_held]
        with self._kept(changing):
            for entry in changing:
                entry.is_set = True
                entry.is_pausing = False
                if entry.status == "paused":
                    entry.become("idle")
                if entry.enabled:
                    self._schedule(entry)
        for entry in changing:
            self.listeners.tell(UnitResumed, entry.name, by)

    def _schedule(self, entry: Entry) -> None:
        self.timetable.enter(entry)
        self.look_again()

    def update(self, entry: Entry, changes: Mapping[str, object]) -> None:
        """Change the options of a unit. A run that goes on keeps those that it began with."""
        if not changes:
            return
        former = entry.schedule
        self.registry.update(entry, changes)
        if entry.schedule != former or "max_runs" in changes:
            self.timetable.reenter(entry)
            if not entry.may_run:
                self.timetable.leave(entry)
            self.look_again()
        self.listeners.tell(UnitUpdated, entry.name, tuple(changes))

    @contextmanager
    def _kept(self, entries: list[Entry]) -> Generator[None]:
        """Make changes and keep them; what cannot be kept is not made."""
        before = [replace(entry) for entry in entries]
        try:
            yield
            if entries:
                self.keeper.keep_now(entries)
        except BaseException:
            for entry, former in zip(entries, before, strict=True):
                entry.status, entry.enabled, entry.is_pausing = former.status, former.enabled, former.is_pausing
                self.timetable.restore(entry, former.due)
            raise
