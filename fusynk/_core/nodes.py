"""From declared units to nodes: follow every edge, resolve every name, expand every process."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MethodType
from typing import Any, cast

from fusynk._core.markers import Artifact, Each, Predicate, Use, When
from fusynk._core.model import UNSET
from fusynk._core.registry import AnyLayer, Namespace, resolve_name
from fusynk._core.signature import Parameter, read_parameters
from fusynk._core.unit import BoundLayer, Layer, Members, Unit, plain_function
from fusynk._core.wiring import EdgeKind
from fusynk.errors import (
    InvalidDeclaration,
    MisplacedEach,
    PlanFault,
    UnknownDependency,
    UnknownParameter,
    did_you_mean,
)


@dataclass(slots=True, eq=False)
class Fill:
    """How one parameter is filled: by the edge at a position, or by an input (position -1)."""

    parameter: Parameter
    edge: int
    default: object = UNSET


@dataclass(slots=True, eq=False)
class Node:
    """A unit, perhaps bound to an instance, with its edges as they are found."""

    unit: Unit | None
    instance: object
    layer: AnyLayer | None
    function: Callable[..., object] | None = None
    fills: list[Fill] = field(default_factory=list["Fill"])
    sources: list["Node"] = field(default_factory=list["Node"])
    kinds: bytearray = field(default_factory=bytearray)
    conditions: dict[int, Predicate] = field(default_factory=dict[int, Predicate])
    members: list["Node"] = field(default_factory=list["Node"])
    each_edge: int = -1
    delay: float = -1.0
    sequence: int = 0

    @property
    def name(self) -> str:
        """The unit's name; empty for a barrier."""
        return self.unit.name if self.unit is not None else ""

    @property
    def where(self) -> str:
        """The unit's name and place, as errors begin."""
        return f"{self.unit.name!r} ({self.unit.location})" if self.unit is not None else ""

    def connect(self, source: "Node", kind: EdgeKind, condition: Predicate | None = None) -> int:
        """Add an edge and return its position."""
        position = len(self.sources)
        self.sources.append(source)
        self.kinds.append(kind)
        if condition is not None:
            self.conditions[position] = condition
        return position


def normalise(target: object) -> tuple[AnyLayer, object] | None:
    """Return the unit and the instance that something stands for, or `None` if it is no unit."""
    if isinstance(target, BoundLayer):
        bound = cast("BoundLayer[..., Any, Any]", target)
        return cast("AnyLayer", bound.layer), bound.instance
    if isinstance(target, MethodType) and isinstance(target.__func__, Layer):
        return cast("AnyLayer", target.__func__), target.__self__
    plain = plain_function(target)
    return (cast("AnyLayer", plain), None) if isinstance(plain, Layer) else None


