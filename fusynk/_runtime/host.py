"""The host of a run: it spawns slots, keeps the timers, and leaves only when every slot has ended."""

from typing import TYPE_CHECKING, cast

import anyio
from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import cancel_shielded_checkpoint

from fusynk._runtime.backend import bare
from fusynk._runtime.slot import Slot
from fusynk._runtime.timers import Due, Timers

if TYPE_CHECKING:
    from fusynk._core.permits import Permits
    from fusynk._runtime.runner import Runner

_TURNS_TO_BEGIN = 2


class Host:
    """The part of a run that lives in the task that called `run()`. No body ever runs there.

    Args:
        run: The run.

    Attributes:
        live: How many slots are at work.
        spawning: How many have been spawned but have not begun.
        may_suspend: Whether some body has suspended; until then one slot does all the work there is.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._timers = Timers()
        self.may_suspend = False
        self._bell: anyio.Event | None = None
        self._poked = False
        self.live = 0
        self.spawning = 0

    async def run_slots(self) -> None:
        """Run until every slot has ended."""
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
            try:
                if self._run.durable is not None:
                    await self._run.durable.wait_for_commits()
            finally:
                if self._run.scheduler.unfinished:
                    self._run.scheduler.cancel_rest(self._run.by or "caller")
        if interruption is not None:
            raise interruption

    async def _supervise(self, group: TaskGroup) -> None:
        """Spawn slots and fire timers until all steps have ended; then see that nothing stays behind."""
        settings = self._run.program.settings
        if settings.deadline is not None:
            self._timers.add(self._run.clock() + settings.deadline, Due.DEADLINE, None)
        try:
            self._run.begin_steps()
            while self._run.scheduler.unfinished and not self._run.stopping:
                if not self._run.closed:
                    self._spawn(group)
                elif not (self.live or self.spawning or self._run.is_committing):
                    self._run.stop("stop")
                await self._sleep()
                self._fire_timers()
                if self._run.durable is not None:
                    self._run.durable.acknowledge()
        except anyio.get_cancelled_exc_class():
            self._run.stop("caller")
            raise
        except BaseException:
            self._run.stop("signal")
            raise
        finally:
            if self._run.stopping and (self.live or self.spawning):
                group.cancel_scope.cancel()
                await self._settle()

    def _spawn(self, group: TaskGroup) -> None:
        """Start slots for ready steps."""
        wanted = len(self._run.scheduler.ready) or len(self._run.scheduler.notices)
        free = self._run.program.settings.concurrency - self.live - self.spawning
        if not self.may_suspend:
            wanted, free = min(wanted, 1), min(free, 1 - self.live - self.spawning)
        for _ in range(min(wanted - self.spawning, free)):
            self.spawning += 1
            # In the run's own context: what a slot calls for the run is inside no step, not even of a run around it.
            _ = self._run.context.run(group.start_soon, Slot(self._run).live)

    async def _sleep(self) -> None:
        """Wait until a slot pokes, or something is due."""
        if self._poked or not self._run.scheduler.unfinished:
            self._poked = False
            return
        self._run.flush()
        bell = self._bell = anyio.Event()
        due = self._timers.earliest()
        try:
            if due == float("inf"):
                await bell.wait()
            else:
                with CancelScope(deadline=due) as self._run.watch.nap:
                    await bell.wait()
        finally:
            self._bell = self._run.watch.nap = None
            self._poked = False

    def poke(self) -> None:
        """Wake the host if there is something for it to see to."""
        scheduler = self._run.scheduler
        self._run.reconsider_limits()
        if scheduler.ready or not scheduler.unfinished or self._run.closed or scheduler.notices:
            self.wake()

    def wake(self) -> None:
        """Have the host look again."""
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
        if late is not None and self._run.by != "caller":
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
        with anyio.move_on_after(self._run.program.settings.grace) as patience:
            await bell.wait()
        self._bell = None
        if patience.cancelled_caught:
            for index in sorted(self._run.suspended):
                self._run.report_stuck(index)

    # Timers

    def add_timer(self, delay: float, due: Due, subject: object) -> None:
        """Have something done after a delay in seconds."""
        self.add_timer_at(self._run.clock() + delay, due, subject)

    def add_timer_at(self, when: float, due: Due, subject: object) -> None:
        """Have something done at a time of the run's clock."""
        if when < self._timers.earliest():
            self.wake()
        self._timers.add(when, due, subject)

    def _fire_timers(self) -> None:
        if self._timers.earliest() > self._run.clock():
            return
        for due, subject in self._timers.pop_due(self._run.clock()):
            match due:
                case Due.RETRY:
                    self._run.scheduler.make_ready(cast("int", subject))
                case Due.RELEASE:
                    self._run.scheduler.release(cast("int", subject))
                case Due.TIMEOUT | Due.GRACE:
                    self._hurry(cast("Slot", subject), due)
                case Due.DEADLINE | Due.STOP:
                    self._run.stop("deadline" if due is Due.DEADLINE else "stop")
                case Due.LIMIT:
                    cast("Permits", subject).remind(self._run.clock())

    def _hurry(self, slot: Slot, due: Due) -> None:
        """Cancel a body whose timeout is over; report it if it has not ended within its grace."""
        index = slot.index
        if self._run.suspended.get(index) is not slot or slot.scope is None:
            return
        if due is Due.TIMEOUT:
            slot.timed_out = True
            slot.scope.cancel()
        else:
            self._run.report_stuck(index)
        self._timers.add(self._run.clock() + self._run.program.settings.grace, Due.GRACE, slot)
