"""Timelines: what a run looks like as text."""

import io
import re
import sys
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from fusynk import Graph, Run, compile_plan, layer
from fusynk.render.bars import ASCII, UNICODE, Axis, Bar, density, glyphs_for, painted, scale, short_time
from fusynk.render.escape import for_terminal
from fusynk.render.timeline import LEAST_BARS, Story, drawn
from fusynk.render.words import LONGEST_NAME, padded, shortened
from fusynk.testing import simulate
from tests.render_runs.plans import HOSTILE, CardDeclined, chain, films, named, shop, waiting

MARK = re.compile(r"^[✓✗↷⊘+x/-] ")
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def timeline_of(run: Run[Any], width: int = 80, *, ascii_only: bool = False) -> str:
    story = Story(run._records, run._ending, run.report.critical_path)
    return drawn(f"Run {run.id} {run.status}", story, width, ASCII if ascii_only else UNICODE)


def rows_of(text: str) -> list[str]:
    """The lines of steps and items; the scale is above, remarks and the legend are below."""
    return [line for line in text.splitlines() if MARK.match(line)]


def bars_of(text: str, name: str) -> str:
    """What stands to the right of a step's duration, from the edge of the axis on."""
    ruler = next(line for line in text.splitlines() if "├" in line or "|--" in line)
    edge = ruler.index("├" if "├" in ruler else "|")
    return next(row[edge:] for row in rows_of(text) if row[2:].lstrip().startswith(f"{name} "))


# What it looks like

SHOP = """\
Run simulation failed after 1.70 s: 6 steps, 3 succeeded, 1 failed, 2 cancelled
                            0              0.5 s           1.0 s          1.5 s
                            ├──────────────┬───────────────┬──────────────┬─────
✓ check_inventory    400 ms ████████████
✓ validate_customer  1.15 s ▒▒▒▒✗┄┄┄┄┄┄▒▒▒✗┄┄┄┄┄┄▒▒▒▒▒▒▒▒▒▒▒▒▒▒
⊘ audit              1.70 s ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒⊘
✓ reserve_inventory  950 ms             █████████████████████████████
✗ charge             350 ms                             CardDeclined ██████████✗
⊘ send_mail                 cancelled: charge failed
  validate_customer: after ConnectionError x2
  audit: cancelled: charge failed
  █ critical path   ▒ other steps   ┄ until the next attempt"""

CONTINUED = """\
Run simulation failed after 1.70 s: 6 steps, 4 succeeded, 1 failed, 1 skipped
                            0              0.5 s           1.0 s          1.5 s
                            |--------------+---------------+--------------+-----
+ check_inventory    400 ms ############
+ validate_customer  1.15 s ====x......===x......==============
+ audit              1.20 s =====================================
+ reserve_inventory  950 ms             #############################
x charge             350 ms                             CardDeclined ##########x
- send_mail                 skipped: charge failed
  validate_customer: after ConnectionError x2
  # critical path   = other steps   . until the next attempt"""

FILMS = """\
Run simulation failed after 2.48 s: 3 steps, 3 succeeded; 90 items, 87
succeeded, 3 failed
                   0                     1 s                  2 s
                   ├─────────────────────┬────────────────────┬─────────────────
✓ all_ids   500 ms ███████████
✓ fetch     1.68 s            █████████████████████████████████████▃
✗   fetch[3]"""


def test_five_steps_and_one_that_never_began() -> None:
    assert timeline_of(simulate(shop()).run) == SHOP


def test_the_same_for_a_terminal_without_box_characters() -> None:
    text = timeline_of(simulate(shop(on_error="continue")).run, ascii_only=True)

    assert text == CONTINUED
    assert text.isascii()


def test_an_empty_plan_has_a_timeline_of_one_line() -> None:
    assert timeline_of(simulate(compile_plan(Graph("empty"))).run) == "Run simulation succeeded after 0 s: no steps"


