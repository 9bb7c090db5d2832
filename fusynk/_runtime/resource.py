"""A resource: a generator that is set up, lies open while the run lasts, and is torn down, all in one task."""

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextvars import copy_context
from enum import Enum
from typing import Protocol, TypeAlias

import anyio
from anyio import CancelScope

from fusynk._runtime.backend import is_cancellation
from fusynk.errors import ResourceMisused, RunCancelled, StrayCancellation, TeardownTimeout
from fusynk.protocols import Executor

AnyGenerator: TypeAlias = AsyncGenerator[object, object] | Generator[object, object, object]


class _End(Enum):
    """What stands for the end of a generator."""

    END = "end"


class Keeper(Protocol):
    """Who keeps the resources of a run."""

    def note_open(self, resource: "Resource") -> None:
        """Learn that a resource has been set up."""
        ...

    def note_break(self, resource: "Resource", error: BaseException) -> None:
        """Learn that a resource has ended before it was closed."""
        ...

    def note_left_behind(self, resource: "Resource") -> None:
        """Learn that the thread of a teardown goes on after its grace."""
        ...


class Resource:
    """One resource of a run, from its setup to its teardown.

    Both happen in one task, because what a generator enters, such as a task group, it must leave in the same task.

    Args:
        index: The step or item that it belongs to.
        name: Its name.
        generator: The generator, not yet started.
        keeper: Who is told what becomes of it.
        executor: Where the parts of a plain generator run, or `None` for the event loop.
        grace: Seconds after which a teardown is cancelled.

    Attributes:
        index: The step or item that it belongs to.
        artifact: What it yielded.
        is_open: Whether it was set up and has not ended.
        error: What its setup raised, or `None`.
        failure: What its teardown raised, or what broke it while it lay open, or `None`.
        ended: Set when nothing of it is left.
    """

    def __init__(
        self, index: int, name: str, generator: AnyGenerator, *, keeper: Keeper, executor: Executor | None, grace: float
    ) -> None:
        self.index = index
        self._name = name
        self._generator = generator
        self._executor = executor
        self._grace = grace
        self._keeper = keeper
        self._context = copy_context()
        self._set_up_or_not = anyio.Event()
        self._closing = anyio.Event()
        self._reason: BaseException | None = None
        # Entered before the generator's own scopes, because scopes close in reverse order.
        self._scope = CancelScope(shield=True)
        self.artifact: object = None
        self.is_open = False
        self.error: BaseException | None = None
        self.failure: BaseException | None = None
        self.ended = anyio.Event()

    async def live(self) -> None:
        """Be the task of this resource."""
        try:
            with self._scope:
                await self._set_up()
                self._set_up_or_not.set()
                if self.is_open:
                    await self._lie_open()
        finally:
            self.is_open = False
            self._set_up_or_not.set()
            self.ended.set()

    async def opened(self) -> object:
        """Wait for the setup and return the artifact. Cancelled, it undoes the setup and waits for that.

        Raises:
            BaseException: What the setup raised.
        """
        try:
            await self._set_up_or_not.wait()
        except BaseException:
            self.close(RunCancelled(f"The setup of {self._name!r} was cancelled."))
            if not self.is_open and self._executor is None:
                self._scope.cancel()
            with CancelScope(shield=True):
                await self.ended.wait()
            if self.error is None or is_cancellation(self.error):
                raise
        if self.error is not None:
            raise self.error
        return self.artifact

    def close(self, reason: BaseException | None) -> None:
        """Begin the teardown.

        Args:
            reason: What ended the run early, or `None`; the generator's `yield` evaluates to it.
        """
        self._reason = reason
        self._closing.set()

    async def _set_up(self) -> None:
        try:
            artifact = await self._advance(None)
        except BaseException as error:
            self.error = error
            if self._scope.cancel_called and is_cancellation(error):
                raise
            return
        if artifact is _End.END:
            self.error = ResourceMisused(f"{self._name!r} ended without a yield; a resource yields its artifact once.")
            return
        self.artifact = artifact
        self.is_open = True
        self._keeper.note_open(self)

    async def _lie_open(self) -> None:
        """Wait for the end of the run, then tear down. What goes wrong is kept in `failure`."""
        try:
            await self._wait_and_tear_down()
        except BaseException as error:
            self.failure = self._judged(error)
            if not self._closing.is_set():
                self._keeper.note_break(self, self.failure)
            if self._scope.cancel_called and is_cancellation(error):
                raise

    async def _wait_and_tear_down(self) -> None:
        if not self._closing.is_set():
            try:
                await self._closing.wait()
            except BaseException as error:  # noqa: BLE001 - a scope of the generator's own was cancelled
                await self._break(error)
                raise ResourceMisused(f"{self._name!r} ended before its run did.") from None
        self._scope.deadline = anyio.current_time() + self._grace
        if await self._advance(self._reason, abandon=True) is not _End.END:
            await self._drop()
            raise ResourceMisused(f"{self._name!r} yielded twice; a resource yields its artifact once.")

    def _judged(self, error: BaseException) -> BaseException:
        """Return what a teardown's error says to the user."""
        if self._scope.cancel_called:
            late: BaseException = TeardownTimeout(
                f"The teardown of {self._name!r} took longer than the grace of {self._grace:g} s and was cancelled; "
                "give the plan more grace=..., or let it do less."
            )
        elif is_cancellation(error):
            late = StrayCancellation(
                f"{self._name!r} raised {type(error).__name__} although nobody had cancelled it; "
                "raise an error of your own instead."
            )
        else:
            return error
        late.__cause__ = error
        return late

    async def _advance(self, sent: object, *, abandon: bool = False) -> object:
        """Run the generator on to its next yield, or to its end."""
        if isinstance(self._generator, AsyncGenerator):
            try:
                return await self._generator.asend(sent)
            except StopAsyncIteration:
                return _End.END
        return await self._call(_advance, (self._generator, sent), abandon=abandon)

    async def _break(self, error: BaseException) -> None:
        """Let the generator see the cancellation of its own scope, as where a child task of its has failed."""
        if isinstance(self._generator, AsyncGenerator):
            try:
                await self._generator.athrow(error)
            except StopAsyncIteration:
                return
            await self._drop()
        else:
            self._context.run(_throw, self._generator, error)

    async def _drop(self) -> None:
        """Close a generator that has not ended."""
        if isinstance(self._generator, AsyncGenerator):
            await self._generator.aclose()
        else:
            await self._call(self._generator.close, (), abandon=True)

    async def _call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:
        """Call one part of a plain generator; in one context, so that what is set before the yield can be reset."""
        if self._executor is None:
            return self._context.run(function, *arguments)
        try:
            return await self._executor.call(self._context.run, (function, *arguments), abandon=abandon)
        except BaseException as error:
            if abandon and is_cancellation(error):
                self._keeper.note_left_behind(self)
            raise


def _advance(generator: Generator[object, object, object], sent: object) -> object:
    try:
        return generator.send(sent)
    except StopIteration:
        return _End.END


def _throw(generator: Generator[object, object, object], error: BaseException) -> None:
    try:
        generator.throw(error)
    except StopIteration:
        return
    generator.close()
