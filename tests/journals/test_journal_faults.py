"""A journal in a file under kills, damage, rivals and full disks.

Nothing acknowledged is lost, and refusals are named.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fusynk._core.envelope import Record
from fusynk.errors import (
    DamagedJournal,
    ForeignJournal,
    JournalError,
    JournalUnavailable,
    NewerJournal,
    RunLocked,
    RunTakenOver,
)
from fusynk.journals.journalled_run import JournalledRun
from fusynk.journals.sqlite import SqliteJournal
from fusynk.manager.sqlite import SqliteStore
from tests.journals.keeping import LONG, SEED, START, Told, contents, filled, nobody, record, written
from tests.manager.test_store_faults import DAMAGES, OTHER_FORMATS, Failing, change, descriptors
from tests.observing import ROOT, python

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills, limits and copies of processes are those of POSIX")
OF_THE_FILE = (DamagedJournal, ForeignJournal, NewerJournal)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def sound(file: Path) -> Path:
    """A file with runs in it, some of which are gone."""
    journal = SqliteJournal(file, synchronous="NORMAL")
    for name in ("kept", "removed", "other"):
        filled(journal, name, 150, size=200, at_once=False)
    journal.delete("removed")
    told = Told()
    run = journal.open_run("unfinished", START, on_commit=told)
    written(run, told, *(record(f"{number}", number) for number in range(50)))
    journal.close()
    Path(f"{file}.lock").unlink()
    shutil.rmtree(f"{file}.locks")
    return file


def kept_in(file: Path) -> dict[str, list[Record]]:
    journal = SqliteJournal(file, synchronous="NORMAL")
    try:
        return {run.run_id: list(journal.history(run.run_id)) for run in journal.runs()}
    finally:
        journal.close()


def refused(file: Path) -> JournalError:
    """The error of opening a file, once it is checked that nothing was changed."""
    before = contents(file.parent)
    with pytest.raises(JournalError) as caught:
        kept_in(file)
    assert contents(file.parent) == before
    assert caught.value.path == str(file)
    assert str(caught.value).isprintable()
    with pytest.raises(type(caught.value)):
        SqliteJournal(file).open_run("kept", START, on_commit=nobody)
    return caught.value


# Kills


@posix
@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_a_kill_at_a_random_moment_loses_nothing_that_was_acknowledged(file: Path, synchronous: str) -> None:
    kills = 1000 if LONG else 30
    command = [sys.executable, "-m", "tests.journals.killed_writer", str(file), str(kills), str(SEED), synchronous]
    print(f"seed {SEED}")  # noqa: T201 - to repeat it

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1000, check=False)

    assert ended.stderr == ""
    counts = json.loads(ended.stdout)
    assert counts["acknowledged"] > 10 * kills, counts
    assert 0 < counts["looked"] < kills, counts


# Owners

OWNER = """
import os, sys, time
from fusynk.errors import JournalError
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import START, Told, record, written
journal, told = SqliteJournal(sys.argv[1], lease=float(sys.argv[2])), Told()
def own():
    global run
    run = journal.open_run("a", START, on_commit=told)
    return run
def write(step):
    error = written(run, told, record(step))
    return type(error).__name__ if error else "written"
def say(*words):
    print(*words, flush=True)
def heard():
    return sys.stdin.readline()
"""


def owner(file: Path, then: str, lease: float = 15) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", f"{OWNER}\n{then}", str(file), str(lease)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: "subprocess.Popen[str]", text: str = "go") -> None:
    assert process.stdin is not None
    process.stdin.write(f"{text}\n")
    process.stdin.flush()


@posix
def test_a_run_names_its_owner_and_is_free_as_soon_as_that_is_killed(file: Path) -> None:
    with owner(file, "own(); write('s'); say('owns'); heard()") as process:
        assert line_of(process) == "owns"
        journal = SqliteJournal(file)
        with pytest.raises(RunLocked, match=f"in the hands of OS process {process.pid} on ") as caught:
            journal.open_run("a", START, on_commit=nobody)
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert caught.value.owner is not None
    run = journal.open_run("a", START, on_commit=nobody)
    assert [one.step for one in run.records] == ["s"]
    journal.close()


RIVAL = """
from fusynk.errors import RunLocked
say("ready"); heard()
try:
    own()
