"""`compile_plan`: from targets to a plan."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any, cast, overload

from typing_extensions import TypeVar, Unpack

from fusynk._core.compiler import compile_wiring
from fusynk._core.markers import Artifact, advice
from fusynk._core.nodes import normalise
from fusynk._core.options import PlanOptions, PlanSettings, plan_settings
from fusynk._core.program import build_program
from fusynk._core.registry import AnyLayer, Namespace, units_of_module
from fusynk._core.wiring import Wiring
from fusynk.errors import InvalidDeclaration, shown
from fusynk.plan import Plan
from fusynk.run import Shape

I = TypeVar("I")  # noqa: E741 - the plan's inputs, next to A
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
Source = Namespace | ModuleType | str


@overload
def compile_plan(target: Artifact[A], /, *, inputs: type[I], **options: Unpack[PlanOptions]) -> Plan[I, A]: ...
@overload
def compile_plan(target: Artifact[A], /, **options: Unpack[PlanOptions]) -> Plan[None, A]: ...
@overload
def compile_plan(
    first: Artifact[A], second: Artifact[B], /, *, inputs: type[I], **options: Unpack[PlanOptions]
) -> Plan[I, tuple[A, B]]: ...
@overload
def compile_plan(
    first: Artifact[A], second: Artifact[B], /, **options: Unpack[PlanOptions]
) -> Plan[None, tuple[A, B]]: ...
@overload
def compile_plan(
    first: Artifact[A], second: Artifact[B], third: Artifact[C], /, *, inputs: type[I], **options: Unpack[PlanOptions]
) -> Plan[I, tuple[A, B, C]]: ...
@overload
def compile_plan(
    first: Artifact[A], second: Artifact[B], third: Artifact[C], /, **options: Unpack[PlanOptions]
) -> Plan[None, tuple[A, B, C]]: ...
@overload
def compile_plan(
    first: Artifact[object],
    second: Artifact[object],
    third: Artifact[object],
    fourth: Artifact[object],
    /,
    *more: Artifact[object],
    inputs: type[I],
    **options: Unpack[PlanOptions],
) -> Plan[I, tuple[object, ...]]: ...
@overload
def compile_plan(
    first: Artifact[object],
    second: Artifact[object],
    third: Artifact[object],
    fourth: Artifact[object],
    /,
    *more: Artifact[object],
    **options: Unpack[PlanOptions],
) -> Plan[None, tuple[object, ...]]: ...
@overload
def compile_plan(
    source: Source, /, *, inputs: type[I], **options: Unpack[PlanOptions]
) -> Plan[I, Mapping[str, object]]: ...
@overload
def compile_plan(source: Source, /, **options: Unpack[PlanOptions]) -> Plan[None, Mapping[str, object]]: ...
def compile_plan(*targets: object, inputs: Any = None, **options: Unpack[PlanOptions]) -> Plan[Any, Any]:
    """Check everything that the targets reach and return the plan that runs it.

    Args:
        targets: One unit, several units, a graph, a module, or the name of a module.
        inputs: A dataclass that holds the plan's inputs, for typed calls of `run`.
        options: See `PlanOptions`.

    Raises:
        InvalidPlan: With a `PlanFault` for every fault of the graph.
        UnknownOption: An option does not exist.
        InvalidOption: An option has a value it cannot have.
        InvalidDeclaration: A target is no unit.
    """
    settings = plan_settings("compile_plan()", PlanSettings(), cast("Mapping[str, object]", options))
    whole = _whole_graph(targets)
    chosen = [(layer, None) for layer in whole] if whole is not None else [_target(target) for target in targets]
    wiring, steps = compile_wiring(chosen, inputs, settings)
    if whole is not None:
        shape = Shape("mapping", _sinks(wiring))
    else:
        shape = Shape("one" if len(steps) == 1 else "tuple", steps)
    return Plan(build_program(wiring, settings, MappingProxyType({})), inputs, shape)


def _whole_graph(targets: Sequence[object]) -> Namespace | None:
    """Return the graph that is the one target, if it is one."""
    if not targets:
        message = "compile_plan() needs a target: a unit, several units, a graph or a module."
        raise InvalidDeclaration(message)
    target = targets[0]
    if len(targets) > 1 or not isinstance(target, (Namespace, ModuleType, str)):
        return None
    if isinstance(target, Namespace):
        return target
    if isinstance(target, ModuleType):
        return units_of_module(target)
    return _named_module(target)


def _named_module(name: str) -> Namespace:
    """Import a module by its name; an error inside the module goes through as it is."""
    if not all(part.isidentifier() for part in name.split(".")):
        message = f"compile_plan({name!r}): that is no name of a module; pass 'package.module', a graph, or the units."
        raise InvalidDeclaration(message)
    try:
        return units_of_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        message = (
            f"compile_plan({name!r}): there is no module {error.name!r}; "
            "correct the name, or pass a unit, a graph or a module."
        )
        raise InvalidDeclaration(message) from error


def _target(target: object) -> tuple[AnyLayer, object]:
    found = normalise(target)
    if found is None:
        if isinstance(target, (Namespace, ModuleType, str)):
            message = f"compile_plan() takes a whole graph or module alone; pass {shown(target)} by itself, or units."
        else:
            message = f"compile_plan() takes units, not {shown(target)}{advice(target)}."
        raise InvalidDeclaration(message)
    return found


def _sinks(wiring: Wiring) -> tuple[int, ...]:
    """Return the steps that no other step depends on. A member of a process is one its process depends on."""
    return tuple(step for step in wiring.steps() if not wiring.successors[step])
