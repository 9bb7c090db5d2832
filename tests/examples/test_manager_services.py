"""The pipeline, the health monitor and the persistent counter: what each promises, also after a kill."""

import re
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest

from fusynk import Skipped, Succeeded
from fusynk.manager.snapshot import Snapshot
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.examples.running import finish, imported, start

SIGKILL_CODE = -9


@pytest.fixture(scope="module")
def pipeline() -> Iterator[Any]:
    """The example as a module, as below."""
    with imported("pipeline") as module:
        yield module


@pytest.fixture(scope="module")
def monitor() -> Iterator[Any]:
    with imported("health_monitor") as module:
        yield module


@pytest.fixture(scope="module")
def counter() -> Iterator[Any]:
    with imported("persistent_counter") as module:
        yield module


# The pipeline


def delivered(pipeline: Any, backend: Backend, folder: Path, *, files: list[Path], is_dry: bool = False) -> Any:
    """The run of the pipeline on some files."""
    delivery = pipeline.Delivery(files=files, shop=folder, is_dry=is_dry)
    return run_virtual(pipeline.deliver, delivery, backend=backend)


def contents(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.is_file()}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """An empty folder for totals."""
    folder = tmp_path / "shop"
    folder.mkdir()
    return folder


def test_the_pipeline_publishes_totals_in_order_and_sets_aside_what_is_no_table(
    pipeline: Any, backend: Backend, tmp_path: Path, shop: Path
) -> None:
    run = delivered(pipeline, backend, shop, files=pipeline.made_up(tmp_path))
    assert run.ok
    assert contents(shop) == {
        "refused.txt": "settings.json: its first line is not product,cents\n",
        "sales-1.csv.total": "1750\n",
        "sales-2.csv.total": "3500\n",
        "sales-3.csv.total": "7000\n",
        "sales-4.csv.total": "8750\n",
    }
    assert [path.name for path in run[pipeline.publish]] == [f"sales-{number}.csv.total" for number in (1, 2, 3, 4)]
    stages = [record for record in run.attempts() if record.step in {"check", "set_aside", "sum_up", "publish"}]
    assert [record.step for record in stages] == ["check", "set_aside", "sum_up", "publish"]
    assert all(former.ended <= later.started for former, later in pairwise(stages))


def test_a_stage_whose_condition_does_not_hold_is_skipped_and_the_rest_goes_on(
    pipeline: Any, backend: Backend, tmp_path: Path, shop: Path
) -> None:
    sound = [file for file in pipeline.made_up(tmp_path) if file.suffix == ".csv"]
    run = delivered(pipeline, backend, shop, files=sound)
    assert isinstance(run.outcome(pipeline.set_aside), Skipped)
    assert isinstance(run.outcome(pipeline.publish), Succeeded)
    assert len(contents(shop)) == 4


def test_a_dry_run_publishes_nothing_and_without_a_sound_file_nothing_is_summed_up(
    pipeline: Any, backend: Backend, tmp_path: Path, shop: Path
) -> None:
    files = pipeline.made_up(tmp_path)
    run = delivered(pipeline, backend, shop, files=files, is_dry=True)
    assert (list(contents(shop)), run.ok) == (["refused.txt"], True)
    assert run.outcome(pipeline.publish) == Skipped("may_publish", "condition")
    run = delivered(pipeline, backend, shop, files=[files[2], tmp_path / "missing.csv"])
    assert isinstance(run.outcome(pipeline.sum_up), Skipped)
    assert isinstance(run.outcome(pipeline.publish), Skipped)
    assert "missing.csv: " in contents(shop)["refused.txt"]


