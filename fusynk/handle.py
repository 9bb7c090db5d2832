"""The handle of a run that is going on."""

from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self

import anyio
from anyio import create_task_group
from anyio.abc import TaskGroup, TaskStatus
from typing_extensions import TypeVar

from fusynk._core.numbers import check_seconds
from fusynk._runtime.drive import stack_of
from fusynk._runtime.runner import Runner
from fusynk.errors import RunCancelled
from fusynk.run import Run

if TYPE_CHECKING:
    from fusynk._runtime.buffers import EventStream

A_co = TypeVar("A_co", covariant=True)


class RunHandle(Generic[A_co]):
    """A run in the background of an `async with` block. Leaving the block waits for the run.

    Made by `plan.start(...)`. An error in the block cancels the run; an error of the run that nobody waited for
    is raised at the end of the block.
    """

    def __init__(self, make: Callable[[], Awaitable[Runner]], finish: Callable[[Runner], Run[A_co]]) -> None:
        self._make = make
        self._finish = finish
        self._ended = anyio.Event()
        self._group: TaskGroup = create_task_group()
        self._runner: Runner | None = None
        self._run: Run[A_co] | None = None
        self._error: BaseException | None = None
        self._told = False
        self._entered = anyio.Event()

    async def __aenter__(self) -> Self:
        """Start the run. Its first step begins when the block waits for something."""
        await self._group.__aenter__()
        try:
            await self._group.start(self._live)
        except anyio.get_cancelled_exc_class() as error:
            await self._group.__aexit__(type(error), error, error.__traceback__)
            raise
        except BaseException:
            await self._group.__aexit__(None, None, None)  # without the error, which the group would wrap
            raise
        self._entered.set()
        return self

    def events(self, *, buffer: int = 1024) -> "EventStream":
        """Return the events of the run, as an asynchronous iterator that ends with it.

        Called before the block first waits for anything, it holds them all; later, it begins with `EventsDropped`.

        Args:
            buffer: How many events are kept for a slow reader; of more, the oldest step events are dropped and
                counted.

        Raises:
            RuntimeError: The run has not been started.
        """
        if self._runner is None or self._runner.bus is None:
            message = "events() was called before `async with plan.start(...)` was entered; call it inside the block."
            raise RuntimeError(message)
        return self._runner.bus.stream(buffer)

    def snapshot(self) -> dict[str, str]:
        """Return the status of each step and item now, by name."""
        runner = self._runner
        if runner is None:
            return {}
        scheduler = runner.scheduler
        indexes = [*scheduler.wiring.steps(), *range(scheduler.base, len(scheduler.state))]
        return {scheduler.name_of(index): runner.status_of(index).name.lower() for index in indexes}

    @property
    def id(self) -> str:
        """The run's id; empty before the block is entered."""
        return self._runner.run_id if self._runner is not None else ""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the run, or cancel it if the block failed."""
        if error is None:
            await self._group.__aexit__(None, None, None)
            if self._error is not None and not self._told:
                raise self._error
            return
        self.cancel()
        if isinstance(error, anyio.get_cancelled_exc_class()):
            await self._group.__aexit__(kind, error, traceback)
        else:
            # Handed over without the error, which the group would wrap.
            await self._group.__aexit__(None, None, None)

    async def _live(self, *, task_status: TaskStatus[None]) -> None:
        runner = self._runner = await self._make()
        task_status.started()
        try:
            await runner.run(after=self._entered.wait)
            self._run = self._finish(runner)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._error = error
        finally:
            self._ended.set()

    def cancel(self, grace: float = 0.0) -> None:
        """Cancel the run, from any thread: nothing more starts, running bodies are cancelled and awaited.

        Args:
            grace: Seconds that running bodies have to end by themselves. A run whose last step ends within them is not
                cancelled.

        Raises:
            InvalidOption: `grace` is no number of seconds from 0 up.
        """
        check_seconds("handle.cancel", "grace", grace)
        if self._runner is not None and not self._ended.is_set():
            self._told = True
            runner = self._runner
            runner.inside.call_in_loop(partial(runner.wind_down, grace) if grace else partial(runner.stop, "stop"))

    def leave_threads(self) -> None:
        """Wait no more for plain functions in threads, which nothing can stop. Call it on the run's own loop.

        Those of a run that has been cancelled are left behind and named in `run.abandoned`.
        """
        if self._runner is not None:
            self._runner.leave_threads()

    async def wait(self) -> Run[A_co]:
        """Return the run when it has ended.

        Raises:
            Exception: What `plan.run()` would have raised.
            RunCancelled: The run was cancelled through this handle.
        """
        await self._ended.wait()
        self._told = True
        if self._error is not None:
            raise self._error
        if self._run is None:
            message = "The run was cancelled from outside before it ended."
            raise RunCancelled(message)
        return self._run

    def stacks(self) -> dict[str, tuple[str, ...]]:
        """Return where each suspended body hangs: by step name, `file:line in function`, outermost first."""
        if self._runner is None:
            return {}
        name_of = self._runner.scheduler.name_of
        return {
            name_of(index): tuple(
                f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
                for frame in stack_of(slot.body)
            )
            for index, slot in sorted(self._runner.suspended.items())
        }
