"""How a program listens to a manager."""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from fusynk._core.callables import called, is_coroutine_function
from fusynk.manager.events import (
    ManagerEvent,
    ManagerListener,
    MilestoneReached,
    UnitCompleted,
    UnitFailed,
    UnitStarted,
)
from fusynk.manager.listeners import Listeners

E = TypeVar("E", bound=ManagerEvent)


class Observable:
    """What a manager offers to those who listen. What a listener raises is counted and logged, and hurts nobody.

    Args:
        wall_clock: Returns the seconds since the epoch.
        is_name_of: Tells whether a name is that of a unit.
    """

    def __init__(self, wall_clock: Callable[[], float], is_name_of: Callable[[str, object], bool]) -> None:
        self._listeners = Listeners(wall_clock)
        self._is_name_of = is_name_of

    @overload
    def subscribe(self, function: ManagerListener, /) -> Callable[[], None]: ...
    @overload
    def subscribe(self, function: Callable[[E], object], kind: type[E], /, *kinds: type[E]) -> Callable[[], None]: ...
    def subscribe(self, function: Callable[[Any], object], /, *kinds: type[ManagerEvent]) -> Callable[[], None]:
        """Tell a function of events from now on, and return what ends that.

        Args:
            function: Called with each event, at once.
            kinds: Which events, as classes of `fusynk.manager.events`; all if there are none.

        Raises:
            InvalidDeclaration: It is no function, or a kind is no class of events.
        """
        return self._listeners.subscribe(function, *kinds)

    def on_start(self, function: Callable[[UnitStarted], object], *, unit: object = None) -> Callable[[], None]:
        """Call a function when a run of a unit begins, and return what ends that.

        Args:
            function: The function.
            unit: The unit or its name; left out, any.
        """
        return self._listeners.subscribe(self._only(function, unit), UnitStarted)

    def on_complete(self, function: Callable[[UnitCompleted], object], *, unit: object = None) -> Callable[[], None]:
        """Call a function when a run succeeded; see `on_start`."""
        return self._listeners.subscribe(self._only(function, unit), UnitCompleted)

    def on_error(self, function: Callable[[UnitFailed], object], *, unit: object = None) -> Callable[[], None]:
        """Call a function when a run failed for good; see `on_start`."""
        return self._listeners.subscribe(self._only(function, unit), UnitFailed)

    def on_milestone(
        self, function: Callable[[MilestoneReached], object], *, unit: object = None, name: str | None = None
    ) -> Callable[[], None]:
        """Call a function when something is reported; see `on_start`.

        Args:
            function: The function.
            unit: The unit or its name; left out, any or none.
            name: The milestone's name; left out, any.
        """
        listener = self._only(function, unit)
        if name is None or not _is_plain(function):
            return self._listeners.subscribe(listener, MilestoneReached)

        def named(event: ManagerEvent) -> None:
            if isinstance(event, MilestoneReached) and event.name == name:
                listener(event)

        named.__qualname__ = called(function)
        return self._listeners.subscribe(named, MilestoneReached)

    def _only(self, function: Callable[[Any], object], unit: object) -> ManagerListener:
        """Return a function that is called for one unit only; the same one, if it is for all."""
        if unit is None or not _is_plain(function):
            return function

        def listen(event: ManagerEvent) -> None:
            name = getattr(event, "unit", None)
            if name is not None and self._is_name_of(name, unit):  # which may be registered later
                function(event)

        listen.__qualname__ = called(function)
        return listen

    def emit_milestone(self, name: str, /, **values: object) -> None:
        """Report a named point of the program around the units. Inside a body, call `milestone()`.

        Args:
            name: The milestone's name.
            values: What is to be said of it.
        """
        self._listeners.tell(MilestoneReached, name, values)


def _is_plain(function: object) -> bool:
    return callable(function) and not is_coroutine_function(function)
