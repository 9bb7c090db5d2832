"""The inside of a run: what its bodies see of it, each in a context of its own, and what they report."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from fusynk._core.current import RUN, STEP, RunningSteps, StepContext
from fusynk._core.model import Milestone
from fusynk._runtime.backend import loop_poster
from fusynk.errors import NestingTooDeep
from fusynk.protocols import Instrument

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner

MOST_NESTED = 100


class Inside:
    """What a run is for its bodies.

    Args:
        run: The run. Its scheduler and records are asked when a body runs.
        run_id: Its id.
        instruments: What is told when a body is entered.

    Attributes:
        run_id: The id of the run.
        parent_id: The id of the run in whose step this one was started, or `None`.
        depth: How many runs this one is nested in.
        context: What the contexts of bodies are copied from.
        enter: What prepares the context of a body, called inside it.

    Raises:
        NestingTooDeep: Deeper than any program means to.
    """

    def __init__(self, run: "Runner", run_id: str, instruments: Sequence[Instrument]) -> None:
        outer = RUN.get()
        self._run = run
        self._instruments = tuple(instruments)
        self._loop_thread = threading.get_ident()
        self._post = loop_poster()
        self.run_id = run_id
        self.parent_id = outer.run_id if outer is not None else None
        self.depth = _depth_inside(outer)
        self.enter: Callable[[int], object] = self._enter if self._instruments else STEP.set
        self.context = copy_context()
        self.context.run(RUN.set, self)
        self.context.run(STEP.set, None)

    def _enter(self, index: int) -> None:
        STEP.set(index)
        run = self._run
        name, attempt = run.scheduler.name_of(index), run.records.attempt_of(index)
        for instrument in self._instruments:
            try:
                instrument.enter(name, attempt)
            except Exception as error:  # noqa: BLE001 - it is logged; looking on must not hurt a run
                run.warn(index, f"An instrument raised {type(error).__name__}; the run goes on")

    def context_of(self, index: int) -> Context:
        """Return a fresh context for a step, as its body gets one."""
        context = self.context.copy()
        context.run(STEP.set, index)
        return context

    def ask(self, step: int, function: Callable[[object], object], value: object) -> object:
        """Call a function of the user's that belongs to a step, such as its condition."""
        return self.context_of(step).run(function, value)

    def describe_step(self, index: int) -> StepContext:
        """Return what the body of a step may know."""
        return StepContext(
            run_id=self.run_id,
            name=self._run.scheduler.name_of(index),
            attempt=self._run.records.attempt_of(index),
            _asked_to_stop=partial(self._is_asked_to_stop, index),
        )

    def _is_asked_to_stop(self, index: int) -> bool:
        slot = self._run.suspended.get(index)
        return self._run.stopping or (slot is not None and slot.timed_out)

    def note_milestone(self, index: int, name: str, values: Mapping[str, object]) -> None:
        """Keep what a body reports, from any thread, and tell it."""
        run = self._run
        step = run.scheduler.name_of(index)
        run.records.milestones.append(Milestone(step, name, MappingProxyType(dict(values)), run.clock()))
        if run.bus is not None:
            self.call_in_loop(partial(run.tell, "MilestoneReached", step, name, values))

    def call_in_loop(self, function: Callable[[], object]) -> None:
        """Call a function where the run lives: at once if that is this thread."""
        if threading.get_ident() == self._loop_thread:
            function()
            return
        with suppress(RuntimeError):  # the loop has ended; a thread was left behind
            self._post(function)


def _depth_inside(outer: RunningSteps | None) -> int:
    depth = 1 if outer is None else outer.depth + 1
    if depth > MOST_NESTED:
        message = f"Runs are nested more than {MOST_NESTED} deep; a plan most likely starts itself."
        raise NestingTooDeep(message)
    return depth
