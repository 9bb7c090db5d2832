"""What listening costs: the same run bare, with one counting subscriber, and in the other ways of looking on."""

import os
import pty
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Thread

import anyio

from benchmarks.checks import check_records
from benchmarks.figures import Figure, Target
from benchmarks.measure import Entry, Samples, ratios, take_turns
from benchmarks.overhead import MICRO
from benchmarks.settings import Settings
from benchmarks.shapes import SHAPES, Shape, declare, empty_bodies
from fusynk import Plan, compile_plan
from fusynk.events import Event, EventsDropped, Subscriber

ONE = "one counting subscriber"
LIVE = "the live view on a terminal"
TARGETS = {ONE: Target("at most", 1.5), LIVE: Target("at most", 1.2)}


Count = Callable[[Event], None]


def counting() -> tuple[Count, Callable[[], int]]:
    """A subscriber that only counts, and what tells how many events there were since it was asked last."""
    counted = 0

    def count(_event: Event) -> None:
        nonlocal counted
        counted += 1

    def total() -> int:
        nonlocal counted
        before, counted = counted, 0
        return before

    return count, total


@contextmanager
def terminal() -> Generator[None]:
    """Lets the standard error lead to a terminal that somebody reads."""
    master, slave = pty.openpty()
    reader = Thread(target=_read, args=(master,))
    reader.start()
    former, sys.stderr = sys.stderr, os.fdopen(slave, "w", encoding="utf-8")
    try:
        yield
    finally:
        stream, sys.stderr = sys.stderr, former
        stream.close()
        reader.join()
        os.close(master)


def _read(master: int) -> None:
    with suppress(OSError):  # all have closed their end
        while os.read(master, 65_536):
            pass


async def follow(plan: Plan[None, object]) -> int:
    """Runs a plan beside a task that reads its events, and counts those with the ones that were dropped."""
    counted = 0
    async with plan.start() as handle, anyio.create_task_group() as group:
        stream = handle.events()

        async def read() -> None:
            nonlocal counted
            async for event in stream:
                counted += event.count if isinstance(event, EventsDropped) else 1

        group.start_soon(read)
    return counted


async def check_counts(shape: Shape, plan: Plan[None, object]) -> None:
    """Runs the plan in every way of listening and looks at what was heard.

    Raises:
        AssertionError: When there are not two events for every step, and two for the run.
    """
    due = 2 * len(shape) + 2
    count, total = counting()
    for subscribers in ([count], [count, count], [Subscriber(count, buffer=due)]):
        check_records(await plan.options(subscribers=subscribers).run(), len(shape))
        told = total()
        assert told == due * len(subscribers), f"{told} events were told, not {due}"
    told = await follow(plan)
    assert told == due, f"{told} events were told or dropped, not {due}"


async def _compare(shape: Shape, rounds: int) -> Samples:
    plan = compile_plan(declare(shape, empty_bodies(shape)))
    await check_counts(shape, plan)
    count, _ = counting()
    drawn = plan.options(progress=True)

    async def draw() -> object:
        with terminal():
            return await drawn.run()

    entries = {
        "bare": Entry(plan.run),
        ONE: Entry(plan.options(subscribers=[count]).run),
        "two subscribers": Entry(plan.options(subscribers=[count, count]).run),
        "an iterator": Entry(partial(follow, plan)),
        "one in a thread": Entry(plan.options(subscribers=[Subscriber(count)]).run),
        LIVE: Entry(draw),
    }
    return await take_turns(entries, rounds)


def _figures(shape: Shape, backend: str, samples: Samples) -> Sequence[Figure]:
    bare = Figure(
        benchmark="events",
        backend=backend,
        name=f"{shape.name}, bare, a step",
        unit="us",
        samples=[seconds / len(shape) * MICRO for seconds in samples["bare"]],
    )
    listening = [
        Figure(
            benchmark="events",
            backend=backend,
            name=f"{shape.name}, {way}, times bare",
            unit="x",
            samples=ratios(taken, samples["bare"]),
            target=TARGETS.get(way),
        )
        for way, taken in samples.items()
        if way != "bare"
    ]
    return [bare, *listening]


def measure_events(settings: Settings) -> list[Figure]:
    """The figures of every shape on every backend."""
    figures: list[Figure] = []
    for make in SHAPES.values():
        shape = make(settings.steps)
        for backend in settings.backends:
            figures += _figures(shape, backend, anyio.run(_compare, shape, settings.rounds, backend=backend))
    return figures
