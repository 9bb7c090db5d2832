"""Who is told of a manager's events. None of them can hurt the manager, or another one."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from threading import Lock

from loguru import logger

from fusynk._core.callables import called, is_coroutine_function
from fusynk._core.numbers import is_power_of_ten
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
        self._lock = Lock()
        self.failures: dict[str, int] = {}

    def subscribe(self, function: ManagerListener, *kinds: type[ManagerEvent]) -> Callable[[], None]:
        """Tell a function of events from now on, and return what ends that.

        Args:
            function: Called with each event, at once.
            kinds: Which events; all if there are none.

        Raises:
            InvalidDeclaration: It is no function, or a kind is no class of events.
        """
        if not callable(function) or is_coroutine_function(function):
            what = f"the async function {called(function)!r}" if callable(function) else shown(function)
            message = f"subscribe() takes a plain function of one event, not {what}."
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
        with self._lock:
            number = next(self._numbers)
            if not self._listeners:
                return
            self._late.append(kind(number, self._wall_clock(), *facts))
            if self._is_telling:
                return
            self._is_telling = True
        try:
            while (event := self._next()) is not None:
                for key in tuple(self._listeners):
                    self._call(key, event)
        except BaseException:
            self._is_telling = False  # what is left is told with the next event
            raise

    def _next(self) -> ManagerEvent | None:
        """Return what is to be told next, or stop telling."""
        with self._lock:
            if self._late:
                return self._late.popleft()
            self._is_telling = False
            return None

    def _call(self, key: object, event: ManagerEvent) -> None:
        """Call a listener that is still one. It is told no more if it raises what is no ordinary error."""
        function, kinds = self._listeners.get(key, (None, ()))
        if function is None or not isinstance(event, kinds):
            return
        try:
            function(event)
        except Exception as error:  # noqa: BLE001 - counted and logged; it must not hurt the others
            self._note_failure(function, error)
        except BaseException as error:
            self._forget(key)
            self._note_failure(function, error)
            if isinstance(error, KeyboardInterrupt):
                raise

    def _note_failure(self, function: ManagerListener, error: BaseException) -> None:
        """Count what a listener raised, and log it at the first, tenth, hundredth time."""
        name = called(function)
        failures = self.failures[name] = self.failures.get(name, 0) + 1
        if is_power_of_ten(failures):
            with suppress(Exception):  # a sink that raises must not hurt the manager either
                message = "A listener of a manager raised {} ({} so far); the manager goes on"
                logger.bind(subscriber=name).warning(message, type(error).__name__, failures)
