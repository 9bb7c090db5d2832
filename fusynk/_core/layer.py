"""The function-like objects that carry a declaration: units, and their views through an instance."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload
from weakref import WeakKeyDictionary

from typing_extensions import Unpack

from fusynk._core.batch import Batch
from fusynk._core.callables import takes_positional
from fusynk._core.calling import CallGuard, public_signature
from fusynk._core.markers import Artifact
from fusynk._core.options import AdjustableOptions, adjusted_options
from fusynk._core.unit import Unit
from fusynk.errors import InvalidDeclaration

if TYPE_CHECKING:

    class FunctionWrapper:
        """What is used of wrapt's class, typed."""

        __wrapped__: Callable[..., object]
        __name__: str
        __qualname__: str

        def __init__(self, wrapped: object, wrapper: object) -> None: ...

    BoundFunctionWrapper = FunctionWrapper
else:
    from wrapt import BoundFunctionWrapper, FunctionWrapper

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
S = TypeVar("S")


def plain_function(function: object) -> object:
    """Return what a static or class method wraps, and anything else unchanged."""
    # Asked of the type: a unit passes itself off as what it wraps.
    if issubclass(type(function), (staticmethod, classmethod)):
        return cast("object", cast("staticmethod[..., object]", function).__wrapped__)
    return function


class ClassScope:
    """Stands for "any instance of this class" where a method is seen through a subclass. One for each class.

    Args:
        owner: The class.
    """

    _known: ClassVar[WeakKeyDictionary[type, Self]] = WeakKeyDictionary()

    def __init__(self, owner: type[object]) -> None:
        self.owner = owner

    @classmethod
    def of(cls, owner: type[object]) -> Self:
        """Return the scope of a class."""
        found = cls._known.get(owner)
        if found is None:
            found = cls._known[owner] = cls(owner)
        return found


class Replaceable(Artifact[A], Generic[P, A]):
    """What `Plan.override` can replace: a unit, or its view through an instance."""

    if TYPE_CHECKING:

        @property
        def unit(self) -> Unit:
            """What was declared."""
            ...

    def returns(self, artifact: A) -> "Override":
        """Replace the function by a value, for `Plan.override`.

        Args:
            artifact: What dependents receive; for a fan-out, a whole `Batch`.

        Raises:
            InvalidDeclaration: The unit is a fan-out, and this is no `Batch`.
        """
        if self.unit.each and not _is_batch(artifact):
            message = (
                f"{self.unit.name!r} is a fan-out: returns() takes a whole Batch({{0: ..., 1: ...}}), not {artifact!r}."
            )
            raise InvalidDeclaration(message)
        return Override(self, "returns", artifact)

    def raises(self, error: BaseException | type[BaseException]) -> "Override":
        """Replace the function by an error, for `Plan.override`.

        Args:
            error: Raised by every attempt; an instance is copied for each.

        Raises:
            InvalidDeclaration: It is no exception.
        """
        return Override(self, "raises", _checked_error(error))

    @overload
    def calls(self, function: Callable[P, object]) -> "Override": ...
    @overload
    def calls(self, function: Callable[..., object]) -> "Override": ...
    def calls(self, function: Callable[..., object]) -> "Override":
        """Replace the function by another one, for `Plan.override`.

        Args:
            function: Called with the same arguments; may be asynchronous.

        Raises:
            InvalidDeclaration: It is no function.
        """
        return Override(self, "calls", _checked_function(function))

    def with_options(self, **options: Unpack[AdjustableOptions]) -> "Override":
        """Let the unit have other options, for `Plan.override`.

        Args:
            options: See `AdjustableOptions`; what is left out stays.

        Raises:
            UnknownOption: An option does not exist, or cannot be changed after the declaration.
            InvalidOption: An option has a value it cannot have.
        """
        adjusted_options("with_options()", self.unit.options, options)
        return Override(self, "options", options)


class BoundLayer(BoundFunctionWrapper, Replaceable[P, A], Generic[P, R_co, A]):
    """A unit seen through an instance: `service.checkout`."""

    if TYPE_CHECKING:
        _self_parent: "Layer[..., object, object]"
        _self_instance: object
        _self_owner: type[object]

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of an ordinary call."""
        return public_signature(self.__wrapped__)

    @property
    def layer(self) -> "Layer[..., object, object]":
        """The unit itself."""
        return self._self_parent

    @property
    def unit(self) -> Unit:
        """What was declared."""
        return self._self_parent.unit

    @property
    def instance(self) -> object:
        """What it is bound to: an instance, the class for a class method, or the subclass it is seen through."""
        bound = getattr(self.__wrapped__, "__self__", self._self_instance)
        if issubclass(type(self._self_parent.__wrapped__), staticmethod):
            return None
        return ClassScope.of(self._self_owner) if bound is None else bound

    @property
    def __func__(self) -> "Layer[..., object, object]":
        """The unit, as a method's function; `inspect.signature` goes through it."""
        return self._self_parent

    def __eq__(self, other: object) -> bool:
        """Two views are one if unit and instance are."""
        if not isinstance(other, BoundLayer):
            return False
        seen = cast("BoundLayer[..., object, object]", other)
        return self.layer is seen.layer and self.instance is seen.instance

    def __ne__(self, other: object) -> bool:
        """Be the opposite of `==`; the wrapped function's own would compare functions."""
        return not self == other

    def __hash__(self) -> int:
        """Hash by identity of unit and instance."""
        return hash((id(self.layer), id(self.instance)))

    def __repr__(self) -> str:
        """Name the unit and what it is bound to."""
        owner = self.instance
        if owner is None:
            return repr(self.layer)
        if isinstance(owner, ClassScope):
            owner = owner.owner
        of = f"class {owner.__name__}" if isinstance(owner, type) else f"a {type(owner).__name__}"
        return f"{repr(self.layer)[:-1]} of {of}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle like a bound method: the attribute of what it is bound to."""
        owner = self.instance.owner if isinstance(self.instance, ClassScope) else self.instance
        return getattr, (owner, self._self_parent.attribute or self._self_parent.__name__)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        """Pickle like a bound method."""
        return self.__reduce__()

    def __copy__(self) -> Self:
        """A view is its own copy, like a bound method."""
        return self

    def __deepcopy__(self, memo: object) -> object:
        """Bind the copy to a copy of the instance, like a bound method."""
        if self.instance is None or isinstance(self.instance, (ClassScope, type)):
            return self
        copied = deepcopy(self.instance, cast("dict[int, object]", memo))
        return getattr(copied, self._self_parent.attribute or self._self_parent.__name__)


