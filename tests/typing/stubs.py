"""The shape of what the typing cases name and a later version brings: a manager."""

from types import TracebackType
from typing import Any, Self, TypeVar

from fusynk import Layer

A = TypeVar("A")


class Manager:
    """Runs units on demand or on a schedule."""

    def __init__(self, *units: Layer[..., Any, Any]) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    async def run(self, unit: Layer[..., Any, A], /, **inputs: object) -> A:
        """Runs one unit and returns its artifact."""
        raise NotImplementedError
