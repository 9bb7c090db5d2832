"""The batch sync: its database against what the service has, and its requests against what the service's seed asks for.

What the database should hold is read off a service of the same seed that never served anybody.
"""

import re
import signal
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fusynk import run_of
from fusynk.testing import simulate
from tests.examples.running import finish, imported, start

ITEMS = 140  # with what is asked for twice, more than the service takes in one window
SEEDS = (3, 11, 29)
CHECKS = 11
ATTEMPTS = 5


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example as a module."""
    with imported("batch_sync") as module:
        yield module


def rows(database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query, values).fetchall()


def contents(database: Path) -> dict[int, dict[str, Any]]:
    """Every movie of a database, as the service would send it."""
    genres: dict[int, list[str]] = {}
    for movie_id, genre in rows(database, "SELECT movie, genre FROM genres ORDER BY movie, genre"):
        genres.setdefault(movie_id, []).append(genre)
    return {
        movie_id: {"id": movie_id, "title": title, "year": year, "minutes": minutes, "genres": tuple(genres[movie_id])}
        for movie_id, title, year, minutes in rows(database, "SELECT id, title, year, minutes FROM movies")
    }


@dataclass(frozen=True)
class Truth:
    """What the service has in both editions, without a request."""

    example: Any
    seed: int
    items: int = ITEMS

    @cached_property
    def editions(self) -> tuple[Mapping[int, Any], Mapping[int, Any]]:
        service = self.example.MovieService(self.items, self.seed)
        first = dict(service.served())
        service.publish()
        return first, dict(service.served())

    @cached_property
    def changed(self) -> set[int]:
        first, second = self.editions
        return {movie_id for movie_id, film in second.items() if first.get(movie_id) != film}

    @cached_property
    def failed(self) -> dict[int, str]:
        service, fate = self.example.MovieService(self.items, self.seed), self.example.Fate
        reasons = {
            fate.GONE: "404 Not Found",
            fate.BROKEN: "broken JSON: ",
            fate.DOWN: "500 Internal Server Error after 5 attempts",
        }
        return {number: reasons[end] for number, end in service.fates.items() if end is not fate.SERVED}

    def requests(self, edition: int) -> int:
        """How many requests a sync makes that tries whatever may pass again, and nothing else."""
        service = self.example.MovieService(self.items, self.seed)
        if edition == 2:
            service.publish()
        pages = -(-len(service.films) // 40)
        paths = [f"/movies?page={page}" for page in range(1, pages + 1)]
        paths += [f"/movies/{number}" for number in service.films]
        down = {f"/movies/{number}" for number, end in service.fates.items() if end is self.example.Fate.DOWN}
        return sum(ATTEMPTS if path in down else 1 + len(service.weather(path).failures) for path in paths)


@dataclass(frozen=True)
class Synced:
    """What the script printed and left, with one seed."""

    printed: str
    errors: str
    exit_code: int
    database: Path
    truth: Truth

    def numbers(self, pattern: str) -> list[int]:
        return [int(found) for found in re.findall(pattern, self.printed)]


@pytest.fixture(scope="module")
def all_synced(example: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Synced]:
    """The script, run for every seed, side by side because it mostly waits."""
    folder = tmp_path_factory.mktemp("batch_sync")
    commands = {
        seed: start(
            "batch_sync.py", "--items", str(ITEMS), "--seed", str(seed), "--database", folder / f"{seed}.sqlite3"
        )
        for seed in SEEDS
    }
    synced: dict[int, Synced] = {}
    for seed, command in commands.items():
        result = finish(command)
        database = folder / f"{seed}.sqlite3"
        synced[seed] = Synced(result.stdout, result.stderr, result.returncode, database, Truth(example, seed))
    return synced


@pytest.fixture(params=SEEDS)
def synced(all_synced: dict[int, Synced], request: pytest.FixtureRequest) -> Synced:
    """What the script left with one of the seeds."""
    return all_synced[request.param]


# As its user runs it


def test_both_syncs_end_and_every_check_of_theirs_holds(synced: Synced) -> None:
    assert (synced.exit_code, synced.errors) == (0, ""), synced.printed
    assert "FAILED" not in synced.printed
    assert len(re.findall(r"^    ok ", synced.printed, re.MULTILINE)) == 2 * CHECKS
    assert rows(synced.database, "SELECT id, ended FROM syncs") == [(1, "finished"), (2, "finished")]


def test_the_database_holds_what_the_service_has_and_no_movie_twice(synced: Synced) -> None:
    _, second = synced.truth.editions
    assert contents(synced.database) == {number: asdict(film) for number, film in second.items()}
    assert rows(synced.database, "SELECT count(*) FROM movies") == [(len(second),)]
    genres = sum(len(film.genres) for film in second.values())
    assert rows(synced.database, "SELECT count(*) FROM genres") == [(genres,)]


def test_the_second_sync_writes_only_what_has_changed(synced: Synced) -> None:
    changed = {number for (number,) in rows(synced.database, "SELECT id FROM movies WHERE changed_in = 2")}
    assert changed == synced.truth.changed
    first, second = synced.truth.editions
    updated = synced.truth.changed & set(first)
    assert 0 < len(updated) < len(first) / 3
    assert synced.numbers(r"(\d+) updated") == [0, len(updated)]
    assert synced.numbers(r"(\d+) unchanged") == [0, len(first) - len(updated)]
    assert synced.numbers(r"(\d+) inserted") == [len(first), len(second) - len(first)]


def test_what_cannot_be_had_is_reported_with_its_reason_and_nothing_else_is_lost(synced: Synced) -> None:
    failed = synced.truth.failed
    assert len(set(failed.values())) == 3
    for sync in (1, 2):
        kept = dict(rows(synced.database, "SELECT movie, reason FROM failures WHERE sync = ?", sync))
        assert kept.keys() == failed.keys()
        assert all(reason.startswith(failed[number]) for number, reason in kept.items())
        assert all(synced.printed.count(f"    movie {number}: {reason}\n") == 2 for number, reason in kept.items())
    for listed, *counts in re.findall(
        r"Sync \d: (\d+) movies .*\n  (\d+) inserted, (\d+) updated, (\d+) unchanged, (\d+) failed\n", synced.printed
    ):
        assert int(listed) == sum(map(int, counts))


def test_whatever_may_pass_is_tried_again_and_nothing_else(synced: Synced) -> None:
    assert synced.numbers(r"(\d+) requests:") == [synced.truth.requests(1), synced.truth.requests(2)]


def test_the_rate_is_kept_where_there_is_more_to_ask_for_than_it_allows(synced: Synced, example: Any) -> None:
    busiest = synced.numbers(r"at most (\d+) in 0.85 s")
    assert len(busiest) == 2
    assert max(busiest) <= example.ALLOWED < min(synced.numbers(r"(\d+) requests:"))
    assert max(synced.numbers(r"; (\d+) at once")) <= example.AT_ONCE


def test_ctrl_c_leaves_whole_movies_and_says_so_and_the_next_sync_goes_on(example: Any, tmp_path: Path) -> None:
    database, truth = tmp_path / "movies.sqlite3", Truth(example, seed=5, items=70)
    options = ("--items", "70", "--seed", "5", "--database", database)
    command = start("batch_sync.py", *options)
    assert command.stdout is not None
    assert command.stdout.readline().startswith("seed 5")
    while rows(database, "SELECT count(*) FROM movies") < [(20,)]:
        assert command.poll() is None
        time.sleep(0.02)
    command.send_signal(signal.SIGINT)
    result = finish(command)

    assert (result.returncode, result.stderr) == (130, "")
    stored, (first, second) = contents(database), truth.editions
    assert 20 <= len(stored) < len(first)
    assert f"Interrupted. Sync 1 is stopped; {len(stored)} movies are in the database." in result.stdout
    assert result.stdout.count("    ok ") == 3
    assert stored == {number: asdict(first[number]) for number in stored}
    assert rows(database, "PRAGMA integrity_check") == [("ok",)]
    assert rows(database, "SELECT id, ended FROM syncs") == [(1, "stopped")]

    again = finish(start("batch_sync.py", *options))
    assert (again.returncode, again.stderr) == (0, ""), again.stdout
    assert f"{len(first) - len(stored)} inserted, 0 updated, {len(stored)} unchanged" in again.stdout
    assert contents(database) == {number: asdict(film) for number, film in second.items()}
    kept = {number for (number,) in rows(database, "SELECT id FROM movies WHERE changed_in = 1")}
    assert kept == stored.keys() - truth.changed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--items", "9"], "argument --items: '9' is not a whole number from 10 to 10000"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--database", "missing/movies.sqlite3"], "cannot use the database missing/movies.sqlite3: unable to open"),
        (["--database", __file__], f"cannot use the database {__file__}: file is not a database"),
    ],
    ids=["items", "seed", "database in no folder", "no database"],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(
    example: Any, arguments: Sequence[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        example.main(arguments)
    printed = capsys.readouterr()
    assert (left.value.code, printed.out, printed.err.count("\n")) == (2, "", 1)
    assert f"error: {message}" in printed.err


# What the service saw, request by request


async def test_each_answer_is_followed_by_the_request_it_asks_for(example: Any, tmp_path: Path) -> None:
    service = example.MovieService(60, seed=17)
    with example.MovieServer(service) as server:
        run = await example.sync_movies.run(example.Sync(server.address, tmp_path / "movies.sqlite3"))
    records = service.records
    asked = records.by_path()
    down = {f"/movies/{number}" for number, fate in service.fates.items() if fate is example.Fate.DOWN}
    assert asked.keys() == {"/movies?page=1", "/movies?page=2", *map("/movies/{}".format, service.films)}
    assert {429, 500, 404, 200} == set(records.statuses())
    for path, requests in asked.items():
        failures = service.weather(path).failures
        statuses = [request.answer.status for request in requests]
        assert tuple(statuses[: len(failures)]) == failures
        assert len(statuses) == (ATTEMPTS if path in down else len(failures) + 1)
        for former, later in pairwise(requests):
            assert later.arrived - former.answered >= former.answer.retry_after
    assert (records.too_fast, records.too_soon(), records.given_up(ATTEMPTS)) == ([], [], [])
    assert 1 < records.most_at_once <= 4
    assert not run.ok
    unserved = {number for number, fate in service.fates.items() if fate is not example.Fate.SERVED}
    assert {run[example.movie_ids][index] for index in run[example.fetch_movie].failed} == unserved
    assert len(run.failures) == len(unserved) == 3


# The parts of the sync


@pytest.fixture
def archive(example: Any, tmp_path: Path) -> Iterator[Any]:
    """An archive in its first sync."""
    with example.Archive(tmp_path / "movies.sqlite3") as archive:
        archive.begin_sync()
        yield archive


def movie(example: Any, *genres: str, minutes: int = 90) -> Any:
    return example.Movie(id=1, title="The Paper Island", year=1977, minutes=minutes, genres=genres)


def test_an_upsert_says_what_there_was_to_change(example: Any, archive: Any) -> None:
    steps = [("crime", 90), ("crime", 90), ("drama", 90), ("drama", 91)]
    changes = [archive.upsert(movie(example, genre, minutes=minutes)).value for genre, minutes in steps]
    assert changes == ["inserted", "unchanged", "updated", "updated"]
    assert archive.movies() == {1: movie(example, "drama", minutes=91)}


def test_an_upsert_that_fails_halfway_leaves_the_former_movie(example: Any, archive: Any) -> None:
    archive.upsert(movie(example, "crime"))
    with pytest.raises(sqlite3.IntegrityError):
        archive.upsert(movie(example, "drama", "drama", minutes=91))
    assert archive.movies() == {1: movie(example, "crime")}
    assert all(archive.checks().values())


def test_a_sync_that_fails_closes_its_archive_and_keeps_what_it_wrote(example: Any, tmp_path: Path) -> None:
    database = tmp_path / "movies.sqlite3"
    films = {1: movie(example, "crime")}

    def fetch(address: str, movie_id: int) -> Any:
        return films[movie_id]

    plan = example.sync_movies.override(
        example.first_page.returns(example.Page(pages=1, total=2, ids=[1, 2])),
        example.fetch_movie.calls(fetch),
        example.summarise.raises(sqlite3.OperationalError("disk full")),
    )
    trace = simulate(plan, example.Sync("nowhere", database))
    assert isinstance(trace.error, sqlite3.OperationalError)
    assert run_of(trace.error) is trace.run
    assert trace.run[example.upsert_movie].succeeded == {0: example.Change.INSERTED}
    assert isinstance(trace.run[example.upsert_movie].failed[1], KeyError)
    assert rows(database, "SELECT ended FROM syncs") == [("stopped",)]
    assert contents(database) == {1: asdict(films[1])}


def test_the_pause_is_what_the_service_asked_for_or_grows(example: Any, tmp_path: Path) -> None:
    calls: list[float] = []
    errors = [
        example.TryLater("429 Too Many Requests", 7.0),
        example.TryLater("500 Internal Server Error", 0.0),
        ConnectionResetError("gone away"),
    ]

    def first_page(address: str) -> Any:
        calls.append(clock())
        if len(calls) <= len(errors):
            raise errors[len(calls) - 1]
        return example.Page(pages=1, total=0, ids=[])

    clock = example.anyio.current_time
    plan = example.sync_movies.override(example.first_page.calls(first_page))
    trace = simulate(plan, example.Sync("nowhere", tmp_path / "movies.sqlite3"))
    pauses = [later - former for former, later in pairwise(calls)]
    assert trace.result.listed == []
    assert pauses[0] == pytest.approx(7)
    assert 0 <= pauses[1] <= 0.1
    assert 0 <= pauses[2] <= 0.2


def test_a_list_that_does_not_add_up_is_refused(example: Any, tmp_path: Path) -> None:
    page = example.Page(pages=1, total=3, ids=[1, 2])
    plan = example.sync_movies.override(example.first_page.returns(page))
    trace = simulate(plan, example.Sync("nowhere", tmp_path / "movies.sqlite3"))
    assert str(trace.error) == "the service says that it has 3 movies, and lists 2"
