"""How each option of a unit is written into a graph file and read back: one table, by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar, cast

from fusynk._core.backoff import Backoff
from fusynk._core.finding import Finder
from fusynk._core.limits import Limit
from fusynk._core.options import UnitOptions
from fusynk._core.references import UnknownReference, cut, error_filter_reference, function_reference

T = TypeVar("T")

Scalar: TypeAlias = bool | int | float | str | None
Saved: TypeAlias = Scalar | list[str] | dict[str, Scalar]
"""What an option is in a file."""

_DEFAULTS = UnitOptions()
_MOST_BITS = 1024  # more than any number of seconds or any rank has


class UnsavableOption(ValueError):
    """A value that a file cannot hold, or one in a file that is no such option. The text goes on after its name."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one option is written and read.

    Attributes:
        write: Returns what a file holds for a value.
        read: Returns the value; what makes no sense is returned as it is, for the option's own rule to refuse.
        refers: Whether texts with a colon in it are import paths.
    """

    write: Callable[[Any], Saved]
    read: Callable[[Saved, Finder], object]
    refers: bool = False


def _plain(value: T) -> T:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UnsavableOption("is too large a number for a file")
    return value


def _write_delay(value: object) -> Saved:
    if isinstance(value, Backoff):
        return _said(value)
    return function_reference(value) if callable(value) else _plain(cast("Scalar", value))


def _read_delay(value: Saved, finder: Finder) -> object:
    if not isinstance(value, dict):
        return _read_function(_plain(value), finder)
    if not value.keys() <= {"base", "factor", "max", "jitter"} or "base" not in value:
        raise UnsavableOption('must be seconds, {"base": ..., "factor": ..., "max": ..., "jitter": ...}, or a function')
    if not isinstance(value.get("jitter", True), bool):
        raise UnsavableOption(f"has jitter {cut(value['jitter'])}; it must be true or false")
    return Backoff(**{name: cast("Any", _plain(part)) for name, part in value.items()})


def _write_filter(value: object) -> Saved:
    if isinstance(value, tuple):
        return [error_filter_reference(kind) for kind in cast("tuple[object, ...]", value)]
    return error_filter_reference(value)


def _read_filter(value: Saved, finder: Finder) -> object:
    if isinstance(value, list):
        return tuple([finder.error_filter(kind) for kind in value])
    return finder.error_filter(value) if isinstance(value, str) else value


def _write_policy(value: object) -> Saved:
    return value if isinstance(value, str) else function_reference(value)


def _read_function(value: Saved, finder: Finder) -> object:
    return finder.function(value) if isinstance(value, str) and ":" in value else value


def _read_limit(value: Saved, _: Finder) -> object:
    if not isinstance(value, dict):
        return value
    if not value.keys() <= {"name", "concurrency", "rate"} or "name" not in value:
        raise UnsavableOption('must be {"name": ..., "concurrency": ..., "rate": ...}')
    return Limit(**{name: cast("Any", _plain(part)) for name, part in value.items()})


def _read_tags(value: Saved, _: Finder) -> object:
    if isinstance(value, dict):
        raise UnsavableOption("must be a list of texts")
    return value


def _said(value: Backoff | Limit) -> dict[str, Scalar]:
    """Return the fields of an object that differ from their defaults."""
    named = [one for one in fields(value) if one.init]
    return {
        one.name: _plain(getattr(value, one.name))
        for one in named
        if one.default is MISSING or getattr(value, one.name) != one.default
    }


_PLAIN = Codec(_plain, lambda value, _: _plain(value))
SAVED_OPTIONS: Mapping[str, Codec] = MappingProxyType(
    {
        "description": _PLAIN,
        "priority": _PLAIN,
        "retries": _PLAIN,
        "retry_delay": Codec(_write_delay, _read_delay, refers=True),
        "retry_on": Codec(_write_filter, _read_filter, refers=True),
        "timeout": _PLAIN,
        "on_error": Codec(_write_policy, _read_function, refers=True),
        "compensate": Codec(function_reference, _read_function, refers=True),
        "limit": Codec(_said, _read_limit),
        "weight": _PLAIN,
        "run_in": _PLAIN,
        "abandon_on_timeout": _PLAIN,
        "tags": Codec(list, _read_tags),
        "every": _PLAIN,
        "jitter": _PLAIN,
        "cron": _PLAIN,
        "timezone": _PLAIN,
        "max_runs": _PLAIN,
        "heartbeat": _PLAIN,
    }
)


def written_options(options: UnitOptions) -> Iterator[tuple[str, Saved | UnsavableOption]]:
    """Yield what a file holds for each option that was said; an error for one that it cannot hold.

    Args:
        options: The options of a unit.
    """
    for one in fields(options):
        value = getattr(options, one.name)
        if value == getattr(_DEFAULTS, one.name):
            continue
        try:
            yield one.name, SAVED_OPTIONS[one.name].write(value)
        except (UnknownReference, UnsavableOption) as error:
            yield one.name, UnsavableOption(*error.args)


def references_in(name: str, value: Saved) -> Iterator[str]:
    """Yield the import paths that a file gives for an option."""
    codec = SAVED_OPTIONS.get(name)
    if codec is not None and codec.refers:
        texts = value if isinstance(value, list) else [value]
        yield from (text for text in texts if isinstance(text, str) and ":" in text)
