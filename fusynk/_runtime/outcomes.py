"""What follows from the end of an attempt: for the steps after it, in the journal, and for those who listen."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from fusynk._core.model import Status
from fusynk._runtime.timers import Due

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner


class Outcomes:
    """Sees to what the attempts of a run came to.

    Args:
        run: The run.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run

    @property
    def finish(self) -> Callable[[int, object], Exception | None]:
        """What notes that a step or an item returned at once; it returns why that is refused, if it is."""
        run = self._run
        return run.succeed if run.durable is None else run.durable.succeed

    def complete(self, index: int, artifact: object) -> Exception | None:
        """Note that a step or an item has an artifact, after it was suspended or failed.

        Returns why that is refused, if it is.
        """
        run = self._run
        if run.durable is not None:
            return run.durable.succeed(index, artifact)
        if run.stopping:
            run.scheduler.settle(index, Status.SUCCEEDED, artifact)
        else:
            run.scheduler.succeed(index, artifact)
        return None

    def recover(self, index: int, artifact: object) -> None:
        """Note that a step's `on_error` found an artifact."""
        recovered = self._run.records.recovered
        recovered.add(index)
        refused = self.complete(index, artifact)
        if refused is not None:
            recovered.discard(index)
            self._run.abort(index, refused)

    def retry(self, index: int, delay: float) -> None:
        """Have a step tried again; where attempts are recorded, when this one is."""
        durable = self._run.durable
        if durable is None:
            self.try_again(index, delay)
        else:
            durable.note_attempt(index, cast("BaseException", self._run.records.failed[index][-1].error), delay)

    def try_again(self, index: int, delay: float) -> None:
        """Let a step wait for its next attempt, without a slot."""
        run = self._run
        run.records.note_retry(index)
        run.scheduler.retry(index)
        if run.bus is not None:
            run.bus.note_retry(index, delay)
        if delay:
            run.host.add_timer(delay, Due.RETRY, index)
        else:
            run.scheduler.make_ready(index)

    def give_up(self, index: int, error: BaseException, *, aborts: bool) -> None:
        """Note that a step or an item failed for good."""
        run = self._run
        if aborts:
            run.abort(index, error)
        elif run.durable is not None:
            run.durable.fail(index, error)
        else:
            run.scheduler.fail(index, error)

    def fail_late(self, index: int, error: BaseException) -> None:
        """Keep an error that was raised while the run was being stopped.

        Of two failures at one instant, the first in plan order is the one that ended the run.
        """
        run = self._run
        run.scheduler.settle(index, Status.FAILED, error)
        if run.cause is None or run.records.ended[index] != run.records.ended[run.cause[0]]:
            return
        policy, place = run.policy_of(index), (run.scheduler.step_of(index), index)
        would_abort = policy.on_error == "abort" and run.records.attempt_of(index) > policy.retries
        if would_abort and place < (run.scheduler.step_of(run.cause[0]), run.cause[0]):
            run.cause = index, error
