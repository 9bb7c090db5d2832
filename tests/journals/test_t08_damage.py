"""Whatever became of its files, a journal gives back what was recorded, from the first record on, or is refused.

Each example has a seed of its own, which stands in the message; FUSYNK_SEED changes them all.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

import pytest

from fusynk._core.envelope import Record
from fusynk._core.journalled import JournalStatus
from fusynk.errors import DamagedJournal, ForeignJournal, NewerJournal
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import LONG, SEED, START, Told, contents, record, written
from tests.manager.test_store_faults import flipped, lengthened, overwritten, shuffled, truncated, zeroed

pytestmark = pytest.mark.timeout(0 if LONG else 120)
EXAMPLES = 8_400 if LONG else 252
"""Of each of the six ways in which files come to harm."""
REFUSALS = (DamagedJournal, ForeignJournal, NewerJournal)
PAGE = 4096
DATABASE, BESIDE = "runs.db", "runs.db-wal"

Files: TypeAlias = dict[str, bytes]


@dataclass(frozen=True)
class Life:
    """What lay in the folder of a journal at several moments, and what was recorded until the last of them.

    Attributes:
        moments: The files, as a kill would have left them; the earliest come first.
        runs: All that was ever recorded under an id, anew after each time its run was removed.
    """

    moments: list[Files]
    runs: dict[str, list[list[Record]]]


def lived(folder: Path, names: Sequence[str], content: int) -> Life:
    """Let a journal see runs that are open, ended, removed and begun again, and be closed in between."""
    folder.mkdir()
    life = Life([], {name: [[]] for name in names})
    journal, told = SqliteJournal(folder / DATABASE, synchronous="NORMAL"), Told()

    def keep() -> None:
        life.moments.append({name: read for name, read in contents(folder).items() if name in {DATABASE, BESIDE}})

    def write(name: str, count: int, status: JournalStatus = "open") -> None:
        run, its = journal.open_run(name, START, on_commit=told), life.runs[name][-1]
        more = [record(f"step {step}", content + step, step % 7 * 40) for step in range(len(its), len(its) + count)]
        assert written(run, told, *more) is None
        if status != "open":
            run.end(status)
        run.release()
        its += more
        keep()

    endings: list[tuple[int, JournalStatus]] = [(1, "open"), (2, "open"), (2, "cancelled")]
    first, second, third = names
    write(first, 30)
    write(second, 20, "failed")
    journal.close()
    keep()
    write(first, 25)
    write(third, 15)
    journal.delete(second)
    life.runs[second].append([])
    content += 500
    keep()
    journal.close()
    write(third, 5, "succeeded")
    write(first, 30)
    write(second, 40)
    for count, status in endings:
        write(second, count, status)
        journal.close()
        keep()
    return life


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """The journal that comes to harm."""
    return lived(tmp_path_factory.mktemp("journals") / "mine", ["order-1", "order-2", "order-3"], 0)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Another one, with other runs of the same plan."""
    return lived(tmp_path_factory.mktemp("journals") / "strange", ["order-4", "order-5", "order-6"], 1000)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Another one, with runs of the same ids and plan that came to something else."""
    return lived(tmp_path_factory.mktemp("journals") / "twin", ["order-1", "order-2", "order-3"], 2000)


def kept_in(file: Path) -> dict[str, tuple[JournalStatus, list[Record]]]:
    journal = SqliteJournal(file, synchronous="NORMAL")
    try:
        return {run.run_id: (run.status, list(journal.history(run.run_id))) for run in journal.runs()}
    finally:
        journal.close()


def outcome(folder: Path, files: Files, lives: Sequence[Life]) -> str:
    """Open a journal of these files; tell what it said, once it is checked that it holds nothing else."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        kept = kept_in(folder / DATABASE)
    except REFUSALS as error:
        refusal = error
    else:
        _check(kept, lives)
        return "accepted"
    assert contents(folder) == files, "the files were refused, and changed"
    assert str(refusal).isprintable()
    return type(refusal).__name__


def _check(kept: dict[str, tuple[JournalStatus, list[Record]]], lives: Sequence[Life]) -> None:
    """Each run has the first records of one that was recorded, and all of them if it has ended."""
    for name, (status, records) in kept.items():
        possible = [run for life in lives for run in life.runs.get(name, [])]
        assert any(records == run[: len(records)] for run in possible), f"{name} has records that it never had"
        assert status == "open" or any(records == run for run in possible), f"{name} is {status}, and lacks records"


