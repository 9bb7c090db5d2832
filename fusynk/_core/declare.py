"""`@layer`, `@worker`, `@process` and `Graph`: mark a function, register it, call it through unchanged."""

import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from types import FrameType, MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from typing_extensions import Unpack

from fusynk._core.batch import Batch
from fusynk._core.markers import Artifact, When
from fusynk._core.model import Location
from fusynk._core.options import Dependency, LayerOptions, Mode, WorkerOptions, unit_options
from fusynk._core.registry import AnyLayer, Namespace, module_namespace, next_sequence
from fusynk._core.signature import is_coroutine_function
from fusynk._core.unit import Layer, Members, Process, Unit, UnitKind, Worker, plain_function
from fusynk.errors import InvalidDeclaration, InvalidOption

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")
_NOTHING_BOUND: Mapping[str, Artifact[object] | str] = MappingProxyType({})


class LayerFactory(Protocol):
    """What `@layer(...)` with options returns: it takes the function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Layer[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Layer[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Layer[P, R, R]: ...


class EachFactory(Protocol):
    """What `@layer.each(...)` returns: it takes the function of one item."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, A]], /
    ) -> Layer[P, Coroutine[Any, Any, A], Batch[A]]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Layer[P, Awaitable[A], Batch[A]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Layer[P, R, Batch[R]]: ...


class WorkerFactory(Protocol):
    """What `@worker(...)` with options returns: it takes the function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Worker[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Worker[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Worker[P, R, R]: ...


class ProcessFactory(Protocol):
    """What `@process(*members)` returns: it takes the function that runs last."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Process[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Process[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Process[P, R, R]: ...


class LayerDecorator:
    """`@layer`, bare or with options; `layer(existing, name="x")` declares a function written elsewhere."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /, **options: Unpack[LayerOptions]) -> Layer[P, R, R]: ...
    @overload
    def __call__(self, /, **options: Unpack[LayerOptions]) -> LayerFactory: ...
    def __call__(self, function: object = None, /, **options: Unpack[LayerOptions]) -> object:
        """Declare a step of a plan.

        Args:
            function: The function, when used bare or on a function written elsewhere.
            options: See `LayerOptions`; what is left out inherits the plan's default.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: The function cannot become a unit.
        """
        return _decorated("@layer", Layer, self._namespace, function, options)

    @overload
    def each(
        self, function: Callable[P, Coroutine[Any, Any, A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Coroutine[Any, Any, A], Batch[A]]: ...
    @overload
    def each(
        self, function: Callable[P, Awaitable[A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Awaitable[A], Batch[A]]: ...
    @overload
    def each(self, function: Callable[P, R], /, **options: Unpack[LayerOptions]) -> Layer[P, R, Batch[R]]: ...
    @overload
    def each(self, /, **options: Unpack[LayerOptions]) -> EachFactory: ...
    def each(self, function: object = None, /, **options: Unpack[LayerOptions]) -> object:
        """Declare a fan-out: one call for each item that the parameter with `each(...)` receives.

        Args:
            function: The function of one item.
            options: As for `@layer`; they hold for each item.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: The function cannot become a unit.
        """
        return _decorated("@layer.each", Layer, self._namespace, function, options)


class WorkerDecorator:
    """`@worker`, bare or with options."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, A]], /, **options: Unpack[WorkerOptions]
    ) -> Worker[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Awaitable[A]], /, **options: Unpack[WorkerOptions]
    ) -> Worker[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /, **options: Unpack[WorkerOptions]) -> Worker[P, R, R]: ...
    @overload
    def __call__(self, /, **options: Unpack[WorkerOptions]) -> WorkerFactory: ...
    def __call__(self, function: object = None, /, **options: Unpack[WorkerOptions]) -> object:
        """Declare a worker: a unit that a process runs, or that is run on demand or on a schedule.

        Args:
            function: The function, when used bare or on a function written elsewhere.
            options: As for `@layer`, and `every`, `cron`, `max_runs`, `heartbeat`.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: The function cannot become a unit.
        """
        return _decorated("@worker", Worker, self._namespace, function, options)


