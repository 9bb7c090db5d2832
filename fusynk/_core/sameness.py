"""Whether what was read is what had been written: equal, and of the same types all the way down, but for floats."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property, lru_cache
from keyword import iskeyword
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, cast
from uuid import UUID

import msgspec

_PLAIN: frozenset[type] = frozenset({int, str, bytes, type(None), bool, date, timedelta, UUID, bytearray})
_PLAIN_OR_FLOAT = _PLAIN | {float}  # floats that are equal are the same, but for zeros, which may differ in their signs

Difference: TypeAlias = str
"""Where two values differ and how, or an empty text if they do not."""
Converted: TypeAlias = Callable[[object], object]


Comparer: TypeAlias = Callable[[object, object], bool]
"""Tells whether two values are surely the same; what it does not know, `difference` finds out."""


class _Shape(NamedTuple):
    """What the objects of a type consist of.

    Attributes:
        names: The names of all that they hold.
        may_hold_more: Whether an object may have attributes beside those.
        are_plain: Tells of two objects of the type whether all in them is plain, and the same.
    """

    names: Mapping[str, None]
    may_hold_more: bool
    are_plain: Comparer


def comparer_of(kind: object) -> Comparer:
    """Return what compares most values of a type without a second look.

    Args:
        kind: The type, or another annotation.
    """
    shape = _shape_of(kind) if isinstance(kind, type) else None
    return _are_plain if shape is None else shape.are_plain


def difference(one: object, other: object, conversions: Mapping[type, Converted]) -> Difference:
    """Return where and how two values differ, as in "[3].price: a list would come back as a tuple"; empty if nowhere.

    An int may come back as the float that it equals: it may stand for one everywhere.

    Args:
        one: What was written.
        other: What was read.
        conversions: Functions that return what stands for a value of a type; compared in place of such values.

    Raises:
        RecursionError: They are nested too deeply.
    """
    kind = type(one)
    if kind is not type(other):
        if kind is int and type(other) is float and one == other:
            return ""
        return f": {_article(kind)} would come back as {_article(type(other))}"
    if _are_plain(one, other):
        return ""
    if conversions and (convert := conversions.get(kind)) is not None:
        return difference(convert(one), convert(other), conversions)
    if (of_contents := _CONTAINERS.get(kind)) is not None:
        return of_contents(one, other, conversions)
    shape = _shape_of(kind)  # type: ignore[arg-type] # mypy takes the hash of an object for that of its class
    return _of_kind(one, other, conversions) if shape is None else _of_objects(one, other, shape, conversions)


def _are_plain(one: object, other: object) -> bool:
    kind = type(one)
    return (kind in _PLAIN or (kind is float and one != 0)) and kind is type(other) and one == other


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


def _of_sequences(
    one: Collection[object], other: Collection[object], conversions: Mapping[type, Converted]
) -> Difference:
    if len(one) != len(other):
        return f": {len(one)} elements would come back as {len(other)}"
    if _is_plainly_same(one, other):
        return ""
    for index, (mine, its) in enumerate(zip(one, other, strict=True)):
        if found := difference(mine, its, conversions):
            return f"[{index}]{found}"
    return ""


def _of_mappings(
    one: Mapping[object, object], other: Mapping[object, object], conversions: Mapping[type, Converted]
) -> Difference:
    if keys := _of_sequences(one.keys(), other.keys(), conversions):
        return f" key {keys}" if keys.startswith("[") else keys
    if _is_plainly_same(one.values(), other.values()):
        return ""
    for key, mine, its in zip(one, one.values(), other.values(), strict=True):
        if found := difference(mine, its, conversions):
            return f"[{key!r}]{found}"
    return ""


def _of_sets(one: AbstractSet[object], other: AbstractSet[object], conversions: Mapping[type, Converted]) -> Difference:
    found = {element: element for element in other}
    if len(one) != len(found) or not all(element in found for element in one):
        return ": its elements would come back as others"
    return next((f"{{}}{told}" for element in one if (told := difference(element, found[element], conversions))), "")


_CONTAINERS: dict[type, Callable[[Any, Any, Mapping[type, Converted]], Difference]] = {
    **dict.fromkeys((list, tuple), _of_sequences),
    dict: _of_mappings,
    **dict.fromkeys((set, frozenset), _of_sets),
}


def _of_objects(one: object, other: object, shape: _Shape, conversions: Mapping[type, Converted]) -> Difference:
    names, may_hold_more, are_plain = shape
    if are_plain(one, other):
        return ""
    if may_hold_more and not (found := vars(one).keys()) <= names.keys():
        for name in sorted(found - names.keys()):
            if not isinstance(getattr(type(one), name, None), cached_property):
                return f".{name}: it is no field of {type(one).__name__}, so it would not come back"
    for name in names:
        if found_inside := difference(getattr(one, name), getattr(other, name), conversions):
            return f".{name}{found_inside}"
    return ""


def _is_plainly_same(one: Collection[object], other: Collection[object]) -> bool:
    """Tell whether values need not be looked at one by one: all are plain, and the same."""
    kinds = [*map(type, one)]
    if not _PLAIN_OR_FLOAT.issuperset(kinds) or kinds != [*map(type, other)] or [*one] != [*other]:
        return False
    return float not in kinds or all(one)


@lru_cache(maxsize=1024)
def _shape_of(kind: type) -> _Shape | None:
    """Return what objects of a type consist of, or `None` if nothing tells it."""
    names = _field_names(kind)
    if names is None:
        return None
    may_hold_more = kind.__dictoffset__ != 0
    return _Shape(dict.fromkeys(names), may_hold_more, _comparer(kind, names, may_hold_more=may_hold_more))


def _comparer(kind: type, names: Sequence[str], *, may_hold_more: bool) -> Comparer:
    """Return what tells of two objects of a type whether all in them is plain, and the same.

    It is made of text, as the methods of dataclasses are: to look at one attribute after the other by its name takes
    three times as long, and every artifact is compared.
    """
    if not all(name.isascii() and name.isidentifier() and not iskeyword(name) for name in names):
        return lambda _one, _other: False
    same = [
        "type(one) is kind and type(other) is kind",
        *(["vars(one).keys() <= names"] if may_hold_more else []),
        *(
            f"((found := type(mine := one.{name})) in plain or found is float and mine) "
            f"and found is type(its := other.{name}) and mine == its"
            for name in names
        ),
    ]
    known = {"kind": kind, "names": set(names), "plain": _PLAIN}
    return cast("Comparer", eval(f"lambda one, other: {' and '.join(same)}", known))  # noqa: S307 - of checked names


def _field_names(kind: type[object]) -> tuple[str, ...] | None:
    if issubclass(kind, msgspec.Struct):
        return kind.__struct_fields__
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    attributes: Iterable[object] | None = getattr(kind, "__attrs_attrs__", None)
    if attributes is not None:
        return tuple(map(attrgetter("name"), attributes))
    return None


def _article(kind: type) -> str:
    if kind is type(None):
        return "None"
    name = kind.__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
