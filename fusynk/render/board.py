"""The state of a run that goes on, as lines for a terminal: what the live view shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

from fusynk._core.model import Status
from fusynk._core.records import NEVER, Records
from fusynk.render.bars import Axis, Bar, Glyphs, bar_of, is_written, painted, round_up, scale, short_time
from fusynk.render.escape import for_terminal
from fusynk.render.marks import Mark
from fusynk.render.states import ENDED
from fusynk.render.words import counted, failures_of, kinds_of, padded, remark, shortened

Line = list[Segment]

_TIME = 9  # cells of a duration
_LEAST_FOR_BARS = 60  # cells of a line; narrower ones have words only
_LEAST_FOR_SCALE = 8  # lines
_MOST_ENDED = 200
_SHARE_OF_FAILED = 3  # of the lines
_OVER = Status.SUCCEEDED  # this status, or a later one
_PART_FOR_BARS = 0.65  # of the axis up to now; the rest is for what is said of them
_LEAST_REMARK = 6  # cells
_PLAIN, _FAINT = Style.null(), Style(dim=True)
_STYLES: dict[Mark, Style] = {
    "running": Style(color="cyan"),
    "retrying": Style(color="magenta"),
    "succeeded": Style(color="green"),
    "failed": Style(color="red", bold=True),
    "skipped": Style(color="yellow"),
    "cancelled": Style(color="yellow", dim=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """What a line says of a step."""

    index: int
    name: str
    mark: Mark
    since: float
    until: float
    bars: Sequence[Bar]
    remark: str


class Board:
    """What is to be seen of a run.

    Each look costs as much as there were attempts since the last one, and nothing while nobody looks.

    Args:
        records: What happens.
        glyphs: What to draw with.
    """

    def __init__(self, records: Records, glyphs: Glyphs) -> None:
        self._records = records
        self._scheduler = records.scheduler
        self._glyphs = glyphs
        self._seen = 0
        self._open: dict[int, None] = {}  # what has begun and not ended, in order of start
        self._ended: dict[int, None] = {}  # the last that did
        self._fan_outs: dict[int, float] = {}  # when they began
        self._names = 0
        self._total = len(records.scheduler.wiring.steps())

    def look(self) -> None:
        """Take in what has happened since the last time."""
        scheduler, state = self._scheduler, self._scheduler.state
        new = self._records.begun[self._seen :]
        self._seen += len(new)
        for step in [index for index in new if state[index] < _OVER and index < scheduler.base]:
            self._open[step] = None
        for step in scheduler.items:
            if state[step] < _OVER and step not in self._open:
                self._open[step] = None
        ended = [step for step in self._open if state[step] >= _OVER]
        for step in ended:
            del self._open[step]
        recent = [step for step in map(scheduler.step_of, new[-_MOST_ENDED:]) if state[step] >= _OVER]
        self._ended |= dict.fromkeys([*recent, *ended])
        for step in list(islice(self._ended, max(0, len(self._ended) - _MOST_ENDED))):
            del self._ended[step]

    def _since(self, step: int, now: float) -> float:
        """Return when a step began; a fan-out begins with its first item."""
        items, started = self._scheduler.items.get(step), self._records.started
        if items is not None:
            if step not in self._fan_outs:
                begun = [time for time in started[items.start : items.stop] if time != NEVER]
                if not begun:
                    return now
                self._fan_outs[step] = min(begun)
            return self._fan_outs[step]
        failed = self._records.failed.get(step)
        if failed:
            return failed[0].started
        return now if started[step] == NEVER else started[step]

    # Lines

    def lines(self, now: float, width: int, height: int, *, is_over: bool = False) -> list[Line]:
        """Return what to show.

        Args:
            now: The time.
            width: Of the terminal, in cells.
            height: Of the terminal, in lines.
            is_over: Whether the run has ended.
        """
        has_scale = width >= _LEAST_FOR_BARS and height >= _LEAST_FOR_SCALE
        room = max(0, height - (4 if has_scale else 2))
        rows, more = self._rows(now, room)
        self._names = max(self._names, *(cell_len(row.name) for row in rows), 0)
        names = min(self._names, max(width // 3, 8))
        left = 2 + names + 2 + _TIME + 1
        begun = self._since(self._records.begun[0], now) if self._records.begun else now
        passed = now - begun
        seconds = passed / _PART_FOR_BARS if is_over else round_up(max(1.0, passed / _PART_FOR_BARS))
        axis = Axis(begun, seconds, max(1, width - left))
        shown: list[Line] = []
        if has_scale and rows:
            shown += [[Segment(" " * left + text, _FAINT)] for text in scale(axis, self._glyphs)]
        if width >= _LEAST_FOR_BARS:
            shown += [self._drawn(row, names, axis) for row in rows]
        else:
            shown += [self._said(row, names, width) for row in rows]
        if more:
            shown.append([Segment(f"  and {counted(more, 'more step')} at work", _FAINT)])
        shown.append(self._summary(passed, width, is_over=is_over))
        return shown

    def _rows(self, now: float, room: int) -> tuple[list[_Row], int]:
        """Return the rows for which there is room, in order of start, and how many steps at work have none."""
        if room <= 0:
            return [], 0
        more = len(self._open) - room
        if more > 0:
            more, room = more + 1, room - 1
        chosen = list(islice(self._open, room))
        failed = (index for index in reversed(self._records.failed) if self._scheduler.state[index] == Status.FAILED)
        chosen += islice(failed, min(room - len(chosen), max(1, room // _SHARE_OF_FAILED)))
        known = set(chosen)
        chosen += islice((step for step in reversed(self._ended) if step not in known), room - len(chosen))
        rows = [self._row(step, now) for step in chosen]
        return sorted(rows, key=lambda row: (row.since, row.index)), max(0, more)

    def _row(self, step: int, now: float) -> _Row:
        state = self._scheduler.state[step]
        if step in self._scheduler.items:
            return self._fan_out(step, now)
        if state >= Status.SUCCEEDED:
            attempts = self._records.attempts_of(step)
            bars = list(map(bar_of, attempts))
            until = attempts[-1].ended if attempts else now
            return self._row_of(step, ENDED[state], until, bars, remark(self._records, step))
        return self._open_row(step, now)

    def _open_row(self, step: int, now: float) -> _Row:
        """Return the row of a step that is at work, or waits for its next attempt."""
        records = self._records
        failed = records.failed.get(step, [])
        bars = [Bar(one.started, one.ended, "failed") for one in failed]
        started, ended, attempt = records.started[step], records.ended[step], records.attempt_of(step)
        told = kinds_of(failures_of(failed))
        if started == NEVER and failed:
            return self._row_of(step, "retrying", now, bars, told)
        if started != NEVER and not (failed and failed[-1].number == attempt):
            bars.append(Bar(started, now if ended == NEVER else ended))
        return self._row_of(step, "running", now, bars, f"after {told}" if failed else "")

    def _fan_out(self, step: int, now: float) -> _Row:
        items = self._scheduler.items[step]
        states = self._scheduler.state[items.start : items.stop]
        failed = states.count(Status.FAILED)
        done = sum(states.count(state) for state in ENDED)
        said = f"{done:,}/{counted(len(items), 'item')}" + (f", {failed:,} failed" if failed else "")
        mark = ENDED.get(self._scheduler.state[step], "running")
        until = now if mark == "running" else max((self._records.ended[item] for item in items), default=now)
        return self._row_of(step, mark, until, [Bar(self._since(step, now), until)], said)

    def _row_of(self, step: int, mark: Mark, until: float, bars: Sequence[Bar], said: str) -> _Row:
        in_ascii = self._glyphs.rest.isascii()
        name = for_terminal(self._scheduler.name_of(step), ascii_only=in_ascii)
        said = said and for_terminal(said, ascii_only=in_ascii)
        return _Row(
            index=step,
            name=name,
            mark=mark,
            since=bars[0].started if bars else until,
            until=until,
            bars=bars,
            remark=said,
        )

    def _drawn(self, row: _Row, names: int, axis: Axis) -> Line:
        """Return a line with bars."""
        glyphs = self._glyphs
        cells = painted(axis, row.bars, glyphs.critical, glyphs)
        if row.mark == "retrying":
            for cell in axis.stretch(row.bars[-1].ended, row.until):
                cells[cell] = glyphs.waiting if cells[cell] == " " else cells[cell]
        if not is_written(cells, row.remark):
            room = next((n for n, cell in enumerate(reversed(cells)) if cell != " "), 0) - 1
            if room >= _LEAST_REMARK:
                is_written(cells, shortened(row.remark, room, glyphs.rest, keep_end=False))
        return [*self._head(row, names), Segment("".join(cells).rstrip(), _STYLES[row.mark])]

    def _said(self, row: _Row, names: int, width: int) -> Line:
        """Return a line of words."""
        head = self._head(row, names)
        room = width - sum(cell_len(part.text) for part in head)
        if room < 0:
            return [head[0], Segment(shortened(row.name, width - 2, self._glyphs.rest), _PLAIN)]
        said = shortened(row.remark, room, self._glyphs.rest, keep_end=False)
        return [*head, Segment(said, _STYLES[row.mark])]

    def _head(self, row: _Row, names: int) -> Line:
        name = padded(shortened(row.name, names, self._glyphs.rest), names)
        time = f"  {short_time(max(0.0, row.until - row.since)):>{_TIME}} "
        return [
            Segment(f"{self._glyphs.marks[row.mark]} ", _STYLES[row.mark]),
            Segment(name, _PLAIN),
            Segment(time, _FAINT),
        ]

    def _summary(self, passed: float, width: int, *, is_over: bool) -> Line:
        """Return the last line: how many there are of each kind."""
        mark: Mark = "running"
        counts = self._counts()
        if is_over:
            has_failed = Status.FAILED in self._scheduler.state
            mark = "failed" if has_failed else "cancelled" if counts["cancelled"] else "succeeded"
        text = self._said_at_end(counts, passed) if is_over else self._said_meanwhile(counts, passed)
        if cell_len(text) > width - 2:
            text = set_cell_size(text, max(0, width - 2)).rstrip()
        return [Segment(f"{self._glyphs.marks[mark]} ", _STYLES[mark]), Segment(text, _PLAIN)]

    def _counts(self) -> dict[Mark, int]:
        """Count the steps by how they stand; barriers are none."""
        wiring, state = self._scheduler.wiring, self._scheduler.state
        steps = state[: len(wiring.names)]
        counts: dict[Mark, int] = {mark: steps.count(status) for status, mark in ENDED.items()}
        for barrier in wiring.delays:
            if state[barrier] in ENDED:
                counts[ENDED[state[barrier]]] -= 1
        waiting = sum(self._waits(step) for step in self._open)
        return {**counts, "running": len(self._open) - waiting, "retrying": waiting}

    def _waits(self, step: int) -> bool:
        return step not in self._scheduler.items and self._records.started[step] == NEVER

    def _said_meanwhile(self, counts: dict[Mark, int], passed: float) -> str:
        ended = sum(counts[mark] for mark in ENDED.values())
        kinds: list[Mark] = ["running", "retrying", "failed", "skipped", "cancelled"]
        told = _kinds(counts, kinds)
        return f"{ended:,} of {counted(self._total, 'step')} after {short_time(passed)}" + (f": {told}" if told else "")

    def _said_at_end(self, counts: dict[Mark, int], passed: float) -> str:
        items = self._scheduler.state[self._scheduler.base :]
        failed = items.count(Status.FAILED)
        of_items = f"; {failed:,} of {counted(len(items), 'item')} failed" if failed else ""
        told = _kinds(counts, list(ENDED.values()))
        return f"{counted(self._total, 'step')} in {short_time(passed)}" + (f": {told}" if told else "") + of_items


def _kinds(counts: dict[Mark, int], kinds: Sequence[Mark]) -> str:
    return ", ".join(f"{counts[kind]:,} {kind}" for kind in kinds if counts[kind])
