"""The state machine of a run that can be undone: it also keeps the order in which steps succeeded."""

from typing import Any

from fusynk._core.model import Status
from fusynk._core.scheduler import Scheduler


class NotingScheduler(Scheduler):
    """A scheduler for plans with compensations; others need not pay for the list.

    Attributes:
        completed: The steps and items that succeeded, in order. Clocks are too coarse to tell.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401 - the scheduler's own
        super().__init__(*arguments, **keywords)
        self.completed: list[int] = []

    def succeed(self, index: int, artifact: object) -> None:
        """Note that a step or an item returned, and in which order."""
        self.completed.append(index)
        super().succeed(index, artifact)

    def settle(self, index: int, state: Status, value: object) -> None:
        """Set how a step or an item ended after the run was stopped."""
        if state == Status.SUCCEEDED:
            self.completed.append(index)
        super().settle(index, state, value)
