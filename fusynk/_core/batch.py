"""The result of a fan-out."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
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
        keys: The key of every item, in the order of the input, also of those that neither succeeded nor failed; left
            out, each index is its own key.

    Raises:
        ValueError: An index has no key.
    """

    __slots__ = ("_failed", "_keys", "_succeeded")

    def __init__(
        self,
        succeeded: Mapping[int, T_co],
        failed: Mapping[int, BaseException] | None = None,
        *,
        keys: Sequence[Hashable] | None = None,
    ) -> None:
        self._succeeded = dict(sorted(succeeded.items()))
        self._failed = dict(sorted((failed or {}).items()))
        self._keys = None if keys is None else tuple(keys)
        for indexes in (self._succeeded, self._failed):
            if indexes and self._keys is not None and not 0 <= min(indexes) <= max(indexes) < len(self._keys):
                message = (
                    f"Batch(): {len(self._keys)} keys do for the indexes from 0 up; there is one at {max(indexes)}."
                )
                raise ValueError(message)

    @property
    def succeeded(self) -> Mapping[int, T_co]:
        """Artifacts by the index of their item."""
        return MappingProxyType(self._succeeded)

    @property
    def failed(self) -> Mapping[int, BaseException]:
        """Errors by the index of their item."""
        return MappingProxyType(self._failed)

    @property
    def item_keys(self) -> tuple[Hashable, ...]:
        """The key of every item, in the order of the input."""
        return tuple(sorted({*self._succeeded, *self._failed})) if self._keys is None else self._keys

    @property
    def successes(self) -> Mapping[Hashable, T_co]:
        """Artifacts by the key of their item."""
        return MappingProxyType({self._key_of(number): artifact for number, artifact in self._succeeded.items()})

    @property
    def failures(self) -> Mapping[Hashable, BaseException]:
        """Errors by the key of their item."""
        return MappingProxyType({self._key_of(number): error for number, error in self._failed.items()})

    @property
    def cancelled(self) -> tuple[Hashable, ...]:
        """The keys of the items that neither succeeded nor failed, because the run ended before."""
        ended = {**self._succeeded, **self._failed}
        return tuple(key for number, key in enumerate(self._keys or ()) if number not in ended)

    @property
    def total(self) -> int:
        """How many items there were."""
        return len(self._succeeded) + len(self._failed) if self._keys is None else len(self._keys)

    @property
    def success_rate(self) -> float:
        """The share of items that succeeded, 0.0 to 1.0; 1.0 for no items."""
        return len(self._succeeded) / self.total if self.total else 1.0

    @property
    def success_percentage(self) -> float:
        """The share of items that succeeded in percent, 0.0 to 100.0; 100.0 for no items."""
        return 100 * len(self._succeeded) / self.total if self.total else 100.0

    def _key_of(self, number: int) -> Hashable:
        return number if self._keys is None else self._keys[number]

    def __iter__(self) -> Iterator[T_co]:
        """Go through the artifacts in the order of the input."""
        return iter(self._succeeded.values())

    def __len__(self) -> int:
        """Count the items that succeeded."""
        return len(self._succeeded)

    def __eq__(self, other: object) -> bool:
        """Compare keys, artifacts and errors."""
        if not isinstance(other, Batch):
            return NotImplemented
        batch = cast("Batch[object]", other)
        mine, others = (
            (self.item_keys, self._succeeded, self._failed),
            (batch.item_keys, batch._succeeded, batch._failed),
        )
        return mine == others

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] # it holds unhashable values

    def __repr__(self) -> str:
        """Say how many succeeded, without showing values."""
        return f"<Batch {len(self)} of {self.total} succeeded>"
