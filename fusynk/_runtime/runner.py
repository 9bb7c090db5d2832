"""One run: a host that spawns slots, keeps the timers, and leaves only when everything has ended."""

import os
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from functools import partial
from random import Random
from typing import Any, cast

import anyio
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint
from loguru import logger

from fusynk._core.current import RUN, STEP, StepContext
from fusynk._core.model import CancelledBy, Status
from fusynk._core.program import Program
from fusynk._core.records import Records
from fusynk._core.scheduler import Scheduler
from fusynk._core.wiring import Body
from fusynk._runtime.backend import CancellationWatch, bare, loop_clock
from fusynk._runtime.calls import ThreadPermits, call_inline, call_with_executor
from fusynk._runtime.slot import Slot
from fusynk._runtime.timers import Due, Timers
from fusynk.errors import NestingTooDeep
from fusynk.protocols import Executor

MOST_NESTED = 100
_TURNS_TO_BEGIN = 2


class Runner:
    """Runs a program once.

    Args:
        program: What to run.
        inputs: The values of its inputs.
        run_id: The id of this run.
        executor: Where its synchronous functions run.

    Attributes:
        stopping: Whether nothing more may start.
        by: What ended the run early, or `None`.
        cause: The step and the error that started an abort, or `None`.
        fatal: What must leave `run()` bare, such as `KeyboardInterrupt`, or `None`.
        stuck: The bodies that outlived their grace, in order.
        abandoned: The steps whose thread was left behind, in order.
        live: How many slots are at work.
        spawning: How many have been spawned but have not begun.
    """

    def __init__(self, program: Program, inputs: Sequence[object], run_id: str, executor: Executor) -> None:
        settings = program.settings
        self.program = program
        self.run_id = run_id
        self.scheduler = Scheduler(
            program.wiring, inputs, settings.discipline, program.replaced, ask=self._ask_in_context
        )
        self.records = Records(self.scheduler)
        self.depth = _checked_depth()
        self.context = copy_context()
        self.context.run(RUN.set, self)
        self.context.run(STEP.set, None)
        self.executor = executor
        self.threads = ThreadPermits(settings.threads, executor, self.scheduler)
        seed = settings.seed if settings.seed is not None else os.urandom(8)
        self.draw = Random(seed).random  # noqa: S311 - for jitter, not for secrets
        self.clock = loop_clock()
        self.watch = CancellationWatch()
        self.timers = Timers()
        self.suspended: dict[int, Slot] = {}
        self.stopping = False
        self.by: CancelledBy | None = None
        self.cause: tuple[int, BaseException] | None = None
        self.fatal: BaseException | None = None
        self.stuck: list[str] = []
        self.abandoned: list[str] = []
        self.live = 0
        self.spawning = 0
        self._may_suspend = False
        self._bell: anyio.Event | None = None
        self._poked = False

    # The host

    async def run(self) -> None:
        """Run to the end. What the steps raised is in the records; only cancellation and the like are raised here."""
        interruption: BaseException | None = None
        try:
            async with create_task_group() as group:
                try:
                    await self._supervise(group)
                except BaseException as error:
                    interruption = error
                    raise
        except BaseExceptionGroup as errors:
            raise bare(errors) from None
        finally:
            if self.scheduler.unfinished:
                self.scheduler.cancel_rest(self.by or "caller")
        if interruption is not None:
            raise interruption
        if self.fatal is not None:
            raise self.fatal
        if self.by == "caller":
            # A slot felt the cancellation, and the host has not met it yet.
            await checkpoint()

    async def _supervise(self, group: TaskGroup) -> None:
        """Spawn slots and fire timers until all steps have ended; then see that nothing stays behind."""
        settings = self.program.settings
        if settings.deadline is not None:
            self.timers.add(self.clock() + settings.deadline, Due.DEADLINE, None)
        try:
            self.scheduler.begin()
            while self.scheduler.unfinished and not self.stopping:
                self._spawn(group)
                await self._sleep()
                self._fire_timers()
        except anyio.get_cancelled_exc_class():
            self.stop("caller")
            raise
        except BaseException:
            self.stop("signal")
            raise
        finally:
            if self.stopping and (self.live or self.spawning):
                group.cancel_scope.cancel()
                await self._settle()

    def _spawn(self, group: TaskGroup) -> None:
        """Start slots for ready steps. Until some body has suspended, one slot does all the work there is."""
        wanted = len(self.scheduler.ready) or len(self.scheduler.notices)
        free = self.program.settings.concurrency - self.live - self.spawning
        if not self._may_suspend:
            wanted, free = min(wanted, 1), min(free, 1 - self.live - self.spawning)
        for _ in range(min(wanted - self.spawning, free)):
            self.spawning += 1
            group.start_soon(Slot(self).live)

    async def _sleep(self) -> None:
        """Wait until a slot pokes, or something is due."""
        if self._poked or not self.scheduler.unfinished:
            self._poked = False
            return
        bell = self._bell = anyio.Event()
        due = self.timers.earliest()
        try:
            if due == float("inf"):
                await bell.wait()
            else:
                with CancelScope(deadline=due) as self.watch.nap:
                    await bell.wait()
        finally:
            self._bell = self.watch.nap = None
            self._poked = False

    def poke(self) -> None:
        """Wake the host if there is something for it to see to."""
        scheduler = self.scheduler
        if scheduler.ready or not scheduler.unfinished or self.stopping or scheduler.notices:
            self._wake()

    def _wake(self) -> None:
        if not self._poked:
            self._poked = True
            if self._bell is not None:
                self._bell.set()

    async def _settle(self) -> None:
        """Wait until every slot has ended, whatever else is cancelled meanwhile.

        Shielded, because waiting in a cancelled scope would keep the loop busy. A native cancellation still comes
        through; the first one is raised already, or is raised when all has ended.
        """
        cancelled = anyio.get_cancelled_exc_class()
        late: BaseException | None = None
        turn = 0
        with CancelScope(shield=True):
            while self.live or self.spawning:
                turn += 1
                try:
                    await self._wait_a_turn(turn)
                except cancelled as error:
                    late = late or error
        if late is not None and self.by != "caller":
            raise late

    async def _wait_a_turn(self, turn: int) -> None:
        """Wait until a slot ends or a grace is over. In the first turns spawned tasks begin, or never will."""
        if turn <= _TURNS_TO_BEGIN:
            await cancel_shielded_checkpoint()
            return
        self.spawning = 0
        bell = self._bell = anyio.Event()
        self._poked = False
        if not self.live:
            return
        with anyio.move_on_after(self.program.settings.grace) as patience:
            await bell.wait()
        self._bell = None
        if patience.cancelled_caught:
            for index in sorted(self.suspended):
                self._report_stuck(index)

    def _report_stuck(self, index: int) -> None:
        name = self.scheduler.name_of(index)
        if name not in self.stuck:
            self.stuck.append(name)
        self.warn(index, "A cancelled body has not ended within its grace")

    def _note_abandoned(self, index: int) -> None:
        self.abandoned.append(self.scheduler.name_of(index))
        self.warn(index, "A thread was left behind; its function goes on")

    def warn(self, index: int, message: str) -> None:
        """Log what no error can tell, without any value of the user's."""
        logger.bind(run_id=self.run_id, layer=self.scheduler.name_of(index)).warning(message)

    # Timers

    def add_timer(self, delay: float, due: Due, subject: object) -> None:
        """Have something done after a delay in seconds."""
        when = self.clock() + delay
        if when < self.timers.earliest():
            self._wake()
        self.timers.add(when, due, subject)

    def _fire_timers(self) -> None:
        if self.timers.earliest() > self.clock():
            return
        for due, subject in self.timers.pop_due(self.clock()):
            match due:
                case Due.RETRY:
                    self.scheduler.make_ready(cast("int", subject))
                case Due.RELEASE:
                    self.scheduler.release(cast("int", subject))
                case Due.TIMEOUT | Due.GRACE:
                    self._hurry(cast("Slot", subject), due)
                case Due.DEADLINE:
                    self.stop("deadline")

    def _hurry(self, slot: Slot, due: Due) -> None:
        """Cancel a body whose timeout is over; report it if it has not ended within its grace."""
        index = slot.index
        if self.suspended.get(index) is not slot or slot.scope is None:
            return
        if due is Due.TIMEOUT:
            slot.timed_out = True
            slot.scope.cancel()
        else:
            self._report_stuck(index)
        self.timers.add(self.clock() + self.program.settings.grace, Due.GRACE, slot)

    # What slots call

    def prepare(self, index: int) -> Any:  # noqa: ANN401 - a coroutine, as far as anybody can tell
        """Return the coroutine of a step that is not plain, or `None` if it must wait for a thread."""
        scheduler, program = self.scheduler, self.program
        step = scheduler.step_of(index)
        if index >= len(self.records.started):
            self.records.grow()
        self.records.note_start(index, self.clock())
        body = program.bodies[step]
        if body == Body.THREAD and not self.threads.take(index):
            self.records.take_back_start(index)
            return None
        getter = program.getters[step]
        simple = getter is not None and index == step
        values = getter(scheduler.cells) if simple and getter is not None else scheduler.arguments(index)
        function = program.functions[step]
        if body == Body.COROUTINE:
            return function(*values)
        if body == Body.INLINE:
            return call_inline(function, values)
        abandon = program.policies[step].abandon_on_timeout
        return call_with_executor(
            self.executor,
            function,
            values,
            abandon=abandon,
            release=self.threads.release,
            leave=partial(self._note_abandoned, index),
        )

    def note_suspension(self, index: int, slot: Slot) -> None:
        """Keep track of a body that waits for something."""
        self.suspended[index] = slot
        slot.index = index
        timeout = self.program.policies[self.scheduler.step_of(index)].timeout
        if timeout is not None:
            passed = self.clock() - self.records.started[index]
            self.add_timer(timeout - passed, Due.TIMEOUT, slot)
        self._may_suspend = True
        if self.scheduler.ready:
            self._wake()

    def note_end(self, index: int) -> None:
        """Note that a body which had suspended has ended."""
        self.suspended.pop(index, None)
        self.records.ended[index] = self.clock()

    def retry(self, index: int, delay: float) -> None:
        """Let a step wait for its next attempt, without a slot."""
        self.records.note_retry(index)
        self.scheduler.retry(index)
        if delay:
            self.add_timer(delay, Due.RETRY, index)
        else:
            self.scheduler.make_ready(index)

    def feels_cancelled(self) -> bool:
        """Tell whether the run is being stopped; a body may feel a cancellation from outside before the host does."""
        if not self.stopping and self.watch.is_requested():
            self.stop("caller")
        return self.stopping

    def context_of(self, index: int) -> Context:
        """Return a fresh context for a step, as its body gets one."""
        context = self.context.copy()
        context.run(STEP.set, index)
        return context

    def _ask_in_context(self, step: int, function: Callable[[object], object], value: object) -> object:
        return self.context_of(step).run(function, value)

    def describe_step(self, index: int) -> StepContext:
        """Return what the body of a step may know."""
        return StepContext(
            run_id=self.run_id,
            name=self.scheduler.name_of(index),
            attempt=self.records.attempt_of(index),
            _asked_to_stop=partial(self._is_asked_to_stop, index),
        )

    def _is_asked_to_stop(self, index: int) -> bool:
        slot = self.suspended.get(index)
        return self.stopping or (slot is not None and slot.timed_out)

    # How a run ends early

    def stop(self, by: CancelledBy) -> None:
        """Start nothing more, and have the host cancel what is running."""
        if not self.stopping:
            self.stopping = True
            self.by = by
        self._wake()

    def abort(self, index: int, error: BaseException) -> None:
        """End the run with a step that failed."""
        for failed in {index, self.scheduler.step_of(index)}:
            self.scheduler.settle(failed, Status.FAILED, error)
        self.cause = index, error
        self.stop("abort")

    def interrupt(self, index: int, error: BaseException) -> None:
        """End the run with something that is no ordinary error."""
        self.scheduler.settle(index, Status.FAILED, error)
        self.fatal = self.fatal or error
        self.stop("signal")

    def crash(self, error: BaseException) -> None:
        """End the run with what came from no body: an interruption, or a fault of the engine."""
        self.fatal = self.fatal or error
        self.stop("signal")

    def note_late_failure(self, index: int, error: BaseException) -> None:
        """Keep an error that was raised while the run was being stopped.

        Of two failures at one instant, the first in plan order is the one that ended the run.
        """
        self.scheduler.settle(index, Status.FAILED, error)
        if self.cause is None or self.records.ended[index] != self.records.ended[self.cause[0]]:
            return
        step = self.scheduler.step_of(index)
        policy = self.program.policies[step]
        would_abort = policy.on_error == "abort" and self.records.attempt_of(index) > policy.retries
        if would_abort and (step, index) < (self.scheduler.step_of(self.cause[0]), self.cause[0]):
            self.cause = index, error


def _checked_depth() -> int:
    """Return how deep this run is nested in others.

    Raises:
        NestingTooDeep: Deeper than any program means to.
    """
    outer = RUN.get()
    depth = 1 if outer is None else outer.depth + 1
    if depth > MOST_NESTED:
        message = f"Runs are nested more than {MOST_NESTED} deep; a plan most likely starts itself."
        raise NestingTooDeep(message)
    return depth