class Collector:
    """Follows edges from the targets and makes a node of every unit they reach.

    Faults are gathered, not raised, so that all of them are told at once.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.faults: list[PlanFault] = []
        self._known: dict[tuple[int, int], Node] = {}
        self._open: list[Node] = []
        self._parameters: dict[tuple[int, bool], tuple[Parameter, ...]] = {}

    def collect(self, targets: Iterable[tuple[AnyLayer, object]]) -> list[Node]:
        """Return the nodes of the targets; `nodes` then holds everything they reach."""
        found = [self.node(layer, instance) for layer, instance in targets]
        while self._open:
            self._expand(self._open.pop())
        return found

    def node(self, layer: AnyLayer, instance: object) -> Node:
        """Return the one node of a unit and an instance."""
        key = (id(layer), id(instance) if instance is not None else 0)
        known = self._known.get(key)
        if known is None:
            unit = layer.unit
            function = unit.function
            if function is not None and instance is not None:
                function = cast("Callable[..., object]", MethodType(function, instance))
            known = Node(unit, instance, layer, function, sequence=unit.sequence)
            self._known[key] = known
            self.nodes.append(known)
            self._open.append(known)
        return known

    def fault(self, kind: type[PlanFault], node: Node, message: str) -> None:
        """Note a fault of a node; the message follows the unit's name and place."""
        unit = cast("Unit", node.unit)
        self.faults.append(kind(f"{node.where} {message}", unit=unit.name, location=str(unit.location)))

    def _expand(self, node: Node) -> None:
        unit = cast("Unit", node.unit)
        if unit.members is not None:
            node.members = self._member_nodes(node, unit.members)
        by_name = self._order_sources(node, unit)
        for parameter in self._read(node):
            self._fill(node, unit, parameter, by_name)
        if unit.each and node.each_edge < 0:
            self.fault(MisplacedEach, node, "is declared by .each, but no parameter has each(...) as its default.")
        for source, condition, used in by_name.values():
            if not used:
                node.connect(source, EdgeKind.ORDER, condition)
        self._connect_members(node, unit)

    def _read(self, node: Node) -> tuple[Parameter, ...]:
        if node.function is None:
            return ()
        key = id(getattr(node.function, "__func__", node.function)), node.instance is not None
        if key not in self._parameters:
            try:
                self._parameters[key] = read_parameters(node.function)
            except (ValueError, TypeError) as error:
                self.fault(
                    UnknownParameter, node, f"has no signature that Python can tell ({error}); wrap it in a def."
                )
                return ()
        found = self._parameters[key]
        unit = cast("Unit", node.unit)
        known = [parameter.name for parameter in found]
        for name in unit.bind:
            if name not in known:
                hint = did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
                self.fault(UnknownParameter, node, f"has no parameter {name!r} to bind.{hint}")
        return found

    def _order_sources(self, node: Node, unit: Unit) -> dict[str, list[Any]]:
        """Resolve `depends_on`: for each source its node, its condition, and whether a parameter took it."""
        found: dict[str, list[Any]] = {}
        for position, written in enumerate(unit.depends_on):
            condition = written.predicate if isinstance(written, When) else None
            source = self.resolve(node, written.source if isinstance(written, When) else written)
            if source is not None:
                name = source.name if source.name not in found else f"{source.name}\0{position}"
                found[name] = [source, condition, False]
        return found

    def _fill(self, node: Node, unit: Unit, parameter: Parameter, by_name: dict[str, list[Any]]) -> None:
        """Bind one parameter: its marker, the builder, `depends_on` by name, or else an input."""
        marker = parameter.default
        if isinstance(marker, Each):
            self._fill_each(node, unit, parameter, marker)
        elif isinstance(marker, Use):
            self._fill_use(node, parameter, marker)
        elif parameter.name in unit.bind:
            source = self.resolve(node, unit.bind[parameter.name])
            if source is not None:
                node.fills.append(Fill(parameter, node.connect(source, EdgeKind.DATA)))
        elif parameter.name in by_name:
            entry = by_name[parameter.name]
            entry[2] = True
            node.fills.append(Fill(parameter, node.connect(entry[0], EdgeKind.DATA, entry[1])))
        else:
            node.fills.append(Fill(parameter, -1, parameter.default))

    def _fill_use(self, node: Node, parameter: Parameter, marker: Use) -> None:
        source = self.resolve(node, marker.source)
        if source is None:
            return
        if marker.outcome:
            kind = EdgeKind.OUTCOME
        elif marker.default is not UNSET:
            kind = EdgeKind.DEFAULT
        else:
            kind = EdgeKind.MEMBER_DATA if source in node.members else EdgeKind.DATA
        node.fills.append(Fill(parameter, node.connect(source, kind, marker.when), marker.default))

    def _fill_each(self, node: Node, unit: Unit, parameter: Parameter, marker: Each) -> None:
        if not unit.each:
            self.fault(
                MisplacedEach, node, f"has each(...) on {parameter.name!r}; declare it with @layer.each to fan out."
            )
            return
        if node.each_edge >= 0:
            self.fault(
                MisplacedEach, node, f"has a second each(...) on {parameter.name!r}; fan out over one collection."
            )
            return
        source = self.resolve(node, marker.source)
        if source is not None:
            chained = source.unit is not None and source.unit.each
            node.each_edge = node.connect(source, EdgeKind.CHAIN if chained else EdgeKind.DATA)
            node.fills.append(Fill(parameter, node.each_edge))

    def resolve(self, node: Node, source: Artifact[object] | str) -> Node | None:
        """Return the node of an edge's source as seen from another node, or note why there is none."""
        unit = cast("Unit", node.unit)
        try:
            layer, instance = _sibling(_found(source, unit.namespace), node.instance)
        except (UnknownDependency, InvalidDeclaration) as error:
            self.fault(UnknownDependency, node, f"depends on {error}")
            return None
        return self.node(layer, instance)

    def _member_nodes(self, node: Node, members: Members) -> list[Node]:
        found = [self.resolve(node, member) for member in members.units]
        known: list[Node] = []
        for member in found:
            if member is not None and member in known:
                self.fault(PlanFault, node, f"lists member {member.name!r} twice; list it once.")
            elif member is not None:
                known.append(member)
        return known

    def _connect_members(self, node: Node, unit: Unit) -> None:
        """Let a process wait for its members; one without a function collects their artifacts."""
        taken = {id(source) for source in node.sources}
        for member in node.members:
            if unit.function is None:
                parameter = Parameter(member.name, keyword_only=True, annotation=UNSET, default=UNSET)
                node.fills.append(Fill(parameter, node.connect(member, EdgeKind.MEMBER), _ABSENT))
            elif id(member) not in taken:
                node.connect(member, EdgeKind.MEMBER)
        if unit.function is None:
            node.function = _collect_artifacts


