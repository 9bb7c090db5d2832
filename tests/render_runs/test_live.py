"""The live view: what a reader sees of a run that goes on, and that nothing of it can hurt the run."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import anyio
import pytest
from anyio import create_task_group
from rich.cells import cell_len

from fusynk import Graph, Plan, compile_plan, milestone, use
from fusynk.errors import InvalidOption
from fusynk.events import AttemptStarted
from fusynk.render import live
from fusynk.render.bars import ASCII, UNICODE, Glyphs
from fusynk.render.board import Board
from fusynk.render.lines import Lines
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import heard, python, runner_of
from tests.render_runs.plans import HOSTILE, CardDeclined, chain, films, named, shop, waiting
from tests.render_runs.terminal import Terminal, stderr, terminal


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(autouse=True)
def _terminal_is_given_back() -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    yield
    assert (sys.stdout, sys.stderr) == streams
    assert live._terminal_in_use.acquire(blocking=False), "a view has kept the terminal"
    live._terminal_in_use.release()


def shown(plan: Plan[None, Any], *, backend: Backend = "asyncio", width: int = 80, height: int = 24) -> Terminal:
    """What a terminal shows after a run."""
    with terminal(width, height) as (screen, stream), stderr(stream):
        simulate(plan.options(progress=True), backend=backend)
    return screen


# Pictures


def pictures(
    plan: Plan[None, Any], *times: float, width: int = 80, height: int = 24, glyphs: Glyphs = UNICODE
) -> list[list[str]]:
    """What the board shows at these times."""

    async def watched() -> list[list[str]]:
        runner = runner_of(plan)
        board, begun, seen = Board(runner.records, glyphs), anyio.current_time(), list[list[str]]()
        async with create_task_group() as group:
            group.start_soon(runner.run)
            for time in times:
                await anyio.sleep_until(begun + time)
                board.look()
                lines = board.lines(anyio.current_time(), width, height)
                seen.append(["".join(part.text for part in line).rstrip() for line in lines])
            group.cancel_scope.cancel()
        return seen

    return run_virtual(watched)


SHOP_AT_WORK = """\
                               0                        0.5 s
                               ├────────────────────────┬───────────────────────
