"""A finished run as HTML: a page that needs nothing else, and the part of it that notebooks show.

Neither holds a program or loads anything. Both say what every view says: names, types of errors and times, never values
or what errors say.
"""

import json
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import TypeAlias

from fusynk._core.model import AttemptRecord, Cancelled, Ending, Failed, Milestone, RunStatus, Skipped
from fusynk._core.records import Records
from fusynk._core.report import Report
from fusynk.render.bars import short_time
from fusynk.render.escape import for_json, for_xml
from fusynk.render.gantt import Gantt, isolated, shown
from fusynk.render.marks import Mark, marked
from fusynk.render.pictures import LONGEST_IN_BOX, States, as_svg, is_small
from fusynk.render.states import mark_of
from fusynk.render.styles import page_style, rows_style
from fusynk.render.timeline import Story
from fusynk.render.words import aftermath, counted

_MOST_LISTED = 100  # failures, milestones and steps in words
_MOST_EMBEDDED = 5_000  # of each kind of record
_MOST_NEEDS = 20  # dependencies of a step in words
_ENDS_OF_PATH = 6

Fact: TypeAlias = "str | int | float | Sequence[Fact] | Mapping[str, Fact] | None"


@dataclass(frozen=True)
class Account:
    """A finished run, as far as its page tells of it.

    Attributes:
        run_id: The run's id.
        parent_id: The id of the run in whose step this one was started, if there is one.
        records: What happened.
        ending: How it ended.
        report: Its figures.
        failures: What failed for good, by name.
    """

    run_id: str
    parent_id: str | None
    records: Records
    ending: Ending
    report: Report
    failures: Mapping[str, BaseException]

    @property
    def status(self) -> RunStatus:
        """How it ended, in a word."""
        return self.ending.status(has_failures=bool(self.failures))

    @cached_property
    def story(self) -> Story:
        """What its timeline tells."""
        return Story(self.records, self.ending, self.report.critical_path)


def page(account: Account) -> str:
    """Return a run as a page of its own.

    Args:
        account: The run.
    """
    gantt = Gantt(account.story)
    graph = _graph(account)
    style = page_style() + gantt.style
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, *_styles_in(graph))}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Run {shown(account.run_id)} {account.status}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            '<main class="fusynk-run">',
            *_header(account),
            *_section("Figures", _figures(account.report)),
            *_section("Failures", _failures(account)),
            *_section("Timeline", [gantt.html, *_note(account.story.rest)] if account.story.shown else []),
            *_section("Dependencies", graph),
            *_section("Milestones", _milestones(account)),
            "</main>",
            f'<script type="application/json" id="run">{_embedded(account)}</script>',
            "</body>",
            "</html>",
            "",
        ]
    )


def fragment(account: Account) -> str:
    """Return the timeline of a run as a part of somebody else's page, which it leaves as it is.

    Args:
        account: The run.
    """
    gantt = Gantt(account.story)
    lead = f"<p>{_glyph(account.status)} <b>Run <code>{isolated(account.run_id)}</code> {account.status}</b>"
    return "\n".join(
        [
            f"<style>{rows_style()}{gantt.style}</style>",
            '<div class="fusynk-run">',
            f"{lead} {_summary(account)}</p>",
            *([gantt.html] if account.story.shown else []),
            *_note(account.story.rest),
            "</div>",
            "",
        ]
    )


