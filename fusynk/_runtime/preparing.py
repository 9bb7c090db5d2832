"""Steps that are not plain: with the thread, OS process and permit they need, they become coroutines."""

from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fusynk._core.options import Policy
from fusynk._core.wiring import Body
from fusynk._runtime.calls import Permits, call_inline, call_with_executor
from fusynk._runtime.limits import LimitDesk

if TYPE_CHECKING:
    from fusynk._runtime.aftermath import Aftermath
    from fusynk._runtime.runner import Runner
    from fusynk.protocols import Executor


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
        threads = Permits(settings.threads, executors[Body.THREAD], run.scheduler)
        self._places = {Body.THREAD: threads, Body.THREAD_RESOURCE: threads}
        if Body.SUBPROCESS in executors:
            self._places[Body.SUBPROCESS] = Permits(settings.processes, executors[Body.SUBPROCESS], run.scheduler)
        self.limits = LimitDesk(run)

    def prepare(self, index: int) -> Coroutine[Any, Any, object] | None:
        """Return the coroutine of a step, or `None` if it must wait for something.

        Raises:
            BaseException: What the function raised when it was called.
        """
        run = self._run
        program, step = run.program, run.scheduler.step_of(index)
        if index >= len(run.records.started):
            run.records.grow()
        run.records.note_start(index, run.clock())
        body, policy = Body(program.bodies[step]), program.policies[step]
        place = self._places.get(body)
        if place is not None and not place.take(index):
            run.records.take_back_start(index)
            return None
        if policy.limit is None:
            return self._call_of(index, step, body, policy)
        if not self.limits.take(index, step, policy.limit, policy.weight):
            if place is not None:
                place.release()
            run.records.take_back_start(index)
            return None
        try:
            return self.limits.hold(index, policy.limit, self._call_of(index, step, body, policy))
        except BaseException:
            self.limits.give_back(index)
            raise

    def _call_of(self, index: int, step: int, body: Body, policy: Policy) -> Coroutine[Any, Any, object]:
        """Return the call of a step's function with its arguments."""
        run = self._run
        getter = run.program.getters[step]
        if getter is not None and index == step:
            values: Sequence[object] = getter(run.scheduler.cells)
        else:
            values = run.scheduler.arguments(index)
        function = run.program.functions[step]
        match body:
            case Body.COROUTINE:
                return cast("Coroutine[Any, Any, object]", function(*values))
            case Body.THREAD | Body.SUBPROCESS:
                return call_with_executor(
                    self._executors[body],
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
