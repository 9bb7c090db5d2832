"""T6: runs are killed at random instants and resumed until they are over; nothing is lost, and nothing done twice."""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.durable.checker import Expected, entries_of
from tests.durable.nursery import LONG, SEED, Nursery, expected_of, nursery_of, verdict_of, wait_until
from tests.durable.shapes import SHAPES
from tests.durable.victim import Life

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes are forked, and killed by signals of POSIX"),
    pytest.mark.timeout(0 if LONG else 120),
]
KILLS = -(-(2000 if LONG else 100) // len(SHAPES))  # of each shape
_MOST_OF_ONE_RUN = 5
_LONGEST_OPENING = 0.05  # seconds
_LONGEST_DELAY = 0.004


class Hunt:
    """Kills runs of one plan.

    Attributes:
        kills: How many processes died.
        in_flight: How many steps were in flight then.
        extra: How many steps started again.
    """

    def __init__(self, nursery: Nursery, shape: str, folder: Path, seed: str) -> None:
        self._nursery, self._shape, self._folder, self._seed = nursery, shape, folder, seed
        self._random = Random(seed)
        self._expected: Expected = expected_of(nursery, shape, folder)
        self._runs = self.kills = self.in_flight = self.extra = 0

    def once(self) -> None:
        """Begin a run, kill it some times, see it through to its end, and look at what it left."""
        self._runs += 1
        kills, life = self.kills, self._life()
        for _ in range(self._random.randint(1, _MOST_OF_ONE_RUN)):
            if not self._killed(life):
                break
        note = f"seed {self._seed!r}, run {self._runs}, after {self.kills - kills} kills"
        ended = self._nursery.lived(self._other(life))
        assert ended.kind == "ended", f"{note}: {ended.said}"
        verdict = verdict_of(life, self._expected)
        verdict.check(note)
        self.in_flight += verdict.in_flight
        self.extra += verdict.extra
        again = self._nursery.lived(self._other(life))
        assert again.said == self._expected.result, note
        verdict_of(life, self._expected).check(f"{note}, and once more when it was over")

    def _life(self) -> Life:
        run_id = f"run {self._runs}"
        return Life(
            shape=self._shape,
            run_id=run_id,
            file=str(self._folder / "runs.db"),
            log=str(self._folder / f"{self._shape} {self._runs}.log"),
            concurrency=self._random.choice([1, 2, 4, 30]),
        )

    def _other(self, life: Life) -> Life:
        """Return the next life of a run, which may be on another backend."""
        chosen = self._random.choice
        return msgspec.structs.replace(
            life, backend=chosen(["asyncio", "trio"]), synchronous=chosen(["FULL", "NORMAL"])
        )

    def _killed(self, life: Life) -> bool:
        """Begin a life and end it: soon, or after some of what it does. Tells whether it was still alive."""
        random, log = self._random, Path(life.log)
        lines = random.choice([0, random.randint(1, 2 * len(self._expected.starts))])
        pid = self._nursery.begin(self._other(life))
        wait_until(lambda: _has_written(log, pid, lines), f"{self._seed}: {pid} does nothing")
        time.sleep(random.uniform(0, _LONGEST_DELAY if lines else _LONGEST_OPENING))
        is_killed = self._nursery.kill(pid, log)
        self.kills += is_killed
        return is_killed


def _has_written(log: Path, pid: int, lines: int) -> bool:
    """Tell whether a process has left so many lines, or its last one."""
    if not lines:
        return True
    its = [entry for entry in entries_of(log) if entry.pid == pid]
    return len(its) >= lines or (bool(its) and its[-1].kind in {"ended", "refused", "raised"})


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_of() as made:
        yield made


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where the system has one: a kill loses nothing that a disk would have to keep."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of the system; a new one is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_run_survives_kills_at_any_instant(nursery: Nursery, shape: str, quick_folder: Path) -> None:
    hunt = Hunt(nursery, shape, quick_folder, f"{SEED} {shape}")

    while hunt.kills < KILLS or hunt.in_flight < KILLS / 2:
        hunt.once()

    print(f"{hunt.kills} kills, {hunt.in_flight} steps in flight, {hunt.extra} started again")  # noqa: T201 - measured
