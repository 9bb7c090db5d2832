"""What the file of a `SqliteJournal` holds."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from fusynk._core.envelope import BrokenEnvelope, LaterEnvelope, Record, Seal, bytes_to_text, text_to_bytes
from fusynk._core.journalled import RunStart, RunState, mark_of, start_from_bytes, state_from_bytes, state_to_bytes
from fusynk._durable.database import Kind
from fusynk.errors import DamagedJournal, ForeignJournal, JournalError, JournalUnavailable, NewerJournal

MOST_RECORDS = 1 << 32
"""Of a run. What is written at once stands at the number of its run times this, plus that of its first record."""
_LARGEST_ROW = 1 << 20  # bytes of payload, unless one record alone has more
_payload_of: Callable[[Record], bytes] = attrgetter("payload")


class FoundRun(NamedTuple):
    """A run, as it stands in the file."""

    number: int
    run_id: str
    start: RunStart
    state: RunState
    mark: bytes

    def seal(self) -> Seal:
        """Return what its records are sealed by."""
        return Seal(self.run_id, self.start.fingerprint, self.mark)


def runs_in(connection: sqlite3.Connection, run_id: str | None = None) -> Iterator[FoundRun]:
    """Yield the runs of a journal, or the one of that id, the oldest first.

    Args:
        connection: To the journal.
        run_id: The id of the only one that is wanted.

    Raises:
        BrokenEnvelope: A row was changed.
    """
    statement = "SELECT number, id, epoch, start, state FROM runs"
    if run_id is None:
        rows = connection.execute(f"{statement} ORDER BY number")
    else:
        rows = connection.execute(f"{statement} WHERE id = ?", [text_to_bytes(run_id)])
    for number, found, epoch, start, state in rows:
        if not isinstance(found, bytes):
            raise BrokenEnvelope("the id of a run is of another type")
        name = bytes_to_text(found)
        run = FoundRun(number, name, start_from_bytes(name, start), state_from_bytes(name, state), mark_of(start))
        if epoch != run.state.epoch:
            raise BrokenEnvelope(f"the run {name!r} has two epochs")
        yield run


def records_of(connection: sqlite3.Connection, run: FoundRun) -> list[Record]:
    """Return what is recorded of a run, in order.

    Args:
        connection: To the journal.
        run: The run.

    Raises:
        BrokenEnvelope: A record is missing, was changed or belongs elsewhere.
    """
    seal = run.seal()
    records: list[Record] = []
    for place, envelope in _rows_of(connection, run):
        first = len(records) + 1
        try:
            _check_place(run, first, place)
            records += seal.open_all(first, envelope)
        except BrokenEnvelope as error:
            raise type(error)(f"record {first} of the run {run.run_id!r}: {error}") from error
    _check_count(run, len(records))
    return records


def _rows_of(connection: sqlite3.Connection, run: FoundRun) -> sqlite3.Cursor:
    first = run.number * MOST_RECORDS
    statement = "SELECT place, envelope FROM records WHERE place >= ? AND place < ? ORDER BY place"
    return connection.execute(statement, [first, first + MOST_RECORDS])


def _check_place(run: FoundRun, number: int, place: object) -> None:
    if place != run.number * MOST_RECORDS + number:
        raise BrokenEnvelope("it is missing")


def _check_count(run: FoundRun, count: int) -> None:
    expected = run.state.records
    if count < expected or (run.state.status != "open" and count > expected):
        raise BrokenEnvelope(f"the run {run.run_id!r} has {count} records, and had {expected}")


def insert_run(connection: sqlite3.Connection, run_id: str, start: bytes) -> int:
    """Add a run and return its number, which no other run ever has.

    Args:
        connection: To the journal.
        run_id: The id of the run.
        start: Its start as bytes.
    """
    statement = "INSERT INTO runs (id, epoch, start, state) VALUES (?, 0, ?, x'')"
    number = connection.execute(statement, [text_to_bytes(run_id), start]).lastrowid
    if number is None:  # pragma: no cover - an INSERT has one
        raise AssertionError
    return number


def update_state(connection: sqlite3.Connection, number: int, run_id: str, state: RunState) -> None:
    """Note where a run is.

    Args:
        connection: To the journal.
        number: Its number.
        run_id: Its id.
        state: Where it is.
    """
    values = [state.epoch, state_to_bytes(run_id, state), number]
    connection.execute("UPDATE runs SET epoch = ?, state = ? WHERE number = ?", values)


def delete_run(connection: sqlite3.Connection, number: int) -> None:
    """Remove a run and its records.

    Args:
        connection: To the journal.
        number: Its number.
    """
    first = number * MOST_RECORDS
    connection.execute("DELETE FROM records WHERE place >= ? AND place < ?", [first, first + MOST_RECORDS])
    connection.execute("DELETE FROM runs WHERE number = ?", [number])


def epoch_of(connection: sqlite3.Connection, number: int) -> int | None:
    """Return the epoch of a run, or `None` if it was removed.

    Args:
        connection: To the journal.
        number: Its number.
    """
    row = connection.execute("SELECT epoch FROM runs WHERE number = ?", [number]).fetchone()
    return None if row is None else row[0]


def insert_records(connection: sqlite3.Connection, run: int, seal: Seal, first: int, records: Sequence[Record]) -> None:
    """Add records, in one row unless it would be too large: a row costs more than what is in it.

    Args:
        connection: To the journal.
        run: The number of their run.
        seal: Puts them into envelopes.
        first: Which record of it the first of them is, from 1.
        records: The records.
    """
    half = len(records) // 2
    if half and sum(map(len, map(_payload_of, records))) > _LARGEST_ROW:
        insert_records(connection, run, seal, first, records[:half])
        insert_records(connection, run, seal, first + half, records[half:])
        return
    statement = "INSERT INTO records (place, envelope) VALUES (?, ?)"
    connection.execute(statement, (run * MOST_RECORDS + first, seal.close_all(first, records)))


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    known: set[int] = set()
    try:
        for run in runs_in(connection):
            known.add(run.number)
            _check_envelopes(connection, run)
    except LaterEnvelope:
        return  # its run is refused as newer when it is opened
    except (BrokenEnvelope, UnicodeDecodeError) as error:
        yield str(error)
    owners = connection.execute(f"SELECT DISTINCT place / {MOST_RECORDS} FROM records")  # noqa: S608 - a number
    if not known.issuperset(number for (number,) in owners):
        yield "it has records of a run that it does not have"


def _check_envelopes(connection: sqlite3.Connection, run: FoundRun) -> None:
    seal, count = run.seal(), 0
    for place, envelope in _rows_of(connection, run):
        try:
            _check_place(run, count + 1, place)
            count += len(seal.open_all(count + 1, envelope))
        except LaterEnvelope:
            return  # how many it holds is not known
        except BrokenEnvelope as error:
            raise BrokenEnvelope(f"record {count + 1} of the run {run.run_id!r}: {error}") from error
    _check_count(run, count)


JOURNAL = Kind(
    noun="journal",
    application=0x6675736A,  # "fusj"
    format=1,
    schema=(
        (
            "CREATE TABLE runs (number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, "
            "epoch INTEGER NOT NULL, start BLOB NOT NULL, state BLOB NOT NULL)"
        ),
        "CREATE TABLE records (place INTEGER PRIMARY KEY, envelope BLOB NOT NULL)",
    ),
    problems=_problems,
    error=JournalError,
    damaged=DamagedJournal,
    foreign=ForeignJournal,
    newer=NewerJournal,
    busy=JournalUnavailable,
    unavailable=JournalUnavailable,
)
