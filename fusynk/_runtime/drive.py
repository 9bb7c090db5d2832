"""Driving a suspended body to its end, inside its own context."""

from collections.abc import Coroutine, Generator
from contextvars import Context
from types import FrameType
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Drive(Generic[T_co]):
    """Awaits the rest of a coroutine that was started by hand.

    Forwards what the loop sends and throws, each time inside the coroutine's own context.

    Args:
        body: The coroutine, suspended.
        context: The context it runs in.
        waiting_for: What it yielded when it suspended.
    """

    __slots__ = ("_body", "_context", "_waiting_for")

    def __init__(self, body: Coroutine[Any, Any, T_co], context: Context, waiting_for: object) -> None:
        self._body = body
        self._context = context
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Hand every suspension up to the loop until the body ends."""
        body, run = self._body, self._context.run
        yielded = self._waiting_for
        while True:
            try:
                sent = yield yielded
            except GeneratorExit:
                run(body.close)
                raise
            except BaseException as error:  # noqa: BLE001 - whatever the loop throws is the body's
                try:
                    yielded = run(body.throw, error)
                except StopIteration as stop:
                    return cast("T_co", stop.value)
            else:
                try:
                    yielded = run(body.send, sent)
                except StopIteration as stop:
                    return cast("T_co", stop.value)


async def run_in_context(context: Context, body: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end inside a context."""
    try:
        waiting_for = context.run(body.send, None)
    except StopIteration as stop:
        return cast("T", stop.value)
    return await Drive(body, context, waiting_for)


def stack_of(body: object) -> list[FrameType]:
    """Return the frames of a suspended coroutine, outermost first, by walking what each awaits."""
    frames: list[FrameType] = []
    waiting: object = body
    while waiting is not None:
        frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
        if frame is not None:
            frames.append(frame)
        waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)
    return frames
