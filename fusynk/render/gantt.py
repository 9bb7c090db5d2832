"""The timeline of a run as HTML: a list of steps, each with its attempts as bars. It can be read without any style."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

from fusynk.render.bars import UNICODE, Axis, Bar, density, round_up, short_time
from fusynk.render.escape import for_terminal, for_xml
from fusynk.render.marks import Mark, marked
from fusynk.render.timeline import Row, Story
from fusynk.render.words import LONGEST_NAME, shortened

_CELLS = 80  # in which the items of a fan-out are counted
_MOST_BARS = 60  # in a row; more are drawn like the items of a fan-out
_TICKS = 6
_LAST_LABEL = 88  # per cent; what begins further right has no room
_UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6))
_LEAST_UNITS = 3  # of those longer than a second, so that an axis of two hours is labelled in minutes


def shown(text: str) -> str:
    """Return any string as text of HTML that a reader can take in."""
    return for_xml(shortened(for_terminal(text), LONGEST_NAME, UNICODE.rest))


def isolated(text: str) -> str:
    """Return a name as an element of HTML that keeps its direction of writing to itself."""
    return f"<bdi>{shown(text)}</bdi>"


def sign(mark: Mark) -> str:
    """Return the glyph of a state, which is read out as its word."""
    return f'<b class="sign" role="img" aria-label="{mark}">{marked("", mark).strip()}</b>'


class Gantt:
    """The rows of a run, on one axis.

    Args:
        story: What to tell.

    Attributes:
        style: What only this axis asks of the style sheet: the distance of its ticks.
        html: The axis, the rows and a legend.
    """

    def __init__(self, story: Story) -> None:
        begin, end = story.span
        self._axis = Axis(begin, end - begin, 100)  # so that positions are per cent
        ticks = list(_ticks(end - begin))
        distance = ticks[1][0] if len(ticks) > 1 else 200.0
        name = f"tick-{round(distance * 100)}"  # equal names have equal styles, wherever several runs are shown
        self.style = f".fusynk-run .{name} :is(.track,.remark){{background-size:{_per_cent(distance)} 100%}}\n"
        groups = [list(story.rows_of(step)) for step in story.shown]
        rows = [self._row(row, is_item=place > 0) for group in groups for place, row in enumerate(group)]
        legend = _legend([row for group in groups for row in group])
        above, below = f'<div class="{name}">{_scale(ticks)}\n<ol class="rows">', f"</ol>\n{legend}</div>"
        self.html = "\n".join([above, *rows, below])

    def _row(self, row: Row, *, is_item: bool) -> str:
        """Return the row of a step, or of what lies below a fan-out."""
        if row.mark is None:
            return f'<li class="item"><span class="name">{for_xml(row.name.strip())}</span></li>'
        bars = "".join(self._bars(row))
        kinds = [row.mark, *["item"] * is_item, *["critical"] * row.is_critical]
        parts = [
            f'<li class="{" ".join(kinds)}">{sign(row.mark)}',
            f'<span class="name">{isolated(row.name[2:] if is_item else row.name)}</span>',
            f'<span class="time">{short_time(row.seconds)}</span>' if row.seconds is not None else "",
            '<span class="aside">on the critical path</span>' if row.is_critical else "",
            f'<svg class="track bars" aria-hidden="true">{bars}</svg>' if bars else "",
            f'<span class="remark">{shown(row.remark)}</span>' if row.remark else "",
            "</li>",
        ]
        return "".join(parts)

    def _bars(self, row: Row) -> Iterator[str]:
        """Yield what is drawn on the track of a row."""
        if row.spans or len(row.bars) > _MOST_BARS:
            yield self._crowd(row.spans or [(bar.started, bar.ended) for bar in row.bars])
            return
        for former, later in pairwise(row.bars):
            yield f'<line x1="{self._place(former.ended)}" x2="{self._place(later.started)}" y1="12" y2="12"/>'
        for number, bar in enumerate(row.bars, 1):
            yield self._bar(number, bar)

    def _bar(self, number: int, bar: Bar) -> str:
        first, last = self._axis.position(bar.started), self._axis.position(bar.ended)
        kind = f' class="{bar.mark}"' if bar.mark else ""
        ended = f", {bar.mark}" if bar.mark else ""
        title = f"<title>attempt {number}: {short_time(bar.ended - bar.started)}{ended}</title>"
        drawn = f'<rect{kind} x="{_per_cent(first)}" width="{_per_cent(last - first)}" y="6" height="12">{title}</rect>'
        if bar.mark == "failed":
            drawn += f'<rect class="end" x="{_per_cent(last)}" y="3" width="3" height="18"/>'
        return drawn

    def _crowd(self, spans: Sequence[tuple[float, float]]) -> str:
        """Return how many bodies were at work when, as one shape."""
        levels = UNICODE.density
        cells = density(Axis(self._axis.begin, self._axis.seconds, _CELLS), spans, UNICODE)
        outline, place = f"M0 {len(levels)}", 0
        for char, same in groupby(cells):
            place += len(list(same))
            outline += f"V{len(levels) - 1 - levels.find(char) if char in levels else len(levels)}H{place}"
        box = f'viewBox="0 0 {_CELLS} {len(levels)}" preserveAspectRatio="none"'
        return f'<svg {box} y="4" width="100%" height="16"><path d="{outline}V{len(levels)}z"/></svg>'

    def _place(self, time: float) -> str:
        return _per_cent(self._axis.position(time))


def _per_cent(value: float) -> str:
    return f"{round(value, 2):g}%"


def _ticks(seconds: float) -> Iterator[tuple[float, str]]:
    """Yield round times: where they are on the axis, in per cent, and what they are called."""
    yield 0.0, "0"
    if seconds <= 0:
        return
    fits = (pair for pair in _UNITS if seconds >= pair[1] * (_LEAST_UNITS if pair[1] > 1 else 1))
    name, unit = next(fits, _UNITS[-1])
    step = round_up(seconds / unit / _TICKS)
    count = 1
    while count * step * unit <= seconds:
        yield count * step * unit / seconds * 100, f"{count * step:g} {name}"
        count += 1


def _scale(ticks: Sequence[tuple[float, str]]) -> str:
    labels = [f'<text x="{_per_cent(place)}" y="16">{text}</text>' for place, text in ticks if place <= _LAST_LABEL]
    return f'<div class="axis"><svg class="track" aria-hidden="true">{"".join(labels)}</svg></div>'


def _legend(rows: Sequence[Row]) -> str:
    """Explain the bars that are there and do not explain themselves."""
    bars = [bar for row in rows for bar in row.bars]
    entries = [
        (any(row.is_critical and row.bars for row in rows), "critical", "<rect/>", "critical path"),
        (any(row.bars and not row.is_critical for row in rows), "other", "<rect/>", "other steps"),
        (any(bar.mark == "failed" for bar in bars), "other", '<rect class="failed"/>', "failed attempt"),
        (any(bar.mark == "cancelled" for bar in bars), "other", '<rect class="cancelled"/>', "cancelled"),
        (any(len(row.bars) > 1 for row in rows), "other", '<line x2="24" y1="12" y2="12"/>', "until the next attempt"),
        (any(row.spans for row in rows), "other", '<path d="M0 18v-5h8v-6h8v3h8v8z"/>', "how many items at work"),
    ]
    samples = [
        f'<span class="{kind}"><svg class="sample bars" aria-hidden="true">{drawn}</svg> {meaning}</span>'
        for is_there, kind, drawn, meaning in entries
        if is_there
    ]
    return f'<p class="legend">{" ".join(samples)}</p>' if samples else ""
