"""What a plan will do, as text."""

from collections.abc import Iterator, Sequence
from typing import cast

from fusynk._core.model import UNSET
from fusynk._core.options import PlanSettings
from fusynk._core.program import Program
from fusynk._core.typecheck import type_name
from fusynk._core.wiring import Argument, Body, EdgeKind

_HOW = {
    Body.COROUTINE: "async",
    Body.INLINE: "inline",
    Body.THREAD: "thread",
    Body.SUBPROCESS: "subprocess",
    Body.RESOURCE: "resource",
    Body.THREAD_RESOURCE: "resource in threads",
}


def explain(program: Program, targets: Sequence[str]) -> str:
    """Describe a program: its inputs, then each step in plan order.

    Args:
        program: What would run.
        targets: The names of the plan's targets.
    """
    wiring, settings = program.wiring, program.settings
    steps = wiring.steps()
    lines = [
        f"Plan of {len(steps)} steps to {', '.join(targets) or 'nothing'}",
        f"  concurrency={settings.concurrency} threads={settings.threads} discipline={settings.discipline}"
        + (f" deadline={settings.deadline:g}s" if settings.deadline is not None else ""),
        "Inputs" if wiring.inputs else "Inputs: none",
    ]
    for needed in wiring.inputs:
        default = "" if needed.default is UNSET else f" = {needed.default!r}"
        lines.append(f"  {needed.name}: {type_name(needed.type)}{default}  for {', '.join(needed.needed_by)}")
    lines.append("Steps")
    levels = wiring.depths()
    for step in steps:
        how = _HOW[Body(program.bodies[step])]
        lines.append(f"  {wiring.names[step]}  (level {levels[step]}, {how}, {wiring.locations[step]})")
        lines += [f"    {line}" for line in _step_lines(program, step)]
    if wiring.warnings:
        lines += ["Look at", *(f"  {warning}" for warning in wiring.warnings)]
    return "\n".join(lines)


def _step_lines(program: Program, step: int) -> Iterator[str]:
    wiring = program.wiring
    taken: set[int] = set()
    for argument in wiring.arguments_of(step):
        taken.add(argument.edge)
        yield f"{argument.parameter.name} <- {_origin(program, step, argument)}"
    for position, source in enumerate(wiring.predecessors[step]):
        if source in wiring.delays:
            held = f", {wiring.delays[source]:g}s later" if wiring.delays[source] else ""
            yield f"after {', '.join(wiring.names[one] for one in wiring.predecessors[source])} (run mode{held})"
        elif position not in taken:
            yield f"after {wiring.names[source]}{_condition(program, step, position)}"
    if step in program.overrides:
        override = program.overrides[step]
        yield f"replaced: {override.verb} {_shown(override.value) if override.verb != 'returns' else '...'}"
    options = list(_options(program, step))
    if options:
        yield " ".join(options)


def _origin(program: Program, step: int, argument: Argument) -> str:
    wiring = program.wiring
    if argument.edge < 0:
        return "input"
    source = wiring.names[argument.cell]
    kind = wiring.kinds[step][argument.edge]
    text = f"outcome of {source}" if kind == EdgeKind.OUTCOME else source
    if wiring.fan_outs.get(step) == argument.edge:
        text = f"each item of {source}"
    if kind == EdgeKind.DEFAULT:
        text += f", or {argument.default!r}"
    return text + _condition(program, step, argument.edge)


def _condition(program: Program, step: int, position: int) -> str:
    predicate = program.wiring.conditions.get((step, position))
    if predicate is None:
        return ""
    name = getattr(predicate, "__name__", type(predicate).__name__)
    return " when its condition holds" if name == "<lambda>" else f" when {name}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "|".join(_shown(member) for member in cast("tuple[object, ...]", value))
    return str(getattr(value, "__name__", value))


def _options(program: Program, step: int) -> Iterator[str]:
    """Yield what differs from the engine's defaults, and say where it was set."""
    policy, own = program.policies[step], program.wiring.options[step]
    standard = PlanSettings()
    for name in ("retries", "retry_delay", "timeout", "on_error"):
        value = getattr(policy, name)
        if value != getattr(standard, name):
            origin = "(plan)" if getattr(own, name) is UNSET else ""
            yield f"{name}={_shown(value)}{origin}"
    if policy.retries and policy.retry_on is not Exception:
        yield f"retry_on={_shown(policy.retry_on)}"
    if own.compensate is not None:
        yield f"compensate={_shown(own.compensate)}"
    if own.limit is not None:
        weight = f" weight={own.weight}" if own.weight > 1 else ""
        yield f"limit={own.limit.name}{weight}"
    if own.priority:
        yield f"priority={own.priority}"
