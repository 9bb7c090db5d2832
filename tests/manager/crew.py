"""Workers for tests of the manager: they note when they start and end, in virtual time."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import anyio
from typing_extensions import Unpack

from fusynk import Graph, Manager, Worker
from fusynk._core.registry import AnyLayer
from fusynk.manager.events import ManagerEvent, UnitEvent
from fusynk.manager.settings import ManagerOptions
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend

T = TypeVar("T")
EPOCH = 1_700_000_000.0  # a whole number of ten seconds, so that cron expressions have round times


class Declined(Exception):
    """What a body raises here."""


def wall() -> float:
    """A wall clock that goes with the clock of the running loop."""
    return EPOCH + anyio.current_time()


@dataclass
class Crew:
    """Makes workers.

    Attributes:
        graph: Where they are declared.
        made: The workers, by name; of several of one name, the last.
        started: When each body began, by name.
        ended: When each body ended, however.
        live: How many bodies of each are alive.
        most: How many of one were alive at once.
    """

    graph: Graph = field(default_factory=lambda: Graph("crew"))
    made: dict[str, AnyLayer] = field(default_factory=dict[str, AnyLayer])
    started: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    ended: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    live: dict[str, int] = field(default_factory=dict[str, int])
    most: int = 0

    def worker(
        self, name: str, seconds: float | Callable[[], float] = 0.0, error: Exception | None = None, **options: Any
    ) -> Worker[[], Coroutine[Any, Any, str], str]:
        """A worker that takes some seconds, and then returns its name or raises."""
        graph = self.graph if name not in self.made else Graph("crew again")

        @graph.worker(name=name, **options)
        async def body() -> str:
            self.started.append((name, anyio.current_time()))
            self.live[name] = self.live.get(name, 0) + 1
            self.most = max(self.most, self.live[name])
            try:
                await anyio.sleep(seconds() if callable(seconds) else seconds)
                if error is not None:
                    raise error
                return name
            finally:
                self.live[name] -= 1
                self.ended.append((name, anyio.current_time()))

        self.made[name] = body
        return body

    def starts(self, name: str) -> list[float]:
        """When the body of one began."""
        return [time for one, time in self.started if one == name]


class Told(list[ManagerEvent]):
    """The events of a manager, in order."""

    def __call__(self, event: ManagerEvent) -> None:
        self.append(event)

    def kinds(self, *names: str) -> list[str]:
        """The kinds of events in order; of these alone, if there are any."""
        found = [type(event).__name__ for event in self]
        return [kind for kind in found if not names or kind in names]

    def of(self, unit: str) -> list[str]:
        """The kinds of the events of a unit."""
        return [type(event).__name__ for event in self if isinstance(event, UnitEvent) and event.unit == unit]

    def is_without_a_hole(self) -> bool:
        """Whether the numbers go on from the first."""
        return [event.sequence for event in self] == list(range(1, len(self) + 1))


def managed(*units: object, **options: Unpack[ManagerOptions]) -> Manager:
    """A manager whose wall clock is that of the running loop."""
    return Manager(*units, **(ManagerOptions(wall_clock=wall) | options))


def told_by(manager: Manager) -> Told:
    """What a manager tells from now on."""
    told = Told()
    _ = manager.subscribe(told)
    return told


def live(function: Callable[[], Awaitable[T]], backend: Backend) -> T:
    """Run a program in virtual time."""
    return run_virtual(function, backend=backend)
