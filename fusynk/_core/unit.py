"""Units: the frozen record of a declaration, and the function-like object that carries it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Concatenate, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload

from fusynk._core.markers import Artifact, Each, Marker, Use
from fusynk._core.model import Location
from fusynk._core.options import Dependency, Mode, UnitOptions
from fusynk.errors import InvalidDeclaration, MissingArtifact

if TYPE_CHECKING:
    from fusynk._core.registry import Namespace

    class FunctionWrapper:
        """What is used of wrapt's class, typed."""

        __wrapped__: Callable[..., object]
        __name__: str

        def __init__(self, wrapped: object, wrapper: object) -> None: ...

    BoundFunctionWrapper = FunctionWrapper
else:
    from wrapt import BoundFunctionWrapper, FunctionWrapper

P = ParamSpec("P")
Q = ParamSpec("Q")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
S = TypeVar("S")

UnitKind = Literal["layer", "worker", "process"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """The members of a process and how they are ordered.

    Attributes:
        units: The members, in list order.
        mode: The run mode.
        size: How many run at a time in mode "batched".
        delay: Seconds between members in mode "isolated".
    """

    units: tuple[Artifact[object], ...]
    mode: Mode
    size: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """What a decorator or a builder call declared.

    Attributes:
        name: The unit's name.
        kind: Which decorator declared it.
        function: The function as given, or `None` for a process without one.
        options: Its options.
        depends_on: Order edges, as written.
        bind: Parameters bound by the builder.
        each: Whether it is a fan-out.
        members: The members, for a process.
        location: Where it is declared.
        namespace: Where its names are looked up.
        scope: The class or function that declares it, as in `__qualname__`; empty at the top of a module.
        sequence: Its place in the order of all declarations.
    """

    name: str
    kind: UnitKind
    function: Callable[..., object] | None
    options: UnitOptions
    depends_on: tuple[Dependency, ...]
    bind: Mapping[str, Artifact[object] | str]
    each: bool
    members: Members | None
    location: Location
    namespace: "Namespace"
    scope: str
    sequence: int


def plain_function(function: object) -> object:
    """Return what a static or class method wraps, and anything else unchanged."""
    # Asked of the type: a unit passes itself off as what it wraps.
    if issubclass(type(function), (staticmethod, classmethod)):
        return cast("object", cast("staticmethod[..., object]", function).__wrapped__)
    return function


def _checked_call(
    wrapped: Callable[..., object], _instance: object, args: tuple[object, ...], kwargs: dict[str, object]
) -> object:
    """Call a unit's function as written, unless an artifact is missing."""
    if _artifact_parameters(wrapped) or any(isinstance(value, Marker) for value in (*args, *kwargs.values())):
        _require_artifacts(wrapped, args, kwargs)
    return wrapped(*args, **kwargs)


def _artifact_parameters(function: Callable[..., object]) -> bool:
    """Tell whether any default is a marker; quick, because every call asks."""
    plain = getattr(function, "__func__", function)
    defaults: tuple[object, ...] = getattr(plain, "__defaults__", None) or ()
    keyword_defaults: dict[str, object] = getattr(plain, "__kwdefaults__", None) or {}
    return any(isinstance(default, Marker) for default in (*defaults, *keyword_defaults.values()))


def _require_artifacts(wrapped: Callable[..., object], args: tuple[object, ...], kwargs: dict[str, object]) -> None:
    bound = inspect.signature(wrapped).bind_partial(*args, **kwargs)
    bound.apply_defaults()
    for parameter, value in bound.arguments.items():
        if isinstance(value, Marker):
            source = value.source if isinstance(value.source, str) else getattr(value.source, "__name__", "?")
            name = getattr(wrapped, "__name__", "the unit")
            message = (
                f"{name}() was called without {parameter!r}, the artifact of {source!r}; "
                f"pass {parameter}=..., or run it in a plan."
            )
            raise MissingArtifact(message)


def _public_signature(wrapped: Callable[..., object]) -> inspect.Signature:
    """Return the signature of an ordinary call: artifacts are required."""
    signature = inspect.signature(wrapped)
    parameters: list[inspect.Parameter] = []
    after_default = False
    for parameter in signature.parameters.values():
        shown = parameter
        if isinstance(parameter.default, (Use, Each)):
            shown = parameter.replace(default=inspect.Parameter.empty)
        if shown.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
            # A required parameter may not follow an optional one, unless it is passed by keyword.
            if after_default:
                shown = shown.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            elif shown.default is not inspect.Parameter.empty:
                after_default = _required_follows(signature, parameter.name)
        parameters.append(shown)
    kinds = sorted(parameters, key=lambda parameter: parameter.kind)
    return signature.replace(parameters=kinds)


def _required_follows(signature: inspect.Signature, name: str) -> bool:
    names = list(signature.parameters)
    rest = names[names.index(name) + 1 :]
    return any(isinstance(signature.parameters[later].default, (Use, Each)) for later in rest)


class BoundLayer(BoundFunctionWrapper, Artifact[A], Generic[P, R_co, A]):
    """A unit seen through an instance: `service.checkout`."""

    if TYPE_CHECKING:
        _self_parent: "Layer[..., object, object]"
        _self_instance: object

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of an ordinary call."""
        return _public_signature(self.__wrapped__)

    @property
    def layer(self) -> "Layer[..., object, object]":
        """The unit itself."""
        return self._self_parent

    @property
    def instance(self) -> object:
        """What it is bound to: an instance, the class for a class method, `None` for a static method."""
        if issubclass(type(self._self_parent.__wrapped__), staticmethod):
            return None
        return getattr(self.__wrapped__, "__self__", self._self_instance)

    def __eq__(self, other: object) -> bool:
        """Two views are one if unit and instance are."""
        if not isinstance(other, BoundLayer):
            return False
        seen = cast("BoundLayer[..., object, object]", other)
        return self.layer is seen.layer and self.instance is seen.instance

    def __hash__(self) -> int:
        """Hash by identity of unit and instance."""
        return hash((id(self.layer), id(self.instance)))

    def __repr__(self) -> str:
        """Name the unit and what it is bound to."""
        return f"<{self.layer!r} of {type(self.instance).__name__}>"

    def returns(self, artifact: A) -> "Override":
        """Like `Layer.returns`, for this instance."""
        return Override(self, "returns", artifact)

    def raises(self, error: BaseException | type[BaseException]) -> "Override":
        """Like `Layer.raises`, for this instance."""
        return Override(self, "raises", _checked_error(error))

    def calls(self, function: Callable[..., object]) -> "Override":
        """Like `Layer.calls`, for this instance."""
        return Override(self, "calls", _checked_function(function))


class Layer(FunctionWrapper, Artifact[A], Generic[P, R_co, A]):
    """A decorated function: called, tested, typed and pickled as before, and a unit of the graph.

    `P` are its parameters, `R_co` what an ordinary call returns, `A` the artifact that dependents receive.
    """

    __bound_function_wrapper__ = BoundLayer
    if TYPE_CHECKING:
        _self_unit: Unit
        _self_attribute: str | None

    def __init__(self, unit: Unit, function: Callable[..., object]) -> None:
        super().__init__(function, _checked_call)
        self._self_unit = unit
        self._self_attribute = None

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
            """Bind like a method; seen through its class, a plain function stays the unit itself."""
            if instance is None and not isinstance(self.__wrapped__, classmethod):
                return self
            return super().__get__(instance, owner)

    @property
    def unit(self) -> Unit:
        """What was declared."""
        return self._self_unit

    @property
    def attribute(self) -> str | None:
        """Under which name a class holds this unit, if one does."""
        return self._self_attribute

    def __set_name__(self, owner: type[object], name: str) -> None:
        """Remember under which attribute a class holds this unit."""
        self._self_attribute = name

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of an ordinary call."""
        return _public_signature(cast("Callable[..., object]", plain_function(self.__wrapped__)))

    def __eq__(self, other: object) -> bool:
        """Units compare by identity: two over one function are two."""
        return self is other

    def __hash__(self) -> int:
        """Hash by identity."""
        return id(self)

    def __repr__(self) -> str:
        """Name the unit and where it is declared."""
        unit = self._self_unit
        return f"<{unit.kind} {unit.name!r} at {unit.location}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by import path, like a function."""
        return _imported, (self.__wrapped__.__module__, self.__wrapped__.__qualname__)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        """Pickle by import path, like a function."""
        return self.__reduce__()

    def __copy__(self) -> Self:
        """A unit is its own copy, like a function."""
        return self

    def __deepcopy__(self, memo: object) -> Self:
        """A unit is its own copy, like a function."""
        return self

    def returns(self, artifact: A) -> "Override":
        """Replace the function by a value, for `Plan.override`.

        Args:
            artifact: What dependents receive; for a fan-out, a whole `Batch`.
        """
        return Override(self, "returns", artifact)

    def raises(self, error: BaseException | type[BaseException]) -> "Override":
        """Replace the function by an error, for `Plan.override`.

        Args:
            error: Raised by every attempt; an instance is copied for each.

        Raises:
            InvalidDeclaration: It is no exception.
        """
        return Override(self, "raises", _checked_error(error))

    def calls(self, function: Callable[..., object]) -> "Override":
        """Replace the function by another one, for `Plan.override`.

        Args:
            function: Called with the same arguments; may be asynchronous.

        Raises:
            InvalidDeclaration: It is no function.
        """
        return Override(self, "calls", _checked_function(function))


class Worker(Layer[P, R_co, A]):
    """A unit declared by `@worker`: run by a process, on demand, or on a schedule."""


class Process(Layer[P, R_co, A]):
    """A named group of units with a run mode."""


@dataclass(frozen=True, slots=True)
class Override:
    """A stand-in for one unit's function. Make it with `layer.returns`, `.raises` or `.calls`."""

    unit: Artifact[object]
    verb: Literal["returns", "raises", "calls"]
    value: object


def _checked_error(error: object) -> object:
    if isinstance(error, BaseException) or (isinstance(error, type) and issubclass(error, BaseException)):
        return error
    message = f"raises() takes an exception or an exception type, not {error!r}."
    raise InvalidDeclaration(message)


def _checked_function(function: object) -> object:
    if callable(function):
        return function
    message = f"calls() takes a function, not {function!r}."
    raise InvalidDeclaration(message)


def _imported(module: str, qualname: str) -> object:
    found: object = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found
