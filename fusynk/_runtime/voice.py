"""The short way from a plain step to its events."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING

from fusynk._core.events import AttemptStarted, Listener, StepSucceeded
from fusynk._core.model import Status
from fusynk._core.scheduler import Scheduler

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner

Blame = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True)
class Voice:
    """Numbers the events of a run, and tells those of plain steps.

    Attributes:
        begin: Notes that a plain step begins, and tells it.
        succeed: Notes that a step or an item returned, and tells it.
        count: Counts so many events more, and returns how many there have been.
        address: Sets who is told, if anybody is, and who learns what that raised.
    """

    begin: Callable[[int], None]
    succeed: Callable[[int, object], None]
    count: Callable[[int], int]
    address: Callable[[Listener | None, Blame], None]


def voice_of(run: "Runner", blame: Blame) -> Voice:
    """Return closures over one number and one listener; attributes would cost a plain step as much as its events."""
    records, names, run_id, base = run.records, run.program.wiring.names, run.run_id, run.scheduler.base
    begun, started, ended, numbers = records.begun.append, records.started, records.ended, records.numbers
    state, succeed, follow = run.scheduler.state, run.scheduler.succeed, MethodType(Scheduler.succeed, run.scheduler)
    told, tell, succeeded = 0, None, int(Status.SUCCEEDED)

    def begin(index: int) -> None:
        nonlocal told
        begun(index)
        told += 1
        if tell is not None:
            attempt = numbers.get(index, 1)
            try:
                tell(AttemptStarted(told, started[index], run_id, names[index], attempt))
            except BaseException as error:  # noqa: BLE001 - a subscriber must not hurt a run
                blame(error)

    def succeed_and_tell(index: int, artifact: object) -> None:
        nonlocal told
        if tell is None or index >= base or index in numbers:
            succeed(index, artifact)
            return
        told += 1
        state[index] = succeeded
        try:
            tell(StepSucceeded(told, ended[index], run_id, names[index]))
        except BaseException as error:  # noqa: BLE001 - as above
            blame(error)
        follow(index, artifact)

    def count(more: int) -> int:
        nonlocal told
        told += more
        return told

    def address(listener: Listener | None, blamed: Blame) -> None:
        nonlocal tell, blame
        tell, blame = listener, blamed

    # Where somebody else watches how steps end, too, there is no short way.
    return Voice(begin, succeed_and_tell if run.aftermath is None else succeed, count, address)
