"""Bars on one axis of time, as rows of characters. What timelines and the live view draw with."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.cells import cell_len

from fusynk._core.model import AttemptRecord
from fusynk.render.marks import ASCII_GLYPHS, GLYPHS, Mark

_DECIMAL = (1, 2, 5, 10)
_CLOCK = (30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)  # round steps of clocks, in seconds
_DAY = 86400.0
_NEAR = 1e-9  # what floating point may lose
_BETWEEN_LABELS = 10  # cells, more than the longest label has


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The characters to draw with; each takes up one cell.

    Attributes:
        critical: A body at work, on the critical path.
        other: A body at work, elsewhere.
        waiting: The time between two attempts.
        density: Few items at work to many.
        ruler: The axis: its line, its start, a tick.
        rest: Something is left out.
        marks: How a step stands.
    """

    critical: str
    other: str
    waiting: str
    density: str
    ruler: str
    rest: str
    marks: Mapping[Mark, str]

    def every(self) -> str:
        """Return all of them, to ask whether an encoding has them."""
        marks = "".join(self.marks.values())
        return self.critical + self.other + self.waiting + self.density + self.ruler + self.rest + marks


UNICODE = Glyphs(critical="█", other="▒", waiting="┄", density="▁▂▃▄▅▆▇█", ruler="─├┬", rest="…", marks=GLYPHS)
ASCII = Glyphs(critical="#", other="=", waiting=".", density=".:-=+*%#", ruler="-|+", rest="...", marks=ASCII_GLYPHS)


