"""What tests of journals share: records, owners, and looking at what lies in a folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Condition
from typing import Literal

from fusynk._core.envelope import Record
from fusynk._core.journalled import RunStart
from fusynk.errors import JournalError
from fusynk.journals.journalled_run import JournalledRun
from fusynk.journals.memory import MemoryJournal
from fusynk.journals.sqlite import SqliteJournal

LONG = os.environ.get("FUSYNK_LONG") == "1"
SEED = int(os.environ.get("FUSYNK_SEED", "20261122"))
START = RunStart(fingerprint="9f3c", inputs=b'{"n":3}', plan=b"plan", created=1.5)
Synchronous = Literal["FULL", "NORMAL"]


def record(step: str, number: int = 1, size: int = 0) -> Record:
    return Record(step=step, attempt=1, kind="succeeded", payload=b"%d" % number + b" " * size, started=1.0, ended=2.0)


def nobody(_records: Sequence[Record], _error: JournalError | None) -> None:
    """Is told of commits and waits for none."""


class Told:
    """Waits for what it is told by another thread."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.errors: list[JournalError] = []
        self.refused: list[Record] = []
        self.groups = 0
        self._changed = Condition()

    def __call__(self, records: Sequence[Record], error: JournalError | None) -> None:
        with self._changed:
            self.groups += 1
            if error is None:
                self.records += records
            else:
                self.errors.append(error)
                self.refused += records
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.records) + len(self.refused) >= count, timeout=30)


def written(run: JournalledRun, told: Told, *records: Record) -> JournalError | None:
    """Append records and wait; return the error if they are not durable."""
    before = len(told.records) + len(told.refused)
    for one in records:
        assert run.append(one)
    told.wait_for(before + len(records))
    return told.errors[-1] if told.refused and told.refused[-1] == records[-1] else None


def filled(
    journal: MemoryJournal | SqliteJournal, run_id: str, count: int, *, size: int = 0, at_once: bool = True
) -> list[Record]:
    """Record a run of so many steps that has ended; each in a row of its own if not all at once."""
    told = Told()
    run = journal.open_run(run_id, START, on_commit=told)
    records = [record(f"step {number}", number, size and number % size) for number in range(count)]
    for together in [records] if at_once else [[one] for one in records]:
        assert written(run, told, *together) is None
    run.end("succeeded")
    run.release()
    return records


def contents(folder: Path) -> dict[str, bytes]:
    """All files that lie in a folder but locks, which come and go."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in {".lock", ".locks"}
    }
