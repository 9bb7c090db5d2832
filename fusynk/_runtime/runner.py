"""One run: its state, what its slots ask of it, and how it ends."""

import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint
from loguru import logger

from fusynk._core.model import CancelledBy, Ending, RunStatus, Status
from fusynk._core.options import Policy
from fusynk._core.printable import printable
from fusynk._core.program import Program
from fusynk._core.records import NEVER, Records
from fusynk._core.scheduler import Scheduler
from fusynk._core.watched import WatchedScheduler
from fusynk._core.wiring import Body
from fusynk._runtime.aftermath import Aftermath
from fusynk._runtime.backend import CancellationWatch, loop_clock
from fusynk._runtime.company import Companion, accompany
from fusynk._runtime.host import Host
from fusynk._runtime.inside import Inside
from fusynk._runtime.outcomes import Outcomes
from fusynk._runtime.preparing import Preparation
from fusynk._runtime.slot import Slot
from fusynk._runtime.timers import Due
from fusynk.errors import DeadlineExceeded, RunCancelled
from fusynk.protocols import Executor, Instrument

if TYPE_CHECKING:
    from fusynk._runtime.bus import Bus
    from fusynk._runtime.durable import Durable
    from fusynk._runtime.opening import OpenedRun


def _scheduler_class(*, is_watched: bool, is_recorded: bool) -> type[Scheduler]:
    """Return the state machine of a run; those that nobody watches need not pay for that."""
    if is_recorded:
        from fusynk._core.resuming import ResumingScheduler  # noqa: PLC0415 - for runs that are recorded

        return ResumingScheduler
    return WatchedScheduler if is_watched else Scheduler


