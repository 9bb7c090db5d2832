"""What fusynk is measured against: the same coroutines, awaited by hand."""

from collections import Counter
from collections.abc import Awaitable, Callable

import anyio

from benchmarks.shapes import FAN_IN, Shape, empty_bodies, follow, join, source

Contender = Callable[[], Awaitable[object]]
CONCURRENCY = 32


def bare_loop(shape: Shape) -> Contender:
    """The floor: awaits one coroutine for each step, of the function that most steps have; it keeps nothing."""
    loops: dict[int, Callable[[int], Awaitable[None]]] = {0: _await_sources, 1: _await_followers, FAN_IN: _await_joins}
    usual = loops[Counter(map(len, shape.arguments)).most_common(1)[0][0]]
    return lambda: usual(len(shape))


async def _await_sources(steps: int) -> None:
    for _ in range(steps):
        await source()


async def _await_followers(steps: int) -> None:
    for _ in range(steps):
        await follow(0)


async def _await_joins(steps: int) -> None:
    for _ in range(steps):
        await join(0, 0, 0)


class TaskPerStep:
    """The usual way: a task for each step, an Event for each to say that it ended, and a limiter."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.bodies = empty_bodies(shape)

    async def __call__(self) -> None:
        """Runs the whole shape."""
        artifacts = [0] * len(self.shape)
        ended = [anyio.Event() for _ in self.bodies]
        limiter = anyio.CapacityLimiter(CONCURRENCY)

        async def run_step(step: int) -> None:
            for predecessor in self.shape.predecessors[step]:
                await ended[predecessor].wait()
            async with limiter:
                received = (artifacts[argument] for argument in self.shape.arguments[step])
                artifacts[step] = await self.bodies[step](*received)
            ended[step].set()

        async with anyio.create_task_group() as group:
            for step in range(len(self.shape)):
                group.start_soon(run_step, step)


async def nothing() -> None:
    """The child of the empty group."""


async def empty_group() -> None:
    """The least that structured concurrency costs: a task group with one child that does nothing."""
    async with anyio.create_task_group() as group:
        group.start_soon(nothing)