class Layer(FunctionWrapper, Replaceable[P, A], Generic[P, R_co, A]):
    """A decorated function: called, tested, typed and pickled as before, and a unit of the graph.

    `P` are its parameters, `R_co` what an ordinary call returns, `A` the artifact that dependents receive.
    """

    __bound_function_wrapper__ = BoundLayer
    if TYPE_CHECKING:
        _self_unit: Unit
        _self_attribute: str | None
        _self_home: type[object] | None

    def __init__(self, unit: Unit, function: Callable[..., object]) -> None:
        super().__init__(function, CallGuard(unit.name))
        self._self_unit = unit
        self._self_attribute = None
        self._self_home = None

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
            """Call the function itself; artifacts are passed by the caller."""
            ...

        @overload
        def __get__(self, instance: None, owner: type[object], /) -> Self: ...
        @overload
        def __get__(
            self: "Layer[Concatenate[S, Q], R_co, A]", instance: S, owner: type[object] | None = None, /
        ) -> "Layer[Q, R_co, A]": ...
        def __get__(self, instance: object, owner: type[object] | None = None, /) -> object:
            """Bind like a method."""
            ...
    else:

        def __get__(self, instance: object, owner: type[object] | None = None) -> object:
            """Bind like a method; seen through its own class, a plain function stays the unit itself."""
            kind = type(self.__wrapped__)
            if issubclass(kind, staticmethod):
                return self
            at_home = instance is None and owner in (None, self._self_home)
            return self if at_home and not issubclass(kind, classmethod) else super().__get__(instance, owner)

    @property
    def unit(self) -> Unit:
        """What was declared."""
        return self._self_unit

    @property
    def attribute(self) -> str | None:
        """Under which name a class holds this unit, if one does."""
        return self._self_attribute

    @property
    def home(self) -> type[object] | None:
        """The class that declares this unit, if one does."""
        return self._self_home

    def __set_name__(self, owner: type[object], name: str) -> None:
        """Remember which class holds this unit, and under which attribute; the first one counts."""
        if self._self_attribute is None:
            self._self_attribute = name
            self._self_home = owner

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of an ordinary call."""
        return public_signature(cast("Callable[..., object]", plain_function(self.__wrapped__)))

    def __eq__(self, other: object) -> bool:
        """Units compare by identity: two over one function are two."""
        return self is other

    def __ne__(self, other: object) -> bool:
        """Be the opposite of `==`; the wrapped function's own would compare functions."""
        return self is not other

    def __hash__(self) -> int:
        """Hash by identity."""
        return id(self)

    def __repr__(self) -> str:
        """Name the unit and where it is declared."""
        unit = self._self_unit
        return f"<{unit.kind} {unit.name!r} at {unit.location}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by import path, like a function.

        Raises:
            PicklingError: No import path leads to this unit.
        """
        function = plain_function(self.__wrapped__)
        from pickle import PicklingError  # noqa: PLC0415 - only this error needs it

        module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
        for place in ((module, path), (module, self.unit.name), (self.unit.namespace.name, self.unit.name)):
            if _found_at(*place) is self:
                return _imported, place
        message = f"{self!r} cannot be pickled: it is not found as {module}.{path}; declare it at the top of a module."
        raise PicklingError(message)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        """Pickle by import path, like a function."""
        return self.__reduce__()

    def __copy__(self) -> Self:
        """A unit is its own copy, like a function."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """A unit is its own copy, like a function."""
        return self


class Worker(Layer[P, R_co, A]):
    """A unit declared by `@worker`: run by a process, on demand, or on a schedule."""


class Process(Layer[P, R_co, A]):
    """A named group of units with a run mode."""


@dataclass(frozen=True, slots=True)
class Override:
    """A stand-in for one unit's function or options, made by `layer.returns` and its siblings."""

    unit: Artifact[object]
    verb: Literal["returns", "raises", "calls", "options"]
    value: object


def _is_batch(value: object) -> bool:
    return isinstance(value, Batch)


def _checked_error(error: object) -> object:
    if isinstance(error, BaseException):
        return error
    if isinstance(error, type) and issubclass(error, BaseException):
        if takes_positional(error, 0):
            return error
        message = f"raises({error.__name__}) cannot make one without arguments; write raises({error.__name__}(...))."
    else:
        message = f"raises() takes an exception or an exception type, not {error!r}."
    raise InvalidDeclaration(message)


def _checked_function(function: object) -> object:
    if callable(function):
        return function
    message = f"calls() takes a function, not {function!r}."
    raise InvalidDeclaration(message)


def _imported(module: str, path: str) -> object:
    found: object = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def _found_at(module: str | None, path: str | None) -> object:
    """Return what an import path leads to, or `None`."""
    if module is None or path is None or "<locals>" in path:
        return None
    with suppress(ImportError, AttributeError, ValueError):
        return plain_function(_imported(module, path))
    return None
