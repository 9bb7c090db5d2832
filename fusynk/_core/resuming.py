"""The state machine of a run that is recorded: what is known already does not run again."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final, cast

from fusynk._core.model import UNSET, Skipped, Status
from fusynk._core.replay import Known
from fusynk._core.watched import WatchedScheduler
from fusynk.errors import ItemsChanged

_NO_ITEMS: Final[Mapping[int, Known]] = MappingProxyType({})


class ResumingScheduler(WatchedScheduler):
    """A scheduler of a run that is recorded. No step is skipped before that is recorded, either.

    Attributes:
        known: How steps ended, by step.
        known_items: How items ended, by fan-out and number.
        note_known: Is told of each step and item that ends without having run.
        note_begun: Is told of all steps at first, and of the items of each fan-out.
        record_skip: Has the skip of a step recorded, and then calls `skip`.
        in_fixed_order: Returns the values of a set in an order that is the same in every process.
    """

    known: Mapping[int, Known]
    known_items: Mapping[int, Mapping[int, Known]]
    note_known: Callable[[int, Known], object]
    note_begun: Callable[[Iterable[int]], object]
    record_skip: Callable[[int, Skipped], object]
    in_fixed_order: Callable[[AbstractSet[object]], list[object]]

    def recall(self, known: Mapping[int, Known], known_items: Mapping[int, Mapping[int, Known]]) -> None:
        """Take over what is known, before anything begins.

        Args:
            known: How steps ended, by step.
            known_items: How items ended, by fan-out and number.
        """
        self.known, self.known_items = known, known_items
        for step in known:
            self.attention[step] = 1

    def begin(self) -> None:
        """Make the sources ready, and let everything follow that is known."""
        self.note_begun(range(len(self.wiring.names)))
        if self.known:
            self._cascade([step for step, count in enumerate(self.remaining) if not count])
        else:
            super().begin()

    def settle_known(self, steps: Mapping[int, Known], items: Mapping[int, Mapping[int, Known]]) -> None:
        """Settle what is known and did not follow, since what it waits for is not there any more.

        Args:
            steps: How steps ended, by step.
            items: How items ended, by fan-out and number; they have come into being.
        """
        for step, known in steps.items():
            self._settle_known(step, known)
        for step, numbered in items.items():
            for number, known in numbered.items():
                self._settle_known(self.items[step][number], known)

    def ensure_items(self, step: int, count: int) -> None:
        """Let the items of a fan-out come into being that cannot learn how many it has.

        Args:
            step: The fan-out.
            count: How many are known to be.
        """
        if step not in self.items:
            self._make_items(step, [UNSET] * count)
            self._tell_expanded(step)

    def _settle_known(self, index: int, known: Known) -> None:
        if self.state[index] < Status.SUCCEEDED:
            self.note_known(index, known)
            self.settle(index, known.state, known.value)

    def skip(self, step: int, skipped: Skipped) -> None:
        """Skip a step, now that this is recorded."""
        self._cascade(super()._skip(step, skipped))

    def _skip(self, step: int, skipped: Skipped) -> list[int]:
        self.record_skip(step, skipped)
        return []

    def _judge(self, step: int, fresh: list[int]) -> list[int]:
        known = self.known.get(step)
        if known is not None:
            return self._recalled(step, known)
        if step in self.wiring.delays and all(later in self.known for later in self.successors[step]):
            return self._ended(step, Status.SUCCEEDED, None)  # nothing is left to be held
        return super()._judge(step, fresh)

    def _judge_item(self, item: int, fresh: list[int]) -> list[int]:
        position = item - self.base
        known = self.known_items.get(self.owners[position], _NO_ITEMS).get(self.item_numbers[position])
        return super()._judge_item(item, fresh) if known is None else self._recalled(item, known)

    def _recalled(self, index: int, known: Known) -> list[int]:
        self.note_known(index, known)
        return self._ended(index, known.state, known.value)

    def _expand(self, step: int) -> list[int]:
        free = super()._expand(step)
        self.note_begun(self.items.get(step, ()))
        return free

    def _items_of(self, step: int, collection: object) -> list[object]:
        if isinstance(collection, (set, frozenset)):
            collection = self.in_fixed_order(cast("AbstractSet[object]", collection))
        values = super()._items_of(step, collection)
        last = max(self.known_items.get(step, _NO_ITEMS), default=-1)
        if last >= len(values):
            name = self.wiring.names[step]
            message = (
                f"{name!r} fans out over {len(values)} items now, and {name}[{last}] is recorded already; "
                f"what {self._source_name(step)!r} returns must be in the same order whenever one goes over it."
            )
            raise ItemsChanged(message)
        return values
