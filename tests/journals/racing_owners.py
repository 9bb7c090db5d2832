"""Let processes race for a run, and stop and kill owners: `python -m tests.journals.racing_owners FILE ROUNDS SEED`.

Each record carries the epoch of its owner, so that the journal itself tells who wrote when.
"""

import json
import os
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from fusynk._core.envelope import Record
from fusynk.errors import JournalError, RunLocked
from fusynk.journals.journalled_run import JournalledRun
from fusynk.journals.sqlite import SqliteJournal
from tests.journals.keeping import START, Told, written

RUN = "contested"
LEASE = 0.25
CROWD = 8

Mood: TypeAlias = Literal["patient", "hasty"]
"""Who is patient grants so long a lease that it takes no run over from an owner that lives."""


class Answer(NamedTuple):
    """What a rival came to.

    Attributes:
        kind: "owner", or the name of the error.
        epoch: The epoch of an owner.
        found: How many records the run had then.
        owner: Who has the run instead.
        seconds: How long that took.
    """

    kind: str
    epoch: int = 0
    found: int = 0
    owner: str = ""
    seconds: float = 0.0


class Rival:
    """One that wants the run; lives in a process of its own, and does what it is told there."""

    def __init__(self, file: Path, commands: int, answers: int) -> None:
        self._journals = {"patient": SqliteJournal(file, lease=60), "hasty": SqliteJournal(file, lease=LEASE)}
        self._acknowledged = os.open(f"{file}.acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._commands, self._answers = commands, answers
        self._run: JournalledRun | None = None
        self._told = Told()
        self._count = 0

    def serve(self) -> None:
        """Obey until nobody commands any more."""
        known: dict[str, Callable[[], Answer]] = {
            "patient": lambda: self._open("patient"),
            "hasty": lambda: self._open("hasty"),
            "write": lambda: self._named(self._write),
            "stream": lambda: self._named(self._write_until_told),
            "release": lambda: self._named(self._release),
        }
        while command := os.read(self._commands, 100).decode():
            started = time.monotonic()
            answer = known[command.strip()]()
            os.write(self._answers, json.dumps(answer._replace(seconds=time.monotonic() - started)).encode() + b"\n")

    def _open(self, mood: Mood) -> Answer:
        try:
            self._run = self._journals[mood].open_run(RUN, START, on_commit=self._told)
        except RunLocked as error:
            return Answer("RunLocked", owner=error.owner or "")
        except JournalError as error:
            return Answer(type(error).__name__)
        self._count = 0
        return Answer("owner", self._run.state.epoch, len(self._run.records))

    def _named(self, call: Callable[[], object]) -> Answer:
        try:
            call()
        except JournalError as error:
            return Answer(type(error).__name__)
        return Answer("")

    def _write(self) -> None:
        assert self._run is not None
        steps = [f"{self._run.state.epoch}.{self._count + more}" for more in range(1 + self._count % 3)]
        its = [Record(step=step, attempt=1, kind="succeeded", payload=b"%d" % os.getpid()) for step in steps]
        error = written(self._run, self._told, *its)
        if error is not None:
            raise error
        self._count += len(its)
        os.write(self._acknowledged, "".join(f"{step}\n" for step in steps).encode())

    def _write_until_told(self) -> None:
        try:
            while not select.select([self._commands], [], [], 0.002)[0]:
                self._write()
        finally:
            os.read(self._commands, 100)

    def _release(self) -> None:
        assert self._run is not None
        self._run.release()


class Racer:
    """A rival as it is seen from outside.

    Attributes:
        pid: The number of its process.
    """

    def __init__(self, file: Path, others: Sequence["Racer"]) -> None:
        theirs, self._commands = os.pipe()
        self._answers, theirs_to_write = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                for descriptor in (self._commands, self._answers, *(other._commands for other in others)):
                    os.close(descriptor)
                Rival(file, theirs, theirs_to_write).serve()
            finally:
                os._exit(1)
        os.close(theirs)
        os.close(theirs_to_write)

    def tell(self, command: str) -> None:
        os.write(self._commands, f"{command}\n".encode())

    def answer(self) -> Answer:
        found = b""
        while not found.endswith(b"\n"):
            more = os.read(self._answers, 1000)
            assert more, f"{self.pid} is gone"
            found += more
        return Answer(*json.loads(found))

    def ask(self, command: str) -> Answer:
        self.tell(command)
        return self.answer()

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self) -> None:
        self.send(signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._commands)
        os.close(self._answers)