def test_a_run_that_took_no_time_has_a_bar_for_each_step() -> None:
    graph = Graph("instant")
    graph.add_layer(waiting(0), name="first")
    graph.add_layer(waiting(0), name="second", depends_on=["first"])

    text = timeline_of(simulate(compile_plan(graph)).run)

    assert bars_of(text, "first") == bars_of(text, "second") == "█"


# Attempts


def test_attempts_are_bars_of_their_own_with_the_waits_between_them() -> None:
    graph, calls = Graph("flaky"), list[int]()

    @graph.layer(retries=2, retry_delay=2)
    async def flaky() -> None:
        calls.append(1)
        await anyio.sleep(2)
        if len(calls) < 3:
            raise ConnectionError if len(calls) == 1 else TimeoutError

    text = timeline_of(simulate(compile_plan(flaky)).run, 16 + 50)

    assert bars_of(text, "flaky") == "█████████✗┄┄┄┄┄┄┄┄┄┄█████████✗┄┄┄┄┄┄┄┄┄┄██████████"
    assert "flaky: after ConnectionError, TimeoutError" in text


@pytest.mark.parametrize(
    ("on_error", "remark"), [("continue", "ValueError x3"), (repr, "recovered from ValueError x3")]
)
def test_the_errors_of_a_step_are_named_by_type_and_their_words_are_kept_back(on_error: Any, remark: str) -> None:
    graph = Graph("failing")
    graph.add_layer(waiting(1, ValueError("secret")), name="failing", retries=2, on_error=on_error)

    text = timeline_of(simulate(compile_plan(graph)).run)

    assert f"failing: {remark}" in text
    assert "secret" not in text


def test_a_step_that_waited_for_its_next_attempt_when_the_run_was_cut_short_says_both() -> None:
    graph = Graph("cut")
    graph.add_layer(waiting(1, ConnectionError()), name="flaky", retries=5, retry_delay=60)
    graph.add_layer(waiting(3, CardDeclined()), name="charge")

    text = timeline_of(simulate(compile_plan(graph)).run, 100)

    assert bars_of(text, "flaky").split("✗")[1].strip() == "ConnectionError, then cancelled: charge failed"


def test_what_was_undone_when_the_run_ended_early_says_so() -> None:
    graph = Graph("saga")

    async def undo(_artifact: object) -> None: ...

    graph.add_layer(waiting(1), name="reserve", compensate=undo)
    graph.add_layer(waiting(1, CardDeclined()), name="charge", depends_on=["reserve"])

    text = timeline_of(simulate(compile_plan(graph)).run)

    assert bars_of(text, "reserve").endswith("█ undone")


def test_the_reason_of_a_deadline_is_said() -> None:
    graph = Graph("late")
    graph.add_layer(waiting(10), name="slow")

    text = timeline_of(simulate(compile_plan(graph, deadline=2)).run)

    assert "slow: cancelled at the deadline" in text


# Fan-outs


def test_a_fan_out_is_a_row_of_how_many_were_at_work_with_its_failed_items_below() -> None:
    text = timeline_of(simulate(films(90)).run, 60)

    names = [row.split()[1] for row in rows_of(text)]
    assert names == ["all_ids", "fetch", "fetch[3]", "fetch[32]", "fetch[61]", "store"]
    assert set(bars_of(text, "fetch").strip()) <= set(UNICODE.density)
    assert "fetch: 90 items, 3 failed, 3 retried, on the critical path" in " ".join(text.split())
    assert "succeeded; 90 items, 87 succeeded, 3 failed" in " ".join(text.split())


def test_of_many_failed_items_five_have_rows() -> None:
    text = timeline_of(simulate(films(200, failing=4)).run)

    assert len([row for row in rows_of(text) if "fetch[" in row]) == 5
    assert "    and 45 more failed items\n" in text


