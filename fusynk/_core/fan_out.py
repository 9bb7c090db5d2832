"""What a fan-out goes over."""

from typing import TYPE_CHECKING, cast

from fusynk._core.batch import Batch

if TYPE_CHECKING:
    from collections.abc import Iterable


class FailedItem:
    """An item that a given `Batch` holds as failed.

    Args:
        error: Why.
    """

    def __init__(self, error: BaseException) -> None:
        self.error = error


def items_of(collection: object) -> list[object]:
    """Return the items to fan out over; a batch keeps the places of its failed ones.

    Raises:
        TypeError: It is no collection.
        Exception: What iterating raises.
    """
    if isinstance(collection, Batch):
        batch = cast("Batch[object]", collection)
        every = {**batch.succeeded, **{number: FailedItem(error) for number, error in batch.failed.items()}}
        return [every[number] for number in sorted(every)]
    if not hasattr(collection, "__iter__") and not hasattr(collection, "__getitem__"):
        kind = type(collection).__name__
        message = f"each(...) fans out over a collection, not {kind}; return a list, or take it by use(...)."
        raise TypeError(message)
    return list(cast("Iterable[object]", collection))
