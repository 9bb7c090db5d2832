"""The inputs of a plan: gathered from its units, checked against a declared class, read at each run."""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fusynk._core.faults import Faults, where
from fusynk._core.layer import Layer
from fusynk._core.markers import Marker, When
from fusynk._core.model import UNSET
from fusynk._core.nodes import Node, normalise
from fusynk._core.signature import Parameter, resolve_annotation
from fusynk._core.typecheck import is_incompatible, type_name
from fusynk._core.unit import Unit
from fusynk._core.wiring import PlanInput, Wiring
from fusynk.errors import IncompatibleEdge, InputConflict, InvalidInputs, MissingInput, did_you_mean

if TYPE_CHECKING:
    from fusynk._core.registry import AnyLayer


@dataclass(slots=True)
class _Draft:
    """An input while the units that need it are still being read."""

    type: object
    typed_by: Unit
    default: object
    default_by: Unit
    required: bool
    needed_by: list[str] = field(default_factory=list[str])


def gather_inputs(nodes: Sequence[Node], faults: Faults) -> tuple[PlanInput, ...]:
    """Return every input that some parameter asks for, in plan order, and note where two disagree.

    Args:
        nodes: The nodes in plan order.
        faults: Where faults are added.
    """
    drafts: dict[str, _Draft] = {}
    for node in nodes:
        for parameter in node.from_inputs():
            _gather(drafts, node, parameter, faults)
    return tuple(
        PlanInput(
            name=name,
            type=draft.type,
            default=UNSET if draft.required else draft.default,
            needed_by=tuple(draft.needed_by),
        )
        for name, draft in drafts.items()
    )


def _gather(drafts: dict[str, _Draft], node: Node, parameter: Parameter, faults: Faults) -> None:
    name, default = parameter.name, parameter.default
    unit = cast("Unit", node.unit)
    wanted = resolve_annotation(node.function, parameter.annotation)
    if wanted is UNSET and node.layer is not None and parameter is node.parameters[0]:
        wanted = _type_of_self(node.layer)
    draft = drafts.get(name)
    if draft is None:
        drafts[name] = _Draft(wanted, unit, default, unit, default is UNSET, [unit.name])
        return
    draft.needed_by.append(unit.name)
    if is_incompatible(wanted, draft.type) and is_incompatible(draft.type, wanted):
        message = (
            f"takes input {name!r} as {type_name(wanted)}, but {where(draft.typed_by)} takes it as "
            f"{type_name(draft.type)}; rename one of the parameters."
        )
        faults.add(InputConflict, unit, message)
    if draft.type is UNSET:
        draft.type, draft.typed_by = wanted, unit
    if default is UNSET:
        draft.required = True
    elif draft.default is UNSET:
        draft.default, draft.default_by = default, unit
    elif not _same(default, draft.default):
        message = (
            f"gives input {name!r} the default {default!r}, but {where(draft.default_by)} gives it {draft.default!r}; "
            "agree on one, or rename one of the parameters."
        )
        faults.add(InputConflict, unit, message)


def _type_of_self(layer: "AnyLayer") -> object:
    """Return the class whose instance the first parameter of a method is; a static method has none."""
    if layer.home is None or layer.attribute is None:
        return UNSET
    found = cast("object", inspect.getattr_static(layer.home, layer.attribute, None))
    return UNSET if isinstance(found, staticmethod) else layer.home


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - values that cannot be compared are two values
        return False