def test_a_fan_out_of_nothing_has_a_row_without_a_bar() -> None:
    text = timeline_of(simulate(films(0)).run)

    assert bars_of(text, "fetch") == "0 items"


def test_density_is_as_high_as_there_are_bodies_at_work() -> None:
    axis = Axis(0.0, 10.0, 10)

    assert "".join(density(axis, [(0, 4), (1, 3), (2, 3), (2, 3), (8, 8)], UNICODE)) == "▂▄█▂    ▁ "


# Many steps


def test_of_many_steps_those_are_shown_that_failed_or_took_long_and_a_line_says_how_many_are_not() -> None:
    run = simulate(chain(10_000)).run

    text = timeline_of(run)

    rows = rows_of(text)
    assert len(rows) == 100
    assert {f"step_{number:05}" for number in range(0, 10_000, 1000)} <= {row.split()[1] for row in rows}
    assert "  and 9,900 more steps: 9,900 succeeded" in text.splitlines()


async def received(bad: object) -> object:
    return bad


def test_a_failure_among_thousands_of_steps_is_shown_and_what_never_ran_is_not() -> None:
    graph = Graph("wide")
    for number in range(2_000):
        graph.add_layer(waiting(1.0), name=f"wide_{number}")
    graph.add_layer(waiting(0.0, ValueError()), name="bad", on_error="continue")
    graph.add_layer(received, name="after", depends_on=["bad"])

    text = timeline_of(simulate(compile_plan(graph, concurrency=3_000)).run)

    names = [row.split()[1] for row in rows_of(text)]
    assert len(names) == 100
    assert "bad" in names
    assert "after" not in names
    assert "and 1,902 more steps: 1,901 succeeded, 1 skipped" in text


# Names


def test_every_name_makes_one_row_of_visible_characters() -> None:
    run = simulate(named(HOSTILE, type("Bad\nError", (Exception,), {})())).run

    for ascii_only in (False, True):
        text = timeline_of(run, 120, ascii_only=ascii_only)
        assert len(rows_of(text)) == len(HOSTILE), ascii_only
        assert all(line.replace("\u200e", "").isprintable() for line in text.split("\n")), ascii_only
        assert text.isascii() or not ascii_only
        text.encode()


def test_bars_begin_in_one_column_whatever_a_terminal_makes_of_the_names() -> None:
    text = timeline_of(simulate(named(HOSTILE)).run)

    columns = {
        cell_len(row[: row.index("█")]) - round(index * (index + 1) / 2 / 171 * LEAST_BARS)
        for index, row in enumerate(rows_of(text))
    }
    assert max(columns) - min(columns) <= 1


def test_a_name_of_ten_kilobytes_is_shortened_in_the_middle_and_a_long_one_is_not() -> None:
    long = "a_" * 75
    text = timeline_of(simulate(named((long, "x" * 10_240))).run)

    first, second = rows_of(text)
    assert first[2:].startswith(f"{long} ")
    assert second[2 : 2 + LONGEST_NAME].startswith("xxx")
    assert second[2 : 2 + LONGEST_NAME].count("…") == 1
    assert cell_len(second) <= 2 + LONGEST_NAME + 2 + 9 + 1 + LEAST_BARS


def test_what_follows_a_right_to_left_name_stays_to_its_right() -> None:
    assert padded("שלום", 6) == "שלום\u200e  "
    assert padded("plain", 6) == "plain "


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_shortened_text_fits_and_keeps_its_begin_and_its_end(text: str, width: int) -> None:
    shown = for_terminal(text)

    short = shortened(shown, width, "…")

    assert cell_len(short) <= max(width, 0)
    assert short == shown or "…" in short or not width


# Widths


