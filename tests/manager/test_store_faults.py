"""A store in a file under kills, damage, rivals and full disks.

Nothing that was acknowledged is lost, and what is refused is named and left as it was.
"""

import errno
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from fusynk.errors import DamagedStore, ForeignStore, NewerStore, StoreError, StoreLocked, StoreUnavailable
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import StoredUnit
from tests.observing import ROOT, python

LONG = os.environ.get("FUSYNK_LONG") == "1"
SEED = int(os.environ.get("FUSYNK_SEED", "20261122"))
posix = pytest.mark.skipif(sys.platform == "win32", reason="kills, limits and copies of processes are those of POSIX")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def unit(number: int, version: int = 1) -> StoredUnit:
    return StoredUnit(name=f"unit {number}", version=version, runs=number, last_error="E" * (number % 300))


UNITS = {one.name: one for one in map(unit, range(200))}


def opened(file: Path) -> SqliteStore:
    store = SqliteStore(file)
    store.open()
    return store


def kept_in(file: Path) -> dict[str, StoredUnit]:
    store = opened(file)
    try:
        return dict(store.load())
    finally:
        store.close()


@pytest.fixture
def sound(file: Path) -> Path:
    """A file with units in it."""
    store = opened(file)
    store.save(*UNITS.values())
    store.save(*(unit(number, version=2) for number in range(0, 200, 7)))
    store.save(*(unit(number, version=3) for number in range(0, 200, 7)))
    store.forget(*(f"unit {number}" for number in range(0, 200, 7)))
    store.save(*(unit(number) for number in range(0, 200, 7)))
    store.close()
    Path(f"{file}.lock").unlink()
    return file


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder but locks; `None` for what is no file."""
    return {
        path.name: path.read_bytes() if path.is_file() else None for path in folder.iterdir() if path.suffix != ".lock"
    }


def refused(file: Path) -> StoreError:
    """The error of opening a file, once it is checked that nothing was changed and nothing is held."""
    before = contents(file.parent)
    with pytest.raises(StoreError) as caught:
        opened(file)
    assert contents(file.parent) == before
    assert caught.value.path == str(file)
    assert str(caught.value).isprintable()
    with pytest.raises(type(caught.value)):
        opened(file)
    return caught.value


# Kills


@posix
@pytest.mark.parametrize("synchronous", ["FULL", "NORMAL"])
def test_a_kill_at_a_random_moment_loses_nothing_that_was_acknowledged(file: Path, synchronous: str) -> None:
    kills = 1000 if LONG else 30
    command = [sys.executable, "-m", "tests.manager.killed_saver", str(file), str(kills), str(SEED), synchronous]
    print(f"seed {SEED}")  # noqa: T201 - to repeat it

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)

    assert ended.stderr == ""
    counts = json.loads(ended.stdout)
    assert counts["saves"] > 10 * kills, counts
    assert 0 < counts["looked"] < kills, counts


HOLD = """
import os, sys, time
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import StoredUnit
store = SqliteStore(sys.argv[1])
store.open()
store.save(StoredUnit(name="held", version=1))
print(os.getpid(), flush=True)
{}
"""


def holder(file: Path, then: str = "time.sleep(600)") -> tuple["subprocess.Popen[str]", int]:
    """Another process that has the store open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then), str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@posix
def test_a_store_that_is_open_elsewhere_names_its_owner_and_is_free_when_that_is_killed(file: Path) -> None:
    process, pid = holder(file)
    with process:
        with pytest.raises(StoreLocked, match=rf"is open in OS process {pid}; close it there, or give each") as caught:
            opened(file)
        process.send_signal(signal.SIGKILL)

    assert caught.value.owner == pid
    assert kept_in(file).keys() == {"held"}


@posix
def test_a_copy_of_the_owner_s_process_does_not_keep_the_store(file: Path) -> None:
    then = """
if os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(600)
os.kill(os.getpid(), 9)
"""
    process, _ = holder(file, then)
    assert process.stdout is not None
    copy = int(process.stdout.readline())
    try:
        assert process.wait() == -signal.SIGKILL
        assert kept_in(file).keys() == {"held"}
    finally:
        os.kill(copy, signal.SIGKILL)
        process.stdout.close()


