"""What a manager costs: idle, in lateness, for a change of status, and for a run on demand.

Lateness is wall time, and a neighbour on the machine is seen in it. The rest is CPU time.
"""

import os
from collections.abc import Sequence
from functools import partial
from time import perf_counter, process_time
from typing import Any

import anyio

from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, middle, take_turns
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from fusynk import Graph, Manager, Plan, compile_plan
from fusynk.manager.events import ManagerEvent

TARGETS = {
    "idle, share of a CPU": Target("below", 2),
    "median lateness": Target("below", 5),
    "a change of status, ten subscribers": Target("below", 30),
}
STEPS_FOR_EACH_UNIT = 10  # of the settings: 10,000 steps are 1,000 units
INTERVAL = 1.0  # seconds, for as many steps as the settings have by default
STARTS = 5
DAY = 86_400
CALLS = 1000
MILLI, PERCENT = 1e3, 100
USUAL_STEPS = Settings().steps


async def nothing() -> None:
    """The body of every unit."""


def units(count: int) -> Graph:
    """Workers that are due once a day, and one that runs on demand."""
    graph = Graph("idle")
    for number in range(count):
        graph.worker(nothing, name=f"u{number}", every=DAY)
    graph.worker(nothing, name="on_demand")
    return graph


async def measure_idle(settings: Settings) -> list[float]:
    """Shares of a CPU, in per cent, that a manager of idle units takes while an interval passes.

    Raises:
        AssertionError: When not every unit ran once before, and none since.
    """
    count, seconds = settings.steps // STEPS_FOR_EACH_UNIT, _interval(settings)
    shares: list[float] = []
    manager = Manager(units(count))
    all_ran = completions(manager, count)
    async with manager:
        await all_ran.wait()
        for _ in range(settings.rounds):
            begun, used = perf_counter(), process_time()
            await anyio.sleep(seconds)
            shares.append((process_time() - used) / (perf_counter() - begun) * PERCENT)
        assert manager.stats().runs == count, f"{manager.stats().runs} runs of {count} units"
    return shares


def completions(manager: Manager, count: int, unit: str | None = None) -> anyio.Event:
    """What is set when so many runs have been completed, of one unit or of all."""
    all_ran, left = anyio.Event(), [count]

    def note(_event: ManagerEvent) -> None:
        left[0] -= 1
        if not left[0]:
            all_ran.set()

    manager.on_complete(note, unit=unit)
    return all_ran


async def measure_lateness(settings: Settings) -> list[float]:
    """Medians of how many milliseconds after its time a unit starts, beside those that are idle."""
    seconds, medians = _interval(settings), list[float]()
    starts: list[float] = []

    async def note() -> None:
        starts.append(anyio.current_time())

    regular: Any = Graph("regular")
    manager = Manager(units(settings.steps // STEPS_FOR_EACH_UNIT))
    all_ran = completions(manager, settings.steps // STEPS_FOR_EACH_UNIT)
    async with manager:
        await all_ran.wait()
        for turn in range(settings.rounds):
            name = f"regular{turn}"
            starts.clear()
            over = completions(manager, STARTS, name)
            begun = anyio.current_time()
            manager.register(regular.worker(note, name=name, every=seconds, max_runs=STARTS))
            await over.wait()
            manager.release(name)
            late = [start - begun - number * seconds for number, start in enumerate(starts)]
            medians.append(middle(late) * MILLI)
    return medians


async def measure_changes(settings: Settings) -> dict[str, list[float]]:
    """CPU seconds of many pauses and resumes with ten subscribers, of runs on demand, and of the same plan alone.

    Raises:
        AssertionError: When a subscriber missed a change.
    """
    graph = units(0)
    plan: Plan[None, Any] = compile_plan(graph.units["on_demand"])
    manager, told = Manager(graph), [0]

    def count(_event: ManagerEvent) -> None:
        told[0] += 1

    for _ in range(10):
        manager.subscribe(count)

    async def change() -> None:
        manager.pause("on_demand")
        manager.resume("on_demand")

    entries = {
        "changes": Entry(change, CALLS),
        "runs": Entry(partial(manager.run, "on_demand"), CALLS),
        "plan": Entry(plan.run, CALLS),
    }
    samples = await take_turns(entries, settings.rounds)
    changes = 2 * (settings.rounds * CALLS + 1)
    runs = 2 * (settings.rounds * CALLS + 1)
    assert told[0] == 10 * (changes + runs), f"{told[0]} events were told, not {10 * (changes + runs)}"
    return samples


def measure_manager(settings: Settings) -> list[Figure]:
    """The figures on every backend."""
    figures: list[Figure] = []
    for backend in settings.backends:
        idle = anyio.run(measure_idle, settings, backend=backend)
        late = anyio.run(measure_lateness, settings, backend=backend)
        samples = anyio.run(measure_changes, settings, backend=backend)
        changes = [seconds / 2 * MICRO for seconds in samples["changes"]]
        more = [(run - plan) * MICRO for run, plan in zip(samples["runs"], samples["plan"], strict=True)]
        count = settings.steps // STEPS_FOR_EACH_UNIT
        figures += [
            _figure(backend, "idle, share of a CPU", "%", idle, f"({count:,} units)"),
            _figure(backend, "median lateness", "ms", late, _load()),
            _figure(backend, "a change of status, ten subscribers", "us", changes),
            _figure(backend, "a run on demand, more than of its plan", "us", more),
        ]
    return figures


def _interval(settings: Settings) -> float:
    return INTERVAL * min(1.0, settings.steps / USUAL_STEPS)


def _load() -> str:
    return f"(load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs)"


def _figure(backend: str, name: str, unit: str, samples: Sequence[float], note: str = "") -> Figure:
    return Figure(
        benchmark="manager", backend=backend, name=name, unit=unit, samples=samples, target=TARGETS.get(name), note=note
    )
