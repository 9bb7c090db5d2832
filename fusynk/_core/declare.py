"""`@layer`, `@worker`, `@process` and `Graph`: mark a function, register it, call it through unchanged."""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from typing_extensions import Unpack

from fusynk._core.batch import Batch
from fusynk._core.declaring import NOTHING_BOUND, declare_unit, decorated, members_of
from fusynk._core.layer import Layer, Process, Worker
from fusynk._core.markers import Artifact
from fusynk._core.nested import PlanLike
from fusynk._core.options import LayerOptions, Mode, WorkerOptions, unit_options
from fusynk._core.registry import Namespace
from fusynk._core.savable import SavableGraph
from fusynk.errors import InvalidDeclaration, InvalidOption

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")


class LayerFactory(Protocol):
    """What `@layer(...)` with options returns: it takes the function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Layer[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Layer[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[A]], /) -> Layer[P, AsyncIterator[A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /
    ) -> Layer[P, Generator[A, Any, object], A]: ...
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
    def __call__(self, function: Callable[P, AsyncIterator[A]], /) -> Layer[P, AsyncIterator[A], Batch[A]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /
    ) -> Layer[P, Generator[A, Any, object], Batch[A]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Layer[P, R, Batch[R]]: ...


class WorkerFactory(Protocol):
    """What `@worker(...)` with options returns: it takes the function."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Worker[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Worker[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[A]], /) -> Worker[P, AsyncIterator[A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /
    ) -> Worker[P, Generator[A, Any, object], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Worker[P, R, R]: ...


class ProcessFactory(Protocol):
    """What `@process(*members)` returns: it takes the function that runs last."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, A]], /) -> Process[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(self, function: Callable[P, Awaitable[A]], /) -> Process[P, Awaitable[A], A]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[A]], /) -> Process[P, AsyncIterator[A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /
    ) -> Process[P, Generator[A, Any, object], A]: ...
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
    def __call__(
        self, plan: PlanLike[A], /, **options: Unpack[LayerOptions]
    ) -> Layer[..., Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncIterator[A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, AsyncIterator[A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Generator[A, Any, object], A]: ...
    @overload
    def __call__(self, function: Callable[P, R], /, **options: Unpack[LayerOptions]) -> Layer[P, R, R]: ...
    @overload
    def __call__(self, /, **options: Unpack[LayerOptions]) -> LayerFactory: ...
    def __call__(self, function: object = None, /, **options: Unpack[LayerOptions]) -> object:
        """Declare a step of a plan.

        A generator with one `yield` declares a resource; a plan becomes one step that takes the plan's inputs.

        Args:
            function: The function, when used bare or on a function written elsewhere; or a plan.
            options: See `LayerOptions`; what is left out inherits the plan's default.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: The function cannot become a unit.
        """
        return decorated("@layer", Layer, self._namespace, function, options)

    @overload
    def each(
        self, function: Callable[P, Coroutine[Any, Any, A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Coroutine[Any, Any, A], Batch[A]]: ...
    @overload
    def each(
        self, function: Callable[P, Awaitable[A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Awaitable[A], Batch[A]]: ...
    @overload
    def each(
        self, plan: PlanLike[A], /, **options: Unpack[LayerOptions]
    ) -> Layer[..., Coroutine[Any, Any, A], Batch[A]]: ...
    @overload
    def each(
        self, function: Callable[P, AsyncIterator[A]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, AsyncIterator[A], Batch[A]]: ...
    @overload
    def each(
        self, function: Callable[P, Generator[A, Any, object]], /, **options: Unpack[LayerOptions]
    ) -> Layer[P, Generator[A, Any, object], Batch[A]]: ...
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
        return decorated("@layer.each", Layer, self._namespace, function, options)


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
    def __call__(
        self, plan: PlanLike[A], /, **options: Unpack[WorkerOptions]
    ) -> Worker[..., Coroutine[Any, Any, A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, AsyncIterator[A]], /, **options: Unpack[WorkerOptions]
    ) -> Worker[P, AsyncIterator[A], A]: ...
    @overload
    def __call__(
        self, function: Callable[P, Generator[A, Any, object]], /, **options: Unpack[WorkerOptions]
    ) -> Worker[P, Generator[A, Any, object], A]: ...
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
        return decorated("@worker", Worker, self._namespace, function, options)


class ProcessDecorator:
    """`@process(*members, mode=...)`, or `process("name", *members, mode=...)` without a function."""

    def __init__(self, namespace: Namespace | None = None) -> None:
        self._namespace = namespace

    @overload
    def __call__(
        self,
        name: str,
        /,
        *members: Artifact[object],
        mode: Mode = ...,
        size: int = ...,
        delay: float = ...,
        **options: Unpack[WorkerOptions],
    ) -> Process[[], Mapping[str, object], Mapping[str, object]]: ...
    @overload
    def __call__(
        self,
        /,
        *members: Artifact[object],
        mode: Mode = ...,
        size: int = ...,
        delay: float = ...,
        **options: Unpack[WorkerOptions],
    ) -> ProcessFactory: ...
    def __call__(
        self,
        /,
        *members: object,
        mode: Mode = "parallel",
        size: int = 2,
        delay: float = 0.1,
        **options: Unpack[WorkerOptions],
    ) -> object:
        """Declare a group of units and the order in which its members run.

        Args:
            members: The units, in order; a text in front names a process that has no function of its own.
            mode: "parallel", "sequential", "batched" (`size` at a time) or "isolated" (one by one, `delay` between).
            size: Members at a time in mode "batched", from 1.
            delay: Seconds between members in mode "isolated".
            options: As for `@worker`; those of attempts hold for the function, which runs last.

        Raises:
            UnknownOption: An option does not exist.
            InvalidOption: An option has a value it cannot have.
            InvalidDeclaration: A member is no unit.
        """
        named = members[0] if members and isinstance(members[0], str) else None
        group = members_of(members[1:] if named is not None else members, mode, size, delay)
        if named is None:
            unit_options("@process", options)
            return partial(declare_unit, "@process", Process, self._namespace, members=group, options=options)
        if "name" in options:
            message = f"process({named!r}, name={options['name']!r}) has two names; leave one out."
            raise InvalidOption(message)
        merged = cast("WorkerOptions", {"name": named, **options})
        return declare_unit("@process", Process, self._namespace, None, members=group, options=merged)


class Graph(SavableGraph):
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
        self,
        function: Callable[P, Coroutine[Any, Any, A]],
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, Coroutine[Any, Any, A], A]: ...
    @overload
    def add_layer(
        self, plan: PlanLike[A], /, *, bind: Mapping[str, Artifact[Any] | str] = ..., **options: Unpack[LayerOptions]
    ) -> Layer[..., Coroutine[Any, Any, A], A]: ...
    @overload
    def add_layer(
        self,
        function: Callable[P, AsyncIterator[A]],
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, AsyncIterator[A], A]: ...
    @overload
    def add_layer(
        self,
        function: Callable[P, Generator[A, Any, object]],
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, Generator[A, Any, object], A]: ...
    @overload
    def add_layer(
        self,
        function: Callable[P, R],
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = ...,
        **options: Unpack[LayerOptions],
    ) -> Layer[P, R, R]: ...
    def add_layer(
        self,
        function: object,
        /,
        *,
        bind: Mapping[str, Artifact[Any] | str] = NOTHING_BOUND,
        **options: Unpack[LayerOptions],
    ) -> object:
        """Add a function as a layer: the builder form of `@layer`.

        Args:
            function: The function, or a plan.
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
        return declare_unit("@layer", Layer, self, function, options=options, bind=MappingProxyType(sources))

    def remove_layer(self, name: str) -> None:
        """Remove a unit; units that depend on it are found at the next compile.

        Raises:
            UnknownStep: The graph has no such unit.
        """
        self.remove(name)


layer = LayerDecorator()
worker = WorkerDecorator()
process = ProcessDecorator()