✓ check_inventory       400 ms ████████████████████
↻ validate_customer     600 ms ██████✗┄┄┄┄┄┄┄┄┄┄███████✗┄┄┄┄ ConnectionError x2
► audit                 600 ms █████████████████████████████
► reserve_inventory     200 ms                     █████████
► 1 of 6 steps after 600 ms: 2 running, 1 retrying"""


def test_a_picture_has_a_row_for_each_step_that_has_begun_and_counts_of_all() -> None:
    [picture] = pictures(shop(), 0.6)

    assert picture == SHOP_AT_WORK.splitlines()


def test_the_axis_grows_by_round_steps() -> None:
    graph = Graph("long")
    graph.add_layer(waiting(10_000), name="long")

    scales = [picture[0].split()[-2:] for picture in pictures(compile_plan(graph), 0.5, 3, 5, 200, 9_000)]

    assert scales == [["0.8", "s"], ["4", "s"], ["8", "s"], ["8", "min"], ["5", "h"]]


def test_a_fan_out_that_goes_on_counts_its_items() -> None:
    before, within, after = pictures(films(90), 0.4, 1.0, 2.3)

    assert [row.split()[1] for row in before[2:-1]] == ["all_ids"]
    [row] = [row for row in within if " fetch " in row]
    assert row.startswith("► fetch")
    assert "/90 items" in row
    [row] = [row for row in after if " fetch " in row]
    assert row.startswith("✓ fetch")
    assert row.endswith("90/90 items, 3 failed")
    assert [row.split()[1] for row in after if row.startswith("✗")] == ["fetch[3]", "fetch[32]", "fetch[61]"]


def test_what_has_no_room_is_counted() -> None:
    graph = Graph("many")
    for number in range(50):
        graph.add_layer(waiting(100), name=f"many_{number}")

    [picture] = pictures(compile_plan(graph, concurrency=40), 1, height=12)

    assert len(picture) == 11
    assert [row.split()[1] for row in picture[2:-2]] == [f"many_{number}" for number in range(7)]
    assert picture[-2:] == ["  and 33 more steps at work", "► 0 of 50 steps after 1.00 s: 40 running"]


def test_failures_stay_in_sight_of_thousands_of_steps_that_return() -> None:
    graph = Graph("much")
    graph.add_layer(waiting(0.1, CardDeclined()), name="bad", on_error="continue")
    for number in range(3_000):
        graph.add_layer(waiting(0.5), name=f"good_{number}")

    [picture] = pictures(compile_plan(graph, concurrency=10), 20.2)

    assert len(picture) == 23
    assert [row for row in picture if row.startswith("✗ bad")]
    assert picture[-1] == "► 401 of 3,001 steps after 20.2 s: 10 running, 1 failed"


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [1, 2, 7, 20, 30, 40, 59, 60, 61, 100, 200])
@pytest.mark.parametrize("height", [0, 1, 2, 7, 8, 24])
def test_every_picture_fits_its_terminal(width: int, height: int, glyphs: Glyphs) -> None:
    for plan in (shop(), films(30), named(HOSTILE)):
        for picture in pictures(plan, 0.2, 0.6, 1.5, 12, 60, width=width, height=height, glyphs=glyphs):
            assert max(map(cell_len, picture)) <= max(width, 2), picture
            assert len(picture) <= max(1, height - 1)
            assert all(line.replace("\u200e", "").isprintable() for line in picture)
            assert glyphs is UNICODE or "".join(picture).isascii()


def test_in_a_narrow_terminal_words_stand_for_bars() -> None:
    [picture] = pictures(shop(), 0.6, width=44)

    assert picture == [
        "✓ check_inv…tory     400 ms",
        "↻ validate_…omer     600 ms ConnectionError…",
        "► audit              600 ms",
        "► reserve_i…tory     200 ms",
        "► 1 of 6 steps after 600 ms: 2 running, 1 re",
    ]


# On a terminal


def test_the_last_picture_stays_with_how_the_run_ended(backend: Backend) -> None:
    screen = shown(shop(on_error="continue"), backend=backend)

    assert [line.split()[:2] for line in screen.everything[2:]] == [
        ["✓", "check_inventory"],
        ["✓", "validate_customer"],
        ["✓", "audit"],
        ["✓", "reserve_inventory"],
        ["✗", "charge"],
        ["✗", "6"],
    ]
    assert screen.everything[-1] == "✗ 6 steps in 1.70 s: 4 succeeded, 1 failed, 1 skipped"
    assert screen.cursor_is_shown


def test_a_run_that_was_over_before_the_first_picture_leaves_a_line() -> None:
    graph = Graph("quick")
    graph.add_layer(waiting(0.01), name="quick")

    assert shown(compile_plan(graph)).everything == ["✓ 1 step in 10.0 ms: 1 succeeded"]
    assert shown(compile_plan(Graph("empty"))).everything == ["✓ 0 steps in 0 s"]


def test_an_aborted_run_leaves_its_picture_too() -> None:
    screen = shown(shop())

    assert screen.everything[-1] == "✗ 6 steps in 1.70 s: 3 succeeded, 1 failed, 2 cancelled"
    assert screen.cursor_is_shown


@pytest.mark.parametrize("size", [(20, 24), (80, 4), (80, 1), (1, 1), (300, 60)])
def test_terminals_of_any_size_are_drawn_on(size: tuple[int, int]) -> None:
    screen = shown(films(40), width=size[0], height=size[1])

    assert screen.cursor_is_shown
    assert len(screen.everything) <= max(1, size[1] - 1)  # every picture fitted in
    assert screen.everything[-1] == "✗ 3 steps in 1.71 s: 3 succeeded; 2 of 40 items failed"[: size[0]].rstrip()


def test_pictures_replace_each_other_in_place() -> None:
    screen = shown(films(90))

    assert len([line for line in screen.everything if " all_ids " in line]) == 1


def test_names_cannot_steer_the_terminal() -> None:
    screen = shown(named(HOSTILE), width=120)

    assert [line for line in screen.everything if "\\x1b[31mred" in line]
    assert screen.everything[-1].startswith("✓ 18 steps")


@pytest.mark.parametrize(("variable", "coloured"), [("NO_COLOR", False), ("FORCE_COLOR", True), ("LANG", True)])
def test_colours_are_left_out_where_they_are_not_wanted(
    variable: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "1")

    assert ("32" in shown(films(10)).colours) is coloured


def test_a_terminal_that_knows_no_box_characters_gets_plain_ones() -> None:
    with terminal(encoding="ascii") as (screen, stream), stderr(stream):
        simulate(shop().options(progress=True))

    assert screen.received.isascii()
    assert screen.everything[-1].startswith("x 6 steps in")


# What bodies print


def printing(*texts: str, end: str = "\n") -> Plan[None, Any]:
    graph = Graph("printing")

    @graph.layer
    async def talk() -> None:
        for text in texts:
            await anyio.sleep(0.3)
            print(text, end=end)  # noqa: T201 - as bodies do
            print(f"error of {text}", file=sys.stderr)  # noqa: T201 - as bodies do

    return compile_plan(graph)


def test_what_is_printed_appears_above_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (screen, stream), stderr(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        simulate(printing("one", "two\nthree").options(progress=True))
        monkeypatch.undo()

    assert screen.everything[:5] == ["one", "error of one", "two", "three", "error of two"]
    assert len([line for line in screen.everything if " talk " in line]) == 1


def test_a_line_that_was_begun_and_not_ended_is_not_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal() as (screen, stream), stderr(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        graph = Graph("dots")

        @graph.layer
        async def dots() -> None:
            for _ in range(3):
                await anyio.sleep(0.5)
                print(".", end="", flush=True)  # noqa: T201 - as bodies do

        simulate(compile_plan(graph).options(progress=True))
        monkeypatch.undo()

    assert "".join(screen.everything).count(".") >= 3
    assert screen.everything[-1] == "✓ 1 step in 1.50 s: 1 succeeded"


def test_an_output_that_leads_elsewhere_gets_every_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    with terminal() as (screen, stream), stderr(stream):
        monkeypatch.setattr(sys, "stdout", output)
        simulate(printing("one", "two", end="|").options(progress=True))

    assert output.getvalue() == "one|two|"
    assert "one" not in [line for line in screen.everything if not line.startswith("error")]


def test_a_stream_that_somebody_else_has_replaced_meanwhile_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, graph = io.StringIO(), Graph("greedy")

    @graph.layer
    async def greedy() -> None:
        await anyio.sleep(1)
        sys.stdout = theirs

    with terminal() as (_, stream), stderr(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        graph.add_layer(waiting(2), name="slow")
        simulate(compile_plan(graph).options(progress=True))
        assert sys.stdout is theirs
        monkeypatch.undo()


def test_threads_may_print_while_the_picture_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("threads")

    def speak(number: int) -> Callable[[], None]:
        def body() -> None:
            for line in range(50):
                print(f"<{number} {line}>")  # noqa: T201 - as bodies do

        return body

    for number in range(4):
        graph.add_layer(speak(number), name=f"speak_{number}")
    with terminal() as (screen, stream), stderr(stream):
        monkeypatch.setattr(sys, "stdout", stream)
        compile_plan(graph, progress=True).run_sync()
        monkeypatch.undo()

    text = "".join(screen.everything)
    assert all(f"<{number} {line}>" in text for number in range(4) for line in range(50))


# Drawn by the clock


def test_a_step_that_does_nothing_for_long_is_seen_to_go_on(backend: Backend) -> None:
    graph = Graph("silent")
    graph.add_layer(waiting(3), name="silent")

    with terminal() as (screen, stream), stderr(stream):
        simulate(compile_plan(graph, progress=True), backend=backend)

    assert screen.received.count("0 of 1 step after") in (22, 23, 24)  # eight a second
    assert screen.everything[-1] == "✓ 1 step in 3.00 s: 1 succeeded"


# Elsewhere

SHOP_IN_LINES = """\
      0 s  run simulation: 6 steps
      0 s  check_inventory started
      0 s  validate_customer started
      0 s  audit started
   150 ms  validate_customer failed: ConnectionError; attempt 2 follows in 200 ms
   350 ms  validate_customer started, attempt 2
   400 ms  check_inventory succeeded after 400 ms
   400 ms  reserve_inventory started
   500 ms  validate_customer failed: ConnectionError; attempt 3 follows in 200 ms
   700 ms  validate_customer started, attempt 3
   1.15 s  validate_customer succeeded after 1.15 s
   1.35 s  reserve_inventory succeeded after 950 ms
   1.35 s  charge started
   1.70 s  charge failed after 350 ms: CardDeclined
   1.70 s  audit cancelled after 1.70 s
   1.70 s  run simulation failed: 3 succeeded, 1 failed, 2 cancelled
