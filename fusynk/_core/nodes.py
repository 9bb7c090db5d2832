"""From declared units to nodes: follow every edge, resolve every name, expand every process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import MethodType
from typing import Any, cast

from fusynk._core.faults import Faults
from fusynk._core.layer import BoundLayer, ClassScope, Layer, plain_function
from fusynk._core.markers import Artifact, Each, Predicate, Use, When, advice
from fusynk._core.model import UNSET
from fusynk._core.registry import AnyLayer, Namespace, resolve_name
from fusynk._core.signature import Parameter, read_parameters
from fusynk._core.unit import Members, Unit
from fusynk._core.wiring import ABSENT, FROM_INPUT, EdgeKind
from fusynk.errors import (
    InvalidDeclaration,
    MisplacedEach,
    PlanFault,
    UnknownDependency,
    UnknownParameter,
    did_you_mean,
    shown,
)

_BROKEN = -2
_MOST_HINTS = 20


@dataclass(slots=True, eq=False)
class Node:
    """A unit, perhaps bound to an instance, with its edges as they are found.

    `edges` holds for each of the `parameters` the position of the edge that brings its value, or `FROM_INPUT`.
    A node without a unit is a barrier of the process `group`.
    """

    unit: Unit | None
    instance: object
    layer: AnyLayer | None
    function: Callable[..., object] | None = None
    parameters: tuple[Parameter, ...] = ()
    edges: tuple[int, ...] = ()
    sources: list["Node"] = field(default_factory=list["Node"])
    kinds: bytearray = field(default_factory=bytearray)
    conditions: dict[int, Predicate] | None = None
    members: Sequence["Node"] = ()
    group: "Node | None" = None
    each_edge: int = -1
    delay: float = -1.0
    sequence: int = 0

    @property
    def name(self) -> str:
        """The unit's name; empty for a barrier."""
        return self.unit.name if self.unit is not None else ""

    @property
    def priority(self) -> int:
        """The unit's priority; a barrier has none of its own."""
        return self.unit.options.priority if self.unit is not None else 0

    def connect(self, source: "Node", kind: EdgeKind, condition: Predicate | None = None) -> int:
        """Add an edge and return its position."""
        position = len(self.sources)
        self.sources.append(source)
        self.kinds.append(kind)
        if condition is not None:
            self.conditions = self.conditions or {}
            self.conditions[position] = condition
        return position

    def from_inputs(self) -> Iterator[Parameter]:
        """Yield the parameters that are inputs of the plan."""
        return (one for one, edge in zip(self.parameters, self.edges, strict=False) if edge == FROM_INPUT)

    def from_edges(self) -> Iterator[tuple[Parameter, int]]:
        """Yield the parameters that an edge fills, with its position."""
        return ((one, edge) for one, edge in zip(self.parameters, self.edges, strict=False) if edge >= 0)


def normalise(target: object) -> tuple[AnyLayer, object] | None:
    """Return the unit and the instance that something stands for, or `None` if it is no unit."""
    if isinstance(target, Layer):
        return cast("AnyLayer", target), None
    if isinstance(target, BoundLayer):
        bound = cast("BoundLayer[..., Any, Any]", target)
        return cast("AnyLayer", bound.layer), bound.instance
    if isinstance(target, MethodType) and isinstance(target.__func__, Layer):
        return cast("AnyLayer", target.__func__), target.__self__
    plain = plain_function(target)
    return (cast("AnyLayer", plain), None) if isinstance(plain, Layer) else None


