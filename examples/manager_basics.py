"""Keeps a lighthouse: one worker on a schedule, one on demand, one that fails, and an operator who changes things.

    python examples/manager_basics.py

The lamp flashes by its schedule, the forecast is made when somebody asks, and the foghorn has no air. Meanwhile the
lamp is paused, resumed and told to flash faster. Each fact is printed when it is told, after the seconds since the
start; the dashboard ends it. It takes about three seconds; with `--simulate` time is virtual, and nobody waits.
"""

import time
from collections.abc import Callable, Sequence

import anyio
from scripts import Parser, leave_with

from fusynk import Manager, worker
from fusynk.errors import UnitPaused
from fusynk.manager import events
from fusynk.manager.snapshot import Snapshot
from fusynk.testing import run_virtual


class NoAir(RuntimeError):
    """The foghorn cannot sound."""


# The units. A worker stays a function: call it, test it, or hand it to a manager.
@worker(every=30, description="one flash of the lamp")
async def lamp() -> None:
    """Flashes."""
    await anyio.sleep(0.05)


@worker
async def forecast(hours: int = 12) -> str:
    """Returns what the weather will be."""
    await anyio.sleep(0.1)
    return f"fog within {hours} hours"


@worker(retries=1, retry_delay=0.1, retry_on=NoAir)
async def foghorn() -> None:
    """Fails, and fails again when it is retried."""
    raise NoAir("the bottle of compressed air is empty")


def told(event: events.ManagerEvent) -> str:
    """Returns a fact as words."""
    match event:
        case events.UnitStarted(unit=unit, is_scheduled=True):
            return f"{unit} started by its schedule"
        case events.UnitStarted(unit=unit):
            return f"{unit} started on demand"
        case events.UnitCompleted(unit=unit, duration=seconds):
            return f"{unit} completed after {seconds:.2f} s"
        case events.UnitFailed(unit=unit, error=kind):
            return f"{unit} failed: {kind}"
        case events.UnitEvent(unit=unit):
            return f"{unit} {type(event).__name__.removeprefix('Unit').lower()}"
        case _:
            return type(event).__name__


async def keep(every: float, wall_clock: Callable[[], float]) -> Snapshot:
    """Keeps the lighthouse for seven intervals of its lamp, and returns what the manager is like then."""
    began = wall_clock()

    def say(text: str) -> None:
        print(f"{wall_clock() - began:6.2f} s  {text}", flush=True)

    manager = Manager(lamp, forecast, foghorn, wall_clock=wall_clock)
    manager.update(lamp, every=every)
    manager.subscribe(lambda event: say(told(event)))
    async with manager:  # schedules are kept from here on; the first flash is at once
        await anyio.sleep(2.5 * every)

        weather = await manager.run(forecast, hours=6)  # on demand; what it returns is typed
        say(f"the forecast is: {weather}")

        manager.pause(lamp)  # what its schedule calls for now passes
        await anyio.sleep(2 * every)
        try:
            await manager.run(lamp)
        except UnitPaused as error:
            say(f"refused: {error}")
        manager.resume(lamp)
        manager.update(lamp, every=every / 2)
        await anyio.sleep(1.75 * every)

        try:
            await manager.run(foghorn)
        except NoAir as error:  # the body's own error, after its retries
            say(f"whoever asked for the foghorn learns: {error}")

        print(f"\n{manager.dashboard(width=100)}\n")
        return manager.snapshot()


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Keep a lighthouse for a few seconds.")
    parser.add_argument("--every", type=float, default=0.4, help="seconds from flash to flash (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="in virtual time: no waiting")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if not 0.1 <= options.every <= 3600:  # noqa: PLR2004 - a flash takes a moment, and a keeper an hour at most
        parser.error(f"--every must be from 0.1 to 3600 seconds, not {options.every:g}")
    if options.simulate:
        snapshot = run_virtual(keep, options.every, anyio.current_time)
    else:
        snapshot = anyio.run(keep, options.every, time.time)
    flashes = snapshot.units["lamp"]
    print(f"The lamp has flashed {flashes.runs} times, of these {flashes.scheduled_runs} by its schedule.")
    return 0


if __name__ == "__main__":
    leave_with(main)