def check_input_class(declared: object, inputs: Sequence[PlanInput], nodes: Sequence[Node], faults: Faults) -> None:
    """Check that the class given as `inputs=` supplies what the plan needs.

    Args:
        declared: What was given.
        inputs: The plan's inputs.
        nodes: The nodes of the plan.
        faults: Where faults are added.
    """
    fields = _field_types(declared)
    if not isinstance(declared, type) or fields is None:
        if isinstance(declared, type):
            message = (
                f"inputs={declared.__name__} has no fields; give a dataclass, or a class of attrs, msgspec or pydantic."
            )
        else:
            message = f"inputs= is an instance of {type(declared).__name__}; give the class."
        faults.add(MissingInput, None, message)
        return
    units = {node.name: node.unit for node in nodes}
    owner = declared.__name__
    for needed in inputs:
        unit, name, wanted = units[needed.needed_by[0]], needed.name, type_name(needed.type)
        if name not in fields:
            if needed.default is UNSET:
                hint = did_you_mean(name, tuple(fields))
                faults.add(
                    MissingInput, unit, f"takes {name!r} ({wanted}), but {owner} has no such field; add it.{hint}"
                )
        elif is_incompatible(fields[name], needed.type):
            message = (
                f"takes {name!r} as {wanted}, but {owner}.{name} is {type_name(fields[name])}; "
                "change one of the annotations."
            )
            faults.add(IncompatibleEdge, unit, message)


def _field_types(declared: object) -> dict[str, object] | None:
    """Return the fields of a class that declares some, with their types; `None` for any other object."""
    if dataclasses.is_dataclass(declared):
        return {one.name: resolve_annotation(declared, one.type) for one in dataclasses.fields(declared)}
    attrs_fields: Iterable[object] = getattr(declared, "__attrs_attrs__", ())
    names: list[str] = [getattr(one, "name", "") for one in attrs_fields]
    names += getattr(declared, "__struct_fields__", ())  # msgspec
    names += getattr(declared, "model_fields", ())  # pydantic
    if not names or not isinstance(declared, type):
        return None
    written = {
        name: kind
        for base in reversed(declared.__mro__)
        for name, kind in vars(base).get("__annotations__", {}).items()
    }
    return {name: resolve_annotation(declared, written.get(name, UNSET)) for name in names}


def _users(needed: PlanInput) -> str:
    """Name the units that need an input; the first few speak for many."""
    return ", ".join(map(repr, needed.needed_by[:3]))


def unused_fields(declared: type, inputs: Sequence[PlanInput]) -> list[str]:
    """Return the fields of the input class that no unit takes."""
    taken = {needed.name for needed in inputs}
    return [name for name in _field_types(declared) or () if name not in taken]


def read_inputs(
    caller: str, inputs: Sequence[PlanInput], declared: type | None, instance: object, keywords: Mapping[str, object]
) -> list[object]:
    """Return the values of a run's inputs, in the order of their cells.

    Args:
        caller: Who is asking, as written: "run()".
        inputs: The plan's inputs.
        declared: The class given to `compile_plan(inputs=...)`, or `None`.
        instance: The positional argument of `run()`, or `UNSET`.
        keywords: Its keywords.

    Raises:
        InvalidInputs: Some are missing, unknown, or the instance is of another class.
    """
    if instance is not UNSET:
        given = _fields_of(caller, instance, declared, inputs, keywords)
    elif declared is None:
        _check_keywords(caller, inputs, keywords, None)
        given = keywords
    else:
        given = _made_of(caller, inputs, keywords, declared)
    values = [given.get(needed.name, needed.default) for needed in inputs]
    for needed, value in zip(inputs, values, strict=True):
        if isinstance(value, (Marker, When)):
            message = (
                f"{caller} got {value!r} for input {needed.name!r}; pass a value, use(...) belongs into a signature."
            )
            raise InvalidInputs(message)
    return values


def check_instance(wiring: Wiring, values: Sequence[object]) -> None:
    """Check that methods which the instance among the inputs overrides are not passed over.

    Raises:
        InvalidInputs: The instance's class overrides a method that the plan was compiled with.
    """
    cell = wiring.input_cells.get("self")
    if cell is None:
        return
    instance, wanted = values[cell - len(wiring.names)], wiring.inputs[cell - len(wiring.names)].type
    owner = type(instance)
    if isinstance(wanted, type) and not isinstance(instance, wanted):
        message = f"input 'self' must be a {wanted.__name__}, not a {owner.__name__}."
        raise InvalidInputs(message)
    for unit in wiring.layers:
        layer = cast("AnyLayer", unit)
        attribute = layer.attribute if isinstance(unit, Layer) else None
        seen = normalise(getattr(owner, attribute, layer)) if attribute is not None else (layer, None)
        if seen is None or seen[0] is not layer:
            message = (
                f"{owner.__name__} overrides {attribute!r}, which this plan took from its base class; "
                f"compile the plan of the instance or of its own class: compile_plan({owner.__name__}.method)."
            )
            raise InvalidInputs(message)


