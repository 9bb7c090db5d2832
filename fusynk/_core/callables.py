"""What can be told of a function without calling it."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import cast


def is_coroutine_function(function: object) -> bool:
    """Tell whether calling this gives a coroutine: a function, a method, a partial or a callable object."""
    return _is_one(function, inspect.iscoroutinefunction)


def is_generator_function(function: object) -> bool:
    """Tell whether calling this gives a generator, asynchronous or not."""
    return _is_one(function, inspect.isgeneratorfunction) or is_async_generator_function(function)


def is_async_generator_function(function: object) -> bool:
    """Tell whether calling this gives an asynchronous generator."""
    return _is_one(function, inspect.isasyncgenfunction)


def called(function: object) -> str:
    """Return what a function is called; an object that can be called goes by its class."""
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__name__


def _is_one(function: object, test: Callable[[object], bool]) -> bool:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    if test(function):
        return True
    return not inspect.isroutine(function) and test(getattr(type(function), "__call__", None))  # noqa: B004 - the method itself is needed


def takes_positional(function: object, count: int) -> bool:
    """Tell whether a function can be called with so many positional arguments; true where Python cannot tell."""
    try:
        signature = inspect.signature(cast("partial[object]", function))
    except (ValueError, TypeError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
