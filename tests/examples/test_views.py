"""The views: each of them is there, tells the order's story, and needs neither a terminal nor OpenTelemetry's SDK."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
import pytest
from loguru import logger

from fusynk import Run, Skipped, telemetry
from fusynk.events import AnyEvent
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.examples.running import finish, imported, start
from tests.render_runs.terminal import terminal

STEPS = {
    "check_inventory",
    "find_customer",
    "nearby_carriers",
    "ask_carrier",
    "choose_offer",
    "charge",
    "wants_wrapping",
    "wrap_gift",
    "send_receipt",
    "ship",
}
CALLS = [
    "plan.explain()",
    "plan.draw()",
    "plan.options(progress=True)",
    "plan.options(subscribers=[keep])",
    "fusynk.logging.enable()",
    "fusynk.telemetry.capture()",
    "run.draw()",
    "run.timeline()",
    "run.milestones",
    "run.report",
]
FILES = [
    "events.jsonl",
    "plan.dot",
    "plan.mmd",
    "plan.svg",
    "run.html",
    "run.log",
    "run.mmd",
    "run.svg",
    "run.trace.json",
]
MEASURED = re.compile(r"^ *(Peak memory|CPU time) .*\n", re.MULTILINE)


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module."""
    with imported("views") as module:
        yield module