class ProcessDecorator:
    """`@process(*members, mode=...)`, or `process("name", *members, mode=...)` without a function."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace

    @overload
    def __call__(
        self, name: str, /, *members: Artifact[object], mode: Mode = ..., size: int = ..., delay: float = ...,
        **options: Unpack[LayerOptions],
    ) -> Process[[], Mapping[str, object], Mapping[str, object]]: ...
    @overload
    def __call__(
        self, /, *members: Artifact[object], mode: Mode = ..., size: int = ..., delay: float = ...,
        **options: Unpack[LayerOptions],
    ) -> ProcessFactory: ...
    def __call__(
        self, /, *members: object, mode: Mode = "parallel", size: int = 2, delay: float = 0.1,
        **options: Unpack[LayerOptions],
    ) -> object:
        """Declare a group of units and the order in which its members run.

        Args:
            members: The units, in order; a text in front names a process that has no function of its own.
            mode: "parallel", "sequential", "batched" (`size` at a time) or "isolated" (one by one, `delay` between).
            size: Members at a time in mode "batched", from 1.
            delay: Seconds between members in mode "isolated".
            options: As for `@layer`; they hold for the function, which runs last.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: A member is no unit.
        """
        named = members[0] if members and isinstance(members[0], str) else None
        group = _members(members[1:] if named is not None else members, mode, size, delay)
        if named is None:
            return partial(_declare, "@process", Process, self._namespace, members=group, options=options)
        merged = cast("LayerOptions", {"name": named, **options})
        return _declare("@process", Process, self._namespace, None, members=group, options=merged)


def _members(units: tuple[object, ...], mode: Mode, size: int, delay: float) -> Members:
    """Check the members of a process and its run mode."""
    for member in units:
        if not isinstance(member, Artifact):
            message = f"@process takes units as members, not {member!r}; decorate it with @layer or @worker first."
            raise InvalidDeclaration(message)
    if mode not in ("parallel", "sequential", "batched", "isolated"):
        message = f'@process(mode={mode!r}) must be "parallel", "sequential", "batched" or "isolated".'
        raise InvalidOption(message)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        message = f"@process(size={size!r}) must be a whole number from 1 up."
        raise InvalidOption(message)
    if not isinstance(delay, (int, float)) or not 0 <= delay < float("inf"):
        message = f"@process(delay={delay!r}) must be seconds, from 0 up."
        raise InvalidOption(message)
    return Members(units=cast("tuple[Artifact[object], ...]", units), mode=mode, size=size, delay=delay)


def _decorated(
    decorator: str, kind: type[AnyLayer], namespace: Namespace | None, function: object, options: LayerOptions
) -> object:
    """Serve both `@layer` and `@layer(...)`."""
    if function is None:
        unit_options(decorator, options)
        return partial(_declare, decorator, kind, namespace, options=options)
    return _declare(decorator, kind, namespace, function, options=options)


def _declare(
    decorator: str,
    kind: type[AnyLayer],
    namespace: Namespace | None,
    function: object,
    *,
    options: LayerOptions,
    members: Members | None = None,
    bind: Mapping[str, Artifact[object] | str] = _NOTHING_BOUND,
) -> AnyLayer:
    """Make the unit, register it, and return the object that stands for it."""
    plain = plain_function(function)
    checked = unit_options(decorator, options)
    if function is not None:
        _check_function(decorator, plain)
        if checked.run_in == "thread" and is_coroutine_function(plain):
            message = f'{decorator}(run_in="thread") on a coroutine function; leave run_in out, or make it a plain def.'
            raise InvalidDeclaration(message)
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
    own: str | None = getattr(function, "__module__", None) if inspect.isroutine(function) else None
    if own is not None and not named:
        return own
    return str(_declaring_frame().f_globals.get("__name__", "__main__"))


def _declaring_frame() -> FrameType:
    """Return the innermost frame outside this module."""
    frame = sys._getframe()  # noqa: SLF001 - documented by CPython, and the only way to a caller's line
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
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
    if isinstance(function, Artifact):
        what = getattr(function, "__name__", "it")
        message = f"{decorator} was applied to {what!r}, which is a unit already; decorate the plain function once."
        raise InvalidDeclaration(message)
    if not callable(function) or isinstance(function, type):
        message = f"{decorator} takes a function, not {function!r}."
        raise InvalidDeclaration(message)
    call = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004 - the method itself is needed
    if any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in (function, call)):
        what = getattr(function, "__name__", repr(function))
        message = (
            f"{decorator} was applied to the generator function {what!r}: generators declare resources, "
            "which this version does not run. Return a value instead."
        )
        raise InvalidDeclaration(message)


def _unit_name(decorator: str, function: object, options: LayerOptions) -> str:
    given = options.get("name")
    if given is None:
        given = getattr(function, "__name__", None)
        if given is None or given == "<lambda>":
            message = f"{decorator} cannot tell a name for {function!r}; give it name=..."
            raise InvalidDeclaration(message)
    if not isinstance(given, str) or not given:
        message = f"{decorator}(name={given!r}) must be a text that is not empty."
        raise InvalidOption(message)
    return given


def _dependencies(name: str, given: object) -> tuple[Dependency, ...]:
    """Return `depends_on` as a tuple, whatever form it was written in."""
    single = isinstance(given, (Artifact, When, str, staticmethod, classmethod))
    if not single and not isinstance(given, Iterable):
        message = f"depends_on of {name!r} must be units, names or when(...), not {given!r}."
        raise InvalidDeclaration(message)
    listed = (given,) if single else tuple(cast("Iterable[object]", given))
    found = tuple(plain_function(one) for one in listed)
    for one in found:
        if not isinstance(one, (Artifact, When, str)) or one == "":
            message = (
                f"depends_on of {name!r} lists {one!r}, which is no unit; "
                "list units, their names, or when(unit, condition)."
            )
            raise InvalidDeclaration(message)
    return cast("tuple[Dependency, ...]", found)


def _location(function: object) -> Location:
    """Return where a function is written, or where the declaration is."""
    innermost = function
    while isinstance(innermost, partial):
        innermost = cast("object", innermost.func)
    code = getattr(innermost, "__code__", None) or getattr(getattr(innermost, "__call__", None), "__code__", None)  # noqa: B004 - as above
    if code is not None:
        return Location(code.co_filename, code.co_firstlineno)
    frame = _declaring_frame()
    return Location(frame.f_code.co_filename, frame.f_lineno)


class Graph(Namespace):
    """An explicit graph: units declared by its own decorators, or added and removed by hand.

    >>> orders = Graph("orders")
    >>> @orders.layer
    ... async def total(price: int, count: int) -> int:
    ...     return price * count
    >>> list(orders.units)
    ['total']

    Args:
        name: The graph's name, for errors.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.layer = LayerDecorator(self)
        self.worker = WorkerDecorator(self)
        self.process = ProcessDecorator(self)

    def __repr__(self) -> str:
        """Name the graph and count its units."""
        return f"<Graph {self.name!r} of {len(self.units)} units>"

    @overload
    def add_layer(
        self, function: Callable[P, Coroutine[Any, Any, A]], /, *, bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def add_layer(
        self, function: Callable[P, R], /, *, bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, R, R]: ...
    def add_layer(
        self,
        function: Callable[..., object],
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = _NOTHING_BOUND,
        **options: Unpack[LayerOptions],
    ) -> object:
        """Add a function as a layer: the builder form of `@layer`.

        Args:
            function: The function.
            bind: Which unit's artifact each parameter receives; parameters left out are inputs.
            options: As for `@layer`.

        Raises:
            DuplicateName: The graph has a unit of that name.
            DeclarationError: The function or an option cannot be used.
        """
        sources: dict[str, Artifact[object] | str] = {}
        for parameter, source in bind.items():
            if not isinstance(source, (Artifact, str)):
                message = f"bind={{{parameter!r}: {source!r}}} must map to a unit or its name."
                raise InvalidDeclaration(message)
            sources[parameter] = source
        return _declare("@layer", Layer, self, function, options=options, bind=sources)

    def remove_layer(self, name: str) -> None:
        """Remove a unit; units that depend on it are found at the next compile.

        Raises:
            UnknownStep: The graph has no such unit.
        """
        self.remove(name)


layer = LayerDecorator()
worker = WorkerDecorator()
process = ProcessDecorator()
