"""What every store promises, and what one in a file promises besides."""

import json
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk.errors import FusynkError, InvalidOption, StoreClosed, StoreError, StoreLocked
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import MemoryStore, Store, StoredUnit
from tests.hostile_files import NAMES
from tests.hostile_names import HOSTILE

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes and links are those of POSIX")


def stores(folder: Path) -> dict[str, Store]:
    return {
        "memory": MemoryStore(),
        "FULL": SqliteStore(folder / "full", synchronous="FULL"),
        "NORMAL": SqliteStore(folder / "normal", synchronous="NORMAL"),
    }


@pytest.fixture(params=["memory", "FULL", "NORMAL"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An open store of each kind."""
    one = stores(tmp_path)[request.param]
    one.open()
    yield one
    one.close()


def again(store: Store) -> dict[str, StoredUnit]:
    """What is in a store that was closed and opened."""
    store.close()
    store.open()
    return dict(store.load())


FULL_STATE = StoredUnit(
    name="probe",
    version=7,
    status="error",
    enabled=False,
    paused=True,
    runs=2**70,
    failures=4,
    scheduled_runs=3,
    missed=2,
    last_started=1.0e9 + 1 / 3,
    last_ended=1.0e9 + 2 / 3,
    last_duration=1 / 3,
    last_error="ConnectionError",
    position=-0.1,
)


# Of all stores


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.load() == {}
    assert again(store) == {}


def test_what_is_saved_comes_back_to_the_last_bit(store: Store) -> None:
    plain = StoredUnit(name="plain", version=0)

    store.save(FULL_STATE, plain)

    assert store.load() == {"probe": FULL_STATE, "plain": plain}
    assert again(store) == {"probe": FULL_STATE, "plain": plain}


def test_an_older_state_never_replaces_a_newer_one(store: Store) -> None:
    versions = list(range(50))
    Random(1).shuffle(versions)

    for version in versions:
        store.save(StoredUnit(name="probe", version=version, runs=version))

    assert store.load()["probe"].runs == 49
    store.save(StoredUnit(name="probe", version=49, runs=-1))
    assert again(store)["probe"].runs == 49


def test_one_save_may_hold_two_states_of_a_unit(store: Store) -> None:
    states = [StoredUnit(name="probe", version=version, runs=version) for version in (2, 3, 1)]

    store.save(*states)

    assert store.load() == {"probe": states[1]}


def test_what_is_forgotten_is_gone_and_may_begin_anew(store: Store) -> None:
    store.save(*(StoredUnit(name=name, version=9) for name in "abc"))

    store.forget("a", "c", "nothing of that name")
    store.forget()
    store.save(StoredUnit(name="a", version=1))

    assert {name: unit.version for name, unit in again(store).items()} == {"a": 1, "b": 9}


def test_what_is_loaded_is_a_copy(store: Store) -> None:
    store.save(FULL_STATE)
    loaded: Any = store.load()

    loaded.clear()

    assert store.load() == {"probe": FULL_STATE}


def test_a_store_that_is_not_open_says_so(store: Store) -> None:
    store.save(FULL_STATE)
    store.close()

    for call in (store.load, lambda: store.save(FULL_STATE), lambda: store.forget("probe")):
        with pytest.raises(StoreClosed, match=r"is not open.*; call open\(\) first\.$"):
            call()
    store.close()
    assert again(store) == {"probe": FULL_STATE}


def test_a_store_is_opened_once(store: Store) -> None:
    store.save(FULL_STATE)

    with pytest.raises(StoreLocked, match="is open"):
        store.open()

    assert store.load() == {"probe": FULL_STATE}


def test_calls_come_from_many_threads_at_once(store: Store) -> None:
    def save(thread: int) -> None:
        for version in range(thread, 400, 8):
            store.save(
                StoredUnit(name="shared", version=version, runs=version),
                StoredUnit(name=f"own {thread}", version=version),
            )
            assert store.load()["shared"].version >= version
        store.forget(f"own {thread}")

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(save, range(8))) == [None] * 8

    assert again(store) == {"shared": StoredUnit(name="shared", version=399, runs=399)}


def test_names_may_be_anything(store: Store) -> None:
    names = {*HOSTILE.values(), *NAMES, "\ud83d\ude00", "😀", "\ud83d", "a\0", "a", "A", "0", "00", " a"}

    for number, name in enumerate(names):
        store.save(StoredUnit(name=name, version=number, last_error=name))
    loaded = again(store)

    assert loaded.keys() == names
    assert {unit.name for unit in loaded.values()} == names
    store.forget(*names)
    assert again(store) == {}


times = st.none() | st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**64)
units = st.builds(
    StoredUnit,
    name=st.text(st.characters()) | st.sampled_from("abc"),
    version=st.integers(0, 2**63 - 1) | st.integers(0, 3),
    status=st.sampled_from(["idle", "running", "paused", "completed", "error"]),
    enabled=st.booleans(),
    paused=st.booleans(),
    runs=counts,
    missed=counts,
    last_started=times,
    last_duration=times,
    last_error=st.none() | st.text(),
    position=times,
)
calls = st.lists(
    st.lists(units, max_size=3) | st.frozensets(st.sampled_from("abcd")) | st.just("reopen"), min_size=1, max_size=12
)


def carry_out(call: Any, store: Store, model: dict[str, StoredUnit]) -> None:
    """Do something to a store and to a mapping."""
    if call == "reopen":
        assert again(store) == model
    elif isinstance(call, frozenset):
        names = cast("frozenset[str]", call)
        store.forget(*names)
        for name in names & model.keys():
            del model[name]
    else:
        store.save(*call)
        for unit in call:
            if unit.name not in model or unit.version > model[unit.name].version:
                model[unit.name] = unit


@settings(max_examples=60)
@given(calls=calls)
def test_a_store_is_a_mapping_that_keeps_the_newest(tmp_path_factory: pytest.TempPathFactory, calls: list[Any]) -> None:
    for store in stores(tmp_path_factory.mktemp("law")).values():
        model: dict[str, StoredUnit] = {}
        store.open()
        for call in calls:
            carry_out(call, store, model)
            assert store.load() == model
        store.close()


# In a file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def kept_in(file: Path) -> dict[str, StoredUnit]:
    store = SqliteStore(file)
    store.open()
    try:
        return dict(store.load())
    finally:
        store.close()


def test_another_object_finds_what_was_saved(file: Path) -> None:
    store = SqliteStore(str(file))
    store.open()
    store.save(FULL_STATE)
    store.close()

    assert kept_in(file) == {"probe": FULL_STATE}


def test_several_states_are_kept_together_or_not_at_all(file: Path) -> None:
    store = SqliteStore(file)
    store.open()
    store.save(StoredUnit(name="a", version=1))

    assert store._connection is not None
    store._connection.execute(
        "CREATE TEMP TRIGGER fails BEFORE INSERT ON units WHEN new.version = 3 BEGIN SELECT RAISE(FAIL, 'x'); END"
    )

    with pytest.raises(StoreError, match="cannot be written: x"):
        store.save(*(StoredUnit(name="a", version=version) for version in (2, 3)))

    assert store.load()["a"].version == 1
    store.save(StoredUnit(name="a", version=4))
    store.close()
    assert kept_in(file)["a"].version == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(file: Path, value: float) -> None:
    store = SqliteStore(file)
    store.open()

    with pytest.raises(ValueError, match="JSON"):
        store.save(StoredUnit(name="a", version=1, position=value))

    assert store.load() == {}
    store.close()


def test_nothing_but_the_file_and_its_lock_is_left(file: Path) -> None:
    store = SqliteStore(file)
    store.open()
    store.save(FULL_STATE)
    assert sorted(path.name for path in file.parent.iterdir()) == ["state.db", "state.db-wal", "state.db.lock"]
    store.close()

    assert sorted(path.name for path in file.parent.iterdir()) == ["state.db", "state.db.lock"]
    assert Path(f"{file}.lock").read_bytes() == b""


@posix
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_it(file: Path, umask: int) -> None:
    former = os.umask(umask)
    try:
        store = SqliteStore(file)
        store.open()
        store.save(FULL_STATE)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        store.close()
    finally:
        os.umask(former)

    assert modes == dict.fromkeys(("state.db", "state.db-wal", "state.db.lock"), 0o600)


def test_the_file_is_plain_sqlite_with_json_inside(file: Path) -> None:
    store = SqliteStore(file)
    store.open()
    store.save(FULL_STATE)
    store.close()

    connection = sqlite3.connect(file)
    ((name, version, state),) = connection.execute("SELECT name, version, state FROM units").fetchall()
    connection.close()

    assert (name, version) == (b"probe", 7)
    assert json.loads(state)["last_error"] == "ConnectionError"
    assert b"pickle" not in file.read_bytes()


@pytest.mark.parametrize(
    "name", ["a b.db", "ü.db", "50%25.db", "a?b#c&mode=ro.db", "-rf", "'; drop table units; --", "\n.db", "x" * 200]
)
def test_a_path_may_hold_anything(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        store = SqliteStore(tmp_path / name)
        store.open()
        store.save(FULL_STATE)
        store.close()

    assert kept_in(tmp_path / name) == {"probe": FULL_STATE}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, f"{name}.lock"])


@posix
def test_a_path_may_be_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff\xfe.db")
    store = SqliteStore(path)
    store.open()
    store.save(FULL_STATE)
    store.close()

    assert kept_in(path) == {"probe": FULL_STATE}


def test_a_relative_path_is_one_of_the_folder_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    store = SqliteStore("state.db")
    monkeypatch.chdir(tmp_path / "other")
    store.open()
    store.close()

    assert (tmp_path / "state.db").is_file()


@posix
def test_a_link_is_followed_and_two_ways_lead_to_one_store(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state.db")
    store, other = SqliteStore(tmp_path / "state.db"), SqliteStore(tmp_path / "link")
    store.open()

    with pytest.raises(StoreLocked):
        other.open()
    store.save(FULL_STATE)
    store.close()

    assert kept_in(tmp_path / "link") == {"probe": FULL_STATE}


@pytest.mark.parametrize("path", [None, 3, b"state.db", "", "a\0b"])
def test_a_path_that_is_none_is_refused(path: Any) -> None:
    with pytest.raises(InvalidOption, match=r"^SqliteStore\(.*\): it must be the path of a file\.$"):
        SqliteStore(path)


def test_memory_is_another_store() -> None:
    with pytest.raises(InvalidOption, match=r"write MemoryStore\(\)\.$"):
        SqliteStore(":memory:")


@pytest.mark.parametrize("synchronous", ["OFF", "full", "", None, 1, "FULL; DROP TABLE units"])
def test_how_it_is_written_is_one_of_two(tmp_path: Path, synchronous: Any) -> None:
    with pytest.raises(InvalidOption, match='synchronous must be "FULL" or "NORMAL"'):
        SqliteStore(tmp_path / "state.db", synchronous=synchronous)


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_sqlite_is_told_when_to_wait_for_the_disk(file: Path, synchronous: Any, number: int) -> None:
    store = SqliteStore(file, synchronous=synchronous)
    store.open()
    assert store._connection is not None
    told = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "journal_mode", "locking_mode")
    }
    store.close()

    assert told == {"synchronous": number, "journal_mode": "wal", "locking_mode": "exclusive"}


def test_every_error_of_a_store_is_one_and_names_its_file(file: Path) -> None:
    with pytest.raises(StoreError) as caught:
        SqliteStore(file).load()

    assert caught.value.path == str(file)
    assert repr(str(file)) in str(caught.value)
    assert isinstance(caught.value, FusynkError)
