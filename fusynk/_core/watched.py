"""The state machine of a run that somebody watches: it tells how each step ended. Other runs need not pay for that."""

from typing import Protocol

from fusynk._core.model import Cancelled, CancelledBy, Status
from fusynk._core.scheduler import Scheduler


class Watcher(Protocol):
    """Who is told what becomes of the steps of a run."""

    def note_ended(self, index: int, state: Status, value: object) -> None:
        """Learn how a step or an item ended. Its state says so already; nothing has followed from it yet.

        Args:
            index: The step or item.
            state: How it ended.
            value: Its artifact, its error, or its outcome where it was skipped or cancelled.
        """
        ...

    def note_expanded(self, step: int, count: int) -> None:
        """Learn how many items a fan-out has, before any of them starts or ends."""
        ...


class WatchedScheduler(Scheduler):
    """A scheduler that tells watchers, in the order in which things happen. Clocks are too coarse for that.

    Attributes:
        watchers: Who is told.
    """

    watchers: tuple[Watcher, ...] = ()

    def succeed(self, index: int, artifact: object) -> None:
        """Note that a step or an item returned."""
        self._tell_ended(index, Status.SUCCEEDED, artifact)
        super().succeed(index, artifact)

    def settle(self, index: int, state: Status, value: object) -> None:
        """Set how a step or an item ended after the run was stopped."""
        self._tell_ended(index, state, value)

    def cancel_rest(self, by: CancelledBy) -> None:
        """Give every step and item that has not ended the outcome `Cancelled`."""
        inputs = range(len(self.wiring.names), self.base)
        open_indexes = [index for index, state in enumerate(self.state) if state < Status.SUCCEEDED]
        super().cancel_rest(by)
        for index in open_indexes:
            if index not in inputs:
                self._tell_ended(index, Status.CANCELLED, Cancelled(by))

    def _tell_ended(self, index: int, state: Status, value: object) -> None:
        """Set how a step or an item ended, so that whoever is told finds it so."""
        super().settle(index, state, value)
        for watcher in self.watchers:
            watcher.note_ended(index, state, value)

    def _ended(self, index: int, state: Status, value: object) -> list[int]:
        self._tell_ended(index, state, value)
        return super()._ended(index, state, value)

    def _expand(self, step: int) -> list[int]:
        free = super()._expand(step)
        if self.items.get(step):
            self._tell_expanded(step)
        return free

    def _completed(self, step: int) -> list[int]:
        # One without items ends while it expands.
        if not self.items[step]:
            self._tell_expanded(step)
        return super()._completed(step)

    def _tell_expanded(self, step: int) -> None:
        for watcher in self.watchers:
            watcher.note_expanded(step, len(self.items[step]))
