"""Steps that are not plain: with the thread, OS process and permit they need, they become coroutines."""

from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fusynk._core.options import Policy
from fusynk._core.program import ByKeyword
from fusynk._core.wiring import Body
from fusynk._runtime.calls import Places, call_inline, call_with_executor
from fusynk._runtime.limits import LimitDesk

if TYPE_CHECKING:
    from fusynk._runtime.aftermath import Aftermath
    from fusynk._runtime.runner import Runner
    from fusynk.protocols import Executor


class MustWait(Exception):
    """A step cannot start yet."""


class Preparation:
    """Gives the steps of one run what they need, or lets them wait for it without a slot.

    Args:
        run: The run.
        executors: Where its synchronous functions run, by how they are called.

    Attributes:
        limits: Where its permits are taken.
    """

    def __init__(self, run: "Runner", executors: "Mapping[Body, Executor]") -> None:
        settings = run.program.settings
        self._run = run
        self._executors = executors
        threads = Places(settings.threads, executors[Body.THREAD], run.scheduler)
        self._places: dict[int, Places] = {Body.THREAD: threads, Body.THREAD_RESOURCE: threads}
        if Body.SUBPROCESS in executors:
            self._places[Body.SUBPROCESS] = Places(settings.processes, executors[Body.SUBPROCESS], run.scheduler)
        self.limits = LimitDesk(run)

    def prepare(self, index: int) -> Coroutine[Any, Any, object]:
        """Return the coroutine of a step.

        Raises:
            MustWait: The step must wait for something; it becomes ready again when that is there.
            BaseException: What the function raised when it was called.
        """
        run = self._run
        program, step = run.program, run.scheduler.step_of(index)
        if index >= len(run.records.started):
            run.records.grow()
        run.records.note_start(index, run.clock())
        body, policy = program.bodies[step], program.policies[step]
        try:
            self._take_what_it_needs(index, step, self._places.get(body), policy)
            call = self._call_of(index, step, body, policy)
        except MustWait:
            run.records.take_back_start(index)
            raise
        except BaseException:
            self.limits.give_back(index)
            self._tell_started(index)
            raise
        self._tell_started(index)
        return call if policy.limit is None else self.limits.hold(index, policy.limit, call)

    def _tell_started(self, index: int) -> None:
        if self._run.bus is not None:
            self._run.bus.note_started(index)

    def _take_what_it_needs(self, index: int, step: int, places: Places | None, policy: Policy) -> None:
        """Take a thread or an OS process, then a permit, which counts a start; or let the step wait."""
        if places is not None and not places.take(index):
            raise MustWait
        if policy.limit is not None and not self.limits.take(index, step, policy.limit, policy.weight, places):
            if places is not None:
                places.release()
            raise MustWait

    def _call_of(self, index: int, step: int, body: int, policy: Policy) -> Coroutine[Any, Any, object]:
        """Return the call of a step's function with its arguments."""
        run = self._run
        getter = run.program.getters[step]
        values: Sequence[object] = ()
        if getter is not None and index == step:
            values = getter(run.scheduler.cells)
        elif run.program.wiring.parameters[step]:
            values = run.scheduler.arguments(index)
        function = run.program.functions[step]
        match body:
            case Body.COROUTINE:
                return cast("Coroutine[Any, Any, object]", function(*values))
            case Body.THREAD | Body.SUBPROCESS:
                if isinstance(function, ByKeyword):  # a subprocess imports what it calls, so it must be the function
                    function, values = function.bound(values)
                return call_with_executor(
                    self._executors[Body(body)],
                    function,
                    values,
                    abandon=policy.abandon_on_timeout,
                    release=self._places[body].release,
                    leave=partial(run.note_abandoned, index),
                )
            case Body.RESOURCE:
                return cast("Aftermath", run.aftermath).open(index, function, values)
            case Body.THREAD_RESOURCE:
                return cast("Aftermath", run.aftermath).open(index, function, values, place=self._places[body])
            case _:
                return call_inline(function, values)
