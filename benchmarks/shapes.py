"""Graphs to measure: a chain, a wide one with a sink, and a layered random one; and their declaration as layers."""

import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from fusynk import Artifact, Graph

Body = Callable[..., Coroutine[object, object, int]]
PARAMETERS = ("first", "second", "third")
SEED = 20261
FAN_IN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Steps as numbers, predecessors before dependents.

    Attributes:
        name: How figures call it.
        predecessors: For each step, the steps it waits for.
        arguments: For each step, those of its predecessors whose artifacts it receives, three at most.
    """

    name: str
    predecessors: Sequence[Sequence[int]]
    arguments: Sequence[Sequence[int]]

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.predecessors)


def chain(steps: int) -> Shape:
    """Each step receives the artifact of the one before."""
    edges = [() if step == 0 else (step - 1,) for step in range(steps)]
    return Shape(name="chain", predecessors=edges, arguments=edges)


def wide(steps: int) -> Shape:
    """Independent steps, and a sink that waits for them all and receives the artifact of the first."""
    sources = [()] * (steps - 1)
    return Shape(name="wide", predecessors=[*sources, range(steps - 1)], arguments=[*sources, (0,)])


def layered(steps: int, *, width: int = 100) -> Shape:
    """Levels of equal width; each step receives the artifacts of three of the level before, drawn from a fixed seed."""
    width = max(FAN_IN, min(width, steps // FAN_IN))
    chance = random.Random(SEED)
    edges: list[tuple[int, ...]] = []
    for step in range(steps):
        start = (step // width - 1) * width
        edges.append(() if start < 0 else tuple(sorted(chance.sample(range(start, start + width), FAN_IN))))
    return Shape(name="layered", predecessors=edges, arguments=edges)


SHAPES: dict[str, Callable[[int], Shape]] = {"chain": chain, "wide": wide, "layered": layered}


async def source() -> int:
    """Nothing, and needs nothing."""
    return 0


async def follow(first: int) -> int:
    """Nothing, after one step."""
    return first


async def join(first: int, second: int, third: int) -> int:  # noqa: ARG001 (the artifacts are what is being passed)
    """Nothing, after three steps."""
    return first


def empty_body(arity: int) -> Body:
    """The shared function of that many parameters that does nothing."""
    bodies: dict[int, Body] = {0: source, 1: follow, FAN_IN: join}
    return bodies[arity]


def empty_bodies(shape: Shape) -> list[Body]:
    """One shared function for each step."""
    return [empty_body(len(arguments)) for arguments in shape.arguments]


def declare(shape: Shape, bodies: Sequence[Body]) -> Graph:
    """The shape as a graph of layers named `s0`, `s1`, … over those functions."""
    graph = Graph(shape.name)
    layers: list[Artifact[int]] = []
    for step, (predecessors, arguments) in enumerate(zip(shape.predecessors, shape.arguments, strict=True)):
        bind = {PARAMETERS[place]: layers[argument] for place, argument in enumerate(arguments)}
        order_only = [layers[other] for other in predecessors if other not in arguments]
        layers.append(graph.add_layer(bodies[step], name=f"s{step}", bind=bind, depends_on=order_only))
    return graph
