"""Making a unit of a function: what can be one, its name, its place, its dependencies."""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import PurePath
from types import FrameType, MappingProxyType
from typing import Any, cast

from fusynk._core.callables import is_async_generator_function, is_coroutine_function, is_generator_function
from fusynk._core.layer import plain_function
from fusynk._core.markers import Artifact, When, advice
from fusynk._core.model import Location
from fusynk._core.nested import PlanFunction, PlanLike
from fusynk._core.options import Dependency, LayerOptions, Mode, RunIn, unit_options
from fusynk._core.registry import AnyLayer, Namespace, module_namespace, next_sequence
from fusynk._core.unit import Members, Unit, UnitKind
from fusynk.errors import InvalidDeclaration, InvalidOption, shown

NOTHING_BOUND: Mapping[str, Artifact[object] | str] = MappingProxyType({})
_OWN_FILES = frozenset(
    str(PurePath(__file__).with_name(name)) for name in ("declare.py", "declaring.py", "loading.py", "savable.py")
)


def members_of(units: tuple[object, ...], mode: Mode, size: int, delay: float) -> Members:
    """Check the members of a process and its run mode."""
    for member in units:
        if not isinstance(member, Artifact):
            message = f"@process takes units as members, not {shown(member)}{advice(member)}."
            raise InvalidDeclaration(message)
    seen: set[object] = set()
    for member in units:
        if member in seen:
            message = f"@process lists member {shown(member)} twice; list it once."
            raise InvalidDeclaration(message)
        seen.add(member)
    if mode not in ("parallel", "sequential", "batched", "isolated"):
        message = f'@process(mode={mode!r}) must be "parallel", "sequential", "batched" or "isolated".'
        raise InvalidOption(message)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        message = f"@process(size={size!r}) must be a whole number from 1 up."
        raise InvalidOption(message)
    if isinstance(delay, bool) or not isinstance(delay, (int, float)) or not 0 <= delay < float("inf"):
        message = f"@process(delay={delay!r}) must be seconds, from 0 up."
        raise InvalidOption(message)
    return Members(units=cast("tuple[Artifact[object], ...]", units), mode=mode, size=size, delay=delay)


def decorated(
    decorator: str, kind: type[AnyLayer], namespace: Namespace | None, function: object, options: LayerOptions
) -> object:
    """Serve both `@layer` and `@layer(...)`."""
    if function is None:
        unit_options(decorator, options)
        return partial(declare_unit, decorator, kind, namespace, options=options)
    return declare_unit(decorator, kind, namespace, function, options=options)


def declare_unit(
    decorator: str,
    kind: type[AnyLayer],
    namespace: Namespace | None,
    function: object,
    *,
    options: LayerOptions,
    members: Members | None = None,
    bind: Mapping[str, Artifact[object] | str] = NOTHING_BOUND,
) -> AnyLayer:
    """Make the unit, register it, and return the object that stands for it."""
    if isinstance(function, PlanLike):
        function = cast("PlanLike[object]", function).as_function()
    plain = plain_function(function)
    checked = unit_options(decorator, options)
    if function is not None:
        _check_function(decorator, plain)
        _check_place(decorator, plain, checked.run_in)
    name = _unit_name(decorator, plain, options)
    if namespace is None:
        namespace = module_namespace(_declaring_module(plain, named="name" in options))
    unit = Unit(
        name=name,
        kind=_KINDS[decorator],
        function=cast("Callable[..., object] | None", plain),
        options=checked,
        depends_on=_dependencies(name, options.get("depends_on", ())),
        bind=bind,
        each=decorator == "@layer.each",
        members=members,
        location=_location(plain),
        namespace=namespace,
        scope=_scope(plain, named="name" in options),
        sequence=next_sequence(),
    )
    layer = kind(unit, cast("Callable[..., object]", function) if function is not None else _gathered)
    namespace.add(layer)
    return layer


def _declaring_module(function: object, *, named: bool) -> str:
    """Return the module whose implicit graph a declaration belongs to.

    That is the function's own, so that decorators may be wrapped by others. A function taken from elsewhere
    under a name of its own, `layer(existing, name="x")`, belongs to the module that names it.
    """
    if inspect.isroutine(function) and not named:
        return str(getattr(function, "__module__", None) or "__main__")
    return str(_declaring_frame().f_globals.get("__name__", "__main__"))