# Ways in which files come to harm


def cut(random: Random, number: int, mine: Life, _other: Life) -> Files:
    """Lose the end of a file, from places that are spread over all of it."""
    files = dict(mine.moments[number % len(mine.moments)])
    name = random.choice([*files])
    place = number * 7919 % len(files[name])
    if number % 3 == 0:
        place = place // PAGE * PAGE + random.choice([0, 0, 1, 32, 56])  # pages, and the heads of what lies beside
    files[name] = files[name][:place]
    return files


def changed(random: Random, number: int, mine: Life, _other: Life) -> Files:
    """Flip bits, or write something else."""
    return _harmed(random, number, mine, [flipped, flipped, overwritten])


def moved(random: Random, number: int, mine: Life, _other: Life) -> Files:
    """Lose pages or exchange them, or add to the end."""
    return _harmed(random, number, mine, [zeroed, zeroed, shuffled, lengthened, truncated])


def _harmed(random: Random, number: int, mine: Life, harms: Sequence[Callable[[bytearray, Random], None]]) -> Files:
    files = dict(mine.moments[number % len(mine.moments)])
    for name in random.choice([[one] for one in files] + [[*files]]):
        content = bytearray(files[name])
        random.choice(harms)(content, random)
        files[name] = bytes(content)
    return files


def swapped(random: Random, number: int, mine: Life, other: Life) -> Files:
    """Put what lay beside the file at another moment, or beside another one, in the place of what belongs there."""
    files = dict(mine.moments[number % len(mine.moments)])
    beside = [moment[BESIDE] for moment in (*mine.moments, *other.moments) if BESIDE in moment]
    files[BESIDE] = random.choice(beside)
    return files


def restored(random: Random, number: int, mine: Life, other: Life) -> Files:
    """Put a copy back of which a part is older, or was of another file."""
    files = dict(mine.moments[number % len(mine.moments)])
    source = random.choice([*mine.moments, random.choice(other.moments)])[DATABASE]
    begin, end = sorted(random.sample(range(max(len(source), len(files[DATABASE])) // PAGE + 1), 2))
    content = bytearray(files[DATABASE])
    content[begin * PAGE : end * PAGE] = source[begin * PAGE : end * PAGE]
    files[DATABASE] = bytes(content)
    return files


def lost(random: Random, number: int, mine: Life, _other: Life) -> Files:
    """Lose what was written last in some pages, as a disk does that says it has written and has not."""
    moments = mine.moments[number % len(mine.moments) :]
    files, content = dict(moments[0]), bytearray(random.choice(moments)[DATABASE])
    for page in range(0, len(content), PAGE):
        if random.random() < 0.3:
            former = files[DATABASE][page : page + PAGE]
            content[page : page + PAGE] = former or bytes(PAGE)
    files[DATABASE] = bytes(content)
    return files


WAYS = [cut, changed, moved, swapped, restored, lost]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("neighbour", ["strange", "twin"])
def test_harm_is_refused_or_leaves_what_was_recorded_first(
    quick_folder: Path,
    mine: Life,
    request: pytest.FixtureRequest,
    neighbour: str,
    way: Callable[[Random, int, Life, Life], Files],
) -> None:
    other: Life = request.getfixturevalue(neighbour)
    outcomes, faults = Counter[str](), list[str]()

    for number in range(EXAMPLES // 2):
        seed = f"{SEED} {way.__name__} {neighbour} {number}"
        folder = quick_folder / str(number)
        folder.mkdir()
        try:
            outcomes[outcome(folder, way(Random(seed), number, mine, other), [mine, other])] += 1
        except Exception as error:  # noqa: BLE001 - all of them are told at the end
            faults.append(f"{seed}: {error!r}"[:400])
        shutil.rmtree(folder)

    assert not faults, f"{len(faults)} of {EXAMPLES // 2}; the first are {faults[:5]}"
    assert outcomes["DamagedJournal"] > EXAMPLES // 40, outcomes
    assert outcomes["accepted"] > EXAMPLES // 40, outcomes
