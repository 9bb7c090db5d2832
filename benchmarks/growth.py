"""What compiling costs, and how compiling and running grow from 10,000 steps to 100,000."""

import gc
from functools import partial
from time import process_time
from types import FunctionType

import anyio

from benchmarks.checks import check_records, check_shape
from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, Samples, middle, ratios, take_turns
from benchmarks.settings import Settings
from benchmarks.shapes import Body, Shape, declare, empty_bodies, layered
from fusynk import Graph, Plan, compile_plan

SMALL_COMPILE = Target("below", 0.6)
LARGE_TOTAL = Target("below", 10)
MOST_GROWTH = Target("at most", 1.3)


def copies(bodies: list[Body]) -> list[Body]:
    """A function of its own for each step, as decorated code has."""
    copied: list[Body] = []
    for body in bodies:
        assert isinstance(body, FunctionType)
        copy = FunctionType(body.__code__, body.__globals__, body.__name__)
        copy.__annotations__ = body.__annotations__
        copied.append(copy)
    return copied


async def _compile(graph: Graph) -> Plan[object, object]:
    return compile_plan(graph)


def measure_compile(settings: Settings) -> list[Figure]:
    """The figures of `compile_plan` on the layered graph; no event loop matters."""
    return anyio.run(_measure_compile, settings)


async def _measure_compile(settings: Settings) -> list[Figure]:
    small, large = layered(settings.steps), layered(settings.large)
    samples = await take_turns(
        {
            "declare": Entry(partial(_declare, small)),
            "compile": Entry(partial(_compile, declare(small, empty_bodies(small)))),
            "compile distinct": Entry(partial(_compile, declare(small, copies(empty_bodies(small))))),
            "compile large": Entry(partial(_compile, declare(large, empty_bodies(large)))),
        },
        settings.rounds,
    )
    figure = partial(Figure, benchmark="compile")
    shared = "over three shared functions"
    return [
        figure(name=f"declare {len(small)}", unit="s", samples=samples["declare"]),
        figure(name=f"compile {len(small)}", unit="s", samples=samples["compile"], target=SMALL_COMPILE, note=shared),
        figure(
            name=f"compile {len(small)} distinct functions",
            unit="s",
            samples=samples["compile distinct"],
            target=SMALL_COMPILE,
        ),
        figure(name=f"compile {len(large)}", unit="s", samples=samples["compile large"], note=shared),
        figure(
            name="growth of compile, a step",
            unit="x",
            samples=_growth(samples, "compile", "compile large", settings),
            target=MOST_GROWTH,
        ),
    ]


async def _declare(shape: Shape) -> Graph:
    return declare(shape, empty_bodies(shape))


def _growth(samples: Samples, small: str, large: str, settings: Settings) -> list[float]:
    scale = settings.large / settings.steps
    return [ratio / scale for ratio in ratios(samples[large], samples[small])]


def measure_growth(settings: Settings) -> list[Figure]:
    """The figures of large runs on every backend."""
    large = layered(settings.large)
    figures: list[Figure] = []
    for backend in settings.backends:
        check_shape(large, backend)
        figures += anyio.run(_measure_growth, backend, settings, backend=backend)
    return figures


async def _measure_growth(backend: str, settings: Settings) -> list[Figure]:
    small, large = layered(settings.steps), layered(settings.large)
    small_plan = compile_plan(declare(small, empty_bodies(small)))
    graph = declare(large, empty_bodies(large))
    gc.collect()
    started = process_time()
    large_plan = compile_plan(graph)
    compiling = process_time() - started
    check_records(await large_plan.run(), len(large))
    calls = max(1, settings.large // settings.steps)  # so that both samples take about as long
    entries = {"small": Entry(small_plan.run, calls), "large": Entry(large_plan.run)}
    samples = await take_turns(entries, settings.rounds)
    figure = partial(Figure, benchmark="growth", backend=backend)
    total = compiling + middle(samples["large"])
    return [
        figure(name=f"run {len(large)}", unit="s", samples=samples["large"]),
        figure(name=f"compile and run {len(large)}", unit="s", samples=[total], target=LARGE_TOTAL),
        figure(
            name="growth of run, a step",
            unit="x",
            samples=_growth(samples, "small", "large", settings),
            target=MOST_GROWTH,
        ),
    ]
