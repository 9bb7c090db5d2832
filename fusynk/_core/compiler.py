"""From units to a wiring: collect, check, order. Reports every fault at once."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, cast

from fusynk._core.batch import Batch
from fusynk._core.graph import cycles_among, start_order, successors_of
from fusynk._core.inputs import check_input_class, gather_inputs, unused_fields
from fusynk._core.model import UNSET, Location
from fusynk._core.nodes import Collector, Node, connect_run_modes
from fusynk._core.options import UnitOptions
from fusynk._core.ready import ready_queue
from fusynk._core.registry import AnyLayer
from fusynk._core.signature import is_coroutine_function, resolve_annotation, return_annotation
from fusynk._core.typecheck import is_incompatible, is_never_iterable, item_type, type_name
from fusynk._core.wiring import Argument, Body, EdgeKind, PlanInput, Wiring
from fusynk.errors import DependencyCycle, DuplicateName, IncompatibleEdge, InvalidPlan, ModeContradiction, PlanFault

if TYPE_CHECKING:
    from fusynk._core.markers import Predicate

_BARRIER_OPTIONS = UnitOptions()
_NOWHERE = Location("", 0)


def compile_wiring(targets: Iterable[tuple[AnyLayer, object]], inputs: type | None) -> tuple[Wiring, tuple[int, ...]]:
    """Check everything that the targets reach, and return its wiring and the targets' steps.

    Time and memory are O(V + E).

    Args:
        targets: Units and the instances they are bound to.
        inputs: The class of the plan's inputs, or `None`.

    Raises:
        InvalidPlan: With a `PlanFault` for every fault of the graph.
    """
    collector = Collector()
    wanted = collector.collect(targets)
    faults = collector.faults
    nodes = sorted(collector.nodes, key=lambda node: node.sequence)
    _check_names(nodes, faults)
    nodes += connect_run_modes(nodes)
    ordered = _in_order(nodes, faults)
    found_inputs = gather_inputs(ordered, faults)
    _check_edges(ordered, faults)
    if inputs is not None:
        check_input_class(inputs, found_inputs, faults)
    if faults:
        message = f"The plan has {len(faults)} {'fault' if len(faults) == 1 else 'faults'}:"
        raise InvalidPlan(message, faults)
    place = {id(node): step for step, node in enumerate(ordered)}
    notes = _suspicions(ordered, found_inputs, inputs)
    return _wiring(ordered, place, found_inputs, notes), tuple(place[id(node)] for node in wanted)


def _check_names(nodes: Sequence[Node], faults: list[PlanFault]) -> None:
    first: dict[str, Node] = {}
    for node in nodes:
        other = first.setdefault(node.name, node)
        if other is not node:
            message = f"{node.where} has the name of {other.where}; give one of them another name=."
            faults.append(DuplicateName(message, unit=node.name, location=node.where))


def _in_order(nodes: list[Node], faults: list[PlanFault]) -> list[Node]:
    """Return the nodes in topological order, as one slot would start them; note the cycles."""
    place = {id(node): index for index, node in enumerate(nodes)}
    predecessors = [[place[id(source)] for source in node.sources] for node in nodes]
    priorities = [node.unit.options.priority if node.unit is not None else 0 for node in nodes]
    order = start_order(predecessors, successors_of(predecessors), ready_queue(priorities, "fifo"))
    if len(order) < len(nodes):
        settled = set(order)
        left_over = [index for index in range(len(nodes)) if index not in settled]
        faults += [_cycle_fault([nodes[index] for index in cycle]) for cycle in cycles_among(predecessors, left_over)]
        return nodes
    return [nodes[index] for index in order]


def _cycle_fault(cycle: Sequence[Node]) -> PlanFault:
    """Spell out a cycle; one that goes through a barrier is the fault of a run mode."""
    named = [node for node in cycle if node.unit is not None]
    names = (*(node.name for node in named), named[0].name)
    unit = named[0].unit
    location = str(unit.location) if unit is not None else ""
    path = " -> ".join(names if len(names) <= _LONGEST_PATH else (*names[:5], "...", *names[-5:]))
    if len(named) < len(cycle):
        message = (
            f"{named[0].where} is ordered by a run mode against its own edges: {path}. "
            'Reorder the members, or use mode="parallel".'
        )
        return ModeContradiction(message, unit=named[0].name, location=location)
    message = f"{named[0].where} waits for itself: {path}. Remove one of these edges."
    return DependencyCycle(message, cycle=names, unit=named[0].name, location=location)


_LONGEST_PATH = 20


def _check_edges(nodes: Sequence[Node], faults: list[PlanFault]) -> None:
    """Note every edge whose types can certainly not meet."""
    returns: dict[int, object] = {}
    for node in nodes:
        for fill in node.fills:
            if fill.edge < 0 or fill.parameter.annotation is UNSET or node.kinds[fill.edge] == EdgeKind.OUTCOME:
                continue
            source = node.sources[fill.edge]
            if id(source) not in returns:
                returns[id(source)] = _artifact_type(source)
            wanted = resolve_annotation(node.function, fill.parameter.annotation)
            problem = _mismatch(node, fill.edge, returns[id(source)], wanted)
            if problem:
                message = (
                    f"{node.where} takes {fill.parameter.name!r} as {type_name(wanted)}, "
                    f"but {source.where} {problem}; change one of the annotations, or the edge."
                )
                faults.append(IncompatibleEdge(message, unit=node.name, location=node.where))


def _mismatch(node: Node, edge: int, produced: object, wanted: object) -> str:
    if edge == node.each_edge and node.kinds[edge] != EdgeKind.CHAIN:
        if is_never_iterable(produced):
            return f"returns {type_name(produced)}, which is no collection to fan out over"
        produced = item_type(produced)
    elif edge == node.each_edge:
        produced = return_annotation(node.sources[edge].function)
    return f"returns {type_name(produced)}" if is_incompatible(produced, wanted) else ""


def _artifact_type(source: Node) -> object:
    unit = source.unit
    if unit is not None and unit.each:
        return Batch
    if unit is not None and unit.function is None:
        return UNSET
    return return_annotation(source.function)


def _suspicions(nodes: Sequence[Node], inputs: Sequence[PlanInput], declared: type | None) -> tuple[str, ...]:
    """Say what is legal but looks like a mistake."""
    names = {node.name for node in nodes}
    found = [
        f"input {needed.name!r} has the name of a unit; did {needed.needed_by[0]} mean use({needed.name})?"
        for needed in inputs
        if needed.name in names
    ]
    if declared is not None:
        found += [f"no unit takes {declared.__name__}.{name}" for name in unused_fields(declared, inputs)]
    return tuple(found)


def _wiring(
    nodes: Sequence[Node], place: dict[int, int], inputs: tuple[PlanInput, ...], notes: tuple[str, ...]
) -> Wiring:
    """Turn ordered nodes into parallel tuples."""
    cells = {needed.name: len(nodes) + position for position, needed in enumerate(inputs)}
    predecessors = tuple(tuple([place[id(source)] for source in node.sources]) for node in nodes)
    conditions: dict[tuple[int, int], Predicate] = {}
    for step, node in enumerate(nodes):
        for position, predicate in node.conditions.items():
            conditions[step, position] = predicate
    return Wiring(
        names=tuple(_names(nodes)),
        keys=tuple((id(node.layer), id(node.instance) if node.instance is not None else 0) for node in nodes),
        functions=tuple(cast("Callable[..., object]", node.function or _nothing) for node in nodes),
        bodies=bytes(_body(node) for node in nodes),
        options=tuple(node.unit.options if node.unit is not None else _BARRIER_OPTIONS for node in nodes),
        locations=tuple(node.unit.location if node.unit is not None else _NOWHERE for node in nodes),
        predecessors=predecessors,
        kinds=tuple(bytes(node.kinds) for node in nodes),
        successors=tuple(tuple(dependents) for dependents in successors_of(predecessors)),
        conditions=conditions,
        arguments=tuple(_arguments(node, row, cells) for node, row in zip(nodes, predecessors, strict=True)),
        fan_outs={step: node.each_edge for step, node in enumerate(nodes) if node.each_edge >= 0},
        delays={step: node.delay for step, node in enumerate(nodes) if node.unit is None},
        priorities=tuple(node.unit.options.priority if node.unit is not None else 0 for node in nodes),
        inputs=inputs,
        index={node.name: step for step, node in enumerate(nodes) if node.unit is not None},
        warnings=notes,
        owners=tuple(chain.from_iterable((node.layer, node.instance) for node in nodes)),
    )


def _names(nodes: Sequence[Node]) -> Iterable[str]:
    barriers = 0
    for node in nodes:
        if node.unit is None:
            barriers += 1
            yield f"(barrier {barriers})"
        else:
            yield node.name


def _arguments(node: Node, row: Sequence[int], cells: dict[str, int]) -> tuple[Argument, ...]:
    return tuple(
        [
            Argument(
                fill.parameter.name,
                fill.parameter.keyword_only,
                row[fill.edge] if fill.edge >= 0 else cells[fill.parameter.name],
                fill.edge,
                fill.default if fill.edge >= 0 else UNSET,
            )
            for fill in node.fills
        ]
    )


def _nothing() -> None:
    """Be the function of a barrier, which is never called."""


def _body(node: Node) -> Body:
    """Decide how a step's function is called."""
    if node.unit is None:
        return Body.BARRIER
    if is_coroutine_function(node.function):
        return Body.COROUTINE
    return Body.INLINE if node.unit.function is None or node.unit.options.run_in == "inline" else Body.THREAD