def _policy(*styles: str) -> str:
    """Return a content security policy that allows these styles and nothing else."""
    hashes = [f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" for style in styles]
    return f"default-src 'none'; style-src {' '.join(hashes)}; base-uri 'none'; form-action 'none'"


def _section(title: str, content: Sequence[str]) -> Iterator[str]:
    """Yield a part of the page, if there is anything in it."""
    if content:
        yield f'<section aria-label="{title}">'
        yield f"<h2>{title}</h2>"
        yield from content
        yield "</section>"


def _note(text: str) -> list[str]:
    return [f'<p class="note">{for_xml(text)}</p>'] if text else []


def _header(account: Account) -> Iterator[str]:
    badge = f'<span class="badge {account.status}">{_glyph(account.status)} {account.status}</span>'
    yield f"<header><h1>Run <code>{isolated(account.run_id)}</code> {badge}</h1>"
    yield f'<p class="lead">It ended {_summary(account)}.</p>'
    if account.ending.cause is not None:
        yield f'<p class="lead">It ended early because <code>{isolated(account.ending.cause)}</code> failed.</p>'
    if account.parent_id is not None:
        yield f'<p class="lead">A step of run <code>{isolated(account.parent_id)}</code> started it.</p>'
    yield "</header>"


def _glyph(status: RunStatus) -> str:
    return f'<span aria-hidden="true">{marked("", status).strip()}</span>'


def _summary(account: Account) -> str:
    begin, end = account.story.span
    return f"after {short_time(end - begin)}: {account.story.summary}"


def _figures(report: Report) -> list[str]:
    """Return the lines of the performance block as a list of terms, and the critical path."""
    block = str(replace(report, critical_path=()))  # whose names may hold anything, line breaks too
    lines = [line.strip().partition("  ") for line in block.splitlines()[1:-1]]
    terms = [f"<div><dt>{label}</dt><dd>{value.strip()}</dd></div>" for label, _, value in lines]
    path = list(map(isolated, report.critical_path))
    if len(path) > 2 * _ENDS_OF_PATH:
        left_out = len(path) - 2 * _ENDS_OF_PATH
        path[_ENDS_OF_PATH:-_ENDS_OF_PATH] = [f"({counted(left_out, 'more step')})"]
    return ["<dl>", *terms, "</dl>", *([f'<p class="path">Critical path: {" → ".join(path)}</p>'] if path else [])]


def _failures(account: Account) -> list[str]:
    """Return what failed: steps, items, and what came after them."""
    ending = account.ending
    skips = Counter(_causes_of_skips(account.records))
    said: list[tuple[str, str]] = []
    for name, error in account.failures.items():
        followed = f", {counted(skips[name], 'step')} skipped because of it" if name in skips else ""
        said.append((name, f"{_kind(error)}{followed}"))
    after = {**ending.compensation_failures, **ending.teardown_failures}
    for name in dict.fromkeys([*after, *ending.stuck, *ending.abandoned]):
        kind = f" ({_kind(after[name])})" if name in after else ""
        said.append((name, for_xml(", ".join(aftermath(ending, name))) + kind))
    said += [
        (name, f"a subscriber that raised {counted(count, 'time')}")
        for name, count in ending.subscriber_failures.items()
    ]
    entries = (f"<code>{isolated(name)}</code>: {text}" for name, text in said)
    return _list(entries, len(said), "failure", mark=' class="failed"')


def _causes_of_skips(records: Records) -> Iterator[str]:
    scheduler = records.scheduler
    for step in scheduler.wiring.steps():
        outcome = scheduler.outcome_of(step)
        if isinstance(outcome, Skipped):
            yield outcome.because


def _kind(error: BaseException) -> str:
    return f"<b>{isolated(type(error).__name__)}</b>"


def _list(entries: Iterator[str], total: int, noun: str, *, mark: str = "") -> list[str]:
    """Return the first of so many entries as a list that says how many it leaves out, or nothing if there are none."""
    shown = [f"<li{mark}>{entry}</li>" for entry in islice(entries, _MOST_LISTED)]
    left_out = f"and {counted(total - len(shown), f'more {noun}')}" if total > len(shown) else ""
    return ['<ol class="list">', *shown, "</ol>", *_note(left_out)] if shown else []


def _graph(account: Account) -> list[str]:
    """Return the dependency graph as a picture, and in words for those who do not see it."""
    wiring = account.records.scheduler.wiring
    names, sources = wiring.step_names(), wiring.dependencies()
    if not names:
        return []
    if is_small(wiring):
        states: States = {wiring.names[step]: _mark(account.records, step) for step in wiring.steps()}
        svg = as_svg(wiring, states, longest=LONGEST_IN_BOX)
        picture = [f'<div class="graph" role="region" aria-label="Dependency graph" tabindex="0">\n{svg}</div>']
    else:
        counts = f"{counted(len(names), 'step')} and {sum(map(len, sources)):,} dependencies"
        picture = _note(f"The graph is too large to be drawn here: it has {counts}. run.to_svg() draws it.")
    entries = (_needs(name, [names[source] for source in row]) for name, row in zip(names, sources, strict=True))
    return [*picture, "<details><summary>In words</summary>", *_list(entries, len(names), "step"), "</details>"]


def _mark(records: Records, index: int) -> Mark:
    """Return the state of a step or an item."""
    return mark_of(records.scheduler.state[index])


def _needs(name: str, sources: Sequence[str]) -> str:
    shown = list(map(isolated, sources[:_MOST_NEEDS]))
    left_out = [f"{len(sources) - len(shown):,} more"] if len(sources) > len(shown) else []
    return f"{isolated(name)} needs {', '.join([*shown, *left_out]) or 'nothing'}"


def _styles_in(graph: Sequence[str]) -> list[str]:
    """Return the contents of the style elements of a drawn graph. Names in it are escaped, so they have none."""
    return re.findall("<style>(.*?)</style>", "\n".join(graph), re.DOTALL)


def _milestones(account: Account) -> list[str]:
    begin, _ = account.story.span
    milestones = account.records.milestones
    entries = (
        f'<span class="time">{short_time(max(0.0, one.time - begin))}</span> '
        f"<code>{isolated(one.name)}</code> in {isolated(one.step)}"
        for one in milestones
    )
    return _list(entries, len(milestones), "milestone")


def _embedded(account: Account) -> str:
    """Return the run as JSON that no reader of HTML takes for the end of its element."""
    text = json.dumps(_facts(account), separators=(",", ":"), allow_nan=False)
    return text.translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&"})


def _facts(account: Account) -> dict[str, Fact]:
    """Return the run as facts. Steps are called by their places in `steps`; times are seconds from the first start."""
    report, records = account.report, account.records
    figures = {field.name: getattr(report, field.name) for field in fields(report)}
    wiring = records.scheduler.wiring
    steps, dependencies = wiring.steps()[:_MOST_EMBEDDED], wiring.dependencies()
    edges = [[source, place] for place, row in enumerate(dependencies) for source in row]
    begin, _ = account.story.span
    attempts = list(islice(_attempts(records, steps), _MOST_EMBEDDED))
    milestones = [_milestone(one, begin) for one in records.milestones[:_MOST_EMBEDDED]]
    left_out: dict[str, Fact] = {
        "steps": len(dependencies) - len(steps),
        "edges": max(0, len(edges) - _MOST_EMBEDDED),
        "attempts": report.attempts - len(attempts),
        "milestones": len(records.milestones) - len(milestones),
    }
    return {
        "run_id": for_json(account.run_id),
        "parent_id": account.parent_id and for_json(account.parent_id),
        "status": account.status,
        "cause": account.ending.cause and for_json(account.ending.cause),
        "report": {name: value for name, value in figures.items() if not isinstance(value, tuple | Mapping)},
        "steps": [_step(account, step) for step in steps],
        "edges": edges[:_MOST_EMBEDDED],
        "attempts": [owner | _attempt(one, begin) for owner, one in sorted(attempts, key=lambda pair: pair[1].started)],
        "milestones": milestones,
        "left_out": left_out,
    }


def _step(account: Account, step: int) -> dict[str, Fact]:
    scheduler = account.records.scheduler
    name = scheduler.wiring.names[step]
    facts: dict[str, Fact] = {"name": for_json(name), "state": _mark(account.records, step)}
    match scheduler.outcome_of(step):
        case Failed(error):
            facts["error"] = for_json(type(error).__name__)
        case Skipped(because, cause):
            facts |= {"because": for_json(because), "cause": cause}
        case Cancelled(by):
            facts["by"] = by
        case _:
            pass
    if step in scheduler.items:
        facts["items"] = Counter(_mark(account.records, item) for item in scheduler.items[step])
    return facts | {"slack": _seconds(account.report.slack[name])}


def _attempts(records: Records, steps: Sequence[int]) -> Iterator[tuple[dict[str, Fact], AttemptRecord]]:
    """Yield the attempts of steps and of their items, step by step, with what says whose they are."""
    for place, step in enumerate(steps):
        items = records.scheduler.items.get(step)
        for number, index in enumerate([step] if items is None else items):
            owner: dict[str, Fact] = {"step": place} if items is None else {"step": place, "item": number}
            for attempt in records.attempts_of(index):
                yield owner, attempt


def _attempt(attempt: AttemptRecord, begin: float) -> dict[str, Fact]:
    state = "failed" if attempt.error is not None else "cancelled" if attempt.cancelled else "succeeded"
    error: dict[str, Fact] = {} if attempt.error is None else {"error": for_json(type(attempt.error).__name__)}
    started, ended = _seconds(attempt.started - begin), _seconds(attempt.ended - begin)
    return {"number": attempt.number, "started": started, "ended": ended, "state": state, **error}


def _milestone(milestone: Milestone, begin: float) -> dict[str, Fact]:
    return {
        "step": for_json(milestone.step),
        "name": for_json(milestone.name),
        "time": _seconds(milestone.time - begin),
    }


def _seconds(seconds: float) -> float:
    return round(seconds, 9)