@posix
def test_the_end_of_a_copy_of_the_process_takes_nothing_from_the_owner(file: Path) -> None:
    """Closing the copied connection would remove what the owner writes to."""
    then = """
from fusynk.errors import StoreError
child = os.fork()
if child == 0:
    try:
        store.save(StoredUnit(name="of the copy", version=1))
    except StoreError as error:
        print(type(error).__name__, flush=True)
    store.close()
    sys.exit(0)
os.waitpid(child, 0)
store.save(StoredUnit(name="of the owner", version=1))
os.kill(os.getpid(), 9)
"""
    process, _ = holder(file, then)
    assert process.stdout is not None
    told = process.stdout.read()
    process.stdout.close()

    assert (told, process.wait()) == ("StoreClosed\n", -signal.SIGKILL)
    assert kept_in(file).keys() == {"held", "of the owner"}


@posix
def test_of_many_who_open_at_once_one_is_the_owner(file: Path) -> None:
    rival = """
import sys, time
from fusynk.errors import StoreLocked
from fusynk.manager.sqlite import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
store = SqliteStore(sys.argv[1])
try:
    store.open()
except StoreLocked as error:
    print("locked", error.owner, flush=True)
else:
    print("owner", flush=True)
    sys.stdin.readline()
    store.close()
"""
    command = [sys.executable, "-c", rival, str(file)]
    rivals: list[subprocess.Popen[str]] = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)
    ]
    pipes: list[tuple[Any, Any]] = [(one.stdin, one.stdout) for one in rivals]
    for _, output in pipes:
        assert output.readline() == "ready\n"
    for pipe, _ in pipes:
        pipe.write("go\n")
        pipe.flush()
    told = [output.readline().split() for _, output in pipes]
    for one in rivals:
        one.communicate("end\n")

    owners = [one.pid for one, words in zip(rivals, told, strict=True) if words == ["owner"]]
    assert len(owners) == 1, told
    # One that has just become the owner may not have written its number yet.
    assert {words[1] for words in told if words[0] == "locked"} <= {str(owners[0]), "None"}


def test_who_removes_the_lock_does_not_get_the_store(file: Path) -> None:
    store = opened(file)
    Path(f"{file}.lock").unlink()

    with pytest.raises(StoreLocked, match="is in use by another program; close it there"):
        opened(file)

    store.save(unit(1))
    store.close()
    assert kept_in(file) == {"unit 1": unit(1)}