except RunLocked as error:
    say("locked", error.owner)
else:
    say("owner", run.state.epoch, write(str(os.getpid())))
heard()
"""


@posix
def test_of_many_who_want_a_run_at_once_one_gets_it(file: Path) -> None:
    owners: list[int] = []
    for turn in range(10 if LONG else 2):
        rivals = [owner(file, RIVAL) for _ in range(5)]
        assert [line_of(one) for one in rivals] == ["ready"] * 5
        for one in rivals:
            tell(one)
        told = {one.pid: line_of(one) for one in rivals}
        for one in rivals:
            one.communicate("end\n")
        owners = [pid for pid, words in told.items() if words.startswith("owner")]
        assert len(owners) == 1, told
        assert told[owners[0]] == f"owner {turn + 1} written"
        assert all(f"OS process {owners[0]} " in words for pid, words in told.items() if pid != owners[0]), told
    assert [one.step for one in kept_in(file)["a"]][-1] == str(owners[0])


PAUSED = """
own(); say(write("first")); heard()
say(write("second"))
for call in (lambda: run.append(record("third")), lambda: run.end("succeeded")):
    try:
        call()
    except JournalError as error:
        say(type(error).__name__)
run.release(); journal.close(); say("closed")
"""


def taken_at_last(journal: SqliteJournal, told: Told) -> tuple[JournalledRun, list[str | None]]:
    """The run, and who had it until then."""
    owners: list[str | None] = []
    while True:
        try:
            return journal.open_run("a", START, on_commit=told), owners
        except RunLocked as error:
            owners.append(error.owner)


@posix
def test_an_owner_that_was_stopped_past_its_lease_writes_nothing_more(file: Path) -> None:
    lease = 0.4
    with owner(file, PAUSED, lease) as process:
        assert line_of(process) == "written"
        process.send_signal(signal.SIGSTOP)
        journal, told = SqliteJournal(file, lease=lease), Told()
        run, locked = taken_at_last(journal, told)
        process.send_signal(signal.SIGCONT)
        tell(process)
        assert [line_of(process) for _ in range(4)] == ["RunTakenOver"] * 3 + ["closed"]

    assert written(run, told, record("of the new owner")) is None
    with pytest.raises(RunLocked, match=f"OS process {os.getpid()} "):
        SqliteJournal(file).open_run("a", START, on_commit=nobody)
    journal.close()
    assert [one.step for one in kept_in(file)["a"]] == ["first", "of the new owner"]
    assert locked
    assert all(f"OS process {process.pid} " in str(name) for name in locked)


@posix
def test_an_owner_that_gives_signs_of_life_keeps_its_run(file: Path) -> None:
    lease = 0.3
    with owner(file, "own(); say('owns'); heard(); say(write('s'))", lease) as process:
        assert line_of(process) == "owns"
        journal = SqliteJournal(file, lease=lease)
        for _ in range(200):
            with pytest.raises(RunLocked):
                journal.open_run("a", START, on_commit=nobody)
            assert process.poll() is None
        python("import time; time.sleep(0.6)")  # twice the lease
        with pytest.raises(RunLocked):
            journal.open_run("a", START, on_commit=nobody)
        tell(process)
        assert line_of(process) == "written"
    journal.close()


def test_a_run_that_was_taken_over_refuses_its_former_owner_and_no_other_run(file: Path) -> None:
    """The row of the run is what decides, whatever becomes of the locks."""
    journal, told, others = SqliteJournal(file), Told(), Told()
    run, other = journal.open_run("a", START, on_commit=told), journal.open_run("b", START, on_commit=others)
    shutil.rmtree(f"{file}.locks")
    rival = SqliteJournal(file)
    taken = rival.open_run("a", START, on_commit=nobody)
    assert taken.state.epoch == 2

    error = written(run, told, record("s"), record("t"))
    assert isinstance(error, RunTakenOver)
    assert "gave no sign of life for 15 s; nothing of it is recorded from here on" in str(error)
    for _ in range(2):
        with pytest.raises(RunTakenOver):
            run.append(record("u"))
        with pytest.raises(RunTakenOver):
            run.end("succeeded")
    assert written(other, others, record("s")) is None
    run.release()
    with pytest.raises(RunLocked):
        journal.open_run("a", START, on_commit=nobody)
    journal.close()
    rival.close()
    assert {name: len(records) for name, records in kept_in(file).items()} == {"a": 0, "b": 1}


COPIED = """
own(); write("before")
child = os.fork()
if child == 0:
    try:
        run.append(record("of the copy"))
    except JournalError as error:
        say(type(error).__name__)
    run.release(); journal.close()
    sys.exit(0)
