"""What the file of a `SqliteJournal` holds."""

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fusynk._core.envelope import BrokenEnvelope, LaterEnvelope, Record, Seal, bytes_to_text, text_to_bytes
from fusynk._core.journalled import RunStart, RunState, mark_of, start_from_bytes, state_from_bytes, state_to_bytes
from fusynk._durable.database import Kind
from fusynk.errors import DamagedJournal, ForeignJournal, JournalError, JournalUnavailable, NewerJournal

MOST_RECORDS = 1 << 32
"""Of a run. A record stands at the number of its run times this, plus its own."""
_LARGEST_CHUNK = 512
_INSERTS = {
    1 << power: f"INSERT INTO records (place, envelope) VALUES {', '.join(['(?, ?)'] * (1 << power))}"  # noqa: S608 - marks
    for power in range(_LARGEST_CHUNK.bit_length())
}


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
    for number, (place, envelope) in enumerate(_rows_of(connection, run), 1):
        try:
            _check_place(run, number, place)
            records.append(seal.open(number, envelope))
        except BrokenEnvelope as error:
            raise type(error)(f"record {number} of the run {run.run_id!r}: {error}") from error
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


def insert_records(connection: sqlite3.Connection, rows: Sequence[object]) -> None:
    """Add records, many by one statement: each statement gives the interpreter's lock away and waits to get it back.

    Args:
        connection: To the journal.
        rows: The place of a record and its envelope, in turn.
    """
    begin, left = 0, len(rows) // 2
    while left:
        chunk = min(_LARGEST_CHUNK, 1 << (left.bit_length() - 1))
        connection.execute(_INSERTS[chunk], rows[begin : begin + 2 * chunk])
        begin, left = begin + 2 * chunk, left - chunk


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
    seal, number = run.seal(), 0
    for number, (place, envelope) in enumerate(_rows_of(connection, run), 1):
        try:
            _check_place(run, number, place)
            _ = seal.open(number, envelope)
        except LaterEnvelope:
            continue
        except BrokenEnvelope as error:
            raise BrokenEnvelope(f"record {number} of the run {run.run_id!r}: {error}") from error
    _check_count(run, number)


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
