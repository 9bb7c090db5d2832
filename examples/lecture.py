"""Gives a short lecture on projectile motion, and writes its notes: velocity, peak, flight, range.

    python examples/lecture.py --speed 50 --angle 30

Each section takes a moment to write. A section starts when the numbers it needs are there, so the peak's height is
written while the time of flight and the range are. Each reports a milestone, and whichever is done first is printed
first; the notes have the sections in their order, and appear when the lecture is over. A timeline ends it.
"""

import math
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from pathlib import Path

import anyio
from scripts import Parser, leave_with

from fusynk import AttemptRecord, Run, compile_plan, current_step, layer, milestone, use
from fusynk.events import MilestoneReached

FASTEST = 10_000.0  # m/s; above, the ground can no longer be called flat
GRAVITIES = 0.01, 1_000.0  # m/s2


class ImpossibleLaunch(ValueError):
    """Nothing flies under these conditions, or not as this lecture says."""


class Section(StrEnum):
    """The sections, in the order of the notes."""

    CONDITIONS = "Initial conditions"
    VELOCITY = "Velocity components"
    PEAK = "Time to the peak"
    HEIGHT = "Maximum height"
    FLIGHT = "Time of flight"
    RANGE = "Range"
    CONCLUSION = "Conclusion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lecture:
    """What a lecture is about, where its notes go, and how fast they are written.

    Attributes:
        speed: At the launch, in m/s.
        angle: Above the ground, in degrees.
        gravity: In m/s2.
        file: Where the notes appear when the lecture is over. Notes of a former one are replaced.
        writing_time: Seconds it takes to write a text.
    """

    speed: float = 50.0
    angle: float = 30.0
    gravity: float = 9.81
    file: Path = Path("lecture_notes.md")
    writing_time: Callable[[str], float] = lambda text: len(text) / 200


@dataclass(frozen=True, slots=True)
class Velocity:
    """A velocity by its components, in m/s."""

    horizontal: float
    vertical: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """What the lecture found out, in seconds and metres."""

    seconds: float
    height: float
    distance: float


