"""Whether another interpreter finds a function by its name: a subprocess imports what it calls."""

import pathlib
import sys
from collections.abc import Callable
from functools import partial
from types import MethodType
from typing import cast

from fusynk._core.layer import BoundLayer, Layer, plain_function

_MOST_WRAPPERS = 100
_WITHOUT_FILE = (
    "is declared in a __main__ without a file (an interactive session, a notebook or python -c), which a subprocess "
    "cannot import; write it into a module and import it from there"
)


def why_not_importable(function: object) -> str:
    """Return why a subprocess could not import a function, or an empty text if it can.

    Imports nothing and calls nothing: it looks at the modules that are loaded.

    Args:
        function: A function, a method, a partial, a unit, a class or a callable object.

    Returns:
        The rest of a sentence that begins with the function's name: what it is, and what to write instead.
    """
    declared = own_function(function)
    while issubclass(type(declared), (partial, MethodType)):
        declared = _called(declared)
    if isinstance(getattr(declared, "__qualname__", None), str):
        return _why_not_found(declared)
    reason = _why_not_found(type(declared))
    return f"is an object of the class {type(declared).__name__!r}, which {reason}" if reason else ""


def own_function(function: object) -> object:
    """Return the function that a unit was declared over, and anything else unchanged."""
    while issubclass(type(function), (Layer, BoundLayer)):
        function = cast("Layer[..., object, object]", function).__wrapped__
    return plain_function(function)


def leads_to(declared: object) -> tuple[object, int] | None:
    """Return what stands where something was declared, and how many wrappers lie around it there.

    A decorated function is not what its module holds under its name: that is the unit, which wraps it.

    Returns:
        The object with that name and the number of wrappers, 0 for the thing itself; `None` if neither that object
        nor anything it wraps is the one that was declared.
    """
    outermost = _at(*_import_path(declared))
    for wrappers in range(_MOST_WRAPPERS):
        found = unwrapped(outermost, wrappers)
        if found is declared:
            return outermost, wrappers
        if found is None:
            break
    return None


def unwrapped(outermost: object, wrappers: int) -> object:
    """Return what lies inside so many wrappers; `None` if there are fewer."""
    found = outermost
    for _ in range(wrappers):
        # Asked of the type: a unit passes itself off as what it wraps.
        inside = "__func__" if type(found) is MethodType else "__wrapped__"
        found = cast("object", getattr(found, inside, None))
    return found


def bound(function: Callable[..., object], instance: object) -> MethodType:
    """Return a method of an instance; the type itself has no name by which it could be pickled."""
    return MethodType(function, instance)


def main_has_file() -> bool:
    """Tell whether another interpreter can read the program's main module, too."""
    path = cast("object", getattr(sys.modules.get("__main__"), "__file__", None))
    return isinstance(path, str) and pathlib.Path(path).is_file()


def _called(declared: object) -> object:
    if issubclass(type(declared), partial):
        return own_function(cast("partial[object]", declared).func)
    return own_function(cast("MethodType", declared).__func__)


def _why_not_found(declared: object) -> str:
    module, path = _import_path(declared)
    if module == "__main__" and not main_has_file():
        return _WITHOUT_FILE
    # What is written in C may have no name anywhere, and knows itself how it is pickled.
    if module in {"", "builtins"} or leads_to(declared) is not None:
        return ""
    what = "class" if issubclass(type(declared), type) else "def"
    if path.endswith("<lambda>"):
        return "is a lambda, which has no name that a subprocess could import; write a def at the top of a module"
    if "<locals>" in path:
        owner = path.partition(".<locals>")[0]
        return (
            f"is declared inside {owner}(), where a subprocess cannot import it; write the {what} at the top of a "
            "module, and pass as arguments what it needs"
        )
    if module not in sys.modules:
        return f"claims to be from {module!r}, a module that is not loaded; write the {what} into a module on sys.path"
    return (
        f"cannot be imported as {module}.{path}, which is {_named(_at(module, path))}; "
        f"give the {what} a name of its own at the top of its module"
    )


def _import_path(declared: object) -> tuple[str, str]:
    module = cast("object", getattr(declared, "__module__", None))
    path = cast("object", getattr(declared, "__qualname__", None))
    return module if isinstance(module, str) else "", path if isinstance(path, str) else ""


def _at(module: str, path: str) -> object:
    """Return what an import path leads to, or `None`."""
    found: object = sys.modules.get(module)
    for name in path.split("."):
        found = cast("object", getattr(found, name, None))
    return found


def _named(found: object) -> str:
    if found is None:
        return "nothing"
    name = cast("object", getattr(found, "__qualname__", None))
    kind = type(found).__name__
    return f"another {kind}, {name!r}" if isinstance(name, str) else f"a value of the type {kind!r}"
