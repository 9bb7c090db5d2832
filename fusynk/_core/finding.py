"""What a graph file may name, and finding it: imports of allowed modules, and nothing else."""

import builtins
from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import cast

from fusynk._core.references import (
    UnknownReference,
    cut,
    found_at,
    function_of,
    home_of,
    is_error_type,
    is_for_everyone,
    is_function,
    is_unit,
    parts_of,
)
from fusynk._core.registry import AnyLayer, ModuleNamespace, module_namespace
from fusynk.errors import InvalidOption


class Allowance:
    """The modules that a file may name.

    Args:
        allow: Modules or their names; a name that ends with a dot stands for a package and what is below it.

    Raises:
        InvalidOption: It is no list of modules.
    """

    def __init__(self, allow: Iterable[str | ModuleType]) -> None:
        if isinstance(allow, (str, ModuleType)) or not isinstance(allow, Iterable):
            shown = repr(allow.__name__ if isinstance(allow, ModuleType) else allow)
            raise InvalidOption(f"Graph.load(allow={shown}) must be a list of modules: allow=[{shown}].")
        names = [_module_name(one) for one in allow]
        self._exact = frozenset(name.removesuffix(".") for name in names)
        self._below = tuple(name for name in names if name.endswith("."))

    def permits(self, module: str) -> bool:
        """Tell whether a file may name something of this module."""
        return module in self._exact or module.startswith(self._below)


def _module_name(one: object) -> str:
    name: object = one.__name__ if isinstance(one, ModuleType) else one
    if isinstance(name, str) and all(part.isidentifier() for part in name.removesuffix(".").split(".")):
        return name
    message = (
        f'Graph.load(allow=[{one!r}]) must list modules: "pkg.orders" for that one, "pkg." for the package and what '
        "is below it."
    )
    raise InvalidOption(message)


class Finder:
    """Finds what references lead to, in allowed modules only. Asked again, it answers from memory.

    Args:
        allowance: The modules that may be imported, and in which what is found must have been defined.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._found: dict[str, object] = {}

    def check(self, reference: str) -> None:
        """Check the form of a reference, and that its module is allowed. Imports nothing.

        Raises:
            UnknownReference: It may not be followed.
        """
        if reference in self._found:
            return
        module, path = parts_of(reference)
        known = is_for_everyone(vars(builtins).get(path)) if module == "builtins" else False
        if not known and not self._allowance.permits(module):
            raise UnknownReference(
                f"names {cut(reference)}, but {cut(module)} is not among the allowed modules; "
                f"if you trust the file with what is in there, add {cut(module)} to allow=[...]"
            )

    def unit_function(self, reference: str) -> object:
        """Return the function that a reference leads to; a unit's own where it leads to a unit."""
        found = function_of(self._at(reference))
        if not is_function(found):
            raise UnknownReference(f"names {cut(reference)}, which is no function")
        self._check_home(reference, found)
        return found

    def function(self, reference: str) -> object:
        """Return the function, or the unit called like one, that a reference leads to."""
        found = self._at(reference)
        plain = function_of(found)
        if not is_function(plain) and (is_error_type(plain) or not is_for_everyone(plain)):
            raise UnknownReference(f"names {cut(reference)}, which is no function")
        self._check_home(reference, plain)
        return found

    def error_filter(self, reference: str) -> object:
        """Return the exception type or function that a reference leads to."""
        found = self._at(reference)
        if not is_error_type(found):
            return self.function(reference)
        self._check_home(reference, found)
        return found

    def unit(self, reference: str) -> AnyLayer:
        """Return the unit that a reference leads to."""
        module, path = parts_of(reference)
        self._module(module)
        declared = module_namespace(module).find(path)
        found: object = self._at(reference) if declared is None else declared
        if not is_unit(found):
            raise UnknownReference(f"names {cut(reference)}, which is no unit")
        layer = cast("AnyLayer", found)
        function, namespace = layer.unit.function, layer.unit.namespace
        at_home = isinstance(namespace, ModuleNamespace) and self._allowance.permits(namespace.name)
        if function is not None and not at_home:
            self._check_home(reference, function)
        return layer

    def _at(self, reference: str) -> object:
        if reference not in self._found:
            self.check(reference)
            name, path = parts_of(reference)
            module = self._module(name)
            try:
                self._found[reference] = found_at(module, path, self._is_home)
            except UnknownReference as error:
                raise UnknownReference(f"names {cut(reference)}, but {error}") from None
        return self._found[reference]

    def _module(self, name: str) -> ModuleType:
        if not self._is_home(name):
            raise UnknownReference(f"names module {cut(name)}, which is not among the allowed ones")
        try:
            module: object = import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise  # the module is there; what it imports is not
            problem = f"names module {cut(name)}, but there is no {cut(error.name)}; correct the name, or install it"
            raise UnknownReference(problem) from error
        if not isinstance(module, ModuleType):
            raise UnknownReference(f"names module {cut(name)}, which is a {type(module).__name__} object")
        return module

    def _check_home(self, reference: str, found: object) -> None:
        """Refuse what an allowed module only imported from somewhere else."""
        home = home_of(found)
        if self._allowance.permits(home) or is_for_everyone(found):
            return
        raise UnknownReference(
            f"names {cut(reference)}, which was defined in {home!r}; "
            f"if you trust the file with what is in there, add {home!r} to allow=[...]"
        )

    def _is_home(self, module: str) -> bool:
        return module == "builtins" or self._allowance.permits(module)