os.waitpid(child, 0)
say(write("of the owner"))
{}
"""


@posix
def test_a_copy_of_the_owner_s_process_takes_nothing_from_it(file: Path) -> None:
    process = owner(file, COPIED.format("os.kill(os.getpid(), 9)"))
    told, _ = process.communicate()

    assert (told, process.returncode) == ("JournalClosed\nwritten\n", -signal.SIGKILL)
    assert [one.step for one in kept_in(file)["a"]] == ["before", "of the owner"]


@posix
def test_a_copy_of_the_owner_s_process_does_not_keep_its_run(file: Path) -> None:
    process = owner(
        file, "own(); write('s')\nif os.fork() == 0:\n    say(os.getpid()); time.sleep(600)\nos.kill(os.getpid(), 9)"
    )
    copy = int(line_of(process))
    try:
        process.wait()
        journal = SqliteJournal(file)
        assert len(journal.open_run("a", START, on_commit=nobody).records) == 1
        journal.close()
    finally:
        os.kill(copy, signal.SIGKILL)
        process.communicate()


# Damage


def test_a_damaged_file_is_refused_and_left_alone_or_holds_what_it_held(sound: Path) -> None:
    held, content, random, counts = kept_in(sound), sound.read_bytes(), Random(SEED), Counter[str]()
    print(f"seed {SEED}")  # noqa: T201 - to repeat it

    for number in range(20_000 if LONG else 300):
        changed, damage = bytearray(content), random.choice(DAMAGES)
        damage(changed, random)
        sound.write_bytes(changed)
        try:
            kept = kept_in(sound)
        except OF_THE_FILE as error:
            counts[type(error).__name__] += 1
            kept = None
        if kept is None:
            assert contents(sound.parent) == {sound.name: bytes(changed)}, (number, damage)
        else:
            assert kept == held, (number, damage)
        counts["sound"] += kept is not None

    assert counts["DamagedJournal"] > counts["ForeignJournal"] > 0, counts
    assert counts["sound"] < counts.total() / 2, counts
    sound.write_bytes(content)
    assert kept_in(sound) == held


@posix
def test_damage_to_what_was_written_last_leaves_a_former_state_or_is_refused(tmp_path: Path, file: Path) -> None:
    process = owner(file, "own()\nfor n in range(40): write(str(n))\nos.kill(os.getpid(), 9)")
    process.communicate()
    shutil.rmtree(f"{file}.locks")
    left, random, counts = contents(tmp_path), Random(SEED), Counter[str]()

    for number in range(1000 if LONG else 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in left.items():
            changed = bytearray(content)
            if name.endswith("-wal"):
                random.choice(DAMAGES)(changed, random)
            (folder / name).write_bytes(changed)
        before = contents(folder)
        try:
            steps = [one.step for one in kept_in(folder / "runs.db").get("a", [])]
        except OF_THE_FILE:
            assert contents(folder) == before
            counts["refused"] += 1
        else:
            assert steps == [str(step) for step in range(len(steps))]
            counts["all" if len(steps) == 40 else "former"] += 1
        shutil.rmtree(folder)

    assert counts["former"] > 0, counts
    assert len(kept_in(file)["a"]) == 40


HOSTILE_CHANGES = [
    "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM runs; END",
    "CREATE TABLE more (x)",
    "ALTER TABLE runs ADD COLUMN more",
    "DROP TABLE records",
    "DELETE FROM records WHERE place % 4294967296 = 7",
    "DELETE FROM records WHERE place % 4294967296 > 100",
    "DELETE FROM runs WHERE number = 1",
    "UPDATE records SET envelope = 'x'",
    "UPDATE records SET envelope = x'7b7d' WHERE place % 4294967296 = 9",
    "UPDATE records SET envelope = envelope || x'00' WHERE place % 4294967296 = 9",
    "UPDATE records SET place = place + 1000 WHERE place % 4294967296 = 9",
    "UPDATE records SET place = place + 7 * 4294967296",
    "INSERT INTO records SELECT place + 300, envelope FROM records WHERE place % 4294967296 = 1",
    "UPDATE runs SET id = x'61' WHERE number = 1",
    "UPDATE runs SET id = CAST(id AS TEXT)",
    "UPDATE runs SET epoch = epoch + 1",
    "UPDATE runs SET state = (SELECT state FROM runs WHERE number = 3) WHERE number = 1",
    "UPDATE runs SET start = state",
    "UPDATE runs SET start = x''",
]


@pytest.mark.parametrize("statement", HOSTILE_CHANGES)
def test_what_another_hand_changed_is_damage(sound: Path, statement: str) -> None:
    change(sound, statement)

    assert isinstance(refused(sound), DamagedJournal)


SWAPS = {"of another run": (1, 3), "of another place": (1, 1)}


@pytest.mark.parametrize("swap", SWAPS)
def test_records_in_each_other_s_place_are_refused(sound: Path, swap: str) -> None:
    one, other = SWAPS[swap]
    places = one * 2**32 + 5, other * 2**32 + 6
    connection = sqlite3.connect(sound)
    rows = [
        connection.execute("SELECT envelope FROM records WHERE place = ?", [place]).fetchone()[0] for place in places
    ]
    for place, envelope in zip(places, reversed(rows), strict=True):
        connection.execute("UPDATE records SET envelope = ? WHERE place = ?", [envelope, place])
    connection.commit()
    connection.close()

    error = refused(sound)

    assert isinstance(error, DamagedJournal)
    assert re.search(r"record 5 of the run 'kept': it (belongs to|is number)", str(error))


def test_records_of_a_later_format_keep_their_run_closed_and_no_other(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(file)
    filled(journal, "old", 3)
    journal.close()
    monkeypatch.setattr("fusynk._core.envelope.VERSION", 2)
    with pytest.raises(NewerJournal):  # where 2 is known, 1 would be read; it only stands for a later version here
        filled(SqliteJournal(file), "old", 3)
    monkeypatch.undo()

    assert kept_in(file)["old"]


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_a_file_of_something_else_is_refused(file: Path, name: str) -> None:
    file.write_bytes(OTHER_FORMATS[name])

    assert isinstance(refused(file), ForeignJournal)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_store_of_a_manager_is_no_journal(file: Path) -> None:
    store = SqliteStore(file)
    store.open()
    store.close()

    assert str(refused(file)).endswith(
        "is no journal of fusynk; give the path of one, or of a file that does not exist yet."
    )


def test_an_empty_file_may_have_been_a_journal(file: Path) -> None:
    file.touch()

    assert "is damaged: it is empty. It was left as it is; restore a copy" in str(refused(file))


def test_a_file_of_a_later_version_is_refused(sound: Path) -> None:
    change(sound, "PRAGMA user_version=2", "CREATE TABLE more (x)")

    assert isinstance(refused(sound), NewerJournal)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_while_it_is_open_is_told_at_once(sound: Path, replaced: bool) -> None:
    journal, told = SqliteJournal(sound), Told()
    run = journal.open_run("a", START, on_commit=told)
    content = sound.read_bytes()
    sound.unlink()
    if replaced:
        sound.write_bytes(content)

    assert isinstance(written(run, told, record("s")), DamagedJournal)
    with pytest.raises(DamagedJournal, match="was removed or replaced while it was open; close it, and open it anew"):
        run.end("failed")
    journal.close()


# The system refuses


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalUnavailable, match=r"; make its folder first\.$"):
        SqliteJournal(tmp_path / "none" / "runs.db").runs()
    with pytest.raises(JournalUnavailable, match="give the path of a file in it"):
        SqliteJournal(tmp_path).runs()
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource
from pathlib import Path

def space(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def steps():
    return [one.step for one in journal.history("a")]

space(100)
try:
    own()
except JournalError as error:
    say(type(error).__name__)
space(resource.RLIM_INFINITY)
own(); say(write("a"))
space(Path(sys.argv[1] + "-wal").stat().st_size + 100)
for step in "bb":
    error = written(run, told, record(step, size=9000))
    say(type(error).__name__, type(error.__cause__).__name__)
try:
    run.end("failed")
except JournalError as error:
    say(type(error).__name__)
say(steps())
space(resource.RLIM_INFINITY)
say(write("b"), write("c"), steps())
run.end("succeeded"); run.release(); journal.close()
say(steps(), journal.runs()[0].status)
"""


