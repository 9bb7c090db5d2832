"""Journals that earlier versions have written open in this one; they lie in `tests/data/journals`.

Whoever changes what is in the file of a journal gives it the next format number, and adds files of that format by

    python -m tests.journals.kept_journals tests/data/journals

The files of former formats stay: this version reads them, or refuses them by a named error.
"""

from pathlib import Path
from struct import pack_into

import msgspec
import pytest

from fusynk.errors import NewerJournal
from fusynk.journals.sqlite import SqliteJournal
from fusynk.journals.sqlite_file import JOURNAL
from tests.journals.keeping import START, Told, contents, nobody, record, written
from tests.journals.kept_journals import KeptRun, copied, runs_in
from tests.observing import ROOT

KEPT = sorted((ROOT / "tests" / "data" / "journals").glob("*.db"))
PLACE_OF_FORMAT = 60
"""Where SQLite has `user_version` in a file."""


def test_there_are_files_of_the_present_format() -> None:
    names = [file.name for file in KEPT]

    assert {f"format-{JOURNAL.format}-closed.db", f"format-{JOURNAL.format}-killed.db"} <= set(names)


@pytest.mark.parametrize("kept", KEPT, ids=lambda file: file.stem)
def test_a_kept_journal_holds_what_was_written_and_its_runs_go_on(tmp_path: Path, kept: Path) -> None:
    expected = msgspec.json.decode(kept.with_suffix(".json").read_bytes(), type=dict[str, KeptRun])
    journal, told = SqliteJournal(copied(kept, tmp_path)), Told()

    assert runs_in(journal) == expected

    for name, former in expected.items():
        run = journal.open_run(name, on_commit=told)
        if former.status == "open":
            assert written(run, told, record("more")) is None
            run.end("succeeded")
            assert list(journal.history(name)) == [*former.records, record("more")]
    journal.close()
    assert {run.status for run in SqliteJournal(journal.path).runs()} == {"succeeded", "failed", "cancelled"}


@pytest.mark.parametrize("kept", KEPT, ids=lambda file: file.stem)
def test_a_journal_of_a_later_format_is_refused_by_name_and_left_alone(tmp_path: Path, kept: Path) -> None:
    file = copied(kept, tmp_path)
    content = bytearray(file.read_bytes())
    pack_into(">i", content, PLACE_OF_FORMAT, JOURNAL.format + 1)
    file.write_bytes(content)
    before = contents(tmp_path)
    journal = SqliteJournal(file)

    for call in (journal.runs, lambda: journal.open_run("order-9", START, on_commit=nobody)):
        with pytest.raises(NewerJournal, match=f"has format {JOURNAL.format + 1}, and this fusynk knows formats up to"):
            call()

    assert contents(tmp_path) == before
