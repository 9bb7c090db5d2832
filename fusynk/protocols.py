"""The seams: what can be replaced from outside, one small protocol each."""

from collections.abc import Callable, Sequence
from typing import Protocol


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