@posix
def test_where_there_is_no_space_nothing_is_lost_and_it_goes_on_when_there_is(file: Path) -> None:
    process = owner(file, FULL_DISK)
    told, _ = process.communicate()

    assert told.splitlines() == [
        "JournalUnavailable",
        "written",
        *["JournalUnavailable OperationalError"] * 2,
        "JournalUnavailable",
        "['a']",
        "written written ['a', 'b', 'c']",
        "['a', 'b', 'c'] succeeded",
    ]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, JournalUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, JournalUnavailable),
        (sqlite3.SQLITE_FULL, JournalUnavailable),
        (sqlite3.SQLITE_NOMEM, JournalUnavailable),
        (sqlite3.SQLITE_BUSY_TIMEOUT, JournalUnavailable),
        (sqlite3.SQLITE_CORRUPT_VTAB, DamagedJournal),
        (sqlite3.SQLITE_ERROR, JournalError),
    ],
)
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_a_fault_of_the_disk_is_named_and_the_record_may_be_appended_again(
    file: Path, statement: str, code: int, kind: type[JournalError]
) -> None:
    journal, told = SqliteJournal(file), Told()
    run = journal.open_run("a", START, on_commit=told)
    assert written(run, told, record("first")) is None
    connection: Any = journal._file._connection
    journal._file._connection = Faulty(connection, statement, code)  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue]

    error = written(run, told, record("second"))

    assert error is not None
    assert type(error) is kind
    assert isinstance(error.__cause__, sqlite3.OperationalError)
    with pytest.raises(kind):
        run.end("failed")
    journal._file._connection = connection
    assert [one.step for one in journal.history("a")] == ["first"]
    assert written(run, told, record("second"), record("third")) is None
    journal.close()
    assert [one.step for one in kept_in(file)["a"]] == ["first", "second", "third"]