class _Absent:
    """Stands for a member that a condition skipped."""


_ABSENT = _Absent()


def _collect_artifacts(**artifacts: object) -> dict[str, object]:
    """Be the function of a process that has none."""
    return {name: artifact for name, artifact in artifacts.items() if artifact is not _ABSENT}


def _found(source: Artifact[object] | str, namespace: Namespace) -> tuple[AnyLayer, object]:
    if isinstance(source, str):
        return resolve_name(source, namespace), None
    found = normalise(source)
    if found is None:
        message = f"{source!r}, which is no unit."
        raise UnknownDependency(message)
    return found


def _sibling(found: tuple[AnyLayer, object], instance: object) -> tuple[AnyLayer, object]:
    """Bind a method's sibling to the same instance, the way a subclass overrides it."""
    layer, own = found
    attribute = layer.attribute
    if instance is None or own is not None or attribute is None:
        return found
    owner = instance if isinstance(instance, type) else type(instance)
    if not any(plain_function(base.__dict__.get(attribute)) is layer for base in owner.__mro__):
        return found
    bound = normalise(getattr(instance, attribute))
    if bound is None:
        message = f"{attribute!r}, which {owner.__name__} overrides by something that is no unit; decorate it too."
        raise UnknownDependency(message)
    return bound


def connect_run_modes(nodes: Sequence[Node]) -> list[Node]:
    """Add the edges and barriers of all run modes and return the barriers."""
    barriers: list[Node] = []
    for node in nodes:
        members = node.unit.members if node.unit is not None else None
        if members is None or members.mode == "parallel":
            continue
        size = members.size if members.mode == "batched" else 1
        groups = [node.members[start : start + size] for start in range(0, len(node.members), size)]
        delay = members.delay if members.mode == "isolated" else 0.0
        for former, later in pairwise(groups):
            barrier = Node(None, None, None, delay=delay, sequence=node.sequence)
            for member in former:
                barrier.connect(member, EdgeKind.BARRIER)
            for inner in _inside(later):
                inner.connect(barrier, EdgeKind.BARRIER)
            barriers.append(barrier)
    return barriers


def _inside(members: Sequence[Node]) -> list[Node]:
    """Return members and, for processes among them, what these consist of."""
    found: dict[int, Node] = {}
    waiting = list(reversed(members))
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting.extend(reversed(node.members))
    return list(found.values())
