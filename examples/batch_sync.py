"""Syncs the movies of a rate-limited HTTP service into a SQLite database, twice, against a service with a bad day.

    python examples/batch_sync.py

The service (`movie_server.py`) runs in this program. It allows 150 requests a second and four at once, answers some
with 429 and a `Retry-After`, some with 500, some late, and a few movies never. A sync lists the ids in pages, fetches
every movie, and writes each as soon as it is there. Then the catalogue changes, and a second sync follows.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import anyio
from archive import Archive, Change, Failure, Movie
from movie_server import MovieServer
from movie_service import ALLOWED, AT_ONCE, WINDOW, Fate, MovieService
from scripts import Parser, leave_with

from fusynk import Backoff, Batch, LayerOptions, Limit, backoff, compile_plan, each, layer, use

RETRIES = 4
PATIENCE = 5  # seconds without a byte

# What the service allows. Every request of every sync in this event loop counts, attempts after the first as well.
movie_limit = Limit("movies", concurrency=4, rate="150/s")
# A SQLite database has one writer.
archive_limit = Limit("archive", concurrency=1)


class Unavailable(Exception):
    """The service answers, and what it says will not change."""


class TryLater(Exception):
    """The service cannot answer now.

    Attributes:
        pause: Seconds after which the service wants to be asked again; 0 if it did not say.
    """

    def __init__(self, reason: str, pause: float) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Sync:
    """Where movies come from, and where they go."""

    address: str
    database: Path


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list, as the service sends it."""

    pages: int
    total: int
    ids: Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a sync did: every id that was listed is in one of these."""

    sync: int
    listed: Sequence[int]
    changes: Mapping[int, Change]
    failures: Sequence[Failure]


def ask(address: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """Returns the JSON at a path of the service.

    Raises:
        TryLater: The service is busy or out of order.
        Unavailable: It has no such thing, or sends broken JSON.
        OSError, HTTPException: It cannot be reached, or went away.
    """
    # Not urllib: it would look for a proxy.
    with closing(HTTPConnection(address, timeout=PATIENCE)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    reason = f"{response.status} {response.reason}"
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # In seconds, as this service has it; HTTP has dates for it, too.
        raise TryLater(reason, float(response.headers.get("Retry-After", "0")))
    if response.status != HTTPStatus.OK:
        raise Unavailable(reason)
    try:
        return json.loads(body)
    except ValueError as error:
        raise Unavailable(f"broken JSON: {error}") from error


def pause_before_retry(attempt: int, error: Exception) -> float | Backoff:  # noqa: ARG001 - a backoff counts itself
    """Returns what the service asked for, or growing seconds where it did not say. Waiting holds no slot."""
    return error.pause if isinstance(error, TryLater) and error.pause else backoff(0.05, max=1)


def reason_of(error: BaseException) -> str:
    """Returns why a movie could not be had, for people."""
    reason = str(error) or type(error).__name__
    return f"{reason} after {RETRIES + 1} attempts" if isinstance(error, PASSING) else reason


PASSING = (TryLater, OSError, HTTPException)  # errors that are worth another attempt
# How every request is made. The layers are plain functions, which run in threads, so a request may block.
REQUEST: LayerOptions = {
    "limit": movie_limit,
    "retries": RETRIES,
    "retry_on": PASSING,
    "retry_delay": pause_before_retry,
}
# And where the others shall be made whatever becomes of one.
REQUEST_OF_MANY: LayerOptions = {**REQUEST, "on_error": "continue"}


@layer
def open_archive(database: Path) -> Generator[Archive, BaseException | None]:
    """The database, open while the sync lasts. It yields, so it is a resource: the rest runs however the sync ends."""
    with Archive(database) as archive:
        archive.begin_sync()
        error = yield archive
        archive.end_sync(finished=error is None)


@layer(**REQUEST)
def first_page(address: str) -> Page:
    """Asks for the first page, which knows how many there are."""
    return Page(**ask(address, "/movies?page=1"))


@layer
async def further_pages(first: Page = use(first_page)) -> Sequence[int]:
    """Returns the numbers of the other pages."""
    return range(2, first.pages + 1)


@layer.each(**REQUEST)
def list_page(address: str, number: int = each(further_pages)) -> Page:
    """Asks for one of them."""
    return Page(**ask(address, f"/movies?page={number}"))


@layer
async def movie_ids(first: Page = use(first_page), others: Batch[Page] = use(list_page)) -> Sequence[int]:
    """Returns the ids of all pages."""
    ids = [movie_id for page in (first, *others) for movie_id in page.ids]
    if not len(ids) == len(set(ids)) == first.total:
        raise Unavailable(f"the service says that it has {first.total} movies, and lists {len(set(ids))}")
    return ids


@layer.each(**REQUEST_OF_MANY)
def fetch_movie(address: str, movie_id: int = each(movie_ids)) -> Movie:
    """Asks for a movie. One that cannot be had does not keep the others from being synced."""
    film = ask(address, f"/movies/{movie_id}")
    film["genres"] = tuple(film["genres"])
    return Movie(**film)


# Item by item: a movie is written as soon as it is there, and one that failed above is not written. A sync that is
# stopped halfway has written whole movies only.
@layer.each(limit=archive_limit)
def upsert_movie(movie: Movie = each(fetch_movie), archive: Archive = use(open_archive)) -> Change:
    """Writes a movie in a transaction of its own, if it differs from what is there."""
    return archive.upsert(movie)


@layer
def summarise(
    ids: Sequence[int] = use(movie_ids),
    changes: Batch[Change] = use(upsert_movie),
    archive: Archive = use(open_archive),
) -> Summary:
    """Writes down what could not be had, and returns what became of every id."""
    failures = sorted(Failure(ids[index], reason_of(error)) for index, error in changes.failed.items())
    archive.note_failures(failures)
    by_id = {ids[index]: change for index, change in changes.succeeded.items()}
    return Summary(sync=archive.sync, listed=ids, changes=by_id, failures=failures)


sync_movies = compile_plan(summarise, inputs=Sync)


def checks(summary: Summary, service: MovieService, archive: Archive) -> dict[str, bool]:
    """Returns what has to be true after a sync, and whether it is. The service has records of its own."""
    listed, records = sorted(summary.listed), service.records
    accounted = sorted([*summary.changes, *(failure.movie_id for failure in summary.failures)])
    written = sorted(movie_id for movie_id, change in summary.changes.items() if change is not Change.UNCHANGED)
    stored = {movie_id: asdict(movie) for movie_id, movie in archive.movies().items()}
    lost = [movie_id for movie_id, fate in service.fates.items() if fate is not Fate.SERVED]
    failed = [failure.movie_id for failure in archive.failures()]
    return {
        "every movie is listed, and each is synced or failed": listed == accounted == sorted(service.films),
        "the database has each movie as the service has it": all(
            stored.get(movie_id) == asdict(film) for movie_id, film in service.served().items()
        ),
        "only what differed was written": written == archive.changed_ids(),
        "what failed is what the service never serves": failed == sorted(lost),
        "whatever might pass was tried again": not records.given_up(RETRIES + 1),
        "no request came before its Retry-After": not records.too_soon(),
        "the rate was never exceeded": not records.too_fast,
        f"never more than {AT_ONCE} requests at once": records.most_at_once <= AT_ONCE,
        **archive.checks(),
    }


def show(claims: Mapping[str, bool]) -> bool:
    """Prints checks, and returns whether all hold."""
    print("  Checks")
    for claim, holds in claims.items():
        print(f"    {'ok' if holds else 'FAILED':8}{claim}")
    return all(claims.values())


def show_summary(summary: Summary, service: MovieService, seconds: float) -> None:
    """Prints what a sync did, and what the service saw of it."""
    counts = Counter(summary.changes.values())
    print(f"Sync {summary.sync}: {len(summary.listed)} movies in {seconds:.1f} s")
    print(f"  {', '.join(f'{counts[change]} {change}' for change in Change)}, {len(summary.failures)} failed")
    for failure in summary.failures:
        print(f"    {failure}")
    records = service.records
    statuses = ", ".join(f"{number} of {status.value}" for status, number in sorted(records.statuses().items()))
    print(f"  {len(records.requests)} requests: {statuses}")
    print(f"  at most {records.busiest(WINDOW)} in {WINDOW} s, {ALLOWED} allowed; {records.most_at_once} at once")


async def sync_twice(service: MovieService, address: str, database: Path) -> bool:
    """Syncs, has the catalogue changed, syncs again. Returns whether every check holds.

    Both in one event loop: a limit is shared by all runs of a loop, and knows nothing of another loop's requests.
    """
    holds = True
    for edition in (1, 2):
        if edition > 1:
            service.publish()
            print("\nThe catalogue has changed.\n", flush=True)
        begun = time.monotonic()
        run = await sync_movies.run(Sync(address, database))
        show_summary(run.result, service, time.monotonic() - begun)
        with Archive(database) as archive:
            holds &= show(checks(run.result, service, archive))
    return holds


def show_interrupted(database: Path) -> None:
    """Prints what a sync left that was stopped halfway."""
    with Archive(database) as archive:
        sync, ended = archive.last_sync()
        print(f"\nInterrupted. Sync {sync} is {ended}; {len(archive.movies())} movies are in the database.")
        show(archive.checks())


class Options(argparse.Namespace):
    """The command line."""

    items: int
    seed: int
    database: Path | None


def count(text: str) -> int:
    """Returns a number of movies, enough for each of the ways to fail."""
    if not text.isascii() or not text.isdigit() or not 10 <= int(text) <= 10_000:  # noqa: PLR2004 - named below
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 10 to 10000")
    return int(text)


def command_line() -> Parser:
    """Returns the parser of the options."""
    parser = Parser(description="Sync movies from a rate-limited service into a SQLite database.")
    parser.add_argument("--items", type=count, default=240, help="how many movies there are (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=3, help="decides movies and troubles (default: %(default)s)")
    parser.add_argument("--database", type=Path, help="keep the database here (default: a temporary file)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Returns 0 when every check holds."""
    parser = command_line()
    options = parser.parse_args(arguments, Options())
    with tempfile.TemporaryDirectory(prefix="batch-sync-") as folder:
        database = options.database or Path(folder) / "movies.sqlite3"
        try:
            Archive(database).close()
        except sqlite3.Error as error:
            parser.error(f"cannot use the database {database}: {error}")
        print(f"seed {options.seed}: it decides the movies and the troubles of their service", flush=True)
        service = MovieService(options.items, options.seed)
        with MovieServer(service) as server:
            try:
                return 0 if anyio.run(sync_twice, service, server.address, database) else 1
            except KeyboardInterrupt:
                show_interrupted(database)
                raise


if __name__ == "__main__":
    leave_with(main)