class Faulty(Failing):
    """Stands for a connection of which one statement fails, whatever else is passed to others."""

    def execute(self, statement: str, *arguments: Any) -> object:
        return (
            super().execute(statement)
            if statement == self.statement
            else self.connection.execute(statement, *arguments)
        )


@posix
def test_without_file_descriptors_a_journal_is_refused_and_serves_when_there_are_some(sound: Path) -> None:
    code = """
import os, resource, sys
from fusynk.errors import JournalUnavailable
from fusynk.journals.sqlite import SqliteJournal
journal = SqliteJournal(sys.argv[1])
journal.runs(); journal.close()
used = len(os.listdir("/proc/self/fd")) - 1
for more in range(14):
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, 4096))
    try:
        run = journal.open_run("kept", on_commit=print)
    except JournalUnavailable:
        print("refused")
    else:
        print("opened", len(run.records))
    journal.close()
"""

    ended = python(code, str(sound))

    assert ended.stderr == ""
    told = ended.stdout.split("\n")[:-1]
    turn = told.index("opened 150")
    assert turn > 1
    assert told == ["refused"] * turn + ["opened 150"] * (len(told) - turn)


def test_a_journal_that_is_refused_holds_nothing(sound: Path) -> None:
    held, content = kept_in(sound), sound.read_bytes()
    sound.write_bytes(content[:9000])
    before = descriptors()

    for _ in range(20):
        with pytest.raises(JournalError):
            SqliteJournal(sound).runs()

    assert descriptors() == before
    sound.write_bytes(content)
    assert kept_in(sound) == held
