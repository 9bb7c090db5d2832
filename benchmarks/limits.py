"""What a limit that never holds anybody up adds to a step."""

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.checks import check_records
from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, Samples, take_turns
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from benchmarks.shapes import Body, source
from fusynk import Graph, Limit, Plan, compile_plan

MORE_FOR_A_LIMIT = Target("below", 5)
FREE = Limit("free", concurrency=100_000)
RATED = Limit("rated", concurrency=100_000, rate="1000000/ms")
NARROW = Limit("narrow", concurrency=3)


def plan_of(steps: int, limit: Limit | None, body: Body = source) -> Plan[None, object]:
    """A plan of steps that depend on nothing, each of the limit."""
    graph = Graph("limits")
    for step in range(steps):
        graph.add_layer(body, name=f"s{step}", limit=limit)
    return compile_plan(graph)


async def check_limits(steps: int) -> None:
    """Runs steps that suspend through a narrow limit, twice at once.

    Raises:
        AssertionError: When more were alive than the limit lets, or fewer, or a step did not run exactly once.
    """
    alive, most, started = 0, 0, 0

    async def body() -> int:
        nonlocal alive, most, started
        started += 1
        alive += 1
        most = max(most, alive)
        await checkpoint()
        alive -= 1
        return 0

    async def run_and_check() -> None:
        check_records(await plan_of(steps, NARROW, body).run(), steps)

    async with anyio.create_task_group() as group:
        group.start_soon(run_and_check)
        group.start_soon(run_and_check)
    assert most == NARROW.concurrency, f"{most} were alive at once"
    assert started == 2 * steps, "not every step ran exactly once"


async def _compare(settings: Settings) -> Samples:
    await check_limits(min(settings.steps, 1000))
    plans = {
        "no limit": plan_of(settings.steps, None),
        "concurrency": plan_of(settings.steps, FREE),
        "concurrency and rate": plan_of(settings.steps, RATED),
    }
    for plan in plans.values():
        check_records(await plan.run(), settings.steps)
    return await take_turns({name: Entry(plan.run) for name, plan in plans.items()}, settings.rounds)


def measure_limits(settings: Settings) -> list[Figure]:
    """The figures of limits on every backend."""
    figures: list[Figure] = []
    for backend in settings.backends:
        samples = anyio.run(_compare, settings, backend=backend)
        per_step = {name: [seconds / settings.steps * MICRO for seconds in taken] for name, taken in samples.items()}
        figures += _figures(backend, per_step)
    return figures


def _figures(backend: str, per_step: Samples) -> list[Figure]:
    figures = [
        Figure(benchmark="limits", backend=backend, name=f"{name}, a step", unit="us", samples=taken)
        for name, taken in per_step.items()
    ]
    for name, target in {"concurrency": MORE_FOR_A_LIMIT, "concurrency and rate": None}.items():
        more = [limited - free for limited, free in zip(per_step[name], per_step["no limit"], strict=True)]
        figures.append(
            Figure(
                benchmark="limits",
                backend=backend,
                name=f"more for {name}, a step",
                unit="us",
                samples=more,
                target=target,
            )
        )
    return figures
