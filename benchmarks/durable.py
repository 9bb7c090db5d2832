"""What a run that is recorded costs, beside the least that a durable one could, and beside a commit for each step."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import cast

import anyio

from benchmarks.figures import Figure, Target
from benchmarks.journal import Floor, Price, Seconds, Synchronous, seconds_each
from benchmarks.measure import ratios, rotated
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from benchmarks.shapes import FAN_IN, Body, Shape, declare, layered
from fusynk import Plan, compile_plan
from fusynk._core.envelope import Record, Seal
from fusynk._core.journalled import RunStart
from fusynk.journals import SqliteJournal
from fusynk.journals.journalled_run import JournalledRun
from fusynk.protocols import Journal, OnCommit, Poster

TARGETS = {
    "NORMAL, a run, times the floor": Target("at most", 2),
    "FULL, a run, rate in shares of the floor's": Target("at least", 0.3),
    "NORMAL, a run, rate in times of a commit each": Target("at least", 4),
    "FULL, a run, rate in times of a commit each": Target("at least", 4),
    "a run that has ended, resumed, seconds": Target("below", 0.5),
}
SINGLE: dict[Synchronous, int] = {"FULL": 20, "NORMAL": 1}  # a commit for each step is measured on such a part of them


async def source() -> Price:
    """A price, from nothing."""
    return Price("book", 3)


async def join(first: Price, second: Price, third: Price) -> Price:  # noqa: ARG001 (what is passed is what is measured)
    """A price, after three steps."""
    return Price("book", first.cents)


def plan_of(steps: int) -> Plan[None, object]:
    """Layers of a hundred steps that each return a price."""
    shape: Shape = layered(steps)
    bodies = {0: source, FAN_IN: join}
    return cast(
        "Plan[None, object]", compile_plan(declare(shape, [cast("Body", bodies[len(row)]) for row in shape.arguments]))
    )


class CommitEach(SqliteJournal):
    """A journal that commits each record by itself, where the step ends: the same envelopes, and no thread between."""

    def open_run(
        self,
        run_id: str,
        start: RunStart | None = None,
        *,
        on_commit: OnCommit,
        post: Poster | None = None,
        owner: str | None = None,
    ) -> JournalledRun:
        """See `Journal`."""
        run = super().open_run(run_id, start, on_commit=on_commit, post=post, owner=owner)
        connection = sqlite3.connect(f"{self.path}.each", isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={self.synchronous}")
        connection.execute("CREATE TABLE records (place INTEGER PRIMARY KEY, envelope BLOB NOT NULL)")
        close = Seal(run_id, run.start.fingerprint).close

        def append_all(records: Sequence[Record]) -> Sequence[Record]:
            for record in records:
                connection.execute("INSERT INTO records (envelope) VALUES (?)", (close(1, record),))
            if post is not None:
                post(lambda: on_commit(records, None))
            return ()

        run.append_all = append_all  # type: ignore[method-assign]
        return run


def run_seconds(plan: Plan[None, object], journal: Journal, backend: str, steps: int) -> Seconds:
    """Seconds for each step of a run that is recorded, from its opening until it is free again."""
    recorded = plan.options(journal=journal, run_id="run")

    async def once() -> Seconds:
        started, cpu = perf_counter(), process_time()
        run = await recorded.run()
        seconds = Seconds((perf_counter() - started) / steps, (process_time() - cpu) / steps)
        assert run.ok
        return seconds

    return anyio.run(once, backend=backend)


def measure_runs(settings: Settings, synchronous: Synchronous, backend: str) -> dict[str, list[Seconds]]:
    """Seconds for each step, by contender, and for each step of the run once it is over."""
    plans = {count: plan_of(count) for count in {settings.steps, max(FAN_IN, settings.steps // SINGLE[synchronous])}}
    least, most = min(plans), max(plans)
    samples: dict[str, list[Seconds]] = {name: [] for name in ("floor", "single", "run", "over")}
    contenders: dict[str, Callable[[Path], Sequence[tuple[str, Seconds]]]] = {
        "floor": partial(_floor, synchronous, most),
        "single": partial(_single, synchronous, plans[least], least, backend),
        "run": partial(_recorded, synchronous, plans[most], most, backend),
    }
    for turn in range(settings.rounds):
        for name in rotated(list(contenders), turn):
            with TemporaryDirectory(prefix="fusynk-") as folder:
                found = contenders[name](Path(folder) / "runs.db")
            for measured, seconds in found:
                samples[measured].append(seconds)
    return samples


def _floor(synchronous: Synchronous, steps: int, path: Path) -> Sequence[tuple[str, Seconds]]:
    log = Floor(path, synchronous)
    seconds = seconds_each(log, steps)
    log.close()
    return [("floor", seconds)]


def _single(
    synchronous: Synchronous, plan: Plan[None, object], steps: int, backend: str, path: Path
) -> Sequence[tuple[str, Seconds]]:
    journal = CommitEach(path, synchronous=synchronous)
    _ = journal.runs()
    return [("single", run_seconds(plan, journal, backend, steps))]


def _recorded(
    synchronous: Synchronous, plan: Plan[None, object], steps: int, backend: str, path: Path
) -> Sequence[tuple[str, Seconds]]:
    journal = SqliteJournal(path, synchronous=synchronous)
    _ = journal.runs()  # the file is there, as it is for all runs but the first
    first = run_seconds(plan, journal, backend, steps)
    journal.close()
    again = run_seconds(plan, SqliteJournal(path, synchronous=synchronous), backend, steps)
    return [("run", first), ("over", again)]


def measure_durable(settings: Settings) -> list[Figure]:
    """What a recorded run costs on each backend."""
    figures: list[Figure] = []
    for backend in settings.backends:
        over: list[float] = []
        for synchronous in ("NORMAL", "FULL"):
            samples = measure_runs(settings, synchronous, backend)
            wall = {name: [one.wall for one in its] for name, its in samples.items()}
            cpu = {name: [one.cpu for one in its] for name, its in samples.items()}
            floor, single = min(wall["floor"]) * MICRO, min(wall["single"]) * MICRO
            note = f"(layered; the floor takes {floor:.1f} us, a commit each {single:.0f})"
            measured = {
                f"{synchronous}, a run, a step": ("us", [seconds * MICRO for seconds in wall["run"]], note),
                f"{synchronous}, a run, times the floor": ("x", ratios(cpu["run"], cpu["floor"]), "(CPU time)"),
                f"{synchronous}, a run, rate in shares of the floor's": ("x", ratios(wall["floor"], wall["run"]), ""),
                f"{synchronous}, a run, rate in times of a commit each": ("x", ratios(wall["single"], wall["run"]), ""),
            }
            figures += [_figure(backend, name, *found) for name, found in measured.items()]
            over += [seconds * settings.steps for seconds in wall["over"]]
        figures.append(_figure(backend, "a run that has ended, resumed, seconds", "s", over, "(with its file opened)"))
    return figures


def _figure(backend: str, name: str, unit: str, samples: Sequence[float], note: str) -> Figure:
    return Figure(
        benchmark="durable", backend=backend, name=name, unit=unit, samples=samples, target=TARGETS.get(name), note=note
    )
