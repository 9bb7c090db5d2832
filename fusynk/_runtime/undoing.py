"""Recorded runs that are broken off: that they are being undone is recorded, and they are never continued."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, cast

from fusynk._core.envelope import Record
from fusynk._core.model import CancelledBy
from fusynk._core.replay import Replay, place_of

if TYPE_CHECKING:
    from fusynk._core.resuming import ResumingScheduler
    from fusynk._runtime.durable import Durable
    from fusynk._runtime.runner import Runner

LEAVES_OPEN: Final[frozenset[CancelledBy]] = frozenset({"caller", "stop", "signal"})
"""What ends a recorded run so that it can be resumed as if nothing had been."""


class Undoing:
    """Records what is undone, and goes on with what former processes have begun to undo.

    Args:
        run: The run.
        durable: What it records.
        replay: Where it was left.
    """

    def __init__(self, run: "Runner", durable: "Durable", replay: Replay) -> None:
        self._run = run
        self._durable = durable
        self._replay = replay
        self._scheduler = cast("ResumingScheduler", run.scheduler)
        self._is_noted = False

    def go_back_if_broken_off(self) -> None:
        """Go on with undoing a run that was broken off. Nothing of it is continued."""
        broken_off, run, replay = self._replay.broken_off, self._run, self._replay
        if broken_off is None:
            return
        self._is_noted = True
        self._ensure_items([*replay.order, broken_off.step] if broken_off.step else replay.order)
        self._scheduler.settle_known(replay.steps, replay.items)
        self._scheduler.settle_known(replay.lost_steps, replay.lost_items)
        if broken_off.step:
            run.abort(self._index_of(broken_off.step), broken_off.error)
        else:
            run.reason = broken_off.error
            run.stop("deadline")

    def _ensure_items(self, names: Iterable[str]) -> None:
        """Let items come into being whose fan-out goes over a resource, which is not set up to be undone."""
        counts: dict[int, int] = {}
        for name in names:
            step, number = place_of(name, self._scheduler.wiring)
            if number is not None:
                counts[step] = max(counts.get(step, 0), number + 1)
        for step, count in counts.items():
            self._scheduler.ensure_items(step, count)

    def _index_of(self, name: str) -> int:
        step, number = place_of(name, self._scheduler.wiring)
        return step if number is None else self._scheduler.items[step][number]

    async def may_begin(self) -> bool:
        """Tell whether the run is to be undone; if so, that is recorded first, and it is never continued."""
        if self._run.by in LEAVES_OPEN or self._durable.broken is not None:
            return False
        self.note_break_off()
        await self._durable.wait_for_commits()
        return self._durable.broken is None

    def note_break_off(self) -> None:
        """Record what broke the run off, once."""
        if self._is_noted:
            return
        self._is_noted = True
        run = self._run
        name = "" if run.cause is None else self._scheduler.name_of(run.cause[0])
        payload = self._durable.codec.encode_error(cast("BaseException", run.reason))
        self._durable.note(Record(step=name, attempt=0, kind="aborted", payload=payload))

    def note_compensated(self, name: str) -> None:
        """Record that a step or an item was undone.

        Args:
            name: Its name.
        """
        self._durable.note(Record(step=name, attempt=0, kind="compensated", payload=b""))

    @property
    def compensated(self) -> Sequence[str]:
        """What was undone before, by name, in that order."""
        return self._replay.compensated if self._replay.broken_off is not None else ()

    def in_order_of_end(self, indexes: Sequence[int]) -> list[int]:
        """Return steps and items in the order in which they ended, in whatever process.

        Args:
            indexes: The steps and items, in the order in which this process heard of them.
        """
        places = {name: place for place, name in enumerate(self._replay.order)}
        return sorted(indexes, key=lambda index: places.get(self._scheduler.name_of(index), len(places)))