@pytest.mark.parametrize("width", [1, 20, 48, 80, 133, 400])
def test_no_line_is_wider_than_asked_for_unless_names_leave_too_little_for_bars(width: int) -> None:
    for plan in (shop(), shop(on_error="continue"), films(90), films(300, failing=5)):
        run = simulate(plan).run
        text = timeline_of(run, width)
        names = max(len(row[:-LEAST_BARS].rstrip().rpartition("  ")[0]) for row in rows_of(timeline_of(run, 1)))
        least = names + 2 + 9 + 1 + LEAST_BARS
        assert max(map(cell_len, text.splitlines())) <= max(width, least), (width, text)


# The axis


@given(st.floats(1e-7, 1e7), st.integers(LEAST_BARS, 300))
def test_each_time_of_the_scale_stands_above_its_tick(seconds: float, cells: int) -> None:
    axis = Axis(5.0, seconds, cells)

    times, ruler = scale(axis, UNICODE)

    assert len(ruler) == cells
    assert ruler[0] == "├"
    assert set(ruler[1:]) <= {"─", "┬"}
    assert len(times) <= cells
    for found in re.finditer(r"([\d.]+) ([a-z]+)", times):
        cell = axis.position(5.0 + float(found[1]) * UNITS[found[2]])
        assert found.start() - 0.6 <= cell <= found.end(), (times, found[0], cell)
        assert "┬" in ruler[found.start() : found.end()]


def test_times_are_rounded_to_three_digits_and_never_to_a_thousand_of_a_unit() -> None:
    shown = {
        0: "0 s",
        9.4e-7: "0.94 us",
        9.996e-6: "10.0 us",
        9.9951e-4: "1.00 ms",
        0.5: "500 ms",
        0.9996: "1.00 s",
        9.996: "10.0 s",
        59.96: "1 m 00 s",
        3599.6: "1 h 00 m",
        86399: "23 h 59 m",
        1e6: "11 d 13 h",
    }

    assert {seconds: short_time(seconds) for seconds in shown} == shown


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0.001, 5), st.booleans()), min_size=1, max_size=6),
    st.integers(20, 90),
)
def test_a_bar_is_painted_where_its_attempt_was(parts: list[tuple[float, float, bool]], cells: int) -> None:
    bars, now = list[Bar](), 0.0
    for wait, work, fails in parts:
        bars.append(Bar(now + wait, now + wait + work, "failed" if fails else None))
        now = bars[-1].ended
    axis = Axis(0.0, now, cells)

    row = painted(axis, bars, "█", UNICODE)

    assert len(row) == cells
    for bar in bars:
        stretch = axis.stretch(bar.started, bar.ended)
        assert abs(stretch.start - axis.position(bar.started)) <= 1
        assert abs(stretch.stop - axis.position(bar.ended)) <= 1.5
        assert set(row[stretch.start : stretch.stop]) <= {"█", "✗"}
        assert bar.mark is None or "✗" in row[stretch.start : stretch.stop]
    first = axis.stretch(bars[0].started, bars[0].ended).start
    assert row[:first] == [" "] * first


# How it is asked for


@layer
async def step() -> None: ...


def test_a_run_draws_itself_for_the_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    run = compile_plan(step).run_sync()

    for encoding, sign in (("utf-8", "├─"), ("cp1252", "|-"), ("ascii", "|-"), ("no such encoding", "|-")):
        monkeypatch.setattr(sys, "stdout", type("Output", (io.StringIO,), {"encoding": encoding})())
        assert sign in run.timeline(), encoding
    monkeypatch.setattr(sys, "stdout", None)
    assert "├─" in run.timeline()


@pytest.mark.parametrize("columns", ["0", "1", "40", "not a number"])
def test_no_width_of_the_terminal_is_refused(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    assert "step" in compile_plan(step).run_sync().timeline()
    assert "step" in compile_plan(step).run_sync().timeline(0)


def test_an_encoding_has_all_characters_of_a_drawing_or_gets_the_plain_ones() -> None:
    assert glyphs_for("utf-8") is glyphs_for(None) is UNICODE
    assert glyphs_for("latin-1") is glyphs_for("cp437") is ASCII
    assert ASCII.every().isascii()
