"""The timeline of a run as text: a row for each step, its attempts as bars on one axis of time."""

import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rich.cells import cell_len

from fusynk._core.model import AttemptRecord, Ending, Status
from fusynk._core.records import Records
from fusynk.render.bars import Axis, Bar, Glyphs, bar_of, density, glyphs_for, is_written, painted, scale, short_time
from fusynk.render.escape import for_terminal
from fusynk.render.marks import Mark
from fusynk.render.states import ENDED
from fusynk.render.words import LONGEST_NAME, aftermath, counted, padded, remark, shortened, wrapped

LEAST_BARS = 20  # cells
_MOST_STEPS = 100
_MOST_ITEMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a timeline.

    Attributes:
        name: What stands before it, on one line.
        mark: How the step ended; `None` for a line that is no step.
        bars: Its attempts.
        spans: From when to when each item of a fan-out was at work; nothing for other steps.
        remark: What there is to say of it.
        is_critical: Whether it is on the critical path.
    """

    name: str
    mark: Mark | None = None
    bars: tuple[Bar, ...] = ()
    spans: tuple[tuple[float, float], ...] = ()
    remark: str = ""
    is_critical: bool = False

    @property
    def seconds(self) -> float | None:
        """From the begin of the first attempt to the end of the last, or `None` if there was none."""
        spans = self.spans or [(bar.started, bar.ended) for bar in self.bars]
        return max(ended for _, ended in spans) - min(started for started, _ in spans) if spans else None


class Story:
    """What a timeline tells of a run.

    Args:
        records: What happened.
        ending: How it ended.
        critical: The names of the steps on the critical path.
    """

    def __init__(self, records: Records, ending: Ending, critical: Collection[str]) -> None:
        self._records = records
        self._scheduler = records.scheduler
        self._ending = ending
        self._critical = frozenset(critical)
        self._order = records.scheduler.wiring.in_order(records.scheduler.discipline)
        self.attempts = {step: self._attempts_of(step) for step in self._order}

    def _attempts_of(self, step: int) -> list[AttemptRecord]:
        items = self._scheduler.items.get(step)
        if items is None:
            return self._records.attempts_of(step)
        return [attempt for item in items for attempt in self._records.attempts_of(item)]

    @cached_property
    def span(self) -> tuple[float, float]:
        """When the first body began, and when the last one ended."""
        every = [attempt for attempts in self.attempts.values() for attempt in attempts]
        begun, ended = (attempt.started for attempt in every), (attempt.ended for attempt in every)
        return min(begun, default=0.0), max(ended, default=0.0)

    @cached_property
    def shown(self) -> list[int]:
        """The steps that have rows: those that were called in order of start, then the others in plan order."""
        chosen: Sequence[int] = self._order
        if len(chosen) > _MOST_STEPS:
            chosen = sorted(chosen, key=self._interest, reverse=True)[:_MOST_STEPS]
        place = {step: position for position, step in enumerate(self._order)}
        return sorted(chosen, key=lambda step: (self._begin_of(step), place[step]))

    @cached_property
    def hidden(self) -> list[int]:
        """The steps that have none."""
        shown = set(self.shown)
        return [step for step in self._order if step not in shown]

    def _begin_of(self, step: int) -> float:
        return min((attempt.started for attempt in self.attempts[step]), default=float("inf"))

    def _interest(self, step: int) -> tuple[bool, bool, float]:
        """Order steps by how much there is to see: failures, then what was tried again, then what took long."""
        attempts = self.attempts[step]
        fails = self._scheduler.state[step] == Status.FAILED or any(self._failed_items(step))
        lasted = attempts[-1].ended - attempts[0].started if attempts else -1.0
        return fails, any(attempt.error is not None for attempt in attempts), lasted

    def _failed_items(self, step: int) -> Iterator[int]:
        return (item for item in self._scheduler.items.get(step, ()) if self._scheduler.state[item] == Status.FAILED)

    def rows_of(self, step: int) -> Iterator[Row]:
        """Yield the row of a step; a fan-out is followed by some of its failed items."""
        row = self._row_of(step)
        items = self._scheduler.items.get(step)
        if items is None:
            yield replace(row, is_critical=row.name in self._critical)
            return
        spans = tuple((attempt.started, attempt.ended) for attempt in self.attempts[step])
        said = [*self._said_of_items(step, items), *([row.remark] if row.remark else [])]
        yield replace(row, bars=(), spans=spans, remark=", ".join(said))
        failed = list(self._failed_items(step))
        for item in failed[:_MOST_ITEMS]:
            row = self._row_of(item)
            yield replace(row, name=f"  {row.name}")
        if len(failed) > _MOST_ITEMS:
            yield Row(name=f"  and {counted(len(failed) - _MOST_ITEMS, 'more failed item')}")

    def _row_of(self, index: int) -> Row:
        """Return the row of a step or an item, without what only a fan-out has."""
        name = self._scheduler.name_of(index)
        said = [remark(self._records, index, self._ending), *aftermath(self._ending, name)]
        bars = () if index in self._scheduler.items else tuple(map(bar_of, self._records.attempts_of(index)))
        mark = ENDED.get(self._scheduler.state[index])
        return Row(name=name, mark=mark, bars=bars, remark=", ".join(filter(None, said)))

    def _said_of_items(self, step: int, items: Sequence[int]) -> Iterator[str]:
        states = [self._scheduler.state[item] for item in items]
        yield counted(len(items), "item")
        for state, verb in ((Status.FAILED, "failed"), (Status.SKIPPED, "skipped"), (Status.CANCELLED, "cancelled")):
            if state in states:
                yield f"{states.count(state):,} {verb}"
        retried = sum(self._records.attempt_of(item) > 1 for item in items)
        if retried:
            yield f"{retried:,} retried"
        if self._scheduler.wiring.names[step] in self._critical:
            yield "on the critical path"

    def counts(self, indexes: Sequence[int]) -> str:
        """Say how so many steps or items ended."""
        states = [self._scheduler.state[index] for index in indexes]
        return ", ".join(f"{states.count(state):,} {mark}" for state, mark in ENDED.items() if state in states)

    @property
    def summary(self) -> str:
        """How the steps and items of the run ended."""
        items = range(self._scheduler.base, len(self._scheduler.state))
        groups = ((self._order, "step"), (items, "item"))
        said = [f"{counted(len(group), noun)}, {self.counts(group)}" for group, noun in groups if group]
        return "; ".join(said) or "no steps"

    @property
    def rest(self) -> str:
        """What is not shown, or nothing."""
        hidden = self.hidden
        return f"and {counted(len(hidden), 'more step')}: {self.counts(hidden)}" if hidden else ""


def timeline(
    records: Records, *, title: str, critical: Collection[str], ending: Ending, width: int | None = None
) -> str:
    """Draw a run for the standard output.

    Args:
        records: What happened.
        title: The first line, up to how long the run took.
        critical: The names of the steps on the critical path.
        ending: How the run ended.
        width: In cells; `None` for that of the terminal.
    """
    glyphs = glyphs_for(getattr(sys.stdout, "encoding", None))
    return drawn(title, Story(records, ending, critical), width or shutil.get_terminal_size().columns, glyphs)


def drawn(title: str, story: Story, width: int, glyphs: Glyphs) -> str:
    """Draw a run. No line is wider than asked for, unless names leave less than 20 cells for the bars.

    Args:
        title: The first line, up to how long the run took.
        story: What to tell.
        width: In cells.
        glyphs: What to draw with.
    """
    rows = [_printable(row, glyphs) for step in story.shown for row in story.rows_of(step)]
    sheet = _Sheet(rows, story.span, width, glyphs)
    begin, end = story.span
    width = max(width, sheet.width)
    above = wrapped(f"{title} after {short_time(end - begin)}: {story.summary}", width)
    below = [line for text in (*sheet.notes, story.rest) for line in wrapped(text, width, indent="  ")]
    return "\n".join([*above, *sheet.lines, *below, *wrapped(sheet.legend(), width, indent="  ", gap="   ")])


class _Sheet:
    """The rows of a timeline, drawn.

    Args:
        rows: What to draw.
        span: When the axis begins and ends.
        width: In cells, as far as names allow.
        glyphs: What to draw with.

    Attributes:
        width: How wide they are.
        notes: The remarks that have no room beside their bars.
        lines: The scale, and a line for each row.
    """

    def __init__(self, rows: Sequence[Row], span: tuple[float, float], width: int, glyphs: Glyphs) -> None:
        self._rows = rows
        self._glyphs = glyphs
        self._names = max((cell_len(row.name) for row in rows if row.mark is not None), default=0)
        self._times = max((len(_time_of(row)) for row in rows), default=0)
        left = len("x ") + self._names + len("  ") + self._times + len(" ")
        self._axis = Axis(span[0], span[1] - span[0], max(LEAST_BARS, width - left))
        self.width = left + self._axis.cells
        self.notes: list[str] = []
        self.lines = [(" " * left + line).rstrip() for line in scale(self._axis, glyphs)] if rows else []
        self.lines += map(self._line, rows)

    def _line(self, row: Row) -> str:
        """Return the line of a row; a remark for which it has no room is noted."""
        glyphs = self._glyphs
        fill = glyphs.critical if row.is_critical else glyphs.other
        cells = density(self._axis, row.spans, glyphs) if row.spans else painted(self._axis, row.bars, fill, glyphs)
        if row.remark and not is_written(cells, row.remark):
            self.notes.append(f"{row.name.strip()}: {row.remark}")
        mark = glyphs.marks[row.mark] if row.mark is not None else " "
        return f"{mark} {padded(row.name, self._names)}  {_time_of(row):>{self._times}} {''.join(cells)}".rstrip()

    def legend(self) -> str:
        """Explain the characters that are there and do not explain themselves."""
        glyphs, rows = self._glyphs, self._rows
        shown = [row for row in rows if row.bars]
        entries = [
            (any(row.is_critical for row in shown), glyphs.critical, "critical path"),
            (any(not row.is_critical for row in shown), glyphs.other, "other steps"),
            (any(len(row.bars) > 1 for row in shown), glyphs.waiting, "until the next attempt"),
            (any(row.spans for row in rows), f"{glyphs.density[0]}{glyphs.density[-1]}", "few to many items"),
        ]
        return "   ".join(f"{sign} {meaning}" for is_there, sign, meaning in entries if is_there)


def _time_of(row: Row) -> str:
    return "" if row.seconds is None else short_time(row.seconds)


def _printable(row: Row, glyphs: Glyphs) -> Row:
    in_ascii = glyphs.rest.isascii()
    name = shortened(for_terminal(row.name, ascii_only=in_ascii), LONGEST_NAME, glyphs.rest)
    return replace(row, name=name, remark=row.remark and for_terminal(row.remark, ascii_only=in_ascii))