def _fields_of(
    caller: str, instance: object, declared: type | None, inputs: Sequence[PlanInput], keywords: Mapping[str, object]
) -> Mapping[str, object]:
    message = ""
    if keywords:
        message = f"{caller} takes either an instance of the inputs class or keywords, not both."
    elif declared is None:
        call, kind = caller.removesuffix("()"), type(instance).__name__
        names = ", ".join(f"{needed.name}=..." for needed in inputs)
        instead = ""
        if issubclass(type(instance), Mapping):
            instead = f", or {call}(**that)"
        elif _field_types(type(instance)) is not None:
            instead = f", or compile the plan with inputs={kind}"
        message = f"{caller} got {kind} instead of keywords; write {call}({names}){instead}."
    elif not isinstance(instance, declared):
        message = f"{caller} takes {declared.__name__} or keywords, not {type(instance).__name__}."
    if message:
        raise InvalidInputs(message)
    fields = _field_types(declared) or {}
    return {needed.name: cast("object", getattr(instance, needed.name)) for needed in inputs if needed.name in fields}


def _made_of(
    caller: str, inputs: Sequence[PlanInput], keywords: Mapping[str, object], declared: type
) -> Mapping[str, object]:
    """Return the inputs from an instance of the inputs class made of keywords: its defaults and its checks hold."""
    fields = _field_types(declared) or {}
    _check_keywords(caller, inputs, keywords, declared)
    own = {name: value for name, value in keywords.items() if name in fields}
    instance = cast("object", declared(**own))
    return {**keywords, **{name: cast("object", getattr(instance, name)) for name in fields}}


def _check_keywords(
    caller: str, inputs: Sequence[PlanInput], keywords: Mapping[str, object], declared: type | None
) -> None:
    """Refuse keywords that are unknown, and those that are missing: inputs, and fields that have no default."""
    fields = _field_types(declared) or {} if declared is not None else {}
    known = [*(needed.name for needed in inputs), *fields]
    unknown = [name for name in keywords if name not in known]
    absent = {
        name
        for name, parameter in (inspect.signature(declared).parameters.items() if declared is not None else ())
        if parameter.default is inspect.Parameter.empty and name in fields and name not in keywords
    }
    missing = [
        needed
        for needed in inputs
        if needed.name in absent
        or (needed.default is UNSET and needed.name not in keywords and needed.name not in fields)
    ]
    if unknown or missing or absent:
        unused = sorted(absent - {needed.name for needed in missing})
        raise InvalidInputs(_told(caller, unknown, missing, unused=unused, inputs=inputs, declared=declared))


def _told(
    caller: str,
    unknown: Sequence[str],
    missing: Sequence[PlanInput],
    *,
    unused: Sequence[str],
    inputs: Sequence[PlanInput],
    declared: type | None,
) -> str:
    known = [needed.name for needed in inputs]
    parts = [f"{caller} got wrong inputs."]
    parts += [f"{name!r} is no input of this plan.{did_you_mean(name, known)}" for name in unknown]
    parts += [
        f"{needed.name!r} ({type_name(needed.type)}) is missing, needed by {_users(needed)}." for needed in missing
    ]
    parts += [f"{name!r} is missing, a field of {getattr(declared, '__name__', '')}." for name in unused]
    call = caller.removesuffix("()")
    keywords = f"{call}({', '.join(f'{name}=...' for name in known)})"
    parts.append(f"Write {call}({declared.__name__}(...)) or {keywords}." if declared else f"Write {keywords}.")
    return " ".join(parts)
