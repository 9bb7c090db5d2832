"""Where tests get processes to kill, and how they look at what those leave."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fusynk._core.envelope import FINAL
from fusynk.journals.sqlite import SqliteJournal
from tests.durable.checker import Entry, Expected, Verdict, entries_of, judged
from tests.durable.shapes import Log, shaped
from tests.durable.victim import Await, Let, Life, Refusal
from tests.observing import ROOT

LONG = bool(os.environ.get("FUSYNK_LONG"))
SEED = int(os.environ.get("FUSYNK_SEED", "20261122"))
_LONGEST_WAIT = 30.0


class Nursery:
    """Begins and ends lives.

    Attributes:
        pid: The number of its own process.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.pid = process.pid

    def begin(self, life: Life) -> int:
        """Return the number of a new process."""
        return self._ask(life)

    def let(self, pid: int) -> None:
        """Let a process on that waits."""
        self._ask(Let(pid))

    def end(self, pid: int) -> int:
        """Wait for the end of a process and return its status; that of a signal is negative."""
        return self._ask(Await(pid))

    def kill(self, pid: int, log: Path) -> bool:
        """Kill a process, and tell whether it was still alive."""
        os.kill(pid, signal.SIGKILL)
        is_killed = self.end(pid) == -signal.SIGKILL
        if is_killed:
            self.note_death(pid, log)
        return is_killed

    def note_death(self, pid: int, log: Path) -> None:
        """Leave a line of the death of a process."""
        Log(log).write(Entry("killed", pid))

    def lived(self, life: Life) -> Entry:
        """See a life through to its end and return how it ended."""
        pid = self.begin(life)
        assert self.end(pid) == 0, life
        return last_words(Path(life.log), pid)

    def _ask(self, request: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(request) + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def nursery_of(*command: str) -> Generator[Nursery]:
    """Yield a nursery; the command goes before that which starts it."""
    with subprocess.Popen(
        [*command, sys.executable, "-m", "tests.durable.victim"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield Nursery(process)


def last_words(log: Path, pid: int) -> Entry:
    """Return how the run ended in a process."""
    return next(entry for entry in reversed(entries_of(log)) if entry.pid == pid)


def refusal_of(entry: Entry) -> Refusal:
    """Return how a run was refused."""
    assert entry.kind == "refused", entry.said
    return msgspec.json.decode(entry.said, type=Refusal)


def wait_until(holds: Callable[[], object], what: str) -> None:
    """Wait until something is so."""
    until = time.monotonic() + _LONGEST_WAIT
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.002)


def has_said(log: Path, kind: str, step: str = "", pid: int = 0) -> bool:
    """Tell whether there is such a line, of any process if none is given."""
    return any(one.kind == kind and one.step == step and pid in {0, one.pid} for one in entries_of(log))


def expected_of(nursery: Nursery, shape: str, folder: Path) -> Expected:
    """Return what a plan comes to if nobody disturbs it, and nothing is recorded."""
    log = folder / f"{shape}.undisturbed"
    ended = nursery.lived(Life(shape=shape, run_id="calm", log=str(log)))
    assert ended.kind == "ended", ended.said
    starts: dict[str, int] = {}
    for entry in entries_of(log):
        if entry.kind == "started":
            starts[entry.step] = starts.get(entry.step, 0) + 1
    known = shaped(shape, Log(log), folder)
    return Expected(
        starts=starts,
        result=ended.said,
        after=known.after,
        everywhere=frozenset(known.everywhere),
        derived=frozenset(known.derived),
    )


def verdict_of(life: Life, expected: Expected) -> Verdict:
    """Return what was wrong with a run, by its log and its journal."""
    journal = SqliteJournal(life.file)
    recorded = {record.step for record in journal.history(life.run_id) if record.kind in FINAL}
    [status] = [run.status for run in journal.runs() if run.run_id == life.run_id]
    journal.close()
    assert status == msgspec.json.decode(expected.result)["status"]
    return judged(entries_of(Path(life.log)), recorded, expected)
