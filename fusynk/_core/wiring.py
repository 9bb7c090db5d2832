"""The compiled form of a graph: steps as integers in topological order."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fusynk._core.graph import start_order
from fusynk._core.markers import Artifact, Predicate, Use
from fusynk._core.model import Location
from fusynk._core.options import UnitOptions
from fusynk._core.ready import Discipline, ready_queue
from fusynk._core.signature import Parameter


class Absent:
    """The type of `ABSENT`, which stands for a member that a condition skipped."""


ABSENT = Absent()
FROM_INPUT = -1


class EdgeKind(enum.IntEnum):
    """What an edge carries, and when it is open. The numbers fit a byte.

    DATA passes the artifact. DEFAULT does too, or a default. OUTCOME passes the outcome. ORDER passes nothing.
    BARRIER only waits. MEMBER and MEMBER_DATA lead from a member to its process, which fails with it. CHAIN leads
    from one fan-out to the next, item by item.
    """

    DATA = 0
    DEFAULT = 1
    OUTCOME = 2
    ORDER = 3
    BARRIER = 4
    MEMBER = 5
    MEMBER_DATA = 6
    CHAIN = 7


class Body(enum.IntEnum):
    """How a step's function is called.

    COROUTINE is awaited, INLINE is called on the event loop, THREAD and SUBPROCESS elsewhere. BARRIER is never called.
    RESOURCE is an asynchronous generator, or a plain one run on the event loop; THREAD_RESOURCE is a plain one whose
    parts run in threads.
    """

    COROUTINE = 0
    INLINE = 1
    THREAD = 2
    BARRIER = 3
    SUBPROCESS = 4
    RESOURCE = 5
    THREAD_RESOURCE = 6


RESOURCES = frozenset({Body.RESOURCE, Body.THREAD_RESOURCE})


@dataclass(frozen=True, slots=True)
class Argument:
    """Where one argument of a step comes from.

    Attributes:
        parameter: The parameter it is for.
        cell: Which cell holds the value: the step that yields it, or an input.
        edge: Which of the step's edges brings it, or `FROM_INPUT`.
        default: What is passed where the edge brings nothing, or `UNSET`.
    """

    parameter: Parameter
    cell: int
    edge: int
    default: object


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanInput:
    """One input of a plan.

    Attributes:
        name: Its name.
        type: Its annotation, or `UNSET`.
        default: Its default, or `UNSET` where it must be given.
        needed_by: The units that ask for it, in plan order.
    """

    name: str
    type: object
    default: object
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wiring:
    """A checked graph as parallel tuples; index i is step i in topological order.

    A step's artifact is kept in cell i; the inputs follow in the cells after the steps. Barriers are steps without a
    unit, made by run modes.

    Attributes:
        names: The steps' names.
        layers: The units, `None` for barriers.
        instances: What each unit is bound to, or `None`.
        functions: What to call.
        bodies: How to call it, as bytes of `Body`.
        options: What was said at each decorator.
        locations: Where each unit is declared.
        predecessors: What each step waits for, an entry an edge: parameters first, then `depends_on`.
        kinds: The kind of each of these edges, as bytes of `EdgeKind`.
        successors: What waits for each step.
        conditions: The predicate of an edge, by (step, position of the edge).
        parameters: The parameters of each step's function.
        edges: For each parameter the position of the edge that brings its value, or `FROM_INPUT`.
        fan_outs: For each fan-out, the edge that brings its items.
        delays: For each barrier, how many seconds it holds.
        priorities: Larger starts sooner.
        inputs: The plan's inputs, in the order of their cells.
        input_cells: The cell of each input.
        index: The step of each name.
        warnings: What is legal but looks like a mistake.
        orders: Kept by `in_order`, which every run may ask.
    """

    names: tuple[str, ...]
    layers: tuple[Artifact[object] | None, ...]
    instances: tuple[object, ...]
    functions: tuple[Callable[..., object], ...]
    bodies: bytes
    options: tuple[UnitOptions, ...]
    locations: tuple[Location, ...]
    predecessors: tuple[tuple[int, ...], ...]
    kinds: tuple[bytes, ...]
    successors: tuple[tuple[int, ...], ...]
    conditions: Mapping[tuple[int, int], Predicate]
    parameters: tuple[tuple[Parameter, ...], ...]
    edges: tuple[tuple[int, ...], ...]
    fan_outs: Mapping[int, int]
    delays: Mapping[int, float]
    priorities: tuple[int, ...]
    inputs: tuple[PlanInput, ...]
    input_cells: Mapping[str, int]
    index: Mapping[str, int]
    warnings: tuple[str, ...]
    orders: dict[Discipline, tuple[int, ...]] = field(default_factory=dict[Discipline, tuple[int, ...]])

    def steps(self) -> list[int]:
        """Return the steps that a user declared, in topological order."""
        return [step for step in range(len(self.names)) if step not in self.delays]

    def step_names(self) -> list[str]:
        """Return the names of the declared steps, in topological order."""
        return [self.names[step] for step in self.steps()]

    def dependencies(self) -> list[tuple[int, ...]]:
        """Return what each declared step waits for, in the order of `steps()`; run modes lead past their barriers.

        The numbers are places in `steps()`.
        """
        place = {step: number for number, step in enumerate(self.steps())}
        found: list[tuple[int, ...]] = []
        for step in place:
            sources: dict[int, None] = {}
            for source in self.predecessors[step]:
                reached = self.predecessors[source] if source in self.delays else (source,)
                sources.update(dict.fromkeys(place[one] for one in reached))
            found.append(tuple(sources))
        return found

    def in_order(self, discipline: Discipline) -> tuple[int, ...]:
        """Return the declared steps as one slot would start them."""
        if discipline not in self.orders:
            order = start_order(self.predecessors, self.successors, ready_queue(self.priorities, discipline))
            self.orders[discipline] = tuple(step for step in order if step not in self.delays)
        return self.orders[discipline]

    def depths(self) -> list[int]:
        """Return the level of each step; a barrier lies on no level of its own."""
        depths: list[int] = []
        for step, sources in enumerate(self.predecessors):
            deepest = max((depths[source] for source in sources), default=-1)
            depths.append(deepest if step in self.delays else deepest + 1)
        return depths

    def cells_of(self, step: int) -> list[int]:
        """Return for each parameter of a step the cell that holds its value."""
        row, input_cells = self.predecessors[step], self.input_cells
        return [
            row[edge] if edge >= 0 else input_cells[parameter.name]
            for parameter, edge in zip(self.parameters[step], self.edges[step], strict=True)
        ]

    def arguments_of(self, step: int) -> tuple[Argument, ...]:
        """Return where each argument of a step comes from."""
        return tuple(
            Argument(parameter, cell, edge, _default_of(parameter))
            for parameter, cell, edge in zip(self.parameters[step], self.cells_of(step), self.edges[step], strict=True)
        )


def _default_of(parameter: Parameter) -> object:
    """Return what is passed where an edge brings nothing."""
    return parameter.default.default if isinstance(parameter.default, Use) else parameter.default