class Runner:
    """Runs a program once.

    Args:
        program: What to run.
        inputs: The values of its inputs.
        run_id: The id of this run.
        executors: Where its synchronous functions run, by how they are called.
        instruments: What looks on.
        observed: Whether somebody may want its events who is not among the plan's subscribers.
        opened: Where it is recorded, if it is.

    Attributes:
        suspended: The slots whose bodies wait for something, by step or item.
        concluding: How many slots are asking what follows from a failure.
        closed: Whether no further step may start.
        stopping: Whether what is running is to be cancelled.
        by: What ended the run early, or `None`.
        cause: The step and the error that started an abort, or `None`.
        fatal: What must leave `run()` bare, such as `KeyboardInterrupt`, or `None`.
        stuck: The bodies that outlived their grace, in order.
        abandoned: The steps whose thread was left behind, in order.
        cpu: Seconds of CPU time that the process has used while the run went on.
        inside: What its bodies see of it.
        context: What the contexts of bodies are copied from.
        durable: What it records, if it does.
        outcomes: What sees to what its attempts came to.
        companions: What lives beside the run until it is over, to be added to before it begins.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[object],
        run_id: str,
        executors: Mapping[Body, Executor],
        *,
        instruments: Sequence[Instrument] = (),
        observed: bool = False,
        opened: "OpenedRun | None" = None,
    ) -> None:
        settings = program.settings
        self.program = program
        self.run_id = run_id
        self.inside = Inside(self, run_id, instruments)
        self.context = self.inside.context
        observed = observed or bool(settings.subscribers or instruments)
        self.scheduler = _scheduler_class(
            is_watched=observed or bool(program.compensations), is_recorded=opened is not None
        )(program.wiring, inputs, settings.discipline, program.replaced, ask=self.inside.ask)
        self.records = Records(self.scheduler)
        self.clock = loop_clock()
        self.watch = CancellationWatch()
        self.suspended: dict[int, Slot] = {}
        self.concluding = 0
        self.closed = False
        self.stopping = False
        self.by: CancelledBy | None = None
        self.cause: tuple[int, BaseException] | None = None
        self.fatal: BaseException | None = None
        self.cpu = 0.0
        self.stuck: list[str] = []
        self.abandoned: list[str] = []
        self.host = Host(self)
        self.outcomes = Outcomes(self)
        self._executors = executors
        self._preparation: Preparation | None = None
        owes = bool(program.compensations) or program.has_resources
        self.aftermath = Aftermath(self, executors[Body.THREAD]) if owes else None
        self.bus = self._new_bus(instruments) if observed else None
        self.companions: list[Companion] = []
        if isinstance(self.scheduler, WatchedScheduler):
            self.scheduler.watchers = tuple(one for one in (self.aftermath, self.bus) if one is not None)
        self.durable = self._new_durable(opened) if opened is not None else None

    def _new_bus(self, instruments: Sequence[Instrument]) -> "Bus":
        from fusynk._runtime.bus import Bus  # noqa: PLC0415 - what it needs is loaded for those who listen only

        bus = Bus(self)
        bus.subscribe([*(one.hear for one in instruments), *self.program.settings.subscribers])
        return bus

    def _new_durable(self, opened: "OpenedRun") -> "Durable":
        from fusynk._runtime.durable import Durable  # noqa: PLC0415 - for runs that are recorded

        return Durable(self, opened)

    async def run(self, *, after: Callable[[], Awaitable[object]] | None = None) -> None:
        """Run to the end. What the steps raised is in the records; only cancellation and the like are raised here.

        Args:
            after: Waits for what must come before.
        """
        if after is not None:
            await self._wait_to_begin(after)
        self.cpu = -time.process_time()
        try:
            await self._run_observed()
        finally:
            self.cpu += time.process_time()
            if self.fatal is not None:
                raise self.fatal  # also where the run was cancelled meanwhile
        if self.by == "caller":
            # A slot felt the cancellation, and the host has not met it yet.
            await checkpoint()

    async def _wait_to_begin(self, after: Callable[[], Awaitable[object]]) -> None:
        try:
            await after()
        except BaseException:
            if self.durable is not None:
                await self.durable.release()
            raise

    async def _run_observed(self) -> None:
        """Run, and tell those who listen when it begins and ends."""
        if self.bus is None:
            await self._run_whole()
            return
        self.bus.note_run_started()
        try:
            await self._run_whole()
        finally:
            await self.bus.close()

    async def _run_whole(self) -> None:
        """Run the slots, and see to what is owed after them."""
        work = self.host.run_slots
        if self.aftermath is not None:
            work = partial(self.aftermath.follow, work)
        if self.companions:
            work = partial(accompany, work, self.companions)
        if self.durable is not None:
            work = partial(self.durable.follow, work)
        await work()

    @property
    def begin(self) -> Callable[[int], None]:
        """What notes that a plain step begins."""
        return self.records.begun.append if self.bus is None else self.bus.begin

    @property
    def succeed(self) -> Callable[[int, object], None]:
        """What lets follow that a step or an item returned."""
        return self.scheduler.succeed if self.bus is None else self.bus.succeed

    def begin_steps(self) -> None:
        """Make ready what waits for nothing; of a run that is resumed, what is left."""
        self.scheduler.begin()
        if self.durable is not None:
            self.durable.undoing.go_back_if_broken_off()

    def flush(self) -> None:
        """Have written what is recorded, if anything is; to be called before others have their turn."""
        if self.durable is not None:
            self.durable.flush()

    async def assure(self) -> None:
        """See that the run is still this process's own, before something of it starts."""
        if self.durable is not None and self.durable.is_silent:
            await self.durable.assure()

    @property
    def is_committing(self) -> bool:
        """Whether something is recorded that is not committed yet."""
        return self.durable is not None and self.durable.is_committing

    def tell(self, kind: str, *facts: object) -> None:
        """Tell an event by the name of its class, if anybody may listen."""
        if self.bus is not None:
            self.bus.emit_named(kind, *facts)

    def report_stuck(self, index: int) -> None:
        """Name a body that outlived its grace."""
        name = self.scheduler.name_of(index)
        if name not in self.stuck:
            self.stuck.append(name)
            self.tell("BodyStuck", name)
        self.warn(index, "A cancelled body has not ended within its grace")

    def note_abandoned(self, index: int) -> None:
        """Name a step whose thread was left behind."""
        self.abandoned.append(self.scheduler.name_of(index))
        self.tell("ThreadAbandoned", self.abandoned[-1])
        self.warn(index, "A thread was left behind; its function goes on")

    def warn(self, index: int, message: str) -> None:
        """Log what no error can tell, without any value of the user's."""
        layer = printable(self.scheduler.name_of(index))
        with suppress(Exception):  # a sink that raises must not hurt the run
            logger.bind(run_id=printable(self.run_id), layer=layer).warning(message)

    # What slots call

    def note_suspension(self, index: int, slot: Slot) -> None:
        """Keep track of a body that waits for something."""
        self.suspended[index] = slot
        slot.index = index
        timeout = self.program.policies[self.scheduler.step_of(index)].timeout
        if timeout is not None:
            passed = self.clock() - self.records.started[index]
            self.host.add_timer(timeout - passed, Due.TIMEOUT, slot)
        self._let_others_start()

    def note_question(self) -> None:
        """Note that a slot asks what follows from a failure, which may take its time: others must not wait for it."""
        self.concluding += 1
        self._let_others_start()

    def _let_others_start(self) -> None:
        """Have the host spawn slots for what is ready, and others get what this run has no slot left for."""
        self.host.may_suspend = True
        self.flush()
        self.reconsider_limits()
        if self.scheduler.ready:
            self.host.wake()

    def note_end(self, index: int) -> None:
        """Note that a body which had suspended has ended."""
        self.suspended.pop(index, None)
        self.records.ended[index] = self.clock()

    @property
    def preparation(self) -> Preparation:
        """Where steps that are not plain get what they need. Made when the first one comes."""
        if self._preparation is None:
            self._preparation = Preparation(self, self._executors)
        return self._preparation

    def reconsider_limits(self) -> None:
        """Have others get what this run was granted, should it have no slot left to start it."""
        if self._preparation is not None and self._preparation.limits.pending:
            self._preparation.limits.reconsider()

    def resume(self, index: int) -> None:
        """Let a step start that has waited for something."""
        self.scheduler.make_ready(index)
        self.host.wake()

    def status_of(self, index: int) -> Status:
        """Return where a step or an item is. The scheduler knows what follows from it, not whether its body runs."""
        state = Status(self.scheduler.state[index])
        if state >= Status.RUNNING:
            return state
        if index < len(self.records.started) and self.records.started[index] != NEVER:
            return Status.RUNNING
        is_free = index < self.scheduler.base and not self.scheduler.remaining[index]
        return Status.READY if is_free else state

    def policy_of(self, index: int) -> Policy:
        """Return what holds for a step or an item."""
        return self.program.policies[self.scheduler.step_of(index)]

    def feels_cancelled(self) -> bool:
        """Tell whether the run is being stopped; a body may feel a cancellation from outside before the host does."""
        if not self.stopping and self.watch.is_requested():
            self.stop("caller")
        return self.stopping

    # How a run ends early

    def leave_threads(self) -> None:
        """Wait no more for threads that have not ended though the run is cancelled."""
        leave: object = getattr(self._executors[Body.THREAD], "leave_behind", None)
        if callable(leave):  # an executor of the user's own need not be able to
            leave()

    def wind_down(self, grace: float) -> None:
        """Start no further step, let what is running go on for a while, and then stop.

        Args:
            grace: Seconds until what is still running is cancelled.
        """
        self.closed = True
        self.host.add_timer(grace, Due.STOP, None)
        self.host.wake()

    def stop(self, by: CancelledBy) -> None:
        """Start nothing more, and have the host cancel what is running."""
        if not self.stopping:
            self.closed = self.stopping = True
            self.by = by
            if self._preparation is not None:
                self._preparation.limits.withdraw()
        self.host.wake()

    def abort(self, index: int, error: BaseException) -> None:
        """End the run with a step that failed."""
        for failed in dict.fromkeys((index, self.scheduler.step_of(index))):
            self.scheduler.settle(failed, Status.FAILED, error)
        self.break_off(index, error)

    def break_off(self, index: int, error: BaseException) -> None:
        """End the run because of a step, however that step itself ended."""
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

    @cached_property
    def draw(self) -> Callable[[], float]:
        """What the jitter of delays is drawn from; made when the first delay comes, because it takes its time."""
        seed = self.program.settings.seed
        return Random(seed if seed is not None else os.urandom(8)).random  # noqa: S311 - for jitter, not for secrets

    @cached_property
    def reason(self) -> BaseException | None:
        """What ended the run early, as an error; `None` where it went to its end."""
        if self.cause is not None:
            return self.cause[1]
        if self.by is None:
            return None
        if self.by == "deadline":
            return DeadlineExceeded(f"The run took longer than its deadline of {self.program.settings.deadline:g} s.")
        by_whom = "through its handle" if self.by == "stop" else "from outside"
        return self.fatal or RunCancelled(f"The run was cancelled {by_whom}.")

    @property
    def ending(self) -> Ending:
        """How the run ended, as far as it has."""
        last = self.aftermath
        return Ending(
            by=self.by,
            cpu=self.cpu,
            cause=None if self.cause is None else self.scheduler.name_of(self.cause[0]),
            stuck=tuple(self.stuck),
            abandoned=tuple(self.abandoned),
            compensated=tuple(last.compensated) if last is not None else (),
            compensation_failures=MappingProxyType(last.compensation_failures if last is not None else {}),
            teardown_failures=MappingProxyType(last.teardown_failures if last is not None else {}),
            subscriber_failures=MappingProxyType(self.bus.failures if self.bus is not None else {}),
            replayed=tuple(self.durable.replayed) if self.durable is not None else (),
        )

    @property
    def status(self) -> RunStatus:
        """How the run ended, as far as it has."""
        return self.ending.status(has_failures=Status.FAILED in self.scheduler.state)
