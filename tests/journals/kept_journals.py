"""Write journals of the present format, to be kept for later versions: `python -m tests.journals.kept_journals FOLDER`.

Beside each one a JSON file says what is in it.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import msgspec

from fusynk._core.codec import Codec
from fusynk._core.envelope import Record, RecordKind
from fusynk._core.journalled import JournalStatus, RunStart
from fusynk.journals.sqlite import SqliteJournal
from fusynk.journals.sqlite_file import JOURNAL
from tests.journals.keeping import Told, written

NAME = "order-{} \u2713\n'"


class KeptRun(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a journal about a run.

    Attributes:
        start: What it began with.
        status: How it ended.
        epoch: How often it was opened.
        records: Its records, in order.
    """

    start: RunStart
    status: JournalStatus
    epoch: int
    records: list[Record]


def record(number: int) -> Record:
    kinds: tuple[RecordKind, ...] = get_args(RecordKind)
    artifact: list[object] = [number, None, 1.5, "text \u2713 \0", {"key": [True]}]
    return Record(
        step=f"step {number}" if number % 3 else f"item[{number}]",
        attempt=number % 4,
        kind=kinds[number % len(kinds)],
        payload=Codec().of(Any).encode(artifact * (number % 4), step="step"),
        started=1_790_000_000.25 + number,
        ended=1_790_000_001.5 + number,
    )


def start(number: int) -> RunStart:
    return RunStart(fingerprint=f"{number:032x}", inputs=b'{"n":%d}' % number, plan=b"\0plan", created=1.79e9 + number)


def fill(journal: SqliteJournal) -> None:
    """Record runs that came to every end, and one that was removed."""
    statuses: tuple[JournalStatus, ...] = get_args(JournalStatus)
    told = Told()
    for number, status in enumerate((*statuses, "succeeded")):
        run = journal.open_run(NAME.format(number), start(number), on_commit=told, owner="who wrote it")
        its = [record(step) for step in range(1, 1 + 3 * number)]
        assert not its or written(run, told, *its) is None
        if status != "open":
            run.end(status)
        run.release()
    journal.delete(NAME.format(4))
    journal.close()


def go_on(journal: SqliteJournal) -> None:
    """Record more of a run, and leave it to who comes next."""
    told = Told()
    run = journal.open_run(NAME.format(0), on_commit=told, owner="who wrote it")
    assert written(run, told, *(record(step) for step in range(1, 8))) is None


def runs_in(journal: SqliteJournal) -> Mapping[str, KeptRun]:
    """Return what a journal holds. Runs are opened for it, and given back as they were."""
    kept: dict[str, KeptRun] = {}
    for summary in journal.runs():
        run = journal.open_run(summary.run_id, on_commit=Told())
        records = list(run.records)
        assert list(journal.history(summary.run_id)) == records
        kept[summary.run_id] = KeptRun(start=run.start, status=summary.status, epoch=summary.epoch, records=records)
        run.release()
    return kept


def copied(database: Path, folder: Path) -> Path:
    """Return a copy of a journal, and of what lies beside it."""
    for file in (database, database.with_name(f"{database.name}-wal")):
        if file.exists():
            shutil.copyfile(file, folder / file.name)
    return folder / database.name


def write(folder: Path) -> None:
    """Write one journal that was closed, and one as a kill leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending in ("closed", "killed"):
        with TemporaryDirectory() as scratch:
            journal = SqliteJournal(Path(scratch) / f"format-{JOURNAL.format}-{ending}.db")
            fill(journal)
            if ending == "killed":
                go_on(journal)
            database = copied(journal.path, folder)
            journal.close()
            kept = msgspec.json.format(msgspec.json.encode(runs_in(journal)), indent=1)
            database.with_suffix(".json").write_bytes(kept + b"\n")
            journal.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