def _scope(function: object, *, named: bool) -> str:
    """Return the class or function that a declaration stands in, as in `__qualname__`; empty at the top."""
    if inspect.isroutine(function) and not named:
        return str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    frame = _declaring_frame()
    if "__qualname__" in frame.f_locals:  # a class body
        return str(frame.f_locals["__qualname__"])
    inside = frame.f_code.co_flags & inspect.CO_NEWLOCALS
    return f"{frame.f_code.co_qualname}.<locals>" if inside else ""


def _declaring_frame() -> FrameType:
    """Return the innermost frame outside the decorators."""
    # Documented by CPython, and the only way to a caller's line.
    frame = sys._getframe()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename in _OWN_FILES:
        frame = frame.f_back
    return frame


_KINDS: Mapping[str, UnitKind] = MappingProxyType(
    {"@layer": "layer", "@layer.each": "layer", "@worker": "worker", "@process": "process"}
)


def _gathered() -> Mapping[str, object]:
    """Stand for the function of a process that has none."""
    message = "A process without a function cannot be called; compile it with compile_plan() and run the plan."
    raise InvalidDeclaration(message)


def _check_function(decorator: str, function: object) -> None:
    what = getattr(function, "__name__", repr(function))
    if isinstance(function, Artifact):
        message = f"{decorator} was applied to {what!r}, which is a unit already; decorate the plain function once."
        raise InvalidDeclaration(message)
    if not callable(function) or isinstance(function, type):
        if isinstance(function, type):
            message = f"{decorator} takes a function, not the class {what!r}; decorate a function that makes one."
        else:
            message = f"{decorator} takes a function, not {shown(function)}."
        raise InvalidDeclaration(message)


def _check_place(decorator: str, function: object, run_in: RunIn) -> None:
    """Refuse to run elsewhere what can only run on the event loop."""
    if run_in not in ("thread", "subprocess"):
        return
    if is_coroutine_function(function) or is_async_generator_function(function):
        kind = "coroutine" if is_coroutine_function(function) else "asynchronous generator"
        instead = "make it a plain def"
    elif run_in == "subprocess" and is_generator_function(function):
        kind, instead = "generator", "compute in another unit"
    else:
        return
    message = f'{decorator}(run_in="{run_in}") on a {kind} function; leave run_in out, or {instead}.'
    raise InvalidDeclaration(message)


def _unit_name(decorator: str, function: object, options: LayerOptions) -> str:
    given = options.get("name")
    if given is None:
        given = getattr(function, "__name__", None)
        if given is None or given == "<lambda>":
            what = "a lambda" if given else f"a {type(function).__name__} object"
            if isinstance(function, PlanFunction):
                what = "a plan of several targets"
            message = f'{decorator} cannot tell a name for {what}; give it name="...".'
            raise InvalidDeclaration(message)
    if not isinstance(given, str) or not given:
        message = f"{decorator}(name={given!r}) must be a text that is not empty."
        raise InvalidOption(message)
    return given


def _dependencies(name: str, given: object) -> tuple[Dependency, ...]:
    """Return `depends_on` as a tuple, whatever form it was written in."""
    single = isinstance(given, (Artifact, When, str, staticmethod, classmethod))
    if not single and not isinstance(given, Iterable):
        message = f"depends_on of {name!r} must be units, names or when(...), not {shown(given)}{advice(given)}."
        raise InvalidDeclaration(message)
    listed: list[Any] = [given] if single else list(cast("Iterable[Any]", given))
    found: list[Any] = [plain_function(one) for one in listed]
    for one in found:
        if not _is_dependency(one):
            instead = advice(one) or "; list units, their names, or when(unit, condition)"
            message = f"depends_on of {name!r} lists {shown(one)}, which is no unit{instead}."
            raise InvalidDeclaration(message)
    return tuple(cast("list[Dependency]", found))


def _is_dependency(value: object) -> bool:
    return isinstance(value, (Artifact, When)) or (isinstance(value, str) and value != "")


def _location(function: object) -> Location:
    """Return where a function is written, or where the declaration is."""
    innermost = function
    while isinstance(innermost, partial):
        innermost = cast("partial[object]", innermost).func
    if isinstance(innermost, PlanFunction):
        innermost = None
    code = getattr(innermost, "__code__", None) or getattr(getattr(innermost, "__call__", None), "__code__", None)  # noqa: B004 - as above
    if code is not None:
        return Location(code.co_filename, code.co_firstlineno)
    frame = _declaring_frame()
    return Location(frame.f_code.co_filename, frame.f_lineno)
