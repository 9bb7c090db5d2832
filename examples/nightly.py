"""Brings a film catalogue up to date at night: a process of processes in all four run modes, on a cron schedule.

    python examples/nightly.py
    python examples/nightly.py --simulate

The first has nights of a second, three of them. The second passes three nights in Berlin in virtual time, of which
the first is the one in which the clocks are put forward: 02:30 does not exist then, and the process runs at the end
of the gap. A film that the service does not have fails alone: the rest of the night goes on, and a milestone says
what is missing.

    nightly         sequential    one after the other
      fetch         parallel      all at once
      index         batched       two at a time
      tidy          isolated      one by one, with a pause between
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

import anyio
from scripts import Parser, leave_with

from fusynk import Batch, Manager, Run, backoff, milestone, process, run_items, use, worker
from fusynk.errors import DeclarationError
from fusynk.manager.events import MilestoneReached, UnitCompleted, UnitFailed, UnitStarted
from fusynk.testing import run_virtual

BERLIN = "Europe/Berlin"
EVERY_SECOND, AT_NIGHT = "* * * * * *", "30 2 * * *"
EVENING = datetime(2026, 3, 28, 22, 0, tzinfo=ZoneInfo(BERLIN))  # of the night in which the clocks are put forward
TITLES = {"tt1375666": "Inception", "tt0133093": "The Matrix", "tt0068646": "The Godfather"}


class UnknownFilm(LookupError):
    """The service has no such film."""


@dataclass(frozen=True, slots=True)
class Film:
    """What the service says of a film."""

    key: str
    title: str


# Stage 1, in parallel. Members of a process are workers like any others.
async def look_up(key: str) -> Film:
    """Asks the service for one film."""
    await anyio.sleep(0.05)
    if key not in TITLES:
        raise UnknownFilm(f"the service knows no film {key}")
    return Film(key, TITLES[key])


@worker(retries=1)  # of the worker as a whole; the films have retries of their own
async def fetch_films() -> Batch[Film]:
    """Returns the films that could be had. One that could not stops no other one."""
    wanted = [*TITLES, "tt9999999"]
    films = await run_items(wanted, look_up, key=str, retries=2, retry_delay=backoff(0.02), concurrency=4)
    milestone("films-fetched", percent=round(films.success_percentage), missing=", ".join(map(str, films.failures)))
    return films


@worker
async def fetch_prices() -> int:
    """Returns the price of a ticket in cents."""
    await anyio.sleep(0.05)
    return 1250


fetch = process("fetch", fetch_films, fetch_prices, mode="parallel")


# Stage 2, two at a time: indexing is hard on the disk.
@worker
async def index_titles(films: Batch[Film] = use(fetch_films)) -> int:
    """Returns how many titles can be searched for."""
    await anyio.sleep(0.05)
    return len(films)


@worker
async def index_words(films: Batch[Film] = use(fetch_films)) -> int:
    """Returns how many words can be searched for."""
    await anyio.sleep(0.05)
    return len({word for film in films for word in film.title.lower().split()})


@worker
async def index_prices(cents: int = use(fetch_prices), films: Batch[Film] = use(fetch_films)) -> int:
    """Returns what all films cost together."""
    await anyio.sleep(0.05)
    return cents * len(films)


index = process("index", index_titles, index_words, index_prices, mode="batched", size=2)


# Stage 3, one by one, with a pause in which others get at the database.
@worker
async def remove_orphans() -> None:
    """Removes what nothing points at."""
    await anyio.sleep(0.02)


@worker
async def compact() -> None:
    """Gives free what was removed."""
    await anyio.sleep(0.02)


tidy = process("tidy", remove_orphans, compact, mode="isolated", delay=0.05)


@process(fetch, index, tidy, mode="sequential")
async def nightly(titles: int = use(index_titles), words: int = use(index_words)) -> str:
    """The function of a process runs last, and its artifact is that of the process."""
    return f"{titles} titles and {words} words can be searched for"


@dataclass(slots=True)
class Nights:
    """Prints what happens in the nights, with the time in Berlin, and tells when they are over.

    Attributes:
        to_come: How many are not over yet.
        over: Set when none is left.
    """

    to_come: int
    over: anyio.Event

    def hear(self, event: object) -> None:
        """Prints a fact of a manager. What this raises is the manager's to count, so what must be done comes first."""
        match event:
            case UnitStarted(is_scheduled=True):
                self._print(event.time, f"{event.unit} starts")
            case MilestoneReached(name="films-fetched", values=values):
                self._print(event.time, f"{values['percent']} % of the films were had; missing: {values['missing']}")
            case UnitCompleted() | UnitFailed():
                self.to_come -= 1
                if self.to_come <= 0:
                    self.over.set()
                how = "is done" if isinstance(event, UnitCompleted) else f"failed: {event.error}"
                self._print(event.time, f"{event.unit} {how} after {event.duration:.2f} s")
            case _:
                pass

    @staticmethod
    def _print(seconds: float, text: str) -> None:
        print(f"{datetime.fromtimestamp(seconds, ZoneInfo(BERLIN)):%a %d %b %H:%M:%S %Z}  {text}", flush=True)


async def pass_nights(cron: str, nights: int, wall_clock: Callable[[], float]) -> Run[str]:
    """Runs the process once now and then in some nights, and returns the first run.

    Raises:
        DeclarationError: The cron expression is none, or nothing can read it.
    """
    manager = Manager(nightly, timezone=BERLIN, wall_clock=wall_clock)
    manager.update(nightly, cron=cron)
    await manager.run(nightly)  # an operator may run it at any time
    first = cast("Run[str]", manager.last_run(nightly))
    seen = Nights(nights, anyio.Event())
    manager.subscribe(seen.hear)
    async with manager:
        await seen.over.wait()
    return first


def virtual_clock() -> float:
    """Returns the time where time is virtual."""
    return EVENING.timestamp() + anyio.current_time()


def together(run: Run[str]) -> Iterator[str]:
    """Yields the workers in order of start, with when they ran."""
    records = run.attempts()
    began = min(record.started for record in records)
    for record in records:
        yield f"  {record.started - began:5.2f} to {record.ended - began:5.2f} s  {record.step}"


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Bring a film catalogue up to date at night.")
    parser.add_argument(
        "--cron", help=f'when, on clocks in Berlin (default: "{EVERY_SECOND}", "{AT_NIGHT}" if simulated)'
    )
    parser.add_argument("--nights", type=int, default=3, help="how often, before it ends (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="in virtual time, from the evening of 28 March 2026")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command."""
    parser = command_line()
    options = parser.parse_args(arguments)
    if options.nights < 1:
        parser.error(f"--nights must be 1 or more, not {options.nights}")
    try:
        if options.simulate:
            run = run_virtual(pass_nights, options.cron or AT_NIGHT, options.nights, virtual_clock)
        else:
            run = anyio.run(pass_nights, options.cron or EVERY_SECOND, options.nights, time.time)
    except DeclarationError as error:  # no cron expression, or cronsim is not installed
        parser.error(str(error))
    print(f"\nThe run on demand before that: {run.result}.", *together(run), sep="\n")
    return 0


if __name__ == "__main__":
    leave_with(main)
