"""Record runs over and over and be killed: `python -m tests.journals.killed_writer FILE KILLS SEED SYNCHRONOUS`.

After each kill the journal must hold all that was acknowledged, in order, and nothing that was not appended.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from fusynk._core.envelope import Record
from fusynk.errors import JournalError
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import START, nobody

RUNS = ("first", "a\nb\ud800'\"")


def record(step: int) -> Record:
    return Record(step=f"{step}", attempt=1 + step % 3, kind="succeeded", payload=b"%d" % step * (step % 400))


def write_for_ever(journal: SqliteJournal, acknowledged: int, pages: int) -> None:
    """Append to two runs, and have SQLite move what was written into the file after so many pages."""

    def note_of(name: int) -> Any:
        def note(records: Sequence[Record], error: JournalError | None) -> None:
            assert error is None
            os.write(acknowledged, b"".join(b"%d %b\n" % (name, one.step.encode()) for one in records))

        return note

    runs = [journal.open_run(name, START, on_commit=note_of(number)) for number, name in enumerate(RUNS)]
    writer = journal._writer
    assert writer is not None
    writer.call(lambda: journal._file.connection.execute(f"PRAGMA wal_autocheckpoint={pages}"))
    os.write(acknowledged, b"open\n")
    for step in range(10**9):
        for run in runs:
            run.append(record(len(run.records) + step))
        if step % 50 == 0:
            time.sleep(0.0005)


def killed(file: Path, random: Random, synchronous: Any) -> list[bytes]:
    """Kill a writer and return what it acknowledged; nothing if it had not opened the journal."""
    reading, writing = os.pipe()
    pages = random.choice([1, 3, 20, 1000])
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            write_for_ever(SqliteJournal(file, synchronous=synchronous), writing, pages)
        finally:
            os._exit(1)
    os.close(writing)
    wanted, found = random.choice([0, 0, *range(300)]), b""  # 0: it is killed while it opens the journal
    while found.count(b"\n") < wanted and (more := os.read(reading, 4096)):
        found += more
    time.sleep(random.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    with os.fdopen(reading, "rb") as rest:
        told = (found + rest.read()).split(b"\n")[:-1]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    return told


def check(file: Path, acknowledged: list[int]) -> list[int]:
    """Return how many records each run has, once it is checked that they are those that were appended, in order."""
    journal = SqliteJournal(file)
    names = {run.run_id for run in journal.runs()}
    counts: list[int] = []
    for name, least in zip(RUNS, acknowledged, strict=True):
        if name not in names:
            assert least == 0
            counts.append(0)
            continue
        run = journal.open_run(name, on_commit=nobody)  # a dead owner's run is free at once
        assert list(run.records) == [record(step) for step in range(len(run.records))]
        assert len(run.records) >= least, (name, len(run.records), least)
        counts.append(len(run.records))
    journal.close()
    return counts


def main(file: Path, kills: int, seed: int, synchronous: Any) -> dict[str, int]:
    random, acknowledged = Random(seed), [0, 0]
    counts = {"acknowledged": 0, "unopened": 0, "in flight": 0, "looked": 0}
    for number in range(kills):
        told = killed(file, random, synchronous)
        counts["unopened"] += not told
        for line in told[1:]:
            run, step = map(int, line.split())
            assert step == acknowledged[run] or acknowledged[run] <= step, (line, acknowledged)
            acknowledged[run] = step + 1
            counts["acknowledged"] += 1
        if random.random() < 0.3 and number < kills - 1:
            continue  # the next one finds it as it was left
        found = check(file, acknowledged)
        counts["looked"] += 1
        counts["in flight"] += sum(found) - sum(acknowledged)
        acknowledged = found
        if sum(found) > 4_000:
            file.unlink()
            acknowledged = [0, 0]
    return counts


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
