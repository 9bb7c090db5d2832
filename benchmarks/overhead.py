"""What a step costs in a chain, a wide graph and a layered one."""

import anyio

from benchmarks.checks import check_records, check_shape
from benchmarks.contenders import TaskPerStep, bare_loop
from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, Samples, ratios, take_turns
from benchmarks.settings import Settings
from benchmarks.shapes import SHAPES, Shape, declare, empty_bodies
from fusynk import compile_plan

MICRO = 1e6
BARE_CALLS = 20  # a bare loop of 10,000 takes under a millisecond
MOST_OVER_BARE = {"asyncio": 25, "trio": 30}
LEAST_UNDER_TASKS = 15


def measure_shape(name: str, settings: Settings) -> list[Figure]:
    """The figures of one shape on every backend."""
    shape = SHAPES[name](settings.steps)
    figures: list[Figure] = []
    for backend in settings.backends:
        check_shape(shape, backend)
        samples = anyio.run(_compare, shape, settings.rounds, backend=backend)
        figures += _figures(shape, backend, samples)
    return figures


async def _compare(shape: Shape, rounds: int) -> Samples:
    plan = compile_plan(declare(shape, empty_bodies(shape)))
    check_records(await plan.run(), len(shape))
    entries = {
        "bare loop": Entry(bare_loop(shape), BARE_CALLS),
        "fusynk": Entry(plan.run),
        "task per step": Entry(TaskPerStep(shape)),
    }
    return await take_turns(entries, rounds)


def _figures(shape: Shape, backend: str, samples: Samples) -> list[Figure]:
    figures = [
        Figure(
            benchmark=shape.name,
            backend=backend,
            name=f"{contender}, a step",
            unit="us",
            samples=[seconds / len(shape) * MICRO for seconds in taken],
        )
        for contender, taken in samples.items()
    ]
    over_bare = Figure(
        benchmark=shape.name,
        backend=backend,
        name="times a bare loop",
        unit="x",
        samples=ratios(samples["fusynk"], samples["bare loop"]),
        target=Target("at most", MOST_OVER_BARE[backend]),
    )
    under_tasks = Figure(
        benchmark=shape.name,
        backend=backend,
        name="times less than a task per step",
        unit="x",
        samples=ratios(samples["task per step"], samples["fusynk"]),
        target=Target("at least", LEAST_UNDER_TASKS),
    )
    return [*figures, over_bare, under_tasks]
