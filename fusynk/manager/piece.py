"""A piece of work of a pool: what it calls, the plan that runs it, and what came of it."""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, cast

import anyio
from typing_extensions import TypedDict, TypeVar

from fusynk._core.callables import is_coroutine_function
from fusynk._core.declare import Graph
from fusynk._core.events import Event, MilestoneReached
from fusynk._core.limits import Limit
from fusynk._core.model import Milestone
from fusynk._core.options import RetryDelay, RetryOn, WorkerOptions
from fusynk.compile import compile_plan
from fusynk.errors import InvalidDeclaration, InvalidOption, UnknownOption, did_you_mean, shown
from fusynk.plan import Plan

if TYPE_CHECKING:
    from fusynk.handle import RunHandle

A = TypeVar("A")
PieceStatus: TypeAlias = Literal["waiting", "paused", "running", "succeeded", "failed", "cancelled"]


class PieceOptions(TypedDict, total=False):
    """How a piece of work is run; as for `@worker`."""

    retries: int
    retry_delay: RetryDelay
    retry_on: RetryOn
    timeout: float | None
    limit: Limit | None


class PieceChanges(PieceOptions, total=False):
    """What of a waiting piece can be changed: what it calls, with what, and how."""

    function: Callable[..., object]
    arguments: tuple[object, ...]
    keywords: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a piece calls, and how.

    Attributes:
        function: The function.
        arguments: Its positional arguments.
        keywords: Its other arguments.
        options: Retries, timeout and the like.
    """

    function: Callable[..., object]
    arguments: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    options: PieceOptions = field(default_factory=lambda: PieceOptions())  # noqa: PLW0108 - a type is no factory here

    def changed(self, caller: str, changes: PieceChanges) -> "Work":
        """Return it with these changes.

        Raises:
            UnknownOption: There is no such thing to change.
            InvalidOption: The arguments are no tuple, or the keywords no mapping.
        """
        known = PieceChanges.__annotations__
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, tuple(known)) or f" It takes: {', '.join(known)}."
                raise UnknownOption(f"{caller} cannot change {name!r}.{hint}")
        given = cast("dict[str, Any]", changes)
        for name, kind, wanted in (("arguments", tuple, "a tuple"), ("keywords", Mapping, "a mapping")):
            if name in given and not isinstance(given[name], kind):
                raise InvalidOption(f"{caller}({name}={shown(given[name])}): {name} must be {wanted}.")
        own = {name: given[name] for name in ("function", "arguments", "keywords") if name in given}
        options = {name: value for name, value in given.items() if name in PieceOptions.__annotations__}
        return replace(self, **own, options=cast("PieceOptions", {**self.options, **options}))


class _PlainCall:
    """Calls the function of a piece. To errors it is where that function is.

    Args:
        work: The piece's work.
    """

    def __init__(self, work: Work) -> None:
        self._call = partial(work.function, *work.arguments, **work.keywords)
        function = work.function
        while isinstance(function, partial):
            function = cast("partial[object]", function).func
        code = getattr(function, "__code__", None)
        if code is not None:
            self.__code__ = code

    def __call__(self) -> object:
        return self._call()


class _AsyncCall(_PlainCall):
    """The same for a coroutine function."""

    async def __call__(self) -> object:
        return await cast("Any", super().__call__())


class PieceEntry:
    """One piece of work and its state, as its pool keeps it.

    Args:
        pool: The name of the pool.
        name: The piece's own.
        work: What it calls.
        hear: Called with each milestone it reports.

    Attributes:
        status: Where it is.
        run_id: The id of its run.
        plan: What runs it.
        handle: Its run, while it goes on.
        begun: When that began, on the clock of the event loop.
        duration: How long it took, in seconds.
        milestone: What it reported last.
        is_cancelling: Whether somebody has cancelled it.
        ended: Set when it has ended.
        artifact: What it returned.
        error: What `wait()` raises.
    """

    def __init__(self, pool: str, name: str, work: Work, hear: Callable[[Milestone], object]) -> None:
        self._pool = pool
        self._hear = hear
        self.name = name
        self.status: PieceStatus = "waiting"
        self.run_id = os.urandom(8).hex()
        self.milestone: Milestone | None = None
        self.handle: RunHandle[object] | None = None
        self.begun: float | None = None
        self.duration = 0.0
        self.is_cancelling = False
        self.ended = anyio.Event()
        self.artifact: object = None
        self.error: BaseException | None = None
        self.work = work
        self.plan = self._planned("pool.add", work)

    def change(self, changes: PieceChanges) -> None:
        """Change what it calls, or how.

        Raises:
            UnknownOption: There is no such thing to change.
            InvalidOption: A value makes no sense.
            InvalidDeclaration: The function cannot be called like that.
        """
        work = self.work.changed("pool.update", changes)
        self.plan, self.work = self._planned("pool.update", work), work

    def _planned(self, caller: str, work: Work) -> Plan[None, object]:
        """Return the plan of a worker that makes the call."""
        options = cast("WorkerOptions", {"name": self.name, **work.options})
        is_async = self._checked(caller, work)
        call = _AsyncCall(work) if is_async else _PlainCall(work)
        try:
            unit = Graph(self._pool).worker(cast("Callable[[], object]", call), **options)
        except InvalidOption as error:
            raise InvalidOption(str(error).replace("@worker", caller, 1)) from None
        return compile_plan(unit, run_id=self.run_id, subscribers=[self._note])

    def _checked(self, caller: str, work: Work) -> bool:
        """Refuse what cannot be called, and tell whether it is a coroutine function."""
        function, is_async = work.function, is_coroutine_function(work.function)
        if not callable(function):
            raise InvalidDeclaration(f"{caller}({self.name!r}) takes a function, not {shown(function)}.")
        try:
            inspect.signature(function).bind(*work.arguments, **work.keywords)
        except TypeError as error:
            message = f"{caller}({self.name!r}): {shown(function)} cannot be called with these arguments: {error}."
            raise InvalidDeclaration(message) from None
        except ValueError:
            pass  # Python cannot tell what it takes
        timeout = work.options.get("timeout")
        if timeout is not None and not is_async:
            message = (
                f"{caller}({self.name!r}, timeout={timeout!r}): {shown(function)} is a plain function and runs in a "
                "thread, which nothing can stop. Make it async, or leave timeout out."
            )
            raise InvalidOption(message)
        return is_async

    def _note(self, event: Event) -> None:
        if isinstance(event, MilestoneReached):
            self.milestone = Milestone(event.step, event.name, event.values, event.time)
            self._hear(self.milestone)

    async def run(self) -> object:
        """Run it to its end, and return what it returned.

        Raises:
            BaseException: What it raised.
            RunCancelled: It was cancelled.
        """
        self.begun = anyio.current_time()
        try:
            async with self.plan.start() as self.handle:
                if self.is_cancelling:
                    self.handle.cancel()
                return (await self.handle.wait()).result
        finally:
            self.duration = anyio.current_time() - self.begun
            self.handle = None

    def cancel(self, grace: float) -> None:
        """Have its run cancelled, now or as soon as it begins.

        Args:
            grace: Seconds that it has to end by itself.
        """
        self.is_cancelling = True
        if self.handle is not None:
            self.handle.cancel(grace)

    def leave_threads(self) -> None:
        """Have its run end although a thread of it goes on."""
        if self.handle is not None:
            self.handle.leave_threads()


class Piece(Generic[A]):
    """A named piece of work in a pool. Made by `pool.add(...)`."""

    def __init__(self, entry: PieceEntry) -> None:
        self._entry = entry

    @property
    def name(self) -> str:
        """Its name."""
        return self._entry.name

    @property
    def status(self) -> PieceStatus:
        """Where it is."""
        return self._entry.status

    @property
    def run_id(self) -> str:
        """The id of its run."""
        return self._entry.run_id

    async def wait(self) -> A:
        """Return what the piece returned, when it has ended.

        Raises:
            Exception: What it raised; `run_of(error)` is its run.
            PieceCancelled: It was cancelled.
        """
        await self._entry.ended.wait()
        if self._entry.error is not None:
            raise self._entry.error
        return cast("A", self._entry.artifact)

    def __repr__(self) -> str:
        """Name it and say where it is."""
        return f"<Piece {self.name!r} {self.status}>"
