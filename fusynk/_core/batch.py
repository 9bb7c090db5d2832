"""The result of a fan-out."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Generic, cast

from typing_extensions import TypeVar

T_co = TypeVar("T_co", covariant=True)


class Batch(Generic[T_co]):
    """What the items of a fan-out returned, in the order of the input.

    Iterating and `len` are over the artifacts of the items that succeeded.

    >>> batch = Batch({0: "a", 2: "c"}, {1: ValueError("no b")})
    >>> list(batch), len(batch), batch.total
    (['a', 'c'], 2, 3)
    >>> round(batch.success_rate, 2)
    0.67

    Args:
        succeeded: Artifacts by the index of their item.
        failed: Errors by the index of their item.
    """

    __slots__ = ("_failed", "_succeeded")

    def __init__(self, succeeded: Mapping[int, T_co], failed: Mapping[int, BaseException] | None = None) -> None:
        self._succeeded = dict(sorted(succeeded.items()))
        self._failed = dict(sorted((failed or {}).items()))

    @property
    def succeeded(self) -> Mapping[int, T_co]:
        """Artifacts by the index of their item."""
        return MappingProxyType(self._succeeded)

    @property
    def failed(self) -> Mapping[int, BaseException]:
        """Errors by the index of their item."""
        return MappingProxyType(self._failed)

    @property
    def total(self) -> int:
        """How many items there were."""
        return len(self._succeeded) + len(self._failed)

    @property
    def success_rate(self) -> float:
        """The share of items that succeeded, 0.0 to 1.0; 1.0 for no items."""
        return len(self._succeeded) / self.total if self.total else 1.0

    def __iter__(self) -> Iterator[T_co]:
        """Go through the artifacts in the order of the input."""
        return iter(self._succeeded.values())

    def __len__(self) -> int:
        """Count the items that succeeded."""
        return len(self._succeeded)

    def __eq__(self, other: object) -> bool:
        """Compare artifacts and errors."""
        if not isinstance(other, Batch):
            return NotImplemented
        batch = cast("Batch[object]", other)
        return self._succeeded == batch._succeeded and self._failed == batch._failed

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] # it holds unhashable values

    def __repr__(self) -> str:
        """Say how many succeeded, without showing values."""
        return f"<Batch {len(self)} of {self.total} succeeded>"