def views(printed: str) -> dict[str, str]:
    """What was printed, by the call that made it."""
    parts = re.split(r"^## (.*)\n\n", printed.rpartition("\n\n")[0] + "\n", flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def virtual(backend: Backend) -> Callable[[Any, Any], Run[str]]:
    """How an order is served in virtual time."""
    return lambda plan, order: simulate(plan, order, backend=backend).run


@pytest.fixture
def shown(example: Any, backend: Backend, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """All views of one order; the files are in the folder of the test."""
    example.show_plan(example.checkout, tmp_path)
    example.show_run(example.serve(example.ORDER, tmp_path, virtual(backend)), tmp_path)
    return views(capsys.readouterr().out + "\n\n")


# As its user runs it


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The script with colours unwanted, in virtual time, without a terminal."""
    folder = tmp_path_factory.mktemp("views") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        return finish(start("views.py", "--simulate", folder)), folder


def test_the_script_prints_each_view_and_writes_the_others(
    script: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, folder = script
    assert result.returncode == 0, result.stderr
    assert list(views(result.stdout)) == CALLS
    assert sorted(file.name for file in folder.iterdir()) == FILES
    ending = "\n".join([f"\nteapot, by bicycle left the house. In {folder}:", *(f"  {name}" for name in FILES), ""])
    assert result.stdout.endswith(ending)


def test_without_a_terminal_progress_is_lines_on_the_standard_error_and_nothing_is_coloured(
    script: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, _ = script
    lines = result.stderr.splitlines()
    assert lines[0] == "      0 s  run simulation: 10 steps"
    assert "   150 ms  find_customer failed: ConnectionResetError; attempt 2 follows in 200 ms" in lines
    assert lines[-1] == "   1.40 s  run simulation failed: 8 succeeded, 1 failed, 1 skipped"
    assert "\x1b" not in result.stdout + result.stderr


def test_in_virtual_time_the_script_prints_the_same_every_time(
    script: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    result, folder = script
    again = finish(start("views.py", "--simulate", folder))  # over the files of the first time
    assert MEASURED.sub("", again.stdout) == MEASURED.sub("", result.stdout)
    assert again.stderr == result.stderr


def test_in_real_time_the_same_views_are_in_a_directory_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    result = finish(start("views.py"))
    [folder] = tmp_path.iterdir()
    assert result.returncode == 0, result.stderr
    assert list(views(result.stdout)) == CALLS
    assert f"In {folder}:\n" in result.stdout
    assert sorted(file.name for file in folder.iterdir()) == FILES


def test_an_output_that_knows_ascii_only_gets_all_views_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    result = finish(start("views.py", "--simulate", tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout.isascii()
    assert "| send_receipt" in views(result.stdout)["plan.draw()"]


def test_a_directory_that_cannot_be_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    result = finish(start("views.py", tmp_path / "file" / "views"))
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert f"error: cannot write {tmp_path}/file/views: Not a directory" in result.stderr


def test_ctrl_c_ends_it_without_a_traceback(tmp_path: Path) -> None:
    command = start("views.py", tmp_path)
    assert command.stderr is not None
    assert command.stderr.readline().endswith(": 10 steps\n")
    command.send_signal(signal.SIGINT)
    result = finish(command)
    assert result.returncode == 130
    assert "Traceback" not in result.stderr


def test_a_reader_who_leaves_ends_it_without_a_word(tmp_path: Path) -> None:
    command = start("views.py", tmp_path)
    assert command.stdout is not None
    command.stdout.close()
    assert command.wait(timeout=60) == 1
    assert command.stderr is not None
    with command.stderr:
        assert command.stderr.read() == ""


# Before


def test_the_explanation_says_what_was_declared(shown: dict[str, str]) -> None:
    text = shown["plan.explain()"]
    for said in (
        "Plan of 10 steps to ship",
        "retries=2 retry_delay=0.2 retry_on=ConnectionError priority=1",
        "carrier <- each item of nearby_carriers\n    timeout=0.3 on_error=continue",
        "after wants_wrapping when bool",
        "gift <- wrap_gift, or None",
    ):
        assert said in text


def test_the_plan_is_drawn_without_states_and_the_run_with_them(shown: dict[str, str]) -> None:
    plan, run = shown["plan.draw()"], shown["run.draw()"]
    states = dict(re.findall(r"│ (\w+) ([✓✗↷]) │", run))
    assert set(re.findall(r"│ (\w+) +│", plan)) == STEPS
    assert states == dict.fromkeys(STEPS, "✓") | {"send_receipt": "✗", "wrap_gift": "↷"}


def test_the_files_of_graphs_are_of_their_kinds_and_have_each_step(shown: dict[str, str], tmp_path: Path) -> None:
    texts = {name: (tmp_path / name).read_text("utf-8") for name in FILES}
    assert texts["plan.dot"].startswith("digraph")
    for name in ("plan.mmd", "run.mmd"):
        assert texts[name].startswith("flowchart")
    for name in ("plan.svg", "run.svg"):
        assert ET.fromstring(texts[name]).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own
    for name in ("plan.dot", "plan.mmd", "run.mmd", "plan.svg", "run.svg"):
        assert all(step in texts[name] for step in STEPS), name


# While it goes on


def test_the_log_of_events_is_lines_of_json_without_a_hole(shown: dict[str, str], tmp_path: Path) -> None:
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text("utf-8").splitlines()]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"], events[-1]["status"]) == ("RunStarted", "RunEnded", "failed")
    assert {event["type"]: event["step"] for event in events if event["type"] in ("RetryScheduled", "StepSkipped")} == {
        "RetryScheduled": "find_customer",
        "StepSkipped": "wrap_gift",
    }
    assert [event["step"] for event in events if event["type"] == "StepFailed"] == ["ask_carrier[1]", "send_receipt"]
    printed = shown["plan.options(subscribers=[keep])"].splitlines()
    read = [msgspec.json.decode(line, type=AnyEvent) for line in printed if line]
    assert [type(event).__name__ for event in read] == [event["type"] for event in events]
    assert {event.run_id for event in read} == {"simulation"}


def test_the_log_says_what_happens_by_its_level(shown: dict[str, str]) -> None:
    lines = shown["fusynk.logging.enable()"].splitlines()
    assert "WARNING find_customer: attempt 1 failed with ConnectionResetError" in lines
    assert "INFO    choose_offer: milestone offer-chosen {'carrier': 'bicycle', 'of': 2}" in lines
    assert "ERROR   send_receipt: failed with ConnectionRefusedError" in lines
    assert "hung up" not in shown["fusynk.logging.enable()"]


def test_logging_is_off_again_after_the_run(example: Any, tmp_path: Path) -> None:
    example.serve(example.ORDER, tmp_path, virtual("asyncio"))
    before = (tmp_path / "run.log").read_text("utf-8")
    assert before.count("Run of ship started") == 1
    lines: list[str] = []
    sink = logger.add(lines.append, level=0)
    try:
        simulate(example.checkout, example.ORDER)
        assert lines == []
        simulate(example.checkout.options(verbose=True), example.ORDER)
        assert lines != []
    finally:
        logger.remove(sink)
    assert (tmp_path / "run.log").read_text("utf-8") == before


SPANS = """\
  layer find_customer
    attempt 1 ConnectionResetError
    attempt 2
"""


def test_the_spans_lie_in_each_other(shown: dict[str, str]) -> None:
    text = shown["fusynk.telemetry.capture()"]
    assert text.startswith("plan ship")
    assert SPANS in text
    assert re.findall(r"^  layer (\w+)", text, re.MULTILINE)[:4] == [
        "check_inventory",
        "find_customer",
        "wants_wrapping",
        "nearby_carriers",
    ]
    assert sorted(re.findall(r"^    item (.*)$", text, re.MULTILINE)) == [
        "ask_carrier",
        "ask_carrier",
        "ask_carrier LayerTimeout",
    ]
    assert "  layer send_receipt ConnectionRefusedError\n" in text


def test_without_the_sdk_of_opentelemetry_everything_else_is_shown(
    example: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fusynk.telemetry.recording", None)
    with pytest.raises(telemetry.TelemetryUnavailable):
        telemetry.capture()
    example.show_run(example.serve(example.ORDER, tmp_path, virtual("asyncio")), tmp_path)
    found = views(capsys.readouterr().out + "\n\n")
    assert list(found) == [call for call in CALLS[2:] if "telemetry" not in call]


def test_on_a_terminal_the_run_is_drawn(
    example: Any, backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with terminal(100, 30) as (screen, stream):
        monkeypatch.setattr(sys, "stderr", stream)
        example.serve(example.ORDER, tmp_path, virtual(backend))
        monkeypatch.undo()
    assert screen.lines[-1] == "✗ 10 steps in 1.40 s: 8 succeeded, 1 failed, 1 skipped; 1 of 3 items failed"
    assert any(line.startswith("✓ find_customer") and "✗┄" in line for line in screen.lines)


# After


def test_the_timeline_tells_why(shown: dict[str, str]) -> None:
    text = shown["run.timeline()"]
    assert re.search(r"^✓ find_customer +500 ms .*after ConnectionResetError$", text, re.MULTILINE)
    assert re.search(r"^✗ +ask_carrier\[1\] +300 ms .*LayerTimeout$", text, re.MULTILINE)
    assert re.search(r"^✗ send_receipt +100 ms +ConnectionRefusedError", text, re.MULTILINE)
    assert re.search(r"^↷ wrap_gift +skipped: wants_wrapping did not meet a condition$", text, re.MULTILINE)


def test_the_milestones_are_in_their_order(shown: dict[str, str]) -> None:
    assert shown["run.milestones"].split("\n")[:2] == [
        "find_customer: customer-found {'customer': 'Ada', 'km': 4}",
        "choose_offer: offer-chosen {'carrier': 'bicycle', 'of': 2}",
    ]


def test_the_report_counts(shown: dict[str, str]) -> None:
    rows = dict(re.findall(r"^  (\w[\w ]*?)  +(.*)$", shown["run.report"], re.MULTILINE))
    assert rows["Makespan"] == "1.400 s"
    assert (rows["Succeeded"], rows["Failed"], rows["Skipped"], rows["Retries"]) == ("8", "1", "1", "1")
    assert (rows["Items"], rows["Failed items"]) == ("3", "1")
    assert rows["Critical path"].startswith("find_customer -> nearby_carriers -> ask_carrier -> choose_offer")


def test_the_trace_has_a_slice_for_each_attempt(shown: dict[str, str], tmp_path: Path) -> None:
    events = json.loads((tmp_path / "run.trace.json").read_text("utf-8"))["traceEvents"]
    slices = [event["name"] for event in events if event["ph"] == "X"]
    for name in STEPS - {"wrap_gift", "ask_carrier"}:
        assert any(name in one for one in slices), (name, slices)


class _Page(HTMLParser):
    """Keeps the text of a page, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.loaded: list[str | None] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href") and not (value or "").startswith("#")]


def test_the_page_has_each_step_and_loads_nothing(shown: dict[str, str], tmp_path: Path) -> None:
    page = _Page()
    page.feed((tmp_path / "run.html").read_text("utf-8"))
    assert all(step in page.text for step in STEPS)
    assert page.loaded == []


# What the plan does


def test_a_gift_is_wrapped(example: Any, backend: Backend) -> None:
    trace = simulate(example.checkout, example.Order("teapot", 1, "Ada", is_gift=True), backend=backend)
    assert trace.result == "teapot in golden paper, by bicycle"


def test_what_is_not_there_is_not_charged(example: Any, backend: Backend) -> None:
    run = simulate(example.checkout, example.Order("teapot", 13, "Ada"), backend=backend).run
    assert run["check_inventory"] == -1
    assert {name for name, outcome in run.outcomes.items() if isinstance(outcome, Skipped)} == {
        "charge",
        "send_receipt",
        "wrap_gift",
        "ship",
    }
    assert run.outcome(example.charge) == Skipped(because="check_inventory", cause="condition")
