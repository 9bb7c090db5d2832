"""Processes race for one run, and owners are killed or stopped: one has it at a time, and only that one writes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fusynk._durable.locking import FileLock
from fusynk.journals.claims import Claim, Held
from tests.journals.keeping import LONG, SEED
from tests.observing import ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped and killed by signals of POSIX"),
    pytest.mark.timeout(0 if LONG else 120),
]
ROUNDS = 1000 if LONG else 50
LONGEST_ANSWER = 2.0


def test_one_owner_at_a_time_has_a_run_and_who_lost_it_writes_nothing_more(quick_folder: Path) -> None:
    command = [sys.executable, "-m", "tests.journals.racing_owners", str(quick_folder / "runs.db")]
    print(f"seed {SEED}")  # noqa: T201 - to repeat it

    ended = subprocess.run(
        [*command, f"{ROUNDS}", f"{SEED}"], cwd=ROOT, capture_output=True, text=True, timeout=3600, check=False
    )

    assert ended.stderr == ""
    counts = json.loads(ended.stdout)
    assert counts["killed"] >= ROUNDS // 3, counts
    assert counts["stopped"] >= ROUNDS // 6, counts  # others were stopped while they wrote
    assert counts["locked"] > 2 * ROUNDS, counts
    assert counts["slowest"] < LONGEST_ANSWER, counts


def test_a_lock_that_was_removed_between_opening_and_locking_is_not_taken_for_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, take = tmp_path / "locks" / "1", FileLock.take
    former = [Claim(file, "former", 15)]

    def take_late(lock: FileLock, *, shared: bool = False) -> bool:
        while former:
            former.pop().end()
        return take(lock, shared=shared)

    monkeypatch.setattr(FileLock, "take", take_late)
    mine = Claim(file, "mine", 15)

    with pytest.raises(Held) as caught:
        Claim(file, "other", 15)
    assert caught.value.owner == "mine"
    mine.end()
