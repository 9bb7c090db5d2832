"""Which types can certainly not meet on an edge."""

import inspect
import typing
from abc import ABCMeta
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import cast

from fusynk._core.model import UNSET

_TOWER: Mapping[type, tuple[type, ...]] = {int: (float, complex), float: (complex,), bool: (int, float, complex)}
_ITEM_TYPES = (list, set, frozenset, Iterable, Iterator, Sequence, AbstractSet)


def is_incompatible(produced: object, wanted: object) -> bool:
    """Tell whether a value of one type can never be what another type asks for.

    Only two plain, unrelated classes are certain; a union, a protocol, an abstract class or a generic is not.
    """
    return isinstance(produced, type) and isinstance(wanted, type) and _are_unrelated(produced, wanted)


@lru_cache(maxsize=1024)
def _are_unrelated(one: type[object], other: type[object]) -> bool:
    if not (_is_plain(one) and _is_plain(other)):
        return False
    if issubclass(one, other) or issubclass(other, one):
        return False
    return other not in _TOWER.get(one, ())


def item_type(produced: object) -> object:
    """Return the type of the items of an annotated collection, or `UNSET`."""
    if typing.get_origin(produced) in _ITEM_TYPES:
        return cast("object", typing.get_args(produced)[0])
    return UNSET


def is_never_iterable(produced: object) -> bool:
    """Tell whether a type is a plain class that cannot be iterated."""
    return _is_plain(produced) and not hasattr(produced, "__iter__") and not hasattr(produced, "__getitem__")


def _is_plain(annotation: object) -> bool:
    return (
        isinstance(annotation, type)
        and annotation is not object
        and typing.get_origin(annotation) is None
        and not isinstance(annotation, ABCMeta)
        and not typing.is_typeddict(annotation)
        and not getattr(annotation, "_is_protocol", False)
        and not getattr(annotation, "__parameters__", ())
        and annotation is not typing.Any
    )


def type_name(annotation: object) -> str:
    """Return a type as a user would write it."""
    if annotation is UNSET:
        return "any type"
    if annotation is type(None):
        return "None"
    if isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation).removeprefix("typing.")