class Race:
    """The rounds.

    Attributes:
        pids: The process of each epoch.
        found: How many records each epoch found.
        counts: How often what happened.
        slowest: The longest that anybody waited to hear that the run is locked, in seconds.
    """

    def __init__(self, file: Path, random: Random) -> None:
        self._file, self._random = file, random
        self._racers: list[Racer] = []
        self.pids: list[int] = []
        self.found: list[int] = []
        self.counts = Counter[str]()
        self.slowest = 0.0
        while len(self._racers) < CROWD:
            self._racers.append(Racer(file, self._racers))

    def round(self, number: int) -> None:
        """Let one of some have the run that nobody has, write, and lose it in one of three ways, which take turns.

        Args:
            number: Which round it is.
        """
        owner = self._taken(self._some(), self._random.choice(["patient", "hasty"]))
        self._check_locked(self._rush(self._some(owner), "patient")[1], {owner.pid})
        owner.tell("stream")
        time.sleep(self._random.uniform(0, 0.02))
        match ("release", "kill", "stop")[number % 3]:
            case "release":
                assert owner.ask("halt").kind == ""
                self._hand_over(owner)
            case "kill":
                self._kill(owner)
            case _:
                self._stop(owner)

    def end(self) -> None:
        for racer in self._racers:
            racer.end()

    def _some(self, without: Racer | None = None) -> list[Racer]:
        some = self._random.sample(self._racers, self._random.randint(2, CROWD))
        return [one for one in some if one is not without]

    def _taken(self, rivals: Sequence[Racer], mood: Mood) -> Racer:
        """Have rivals try at once, and return the one that has the run, once it is checked that no other one has."""
        return self._winner(*self._rush(rivals, mood), mood)

    def _winner(self, owners: Sequence[Racer], others: Sequence[Answer], mood: Mood) -> Racer:
        assert len(owners) == 1 or (owners and mood == "hasty"), (mood, owners, others)
        self._check_locked(others, {owner.pid for owner in owners})
        for former in owners[:-1]:  # it had no time to give a sign of life
            self.counts["overtaken"] += 1
            self._check_taken_over(former)
        assert owners[-1].ask("write").kind == ""
        return owners[-1]

    def _rush(self, rivals: Sequence[Racer], mood: Mood) -> tuple[list[Racer], list[Answer]]:
        """Have rivals try at once, and return who got the run, and what the others were told."""
        for rival in rivals:
            rival.tell(mood)
        answers = [(rival.answer(), rival) for rival in rivals]
        owners = sorted((told.epoch, told.found, place) for place, (told, _) in enumerate(answers) if told.epoch)
        for epoch, found, place in owners:
            assert epoch == len(self.pids) + 1, (owners, self.pids)
            self.pids.append(rivals[place].pid)
            self.found.append(found)
        return [rivals[place] for _, _, place in owners], [told for told, _ in answers if not told.epoch]

    def _check_locked(self, answers: Sequence[Answer], owners: set[int]) -> None:
        for told in answers:
            assert told.kind == "RunLocked", told
            assert any(told.owner.startswith(f"OS process {pid} on ") for pid in owners), (told, owners)
            self.slowest = max(self.slowest, told.seconds)
            self.counts["locked"] += 1

    def _check_taken_over(self, former: Racer) -> None:
        assert [former.ask("write").kind for _ in range(2)] == ["RunTakenOver"] * 2
        assert former.ask("release").kind == ""

    def _hand_over(self, owner: Racer) -> None:
        """Have the owner give the run free while others try to get it."""
        owner.tell("release")
        heirs, others = self._rush(self._some(owner), "patient")
        assert owner.answer().kind == ""
        assert len(heirs) <= 1, heirs
        self._check_locked(others, {one.pid for one in (owner, *heirs)})
        self.counts["handed over"] += len(heirs)
        self.counts["released"] += 1
        for heir in heirs:
            assert heir.ask("write").kind == ""
            self._release(heir)

    def _release(self, owner: Racer) -> None:
        self.counts["released"] += 1
        assert owner.ask("release").kind == ""

    def _kill(self, owner: Racer) -> None:
        self.counts["killed"] += 1
        self._racers.remove(owner)
        owner.end()
        self._racers.append(Racer(self._file, self._racers))

    def _stop(self, owner: Racer) -> None:
        owner.send(signal.SIGSTOP)
        os.waitpid(owner.pid, os.WUNTRACED)
        _, others = self._rush(self._some(owner), "patient")
        self._check_locked(others, {owner.pid})
        time.sleep(2 * LEASE)
        heirs, others = self._rush(self._some(owner), "hasty")
        if not heirs:
            # It was stopped while it was writing, and nobody else can write until it goes on.
            assert {told.kind for told in others} == {"JournalUnavailable"}, others
            self.counts["stopped while it wrote"] += 1
            owner.send(signal.SIGCONT)
            assert owner.ask("halt").kind == ""
            self._release(owner)
            return
        self.counts["stopped"] += 1
        heir = self._winner(heirs, others, "hasty")
        owner.send(signal.SIGCONT)
        assert owner.ask("halt").kind in {"", "RunTakenOver"}  # the first if it was not about to write
        self._check_taken_over(owner)
        assert heir.ask("write").kind == ""
        self._random.choice([self._release, self._kill])(heir)


def check(file: Path, pids: Sequence[int], found: Sequence[int]) -> int:
    """Return how many records there are, once it is checked who wrote them."""
    journal = SqliteJournal(file)
    assert [run.epoch for run in journal.runs()] == [len(pids)]
    records = journal.history(RUN)
    journal.close()
    epochs = [int(one.step.partition(".")[0]) for one in records]
    assert epochs == sorted(epochs), "an owner wrote after another one had the run"
    assert [one.payload for one in records] == [b"%d" % pids[epoch - 1] for epoch in epochs]
    for epoch, least in enumerate(found, 1):
        assert epochs[:least] == [one for one in epochs if one < epoch], f"epoch {epoch} did not find all, or others"
    counts = Counter(epochs)
    assert [one.step for one in records] == [f"{epoch}.{n}" for epoch in sorted(counts) for n in range(counts[epoch])]
    acknowledged = Path(f"{file}.acknowledged").read_text("ascii").split()
    assert {one.step for one in records} >= set(acknowledged), "what was acknowledged is gone"
    assert len(acknowledged) == len(set(acknowledged))
    return len(records)


def main(file: Path, rounds: int, seed: int) -> dict[str, float]:
    race = Race(file, Random(seed))
    number = 0
    try:
        for number in range(rounds):
            race.round(number)
    except BaseException as error:
        error.add_note(f"in round {number} of seed {seed}")
        raise
    finally:
        race.end()
    return {**race.counts, "records": check(file, race.pids, race.found), "slowest": race.slowest}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
