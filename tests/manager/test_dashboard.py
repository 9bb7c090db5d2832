"""The dashboard of a manager: what an operator reads, on any terminal, whatever units are called."""

import io
import sys
from collections.abc import Iterator

import anyio
import pytest
from rich.cells import cell_len

from fusynk import Graph, Manager, milestone
from fusynk.manager import dashboard as drawn
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.hostile_names import HOSTILE
from tests.render_runs.terminal import stderr, terminal


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture(autouse=True)
def _streams_are_given_back() -> Iterator[None]:
    streams = sys.stdout, sys.stderr
    yield
    assert (sys.stdout, sys.stderr) == streams


def works() -> Graph:
    """Units that come to be in every status."""
    graph = Graph("works")

    @graph.worker(every=2)
    async def beat() -> None:
        milestone("beaten")

    @graph.worker
    async def fails() -> None:
        raise ConnectionError

    @graph.worker
    async def long() -> None:
        await anyio.sleep(100)

    @graph.worker
    async def never() -> None: ...

    @graph.worker
    async def asleep() -> None: ...

    return graph


def shown(width: int, *, backend: Backend = "asyncio") -> str:
    """The dashboard of these units after five seconds."""

    async def main() -> str:
        async with (
            Manager(works(), wall_clock=anyio.current_time, grace=0) as manager,
            anyio.create_task_group() as group,
        ):
            manager.pause("asleep")
            manager.disable("never")
            with pytest.raises(ConnectionError):
                await manager.run("fails")
            group.start_soon(manager.run, "long")
            await anyio.sleep(5)
            text = manager.dashboard(width)
            group.cancel_scope.cancel()
            return text
        raise AssertionError

    return run_virtual(main, backend=backend)


def test_each_unit_has_a_row_with_what_an_operator_asks_for(backend: Backend) -> None:
    first, empty, head, *rows = shown(120, backend=backend).split("\n")

    assert first.startswith(
        "up 5.00 s | 5 units: 1 idle, 1 running, 1 completed, 1 error, 1 paused | 5 runs, 1 failed | CPU"
    )
    assert empty == ""
    assert head.split("  ") != []
    assert [" ".join(row.split()) for row in [head, *rows]] == [
        "unit status next run last run runs failed last milestone",
        "✓ beat completed in 1.00 s 1.00 s ago, took 0 s 3 beaten",
        "✗ fails error: ConnectionError 5.00 s ago, took 0 s 1 1",
        "► long running 5.00 s 1",
        "○ never disabled 0",
        "‖ asleep paused 0",
    ]


@pytest.mark.parametrize("width", [20, 40, 50, 60, 79, 80, 100, 110, 200])
def test_rows_keep_to_the_width_and_say_the_name_and_the_status(width: int) -> None:
    lines = shown(width).split("\n")

    assert all(cell_len(line) <= width for line in lines)
    table = lines[lines.index(next(line for line in lines if line.startswith("unit"))) :]
    assert len(table) == 6
    assert [row[0] for row in table[1:]] == list("✓✗►○‖")


def test_an_output_that_knows_no_such_marks_gets_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    text = shown(120)
    monkeypatch.undo()

    assert text.isascii()
    assert [row[0] for row in text.split("\n")[3:]] == list("+x>o=")


def test_a_manager_that_was_never_started_and_has_no_units_has_a_dashboard() -> None:
    text = Manager().dashboard(80)

    assert text.startswith("not started | 0 units | 0 runs")
    assert text.endswith("No unit is registered.")


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_name_is_one_row_of_harmless_text(name: str) -> None:
    graph = Graph("hostile")

    async def body() -> None:
        milestone(name)

    graph.add_layer(body, name="plain")
    manager = Manager(graph.units["plain"])
    manager.register(graph.units["plain"], name=name or "empty")
    run_virtual(manager.run, "plain")

    lines = manager.dashboard(150).split("\n")
    assert len(lines) == 5
    assert all(character.isprintable() for line in lines for character in line)


def test_units_that_have_no_room_are_counted_and_those_that_matter_are_shown() -> None:
    graph = Graph("many")

    async def body() -> None: ...

    async def broken() -> None:
        raise LookupError

    for number in range(50):
        graph.worker(body, name=f"u{number}")
    graph.worker(broken, name="broken")
    manager = Manager(graph)
    with pytest.raises(LookupError):
        run_virtual(manager.run, "broken")

    lines = drawn.dashboard(manager.snapshot(), width=100, height=14).split("\n")

    assert len(lines) <= 14
    assert lines[3].startswith("✗ broken")
    assert lines[-1] == "... and 42 more units"


def test_it_is_drawn_live_at_the_end_of_a_terminal_and_its_last_picture_stays(backend: Backend) -> None:
    async def main() -> None:
        async with Manager(works(), wall_clock=anyio.current_time, dashboard=True) as manager:
            await anyio.sleep(3.1)
            manager.pause("beat")

    with terminal(100, 24) as (screen, stream), stderr(stream):
        run_virtual(main, backend=backend)

    assert screen.received.count("completed") >= 10  # four pictures a second
    assert screen.cursor_is_shown
    rows = [" ".join(line.split()) for line in screen.lines]
    assert rows[0].startswith("up 3.10 s | 5 units: 4 idle, 1 paused | 2 runs | CPU")
    assert rows[3] == "‖ beat paused 1.10 s ago, took 0 s 2"
    assert len(rows) == 8


def test_where_there_is_no_terminal_nothing_is_drawn() -> None:
    async def main() -> None:
        async with Manager(works(), dashboard=True):
            await anyio.sleep(3)

    stream = io.StringIO()
    with stderr(stream):
        run_virtual(main)
    assert stream.getvalue() == ""

    with stderr(None):
        run_virtual(main)


def test_a_dashboard_that_fails_is_dropped_and_the_manager_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    async def main() -> int:
        async with Manager(works(), dashboard=True) as manager:
            await anyio.sleep(5)
            return manager.get("beat").runs

    monkeypatch.setattr(drawn, "lines_of", broken)
    with terminal() as (screen, stream), stderr(stream):
        assert run_virtual(main) == 3
    assert "beat" not in screen.received
