"""From units to a wiring: collect, check, order. Reports every fault at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from fusynk._core.batch import Batch
from fusynk._core.callables import is_async_generator_function, is_coroutine_function, is_generator_function
from fusynk._core.faults import Faults, where
from fusynk._core.graph import cycles_among, start_order, successors_of
from fusynk._core.importable import why_not_importable
from fusynk._core.inputs import check_input_class, gather_inputs, unused_fields
from fusynk._core.markers import Use
from fusynk._core.model import UNSET, Location
from fusynk._core.nodes import Collector, Node, connect_run_modes
from fusynk._core.notes import path_text
from fusynk._core.options import PlanSettings, UnitOptions, policy_of
from fusynk._core.program import unstoppable
from fusynk._core.ready import ready_queue
from fusynk._core.registry import AnyLayer
from fusynk._core.signature import Parameter, artifact_annotation, resolve_annotation
from fusynk._core.typecheck import is_incompatible, is_never_iterable, item_type, type_name
from fusynk._core.wiring import Body, EdgeKind, PlanInput, Wiring
from fusynk.errors import DuplicateName, IncompatibleEdge, ModeContradiction, NotImportable, UnstoppableTimeout

if TYPE_CHECKING:
    from fusynk._core.markers import Predicate
    from fusynk._core.unit import Members, Unit

_BARRIER_OPTIONS = UnitOptions()
_NOWHERE = Location("", 0)


def compile_wiring(
    targets: Iterable[tuple[AnyLayer, object]], inputs: type | None, settings: PlanSettings
) -> tuple[Wiring, tuple[int, ...]]:
    """Check everything that the targets reach, and return its wiring and the targets' steps.

    Time and memory are O(V + E).

    Args:
        targets: Units and the instances they are bound to.
        inputs: The class of the plan's inputs, or `None`.
        settings: The plan's options; some do not go with some units.

    Raises:
        InvalidPlan: With a `PlanFault` for every fault of the graph.
    """
    faults = Faults()
    collector = Collector(faults)
    wanted = collector.collect(targets)
    nodes = sorted(collector.nodes, key=lambda node: node.sequence)
    _check_names(nodes, faults)
    _check_timeouts(nodes, settings, faults)
    _check_importable(nodes, faults)
    nodes += connect_run_modes(nodes)
    ordered = _in_order(nodes, faults)
    found_inputs = gather_inputs(ordered, faults)
    _check_edges(ordered, faults)
    if inputs is not None:
        check_input_class(inputs, found_inputs, ordered, faults)
    faults.raise_all()
    place = {id(node): step for step, node in enumerate(ordered)}
    notes = _suspicions(ordered, found_inputs, inputs)
    return _wiring(ordered, place, found_inputs, notes), tuple(place[id(node)] for node in wanted)


def _check_names(nodes: Sequence[Node], faults: Faults) -> None:
    first: dict[str, Node] = {}
    fan_outs = {node.name: node.unit for node in nodes if node.unit is not None and node.unit.each}
    for node in nodes:
        unit, earlier = cast("Unit", node.unit), first.setdefault(node.name, node)
        owner = fan_outs.get(unit.name.rpartition("[")[0]) if unit.name.endswith("]") else None
        problem = ""
        if owner is not None:
            problem = f"is named like an item of {where(owner)}; give it another name=."
        elif earlier.unit is not unit:
            problem = f"has the name of {where(cast('Unit', earlier.unit))}; give one of them another name=."
        elif earlier is not node:
            problem = "is in the plan for two instances; compile a plan for each of them."
        if problem:
            faults.add(DuplicateName, unit, problem)


def _check_timeouts(nodes: Sequence[Node], settings: PlanSettings, faults: Faults) -> None:
    for node in nodes:
        unit = cast("Unit", node.unit)
        body = _body(node)
        if body != Body.COROUTINE:
            problem = unstoppable(policy_of(unit.options, settings), body)
            if problem:
                faults.add(UnstoppableTimeout, unit, problem)


def _check_importable(nodes: Sequence[Node], faults: Faults) -> None:
    """Note each function for an OS process that could not be imported there."""
    for node in nodes:
        unit = cast("Unit", node.unit)
        if unit.options.run_in == "subprocess":
            problem = why_not_importable(node.function)
            if problem:
                faults.add(NotImportable, unit, problem + ".")


def _in_order(nodes: list[Node], faults: Faults) -> list[Node]:
    """Return the nodes in topological order, as one slot would start them; note the cycles."""
    place = {id(node): index for index, node in enumerate(nodes)}
    predecessors = [[place[id(source)] for source in node.sources] for node in nodes]
    priorities = [node.priority for node in nodes]
    order = start_order(predecessors, successors_of(predecessors), ready_queue(priorities, "fifo"))
    if len(order) == len(nodes):
        return [nodes[index] for index in order]
    settled = set(order)
    left_over = [index for index in range(len(nodes)) if index not in settled]
    for cycle in cycles_among(predecessors, left_over):
        _note_cycle([nodes[index] for index in cycle], faults)
    return nodes


def _note_cycle(cycle: Sequence[Node], faults: Faults) -> None:
    """Spell out a cycle; one that goes through a barrier is the fault of a run mode."""
    named = [node for node in cycle if node.unit is not None]
    names = (*(node.name for node in named), named[0].name)
    barrier = next((node for node in cycle if node.group is not None), None)
    if barrier is None or barrier.group is None:
        message = f"waits for itself: {path_text(names)}. Remove one of these edges."
        faults.add_cycle(cast("Unit", named[0].unit), names, message)
        return
    group = cast("Unit", barrier.group.unit)
    mode = cast("Members", group.members).mode
    others = {where(other.unit) for node in cycle if (other := node.group) is not None and other.unit is not None}
    against = " and ".join(sorted(others - {where(group)})) or "their own edges"
    message = (
        f"orders its members by mode={mode!r} against {against}: {path_text(names)}. "
        'List the members in the order of their edges, or use mode="parallel".'
    )
    faults.add(ModeContradiction, group, message)


def _check_edges(nodes: Sequence[Node], faults: Faults) -> None:
    """Note every edge whose types can certainly not meet."""
    returns: dict[int, object] = {}
    for node in nodes:
        for parameter, edge in node.from_edges():
            if parameter.annotation is UNSET or node.kinds[edge] == EdgeKind.OUTCOME:
                continue
            source = node.sources[edge]
            if id(source) not in returns:
                returns[id(source)] = artifact_type(source.unit, source.function)
            wanted = resolve_annotation(node.function, parameter.annotation)
            problem = _mismatch(node, edge, returns[id(source)], wanted) or _misnamed(parameter, returns[id(source)])
            if problem:
                message = (
                    f"takes {parameter.name!r} as {type_name(wanted)}, but {where(cast('Unit', source.unit))} "
                    f"{problem}; change one of the annotations, or the edge."
                )
                faults.add(IncompatibleEdge, cast("Unit", node.unit), message)


def _misnamed(parameter: Parameter, produced: object) -> str:
    """Compare the type given to `use("name", type=...)`."""
    marker = parameter.default
    if isinstance(marker, Use) and marker.type is not None and is_incompatible(produced, marker.type):
        return f"returns {type_name(produced)}, not type={type_name(marker.type)}"
    return ""


def _mismatch(node: Node, edge: int, produced: object, wanted: object) -> str:
    if edge == node.each_edge and node.kinds[edge] != EdgeKind.CHAIN:
        if is_never_iterable(produced):
            return f"returns {type_name(produced)}, which is no collection to fan out over"
        items = item_type(produced)
        return f"returns items of type {type_name(items)}" if is_incompatible(items, wanted) else ""
    if edge == node.each_edge:
        produced = artifact_annotation(node.sources[edge].function)
    return f"returns {type_name(produced)}" if is_incompatible(produced, wanted) else ""


def artifact_type(unit: "Unit | None", function: object) -> object:
    """Return the type that the dependents of a unit receive, or `UNSET` where that cannot be told."""
    if unit is not None and unit.each:
        return Batch
    return UNSET if unit is not None and unit.function is None else artifact_annotation(function)


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
    predecessors = tuple(tuple([place[id(source)] for source in node.sources]) for node in nodes)
    conditions: dict[tuple[int, int], Predicate] = {}
    for step, node in enumerate(nodes):
        for position, predicate in (node.conditions or {}).items():
            conditions[step, position] = predicate
    kinds: dict[bytes, bytes] = {}  # most steps have edges of a few patterns; equal ones are kept once
    return Wiring(
        names=tuple(_names(nodes)),
        layers=tuple(node.layer for node in nodes),
        instances=tuple(node.instance for node in nodes),
        functions=tuple(cast("Callable[..., object]", node.function or _nothing) for node in nodes),
        bodies=bytes(_body(node) for node in nodes),
        options=tuple(node.unit.options if node.unit is not None else _BARRIER_OPTIONS for node in nodes),
        locations=tuple(node.unit.location if node.unit is not None else _NOWHERE for node in nodes),
        predecessors=predecessors,
        kinds=tuple(kinds.setdefault(row, row) for row in (bytes(node.kinds) for node in nodes)),
        successors=tuple(tuple(dependents) for dependents in successors_of(predecessors)),
        conditions=conditions,
        parameters=tuple(node.parameters for node in nodes),
        edges=tuple(node.edges for node in nodes),
        fan_outs={step: node.each_edge for step, node in enumerate(nodes) if node.each_edge >= 0},
        delays={step: node.delay for step, node in enumerate(nodes) if node.unit is None},
        priorities=tuple(node.priority for node in nodes),
        inputs=inputs,
        input_cells={needed.name: len(nodes) + position for position, needed in enumerate(inputs)},
        index={node.name: step for step, node in enumerate(nodes) if node.unit is not None},
        warnings=notes,
    )


def _names(nodes: Sequence[Node]) -> Iterator[str]:
    barriers = 0
    for node in nodes:
        if node.unit is None:
            barriers += 1
            yield f"(barrier {barriers})"
        else:
            yield node.name


def _nothing() -> None:
    """Be the function of a barrier, which is never called."""


def _body(node: Node) -> Body:
    """Decide how a step's function is called."""
    if node.unit is None:
        return Body.BARRIER
    if is_coroutine_function(node.function):
        return Body.COROUTINE
    run_in = node.unit.options.run_in
    if is_generator_function(node.function):
        on_loop = run_in == "inline" or is_async_generator_function(node.function)
        return Body.RESOURCE if on_loop else Body.THREAD_RESOURCE
    if node.unit.function is None or run_in == "inline":
        return Body.INLINE
    return Body.SUBPROCESS if run_in == "subprocess" else Body.THREAD
