"""What a manager keeps over restarts: the state of its units, written before anybody learns of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import count

import anyio.to_thread

from fusynk.manager.entry import Entry
from fusynk.manager.events import UnitInterrupted
from fusynk.manager.listeners import Listeners
from fusynk.manager.status import UnitStatus
from fusynk.manager.store import MemoryStore, Store, StoredUnit
from fusynk.manager.timetable import Timetable

INTERRUPTED = "Interrupted"


@dataclass(slots=True)
class Keeper:
    """Keeps the state of units in a store, if there is one. Code wins: options are never kept.

    Attributes:
        store: Where, or `None` if nothing is kept.
        timetable: Knows where schedules are.
        listeners: Who is told of units that were interrupted.
    """

    store: Store | None
    timetable: Timetable
    listeners: Listeners
    _opened: Store | None = None
    _stored: dict[str, StoredUnit] = field(default_factory=dict[str, StoredUnit])
    _versions: "count[int]" = field(default_factory=lambda: count(1))

    def open(self) -> None:
        """Open the store and read it.

        Raises:
            StoreError: It cannot be opened or read.
        """
        store = self.store
        if store is None or self._opened is not None:
            return
        store.open()
        try:
            self._stored = dict(store.load())
        except BaseException:
            store.close()
            raise
        self._versions = count(1 + max((unit.version for unit in self._stored.values()), default=0))
        self._opened = store

    def close(self) -> None:
        """Give the store free."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def hydrate(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Let units go on where they were, if they are known, and note when they are due.

        What the program did to a unit before that holds.

        Returns:
            Those that were interrupted; `report` tells it.

        Raises:
            StoreError: What has changed by that cannot be kept; nothing has changed.
        """
        entries = tuple(entries)
        before = [replace(entry) for entry in entries]
        changed: list[Entry] = []
        interrupted: list[Entry] = []
        for entry in entries:
            stored = None if entry.is_known else self._stored.get(entry.name)
            entry.is_known = True
            was_running = stored is not None and stored.status == "running"
            if was_running:
                interrupted.append(entry)
            if was_running or entry.is_set:
                changed.append(entry)
            if stored is not None:
                _take_over(entry, stored)
            self.timetable.begin(entry)
        try:
            self.keep_now(changed)
        except BaseException:
            for entry, former in zip(entries, before, strict=True):
                entry.take_over(former)
                self.timetable.leave(entry)
            raise
        return tuple(interrupted)

    def report(self, interrupted: Iterable[Entry]) -> None:
        """Tell of units that were interrupted."""
        for entry in interrupted:
            self.listeners.tell(UnitInterrupted, entry.name, self._stored[entry.name].last_started)

    async def keep(self, entry: Entry, status: UnitStatus | None = None) -> None:
        """Have the state of a unit kept when this returns.

        Args:
            entry: The unit.
            status: What it is about to become, if not what it is.

        Raises:
            StoreError: It cannot be written.
        """
        if self._opened is None:
            return
        row = self._row(entry, status)
        if isinstance(self._opened, MemoryStore):
            self._opened.save(row)
        else:
            await anyio.to_thread.run_sync(self._opened.save, row)

    def keep_now(self, entries: Iterable[Entry]) -> None:
        """Keep the state of units, all or none, and wait for it where the loop is; for what operators do.

        Raises:
            StoreError: It cannot be written.
        """
        rows = [self._row(entry) for entry in entries]
        if rows and self._opened is not None:
            self._opened.save(*rows)

    def forget(self, entry: Entry) -> None:
        """Keep a unit no longer.

        Raises:
            StoreError: That cannot be written.
        """
        if self._opened is not None:
            self._opened.forget(entry.name)
        _ = self._stored.pop(entry.name, None)

    def _row(self, entry: Entry, status: UnitStatus | None = None) -> StoredUnit:
        return StoredUnit(
            name=entry.name,
            version=next(self._versions),
            status=status or entry.status,
            enabled=entry.enabled,
            paused=entry.is_held,
            runs=entry.runs,
            failures=entry.failures,
            scheduled_runs=entry.scheduled_runs,
            missed=entry.missed,
            last_started=entry.wall_started,
            last_ended=entry.wall_ended,
            last_duration=entry.duration,
            last_error=entry.error,
            position=self.timetable.position_of(entry),
        )


def _take_over(entry: Entry, stored: StoredUnit) -> None:
    """Let a unit have what is known of it, beside what it has done in this program already."""
    entry.runs += stored.runs
    entry.failures += stored.failures
    entry.scheduled_runs += stored.scheduled_runs
    entry.missed += stored.missed
    entry.position = stored.position if entry.position is None else entry.position
    if entry.is_set:
        return
    was_running = stored.status == "running"
    entry.enabled = stored.enabled
    entry.wall_started, entry.wall_ended = stored.last_started, stored.last_ended
    entry.duration, entry.error = stored.last_duration, INTERRUPTED if was_running else stored.last_error
    entry.status = "paused" if stored.paused else "error" if was_running else stored.status