"""


def lines_of(plan: Plan[None, Any], *, backend: Backend = "asyncio") -> str:
    """What is written where there is no terminal."""
    written = io.StringIO()
    with stderr(written):
        simulate(plan.options(progress=True), backend=backend)
    return written.getvalue()


def test_off_a_terminal_each_change_is_a_line(backend: Backend) -> None:
    assert lines_of(shop(), backend=backend) == SHOP_IN_LINES


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_without_a_movable_cursor_gets_lines(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", kind)

    screen = shown(shop(), width=100)

    assert screen.everything == SHOP_IN_LINES.splitlines()
    assert "\x1b" not in screen.received


def test_forced_colours_do_not_make_a_file_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert lines_of(shop()) == SHOP_IN_LINES


def test_items_are_counted_and_those_that_fail_are_named() -> None:
    lines = [line[11:] for line in lines_of(films(40)).splitlines()]

    assert "fetch has 40 items" in lines
    assert [line for line in lines if "[" in line] == [
        "fetch[3] failed: HTTPError; attempt 2 follows in 100 ms",
        "fetch[32] failed: HTTPError; attempt 2 follows in 100 ms",
        "fetch[3] failed: HTTPError",
        "fetch[32] failed: HTTPError",
    ]
    assert [line for line in lines if "has done" in line] == [
        f"fetch has done {done} of 40 items" for done in range(4, 40, 4)
    ]


def test_lines_of_conditions_milestones_and_what_comes_after_a_failure() -> None:
    graph = Graph("rest")

    async def undo(_artifact: object) -> None: ...

    @graph.layer(compensate=undo)
    async def reserve() -> int:
        milestone("half", film="unsaid")
        return 1

    @graph.layer
    async def never(left: int = use(reserve, when=lambda left: left > 1)) -> None: ...

    @graph.layer(on_error=lambda _error: 5)
    async def recovering(left: int = use(reserve)) -> int:
        raise KeyError

    graph.add_layer(waiting(1, CardDeclined()), name="charge")

    lines = [line[11:] for line in lines_of(compile_plan(graph)).splitlines()]

    for line in (
        "reserve reached half",
        "never skipped: reserve did not meet a condition",
        "recovering succeeded after 0 s, recovered from KeyError",
        "reserve undone",
    ):
        assert line in lines
    assert "unsaid" not in "".join(lines)


def test_names_make_one_line_each_off_a_terminal() -> None:
    lines = lines_of(named(HOSTILE)).splitlines()

    assert len(lines) == 2 + 2 * len(HOSTILE)
    assert max(map(len, lines)) < 300


def test_a_file_of_any_encoding_takes_the_lines() -> None:
    for encoding in ("ascii", "cp1252", "utf-16"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict", write_through=True)
        with stderr(file):
            assert simulate(named(HOSTILE).options(progress=True)).error is None
        file.seek(0)
        assert "plain succeeded" in file.read()


def test_a_pipe_that_nobody_reads_holds_nothing_up() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream, stderr(stream):
        run = simulate(chain(3_000).options(progress=True)).run
        assert run.ok
    with os.fdopen(reading) as stream:
        lines = stream.read().splitlines()
    assert lines[0].endswith("run simulation: 3,000 steps")
    assert 100 < len(lines) < 6_000


def test_a_reader_that_comes_late_learns_how_many_lines_it_has_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    written, takes_more = io.StringIO(), list[bool]()

    def answer(_stream: TextIO) -> bool:
        return bool(takes_more)

    monkeypatch.setattr("fusynk.render.lines.takes_more", answer)
    lines = Lines(written)

    for number in range(1, 2_502):
        takes_more += [True] * (number > 2_500)
        lines.hear(AttemptStarted(number, 1.0, "run", f"step_{number}"))

    assert written.getvalue().splitlines()[:2] == [
        "      ...  1,501 lines of progress could not be written",
        "   1.00 s  step_1502 started",
    ]
    assert written.getvalue().endswith("step_2501 started\n")


# What can go wrong


def test_a_terminal_on_hold_holds_nothing_up() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream, stderr(stream):
        run = simulate(films(1000).options(progress=True)).run  # more than a pseudo terminal keeps for its reader
    sent = os.read(master, 1_000_000)
    os.close(master)

    assert run.report.succeeded == 3
    assert 1_000 < len(sent) < 30_000


class Broken(io.StringIO):
    """A stream that fails when it is written to."""

    def __init__(self, error: Exception, *, is_terminal: bool) -> None:
        super().__init__()
        self._error = error
        self._is_terminal = is_terminal
        self.writes = 0

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self.writes += 1
        raise self._error


@pytest.mark.parametrize(
    "error", [OSError(5, "input/output error"), BrokenPipeError(), ValueError("closed"), KeyError()]
)
@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_view_that_raises_is_dropped_with_one_warning(error: Exception, is_terminal: bool, backend: Backend) -> None:
    broken = Broken(error, is_terminal=is_terminal)
    with heard() as records, stderr(broken):
        trace = simulate(films(20).options(progress=True), backend=backend)

    assert trace.error is None
    assert [record["message"] for record in records] == [
        f"The progress view raised {type(error).__name__} and is dropped; the run goes on"
    ]
    assert trace.run.subscriber_failures == {}


def test_a_closed_or_missing_standard_error_shows_nothing() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed, object()):
        with heard() as records, stderr(stream):
            assert simulate(shop(on_error="continue").options(progress=True)).error is None
        assert len(records) == (stream is not None and stream is not closed)


def test_a_fault_of_the_view_s_own_does_not_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_keywords: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Board, "lines", fail)
    with heard() as records, terminal() as (screen, stream), stderr(stream):
        assert simulate(shop(on_error="continue").options(progress=True)).run.report.succeeded == 4
    assert len(records) == 1
    assert screen.cursor_is_shown

    monkeypatch.setattr(Lines, "_write", fail)
    with heard() as records:
        lines_of(shop())
    assert len(records) == 1


def test_a_console_that_cannot_be_made_does_not_keep_a_run_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("fusynk.render.screen.Screen.__init__", fail)
    with heard() as records, terminal() as (_, stream), stderr(stream):
        assert simulate(shop(on_error="continue").options(progress=True)).error is None
    assert len(records) == 1


def test_of_runs_at_the_same_time_one_is_drawn() -> None:
    async def both() -> None:
        async with create_task_group() as group:
            group.start_soon(films(60).options(progress=True).run)
            group.start_soon(shop(on_error="continue").options(progress=True).run)

    with terminal() as (screen, stream), stderr(stream):
        run_virtual(both)

    assert len([line for line in screen.everything if " all_ids " in line]) == 1
    assert [line for line in screen.everything if line == "✗ 3 steps in 1.95 s: 3 succeeded; 2 of 60 items failed"]


def test_a_run_that_is_cancelled_gives_the_terminal_back(backend: Backend) -> None:
    async def cancelled() -> None:
        with anyio.move_on_after(1):
            await shop().options(progress=True).run()

    with terminal() as (screen, stream), stderr(stream):
        run_virtual(cancelled, backend=backend)

    assert screen.cursor_is_shown
    assert screen.everything[-1] == "⊘ 6 steps in 1.00 s: 1 succeeded, 5 cancelled"


def test_rich_is_loaded_for_those_who_look_only() -> None:
    program = """
import sys
from fusynk import compile_plan, layer
@layer
async def step(): ...
run = compile_plan(step).run_sync()
str(run.report), run.to_trace()
print("rich" in sys.modules)
run.timeline()
print("rich.cells" in sys.modules, "rich.live" in sys.modules)
"""
    ended = python(program)

    assert (ended.stdout.split(), ended.stderr) == (["False", "True", "False"], "")


def test_an_interrupted_program_leaves_the_terminal_as_it_was() -> None:
    program = """
import anyio
from fusynk import compile_plan, layer
@layer
async def forever():
    while True:
        await anyio.sleep(0.05)
        milestone("on")
from fusynk import milestone
compile_plan(forever, progress=True).run_sync()
"""
    with terminal() as (screen, stream):
        process = subprocess.Popen([sys.executable, "-c", program], stderr=stream)
        screen.wait_for("forever")
        process.send_signal(2)
        assert process.wait(60) != 0
    assert screen.cursor_is_shown
    assert [line for line in screen.everything if line.startswith("⊘ 1 step in")]
    assert screen.everything[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("value", [1, "yes", None])
def test_progress_is_true_or_false(value: Any) -> None:
    with pytest.raises(InvalidOption, match="progress must be True or False"):
        shop().options(progress=value)
