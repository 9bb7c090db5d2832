"""What `run_in="subprocess"` saves: pure Python functions in OS processes against the same functions in threads.

Wall time, unlike elsewhere: using a second CPU is what is measured, and a neighbour who uses it is seen in every figure
but the one against a bare pool. The contenders take turns, and each round gives one ratio. Cold is the first run of an
event loop, which starts its subprocesses; warm are the later ones.
"""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from time import perf_counter, process_time

import anyio
import anyio.to_thread

from benchmarks.figures import Figure, Target
from benchmarks.measure import Samples, middle, ratios, rotated
from benchmarks.settings import Settings
from fusynk import Batch, Graph, Plan, compile_plan, each
from fusynk.executors.subprocesses import SubprocessExecutor

TARGETS = {"times faster than threads": Target("at least", 1.7)}
AT_ONCE = 2
SECONDS = 0.02
STEPS_FOR_EACH = 100  # of the settings: 10,000 steps are 100 functions
FEWEST = 4
CALLS = 200
CALIBRATIONS = 5
MILLI, MICRO = 1e3, 1e6
ROUNDS_TO_TRY = 50_000
MODULUS = 1_000_003

crunching = Graph("crunching")


def crunch(rounds: int) -> int:
    """A number that takes so many rounds of plain Python to compute."""
    value = 1
    for number in range(rounds):
        value = (value * 31 + number) % MODULUS
    return value


@crunching.layer(run_in="inline")
def portions(rounds: int, count: int) -> list[int]:
    """What there is to compute."""
    return [rounds] * count


@crunching.layer.each(run_in="thread")
def in_threads(portion: int = each(portions)) -> int:
    """The same work in a thread."""
    return crunch(portion)


@crunching.layer.each(run_in="subprocess")
def in_subprocesses(portion: int = each(portions)) -> int:
    """The same work in a subprocess."""
    return crunch(portion)


PLANS: dict[str, Plan[None, Batch[int]]] = {
    "threads": compile_plan(in_threads, threads=AT_ONCE),
    "subprocesses": compile_plan(in_subprocesses, processes=AT_ONCE),
}


def rounds_of(seconds: float) -> int:
    """How many rounds take so many seconds of CPU time here, now."""
    taken: list[float] = []
    for _ in range(CALIBRATIONS):
        started = process_time()
        crunch(ROUNDS_TO_TRY)
        taken.append(process_time() - started)
    return max(1, round(ROUNDS_TO_TRY * seconds / middle(taken)))


@dataclass(frozen=True, slots=True)
class Work:
    """Some functions of one length, and what each must return."""

    rounds: int
    count: int
    value: int

    async def run(self, name: str, clock: Callable[[], float] = perf_counter) -> float:
        """Seconds of one run of a plan, by the wall clock or another.

        Raises:
            AssertionError: When a result is wrong or missing.
        """
        started = clock()
        run = await PLANS[name].run(rounds=self.rounds, count=self.count)
        taken = clock() - started
        assert list(run.result) == [self.value] * self.count, f"{name} computed something else"
        return taken

    async def pool(self, pool: ProcessPoolExecutor) -> float:
        """Wall seconds of the same in a pool of the standard library, whose subprocesses have started."""
        started = perf_counter()
        values = await anyio.to_thread.run_sync(lambda: list(pool.map(crunch, [self.rounds] * self.count)))
        taken = perf_counter() - started
        assert values == [self.value] * self.count
        return taken


async def seconds_of_call() -> float:
    """Wall seconds of one call that computes next to nothing."""
    executor, expected = SubprocessExecutor(), crunch(1)
    started = perf_counter()
    for _ in range(CALLS):
        assert await executor.call(crunch, [1], abandon=False) == expected
    return (perf_counter() - started) / CALLS


async def compare_cold(work: Work) -> Samples:
    """Wall seconds of the first run of each plan in this event loop, and of the second one."""
    samples = {f"{name}, cold": [await work.run(name)] for name in PLANS}
    return samples | {name: [await work.run(name)] for name in PLANS}


async def compare_warm(work: Work, pool: ProcessPoolExecutor, turns: int) -> Samples:
    """Wall seconds of later runs in this event loop, of a bare pool, and of a bare call."""
    contenders: dict[str, Callable[[], Awaitable[float]]] = {name: partial(work.run, name) for name in PLANS}
    contenders |= {"pool": partial(work.pool, pool), "call": seconds_of_call}
    contenders["parent"] = partial(work.run, "subprocesses", process_time)
    samples: Samples = {name: [] for name in contenders}
    for contender in contenders.values():
        await contender()
    for turn in range(turns):
        for name in rotated(list(contenders), turn):
            samples[name].append(await contenders[name]())
    return samples


def measure_subprocesses(settings: Settings) -> list[Figure]:
    """The figures of subprocesses on every backend."""
    rounds, count = rounds_of(SECONDS), max(FEWEST, settings.steps // STEPS_FOR_EACH)
    work = Work(rounds, count, crunch(rounds))
    with ProcessPoolExecutor(AT_ONCE, get_context("spawn")) as pool:
        warm = {at: anyio.run(compare_warm, work, pool, settings.rounds, backend=at) for at in settings.backends}
    figures: list[Figure] = []
    for backend, samples in warm.items():
        loops = [anyio.run(compare_cold, work, backend=backend) for _ in range(settings.rounds)]
        cold = {name: [loop[name][0] for loop in loops] for name in loops[0]}
        first, later = cold["subprocesses, cold"], cold["subprocesses"]
        starts = [one - other for one, other in zip(first, later, strict=True)]
        parent = [seconds * MICRO / work.count for seconds in samples["parent"]]
        figures += [
            _figure(backend, "times faster than threads", "x", ratios(samples["threads"], samples["subprocesses"])),
            _figure(backend, "times faster than threads, cold", "x", ratios(cold["threads"], first)),
            _figure(backend, "times a bare pool of processes", "x", ratios(samples["subprocesses"], samples["pool"])),
            _figure(backend, f"to start {AT_ONCE}", "ms", [seconds * MILLI for seconds in starts]),
            _figure(backend, "a function's CPU time in the parent", "us", parent),
            _figure(backend, "a call of next to nothing", "us", [seconds * MICRO for seconds in samples["call"]]),
        ]
    return figures


def _figure(backend: str, name: str, unit: str, samples: list[float]) -> Figure:
    target = TARGETS.get(name)
    note = "" if target is None else f"(load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs)"
    return Figure(
        benchmark="subprocesses", backend=backend, name=name, unit=unit, samples=samples, target=target, note=note
    )
