"""T9: a run that several processes want has one owner at a time, and one that lost it does nothing more."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fusynk._core.envelope import Record
from fusynk.journals.sqlite import SqliteJournal
from tests.durable.checker import Expected, entries_of
from tests.durable.nursery import (
    LONG,
    Nursery,
    expected_of,
    has_said,
    last_words,
    nursery_of,
    refusal_of,
    verdict_of,
    wait_until,
)
from tests.durable.victim import Backend, Life

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and stopped by signals of POSIX"),
    pytest.mark.timeout(0 if LONG else 120),
]
LEASE = 0.4
ROUNDS = 50 if LONG else 5
LONGEST_ANSWER = 2.0


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with nursery_of() as made:
        yield made


@pytest.fixture
def expected(nursery: Nursery, tmp_path: Path) -> Expected:
    (tmp_path / "gate").touch()
    found = expected_of(nursery, "gated", tmp_path)
    (tmp_path / "gate").unlink()
    return found


@pytest.fixture
def life(tmp_path: Path, backend: Backend) -> Life:
    file, log = str(tmp_path / "runs.db"), str(tmp_path / "log")
    return Life(shape="gated", run_id="run", file=file, log=log, backend=backend)


def open_gate(life: Life) -> None:
    (Path(life.log).parent / "gate").touch()


def recorded(life: Life) -> list[Record]:
    journal = SqliteJournal(life.file)
    records = list(journal.history(life.run_id))
    journal.close()
    return records


def test_who_wants_a_run_that_is_going_on_is_told_at_once_whose_it_is(
    nursery: Nursery, life: Life, expected: Expected
) -> None:
    log = Path(life.log)
    owner = nursery.begin(life)
    wait_until(lambda: has_said(log, "started", "waiting"), "the run does not begin")

    began = time.monotonic()
    refusal = refusal_of(nursery.lived(life))
    seconds = time.monotonic() - began

    assert (refusal.kind, refusal.path) == ("RunLocked", life.file)
    assert refusal.owner.startswith(f"OS process {owner} on ")
    assert seconds < LONGEST_ANSWER
    open_gate(life)
    assert nursery.end(owner) == 0
    verdict_of(life, expected).check("one owner and one that was refused")


def test_of_two_that_resume_a_run_at_once_one_goes_on(nursery: Nursery, life: Life, expected: Expected) -> None:
    for number in range(ROUNDS):
        one_round = msgspec.structs.replace(life, run_id=f"run {number}", log=f"{life.log} {number}")
        log = Path(one_round.log)
        former = nursery.begin(one_round)
        wait_until(lambda log=log: has_said(log, "started", "waiting"), "the run does not begin")  # type: ignore[misc]
        assert nursery.kill(former, log)

        pids = {nursery.begin(one_round), nursery.begin(one_round)}
        wait_until(lambda log=log: has_said(log, "refused"), "nobody is refused")  # type: ignore[misc]
        open_gate(life)
        ends = {pid: (nursery.end(pid), last_words(log, pid)) for pid in pids}

        [loser] = [pid for pid, (_, words) in ends.items() if words.kind == "refused"]
        [winner] = pids - {loser}
        assert refusal_of(ends[loser][1]).kind == "RunLocked"
        assert refusal_of(ends[loser][1]).owner.startswith(f"OS process {winner} on ")
        assert not any(entry.pid == loser and entry.kind in {"found", "started"} for entry in entries_of(log))
        verdict_of(one_round, expected).check(f"round {number}")
        (log.parent / "gate").unlink()


@pytest.mark.parametrize("goes_on", ["before the other one has ended", "after that"])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_an_owner_that_was_stopped_past_its_lease_starts_and_writes_nothing_more(
    nursery: Nursery, life: Life, expected: Expected, goes_on: str, concurrency: int
) -> None:
    life, log = msgspec.structs.replace(life, concurrency=concurrency, lease=LEASE), Path(life.log)
    owner = nursery.begin(life)
    wait_until(lambda: has_said(log, "started", "waiting"), "the run does not begin")
    wait_until(lambda: concurrency == 1 or has_said(log, "told", "apart"), "nothing goes on beside what waits")
    os.kill(owner, signal.SIGSTOP)  # nothing of it is being written, since all that has ended was told
    time.sleep(2 * LEASE)

    heir = nursery.begin(life)
    wait_until(lambda: has_said(log, "started", "waiting", heir), "nobody takes the run over")
    last = continued(nursery, life, owner, heir) if goes_on == "after that" else len(entries_of(log))
    if goes_on != "after that":
        os.kill(owner, signal.SIGCONT)
        open_gate(life)
        assert [nursery.end(heir), nursery.end(owner)] == [0, 0]

    assert last_words(log, heir).said == expected.result
    assert refusal_of(last_words(log, owner)).kind == "RunTakenOver"
    assert [entry for entry in entries_of(log)[last:] if entry.pid == owner][:-1] == []
    verdict_of(life, expected).check("an owner and an heir")


def continued(nursery: Nursery, life: Life, owner: int, heir: int) -> int:
    """Let the heir end the run and the owner go on then; return how many lines there were before that."""
    log = Path(life.log)
    open_gate(life)
    assert nursery.end(heir) == 0
    before: Any = recorded(life)
    last = len(entries_of(log))
    os.kill(owner, signal.SIGCONT)
    assert nursery.end(owner) == 0
    assert recorded(life) == before
    return last
