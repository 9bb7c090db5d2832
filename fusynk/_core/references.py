"""Import paths as files write them, `pkg.mod:name` or `pkg.mod:Class.name`: where one leads, and which leads where."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import MethodType, ModuleType
from typing import cast

from fusynk._core.layer import Layer, plain_function
from fusynk._core.nested import PlanFunction
from fusynk._core.registry import AnyLayer, module_namespace

HARMLESS = frozenset({"abs", "all", "any", "bool", "float", "int", "len", "max", "min", "round", "sorted", "str"})
"""Builtin functions that only compute from their argument, so every file may name them."""


class UnknownReference(LookupError):
    """No import path leads there, or none that may be followed. The text goes on after what it speaks of."""


def parts_of(reference: str) -> tuple[str, str]:
    """Return the module and the path inside it.

    Raises:
        UnknownReference: It has not the form of a reference.
    """
    module, _, path = reference.partition(":")
    steps = [*module.split("."), *path.split(".")]
    if not all(step.isidentifier() for step in steps):
        raise UnknownReference(f"names {cut(reference)}, which is no import path; write 'package.module:name'")
    if module == "__main__":
        del steps[0]
    if any(step.startswith("__") for step in steps):
        raise UnknownReference(f"names {cut(reference)}; a path through a name that begins with '__' is not followed")
    return module, path


def found_at(module: ModuleType, path: str, permits: Callable[[str], bool] = lambda _: True) -> object:
    """Return what a path inside a module leads to. Runs no code of the module: no `__getattr__`, no descriptor.

    Args:
        module: The module.
        path: Names with dots; all but the last are classes.
        permits: Whether a class may be looked into that was defined in a module.

    Raises:
        UnknownReference: Nothing is there, or the way leads through something that is no class.
    """
    names: Mapping[str, object] = vars(module)
    owner: type[object] | None = None
    *steps, last = path.split(".")
    for step in steps:
        inner = _looked_up(names, step, owner, module)
        if not isinstance(inner, type) or not permits(inner.__module__):
            raise UnknownReference(f"{step!r} in it is no class of an allowed module")
        owner, names = inner, _class_names(inner)
    found = _looked_up(names, last, owner, module)
    plain = plain_function(found)
    if owner is not None and issubclass(type(found), classmethod) and not is_unit(plain):
        return MethodType(cast("Callable[..., object]", plain), owner)
    return plain


def _looked_up(names: Mapping[str, object], step: str, owner: type[object] | None, module: ModuleType) -> object:
    if step in names:
        return names[step]
    place = f"class {owner.__qualname__!r}" if owner is not None else f"module {module.__name__!r}"
    raise UnknownReference(f"{place} has no {step!r}")


def _class_names(owner: type[object]) -> Mapping[str, object]:
    return {name: value for base in reversed(owner.__mro__) for name, value in vars(base).items()}


def error_filter_reference(value: object) -> str:
    """Return the import path of an exception type, or of a function.

    Raises:
        UnknownReference: No import path leads to it.
    """
    return _checked_path(value, value) if is_error_type(value) else function_reference(value)


def function_reference(value: object) -> str:
    """Return the import path of a function, or of a unit that is called like one.

    Raises:
        UnknownReference: No import path leads to it.
    """
    if is_unit(value):
        with suppress(UnknownReference):
            return unit_reference(cast("AnyLayer", value), by_name=False)
        raise UnknownReference("is a unit to which no import path leads; write a def at the top of a module")
    if isinstance(value, type) and (is_error_type(value) or not is_for_everyone(value)):
        raise UnknownReference("is a class; write a def at the top of a module")
    return _checked_path(value, value)


def unit_function_reference(function: object) -> str:
    """Return the import path of a unit's function; what it leads to may be the unit.

    Raises:
        UnknownReference: No import path leads to it.
    """
    return _checked_path(function, function, through_units=True)


def _checked_path(named: object, value: object, *, through_units: bool = False) -> str:
    """Return the import path of what knows its name, if a value is what it leads to."""
    _check_named(named)
    module, path = parts_of(f"{home_of(named)}:{getattr(named, '__qualname__', '')}")
    found = _found_now(module, path)
    if through_units:
        found = function_of(found)
    if found is value or (isinstance(value, MethodType) and found == value):
        return f"{module}:{path}"
    raise UnknownReference(f"is not what '{module}:{path}' leads to; give it that name at the top of its module")


def unit_reference(layer: AnyLayer, *, by_name: bool = True) -> str:
    """Return the import path of a unit.

    Args:
        layer: The unit.
        by_name: Whether its name will do where a module's graph has it under that, and no variable is called so.

    Raises:
        UnknownReference: No import path leads to it.
    """
    for module, path in _places(layer):
        if _found_now(module, path, units=by_name) is layer:
            return f"{module}:{path}"
    unit = layer.unit
    raise UnknownReference(f"{unit.name!r} ({unit.location}), to which no import path leads; add it to this graph")


def _places(layer: AnyLayer) -> Iterator[tuple[str, str]]:
    """Yield where a unit may be found."""
    function, unit = layer.unit.function, layer.unit
    home, path = home_of(function), getattr(function, "__qualname__", None)
    if isinstance(path, str) and "<" not in path:
        yield home, path
    yield home, unit.name
    yield unit.namespace.name, unit.name


def _check_named(value: object) -> None:
    """Refuse a value that no import path can lead to, and say why."""
    path = getattr(value, "__qualname__", None)
    if isinstance(value, partial):
        problem = "is a partial, whose arguments are not saved"
    elif isinstance(value, PlanFunction):
        raise UnknownReference("is a plan, which no file holds; write a def that awaits plan.run(...)")
    elif not isinstance(path, str) or not isinstance(getattr(value, "__module__", None), str):
        problem = f"is a {type(value).__name__} object, to which no import path leads"
    elif path.endswith("<lambda>"):
        problem = "is a lambda"
    elif "<locals>" in path:
        raise UnknownReference(f"is local to {path.partition('.<locals>')[0]!r}; move it to the top of a module")
    elif not isinstance(getattr(value, "__self__", None), (type, ModuleType, type(None))):
        problem = f"is a method of a {type(getattr(value, '__self__', None)).__name__} object, which is not saved"
    else:
        return
    raise UnknownReference(f"{problem}; write a def at the top of a module")


def _found_now(module: str, path: str, *, units: bool = False) -> object:
    """Return what a path leads to in what is imported already, or `None`."""
    imported = sys.modules.get(module)
    if imported is None:
        return None
    with suppress(UnknownReference):
        parts_of(f"{module}:{path}")
        declared = module_namespace(module).find(path) if units else None
        return found_at(imported, path) if declared is None else declared
    return None


def is_function(value: object) -> bool:
    """Tell whether this is a function, however made, that knows where it was defined."""
    names = [getattr(value, name, None) for name in ("__qualname__", "__module__")]
    return callable(value) and not isinstance(value, type) and all(isinstance(name, str) for name in names)


def is_unit(value: object) -> bool:
    """Tell whether this is a decorated function, or a process."""
    return isinstance(value, Layer)


def function_of(value: object) -> object:
    """Return the function that a unit was declared over, and anything else unchanged."""
    return cast("AnyLayer", value).unit.function if is_unit(value) else value


def home_of(value: object) -> str:
    """Return the module in which something was defined, or an empty text."""
    home = getattr(value, "__module__", None)
    return home if isinstance(home, str) else ""


def cut(value: object) -> str:
    """Return a value as an error shows it: control characters escaped, not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def is_error_type(value: object) -> bool:
    """Tell whether this is a class of exceptions."""
    return isinstance(value, type) and issubclass(value, BaseException)


def is_for_everyone(value: object) -> bool:
    """Tell whether this is a builtin that every file may name."""
    harmless = getattr(value, "__qualname__", None) in HARMLESS
    return home_of(value) == "builtins" and (harmless or is_error_type(value))


_LONGEST_SHOWN = 80
