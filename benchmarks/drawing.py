"""What drawing a graph costs."""

import gc
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time

from benchmarks.figures import Figure, Target
from benchmarks.settings import Settings
from benchmarks.shapes import SEED
from fusynk.render.layout import lay_out
from fusynk.render.text import draw, draw_rails, draw_text

Predecessors = Sequence[Sequence[int]]
# 20 nodes on 11 levels with 29 edges, of which several pass levels: a nightly job of a shop.
SHOP: Predecessors = (
    *((), (0,), (0,), (1,), (1,), (1,), (2, 3), (3,), (4,), (7, 8), (9, 5), (10, 6), (11,), (12, 4), (11,), (10,)),
    *((11, 15), (14, 16, 9), (17, 13), (18, 0)),
)


@dataclass(frozen=True, slots=True)
class Case:
    """A graph, how to draw it, and what that may cost.

    Attributes:
        name: What figures call it.
        predecessors: For each node, what it depends on.
        drawn: How.
        seconds: At most so many.
    """

    name: str
    predecessors: Predecessors
    drawn: Callable[[Sequence[str], Predecessors], str]
    seconds: float


def sparse(nodes: int) -> Predecessors:
    """Each node depends on one or two of the thirty before it."""
    chance = random.Random(SEED)
    return [
        sorted({chance.randrange(max(0, node - 30), node) for _ in range(chance.randint(1, 2))}) if node > 4 else ()  # noqa: PLR2004 (the first five depend on nothing)
        for node in range(nodes)
    ]


def dense(nodes: int, density: float) -> Predecessors:
    """Each pair is connected with the same probability."""
    chance = random.Random(SEED)
    return [[source for source in range(node) if chance.random() < density] for node in range(nodes)]


def levels(count: int, width: int) -> Predecessors:
    """Each node depends on all of the level before."""
    return [
        range((node // width - 1) * width, node // width * width) if node >= width else ()
        for node in range(count * width)
    ]


def boxes(names: Sequence[str], predecessors: Predecessors) -> str:
    """Boxes and lines, however wide."""
    return draw_text(lay_out(names, predecessors))


CASES = (
    Case("20 nodes, 29 edges, 11 levels", SHOP, boxes, 0.05),
    Case("200 nodes, sparse", sparse(200), boxes, 1),
    Case("1,000 nodes, sparse", sparse(1_000), boxes, 5),
    Case("40 nodes, density .35", dense(40, 0.35), boxes, 2),
    Case("1,000 nodes, a chain", [(node - 1,) if node else () for node in range(1_000)], boxes, 2),
    Case("500 nodes that nothing connects", [()] * 500, boxes, 2),
    Case("2 levels of 300, dense", levels(2, 300), partial(draw, width=None), 5),
    Case("200 nodes, sparse, on rails", sparse(200), draw_rails, 0.1),
)


def measure_drawing(settings: Settings) -> list[Figure]:
    """CPU seconds of each case; the event loop does not matter."""
    return [
        Figure(
            benchmark="drawing",
            name=case.name,
            unit="s",
            samples=[_seconds(case) for _ in range(settings.rounds)],
            target=Target("below", case.seconds),
        )
        for case in CASES
        if len(case.predecessors) <= settings.steps
    ]


def _seconds(case: Case) -> float:
    names = [f"unit_{node}" for node in range(len(case.predecessors))]
    gc.collect()
    started = process_time()
    text = case.drawn(names, case.predecessors)
    seconds = process_time() - started
    assert all(name in text for name in names)
    return seconds
