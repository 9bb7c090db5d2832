"""T7: what a run does when the system kills it, or refuses, at one of its calls to the journal's files."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import pytest

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
from tests.durable.victim import Life, Pause, Refusal

Fault: TypeAlias = Literal["kill", "ENOSPC", "EIO"]
Place: TypeAlias = Literal["opening", "reopening", "writing", "closing"]
"""Which thread's calls are meant: who makes and checks the file, or finds it as a killed process left it; who writes;
who closes it."""
PLACES: tuple[Place, ...] = ("opening", "reopening", "writing", "closing")
PAUSES: dict[Place, Pause] = {"opening": "opening", "reopening": "opening", "writing": "writing", "closing": "closing"}

CHANGING = (
    *("openat", "mkdir", "write", "pwrite64", "sendfile", "ftruncate", "fsync", "fdatasync"),
    *("rename", "unlink", "unlinkat", "rmdir", "flock"),
)
"""What changes a file, so that it matters whether a process dies before it."""
FILLING = ("openat", "mkdir", "write", "pwrite64", "sendfile", "ftruncate", "fsync", "fdatasync", "rename")
"""What can find no room on the disk."""
READING = ("pread64", "read", "newfstatat", "mmap", "fcntl")
NUMEROUS = {"fcntl": 7, "newfstatat": 7}
"""Of so many of these calls, one is tried; with FUSYNK_LONG each."""

_SLOW = {("writing", "fcntl")}
"""SQLite waits for ten seconds for a lock that it was refused; these are tried with FUSYNK_LONG."""


class Site:
    """Where runs are disturbed in one thread.

    Attributes:
        ends: How often they ended how.
    """

    def __init__(self, nursery: Nursery, folder: Path, place: Place, fault: Fault) -> None:
        self._nursery, self._folder = nursery, folder
        self._place: Place = place
        self._fault: Fault = fault
        self._expected: Expected = expected_of(nursery, "mixed", folder)
        self.ends = Counter[str]()

    def search(self, call: str) -> None:
        """Disturb a run at its first call of a kind, the next one at the second, until it makes no more of them."""
        if not LONG and (self._place, call) in _SLOW:
            return
        number = 1
        while self._is_disturbed(call, number):
            number += 1 if LONG else NUMEROUS.get(call, 1)

    def _is_disturbed(self, call: str, number: int) -> bool:
        """Disturb a run at that call, and see it through to its end. Tells whether there was such a call."""
        folder = self._folder / f"{call} {number}"
        folder.mkdir()
        note = f"{self._fault} at {call} {number} while {self._place}"
        life = _life(folder)
        if self._place == "reopening":
            self._leave_behind(life)
        with tempfile.TemporaryFile() as trace:
            kind = self._run(life, call, number, trace.fileno(), note)
            trace.seek(0)
            hit = _injected(trace.read().decode())
        if hit is None and kind != "killed":
            return False
        note = f"{note}: {hit}"
        if hit is not None and not _is_of_journal(hit, folder):
            kind = "elsewhere"
        self.ends[kind] += 1
        assert kind not in {"died", "raised"}, f"{note}: {entries_of(Path(life.log))[-1].said}"
        ended = self._nursery.lived(msgspec.structs.replace(life, pause=None))
        assert ended.kind == "ended", f"{note}: {ended.said}"
        verdict_of(life, self._expected).check(note)
        shutil.rmtree(folder)
        return True

    def _run(self, life: Life, call: str, number: int, trace: int, note: str) -> str:
        """Live a life under strace and return how it ended."""
        what = "signal=SIGKILL" if self._fault == "kill" else f"error={self._fault}"
        options = [f"--trace={call}", f"--inject={call}:{what}:when={number}"]
        log = Path(life.log)
        pid = self._nursery.begin(msgspec.structs.replace(life, pause=PAUSES[self._place]))
        wait_until(lambda: has_said(log, "paused", pid=pid), note)
        thread = int(last_words(log, pid).said)
        with _traced(pid, thread, options, trace):
            self._nursery.let(pid)
            status = self._nursery.end(pid)
        if status:
            self._nursery.note_death(pid, log)
            return "killed" if status == -signal.SIGKILL else "died"
        words = last_words(log, pid)
        if words.kind == "refused":
            _check_refusal(refusal_of(words), life, call, note)
        elif words.kind == "ended":
            assert words.said == self._expected.result, note
        return words.kind

    def _leave_behind(self, life: Life) -> None:
        """Have a run killed half-way, with what it wrote last beside the file."""
        pid = self._nursery.begin(life)
        log = Path(life.log)
        wait_until(lambda: any(entry.kind == "told" for entry in entries_of(log)), "no step was told")
        assert self._nursery.kill(pid, log), "the run was over too early"
        assert Path(f"{life.file}-wal").stat().st_size > 0


def _check_refusal(refusal: Refusal, life: Life, call: str, note: str) -> None:
    # Of some of what it cannot read SQLite itself says that it is malformed.
    named = {"JournalUnavailable", "DamagedJournal"} if call in READING else {"JournalUnavailable"}
    assert refusal.kind in named, f"{note}: {refusal}"
    assert refusal.path == life.file, f"{note}: {refusal}"


def _life(folder: Path) -> Life:
    return Life(shape="mixed", run_id="run", file=str(folder / "runs.db"), log=str(folder / "log"), concurrency=1)


@contextmanager
def _traced(pid: int, thread: int, options: list[str], trace: int) -> Generator[None]:
    """Have strace look at one thread of a process."""
    with subprocess.Popen(["strace", f"--attach={thread}", "-yqq", *options], stderr=trace):  # noqa: S607 - of the system
        status = Path(f"/proc/{pid}/task/{thread}/status")
        wait_until(lambda: "TracerPid:\t0\n" not in status.read_text("ascii"), "strace cannot look at a process")
        yield


def _injected(trace: str) -> str | None:
    """Return the call that was disturbed, or `None` if there was none."""
    return next((line for line in trace.splitlines() if line.endswith("(INJECTED)")), None)


def _is_of_journal(call: str, folder: Path) -> bool:
    """Tell whether a call was about the journal's files or their drafts, and not about the log or something else."""
    return "/fusynk-" in call or (f"{folder}" in call and f"{folder}/log" not in call)


def disturbed(place: Place, calls: Sequence[str], fault: Fault) -> Counter[str]:
    """Disturb runs at every one of such calls, and return how often they ended how."""
    if sys.platform != "linux":
        pytest.skip("the system is made to refuse calls by strace, which is for Linux")
    if shutil.which("strace") is None:
        pytest.skip("no strace here, which makes the system refuse calls: apt-get install strace")
    ends = Counter[str]()
    memory = Path("/dev/shm")  # noqa: S108 - a folder of the system; a new one is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder, nursery_of() as nursery:
        site = Site(nursery, Path(folder), place, fault)
        for call in calls:
            site.search(call)
        ends += site.ends
    print(f"{fault} while {place}: {dict(ends)}")  # noqa: T201 - measured
    return ends
