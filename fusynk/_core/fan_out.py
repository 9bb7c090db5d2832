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


def items_of(collection: object, step: str, source: str) -> list[object]:
    """Return the items to fan out over; a batch keeps the places of its failed ones.

    Args:
        collection: The artifact.
        step: The name of the fan-out, for errors.
        source: The name of the step that returned the artifact.

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
        message = (
            f"{step!r} fans out over {source!r}, which returned {kind}, no collection; "
            f"return a list there, or take it by use({source})."
        )
        raise TypeError(message)
    return list(cast("Iterable[object]", collection))
