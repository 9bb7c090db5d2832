"""Limits at run time: one state a limit and event loop, and the desk where the steps of a run ask for permits."""

from collections.abc import Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anyio.lowlevel import RunVar

from fusynk._core.limits import Limit, LimitState, Ticket
from fusynk._runtime.timers import Due

if TYPE_CHECKING:
    from fusynk._runtime.runner import Runner

_STATES: Final = RunVar[dict[Limit, LimitState]]("fusynk_limits")
# What the running body and the runs around it hold; a nested run starts in the context of the body that started it.
_HELD: ContextVar[frozenset[Limit]] = ContextVar("fusynk_held_limits", default=frozenset())


def state_of(limit: Limit) -> LimitState:
    """Return the state of a limit on the running event loop."""
    try:
        states = _STATES.get()
    except LookupError:
        states = dict[Limit, LimitState]()
        _STATES.set(states)
    found = states.get(limit)
    if found is None:
        found = states[limit] = LimitState(limit)
    return found


@dataclass(slots=True, eq=False)
class _Permit:
    """What one step has asked of its limit: it waits (with a ticket), has been granted a permit, or has begun."""

    run: "Runner"
    index: int
    state: LimitState
    weight: int
    ticket: Ticket | None = None
    begun: bool = False

    def grant(self) -> None:
        """Let the step become ready again."""
        self.ticket = None
        self.run.resume(self.index)

    def come_back(self, when: float) -> None:
        """Have the state served again."""
        self.run.host.add_timer_at(when, Due.LIMIT, self.state)


class LimitDesk:
    """Takes and gives back the permits of one run. A step that waits for one holds no slot.

    Args:
        run: The run.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._held = _HELD.get()
        self._permits: dict[int, _Permit] = {}
        self._states: dict[int, LimitState] = {}

    def take(self, index: int, step: int, limit: Limit, weight: int) -> bool:
        """Begin with a permit for a step, or let the step wait for one.

        Args:
            index: The step or item.
            step: The step, which knows the limit of its items.
            limit: The limit.
            weight: How much of its concurrency it takes.
        """
        now = self._run.clock()
        permit = self._permits.get(index)
        if permit is not None:
            permit.begun = True
            permit.state.begin(now)
            return True
        state = self._states.get(step)
        if state is None:
            state = self._states[step] = state_of(limit)
        # The runs around this one hold the concurrency already; only the rate is asked again.
        permit = _Permit(self._run, index, state, 0 if limit in self._held else weight)
        self._permits[index] = permit
        if state.take(permit.weight, now):
            permit.begun = True
            return True
        permit.ticket = state.wait(permit, permit.weight, now)
        return False

    async def hold(self, index: int, limit: Limit, body: Coroutine[Any, Any, object]) -> object:
        """Run a body, and give its permit back when it has ended."""
        _HELD.set(self._held | {limit})
        try:
            return await body
        finally:
            self.give_back(index)

    def give_back(self, index: int) -> None:
        """Give a step's permit back, or its place in the queue."""
        permit = self._permits.pop(index, None)
        if permit is None:
            return
        now = self._run.clock()
        if permit.ticket is not None:
            permit.state.withdraw(permit.ticket, now)
        else:
            permit.state.give_back(permit.weight, now, begun=permit.begun)

    def close(self) -> None:
        """Give back whatever the run still holds or waits for: it starts nothing more."""
        for index in list(self._permits):
            self.give_back(index)
