"""Journals that commit late or in odd groups, and what must hold of a run whatever became of it."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from fusynk import Succeeded
from fusynk._core.envelope import Record
from fusynk._runtime.backend import in_trio
from fusynk._runtime.runner import Runner
from fusynk.errors import JournalError
from fusynk.journals import MemoryJournal
from fusynk.protocols import OpenRun


def later(seconds: float, call: Callable[[], object]) -> None:
    """Call a function of the running loop after a while, in no task of anybody's."""
    if not in_trio():
        import asyncio  # noqa: PLC0415 - as trio

        _ = asyncio.get_running_loop().call_later(seconds, call)
        return

    async def wait() -> None:
        await anyio.sleep(seconds)
        call()

    sys.modules["trio"].lowlevel.spawn_system_task(wait)


class LateRun:
    """A run in a journal that takes its time, and commits in groups of at most so many."""

    def __init__(self, kept: OpenRun, seconds: float, most: int) -> None:
        self.run_id, self.start, self.state, self.records = kept.run_id, kept.start, kept.state, kept.records
        self._kept, self._seconds, self._most = kept, seconds, most
        self._added: list[Record] = []
        self._taken: set[str] = {record.step for record in self.records if record.kind in FINAL_KINDS}
        self._is_asleep = False

    is_silent = False

    def assure(self) -> None:
        """Nobody takes it over."""

    def append(self, record: Record) -> bool:
        return not self.append_all([record])

    def append_all(self, records: Sequence[Record]) -> Sequence[Record]:
        refused = [record for record in records if not self._is_first(record)]
        self._added += [record for record in records if record not in refused]
        self._wake_later()
        return refused

    def _is_first(self, record: Record) -> bool:
        if record.kind not in FINAL_KINDS:
            return True
        is_first = record.step not in self._taken
        self._taken.add(record.step)
        return is_first

    def _wake_later(self) -> None:
        if self._added and not self._is_asleep:
            self._is_asleep = True
            later(self._seconds, self._wake)

    def _wake(self) -> None:
        self._is_asleep = False
        self._commit(self._most)
        self._wake_later()

    def _commit(self, most: int) -> None:
        group, self._added = self._added[:most], self._added[most:]
        if group:
            _ = self._kept.append_all(group)

    def end(self, status: Any) -> None:
        self._commit(len(self._added))
        self._kept.end(status)

    def release(self) -> None:
        self._commit(len(self._added))
        self._kept.release()


FINAL_KINDS = frozenset({"succeeded", "failed", "skipped", "recovered"})


class LateJournal(MemoryJournal):
    """A journal in memory that commits late."""

    def __init__(self, seconds: float, most: int) -> None:
        super().__init__()
        self.seconds, self.most = seconds, most

    def open_run(self, run_id: str, start: Any = None, *, on_commit: Any, post: Any = None, owner: Any = None) -> Any:
        kept = super().open_run(run_id, start, on_commit=on_commit, post=post, owner=owner)
        return LateRun(kept, self.seconds, self.most) if post is not None else kept


def assert_free(journal: MemoryJournal, run_id: str) -> None:
    """Nobody has the run."""
    run = journal.open_run(run_id, on_commit=ignore)
    run.release()


def ignore(_records: Sequence[Record], _error: JournalError | None) -> None:
    """Hear of records."""


def complete_in(journal: MemoryJournal, run_id: str) -> set[str]:
    """The names of what the journal has as succeeded."""
    return {record.step for record in journal.history(run_id) if record.kind in ("succeeded", "recovered")}


def assert_nothing_unrecorded(runner: Runner, journal: MemoryJournal) -> None:
    """What a run says of its steps and items stands in the journal, too."""
    scheduler: Any = runner.scheduler
    recording: Any = runner.program.recording
    complete = complete_in(journal, runner.run_id)
    items = range(scheduler.base, len(scheduler.state))
    for index in [*scheduler.wiring.steps(), *items]:
        is_derived = scheduler.step_of(index) in recording.derived or index in scheduler.items
        if isinstance(scheduler.outcome_of(index), Succeeded) and not is_derived:
            assert scheduler.name_of(index) in complete, scheduler.name_of(index)


def cut_off(journal: MemoryJournal, run_id: str, count: int) -> MemoryJournal:
    """What is left when the process dies after so many records of a run: a journal of these, and the run is open."""
    opened = journal.open_run(run_id, on_commit=ignore)
    opened.release()
    left = MemoryJournal(codec=journal.codec)
    run = left.open_run(run_id, opened.start, on_commit=ignore)
    for record in opened.records[:count]:
        _ = run.append(record)
    run.release()
    return left
