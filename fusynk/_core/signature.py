"""What a function asks for: its parameters and the types it names."""

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import CellType, SimpleNamespace
from typing import cast

from fusynk._core.callables import is_generator_function
from fusynk._core.markers import Marker
from fusynk._core.model import UNSET


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter that the engine fills.

    Attributes:
        name: Its name.
        keyword_only: Whether it must be passed by name.
        annotation: As written, `UNSET` if there is none.
        default: As written, `UNSET` if there is none.
    """

    name: str
    keyword_only: bool
    annotation: object
    default: object


_FILLED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def read_parameters(function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return the parameters of a function, without `*args` and `**kwargs`, which receive nothing.

    Raises:
        ValueError: The function has no signature that Python can tell.
    """
    fixed: Mapping[str, object] = getattr(function, "keywords", {}) if type(function) is partial else {}
    return tuple(
        Parameter(
            name,
            parameter.kind is inspect.Parameter.KEYWORD_ONLY,
            UNSET if parameter.annotation is inspect.Parameter.empty else parameter.annotation,
            UNSET if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in _FILLED and (name not in fixed or isinstance(fixed[name], Marker))
    )


def resolve_annotation(function: object, annotation: object) -> object:
    """Return the type that an annotation names, or `UNSET` where that cannot be told for certain."""
    if annotation is UNSET or annotation is None:
        return annotation if annotation is UNSET else type(None)
    if not isinstance(annotation, str):
        return annotation
    holder = SimpleNamespace(__annotations__={"it": annotation})
    try:
        hints = typing.get_type_hints(holder, globalns=_globals_of(function), localns=_closure_of(function))
    except Exception:  # noqa: BLE001 - an annotation may be any expression; one that fails says nothing
        return UNSET
    return cast("object", hints["it"])


def artifact_annotation(function: object) -> object:
    """Return the resolved type that a function says it returns, or yields if it is a generator; else `UNSET`."""
    plain = inspect.unwrap(cast("Callable[..., object]", _innermost(function)))
    annotations: Mapping[str, object] = getattr(plain, "__annotations__", {})
    found = resolve_annotation(plain, annotations.get("return", UNSET))
    if not is_generator_function(function):
        return found
    parts = cast("tuple[object, ...]", typing.get_args(found))
    return parts[0] if parts else UNSET


def _innermost(function: object) -> object:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    return getattr(function, "__func__", function)


def _globals_of(function: object) -> dict[str, object]:
    if isinstance(function, type):
        return vars(sys.modules[function.__module__]) if function.__module__ in sys.modules else {}
    return getattr(_innermost(function), "__globals__", {})


def _closure_of(function: object) -> dict[str, object]:
    plain = _innermost(function)
    code = getattr(plain, "__code__", None)
    cells: tuple[CellType, ...] = getattr(plain, "__closure__", None) or ()
    if code is None:
        return {}
    found: dict[str, object] = {}
    for name, cell in zip(cast("tuple[str, ...]", code.co_freevars), cells, strict=True):
        # A variable that is not assigned yet has an empty cell.
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found
