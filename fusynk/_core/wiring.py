"""The compiled form of a graph: steps as integers in topological order."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fusynk._core.markers import Predicate
from fusynk._core.model import Location
from fusynk._core.options import UnitOptions


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
    """How a step's function is called."""

    COROUTINE = 0
    INLINE = 1
    THREAD = 2
    BARRIER = 3


@dataclass(frozen=True, slots=True)
class Argument:
    """Where one argument of a step comes from.

    Attributes:
        parameter: The parameter's name.
        keyword: Whether it is passed by name.
        cell: Which cell holds the value: the step that yields it, or an input.
        edge: Which of the step's edges brings it, or -1 for an input.
        default: What is passed where the edge brings nothing, or `UNSET`.
    """

    parameter: str
    keyword: bool
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
    name of their own, made by run modes.

    Attributes:
        names: The steps' names.
        keys: What a user looks a step up by: (id of the unit, id of the instance).
        functions: What to call.
        bodies: How to call it, as bytes of `Body`.
        options: What was said at each decorator.
        locations: Where each unit is declared.
        predecessors: What each step waits for, an entry an edge: parameters first, then `depends_on`.
        kinds: The kind of each of these edges, as bytes of `EdgeKind`.
        successors: What waits for each step.
        conditions: The predicate of an edge, by (step, position of the edge).
        arguments: Where the arguments of each step come from.
        fan_outs: For each fan-out, the edge that brings its items.
        delays: For each barrier, how many seconds it holds.
        priorities: Larger starts sooner.
        inputs: The plan's inputs, in the order of their cells.
        index: The step of each name.
        warnings: What is legal but looks like a mistake.
    """

    names: tuple[str, ...]
    keys: tuple[tuple[int, int], ...]
    functions: tuple[Callable[..., object], ...]
    bodies: bytes
    options: tuple[UnitOptions, ...]
    locations: tuple[Location, ...]
    predecessors: tuple[tuple[int, ...], ...]
    kinds: tuple[bytes, ...]
    successors: tuple[tuple[int, ...], ...]
    conditions: Mapping[tuple[int, int], Predicate]
    arguments: tuple[tuple[Argument, ...], ...]
    fan_outs: Mapping[int, int]
    delays: Mapping[int, float]
    priorities: tuple[int, ...]
    inputs: tuple[PlanInput, ...]
    index: Mapping[str, int]
    warnings: tuple[str, ...] = ()
    owners: tuple[object, ...] = field(default=(), repr=False)

    def steps(self) -> list[int]:
        """Return the steps that a user declared, in plan order."""
        return [step for step in range(len(self.names)) if step not in self.delays]

    def step_of_key(self) -> dict[tuple[int, int], int]:
        """Return the step of each (unit, instance)."""
        return {self.keys[step]: step for step in self.steps()}
