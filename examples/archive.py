"""The SQLite database that `batch_sync.py` keeps movies in."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

SCHEMA = """
CREATE TABLE IF NOT EXISTS syncs (
    id    INTEGER PRIMARY KEY,
    ended TEXT NOT NULL DEFAULT 'under way' CHECK (ended IN ('under way', 'finished', 'stopped'))
);
CREATE TABLE IF NOT EXISTS movies (
    id         INTEGER PRIMARY KEY,
    title      TEXT NOT NULL,
    year       INTEGER NOT NULL,
    minutes    INTEGER NOT NULL,
    genres     INTEGER NOT NULL,  -- how many
    changed_in INTEGER NOT NULL REFERENCES syncs (id)
);
CREATE TABLE IF NOT EXISTS genres (
    movie INTEGER NOT NULL REFERENCES movies (id),
    genre TEXT NOT NULL,
    PRIMARY KEY (movie, genre)
);
CREATE TABLE IF NOT EXISTS failures (
    sync   INTEGER NOT NULL REFERENCES syncs (id),
    movie  INTEGER NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (sync, movie)
);
"""

# Each query counts what must not be there.
CHECKS = {
    "the database is sound": "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    "no row refers to nothing": "SELECT count(*) FROM pragma_foreign_key_check",
    "every movie has all its genres": """
        SELECT count(*) FROM movies WHERE genres <> (SELECT count(*) FROM genres WHERE movie = movies.id)""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Movie:
    """A movie as the archive keeps it."""

    id: int
    title: str
    year: int
    minutes: int
    genres: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Failure:
    """A movie that could not be had, and why."""

    movie_id: int
    reason: str

    def __str__(self) -> str:
        return f"movie {self.movie_id}: {self.reason}"


class Change(StrEnum):
    """What an upsert did."""

    INSERTED = "inserted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


class Archive:
    """The database, over one connection. One thread at a time may use it, whichever it is.

    Args:
        path: The file, which is made if there is none.

    Attributes:
        sync: The number of the sync that is under way, once one has begun.
    """

    def __init__(self, path: Path) -> None:
        # isolation_level=None: a transaction starts where BEGIN says so, not before the first write by itself.
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.sync = 0
        # WAL: others read while a movie is written. NORMAL: no sync for each movie, and the file stays sound.
        try:
            self.connection.executescript(
                f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; {SCHEMA}"
            )
        except sqlite3.Error:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the database."""
        self.connection.close()

    def begin_sync(self) -> None:
        """Gives the sync a number."""
        self.sync = self.connection.execute("INSERT INTO syncs DEFAULT VALUES").lastrowid or 0

    def end_sync(self, *, finished: bool) -> None:
        """Notes how the sync ended."""
        ended = "finished" if finished else "stopped"
        self.connection.execute("UPDATE syncs SET ended = ? WHERE id = ?", (ended, self.sync))

    def upsert(self, movie: Movie) -> Change:
        """Makes the archive hold this movie with its genres, in one transaction, and says what there was to change."""
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            former = self.movie(movie.id)
            if former == movie:
                return Change.UNCHANGED
            row = (movie.id, movie.title, movie.year, movie.minutes, len(movie.genres), self.sync)
            self.connection.execute(
                """INSERT INTO movies VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
                title = excluded.title, year = excluded.year, minutes = excluded.minutes, genres = excluded.genres,
                changed_in = excluded.changed_in""",
                row,
            )
            self.connection.execute("DELETE FROM genres WHERE movie = ?", (movie.id,))
            genres = [(movie.id, genre) for genre in movie.genres]
            self.connection.executemany("INSERT INTO genres VALUES (?, ?)", genres)
        return Change.INSERTED if former is None else Change.UPDATED

    def movie(self, movie_id: int) -> Movie | None:
        """Returns a movie, or `None` if there is none of that id."""
        query = "SELECT title, year, minutes FROM movies WHERE id = ?"
        row: tuple[str, int, int] | None = self.connection.execute(query, (movie_id,)).fetchone()
        if row is None:
            return None
        genres = self.connection.execute("SELECT genre FROM genres WHERE movie = ? ORDER BY genre", (movie_id,))
        title, year, minutes = row
        return Movie(id=movie_id, title=title, year=year, minutes=minutes, genres=tuple(genre for (genre,) in genres))

    def note_failures(self, failures: Iterable[Failure]) -> None:
        """Keeps what could not be had, in one transaction."""
        rows = [(self.sync, failure.movie_id, failure.reason) for failure in failures]
        with self.connection:
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.executemany("INSERT INTO failures VALUES (?, ?, ?)", rows)

    def movies(self) -> dict[int, Movie]:
        """Returns all movies, by id."""
        ids = [movie_id for (movie_id,) in self.connection.execute("SELECT id FROM movies ORDER BY id")]
        return {movie_id: movie for movie_id in ids if (movie := self.movie(movie_id)) is not None}

    def changed_ids(self) -> list[int]:
        """Returns the movies that the last sync inserted or updated."""
        query = "SELECT id FROM movies WHERE changed_in = (SELECT max(id) FROM syncs) ORDER BY id"
        return [movie_id for (movie_id,) in self.connection.execute(query)]

    def failures(self) -> list[Failure]:
        """Returns what the last sync could not have."""
        query = "SELECT movie, reason FROM failures WHERE sync = (SELECT max(id) FROM syncs) ORDER BY movie"
        return [Failure(*row) for row in self.connection.execute(query)]

    def last_sync(self) -> tuple[int, str]:
        """Returns the number of the last sync and how it ended; 0 if there was none."""
        row: tuple[int, str] | None = self.connection.execute("SELECT id, ended FROM syncs ORDER BY id DESC").fetchone()
        return row or (0, "not begun")

    def checks(self) -> dict[str, bool]:
        """Returns what should be true of the database, and whether it is."""
        return {claim: self.connection.execute(query).fetchone() == (0,) for claim, query in CHECKS.items()}
