"""Whether what was read is what had been written: equal, and of the same types all the way down."""

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import TypeAlias, cast
from uuid import UUID

import msgspec

_PLAIN: frozenset[type] = frozenset({int, str, bytes, type(None), bool, date, timedelta, UUID, bytearray})

Difference: TypeAlias = str
"""Where two values differ and how, or an empty text if they do not."""
Converted: TypeAlias = Callable[[object], object]
_Shape: TypeAlias = tuple[dict[str, None], Callable[[object], tuple[object, ...]]]


def difference(one: object, other: object, conversions: Mapping[type, Converted]) -> Difference:
    """Return where and how two values differ, as in "[3].price: an int would come back as a float"; empty if nowhere.

    Args:
        one: What was written.
        other: What was read.
        conversions: Functions that return what stands for a value of a type; compared in place of such values.

    Raises:
        RecursionError: They are nested too deeply.
    """
    kind = type(one)
    if kind is not type(other):
        return f": {_article(kind)} would come back as {_article(type(other))}"
    if kind in _PLAIN and one == other:
        return ""
    convert = conversions.get(kind)
    if convert is None and (shape := _shape_of(cast("Hashable", kind))) is not None:
        return _of_objects(one, other, shape, conversions)
    return (
        _of_kind(one, other, conversions) if convert is None else difference(convert(one), convert(other), conversions)
    )


def _of_kind(one: object, other: object, conversions: Mapping[type, Converted]) -> Difference:  # noqa: PLR0911 - one for each kind
    match one:  # pyright: ignore[reportMatchNotExhaustive] # the rest is below
        case float() | Decimal():  # their texts tell -0.0 from 0.0, and 1.0 from 1.00
            return _unless(one == other and str(one) == str(other), one, other)
        case datetime() | time():
            return _of_times(one, cast("datetime", other))
        case Enum():
            return _unless(one is other, one, other)
        case list() | tuple():
            return _of_sequences(cast("list[object]", one), cast("list[object]", other), conversions)
        case dict():
            return _of_mappings(cast("dict[object, object]", one), cast("dict[object, object]", other), conversions)
        case set() | frozenset():
            return _of_sets(cast("set[object]", one), cast("set[object]", other), conversions)
    if type(one) in _PLAIN:
        return ": it would come back as another value"
    return "" if one is other else f": {_article(type(one))} has no fields that could be compared"


def _unless(is_same: bool, one: object, other: object) -> Difference:  # noqa: FBT001 - what the name goes on with
    return "" if is_same else f": {one!r} would come back as {other!r}"


def _of_times(one: datetime | time, other: datetime | time) -> Difference:
    zone = one.tzinfo
    if zone is not None and type(zone) is not timezone:
        offset = "its offset" if one.utcoffset() is None else str(one.utcoffset())
        return f": the zone {str(zone)!r} would come back as {offset}; convert it to UTC with .astimezone(timezone.utc)"
    return _unless(one == other and one.fold == other.fold and zone == other.tzinfo, one, other)


def _of_sequences(one: list[object], other: list[object], conversions: Mapping[type, Converted]) -> Difference:
    if len(one) != len(other):
        return f": {len(one)} elements would come back as {len(other)}"
    if _is_plainly_same(one, other):
        return ""
    return _first(
        (f"[{index}]", difference(mine, its, conversions))
        for index, (mine, its) in enumerate(zip(one, other, strict=True))
    )


def _of_mappings(
    one: dict[object, object], other: dict[object, object], conversions: Mapping[type, Converted]
) -> Difference:
    keys = _of_sequences(list(one), list(other), conversions)
    if keys:
        return f" key {keys}" if keys.startswith("[") else keys
    return _first(
        (f"[{key!r}]", difference(mine, its, conversions))
        for key, mine, its in zip(one, one.values(), other.values(), strict=True)
    )


def _of_sets(one: AbstractSet[object], other: AbstractSet[object], conversions: Mapping[type, Converted]) -> Difference:
    found = {element: element for element in other}
    if len(one) != len(found) or not all(element in found for element in one):
        return ": its elements would come back as others"
    return _first(("{}", difference(element, found[element], conversions)) for element in one)


def _of_objects(one: object, other: object, shape: _Shape, conversions: Mapping[type, Converted]) -> Difference:
    names, values_of = shape
    found = getattr(one, "__dict__", None)
    if found and not found.keys() <= names.keys():
        for name in sorted(found.keys() - names):
            if not isinstance(getattr(type(one), name, None), cached_property):
                return f".{name}: it is no field of {type(one).__name__}, so it would not come back"
    mine, its = values_of(one), values_of(other)
    if _is_plainly_same(mine, its):
        return ""
    return _first(
        (f".{name}", difference(former, latter, conversions))
        for name, former, latter in zip(names, mine, its, strict=True)
    )


def _is_plainly_same(one: Sequence[object], other: Sequence[object]) -> bool:
    """Tell whether values need not be looked at one by one: all are plain, and the same."""
    kinds = list(map(type, one))
    return _PLAIN.issuperset(kinds) and kinds == list(map(type, other)) and one == other


@lru_cache(maxsize=1024)
def _shape_of(kind: Hashable) -> _Shape | None:
    """Return the names of all that an object of the type consists of, in order, and what gets the values."""
    names = _field_names(cast("type[object]", kind))
    if names is None:
        return None
    if len(names) < 2:  # noqa: PLR2004 - with two names, it returns a tuple of what is there
        return dict.fromkeys(names), lambda value: tuple(getattr(value, name) for name in names)
    return dict.fromkeys(names), attrgetter(*names)


def _field_names(kind: type[object]) -> tuple[str, ...] | None:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes: Iterable[object] | None = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return tuple(map(attrgetter("name"), attributes))
    return None


def _first(differences: Iterable[tuple[str, Difference]]) -> Difference:
    """Return the first difference that there is, with its place before it."""
    return next((f"{place}{found}" for place, found in differences if found), "")


def _article(kind: type) -> str:
    if kind is type(None):
        return "None"
    name = kind.__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