def test_a_shop_that_cannot_be_written_fails_the_stage_the_process_and_the_script(
    pipeline: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    with pytest.raises(SystemExit) as left:
        pipeline.main(["--simulate", "--shop", str(file)])
    assert left.value.code == 2
    assert "cannot write" in capsys.readouterr().err


# The health monitor


def times_of(printed: str, text: str) -> list[float]:
    return [float(seconds) for seconds in re.findall(rf"^ *([\d.]+) s  {text}$", printed, re.MULTILINE)]


def test_what_goes_down_is_told_repaired_and_told_to_be_back(
    monitor: Any, backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot: Snapshot = run_virtual(monitor.watch, 30.0, 40, 7, anyio.current_time, backend=backend)
    printed = capsys.readouterr().out
    told = 0
    for name in monitor.NAMES:
        down, back = times_of(printed, f"ALERT: {name} is down"), times_of(printed, f"{name} is back")
        repaired = times_of(printed, f"repair {name} took .*")
        assert len(down) - len(back) in {0, 1}  # at the end, one may be down
        assert all(gone < come for gone, come in zip(down, back, strict=False))
        assert len(repaired) >= len(back)
        told += len(down)
    assert told >= 4
    assert snapshot.units["master"].runs == 40
    assert snapshot.units["master"].failures == 0
    assert {state.runs >= 40 for name, state in snapshot.units.items() if name.startswith("check")} == {True}


def test_the_pool_has_as_many_slots_as_services_are_down_but_one_to_three(
    monitor: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot: Snapshot = run_virtual(monitor.watch, 30.0, 40, 7, anyio.current_time)
    sizes = [int(size) for size in re.findall(r"slots for repairs: (\d)", capsys.readouterr().out)]
    assert set(sizes) == {1, 2, 3}
    pool = snapshot.pools["repairs"]
    assert all(slot.piece is None for slot in pool.slots)
    assert {piece.status for piece in pool.ended} <= {"succeeded", "failed"}


def always_lucky(_: object) -> float:
    return 0.999


def test_services_that_never_break_are_left_alone(
    monitor: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor.Random, "random", always_lucky)
    snapshot: Snapshot = run_virtual(monitor.watch, 30.0, 10, 7, anyio.current_time)
    assert "ALERT" not in capsys.readouterr().out
    assert snapshot.pools["repairs"].ended == ()
    assert {state.failures for state in snapshot.units.values()} == {0}


# The counter


def test_the_count_goes_on_from_run_to_run_of_the_script(counter: Any, backend: Backend, tmp_path: Path) -> None:
    for expected in (2, 4):
        state = run_virtual(counter.count_on, tmp_path / "counter.db", 2, 0.2, backend=backend)
        assert (state.runs, state.failures, state.status) == (expected, 0, "completed")


def test_a_file_that_is_no_store_is_refused_in_one_line_and_left_as_it_is(
    counter: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("Dear Ada,\n", "utf-8")
    with pytest.raises(SystemExit) as left:
        counter.main([str(file)])
    printed = capsys.readouterr()
    assert (left.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert "is no store of fusynk" in printed.err
    assert file.read_text("utf-8") == "Dear Ada,\n"


def test_a_killed_counter_loses_nothing_that_was_kept_and_reports_the_run_it_was_killed_in(tmp_path: Path) -> None:
    file = tmp_path / "counter.db"
    killed = start("persistent_counter.py", file, "--runs", "1000", "--seconds", "0.05")
    assert killed.stdout is not None
    lines = [killed.stdout.readline() for _ in range(6)]
    killed.kill()
    rest = finish(killed)
    assert rest.returncode == SIGKILL_CODE
    kept = int(re.findall(r"Kept: run (\d+)", lines[-1] + rest.stdout)[-1])
    assert kept >= 5
    result = finish(start("persistent_counter.py", file, "--runs", "1", "--seconds", "0"))
    assert (result.returncode, result.stderr) == (0, "")
    was_running = "Interrupted: counter was running when its process died" in result.stdout
    [found] = re.findall(r"^Before: (\d+) runs", result.stdout, re.MULTILINE)
    assert int(found) in {kept, kept + 1}
    # Most of the time it is in a body; between two runs nothing was interrupted.
    assert was_running == ("status error" in result.stdout.split("Kept")[0])


def wait_until_running(file: Path) -> None:
    """Waits until the store has written that the counter is running. Nobody else may ask SQLite while it is open."""
    written = file.with_name(f"{file.name}-wal")
    for _ in range(3000):
        if b'"running"' in written.read_bytes():
            return
        time.sleep(0.01)
    pytest.fail("the counter never ran")


def test_a_counter_killed_within_a_run_reports_it_once(tmp_path: Path) -> None:
    file = tmp_path / "counter.db"
    assert finish(start("persistent_counter.py", file, "--runs", "2", "--seconds", "0")).returncode == 0
    killed = start("persistent_counter.py", file, "--seconds", "60")
    assert killed.stdout is not None
    assert killed.stdout.readline() == "Before: 2 runs, 0 failed, status completed.\n"
    wait_until_running(file)
    killed.kill()
    finish(killed)
    result = finish(start("persistent_counter.py", file, "--runs", "1", "--seconds", "0"))
    assert result.stdout.startswith("Interrupted: counter was running when its process died; that run began at 20")
    assert "Before: 3 runs, 0 failed, status error.\nKept: run 4.\n" in result.stdout
    again = finish(start("persistent_counter.py", file, "--runs", "0"))
    assert again.stdout.startswith("Before: 4 runs, 0 failed, status completed.\n")
