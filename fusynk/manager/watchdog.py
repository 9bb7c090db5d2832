"""The watchdog: it reports what hangs, and does more only if it was told to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from fusynk.manager.control import Control
from fusynk.manager.entry import Entry
from fusynk.manager.events import UnitStale
from fusynk.manager.listeners import Listeners
from fusynk.manager.settings import ManagerSettings


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """A run that has shown no sign of life for longer than it may.

    Attributes:
        unit: The name of its unit.
        run_id: The run.
        seconds: For how long.
        limit: What its heartbeat, or the manager's `stale_after`, allows.
        is_cancelled: Whether it is cancelled for that.
    """

    unit: str
    run_id: str
    seconds: float
    limit: float
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Looks for units that hang.

    Attributes:
        settings: What the manager allows, and what it has told the watchdog to do.
        clock: The monotonic clock of the loop.
        listeners: Who is told.
        control: Resumes paused units.
    """

    settings: ManagerSettings
    clock: Callable[[], float]
    listeners: Listeners
    control: Control

    def scan(self, entries: Iterable[Entry]) -> tuple[Stale, ...]:
        """Look at all units once.

        Returns:
            The runs that are stale now, also those that were reported before.
        """
        now = self.clock()
        found = [stale for entry in entries if (stale := self._look(entry, now)) is not None]
        return tuple(found)

    def _look(self, entry: Entry, now: float) -> Stale | None:
        if (
            entry.status == "paused"
            and self.settings.unpause_after is not None
            and now - entry.paused_since >= self.settings.unpause_after
        ):
            self.control.resume([entry], by="watchdog")
        limit = entry.options.heartbeat or self.settings.stale_after
        silent = now - entry.last_sign
        if entry.status != "running" or entry.handle is None or limit is None or silent <= limit:
            return None
        stale = Stale(
            unit=entry.name,
            run_id=entry.handle.id,
            seconds=silent,
            limit=limit,
            is_cancelled=self.settings.cancel_stale,
        )
        if not entry.reported_stale:
            entry.reported_stale = True
            self.listeners.tell(UnitStale, stale.unit, stale.run_id, silent, limit, self.settings.cancel_stale)
            if self.settings.cancel_stale:
                entry.handle.cancel()
        return stale
