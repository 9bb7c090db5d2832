"""The inputs of a plan: gathered from its units, checked against a declared class, read at each run."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from fusynk._core.model import UNSET
from fusynk._core.nodes import Fill, Node
from fusynk._core.signature import resolve_annotation
from fusynk._core.typecheck import is_incompatible, type_name
from fusynk._core.wiring import PlanInput
from fusynk.errors import IncompatibleEdge, InputConflict, InvalidInputs, MissingInput, PlanFault, did_you_mean


@dataclass(slots=True)
class _Draft:
    """An input while the units that need it are still being read."""

    type: object
    typed_by: Node
    default: object
    required: bool
    needed_by: list[str] = field(default_factory=list[str])


def gather_inputs(nodes: Sequence[Node], faults: list[PlanFault]) -> tuple[PlanInput, ...]:
    """Return every input that some parameter asks for, in plan order, and note where two disagree.

    Args:
        nodes: The nodes in plan order.
        faults: Where faults are added.
    """
    drafts: dict[str, _Draft] = {}
    for node in nodes:
        for fill in node.fills:
            if fill.edge < 0:
                _gather(drafts, node, fill, faults)
    return tuple(
        PlanInput(
            name=name,
            type=draft.type,
            default=UNSET if draft.required else draft.default,
            needed_by=tuple(draft.needed_by),
        )
        for name, draft in drafts.items()
    )


def _gather(drafts: dict[str, _Draft], node: Node, fill: Fill, faults: list[PlanFault]) -> None:
    name, default = fill.parameter.name, fill.default
    wanted = resolve_annotation(node.function, fill.parameter.annotation)
    draft = drafts.get(name)
    if draft is None:
        drafts[name] = _Draft(wanted, node, default, default is UNSET, [node.name])
        return
    draft.needed_by.append(node.name)
    if is_incompatible(wanted, draft.type) and is_incompatible(draft.type, wanted):
        _conflict(
            faults,
            node,
            f"takes input {name!r} as {type_name(wanted)}, but {draft.typed_by.where} takes it as "
            f"{type_name(draft.type)}; rename one of the parameters.",
        )
    if draft.type is UNSET:
        draft.type, draft.typed_by = wanted, node
    if default is UNSET:
        draft.required = True
    elif draft.default is UNSET:
        draft.default = default
    elif not _same(default, draft.default):
        _conflict(
            faults,
            node,
            f"gives input {name!r} the default {default!r}, but {draft.typed_by.where} gives it {draft.default!r}; "
            "agree on one, or rename one of the parameters.",
        )


def _conflict(faults: list[PlanFault], node: Node, message: str) -> None:
    faults.append(InputConflict(f"{node.where} {message}", unit=node.name, location=node.where))


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 - values that cannot be compared are two values
        return False


def check_input_class(declared: object, inputs: Sequence[PlanInput], faults: list[PlanFault]) -> None:
    """Check that the class given as `inputs=` supplies what the plan needs.

    Args:
        declared: What was given.
        inputs: The plan's inputs.
        faults: Where faults are added.
    """
    if not (isinstance(declared, type) and dataclasses.is_dataclass(declared)):
        faults.append(MissingInput(f"inputs={declared!r} must be a dataclass; decorate it with @dataclass."))
        return
    fields = {one.name: resolve_annotation(declared, one.type) for one in dataclasses.fields(declared)}
    for needed in inputs:
        if needed.name not in fields:
            if needed.default is UNSET:
                faults.append(_missing_field(declared.__name__, needed, tuple(fields)))
        elif is_incompatible(fields[needed.name], needed.type):
            faults.append(
                IncompatibleEdge(
                    f"{declared.__name__}.{needed.name} is {type_name(fields[needed.name])}, "
                    f"but {needed.needed_by[0]!r} takes {type_name(needed.type)}; change one of the annotations."
                )
            )


def _missing_field(owner: str, needed: PlanInput, fields: Sequence[str]) -> MissingInput:
    return MissingInput(
        f"{owner} has no field {needed.name!r} ({type_name(needed.type)}), needed by {_users(needed)}; "
        f"add it.{did_you_mean(needed.name, fields)}",
        unit=needed.needed_by[0],
    )


def _users(needed: PlanInput) -> str:
    """Name the units that need an input; the first few speak for many."""
    return ", ".join(map(repr, needed.needed_by[:3]))


def unused_fields(declared: type, inputs: Sequence[PlanInput]) -> list[str]:
    """Return the fields of the input class that no unit takes."""
    taken = {needed.name for needed in inputs}
    return [one.name for one in dataclasses.fields(declared) if one.name not in taken]


def read_inputs(
    inputs: Sequence[PlanInput], declared: type | None, instance: object, keywords: Mapping[str, object]
) -> list[object]:
    """Return the values of a run's inputs, in the order of their cells.

    Args:
        inputs: The plan's inputs.
        declared: The class given to `compile_plan(inputs=...)`, or `None`.
        instance: The positional argument of `run()`, or `UNSET`.
        keywords: Its keywords.

    Raises:
        InvalidInputs: Some are missing, unknown, or the instance is of another class.
    """
    given = keywords if instance is UNSET else _fields_of(instance, declared, keywords, inputs)
    known = [needed.name for needed in inputs]
    unknown = [name for name in given if name not in known] if instance is UNSET else []
    missing = [needed for needed in inputs if needed.default is UNSET and needed.name not in given]
    if unknown or missing:
        raise InvalidInputs(_told(unknown, missing, inputs, declared))
    return [given.get(needed.name, needed.default) for needed in inputs]


def _fields_of(
    instance: object, declared: type | None, keywords: Mapping[str, object], inputs: Sequence[PlanInput]
) -> Mapping[str, object]:
    if keywords:
        message = "run() takes either an instance of the inputs class or keywords, not both."
        raise InvalidInputs(message)
    if declared is None:
        names = ", ".join(f"{needed.name}=..." for needed in inputs)
        message = (
            f"run() got {type(instance).__name__} instead of keywords; write run({names}), "
            "or compile the plan with inputs=<that class>."
        )
        raise InvalidInputs(message)
    if not isinstance(instance, declared):
        message = f"run() takes {declared.__name__} or keywords, not {type(instance).__name__}."
        raise InvalidInputs(message)
    return {
        needed.name: cast("object", getattr(instance, needed.name))
        for needed in inputs
        if hasattr(instance, needed.name)
    }


def _told(
    unknown: Sequence[str], missing: Sequence[PlanInput], inputs: Sequence[PlanInput], declared: type | None
) -> str:
    known = [needed.name for needed in inputs]
    parts = [f"it takes no input {name!r}.{did_you_mean(name, known)}" for name in unknown]
    parts += [
        f"input {needed.name!r} ({type_name(needed.type)}) is missing, needed by {_users(needed)}."
        for needed in missing
    ]
    takes = f"{declared.__name__}(...) or keywords: " if declared is not None else ""
    names = ", ".join(f"{name}=..." for name in known) or "no inputs"
    return f"run() got wrong inputs: {' '.join(parts)} It takes {takes}{names}."