def glyphs_for(encoding: str | None) -> Glyphs:
    """Return what to draw with where text leaves in this encoding.

    Args:
        encoding: Its name; `None` for text that is not encoded.
    """
    try:
        UNICODE.every().encode(encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


@dataclass(frozen=True, slots=True)
class Bar:
    """A body at work.

    Attributes:
        started: When it began.
        ended: When it ended, or now.
        mark: How it ended, where that is not by returning.
    """

    started: float
    ended: float
    mark: Mark | None = None


def bar_of(attempt: AttemptRecord) -> Bar:
    """Return an attempt that has ended as a bar."""
    mark: Mark | None = "failed" if attempt.error is not None else "cancelled" if attempt.cancelled else None
    return Bar(attempt.started, attempt.ended, mark)


@dataclass(frozen=True, slots=True)
class Axis:
    """A stretch of time on a row of cells.

    Attributes:
        begin: The time at the first cell's left edge.
        seconds: How long it is.
        cells: How wide.
    """

    begin: float
    seconds: float
    cells: int

    def position(self, time: float) -> float:
        """Return where a time is, in cells from the left edge."""
        if self.seconds <= 0:
            return 0.0
        return min(max(0.0, (time - self.begin) / self.seconds), 1.0) * self.cells

    def stretch(self, started: float, ended: float) -> range:
        """Return the cells of a stretch of time, at least one. What follows it begins in the next cell."""
        first = min(math.floor(self.position(started) + 0.5), self.cells - 1)
        return range(first, max(first + 1, math.floor(self.position(ended) + 0.5)))


def painted(axis: Axis, bars: Sequence[Bar], fill: str, glyphs: Glyphs) -> list[str]:
    """Return the cells of a row: its bars with the waits between them. How a bar ended is in its last cell.

    Args:
        axis: Where they are.
        bars: The attempts of one step, in order.
        fill: What a body at work looks like.
        glyphs: What to draw the rest with.
    """
    cells = [" "] * axis.cells
    for former, later in pairwise(bars):
        for cell in axis.stretch(former.ended, later.started):
            cells[cell] = glyphs.waiting
    stretches = [axis.stretch(bar.started, bar.ended) for bar in bars]
    for stretch in stretches:
        for cell in stretch:
            cells[cell] = fill
    for bar, stretch in zip(bars, stretches, strict=True):
        if bar.mark is not None:
            cells[stretch[-1]] = glyphs.marks[bar.mark]
    return cells


def density(axis: Axis, spans: Sequence[tuple[float, float]], glyphs: Glyphs) -> list[str]:
    """Return the cells of a row that shows how many bodies were at work when.

    Args:
        axis: Where they are.
        spans: From when to when each was.
        glyphs: What to draw with.
    """
    at_work = [0.0] * axis.cells
    whole = [0] * (axis.cells + 1)  # changes of how many fill a cell entirely
    for started, ended in spans:
        left, right = axis.position(started), axis.position(ended)
        first, last = min(int(left), axis.cells - 1), min(int(right), axis.cells - 1)
        at_work[first] += max(right - left, 1e-9) if first == last else first + 1 - left
        if last > first:
            at_work[last] += right - last
            whole[first + 1] += 1
            whole[last] -= 1
    alive = 0
    for cell in range(axis.cells):
        alive += whole[cell]
        at_work[cell] += alive
    most, levels = max(at_work, default=0.0), len(glyphs.density)
    return [glyphs.density[math.ceil(n / most * levels) - 1] if n > 0 else " " for n in at_work]


def is_written(cells: list[str], text: str) -> bool:
    """Write a text beside what is painted on a row, behind it or before it. Returns whether there was room.

    Args:
        cells: The row.
        text: One line without control characters.
    """
    width = cell_len(text)
    used = [cell for cell, character in enumerate(cells) if character != " "]
    begin = used[-1] + 2 if used else 0
    if begin + width > len(cells):
        begin = used[0] - 1 - width if used else -1
    if begin < 0:
        return False
    cells[begin : begin + width] = [text, *[""] * (width - 1)]
    return True


def scale(axis: Axis, glyphs: Glyphs) -> tuple[str, str]:
    """Return the two lines of a scale: times, and below them the ruler.

    Args:
        axis: What it is the scale of.
        glyphs: What to draw with.
    """
    times, ruler = [" "] * axis.cells, [glyphs.ruler[0]] * axis.cells
    for text, cell in _ticks(axis):
        ruler[cell] = glyphs.ruler[2]
        begin = min(cell, axis.cells - len(text))
        if set(times[max(0, begin - 1) : begin + len(text)]) <= {" "}:
            times[begin : begin + len(text)] = text
    ruler[0] = glyphs.ruler[1]
    return "".join(times).rstrip(), "".join(ruler)


def _ticks(axis: Axis) -> Iterator[tuple[str, int]]:
    """Yield round times with the cells in which they begin."""
    yield "0", 0
    if axis.seconds <= 0:
        return
    step = _round_step(axis.seconds / max(2, axis.cells // _BETWEEN_LABELS))
    unit, size = _unit_for(axis.seconds, step)
    decimals = max(0, -math.floor(math.log10(step / size) + _NEAR))
    for count in range(1, math.floor(axis.seconds / step + _NEAR) + 1):
        cell = math.floor(axis.position(axis.begin + count * step) + 0.5)
        if cell < axis.cells:
            yield f"{count * step / size:.{decimals}f} {unit}", cell


def _round_step(least: float) -> float:
    """Return the shortest round stretch of time that is as long as this, in seconds."""
    if _CLOCK[0] < least * 1.5 and least <= _CLOCK[-1]:
        return next(step for step in _CLOCK if step >= least)
    size = _DAY if least > _CLOCK[-1] else 1.0
    return round_up(least / size) * size


def _unit_for(seconds: float, step: float) -> tuple[str, float]:
    """Return the unit of the labels of an axis, and its seconds."""
    if seconds < 1:
        return ("us", 1e-6) if seconds < 1e-3 else ("ms", 1e-3)  # noqa: PLR2004 - a millisecond
    units = (("d", _DAY), ("h", 3600.0), ("min", 60.0))
    return next((unit for unit in units if step >= unit[1]), ("s", 1.0))


def round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 and so on, so that an axis that grows seldom changes its scale."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in _DECIMAL if factor * power >= value * (1 - _NEAR))


def short_time(seconds: float) -> str:
    """Return a duration in at most eight characters, with three digits: `950 us`, `1.50 s`, `2 min 05`."""
    for unit, size in (("us", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / size
        digits = 2 if value < 9.995 else 1 if value < 99.95 else 0  # noqa: PLR2004 - where a digit more would round up
        if value < (59.95 if unit == "s" else 999.5):
            return f"{value:.{digits}f} {unit}" if value else "0 s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes} m {rest:02} s"
    days, hours_left = divmod(hours, 24)
    return f"{days} d {hours_left:02} h" if days else f"{hours} h {minutes:02} m"