class Collector:
    """Follows edges from the targets and makes a node of every unit they reach."""

    def __init__(self, faults: Faults) -> None:
        self.nodes: list[Node] = []
        self._faults = faults
        self._known: dict[tuple[int, int], Node] = {}
        self._loaded: list[Namespace] = []
        self._open: list[Node] = []
        self._edges: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._parameters: dict[tuple[int, bool], tuple[Parameter, ...]] = {}

    def collect(self, targets: Iterable[tuple[AnyLayer, object]]) -> list[Node]:
        """Return the nodes of the targets; `nodes` then holds everything they reach."""
        found = [self._node(layer, instance) for layer, instance in targets]
        while self._open:
            self._expand(self._open.pop())
        return found

    def _node(self, layer: AnyLayer, instance: object) -> Node:
        """Return the one node of a unit and an instance."""
        key = (id(layer), id(instance) if instance is not None else 0)
        known = self._known.get(key)
        if known is None:
            unit = layer.unit
            if unit.namespace.is_loaded and unit.namespace not in self._loaded:
                self._loaded.append(unit.namespace)
            function = unit.function
            if function is not None and instance is not None and not isinstance(instance, ClassScope):
                function = cast("Callable[..., object]", MethodType(function, instance))
            known = Node(unit, instance, layer, function, sequence=unit.sequence)
            self._known[key] = known
            self.nodes.append(known)
            self._open.append(known)
        return known

    def _expand(self, node: Node) -> None:
        """Find the edges of a node: parameters first, then the rest of `depends_on`, then members."""
        unit = cast("Unit", node.unit)
        if unit.members is not None:
            node.members = self._member_nodes(node, unit.members)
        by_name = self._order_sources(node, unit) if unit.depends_on else {}
        node.parameters = self._read(node, unit)
        edges = tuple([self._edge_to(node, unit, parameter, by_name) for parameter in node.parameters])
        # Most steps have edges of a few patterns; equal ones are kept once.
        node.edges = self._edges.setdefault(edges, edges)
        if unit.each and node.each_edge < 0:
            message = (
                "is declared by .each, but no parameter has each(...) as its default; name the unit to fan out over."
            )
            self._faults.add(MisplacedEach, unit, message)
        for source, condition, used in by_name.values():
            if not used:
                node.connect(source, EdgeKind.ORDER, condition)
        self._connect_members(node, unit)

    def _read(self, node: Node, unit: Unit) -> tuple[Parameter, ...]:
        """Return the parameters of a node's function; functions that are shared are read once."""
        if node.function is None:
            return ()
        key = id(getattr(node.function, "__func__", node.function)), isinstance(node.function, MethodType)
        found = self._parameters.get(key)
        if found is None:
            try:
                found = self._parameters[key] = read_parameters(node.function)
            except (ValueError, TypeError) as error:
                message = f"has no signature that Python can tell ({error}); wrap it in a def."
                self._faults.add(UnknownParameter, unit, message)
                return ()
        if unit.bind and not unit.bind.keys() <= {parameter.name for parameter in found}:
            self._note_unknown_bindings(unit, [parameter.name for parameter in found])
        return found

    def _note_unknown_bindings(self, unit: Unit, known: Sequence[str]) -> None:
        for name in unit.bind:
            if name not in known:
                hint = did_you_mean(name, known) or f" It has: {', '.join(known) or 'none'}."
                self._faults.add(UnknownParameter, unit, f"has no parameter {name!r} to bind.{hint}")

    def _order_sources(self, node: Node, unit: Unit) -> dict[str, list[Any]]:
        """Resolve `depends_on`: for each source its node, its condition, and whether a parameter took it."""
        found: dict[str, list[Any]] = {}
        for position, written in enumerate(unit.depends_on):
            condition = written.predicate if isinstance(written, When) else None
            source = self._resolve(node, written.source if isinstance(written, When) else written)
            if source is not None:
                name = source.name if source.name not in found else f"{source.name}\0{position}"
                found[name] = [source, condition, False]
        return found

    def _edge_to(self, node: Node, unit: Unit, parameter: Parameter, by_name: dict[str, list[Any]]) -> int:
        """Bind one parameter: its marker, the builder, `depends_on` by name, or else an input."""
        marker = parameter.default
        if isinstance(marker, Each):
            return self._each_edge(node, unit, parameter, marker)
        if isinstance(marker, Use):
            return self._use_edge(node, marker)
        if parameter.name in unit.bind:
            source = self._resolve(node, unit.bind[parameter.name])
            return _BROKEN if source is None else node.connect(source, EdgeKind.DATA)
        if parameter.name in by_name:
            entry = by_name[parameter.name]
            entry[2] = True
            return node.connect(entry[0], EdgeKind.DATA, entry[1])
        return FROM_INPUT

    def _use_edge(self, node: Node, marker: Use) -> int:
        source = self._resolve(node, marker.source)
        if source is None:
            return _BROKEN
        if marker.outcome:
            kind = EdgeKind.OUTCOME
        elif marker.default is not UNSET:
            kind = EdgeKind.DEFAULT
        else:
            kind = EdgeKind.MEMBER_DATA if source in node.members else EdgeKind.DATA
        return node.connect(source, kind, marker.when)

    def _each_edge(self, node: Node, unit: Unit, parameter: Parameter, marker: Each) -> int:
        problem = ""
        if not unit.each:
            problem = f"has each(...) on {parameter.name!r}; declare it with @layer.each to fan out."
        elif node.each_edge >= 0:
            problem = f"has a second each(...) on {parameter.name!r}; fan out over one collection."
        if problem:
            self._faults.add(MisplacedEach, unit, problem)
            return _BROKEN
        source = self._resolve(node, marker.source)
        if source is None:
            return _BROKEN
        chained = source.unit is not None and source.unit.each
        node.each_edge = node.connect(source, EdgeKind.CHAIN if chained else EdgeKind.DATA)
        return node.each_edge

    def _resolve(self, node: Node, source: Artifact[object] | str) -> Node | None:
        """Return the node of an edge's source as seen from another node, or note why there is none."""
        unit = cast("Unit", node.unit)
        try:
            layer, instance = _sibling(self._found(source, unit), node.instance)
        except (PlanFault, InvalidDeclaration) as error:
            self._faults.add(UnknownDependency, unit, f"depends on {error}")
            return None
        return self._node(self._stand_in(layer, unit) if self._loaded else layer, instance)

    def _stand_in(self, layer: AnyLayer, unit: Unit) -> AnyLayer:
        """Return the unit of a loaded graph that an original one became there.

        Markers in the signatures of functions that a file names still mean the units that the code declares.
        """
        if layer.unit.namespace.is_loaded:
            return layer
        own_first = sorted(self._loaded, key=lambda graph: graph is not unit.namespace)
        return next((found for graph in own_first if (found := graph.stand_in(layer)) is not None), layer)

    def _found(self, source: Artifact[object] | str, unit: Unit) -> tuple[AnyLayer, object]:
        if isinstance(source, str):
            hints = len(self._faults) < _MOST_HINTS
            return resolve_name(source, unit.namespace, unit.scope, hints=hints), None
        found = normalise(source)
        if found is None:
            message = f"{shown(source)}, which is no unit{advice(source)}."
            raise UnknownDependency(message)
        return found

    def _member_nodes(self, node: Node, members: Members) -> list[Node]:
        found = [self._resolve(node, member) for member in members.units]
        return [member for member in found if member is not None]

    def _connect_members(self, node: Node, unit: Unit) -> None:
        """Let a process wait for its members; one without a function collects their artifacts."""
        if unit.members is None:
            return
        if unit.function is None:
            node.function = _collect_artifacts
            node.parameters = tuple(Parameter(member.name, True, UNSET, ABSENT) for member in node.members)  # noqa: FBT003 - keyword-only
            node.edges = tuple([node.connect(member, EdgeKind.MEMBER) for member in node.members])
            return
        taken = {id(source) for source in node.sources}
        for member in node.members:
            if id(member) not in taken:
                node.connect(member, EdgeKind.MEMBER)


def _collect_artifacts(**artifacts: object) -> dict[str, object]:
    """Be the function of a process that has none."""
    return {name: artifact for name, artifact in artifacts.items() if artifact is not ABSENT}


def _sibling(found: tuple[AnyLayer, object], instance: object) -> tuple[AnyLayer, object]:
    """Bind a method's sibling to the same instance, the way a subclass overrides it."""
    layer, own = found
    if instance is None or own is not None:
        return found
    # A class method around the unit does not pass its name on; then the function's own is looked up.
    attribute = layer.attribute or layer.__name__
    if isinstance(instance, ClassScope):
        instance = instance.owner
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
            barrier = Node(None, None, None, group=node, delay=delay, sequence=node.sequence)
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
