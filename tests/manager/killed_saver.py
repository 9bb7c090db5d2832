"""Save states over and over and be killed: `python -m tests.manager.killed_saver FILE KILLS SEED SYNCHRONOUS`.

Two units are always saved together. After each kill the store must hold both, in one version, which is that of the last
save that returned, or the one after it.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import StoredUnit

NAMES = ("first", "a\nb\ud800'\"")


def state(name: str, version: int) -> StoredUnit:
    return StoredUnit(
        name=name, version=version, runs=3 * version, last_error="x" * (version % 5000), position=version / 8
    )


def version_in(store: SqliteStore) -> int:
    """The version of both units, once it is checked that they are whole; 0 if there are none."""
    kept = store.load()
    if not kept:
        return 0
    version = kept["first"].version
    assert kept == {name: state(name, version) for name in NAMES}, kept
    return version


def save_for_ever(store: SqliteStore, acknowledged: int, pages: int) -> None:
    """Save, and have SQLite move what was written into the file after so many pages."""
    store.open()
    version = version_in(store)
    os.write(acknowledged, b"%d\n" % version)
    while True:
        if version % 20 == 0:
            store.close()
            store.open()
            assert store._connection is not None
            store._connection.execute(f"PRAGMA wal_autocheckpoint={pages}")
        version += 1
        store.save(*(state(name, version) for name in NAMES))
        os.write(acknowledged, b"%d\n" % version)


def killed(store: SqliteStore, random: Random) -> list[int]:
    """Kill a saver; return what it found in the store and what it acknowledged; nothing if it had not opened it."""
    reading, writing = os.pipe()
    pages = random.choice([1, 3, 20, 1000])
    child = os.fork()
    if not child:
        try:
            save_for_ever(store, writing, pages)
        finally:
            os._exit(1)
    os.close(writing)
    wanted, found = random.choice([0, 0, 0, *range(40)]), b""  # 0: it is killed while it opens the store
    while found.count(b"\n") < wanted and (more := os.read(reading, 4096)):
        found += more
    time.sleep(random.uniform(0, 0.005))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with os.fdopen(reading, "rb") as rest:
        told = (found + rest.read()).split(b"\n")[:-1]
    return [int(version) for version in told]


def main(file: Path, kills: int, seed: int, synchronous: Any) -> dict[str, int]:
    random, acknowledged = Random(seed), 0
    counts = {"saves": 0, "in flight": 0, "unopened": 0, "looked": 0}
    for number in range(kills):
        told = killed(SqliteStore(file, synchronous=synchronous), random)
        counts["unopened"] += not told
        if told:
            assert acknowledged <= told[0] <= acknowledged + 1, (acknowledged, told[0], number)
            acknowledged = told[-1]
        if random.random() < 0.5 and number < kills - 1:
            continue  # the next one finds it as it was left
        store = SqliteStore(file, synchronous=synchronous)
        with contextlib.closing(store):
            store.open()
            found = version_in(store)
        assert acknowledged <= found <= acknowledged + 1, (acknowledged, found, number)
        counts["looked"] += 1
        counts["in flight"] += found - acknowledged
        acknowledged = found
    return counts | {"saves": acknowledged}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
