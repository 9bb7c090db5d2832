"""Judges a run that was killed and resumed, by the lines that its steps and its listeners left."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the log of a run. The lines of all its processes are in one file, in order.

    Attributes:
        kind: "found": a process has the run, and these steps were recorded; "started": a body begins; "told": who
            listens was told that a step succeeded or was skipped; "failed": that it failed for good; "paused": a thread
            waits to be let on; "ended", "refused", "raised": so ended the run in this process; "killed": it is dead.
        pid: The process.
        step: The step.
        attempt: Which attempt began.
        steps: The steps that were found.
        said: What came of the run, as text.
    """

    kind: Literal["found", "started", "told", "failed", "paused", "ended", "refused", "raised", "killed"]
    pid: int
    step: str = ""
    attempt: int = 0
    steps: tuple[str, ...] = ()
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an undisturbed run does, and what its plan demands.

    Attributes:
        starts: How often each step starts.
        result: What comes of it, as text.
        after: For each step, those that must have been told in the same process before it starts.
        everywhere: The steps that run once in each process, as resources do.
        derived: The steps that have no record of their own.
    """

    starts: Mapping[str, int]
    result: str
    after: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    everywhere: frozenset[str] = frozenset()
    derived: frozenset[str] = frozenset()


@dataclass
class Verdict:
    """What was wrong with a run.

    Attributes:
        lost: The steps that were told and are not in the journal.
        redone: The steps that started after they had been told.
        unexpected: What started or ended otherwise than in an undisturbed run.
        extra: How many starts there were beyond those of an undisturbed run.
        in_flight: How many steps had started and were not told when their process died.
        result: What came of the run in the end, as text.
    """

    lost: list[str] = field(default_factory=list[str])
    redone: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    extra: int = 0
    in_flight: int = 0
    result: str = ""

    def check(self, note: str) -> None:
        """Fail if anything was wrong. The note says how to do it again."""
        assert self.lost == [], f"{note}: lost"
        assert self.redone == [], f"{note}: redone"
        assert self.unexpected == [], f"{note}: unexpected"
        assert self.extra <= self.in_flight, f"{note}: {self.extra} extra starts, {self.in_flight} in flight at kills"


def entries_of(log: Path) -> list[Entry]:
    """Return the lines of a log; none if nobody has written one."""
    if not log.exists():
        return []
    return [msgspec.json.decode(line, type=Entry) for line in log.read_bytes().splitlines()]


def judged(entries: Iterable[Entry], recorded: Collection[str], expected: Expected) -> Verdict:
    """Return what was wrong with a run.

    Args:
        entries: All lines of its log.
        recorded: The steps whose outcome is in the journal at the end.
        expected: What should have become of it.
    """
    judge = _Judge(expected)
    for entry in entries:
        judge.hear(entry)
    judge.close(recorded)
    return judge.verdict


class _Judge:
    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.verdict = Verdict()
        self._told = set[str]()  # by any process, and never to be done again
        self._told_by = defaultdict[int, set[str]](set)
        self._failed_in = defaultdict[int, set[str]](set)
        self._running = defaultdict[int, set[str]](set)
        self._begun = set[tuple[int, str, int]]()
        self._starts = Counter[str]()

    def hear(self, entry: Entry) -> None:
        match entry.kind:
            case "found":
                self._look_for(entry.steps, f"when {entry.pid} resumed")
            case "started":
                self._start(entry)
            case "told":
                self._tell(entry)
            case "failed":
                self._tell(entry)
                self._failed_in[entry.pid].add(entry.step)
            case "ended":
                self.verdict.result = entry.said
            case "killed":
                self._stop(entry.pid)
            case "refused" | "raised":
                # What fails while the run is being broken off is told, and begins anew when it is resumed.
                self._running[entry.pid] |= self._failed_in[entry.pid] - self._expected.everywhere
                self._told -= self._failed_in[entry.pid]
                self._stop(entry.pid)
            case "paused":
                pass

    def _stop(self, pid: int) -> None:
        self.verdict.in_flight += len(self._running.pop(pid, ()))

    def close(self, recorded: Collection[str]) -> None:
        self._look_for(recorded, "at the end")
        wrong = self.verdict.unexpected
        for step, usual in self._expected.starts.items():
            started = self._starts[step]
            if started < usual:
                wrong.append(f"{step} started {started} times, not {usual}")
            if step not in self._expected.everywhere:
                self.verdict.extra += max(0, started - usual)
        if self.verdict.result != self._expected.result:
            wrong.append(f"it came to {self.verdict.result}, not to {self._expected.result}")

    def _look_for(self, recorded: Collection[str], when: str) -> None:
        self.verdict.lost += [f"{step} {when}" for step in sorted(self._told.difference(recorded))]

    def _start(self, entry: Entry) -> None:
        step, pid = entry.step, entry.pid
        wrong = self.verdict.unexpected
        if step in self._told or step in self._told_by[pid]:
            self.verdict.redone.append(f"{step} by {pid}")
        if step not in self._expected.starts:
            wrong.append(f"{step} started")
        wrong += [
            f"{step} started by {pid} before {other} was told"
            for other in self._expected.after.get(step, ())
            if other not in self._told_by[pid]
        ]
        begun = (pid, step, entry.attempt)
        if begun in self._begun or not 1 <= entry.attempt <= self._expected.starts.get(step, 1):
            wrong.append(f"{step} started its attempt {entry.attempt} by {pid}")
        self._begun.add(begun)
        self._starts[step] += 1
        if step not in self._expected.everywhere:
            self._running[pid].add(step)

    def _tell(self, entry: Entry) -> None:
        self._running[entry.pid].discard(entry.step)
        self._told_by[entry.pid].add(entry.step)
        if entry.step not in self._expected.everywhere | self._expected.derived:
            self._told.add(entry.step)
