"""What a manager keeps over restarts: the state of its units, written before anybody learns of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

import anyio.to_thread

from fusynk.manager.entry import Entry
from fusynk.manager.events import UnitInterrupted
from fusynk.manager.listeners import Listeners
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
    _is_open: bool = False
    _stored: Mapping[str, StoredUnit] = field(default_factory=dict[str, StoredUnit])
    _versions: "count[int]" = field(default_factory=lambda: count(1))

    def open(self) -> None:
        """Open the store and read it.

        Raises:
            StoreError: It cannot be opened or read.
        """
        if self.store is None or self._is_open:
            return
        self.store.open()
        try:
            self._stored = self.store.load()
        except BaseException:
            self.store.close()
            raise
        self._versions = count(1 + max((unit.version for unit in self._stored.values()), default=0))
        self._is_open = True

    def close(self) -> None:
        """Give the store free."""
        if self.store is not None and self._is_open:
            self._is_open = False
            self.store.close()

    def hydrate(self, entry: Entry) -> None:
        """Let a unit go on where it was, if it is known, and note when it is due."""
        stored = self._stored.get(entry.name)
        if stored is None:
            self.timetable.enter(entry)
            return
        entry.enabled = stored.enabled
        entry.runs, entry.failures = stored.runs, stored.failures
        entry.scheduled_runs, entry.missed = stored.scheduled_runs, stored.missed
        entry.wall_started, entry.wall_ended = stored.last_started, stored.last_ended
        entry.duration, entry.error = stored.last_duration, stored.last_error
        was_running = stored.status == "running"
        if was_running:
            entry.error = INTERRUPTED
        entry.status = "paused" if stored.paused else "error" if was_running else stored.status
        if was_running:
            self.listeners.tell(UnitInterrupted, entry.name, stored.last_started)
        if not entry.enabled or entry.status == "paused":
            entry.due = None
        elif stored.position is None:
            self.timetable.enter(entry)
        else:
            self.timetable.resume(entry, stored.position)

    async def keep(self, entry: Entry) -> None:
        """Have the state of a unit kept when this returns.

        Raises:
            StoreError: It cannot be written.
        """
        if self.store is None or not self._is_open:
            return
        row = self._row(entry)
        if isinstance(self.store, MemoryStore):
            self.store.save(row)
        else:
            await anyio.to_thread.run_sync(self.store.save, row)

    def keep_now(self, entries: Iterable[Entry]) -> None:
        """Keep the state of units, all or none, and wait for it where the loop is; for what operators do.

        Raises:
            StoreError: It cannot be written.
        """
        if self.store is not None and self._is_open:
            self.store.save(*map(self._row, entries))

    def forget(self, entry: Entry) -> None:
        """Keep a unit no longer.

        Raises:
            StoreError: That cannot be written.
        """
        if self.store is not None and self._is_open:
            self.store.forget(entry.name)

    def _row(self, entry: Entry) -> StoredUnit:
        return StoredUnit(
            name=entry.name,
            version=next(self._versions),
            status=entry.status,
            enabled=entry.enabled,
            paused=entry.is_pausing or entry.status == "paused",
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
