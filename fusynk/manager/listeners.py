"""Who is told of a manager's events. None of them can hurt the manager, or another one."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from loguru import logger

from fusynk._core.callables import called
from fusynk.errors import InvalidDeclaration, shown
from fusynk.manager.events import ManagerEvent, ManagerListener


class Listeners:
    """Tells events to functions, in order, each with the next number.

    What follows from a listener's own calls is told after the event that it was told, not within.

    Args:
        wall_clock: Seconds since the epoch.

    Attributes:
        failures: How often listeners have raised, by name.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._numbers = count(1)
        self._listeners: dict[object, tuple[ManagerListener, tuple[type[ManagerEvent], ...]]] = {}
        self._late: deque[ManagerEvent] = deque()
        self._is_telling = False
        self.failures: dict[str, int] = {}

    def subscribe(self, function: ManagerListener, *kinds: type[ManagerEvent]) -> Callable[[], None]:
        """Tell a function of events from now on, and return what ends that.

        Args:
            function: Called with each event, at once.
            kinds: Which events; all if there are none.

        Raises:
            InvalidDeclaration: It is no function, or a kind is no class of events.
        """
        if not callable(function):
            message = f"subscribe() takes a function of one event, not {shown(function)}."
            raise InvalidDeclaration(message)
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, ManagerEvent)):
                message = f"subscribe() takes classes of fusynk.manager.events after the function, not {shown(kind)}."
                raise InvalidDeclaration(message)
        key = object()
        self._listeners[key] = function, kinds or (ManagerEvent,)
        return lambda: self._forget(key)

    def _forget(self, key: object) -> None:
        self._listeners.pop(key, None)

    def tell(self, kind: type[ManagerEvent], *facts: object) -> None:
        """Number an event, and tell it if anybody listens.

        Args:
            kind: Its class.
            facts: Its own fields, in order.
        """
        number = next(self._numbers)
        if not self._listeners:
            return
        self._late.append(kind(number, self._wall_clock(), *facts))
        if not self._is_telling:
            self._is_telling = True
            try:
                self._catch_up()
            finally:
                self._is_telling = False

    def _catch_up(self) -> None:
        while self._late:
            event = self._late.popleft()
            for function, kinds in tuple(self._listeners.values()):
                if isinstance(event, kinds):
                    self._call(function, event)

    def _call(self, function: ManagerListener, event: ManagerEvent) -> None:
        try:
            function(event)
        except Exception as error:  # noqa: BLE001 - counted and logged; it must not hurt the others
            self._note_failure(function, error)

    def _note_failure(self, function: ManagerListener, error: Exception) -> None:
        """Count what a listener raised, and log it at the first, tenth, hundredth time."""
        name = called(function)
        failures = self.failures[name] = self.failures.get(name, 0) + 1
        if str(failures).strip("0") == "1":
            with suppress(Exception):  # a sink that raises must not hurt the manager either
                message = "A listener of a manager raised {} ({} so far); the manager goes on"
                logger.bind(subscriber=name).warning(message, type(error).__name__, failures)
