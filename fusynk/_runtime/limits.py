"""Limits at run time: one state a limit and event loop, and the desk where the steps of a run ask for permits."""

from collections.abc import Coroutine, Mapping
from contextvars import ContextVar
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from anyio.lowlevel import RunVar

from fusynk._core.limits import Limit
from fusynk._core.permits import Lane, Permits, Ticket
from fusynk._runtime.timers import Due

if TYPE_CHECKING:
    from fusynk._runtime.calls import Places
    from fusynk._runtime.runner import Runner

_NONE: Final[Mapping[Limit, Ticket]] = MappingProxyType({})
_ON_THIS_LOOP: Final = RunVar[dict[Limit, Permits]]("fusynk_permits")
# The permits of the running body and of the runs around it; a nested run starts in the context of the body around it.
_AROUND: ContextVar[Mapping[Limit, Ticket]] = ContextVar("fusynk_permits_around", default=_NONE)


def permits_of(limit: Limit) -> Permits:
    """Return the permits of a limit on the running event loop."""
    try:
        known = _ON_THIS_LOOP.get()
    except LookupError:
        known = dict[Limit, Permits]()
        _ON_THIS_LOOP.set(known)
    found = known.get(limit)
    if found is None:
        found = known[limit] = Permits(limit)
    return found


class _Slots:
    """The slots of a run, and perhaps its threads or OS processes, as the place where steps start.

    Args:
        run: The run.
        permits: Whose reminders it takes.
        places: The threads or OS processes that a step needs, too.
    """

    def __init__(self, run: "Runner", permits: Permits, places: "Places | None") -> None:
        self._run = run
        self._permits = permits
        self._places = places

    def holds(self, steps: int) -> bool:
        """Tell whether so many steps could start now."""
        run = self._run
        free = run.program.settings.concurrency - len(run.suspended) - run.concluding
        return steps <= free and (self._places is None or self._places.holds(steps))

    def come_back(self, when: float) -> None:
        """Have the limit served again at a time."""
        self._run.host.add_timer_at(when, Due.LIMIT, self._permits)


class LimitDesk:
    """Takes and gives back the permits of one run. A step that waits for one holds no slot.

    Args:
        run: The run.

    Attributes:
        pending: The tickets of steps that have asked and not begun.
    """

    def __init__(self, run: "Runner") -> None:
        self._run = run
        self._around = _AROUND.get()
        self._lanes: dict[int, tuple[Permits, Lane]] = {}
        self._shared: dict[tuple[int, int], tuple[Permits, Lane]] = {}
        self._begun: dict[int, Ticket] = {}
        self._in_ready: set[int] = set()
        self.pending: dict[int, Ticket] = {}

    def take(self, index: int, step: int, limit: Limit, weight: int, places: "Places | None") -> bool:
        """Begin with a permit for a step, or let the step wait for one.

        Args:
            index: The step or item.
            step: The step, which knows the limit of its items.
            limit: The limit.
            weight: How much of its concurrency it takes.
            places: The threads or OS processes that the step needs, too.
        """
        now = self._run.clock()
        permits, lane = self._lanes.get(step) or self._lane_of(step, limit, places)
        ticket = self.pending.pop(index, None)
        if ticket is None:
            ticket = permits.ask(lane, weight, partial(self._resume, index), now)
        self._in_ready.discard(index)
        if not ticket.is_granted:
            self.pending[index] = ticket
            return False
        self._begun[index] = ticket
        permits.begin(ticket, now)
        return True

    def _lane_of(self, step: int, limit: Limit, places: "Places | None") -> tuple[Permits, Lane]:
        """Return where the steps of this run wait for a limit; those that need the same wait in one lane."""
        key = id(limit), id(places)
        found = self._shared.get(key)
        if found is None:
            permits = permits_of(limit)
            lane = Lane(_Slots(self._run, permits, places), permits, self._around.get(limit))
            found = self._shared[key] = permits, lane
        self._lanes[step] = found
        return found

    def _resume(self, index: int) -> None:
        """Let a step start that has been granted its permit; it may be among the ready ones from a former grant."""
        if index not in self._in_ready:
            self._in_ready.add(index)
            self._run.resume(index)

    async def hold(self, index: int, limit: Limit, body: Coroutine[Any, Any, object]) -> object:
        """Run a body, and give its permit back when it has ended."""
        _AROUND.set({**self._around, limit: self._begun[index]})
        try:
            return await body
        finally:
            # Its slot is about to be free, which who waits may need to know.
            self._run.suspended.pop(index, None)
            self.give_back(index)

    def give_back(self, index: int) -> None:
        """Give a step's permit back, or its place in the queue."""
        ticket = self._begun.pop(index, None) or self.pending.pop(index, None)
        if ticket is not None:
            self._unpark()
            permits, _ = self._lanes[self._run.scheduler.step_of(index)]
            permits.give_back(ticket, self._run.clock())

    def reconsider(self) -> None:
        """Serve again, because slots of this run were taken or have become free."""
        now = self._run.clock()
        self._unpark()
        for permits in {permits for permits, _ in self._shared.values()}:
            permits.serve(now)

    def _unpark(self) -> None:
        for permits, lane in self._shared.values():
            permits.unpark(lane)

    def withdraw(self) -> None:
        """Give back what has not begun: the run starts nothing more."""
        for index in list(self.pending):
            self.give_back(index)