def test_a_program_that_reads_the_file_keeps_the_store_closed_no_longer_than_it_reads(sound: Path) -> None:
    reader = sqlite3.connect(sound, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM units").fetchone()

    with pytest.raises(StoreLocked, match="is in use by another program"):
        opened(sound)
    reader.close()

    assert kept_in(sound) == UNITS


# Damage


def flipped(content: bytearray, random: Random) -> None:
    for _ in range(random.choice([1, 1, 1, 3, 50])):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def truncated(content: bytearray, random: Random) -> None:
    del content[random.choice([random.randrange(len(content)), 4096 * random.randrange(len(content) // 4096)]) :]


def zeroed(content: bytearray, random: Random) -> None:
    page = 4096 * random.randrange(len(content) // 4096)
    content[page : page + 4096] = bytes(4096)


def overwritten(content: bytearray, random: Random) -> None:
    start, length = random.randrange(len(content)), random.choice([4, 64, 4096, 9000])
    content[start : start + length] = random.randbytes(min(length, len(content) - start))


def shuffled(content: bytearray, random: Random) -> None:
    one, other = (4096 * random.randrange(len(content) // 4096) for _ in range(2))
    content[one : one + 4096], content[other : other + 4096] = (
        content[other : other + 4096],
        content[one : one + 4096],
    )


def lengthened(content: bytearray, random: Random) -> None:
    content += random.randbytes(random.choice([1, 100, 4096, 10_000]))


DAMAGES: list[Callable[[bytearray, Random], None]] = [flipped, truncated, zeroed, overwritten, shuffled, lengthened]
OF_THE_FILE = (DamagedStore, ForeignStore, NewerStore)


def damaged(content: bytes, random: Random) -> tuple[str, bytes]:
    changed, damage = bytearray(content), random.choice(DAMAGES)
    damage(changed, random)
    return damage.__name__, bytes(changed)


def test_a_damaged_file_is_refused_and_left_alone_or_holds_what_it_held(sound: Path) -> None:
    content, random, counts = sound.read_bytes(), Random(SEED), Counter[str]()
    print(f"seed {SEED}")  # noqa: T201 - to repeat it

    for number in range(20_000 if LONG else 300):
        name, changed = damaged(content, random)
        sound.write_bytes(changed)
        try:
            kept = kept_in(sound)
        except OF_THE_FILE as error:
            counts[type(error).__name__] += 1
            kept = None
        assert contents(sound.parent) == {sound.name: changed} if kept is None else kept == UNITS, (number, name)
        counts["sound"] += kept is not None

    assert counts["DamagedStore"] > counts["ForeignStore"] > 0, counts
    assert counts["sound"] < counts.total() / 2, counts
    sound.write_bytes(content)
    assert kept_in(sound) == UNITS


def test_a_file_that_was_torn_while_it_was_brought_up_to_date_is_whole_with_what_lies_beside_it(file: Path) -> None:
    """SQLite moves what was written from the file beside into the file, page by page; a kill may be at any byte."""
    store = opened(file)
    store.save(*(unit(number) for number in range(300)))
    former, beside = file.read_bytes(), Path(f"{file}-wal").read_bytes()
    store.close()
    later = file.read_bytes()
    assert len(former) < len(later)

    for end in [*range(4096, len(later), 4096), 1, 30, 100, 2000, 4097, len(later)]:
        file.write_bytes(later[:end] + former[end:])
        Path(f"{file}-wal").write_bytes(beside)
        assert len(kept_in(file)) == 300
        assert file.read_bytes() == later


@posix
def test_damage_to_what_was_written_last_leaves_a_former_state_or_is_refused(tmp_path: Path, file: Path) -> None:
    process, _ = holder(
        file,
        "for version in range(2, 40): store.save(*(StoredUnit(name=name, version=version) for name in ('held', 'b')))\n"
        "os.kill(os.getpid(), 9)",
    )
    process.communicate()
    left, random, counts = contents(tmp_path), Random(SEED), Counter[str]()

    for number in range(1000 if LONG else 60):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, content in left.items():
            assert content is not None
            (folder / name).write_bytes(content)
        wal = folder / "state.db-wal"
        wal.write_bytes(damaged(wal.read_bytes(), random)[1])
        before = contents(folder)
        try:
            versions = {name: unit.version for name, unit in kept_in(folder / "state.db").items()}
        except OF_THE_FILE:
            versions = None
            counts["refused"] += 1
        if versions is None:
            assert contents(folder) == before
        else:
            # The two were saved together, from version 2 on.
            assert versions in [{}, {"held": 1}, *({"held": version, "b": version} for version in range(2, 40))]
            counts["all" if 39 in versions.values() else "former"] += 1
        shutil.rmtree(folder)

    assert counts["former"] > 0, counts
    assert kept_in(file)["b"].version == 39


@pytest.mark.parametrize(
    ("found", "instead"),
    [(b"unitsunits", b"un\xe4tsunits"), (b"CREATE TABLE", b"CREATE \x1bABLE"), (b"CREATE TABLE", b"CREATE \xe4ABLE")],
)
def test_damage_that_cannot_be_printed_is_told_in_letters_that_can(sound: Path, found: bytes, instead: bytes) -> None:
    sound.write_bytes(sound.read_bytes().replace(found, instead))

    assert isinstance(refused(sound), DamagedStore)


OTHER_FORMATS: dict[str, bytes] = {
    "text": b"[units]\nstate = 1\n" * 100,
    "json": json.dumps({"units": [], "version": 1}).encode() * 100,
    "pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00cos\nsystem\n(S'true'\ntR.",
    "png": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(5000),
    "elf": b"\x7fELF" + bytes(5000),
    "zeros": bytes(8192),
    "one byte": b"\0",
    "the first words of SQLite": b"SQLite format 3\0",
    "SQLite 2": b"** This file contains an SQLite 2.1 database **" + bytes(4096),
    "random": Random(3).randbytes(20_000),
}


@pytest.mark.parametrize("name", OTHER_FORMATS)
def test_a_file_of_something_else_is_refused(file: Path, name: str) -> None:
    file.write_bytes(OTHER_FORMATS[name])

    error = refused(file)

    assert isinstance(error, ForeignStore)
    assert str(error).endswith("is no store of fusynk; give the path of one, or of a file that does not exist yet.")
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name]


def test_an_empty_file_may_have_been_a_store(file: Path) -> None:
    file.touch()

    error = refused(file)

    assert isinstance(error, DamagedStore)
    assert str(error).endswith(
        "is damaged: it is empty. It was left as it is; restore a copy, or move it away to begin anew."
    )


def change(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def test_a_database_of_another_program_is_refused_even_while_that_writes(file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE units (name TEXT)")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO units VALUES ('mine')")

    with pytest.raises(ForeignStore):  # nothing here may read the file, which would drop its locks
        opened(file)

    rival = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    assert "database is locked" in python(rival, str(file)).stderr
    other.execute("COMMIT")
    assert other.execute("SELECT * FROM units").fetchall() == [("mine",)]
    other.close()


@pytest.mark.parametrize("version", [2, 3, 2**31 - 1])
def test_a_file_of_a_later_version_is_refused(sound: Path, version: int) -> None:
    change(sound, f"PRAGMA user_version={version}", "CREATE TABLE more (x)")

    error = refused(sound)

    assert isinstance(error, NewerStore)
    assert f"has format {version}, and this fusynk knows formats up to 1; upgrade it" in str(error)


@pytest.mark.parametrize("version", [0, -1])
def test_a_format_that_never_was_is_damage(sound: Path, version: int) -> None:
    change(sound, f"PRAGMA user_version={version}")

    assert isinstance(refused(sound), DamagedStore)


HOSTILE_CHANGES = [
    "CREATE TRIGGER t AFTER INSERT ON units BEGIN DELETE FROM units; END",
    "CREATE TABLE more (x)",
    "CREATE VIEW v AS SELECT 1",
    "ALTER TABLE units ADD COLUMN more",
    "DROP TABLE units",
    "UPDATE units SET state = '{}'",
    "UPDATE units SET state = x'7b7d' WHERE name = x'756e69742037'",
    "UPDATE units SET version = version + 1",
    "UPDATE units SET version = 'x'",
    "UPDATE units SET checksum = checksum + 1",
    "UPDATE units SET checksum = 'x'",
    "UPDATE units SET name = name || x'00'",
    "UPDATE units SET name = CAST(name AS TEXT)",
]


@pytest.mark.parametrize("statement", HOSTILE_CHANGES)
def test_what_another_hand_changed_is_damage(sound: Path, statement: str) -> None:
    change(sound, statement)

    assert isinstance(refused(sound), DamagedStore)


@pytest.mark.parametrize("name", ["state.db-wal", "state.db-journal"])
def test_what_is_left_of_a_store_without_its_file_is_not_mixed_with_a_new_one(file: Path, name: str) -> None:
    stray = file.with_name(name)
    stray.write_bytes(b"former")

    error = refused(file)

    assert isinstance(error, DamagedStore)
    assert f"{name!r} lies there without it; restore the file, or remove what is left of it." in str(error)


def test_the_journal_of_another_file_is_not_played_into_a_store(sound: Path) -> None:
    Path(f"{sound}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(5000))

    assert "'state.db-journal' beside it belongs to another file" in str(refused(sound))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_while_it_is_open_is_told_at_once(sound: Path, replaced: bool) -> None:
    store = opened(sound)
    content = sound.read_bytes()
    sound.unlink()
    if replaced:
        sound.write_bytes(content)

    for _ in range(2):
        with pytest.raises(DamagedStore, match="was removed or replaced while it was open; close it, and open it anew"):
            store.save(unit(1, version=9))
    store.close()


# The system refuses


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"cannot be opened: it is a folder; give the path of a file in it\.$"):
        opened(tmp_path)

    assert list(tmp_path.parent.glob(f"{tmp_path.name}.lock")) == []


@posix
def test_pipes_sockets_and_devices_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")

        for path in ("pipe", "socket", "/dev/null", "/dev/zero"):
            with pytest.raises(StoreUnavailable, match="it is no regular file"):
                opened(Path(path))


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"; make its folder first\.$") as caught:
        opened(tmp_path / "none" / "state.db")

    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert list(tmp_path.iterdir()) == []


@posix
def test_a_link_that_leads_to_itself_is_refused(file: Path) -> None:
    file.symlink_to(file)

    with pytest.raises(StoreUnavailable, match=os.strerror(errno.ELOOP)):
        opened(file)

    assert file.is_symlink()


# Whoever runs the tests as root may write anywhere; these programs become nobody first.
UNPRIVILEGED = """
import os, sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from fusynk.errors import StoreError
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import StoredUnit
with TemporaryDirectory() as folder:  # loads what is loaded late, which nobody else may read in root's home
    for place in (Path(folder), Path(folder) / "state.db", Path(folder) / "missing" / "state.db"):
        with suppress(StoreError):
            store = SqliteStore(place)
            store.open()
            store.close()
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
file = Path(sys.argv[1])
try:
    SqliteStore(file).open()
except StoreError as error:
    print(type(error).__name__, type(error.__cause__).__name__, error)
else:
    print("opened")
"""


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may reach."""
    parents = [folder for folder in (tmp_path, *tmp_path.parents) if folder.stat().st_uid == os.geteuid()]
    modes = {folder: folder.stat().st_mode for folder in parents if not folder.stat().st_mode & 0o001}
    for folder, mode in modes.items():
        folder.chmod(mode | 0o011)
    yield tmp_path
    for folder, mode in modes.items():
        folder.chmod(mode)


@posix
@pytest.mark.parametrize("part", ["folder", "folder and file", "file", "nothing may be read"])
def test_a_place_that_may_only_be_read_is_refused_and_serves_when_it_may_be_written(public: Path, part: str) -> None:
    folder = public / "folder"
    folder.mkdir()
    file = folder / "state.db"
    if part != "folder":
        opened(file).close()
        Path(f"{file}.lock").chmod(0o666)
    content = file.read_bytes() if file.exists() else None
    folder.chmod(0o555 if part.startswith("folder") else 0o777)
    if file.exists():
        file.chmod(0o000 if part == "nothing may be read" else 0o444)

    ended = python(UNPRIVILEGED, str(file))

    assert ended.stderr == ""
    assert ended.stdout.startswith("StoreUnavailable")
    assert "try again when that is mended." in ended.stdout
    assert (file.read_bytes() if file.exists() else None) == content
    folder.chmod(0o777)
    if file.exists():
        file.chmod(0o666)
    again = python(UNPRIVILEGED, str(file))
    assert (again.stderr, again.stdout) == ("", "opened\n")


FULL_DISK = """
import json, resource, sys
from pathlib import Path
from fusynk.errors import StoreUnavailable
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import StoredUnit

def space(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def told(call, *arguments):
    try:
        call(*arguments)
    except StoreUnavailable as error:
        return type(error.__cause__).__name__ + str(error)
    return "done"

file, facts = Path(sys.argv[1]), {}
space(100)
store = SqliteStore(file)
facts["create"] = told(store.open)
facts["left"] = sorted(path.name for path in file.parent.iterdir())
space(resource.RLIM_INFINITY)
store.open()
store.save(StoredUnit(name="a", version=1))
space(file.with_name(file.name + "-wal").stat().st_size + 100)
facts["save"] = [told(store.save, StoredUnit(name="a", version=version, last_error="x" * 9000)) for version in (2, 3)]
facts["forget"] = told(store.forget, "a")
facts["kept"] = store.load()["a"].version
space(resource.RLIM_INFINITY)
store.save(StoredUnit(name="b", version=1))
facts["then"] = {name: unit.version for name, unit in store.load().items()}
store.save(StoredUnit(name="a", version=4, last_error="x" * 9000))
space(100)
store.close()
facts["open"] = told(SqliteStore(file).open)
space(resource.RLIM_INFINITY)
store.open()
facts["at last"] = {name: unit.version for name, unit in store.load().items()}
store.close()
print(json.dumps(facts))
"""


@posix
def test_where_there_is_no_space_nothing_is_lost_and_it_goes_on_when_there_is(file: Path) -> None:
    ended = python(FULL_DISK, str(file))

    assert ended.stderr == ""
    facts = json.loads(ended.stdout)
    assert "cannot be opened: " in facts["create"]
    assert facts["left"] == ["state.db.lock"]
    assert all("cannot be written: " in told for told in [*facts["save"], facts["forget"]])
    assert facts["kept"] == 1
    assert facts["then"] == {"a": 1, "b": 1}
    assert "cannot be read: File too large; try again when that is mended." in facts["open"]
    assert facts["at last"] == {"a": 4, "b": 1}


def test_a_database_that_may_not_grow_is_told_by_its_name(sound: Path) -> None:
    store = opened(sound)
    assert store._connection is not None
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StoreUnavailable, match="cannot be written: database or disk is full; try again when that is"):
        store.save(*(unit(number) for number in range(1000, 2000)))
    assert store.load() == UNITS

    store._connection.execute("PRAGMA max_page_count=100000")
    store.save(unit(1000))
    store.close()
    assert kept_in(sound) == UNITS | {"unit 1000": unit(1000)}


class Failing:
    """Stands for a connection of which one statement fails."""

    def __init__(self, connection: sqlite3.Connection, statement: str, code: int) -> None:
        self.connection, self.statement, self.code = connection, statement, code

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)

    def execute(self, statement: str) -> object:
        if statement == self.statement:
            error = sqlite3.OperationalError("it failed")
            error.sqlite_errorcode = self.code
            raise error
        return self.connection.execute(statement)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreUnavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnavailable),
        (sqlite3.SQLITE_NOMEM, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_TIMEOUT, StoreLocked),
        (sqlite3.SQLITE_CORRUPT_VTAB, DamagedStore),
        (sqlite3.SQLITE_ERROR, StoreError),
    ],
)
@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_a_fault_of_the_disk_is_named_and_undone(file: Path, statement: str, code: int, kind: type[StoreError]) -> None:
    store = opened(file)
    store.save(unit(1))
    connection: Any = store._connection
    faulty: Any = Failing(connection, statement, code)
    store._connection = faulty

    with pytest.raises(kind, match=r"it failed|is in use") as caught:
        store.save(unit(1, version=2), unit(2))

    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    store._connection = connection
    assert store.load() == {"unit 1": unit(1)}
    store.save(unit(2))
    store.close()
    assert kept_in(file) == {"unit 1": unit(1), "unit 2": unit(2)}


@posix
def test_without_file_descriptors_a_store_is_refused_and_serves_when_there_are_some(sound: Path) -> None:
    code = """
import os, resource, sys
from fusynk.errors import StoreUnavailable
from fusynk.manager.sqlite import SqliteStore
store = SqliteStore(sys.argv[1])
store.open(); store.close()
used = len(os.listdir("/proc/self/fd")) - 1
for more in range(12):
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + more, 4096))
    try:
        store.open()
    except StoreUnavailable:
        print("refused")
    else:
        print("opened", len(store.load()))
        store.close()
"""

    ended = python(code, str(sound))

    assert ended.stderr == ""
    told = ended.stdout.split("\n")[:-1]
    turn = told.index("opened 200")
    assert turn > 1
    assert told == ["refused"] * turn + ["opened 200"] * (len(told) - turn)


def descriptors() -> int:
    """How many files this process has open, where that can be told."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


def test_a_store_that_is_refused_holds_nothing(sound: Path) -> None:
    content = sound.read_bytes()
    sound.write_bytes(content[:5000])
    before = descriptors()

    for _ in range(20):
        with pytest.raises(StoreError):
            opened(sound)

    assert descriptors() == before
    sound.write_bytes(content)
    assert kept_in(sound) == UNITS


def test_a_store_of_a_thousand_units_is_opened_without_waiting(file: Path) -> None:
    store = opened(file)
    store.save(*(unit(number) for number in range(1000)))
    store.close()
    started = time.process_time()

    assert len(kept_in(file)) == 1000

    assert time.process_time() - started < 2
