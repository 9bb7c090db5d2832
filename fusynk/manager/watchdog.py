"""The watchdog: it reports what hangs, and does more only if it was told to."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from fusynk.manager.entry import Entry
from fusynk.manager.events import UnitStale
from fusynk.manager.listeners import Listeners


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Watchdog:
    """Looks for units that hang.

    Attributes:
        stale_after: Seconds without a sign of life that units without a heartbeat have; `None` for any.
        cancel_stale: Whether to cancel a run that has had none for longer.
        unpause_after: Seconds after which a paused unit is resumed; `None` for never.
        clock: The monotonic clock of the loop.
        listeners: Who is told.
        resume: Resumes a paused unit.
    """

    stale_after: float | None
    cancel_stale: bool
    unpause_after: float | None
    clock: Callable[[], float]
    listeners: Listeners
    resume: Callable[[Entry], None]

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
            and self.unpause_after is not None
            and now - entry.paused_since >= self.unpause_after
        ):
            self.resume(entry)
        limit = entry.options.heartbeat or self.stale_after
        silent = now - entry.last_sign
        if entry.status != "running" or entry.handle is None or limit is None or silent <= limit:
            return None
        stale = Stale(
            unit=entry.name, run_id=entry.handle.id, seconds=silent, limit=limit, is_cancelled=self.cancel_stale
        )
        if not entry.reported_stale:
            entry.reported_stale = True
            self.listeners.tell(UnitStale, stale.unit, stale.run_id, silent, limit, self.cancel_stale)
            if self.cancel_stale:
                entry.handle.cancel()
        return stale
