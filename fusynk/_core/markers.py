"""`use`, `each` and `when`: what a signature or `depends_on` says about an edge."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, cast, overload

from typing_extensions import TypeVar

from fusynk._core.callables import is_coroutine_function, takes_positional
from fusynk._core.model import UNSET, Outcome
from fusynk.errors import InvalidDeclaration, shown

T = TypeVar("T")
D = TypeVar("D")
T_co = TypeVar("T_co", covariant=True)


class Artifact(Generic[T_co]):
    """The covariant view of a unit: something that yields an artifact of type `T_co`."""


Predicate = Callable[[Any], bool]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Marker:
    """A stand-in for an artifact, written as the default of a parameter.

    Attributes:
        source: The unit, or its name, that yields the artifact.
    """

    source: Artifact[object] | str

    def __repr__(self) -> str:
        """Show what was written."""
        return f"{type(self).__name__.lower()}({source_name(self)})"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Use(Marker):
    """The default of a parameter that receives an artifact.

    Attributes:
        default: What is passed where there is no artifact, or `UNSET`.
        when: The condition of the edge, or `None`.
        outcome: Whether the outcome is passed instead of the artifact.
        type: The artifact's type where only a name is given, or `None`.
    """

    default: object = UNSET
    when: Predicate | None = None
    outcome: bool = False
    type: object = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Each(Marker):
    """The default of the parameter that receives one item at a time."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class When(Marker):
    """An order edge with a condition, for `depends_on`.

    Attributes:
        predicate: Receives the artifact; the step runs if it returns true.
    """

    predicate: Predicate


def _checked(caller: str, source: object, predicate: object = None) -> Artifact[object] | str:
    """Return the source of an edge, or say what is wrong with it."""
    # Asked of the type: a unit passes itself off as what it wraps.
    if issubclass(type(source), (staticmethod, classmethod)):
        source = cast("staticmethod[..., object]", source).__wrapped__
    if isinstance(source, str):
        if not source:
            message = f"{caller}('') names no unit; pass the unit, or its name."
            raise InvalidDeclaration(message)
    elif not isinstance(source, Artifact):
        message = f"{caller}() takes a unit or its name, not {shown(source)}{advice(source)}."
        raise InvalidDeclaration(message)
    _check_predicate(caller, predicate)
    return cast("Artifact[object] | str", source)


def _check_predicate(caller: str, predicate: object) -> None:
    if predicate is None:
        return
    if not callable(predicate):
        message = f"The condition of {caller}() must be a function of the artifact, not {predicate!r}."
        raise InvalidDeclaration(message)
    if is_coroutine_function(predicate) or inspect.isgeneratorfunction(predicate):
        kind = "a generator" if inspect.isgeneratorfunction(predicate) else "asynchronous"
        message = (
            f"The condition of {caller}() is {kind}, so it would always count as true; "
            "decide in a layer and condition on what it returns."
        )
        raise InvalidDeclaration(message)
    if not takes_positional(predicate, 1):
        message = f"The condition of {caller}() must take one argument, the artifact; {shown(predicate)} does not."
        raise InvalidDeclaration(message)


def source_name(marker: Marker) -> str:
    """Return the name of the unit that a marker stands for."""
    return marker.source if isinstance(marker.source, str) else shown(marker.source).strip("'")


def advice(value: object) -> str:
    """Say how something that is no unit could become one, or return an empty text."""
    hidden = getattr(value, "__wrapped__", None)
    if isinstance(hidden, Artifact):
        return "; another decorator hides the unit: put @layer on top of it"
    if callable(getattr(value, "as_function", None)):
        return "; make a step of the plan first: layer(plan)"
    return "; decorate it with @layer first" if callable(value) and not isinstance(value, type) else ""


class UseFunction:
    """Declares that a parameter receives an artifact. Call it as `use(...)` in a signature."""

    @overload
    def __call__(self, source: Artifact[T], /, *, when: Callable[[T], bool] | None = None) -> T: ...
    @overload
    def __call__(self, source: Artifact[T], /, *, default: D, when: Callable[[T], bool] | None = None) -> T | D: ...
    @overload
    def __call__(self, source: str, /, *, type: type[T], when: Callable[[T], bool] | None = None) -> T: ...
    @overload
    def __call__(
        self, source: str, /, *, type: type[T], default: D, when: Callable[[T], bool] | None = None
    ) -> T | D: ...
    def __call__(
        self, source: object, /, *, default: object = UNSET, when: Predicate | None = None, type: object = None
    ) -> object:
        """Pass the artifact of a unit to this parameter.

        Args:
            source: The unit, or its name (`"name"` in the same graph, `"pkg.mod:name"` elsewhere).
            default: Passed when the unit failed, was skipped, or `when` refused; without it the step is skipped.
            when: The condition of the edge; receives the artifact.
            type: The artifact's type, where only a name is given.

        Raises:
            InvalidDeclaration: The source is no unit, or the condition no synchronous function.
        """
        return Use(_checked("use", source, when), default, when, outcome=False, type=type)

    @overload
    def outcome(self, source: Artifact[T], /) -> Outcome[T]: ...
    @overload
    def outcome(self, source: str, /) -> Outcome[object]: ...
    def outcome(self, source: object, /) -> object:
        """Pass the outcome of a unit, whatever it was, to this parameter.

        Args:
            source: The unit, or its name.

        Raises:
            InvalidDeclaration: The source is no unit.
        """
        return Use(_checked("use.outcome", source), outcome=True)


use = UseFunction()


def each(source: Artifact[Iterable[T]], /) -> T:
    """Call this unit once for each item of another unit's artifact.

    Args:
        source: A unit that returns an iterable, or is itself a fan-out (then the items chain one by one).

    Raises:
        InvalidDeclaration: The source is no unit.
    """
    return cast("T", Each(_checked("each", source)))


@overload
def when(source: Artifact[T], predicate: Callable[[T], bool], /) -> When: ...
@overload
def when(source: str, predicate: Predicate, /) -> When: ...
def when(source: object, predicate: Predicate, /) -> When:
    """Depend on a unit, and run only if its artifact satisfies a condition. For `depends_on=`.

    Args:
        source: The unit, or its name.
        predicate: Receives the artifact. False skips the step; an exception fails it.

    Raises:
        InvalidDeclaration: The source is no unit, or the predicate no synchronous function.
    """
    return When(_checked("when", source, predicate), predicate)
