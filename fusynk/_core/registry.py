"""Where declared units are kept by name: one implicit graph a module, any number of explicit ones."""

import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import count
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias, cast
from weakref import WeakValueDictionary

from fusynk._core.layer import Layer
from fusynk._core.unit import Unit
from fusynk.errors import DuplicateName, UnknownDependency, UnknownStep, did_you_mean

AnyLayer: TypeAlias = Layer[..., Any, Any]

_sequence = count()
_modules: dict[str, "Namespace"] = {}


def next_sequence() -> int:
    """Return the next place in the order of declarations."""
    return next(_sequence)


class Namespace:
    """Units by name. A module's own is implicit; `Graph` is the explicit kind.

    Args:
        name: The graph's name; the module's name for an implicit one.

    Attributes:
        is_loaded: Whether it was made from a file, which names functions whose markers mean other units.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_loaded = False
        self._units: dict[str, AnyLayer] = {}

    @property
    def units(self) -> Mapping[str, AnyLayer]:
        """The units by name, in order of declaration."""
        return MappingProxyType(self._units)

    def __iter__(self) -> Iterator[AnyLayer]:
        """Go through the units in order of declaration."""
        return iter(tuple(self._units.values()))

    def find(self, name: str, scope: str = "") -> AnyLayer | None:  # noqa: ARG002 - a module's graph looks at it
        """Return the unit of that name, or `None`."""
        return self._units.get(name)

    def names(self, scope: str = "") -> tuple[str, ...]:  # noqa: ARG002 - as above
        """Return the names that a unit can use."""
        return tuple(self._units)

    def stand_in(self, original: AnyLayer) -> AnyLayer | None:
        """Return the unit of this graph that has the name and the function of one of another graph, or `None`."""
        unit = original.unit
        found = self._units.get(unit.name)
        return found if found is not None and found.unit.function == unit.function else None

    def add(self, layer: AnyLayer) -> None:
        """Take in a unit.

        Raises:
            DuplicateName: There is one of that name already.
        """
        unit = layer.unit
        former = self._units.get(unit.name)
        if former is not None:
            message = (
                f"{unit.name!r} ({unit.location}) is declared twice in graph {self.name!r}; "
                f"the first is at {former.unit.location}. Give one of them another name=."
            )
            raise DuplicateName(message, unit=unit.name, location=str(unit.location))
        self._units[unit.name] = layer

    def remove(self, name: str) -> None:
        """Forget a unit.

        Raises:
            UnknownStep: There is none of that name.
        """
        if name not in self._units:
            message = f"Graph {self.name!r} has no unit {name!r}.{did_you_mean(name, tuple(self._units))}"
            raise UnknownStep(message)
        del self._units[name]


class ModuleNamespace(Namespace):
    """The implicit graph of a module. A name declared again replaces the former unit.

    What a class or a function declares is kept under that scope, and found from inside it: two classes may have
    methods of one name. It is not part of the module's graph.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._executions: dict[str, object] = {}
        self._methods: dict[str, AnyLayer] = {}
        # What a function declares lives as long as somebody holds it.
        self._locals: WeakValueDictionary[str, AnyLayer] = WeakValueDictionary()

    def find(self, name: str, scope: str = "") -> AnyLayer | None:
        """Return the unit of that name, from the innermost scope outwards."""
        while scope:
            for known in (self._locals, self._methods):
                found = known.get(f"{scope}.{name}")
                if found is not None:
                    return found
            scope = scope.rpartition(".")[0]
        return self._units.get(name)

    def names(self, scope: str = "") -> tuple[str, ...]:
        """Return the names that a unit of that scope can use."""
        inner = [key.rpartition(".") for key in (*self._locals, *self._methods)]
        return (*self._units, *(name for at, _, name in inner if f"{scope}.".startswith(f"{at}.")))

    def add(self, layer: AnyLayer) -> None:
        """Take in a unit; warn when one execution of one file declares its name twice."""
        unit = layer.unit
        key = f"{unit.scope}.{unit.name}" if unit.scope else unit.name
        if "<locals>" in unit.scope:
            self._locals[key] = layer
            return
        known = self._methods if unit.scope else self._units
        self._warn_of_twin(key, unit, known.pop(key, None))
        known[key] = layer

    def _warn_of_twin(self, key: str, unit: Unit, former: AnyLayer | None) -> None:
        # A reload sets a new spec on the module; a notebook cell is another file each time.
        execution = getattr(sys.modules.get(self.name), "__spec__", None)
        same = self._executions.get(key) is execution
        self._executions[key] = execution
        if former is None or not same:
            return
        before, here = former.unit.location, unit.location
        if before.file == here.file and before.line != here.line:
            message = f"{unit.name!r} ({here}) replaces the unit of that name at {before}; give one another name=."
            warnings.warn_explicit(message, UserWarning, here.file, here.line)


def module_namespace(name: str) -> ModuleNamespace:
    """Return the implicit graph of a module, made at the first call."""
    found = _modules.get(name)
    if not isinstance(found, ModuleNamespace):
        found = _modules[name] = ModuleNamespace(name)
    return found


def units_of_module(module: ModuleType | str) -> Namespace:
    """Return the implicit graph of a module, imported first if only its name is given."""
    name = module if isinstance(module, str) else module.__name__
    if isinstance(module, str) and module not in sys.modules:
        import_module(module)
    return module_namespace(name)


def resolve_name(name: str, namespace: Namespace, scope: str = "", *, hints: bool = True) -> AnyLayer:
    """Find a unit by the name that a declaration uses.

    Args:
        name: A name of the same graph, or `pkg.mod:name`.
        namespace: The graph of the unit that asks.
        scope: The class or function that declares it, or an empty text.
        hints: Whether to look for the nearest name, which takes time where there are many.

    Raises:
        UnknownDependency: Nothing of that name is declared; the message goes on after "depends on".
    """
    found = namespace.find(name, scope)
    if found is not None:
        return found
    module, colon, attribute = name.partition(":")
    if not colon:
        hint = (did_you_mean(name, namespace.names(scope)) if hints else "") or (
            f" Declare it in {namespace.name!r}, or write 'module:{name}' for one that is elsewhere."
        )
        message = f"{name!r}, which nothing declares.{hint}"
        raise UnknownDependency(message)
    return _imported_unit(module, attribute)


def _imported_unit(module: str, attribute: str) -> AnyLayer:
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        message = f"'{module}:{attribute}', which is no name of a unit; write 'package.module:unit'."
        raise UnknownDependency(message)
    try:
        imported = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
        message = f"'{module}:{attribute}', but there is no module {error.name!r}; correct the name, or install it."
        raise UnknownDependency(message) from error
    declared = module_namespace(module).find(attribute)
    found: object = getattr(imported, attribute, None) if declared is None else declared
    if isinstance(found, Layer):
        return cast("AnyLayer", found)
    hint = did_you_mean(attribute, tuple(module_namespace(module).units))
    if not hint and callable(found):
        hint = " Decorate it there with @layer."
    problem = f"declares no unit {attribute!r}" if found is None else f"has a plain {attribute!r}, which is no unit"
    message = f"'{module}:{attribute}', but module {module!r} {problem}.{hint}"
    raise UnknownDependency(message)
