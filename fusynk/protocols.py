"""The seams: what can be replaced from outside, one small protocol each."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fusynk._core.events import Event


class Instrument(Protocol):
    """What looks on at a run: spans, logs. It is told of every event, and enters the context of every body."""

    def enter(self, step: str, attempt: int) -> None:
        """Prepare the context of a body. Called inside it, after the event of its start and before the body itself.

        Args:
            step: The name of the step or item.
            attempt: Which attempt it is, from 1.
        """
        ...

    def hear(self, event: "Event") -> None:
        """Take an event."""
        ...


class Executor(Protocol):
    """Where synchronous functions run.

    Attributes:
        abandoned: How many calls are still at work though nobody waits for them.
    """

    abandoned: int

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:
        """Call a function and return what it returned.

        Args:
            function: The synchronous function.
            arguments: Its positional arguments.
            abandon: Whether to come back at once when cancelled, leaving the call behind.

        Raises:
            BaseException: What the function raised.
        """
        ...
