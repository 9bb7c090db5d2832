"""A loss of power at any moment: with FULL nothing is lost that was acknowledged, with NORMAL only the end may be.

What a writer does to its files is recorded, and the states are made in which a loss of power may leave them.
"""

import shutil
from collections import Counter
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import LONG, SEED, START, Synchronous, Told, written
from tests.journals.keeping import record as another_record
from tests.journals.powerless_disk import Disk, Files
from tests.journals.powerless_writer import Seen, State, Step, record, script, states
from tests.journals.recorded_disk import Deed, recorded

pytestmark = pytest.mark.timeout(0 if LONG else 120)
PROGRAMS, STATES = (10, 500) if LONG else (1, 200)
"""Of each of the two modes: how many programs, and how many states of each."""


def moments(deeds: list[Deed], random: Random) -> list[int]:
    """Numbers of deeds after which the power is lost: any, and often where most is at stake."""
    said = [place for place, deed in enumerate(deeds, 1) if deed.kind == "say"]
    renamed = [place for place, deed in enumerate(deeds, 1) if deed.kind in {"make", "rename", "remove"}]
    around = [place + later for place in renamed for later in range(4) if place + later <= len(deeds)]
    return sorted(random.choice(random.choice([said, around, range(1, len(deeds) + 1)])) for _ in range(STATES))


def lay(folder: Path, files: Files, random: Random) -> Path:
    """Put files into a folder, among what else a loss of power leaves there."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if random.random() < 0.5:
        (folder / "runs.db-shm").write_bytes(random.randbytes(random.choice([0, 3, 32_768])))
        (folder / "runs.db.lock").touch()
        (folder / "runs.db.locks").mkdir()
        # The clock of the system begins anew when it starts again.
        (folder / "runs.db.locks" / "1").write_bytes(b"%020d somebody" % 10**18)
    return folder / "runs.db"


def seen_in(file: Path, steps: list[Step]) -> State:
    """What a journal shows, once it is checked that each record is what was appended."""
    journal = SqliteJournal(file, synchronous="NORMAL")
    state: State = {}
    try:
        for run in journal.runs():
            records = journal.history(run.run_id)
            numbers = tuple(int(one.step) for one in records)
            assert list(records) == [record(number, steps[number]) for number in numbers]
            state[run.run_id] = Seen(run.epoch, run.status, numbers)
    finally:
        journal.close()
    return state


def check_use(file: Path, state: State) -> None:
    """Runs that have not ended go on, and new ones begin."""
    journal, told = SqliteJournal(file, synchronous="NORMAL"), Told()
    for name in {"new", *state}:
        run = journal.open_run(name, START, on_commit=told)
        if run.state.status == "open":
            assert written(run, told, another_record("more")) is None
        assert len(run.records) == len(state[name].steps if name in state else ())
    journal.close()
    journal = SqliteJournal(file, synchronous="NORMAL")
    for name, seen in state.items():
        assert len(journal.history(name)) == len(seen.steps) + (seen.status == "open")
    journal.close()


@pytest.mark.parametrize("program", range(PROGRAMS))
@pytest.mark.parametrize("synchronous", get_args(Synchronous))
def test_a_loss_of_power_leaves_all_that_was_acknowledged_or_with_normal_what_was_so_first(
    tmp_path: Path, quick_folder: Path, synchronous: Synchronous, program: int
) -> None:
    seed = SEED + program
    steps, random = script(seed), Random(f"{seed} {synchronous}")
    possible, folder = states(steps), tmp_path / "recorded"
    folder.mkdir()
    deeds = recorded(folder, "tests.journals.powerless_writer", f"{folder / 'runs.db'}", f"{seed}", synchronous)
    disk, done, acknowledged = Disk(), 0, 0
    found, faults = Counter[str](), list[str]()

    for number, moment in enumerate(moments(deeds, random)):
        for deed in deeds[done:moment]:
            disk.see(deed)
            if deed.kind == "say":
                acknowledged = max(acknowledged, int(deed.content) + 1)
        done = moment
        file = lay(quick_folder / f"{number}", disk.left(Random(f"{seed} {number}")), Random(f"{seed} {number}"))
        where = f"seed {seed}, state {number}, after {moment} deeds, {acknowledged} steps acknowledged"
        try:
            state = seen_in(file, steps)
            reached = max((place for place, one in enumerate(possible) if one == state), default=-1)
            assert reached >= 0, f"a state that never was: {state}"
            check_use(file, state)
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            faults.append(f"{where}: {error!r}"[:400])
            continue
        found["all" if reached >= acknowledged else "fewer"] += 1
        if reached < acknowledged and synchronous == "FULL":
            faults.append(f"{where}: only {reached}")
        shutil.rmtree(file.parent)

    assert not faults, f"{len(faults)} of {STATES}; the first are {faults[:5]}; the record is {folder}.strace"
    assert found["all"] > STATES // 10, found
    assert synchronous == "FULL" or found["fewer"] > STATES // 10, found
