"""What the value of an option may be, whatever was passed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from fusynk._core.callables import is_coroutine_function, takes_positional


def or_none(accepts: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a test that accepts `None` as well."""
    return lambda value: value is None or accepts(value)


def is_function(value: object) -> bool:
    """Tell whether this is a function of one argument."""
    return callable(value) and takes_positional(value, 1)


def takes_one_or_two(value: object) -> bool:
    """Tell whether this is a function of one argument or of two."""
    return callable(value) and (takes_positional(value, 1) or takes_positional(value, 2))


def is_retry_on(value: object) -> bool:
    """Tell whether this says which errors are retried."""
    if not isinstance(value, tuple):
        return is_error_type(value) or is_function(value)
    return all(is_error_type(member) for member in cast("tuple[object, ...]", value))


def is_error_type(value: object) -> bool:
    """Tell whether this is a class of exceptions."""
    return isinstance(value, type) and issubclass(value, BaseException)


def is_tags(value: object) -> bool:
    """Tell whether these are texts."""
    if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
        return False
    return all(isinstance(tag, str) for tag in cast("Iterable[object]", value))


def are_subscribers(value: object) -> bool:
    """Tell whether these can be told of events, at once or in a thread."""
    if not isinstance(value, (list, tuple)):
        return False
    functions = [getattr(one, "function", one) for one in cast("Sequence[object]", value)]
    return all(callable(one) and takes_positional(one, 1) and not is_coroutine_function(one) for one in functions)


def is_journal(value: object) -> bool:
    """Tell whether runs can be recorded there."""
    return not isinstance(value, type) and callable(getattr(value, "open_run", None)) and hasattr(value, "codec")


def is_capture(value: object) -> bool:
    """Tell whether this says what telemetry may show."""
    if isinstance(value, (set, frozenset, list, tuple)):
        return {"arguments", "results", "errors"}.issuperset(cast("Iterable[object]", value))
    return is_function(value)
