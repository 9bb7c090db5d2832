"""What compiling costs, and how compiling and running grow from 10,000 steps to 100,000.

Every sample is taken in a fresh interpreter that holds one graph: the collector's work depends on all that a process
holds, so a small graph beside a large one would be measured too cheap.
"""

import gc
import json
from functools import partial
from time import process_time
from types import FunctionType

import anyio

from benchmarks.checks import check_records, check_shape
from benchmarks.contenders import Contender
from benchmarks.figures import Figure, Target
from benchmarks.fresh import output_of
from benchmarks.measure import Samples, middle, ratios
from benchmarks.settings import Settings
from benchmarks.shapes import Body, declare, empty_bodies, layered
from fusynk import compile_plan

SMALL_COMPILE = Target("below", 0.6)
LARGE_TOTAL = Target("below", 10)
MOST_GROWTH = Target("at most", 1.3)
WARM_UP_STEPS = 200
RUNS = 3
CODE = "from benchmarks.growth import print_seconds; print_seconds(int(sys.argv[1]), *sys.argv[2:])"


def copies(bodies: list[Body]) -> list[Body]:
    """A function of its own for each step, as decorated code has."""
    copied: list[Body] = []
    for body in bodies:
        assert isinstance(body, FunctionType)
        copy = FunctionType(body.__code__, body.__globals__, body.__name__)
        copy.__annotations__ = body.__annotations__
        copied.append(copy)
    return copied


def print_seconds(steps: int, backend: str, functions: str) -> None:
    """Prints the CPU seconds of declaring, compiling and running a layered graph once, as JSON."""
    seconds_of(WARM_UP_STEPS, backend, functions)
    print(json.dumps(seconds_of(steps, backend, functions)))


def seconds_of(steps: int, backend: str, functions: str) -> dict[str, float]:
    """CPU seconds of declaring and of compiling, and the median of a few runs."""
    shape = layered(steps)
    bodies = copies(empty_bodies(shape)) if functions == "distinct" else empty_bodies(shape)
    gc.collect()
    started = process_time()
    graph = declare(shape, bodies)
    declared = process_time()
    gc.collect()
    compiling = process_time()
    plan = compile_plan(graph)
    compiled = process_time()
    runs = anyio.run(_run_seconds, plan.run, backend=backend)
    check_records(anyio.run(plan.run, backend=backend), steps)
    return {"declare": declared - started, "compile": compiled - compiling, "run": middle(runs)}


async def _run_seconds(run: Contender) -> list[float]:
    samples: list[float] = []
    for _ in range(RUNS):
        gc.collect()
        started = process_time()
        kept = await run()
        samples.append(process_time() - started)
        del kept
    return samples


def _sample(steps: int, backend: str, functions: str = "shared") -> dict[str, float]:
    """One sample, from an interpreter of its own."""
    seconds: dict[str, float] = json.loads(output_of(CODE, str(steps), backend, functions))
    return seconds


def _growth(large: list[float], small: list[float], settings: Settings) -> list[float]:
    scale = settings.large / settings.steps
    return [ratio / scale for ratio in ratios(large, small)]


def measure_compile(settings: Settings) -> list[Figure]:
    """The figures of `compile_plan` on the layered graph; the event loop does not matter."""
    samples: Samples = {"declare": [], "small": [], "distinct": [], "large": []}
    for _ in range(settings.rounds):
        small = _sample(settings.steps, "asyncio")
        samples["declare"].append(small["declare"])
        samples["small"].append(small["compile"])
        samples["distinct"].append(_sample(settings.steps, "asyncio", "distinct")["compile"])
        samples["large"].append(_sample(settings.large, "asyncio")["compile"])
    figure = partial(Figure, benchmark="compile")
    steps, shared = settings.steps, "over three functions"
    growth = _growth(samples["large"], samples["small"], settings)
    return [
        figure(name=f"declare {steps}", unit="s", samples=samples["declare"]),
        figure(name=f"compile {steps}", unit="s", samples=samples["small"], target=SMALL_COMPILE, note=shared),
        figure(name=f"compile {steps} distinct functions", unit="s", samples=samples["distinct"], target=SMALL_COMPILE),
        figure(name=f"compile {settings.large}", unit="s", samples=samples["large"], note=shared),
        figure(name="growth of compile, a step", unit="x", samples=growth, target=MOST_GROWTH),
    ]


def measure_growth(settings: Settings) -> list[Figure]:
    """The figures of large runs on every backend."""
    figures: list[Figure] = []
    for backend in settings.backends:
        check_shape(layered(settings.large), backend)
        samples: Samples = {"small": [], "large": [], "total": []}
        for _ in range(settings.rounds):
            samples["small"].append(_sample(settings.steps, backend)["run"])
            large = _sample(settings.large, backend)
            samples["large"].append(large["run"])
            samples["total"].append(large["compile"] + large["run"])
        figure = partial(Figure, benchmark="growth", backend=backend)
        growth = _growth(samples["large"], samples["small"], settings)
        figures += [
            figure(name=f"run {settings.large}", unit="s", samples=samples["large"]),
            figure(name=f"compile and run {settings.large}", unit="s", samples=samples["total"], target=LARGE_TOTAL),
            figure(name="growth of run, a step", unit="x", samples=growth, target=MOST_GROWTH),
        ]
    return figures
