"""The dashboard of a manager in the terminal: a row for each unit, as text or live."""

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import compress
from math import ceil
from typing import TextIO, cast

import anyio
from loguru import logger
from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fusynk.manager.entry import UnitState
from fusynk.manager.snapshot import Snapshot
from fusynk.render.bars import ASCII, glyphs_for, short_time
from fusynk.render.escape import for_terminal
from fusynk.render.screen import Screen
from fusynk.render.streams import is_terminal
from fusynk.render.words import counted, shortened

BETWEEN_PICTURES = 0.25  # seconds
_LONGEST_NAME = 48  # cells
_MEBIBYTE = 2**20
_MARKS = {"idle": "○", "running": "►", "paused": "‖", "completed": "✓", "error": "✗"}
_ASCII_MARKS = {"idle": "o", "running": ">", "paused": "=", "completed": "+", "error": "x"}
_COLOURS = {"idle": "", "running": "blue", "paused": "yellow", "completed": "green", "error": "red"}
# The columns, and from which width on they are there.
_COLUMNS = {"unit": 0, "status": 0, "next run": 50, "last run": 80, "runs": 60, "failed": 60, "last milestone": 110}


def dashboard(snapshot: Snapshot, *, width: int | None = None, height: int | None = None) -> str:
    """Return the dashboard of a manager as text, without colours.

    Args:
        snapshot: What the manager is like.
        width: In cells; left out, that of the terminal.
        height: In lines; units that have no room are counted. Left out, as many as it takes.
    """
    width = shutil.get_terminal_size().columns if width is None else width
    in_ascii = glyphs_for(getattr(sys.stdout, "encoding", None)) is ASCII
    lines = lines_of(snapshot, width, height, in_ascii=in_ascii)
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def lines_of(snapshot: Snapshot, width: int, height: int | None, *, in_ascii: bool) -> list[list[Segment]]:
    """Return the dashboard as lines of styled text.

    Args:
        snapshot: What the manager is like.
        width: In cells.
        height: In lines, or `None` for as many as it takes.
        in_ascii: Whether to keep to ASCII.
    """
    console = Console(file=io.StringIO(), width=max(width, 20), color_system="standard", legacy_windows=False)
    states = list(snapshot.units.values())
    room = len(states) if height is None else max(0, height - 4)
    if len(states) > room:
        states = sorted(states, key=_interest)[: max(0, room - 1)]
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    shown = [least <= console.width for least in _COLUMNS.values()]
    for column in compress(_COLUMNS, shown):
        right = column in {"runs", "failed"}
        table.add_column(column, no_wrap=True, min_width=len(column), justify="right" if right else "left")
    for state in states:
        table.add_row(*compress(_cells(state, snapshot.time, in_ascii=in_ascii), shown))
    parts: list[Text | Table] = [Text(_headline(snapshot), style="bold"), Text("")]
    parts += [table] if snapshot.units else [Text("No unit is registered.")]
    if len(states) < len(snapshot.units):
        parts.append(Text(f"... and {counted(len(snapshot.units) - len(states), 'more unit')}"))
    return [line for part in parts for line in console.render_lines(part, pad=False)]


def _interest(state: UnitState) -> int:
    """Put first what there is to look at; the rest keeps its order."""
    return ("error", "running", "paused", "completed", "idle").index(state.status)


def _headline(snapshot: Snapshot) -> str:
    stats = snapshot.stats
    kinds = ", ".join(f"{count} {status}" for status, count in stats.by_status.items() if count)
    parts = [
        f"up {short_time(stats.uptime)}" if snapshot.is_running else "not started",
        counted(stats.units, "unit") + (f": {kinds}" if kinds else ""),
        counted(stats.runs, "run") + (f", {stats.failures} failed" if stats.failures else ""),
    ]
    parts += [f"CPU {ceil(stats.cpu * 100)} %"] if stats.cpu is not None else []
    parts += [f"{stats.memory / _MEBIBYTE:.0f} MiB"] if stats.memory is not None else []
    return " | ".join(parts)


def _cells(state: UnitState, now: float, *, in_ascii: bool) -> Iterator[Text]:
    mark = (_ASCII_MARKS if in_ascii else _MARKS)[state.status]
    name = shortened(for_terminal(state.name, ascii_only=in_ascii), _LONGEST_NAME, "...")
    yield Text(f"{mark} {name}", style=_COLOURS[state.status])
    yield Text(_status(state), style=_COLOURS[state.status])
    yield Text(_next(state, now))
    yield Text(_last(state, now))
    yield Text(f"{state.runs:,}")
    yield Text(f"{state.failures:,}" if state.failures else "", style="red")
    milestone = "" if state.last_milestone is None else for_terminal(state.last_milestone, ascii_only=in_ascii)
    yield Text(shortened(milestone, _LONGEST_NAME, "..."))


def _status(state: UnitState) -> str:
    if not state.enabled:
        return "disabled" if state.status != "running" else "running, disabled"
    if state.status == "running":
        then = ", then paused" if state.is_pausing else ""
        return f"running {short_time(state.running_for or 0.0)}{then}"
    if state.status == "error" and state.last_error is not None:
        return f"error: {shortened(for_terminal(state.last_error), _LONGEST_NAME, '...')}"
    return state.status


def _next(state: UnitState, now: float) -> str:
    if state.next_run is None:
        return ""
    return f"in {short_time(state.next_run - now)}" if state.next_run > now else "now"


def _last(state: UnitState, now: float) -> str:
    if state.last_ended is None or state.last_duration is None:
        return ""
    return f"{short_time(max(0.0, now - state.last_ended))} ago, took {short_time(state.last_duration)}"


async def show_dashboard(take: Callable[[], Snapshot]) -> None:
    """Draw a manager at the end of the terminal that the standard error leads to, until this is cancelled.

    What fails here ends the dashboard with a warning. Where there is no terminal, nothing is drawn.

    Args:
        take: Returns what the manager is like.
    """
    stream = cast("TextIO | None", sys.stderr)
    if stream is None or not is_terminal(stream):
        return
    screen = Screen(stream)
    in_ascii = glyphs_for(getattr(stream, "encoding", None)) is ASCII
    try:
        while True:
            width, height = screen.size
            screen.draw(lines_of(take(), width, height - 1, in_ascii=in_ascii))
            await anyio.sleep(BETWEEN_PICTURES)
    except Exception as error:  # noqa: BLE001 - a view must not hurt what it shows
        with suppress(Exception):
            logger.warning("The dashboard raised {} and is dropped; the manager goes on", type(error).__name__)
    finally:
        with suppress(Exception):
            width, _ = screen.size
            screen.close(lines_of(take(), width, None, in_ascii=in_ascii))
