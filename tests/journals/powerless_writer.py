"""Record runs, say what is durable, and be watched: `python -m tests.journals.powerless_writer FILE SEED SYNCHRONOUS`.

Every step of the program has a number. It says the numbers of those that the journal acknowledged.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, Literal, NamedTuple, TypeAlias

from fusynk._core.envelope import Record
from fusynk._core.journalled import JournalStatus
from fusynk.errors import JournalError
from fusynk.journals.journalled_run import JournalledRun
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import START

LENGTH = 160
RUNS = ("first", "second")
StepKind: TypeAlias = Literal["open", "append", "wait", "end", "release", "delete", "close"]


class Step(NamedTuple):
    """One call of the journal.

    Attributes:
        kind: What is called.
        run: The id of its run.
        size: How much is recorded.
    """

    kind: StepKind
    run: str
    size: int = 0


class Seen(NamedTuple):
    """A run, as the journal shows it.

    Attributes:
        epoch: How often it was opened.
        status: How it ended.
        steps: The numbers of the steps in which its records were appended.
    """

    epoch: int
    status: JournalStatus
    steps: tuple[int, ...]


State: TypeAlias = dict[str, Seen]


def record(number: int, step: Step) -> Record:
    return Record(step=f"{number}", attempt=1, kind="succeeded", payload=b"%d " % number * step.size)


def script(seed: int) -> list[Step]:
    """Return what is done, drawn by chance from what can be done."""
    random, steps = Random(seed), list[Step]()
    opened, there, ended = set[str](), set[str](), set[str]()
    while len(steps) < LENGTH:
        run = random.choice(RUNS)
        chances: dict[StepKind, int] = {"open": 4, "delete": run in there}
        if run in opened:
            goes_on = run not in ended
            chances = {"append": 40 * goes_on, "wait": 12 * goes_on, "end": goes_on, "release": 1, "close": 1}
        kinds: list[StepKind] = random.choices([*chances], [*chances.values()])
        step = Step(kinds[0], run, random.choice([1, 5, 60, 900]))
        steps.append(step)
        match step.kind:
            case "open":
                opened.add(run)
                there.add(run)
            case "end":
                ended.add(run)
            case "release":
                opened.remove(run)
            case "delete":
                there.remove(run)
                ended.discard(run)
            case "close":
                opened.clear()
            case "append" | "wait":
                pass
    return steps


def states(steps: Sequence[Step]) -> list[State]:
    """Return what a journal holds before all steps, and after each of them."""
    passed: list[State] = [{}]
    for number, step in enumerate(steps):
        state = dict(passed[-1])
        seen = state.get(step.run, Seen(0, "open", ()))
        match step.kind:
            case "open":
                state[step.run] = seen._replace(epoch=seen.epoch + 1)
            case "append":
                state[step.run] = seen._replace(steps=(*seen.steps, number))
            case "end":
                state[step.run] = seen._replace(status="succeeded")
            case "delete":
                del state[step.run]
            case "wait" | "release" | "close":
                pass
        passed.append(state)
    return passed


def say(number: int) -> None:
    os.write(1, b"%d\n" % number)


class Writer:
    """Makes the steps."""

    def __init__(self, file: Path, seed: int, synchronous: Any) -> None:
        self.journal = SqliteJournal(file, synchronous=synchronous)
        self.random = Random(seed)
        self.runs: dict[str, JournalledRun] = {}
        self.pending: dict[int, Event] = {}

    def told(self, records: Sequence[Record], error: JournalError | None) -> None:
        assert error is None
        numbers = [int(one.step) for one in records]
        say(numbers[-1])
        for number in numbers:
            self.pending.pop(number).set()

    def make(self, number: int, step: Step) -> None:
        match step.kind:
            case "open":
                self.runs[step.run] = self.journal.open_run(step.run, START, on_commit=self.told)
                self.move_pages_after(self.random.choice([2, 10, 1000]))
            case "append":
                self.pending[number] = Event()
                assert self.runs[step.run].append(record(number, step))
                return  # `told` says it
            case "wait":
                for event in [*self.pending.values()]:
                    event.wait()
            case "end":
                self.runs[step.run].end("succeeded")
            case "release":
                self.runs[step.run].release()
            case "delete":
                self.journal.delete(step.run)
            case "close":
                self.journal.close()
        say(number)

    def move_pages_after(self, pages: int) -> None:
        """Have SQLite move what was written into the file after so many pages."""
        writer = self.journal._writer
        assert writer is not None
        writer.call(lambda: self.journal._file.connection.execute(f"PRAGMA wal_autocheckpoint={pages}"))


if __name__ == "__main__":
    seed = int(sys.argv[2])
    writer = Writer(Path(sys.argv[1]), seed, sys.argv[3])
    for number, step in enumerate(script(seed)):
        writer.make(number, step)
