"""Counts on: run it again, and the count goes on where it was, whatever ended it.

    python examples/persistent_counter.py counter.db
    python examples/persistent_counter.py counter.db --runs 1000 &
    kill -9 %1
    python examples/persistent_counter.py counter.db

The manager keeps the state of its units in a SQLite file, and writes it before anybody learns of it: each run that is
printed as kept is in the file, even if the process is killed at that moment. The run that was going on then is
reported at the next start, and counts as begun. Nothing of it is run again by itself; what it had done is the body's
own business.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
from scripts import Parser, leave_with

from fusynk import Manager, worker
from fusynk.errors import StoreError
from fusynk.manager.entry import UnitState
from fusynk.manager.events import ManagerEvent, UnitInterrupted
from fusynk.manager.sqlite import SqliteStore
from fusynk.testing import run_virtual


@worker(description="counts; its count is that of its runs")
async def counter(seconds: float) -> None:
    """Takes some time."""
    await anyio.sleep(seconds)


def report(event: ManagerEvent) -> None:
    """Prints that the process died while a unit was running."""
    if not isinstance(event, UnitInterrupted):
        return
    began = "an unknown time" if event.started is None else f"{datetime.fromtimestamp(event.started, UTC):%F %T} UTC"
    print(f"Interrupted: {event.unit} was running when its process died; that run began at {began}.", flush=True)


def line(state: UnitState) -> str:
    """Returns what is known of a unit."""
    return f"{state.runs} runs, {state.failures} failed, status {state.status}"


async def count_on(path: Path, runs: int, seconds: float) -> UnitState:
    """Runs the counter some times more, and returns its state.

    Raises:
        StoreError: The file cannot be used; it says why, and the file is left as it is.
    """
    manager = Manager(counter, store=SqliteStore(path), wall_clock=time.time)
    manager.subscribe(report)
    async with manager:
        print(f"Before: {line(manager.get(counter))}.", flush=True)
        for _ in range(runs):
            await manager.run(counter, seconds=seconds)  # returns when the end of the run is in the file
            print(f"Kept: run {manager.get(counter).runs}.", flush=True)
        return manager.get(counter)


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Count on where the last run of this script ended.")
    parser.add_argument("file", type=Path, nargs="?", default=Path("counter.db"), help="(default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="how often it counts (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long each takes (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="in virtual time: no waiting")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.runs < 0 or not 0 <= options.seconds <= 3600:  # noqa: PLR2004 - an hour
        parser.error("--runs must be 0 or more, and --seconds from 0 to 3600")
    try:
        state = (run_virtual if options.simulate else anyio.run)(count_on, options.file, options.runs, options.seconds)
    except StoreError as error:
        parser.error(str(error))
    print(f"After: {line(state)}. Run this again, and it counts on.")
    return 0


if __name__ == "__main__":
    leave_with(main)
