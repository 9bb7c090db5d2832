"""Which types in an annotation msgspec knows nothing of."""

from collections.abc import Iterator
from typing import Any, cast

from msgspec.inspect import CustomType, Field, Type, UnionType, type_info


def custom_types_in(annotation: object) -> Iterator[type]:
    """Yield the types that must be there for a value of an annotated type and that msgspec does not know.

    Those that are one alternative among others are left out: another one may be what there is.

    Args:
        annotation: The type, one that msgspec can make a decoder of.
    """
    known: set[int] = set()
    waiting: list[object] = [type_info(cast("Any", annotation))]
    while waiting:
        found = waiting.pop()
        if id(found) in known:
            continue
        known.add(id(found))
        if isinstance(found, CustomType):
            if found.cls is not object:
                yield found.cls
        elif isinstance(found, (Type, Field)) and not isinstance(found, UnionType):
            waiting += [cast("object", getattr(found, name)) for name in found.__struct_fields__]
        elif isinstance(found, tuple):
            waiting += cast("tuple[object, ...]", found)