class Notebook:
    """The notes while they are written: a draft beside the file that they will be.

    Args:
        file: The notes to be.
        draft: Where they are until then, in the same folder, because a file moves in one piece within one folder only.
        writing_time: Seconds it takes to write a text.
    """

    def __init__(self, file: Path, draft: Path, writing_time: Callable[[str], float]) -> None:
        self.file = file
        self.draft = draft
        self.writing_time = writing_time
        self.stream = draft.open("x", encoding="utf-8", newline="\n")
        self.stream.write("# Projectile motion\n")
        self.to_come = list(Section)
        self.reached: dict[Section, str] = {}

    async def write(self, section: Section, text: str) -> None:
        """Writes a section, which takes its time. It goes to the draft when those before it are there."""
        await anyio.sleep(self.writing_time(text))
        milestone(section, text=text)
        self.reached[section] = text
        while self.to_come and self.to_come[0] in self.reached:
            first = self.to_come.pop(0)
            self.stream.write(f"\n## {first}\n\n{self.reached.pop(first)}\n")

    def publish(self) -> None:
        """Closes the draft and moves it to its place: readers see the former notes or all of the new ones."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        self.draft.replace(self.file)

    def discard(self) -> None:
        """Removes the draft, if it is still there."""
        try:
            self.stream.close()  # which writes what is left, and may fail where the disk is full
        finally:
            self.draft.unlink(missing_ok=True)


# The plan. Every edge is a number that a section needs, so what is not connected overlaps by itself.
@layer
async def check_conditions(speed: float, angle: float, gravity: float) -> None:
    """Refuses what cannot be thrown. The notes wait for this, so a refused lecture touches no file."""
    if not 0 < angle < 90:  # noqa: PLR2004 - a right angle
        why = "it must leave the ground, and come down elsewhere"
        raise ImpossibleLaunch(f"the angle must lie between 0 and 90 degrees, not {angle:g}: {why}")
    if not 0 < speed <= FASTEST:
        raise ImpossibleLaunch(f"the speed must be above 0 and at most {FASTEST:,.0f} m/s, not {speed:g}")
    least, most = GRAVITIES
    if not least <= gravity <= most:
        raise ImpossibleLaunch(f"the gravity must be from {least:g} to {most:,.0f} m/s2, not {gravity:g}")


@layer(depends_on=check_conditions)
def open_notes(file: Path, writing_time: Callable[[str], float]) -> Generator[Notebook, BaseException | None]:
    """The notebook, open for as long as the lecture lasts. It yields, so it is a resource: the rest runs at the end."""
    draft = file.with_name(f".{file.name}.{current_step().run_id}.draft")
    notebook = Notebook(file, draft, writing_time)
    try:
        error = yield notebook
        if error is None:  # otherwise the lecture failed, or Ctrl-C ended it
            notebook.publish()
    finally:
        notebook.discard()


@layer
async def initial_conditions(speed: float, angle: float, gravity: float, notebook: Notebook = use(open_notes)) -> None:
    """Writes what is known at the launch."""
    text = f"It leaves the ground at v = {speed:g} m/s, a = {angle:g} degrees above it, where g = {gravity:g} m/s2."
    await notebook.write(Section.CONDITIONS, f"{text} Air and curvature are left out.")


@layer
async def velocity_components(speed: float, angle: float, notebook: Notebook = use(open_notes)) -> Velocity:
    """Splits the velocity into what carries and what lifts."""
    velocity = Velocity(speed * math.cos(math.radians(angle)), speed * math.sin(math.radians(angle)))
    text = f"Along the ground vx = v cos a = {velocity.horizontal:.2f} m/s, which stays as it is; upwards"
    await notebook.write(Section.VELOCITY, f"{text} vy = v sin a = {velocity.vertical:.2f} m/s, which gravity takes.")
    return velocity


@layer
async def time_to_peak(
    gravity: float, velocity: Velocity = use(velocity_components), notebook: Notebook = use(open_notes)
) -> float:
    """Returns the seconds until it rises no more."""
    seconds = velocity.vertical / gravity
    await notebook.write(Section.PEAK, f"Gravity has taken all of vy after t = vy / g = {seconds:.2f} s.")
    return seconds


@layer
async def maximum_height(
    gravity: float,
    velocity: Velocity = use(velocity_components),
    peak: float = use(time_to_peak),
    notebook: Notebook = use(open_notes),
) -> float:
    """Returns the height of the peak in metres."""
    height = velocity.vertical * peak - gravity * peak**2 / 2
    text = f"Without gravity it would be vy t up by then; it has fallen g t2 / 2 behind: H = {height:.2f} m."
    await notebook.write(Section.HEIGHT, text)
    return height


@layer
async def time_of_flight(peak: float = use(time_to_peak), notebook: Notebook = use(open_notes)) -> float:
    """Returns the seconds until it is back on the ground."""
    seconds = 2 * peak
    await notebook.write(Section.FLIGHT, f"It falls for as long as it rose: T = 2 t = {seconds:.2f} s.")
    return seconds


@layer
async def horizontal_range(
    velocity: Velocity = use(velocity_components),
    seconds: float = use(time_of_flight),
    notebook: Notebook = use(open_notes),
) -> float:
    """Returns how far away it lands, in metres."""
    distance = velocity.horizontal * seconds
    await notebook.write(Section.RANGE, f"All that time vx carries it on: R = vx T = {distance:.2f} m.")
    return distance


@layer(depends_on=initial_conditions)
async def conclusion(
    height: float = use(maximum_height),
    seconds: float = use(time_of_flight),
    distance: float = use(horizontal_range),
    notebook: Notebook = use(open_notes),
) -> Flight:
    """Sums up."""
    text = f"It rises {height:.2f} m and lands {distance:.2f} m away after {seconds:.2f} s."
    await notebook.write(Section.CONCLUSION, text)
    return Flight(seconds=seconds, height=height, distance=distance)


lecture = compile_plan(conclusion, inputs=Lecture)


async def give(subject: Lecture) -> Run[Flight]:
    """Gives a lecture, and prints each section when its milestone is reached."""
    async with lecture.start(subject) as handle:
        async for event in handle.events():
            if isinstance(event, MilestoneReached):
                print(f"{event.name}: {event.values['text']}", flush=True)  # a reader who has left ends the lecture
        return await handle.wait()


def overlapping(attempts: Sequence[AttemptRecord]) -> list[tuple[str, str]]:
    """Returns the pairs of steps that were at work at the same time, in order of start."""
    return [
        (one.step, other.step)
        for one, other in combinations(attempts, 2)
        if one.started < other.ended and other.started < one.ended
    ]


def command_line() -> Parser:
    """Returns the parser of the options."""
    usual = Lecture()
    parser = Parser(description="Give a short lecture on projectile motion, and write its notes.")
    parser.add_argument("--speed", type=float, default=usual.speed, help="m/s at the launch (default: %(default)s)")
    parser.add_argument("--angle", type=float, default=usual.angle, help="degrees above the ground (%(default)s)")
    parser.add_argument("--gravity", type=float, default=usual.gravity, help="m/s2 (default: %(default)s)")
    parser.add_argument("--notes", dest="file", type=Path, default=usual.file, help="the file (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    subject = Lecture(**vars(parser.parse_args(arguments)))
    try:
        run = anyio.run(give, subject)
    except ImpossibleLaunch as error:
        parser.error(str(error))
    except BrokenPipeError:  # of what is printed, not of the notes
        raise
    except OSError as error:
        parser.error(f"cannot write the notes {subject.file}: {error.strerror}")
    except KeyboardInterrupt:
        print("Interrupted: no notes were written.")
        raise
    print(f"\nThe notes are in {subject.file}.\n\n{run.timeline()}")
    print("\nAt the same time")
    for one, other in overlapping(run.attempts()):
        print(f"  {one} and {other}")
    print(f"\n{run.report}")
    return 0


if __name__ == "__main__":
    leave_with(main)
