"""A slot: a child task that runs ready steps inline, one after the other, until one of them suspends."""

from collections.abc import Coroutine
from contextvars import Context
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from fusynk._attempt import GivenUp, Recovered, Retry, Verdict, after_failure
from fusynk._core.wiring import Body
from fusynk._runtime.backend import is_cancellation
from fusynk._runtime.drive import Drive, run_in_context
from fusynk._runtime.preparing import MustWait
from fusynk._runtime.timers import Due
from fusynk.errors import GeneratorReturned, LayerTimeout, StrayCancellation

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner

_GENERATORS = frozenset({GeneratorType, AsyncGeneratorType})
_LONGEST_TURN = 0.005  # seconds that the slots of a run together keep the loop before others have their turn


class Slot:
    """Runs bodies, each in its own context, never in the task that called `run()`.

    A body that ends without suspending costs no task. After one that suspended the slot retires, so that nothing
    that is keyed by the current task leaks into the next step.

    Args:
        run: The run it works for.
    """

    __slots__ = ("_broken", "_run", "body", "index", "scope", "timed_out")

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._broken: tuple[int, BaseException | None] | None = None
        self.body: object = None
        self.index = -1
        self.scope: CancelScope | None = None
        self.timed_out = False

    async def live(self) -> None:
        """Be the task of this slot."""
        run = self._run
        run.host.spawning -= 1
        run.host.live += 1
        try:
            if run.program.timed:
                # The scope is entered before any body, because scopes close in reverse order.
                with CancelScope() as self.scope:
                    await self._work()
                if self.timed_out and self._broken is None:
                    # Something of the engine's own failed on the way out; the step must not stay open.
                    self._broken = self.index, None
            else:
                await self._work()
            if self._broken is not None:
                await self._conclude(*self._broken)
        except GeneratorExit:
            raise
        except BaseException as error:
            # Nothing but the run's own cancellation leaves a slot: asyncio would tear its loop apart.
            if is_cancellation(error) and run.feels_cancelled():
                raise
            run.crash(error)
        finally:
            run.host.live -= 1
            run.flush()
            run.host.poke()

    async def _work(self) -> None:
        """Start ready steps until there are none, or a body has suspended."""
        run = self._run
        scheduler, records, clock = run.scheduler, run.records, run.clock
        ready, cells, base, finish = scheduler.ready, scheduler.cells, scheduler.base, run.outcomes.finish
        functions, getters, plain = run.program.functions, run.program.getters, run.program.plain
        started, ended, begin, copy_context = records.started, records.ended, run.begin, run.context.copy
        body, enter, turn_ends = cast("Any", None), run.inside.enter, await self._turn_ends()
        while ready and not run.closed:
            index = ready.pop()
            try:
                if index < base and plain[index]:
                    started[index] = clock()
                    begin(index)
                    getter = getters[index]
                    body = functions[index](*getter(cells)) if getter is not None else functions[index]()
                else:
                    body = run.preparation.prepare(index)
                context = copy_context()
                context.run(enter, index)
                waiting_for = context.run(body.send, None)
            except StopIteration as stop:
                now = ended[index] = clock()
                value = stop.value
                refused = _no_generator(run, index, value) if value.__class__ in _GENERATORS else finish(index, value)
                if refused is not None:
                    await self._conclude(index, refused)
            except MustWait:
                now = clock()
            except BaseException as error:  # noqa: BLE001 - judged in _conclude
                _close(body)
                now = ended[index] = clock()
                await self._conclude(index, error)
            else:
                await self._finish(index, body, context, waiting_for)
                return
            if scheduler.notices:
                await self._see_to_notices()
            if now > turn_ends:
                run.flush()
                await checkpoint()
                turn_ends = await self._turn_ends()

    async def _turn_ends(self) -> float:
        """Begin a turn, and return when it is over."""
        await self._run.assure()
        await self._see_to_notices()
        return self._run.clock() + _LONGEST_TURN / self._run.host.live

    async def _finish(
        self, index: int, body: Coroutine[Any, Any, object], context: Context, waiting_for: object
    ) -> None:
        """See a suspended body through to its end."""
        run = self._run
        self.body = body
        try:
            run.note_suspension(index, self)
            artifact: object = await Drive(body, context, waiting_for)
        except BaseException as error:
            _close(body)
            self._note_end(index)
            if is_cancellation(error) and not self.timed_out and run.stopping:
                raise
            # Concluded by `live`, outside the scope that a timeout has cancelled.
            self._broken = index, error
            if is_cancellation(error) and self.timed_out:
                raise
            return
        self._note_end(index)
        if self.timed_out:
            run.warn(index, "The result of an attempt came after its timeout and is dropped")
            self._broken = index, None
        elif artifact.__class__ in _GENERATORS:
            self._broken = index, _no_generator(run, index, artifact)
        elif (refused := run.outcomes.complete(index, artifact)) is not None:
            self._broken = index, refused
        elif run.scheduler.notices and not run.stopping:
            await self._see_to_notices()

    def _note_end(self, index: int) -> None:
        self._run.note_end(index)
        # After a timeout this slot's own scope is cancelled, which says nothing about the run.
        if not self.timed_out:
            self._run.feels_cancelled()

    async def _conclude(self, index: int, raised: BaseException | None) -> None:
        """Decide what follows from an attempt that gave no artifact."""
        run = self._run
        error = self._told(index, raised)
        if error is None:
            return
        run.records.note_failure(index, error)
        if run.bus is not None:
            run.bus.note_failed(index, error)
        if not isinstance(error, Exception):
            run.interrupt(index, error)
        elif run.stopping:
            run.outcomes.fail_late(index, error)
        else:
            step = run.scheduler.step_of(index)
            # A thread that was given up may still be at work: two bodies of one step must never be.
            may_retry = not (self.timed_out and run.program.bodies[step] == Body.THREAD)
            await self._decide(index, error, may_retry=may_retry)

    def _told(self, index: int, raised: BaseException | None) -> BaseException | None:
        """Return the error that an attempt ended with, or `None` if it was cancelled with the run."""
        ordinary = raised is None or isinstance(raised, Exception) or is_cancellation(raised)
        if self.timed_out and ordinary:
            return _timeout(self._run, index, raised)
        return None if raised is None else self._own(index, raised)

    def _own(self, index: int, raised: BaseException) -> BaseException | None:
        """Return what user code raised, or `None` if it was cancelled with the run."""
        if not is_cancellation(raised):
            return raised
        if self._run.feels_cancelled():
            return None
        stray = StrayCancellation(
            f"{self._run.scheduler.name_of(index)!r} raised {type(raised).__name__} although nobody had cancelled it; "
            "raise an error of your own instead."
        )
        stray.__cause__ = raised
        return stray

    async def _decide(self, index: int, error: Exception, *, may_retry: bool) -> None:
        """Ask the step's policy, and do as it says."""
        run = self._run
        verdict = await self._verdict(index, error, may_retry=may_retry)
        if verdict is None:
            return
        if run.stopping:
            run.outcomes.fail_late(index, error)
            return
        match verdict:
            case Retry(delay):
                run.outcomes.retry(index, delay)
            case Recovered(artifact):
                run.outcomes.recover(index, artifact)
            case GivenUp(final, aborts):
                run.outcomes.give_up(index, final, aborts=aborts)
        if run.scheduler.notices:
            await self._see_to_notices()

    async def _verdict(self, index: int, error: Exception, *, may_retry: bool) -> Verdict | None:
        """Ask the policy's functions, or return `None` if one of them raised what ends the run."""
        run = self._run
        policy = run.program.policies[run.scheduler.step_of(index)]
        question = after_failure(policy, error, run.records.attempt_of(index), run.draw, may_retry=may_retry)
        run.note_question()
        try:
            return await run_in_context(run.inside.context_of(index), question)
        except BaseException as second:
            final = self._own(index, second)
            if final is None:
                raise
            if isinstance(final, Exception):
                return GivenUp(final, aborts=policy.on_error != "continue")
            run.interrupt(index, final)
            return None
        finally:
            run.concluding -= 1

    async def _see_to_notices(self) -> None:
        """Do what the scheduler asked for: hold barriers, and conclude steps that failed before they were called."""
        run = self._run
        notices = run.scheduler.notices
        while notices and not run.stopping:
            kind, index, subject = notices.pop(0)
            if kind == "hold":
                run.host.add_timer(cast("float", subject), Due.RELEASE, index)
                continue
            error = self._own(index, cast("BaseException", subject))
            if isinstance(error, Exception):
                await self._decide(index, error, may_retry=False)
            elif error is not None:
                run.interrupt(index, error)


def _close(body: Any) -> None:  # noqa: ANN401 - a coroutine, or nothing yet
    """Close a coroutine that was dropped before its end; one that has ended is closed already."""
    if body is not None:
        body.close()


def _no_generator(run: "Runner", index: int, artifact: object) -> GeneratorReturned:
    return GeneratorReturned(
        f"{run.scheduler.name_of(index)!r} returned a {type(artifact).__name__}, which runs nothing by itself; "
        "return a list, or the values themselves."
    )


def _timeout(run: "Runner", index: int, raised: BaseException | None) -> LayerTimeout:
    policy = run.program.policies[run.scheduler.step_of(index)]
    error = LayerTimeout(
        f"{run.scheduler.name_of(index)!r} took longer than its timeout of {policy.timeout:g} s; "
        "give it more time with timeout=..., or let it do less."
    )
    error.__cause__ = raised if raised is not None and not is_cancellation(raised) else None
    return error
