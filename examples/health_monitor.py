"""Watches services: each is checked every so often, a master looks at the checks, and a pool repairs what is down.

    python examples/health_monitor.py
    python examples/health_monitor.py --simulate --every 30 --rounds 20

A check is a worker that fails when its service is down. The master worker asks the manager what has become of the
checks, reports milestones of what went down and came back, and adds repairs to a worker pool. The pool has one slot
while all is well, and up to three while services wait for repair; a repair that runs is never ended by that. Alerts
are printed as they are told, the dashboard ends it.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import anyio
from scripts import Parser, leave_with

from fusynk import Graph, Manager, milestone
from fusynk.manager.events import ManagerEvent, MilestoneReached, ScheduleEnded
from fusynk.manager.piece import Piece
from fusynk.manager.pool import Pool
from fusynk.manager.pool_events import PieceSucceeded, PoolResized
from fusynk.manager.snapshot import Snapshot
from fusynk.testing import run_virtual

NAMES = ("database", "api", "search", "cache")
MOST_REPAIRS = 3  # at a time


class ServiceDown(Exception):
    """A service does not answer."""


@dataclass(slots=True)
class Service:
    """A service that breaks now and then, and stays down until it is repaired.

    Attributes:
        name: Its name.
        seconds: How long a repair takes.
        luck: Says at each check whether it breaks.
        is_up: Whether it answers.
    """

    name: str
    seconds: float
    luck: Random
    is_up: bool = True

    async def check(self) -> None:
        """Asks whether it is there.

        Raises:
            ServiceDown: It is not.
        """
        await anyio.sleep(0.01)
        if self.luck.random() < 0.15:  # noqa: PLR2004 - how often services break
            self.is_up = False
        if not self.is_up:
            raise ServiceDown(f"{self.name} does not answer")

    async def repair(self) -> None:
        """Brings it back."""
        await anyio.sleep(self.seconds)
        self.is_up = True


@dataclass(slots=True)
class Master:
    """Looks at the checks, which are units of the same manager.

    Attributes:
        manager: Knows what has become of the checks.
        pool: Where repairs run.
        services: The services by the name of their check.
        down: The checks that failed when it looked last.
        repairs: The last repair of each service, by its check.
    """

    manager: Manager
    pool: Pool
    services: dict[str, Service]
    down: set[str] = field(default_factory=set[str])
    repairs: dict[str, Piece[None]] = field(default_factory=dict[str, Piece[None]])

    @property
    def in_repair(self) -> set[str]:
        """The checks of the services whose repair waits or goes on."""
        return {check for check, piece in self.repairs.items() if piece.status in {"waiting", "running"}}

    async def look(self) -> None:
        """Reports what went down and what came back, and has repaired what is down."""
        units = self.manager.snapshot().units
        # Not by status: a check may be running at this moment, and would look well.
        failing = {check for check in self.services if units[check].last_error is not None}
        for check in sorted(failing - self.down):
            milestone("service-down", service=self.services[check].name)
        for check in sorted(self.down - failing):
            milestone("service-up", service=self.services[check].name)
        self.down = failing
        for check in sorted(failing - self.in_repair):
            self._add_repair(check)
        self.pool.resize(min(MOST_REPAIRS, max(1, len(failing))))

    def _add_repair(self, check: str) -> None:
        service = self.services[check]

        async def repair() -> None:
            await service.repair()
            await self.manager.run(
                check
            )  # now, and not when its schedule comes round; a repair that did not help fails

        # A check that is running at this moment is refused with UnitRunning, so that counts as not repaired, too.
        self.repairs[check] = self.pool.add(
            f"repair {service.name}", repair, retries=3, retry_delay=service.seconds / 10
        )


def told(event: ManagerEvent) -> str | None:
    """Returns a fact as words, if it is one to be printed."""
    match event:
        case MilestoneReached(name="service-down", values=values):
            return f"ALERT: {values['service']} is down"
        case MilestoneReached(name="service-up", values=values):
            return f"{values['service']} is back"
        case PieceSucceeded(piece=piece, duration=seconds):
            return f"{piece} took {seconds:.2f} s"
        case PoolResized(former=former, size=size):
            return f"slots for repairs: {size}, before {former}"
        case _:
            return None


async def watch(every: float, rounds: int, seed: int, wall_clock: Callable[[], float]) -> Snapshot:
    """Watches the services until the master has looked so many times, and returns what the manager is like then."""
    manager = Manager(wall_clock=wall_clock)
    services = [Service(name, 1.5 * every, Random(f"{seed}/{name}")) for name in NAMES]
    master = Master(manager, manager.pool(1, name="repairs"), {f"check {one.name}": one for one in services})
    units = Graph("health")  # units that are made here, and not for the whole module
    for check, service in master.services.items():
        manager.register(units.worker(service.check, name=check, every=every))
    manager.register(units.worker(master.look, name="master", every=every, max_runs=rounds))

    began, over = wall_clock(), anyio.Event()

    def show(event: ManagerEvent) -> None:
        if isinstance(event, ScheduleEnded):  # the master's: checks go on for ever
            over.set()
        if (text := told(event)) is not None:
            print(f"{event.time - began:6.2f} s  {text}", flush=True)

    manager.subscribe(show)
    async with manager:
        await over.wait()
        await master.pool.join()
        await anyio.sleep(every / 2)  # between two checks
        print(f"\n{manager.dashboard(width=100)}\n")
        return manager.snapshot()


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Watch services, and repair what is down.")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between two checks (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=12, help="how often the master looks (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="of the services' luck (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="in virtual time: no waiting")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if not 0.05 <= options.every <= 3600 or options.rounds < 1:  # noqa: PLR2004 - a check takes a moment
        parser.error("--every must be from 0.05 to 3600 seconds, and --rounds 1 or more")
    given = options.every, options.rounds, options.seed
    if options.simulate:
        snapshot = run_virtual(watch, *given, anyio.current_time)
    else:
        snapshot = anyio.run(watch, *given, time.time)
    print("Repairs:", *(f"  {piece.name}: {piece.status}" for piece in snapshot.pools["repairs"].ended), sep="\n")
    return 0


if __name__ == "__main__":
    leave_with(main)
