"""The lecture: its numbers against other formulas, its order under any interleaving, its file however it ends."""

import math
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.examples.running import finish, imported, start

TITLES = [
    "Initial conditions",
    "Velocity components",
    "Time to the peak",
    "Maximum height",
    "Time of flight",
    "Range",
    "Conclusion",
]
STEPS = [
    "initial_conditions",
    "velocity_components",
    "time_to_peak",
    "maximum_height",
    "time_of_flight",
    "horizontal_range",
    "conclusion",
]
# Which sections a section needs. Nothing else may hold it up.
NEEDS = {
    "initial_conditions": [],
    "velocity_components": [],
    "time_to_peak": ["velocity_components"],
    "maximum_height": ["time_to_peak"],
    "time_of_flight": ["time_to_peak"],
    "horizontal_range": ["time_of_flight"],
    "conclusion": ["initial_conditions", "maximum_height", "horizontal_range"],
}
FORMER = "the notes of a former lecture\n"


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module."""
    with imported("lecture") as module:
        yield module


@dataclass
class Pen:
    """Writes each text in 0 to 3 seconds, as the salt says, and remembers how long each title took."""

    salt: int
    seconds: dict[str, int] = field(default_factory=dict[str, int])

    def __call__(self, text: str) -> float:
        return self.seconds.setdefault(text, Random(f"{self.salt}/{text}").randrange(4))


def titles_of(notes: Path) -> list[str]:
    return [line.removeprefix("## ") for line in notes.read_text("utf-8").splitlines() if line.startswith("## ")]


def at_once(text: str) -> float:
    return 0.0


def one_second(text: str) -> float:
    return 1.0


async def write_nothing(*arguments: object) -> None: ...


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


# As its user runs it


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """One lecture with the usual numbers, and its notes."""
    notes = tmp_path_factory.mktemp("lecture") / "notes.md"
    return finish(start("lecture.py", "--notes", notes)), notes


def test_the_script_prints_each_milestone_and_leaves_the_notes(
    shown: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, notes = shown
    assert (result.returncode, result.stderr) == (0, "")
    milestones = dict(line.split(": ", 1) for line in result.stdout.split("\n\n", maxsplit=1)[0].splitlines())
    assert sorted(milestones) == sorted(TITLES)
    sections = "".join(f"\n## {title}\n\n{milestones[title]}\n" for title in TITLES)
    assert notes.read_text("utf-8") == f"# Projectile motion\n{sections}"
    assert files_in(notes.parent) == [notes]
    assert f"The notes are in {notes}." in result.stdout


def test_the_usual_lecture_says_what_a_textbook_says(shown: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    notes = shown[1].read_text("utf-8")
    for number in ("50 m/s", "30 degrees", "9.81 m/s2", "43.30 m/s", "25.00 m/s", "2.55 s", "31.86 m", "5.10 s"):
        assert number in notes
    assert "It rises 31.86 m and lands 220.70 m away after 5.10 s." in notes


def test_the_script_shows_which_steps_overlapped(shown: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    result, _ = shown
    [timeline] = [part for part in result.stdout.split("\n\n") if ": 9 steps, 9 succeeded\n" in part]
    assert set(re.findall(r"^✓ (\w+)", timeline, re.MULTILINE)) == {"check_conditions", "open_notes", *STEPS}
    _, _, together = result.stdout.partition("\nAt the same time\n")
    pairs = {frozenset(line.strip().split(" and ")) for line in together.split("\n\n")[0].splitlines()}
    assert pairs >= {
        frozenset(["initial_conditions", "velocity_components"]),
        frozenset(["maximum_height", "time_of_flight"]),
    }
    assert frozenset(["time_of_flight", "horizontal_range"]) not in pairs
    assert "Critical path     check_conditions -> open_notes ->" in result.stdout


def test_ctrl_c_leaves_the_notes_of_the_former_lecture_and_nothing_else(tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text(FORMER, "utf-8")
    command = start("lecture.py", "--notes", notes)
    assert command.stdout is not None
    assert command.stdout.readline() != ""
    assert len(files_in(tmp_path)) == 2  # the draft lies beside them
    command.send_signal(signal.SIGINT)
    result = finish(command)
    assert (result.returncode, result.stderr) == (130, "")
    assert result.stdout.endswith("Interrupted: no notes were written.\n")
    assert files_in(tmp_path) == [notes]
    assert notes.read_text("utf-8") == FORMER


def test_a_killed_lecture_leaves_the_notes_of_the_former_one_as_they_were(tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text(FORMER, "utf-8")
    command = start("lecture.py", "--notes", notes)
    assert command.stdout is not None
    assert command.stdout.readline() != ""
    command.kill()
    finish(command)
    assert notes.read_text("utf-8") == FORMER


def test_a_reader_who_leaves_ends_the_lecture_without_a_word_and_without_notes(tmp_path: Path) -> None:
    command = start("lecture.py", "--notes", tmp_path / "notes.md")
    assert command.stdout is not None
    assert command.stdout.readline() != ""
    command.stdout.close()
    assert command.wait(timeout=60) == 1
    assert command.stderr is not None
    with command.stderr:
        assert command.stderr.read() == ""
    assert files_in(tmp_path) == []


# What its numbers are


@settings(max_examples=40)
@given(speed=st.floats(0.001, 10_000), angle=st.floats(0.001, 89.999), gravity=st.floats(0.01, 1_000))
def test_the_numbers_are_those_of_the_closed_forms(example: Any, speed: float, angle: float, gravity: float) -> None:
    with TemporaryDirectory() as folder:
        subject = example.Lecture(
            speed=speed, angle=angle, gravity=gravity, file=Path(folder, "notes.md"), writing_time=at_once
        )
        flight = simulate(example.lecture, subject).result
    slope = math.tan(math.radians(angle))
    distance = speed**2 / gravity * math.sin(2 * math.radians(angle))
    assert flight.distance == pytest.approx(distance, rel=1e-9)
    assert flight.height == pytest.approx(distance * slope / 4, rel=1e-9)  # the parabola's vertex
    assert flight.seconds == pytest.approx(math.sqrt(8 * flight.height / gravity), rel=1e-9)  # a fall, twice


REFUSED = [
    (["--angle", "0"], "the angle must lie between 0 and 90 degrees, not 0"),
    (["--angle", "90"], "the angle must lie between 0 and 90 degrees, not 90"),
    (["--angle", "200"], "the angle must lie between 0 and 90 degrees, not 200"),
    (["--angle", "nan"], "the angle must lie between 0 and 90 degrees, not nan"),
    (["--speed", "-5"], "the speed must be above 0 and at most 10,000 m/s, not -5"),
    (["--speed", "0"], "the speed must be above 0 and at most 10,000 m/s, not 0"),
    (["--speed", "inf"], "the speed must be above 0 and at most 10,000 m/s, not inf"),
    (["--gravity", "0"], "the gravity must be from 0.01 to 1,000 m/s2, not 0"),
    (["--gravity", "-9.81"], "the gravity must be from 0.01 to 1,000 m/s2, not -9.81"),
    (["--angle", "steep"], "argument --angle: invalid float value: 'steep'"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_what_cannot_be_thrown_is_refused_in_one_line_before_any_file_is_touched(
    example: Any, arguments: Sequence[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "nowhere" / "notes.md"  # touching it would be another error
    with pytest.raises(SystemExit) as left:
        example.main([*arguments, "--notes", str(notes)])
    printed = capsys.readouterr()
    assert (left.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert f"error: {message}" in printed.err


def test_a_refused_lecture_opens_no_notes_and_raises_what_the_check_raised(example: Any, tmp_path: Path) -> None:
    trace = simulate(example.lecture, example.Lecture(angle=90, file=tmp_path / "notes.md"))
    assert isinstance(trace.error, example.ImpossibleLaunch)
    assert [attempt.step for attempt in trace.run.attempts()] == ["check_conditions"]
    assert files_in(tmp_path) == []


def test_notes_that_cannot_be_written_are_an_error_of_one_line(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example.Notebook, "write", write_nothing)
    folder = tmp_path / "folder"
    folder.mkdir()
    for notes, why in ((tmp_path / "nowhere" / "notes.md", "No such file or directory"), (folder, "Is a directory")):
        with pytest.raises(SystemExit) as left:
            example.main(["--notes", str(notes)])
        assert left.value.code == 2
        assert f"error: cannot write the notes {notes}: {why}" in capsys.readouterr().err
    assert files_in(tmp_path) == [folder]


# In which order it goes


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=40)
@given(salt=st.integers(0, 2**32), tape=st.lists(st.integers(0, 7), max_size=40))
def test_whatever_the_interleaving_sections_overlap_and_the_notes_are_in_order(
    example: Any, backend: Backend, salt: int, tape: list[int]
) -> None:
    pen = Pen(salt)
    with TemporaryDirectory() as folder:
        notes = Path(folder, "notes.md")
        subject = example.Lecture(file=notes, writing_time=pen)
        trace = simulate(example.lecture, subject, tape=tape, backend=backend)
        assert trace.error is None, f"salt {salt}, tape {tape}"
        assert titles_of(notes) == TITLES
        assert files_in(Path(folder)) == [notes]

    milestones = {reached.name: str(reached.values["text"]) for reached in trace.run.milestones}
    ended: dict[str, float] = {}
    for step, title in zip(STEPS, TITLES, strict=True):
        ended[step] = max((ended[need] for need in NEEDS[step]), default=0) + pen.seconds[milestones[title]]
    reached = [ended[STEPS[TITLES.index(title)]] for title in milestones]
    assert reached == sorted(reached), "milestones are told as they are reached"
    assert trace.seconds == pytest.approx(ended["conclusion"])
    begun = trace.run.attempts()[0].started
    for attempt in trace.run.attempts():
        if attempt.step in NEEDS:  # it started when what it needs was there, and waited for nothing else
            needed = max((ended[need] for need in NEEDS[attempt.step]), default=0)
            assert attempt.started - begun == pytest.approx(needed), attempt.step


def test_sections_that_need_nothing_of_each_other_are_written_at_the_same_time(
    example: Any, backend: Backend, tmp_path: Path
) -> None:
    subject = example.Lecture(file=tmp_path / "notes.md", writing_time=one_second)
    trace = simulate(example.lecture, subject, backend=backend)
    assert trace.seconds == pytest.approx(5)  # seven sections of a second each
    assert example.overlapping(trace.run.attempts()) == [
        ("initial_conditions", "velocity_components"),
        ("maximum_height", "time_of_flight"),
    ]


# What it leaves behind


@pytest.mark.parametrize("failing", STEPS)
def test_a_lecture_that_fails_leaves_the_notes_of_the_former_one_and_no_draft(
    example: Any, backend: Backend, failing: str, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text(FORMER, "utf-8")
    plan = example.lecture.override(getattr(example, failing).raises(ArithmeticError("a slip of the chalk")))
    trace = simulate(plan, example.Lecture(file=notes), backend=backend)
    assert isinstance(trace.error, ArithmeticError)
    assert notes.read_text("utf-8") == FORMER
    assert files_in(tmp_path) == [notes]


async def test_two_lectures_at_once_into_one_file_leave_the_whole_notes_of_one(example: Any, tmp_path: Path) -> None:
    notes = tmp_path / "notes.md"
    async with anyio.create_task_group() as group:
        for angle in (30, 60):
            subject = example.Lecture(angle=angle, file=notes, writing_time=at_once)
            group.start_soon(example.lecture.run, subject)
    assert titles_of(notes) == TITLES
    assert ("a = 30" in notes.read_text("utf-8")) != ("a = 60" in notes.read_text("utf-8"))
    assert files_in(tmp_path) == [notes]


async def test_a_section_is_an_ordinary_function(example: Any, tmp_path: Path) -> None:
    notebook = example.Notebook(tmp_path / "notes.md", tmp_path / "draft", at_once)
    assert await example.time_of_flight(2.5, notebook) == 5
    notebook.discard()
    assert files_in(tmp_path) == []
