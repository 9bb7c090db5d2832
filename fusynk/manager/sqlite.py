"""The state of a manager's units in a file of SQLite."""

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from threading import Lock
from typing import Literal
from weakref import WeakSet

from fusynk._durable.database import DatabaseFile, leak
from fusynk._durable.paths import real_path
from fusynk.errors import DamagedStore, InvalidOption, StoreClosed, shown
from fusynk.manager.ownership import Ownership
from fusynk.manager.sqlite_file import STORE, row_of, unit_of
from fusynk.manager.store import StoredUnit

_LONGEST_WAIT = 1.0  # seconds, for a program that reads the file at this moment
_SAVE = """
    INSERT INTO units (name, version, state, checksum) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET version = excluded.version, state = excluded.state, checksum = excluded.checksum
    WHERE excluded.version > version
"""


class SqliteStore:
    """A store in a file, by the SQLite of the standard library.

    What a method did is there after the death of the process at any moment. With "FULL" it is there after a loss of
    power as well, at the cost of waiting for the disk; with "NORMAL" the last states before it may be missing.

    The file is made where none is, for its owner alone to read; its folder must exist. While the store is open,
    `<path>-wal` holds what was written last and belongs to the file. `<path>.lock` says who has it open, and stays.
    A file that is damaged, foreign or of a later version is refused and left as it is. A file on a network may be
    locked in vain; use a local one.

    Attributes:
        path: The file, with links followed.
        synchronous: "FULL" or "NORMAL".

    Raises:
        InvalidOption: The path is none, or `synchronous` is something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> None:
        if synchronous not in ("FULL", "NORMAL"):
            message = f'SqliteStore(synchronous={shown(synchronous)}): synchronous must be "FULL" or "NORMAL".'
            raise InvalidOption(message)
        self.path = real_path(path, "SqliteStore", "MemoryStore")
        self.synchronous = synchronous
        self._file = DatabaseFile(self.path, STORE)
        self._connection: sqlite3.Connection | None = None
        self._ownership: Ownership | None = None
        self._identity: tuple[int, int] | None = None
        self._lock = Lock()

    def open(self) -> None:
        """See `Store`.

        Raises:
            StoreLocked: Somebody else has the file open.
            DamagedStore: It is torn, or was changed by something else.
            ForeignStore: It is no store.
            NewerStore: It was written by a later version.
            StoreUnavailable: The system refuses.
        """
        with self._lock:
            with self._file.named_errors("opened"):
                if os.path.lexists(self.path):
                    self._file.check_header()
                ownership = Ownership(self.path)
            try:
                self._prepare()
                self._connection = self._connect()
            except BaseException:
                ownership.end()
                raise
            self._ownership = ownership
            _open_stores.add(self)

    def _prepare(self) -> None:
        """Make the file if there is none; it may have come, gone or changed until it was owned."""
        if not os.path.lexists(self.path):
            self._file.create()
        self._file.check_header()
        self._file.check()

    def _connect(self) -> sqlite3.Connection:
        with self._file.named_errors("opened"):
            found = self.path.stat()
            self._identity = found.st_dev, found.st_ino
            connection = sqlite3.connect(
                self.path, timeout=_LONGEST_WAIT, isolation_level=None, check_same_thread=False
            )
            try:
                # No other program may write, nor even read: it would leave locks and files that this one cannot see.
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
                connection.execute(f"PRAGMA synchronous={self.synchronous}")
                if self.synchronous == "FULL":
                    connection.execute("PRAGMA fullfsync=ON")  # for macOS, where a plain one does not reach the disk
                connection.execute("BEGIN EXCLUSIVE")
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            return connection

    def load(self) -> Mapping[str, StoredUnit]:
        """See `Store`.

        Raises:
            StoreClosed: The store is not open.
            StoreError: It cannot be read.
        """
        with self._lock, self._file.named_errors("read"):
            rows = self._open_connection().execute("SELECT name, version, state, checksum FROM units").fetchall()
        try:
            return {unit.name: unit for unit in map(unit_of, rows)}
        except ValueError as error:
            message = f"The store {str(self.path)!r} was damaged while it was open: {error}; restore a copy."
            raise DamagedStore(message, path=str(self.path)) from error

    def save(self, *units: StoredUnit) -> None:
        """See `Store`.

        Args:
            units: The states.

        Raises:
            StoreClosed: The store is not open.
            StoreError: They cannot be written; none is kept.
        """
        self._write(_SAVE, [row_of(unit) for unit in units])

    def forget(self, *names: str) -> None:
        """See `Store`.

        Args:
            names: The names of the units.

        Raises:
            StoreClosed: The store is not open.
            StoreError: It cannot be written; all are kept.
        """
        self._write("DELETE FROM units WHERE name = ?", [(name.encode("utf-8", "surrogatepass"),) for name in names])

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            connection, self._connection = self._connection, None
            ownership, self._ownership = self._ownership, None
            try:
                if connection is not None:
                    connection.close()
            finally:
                if ownership is not None:
                    ownership.end()

    def abandon(self) -> None:
        """Let a copy of this process do no harm: to close the connection there would end what its parent is writing."""
        connection, self._connection = self._connection, None
        self._ownership, self._lock = None, Lock()  # whoever held it does not run here
        if connection is not None:
            leak(connection)

    def _write(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Do all of it or nothing."""
        with self._lock, self._file.named_errors("written"):
            connection = self._open_connection()
            self._check_place()
            _commit(connection, statement, rows)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            message = f"The store {str(self.path)!r} is not open in this process; call open() first."
            raise StoreClosed(message, path=str(self.path))
        return self._connection

    def _check_place(self) -> None:
        """Refuse to write where nobody would find it: the file may have been removed or replaced meanwhile."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            message = (
                f"The store {str(self.path)!r} was removed or replaced while it was open; close it, and open it anew."
            )
            raise DamagedStore(message, path=str(self.path))


def _commit(connection: sqlite3.Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(statement, rows)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):  # what went wrong first is what is told
                connection.execute("ROLLBACK")
        raise


_open_stores: WeakSet[SqliteStore] = WeakSet()


def _abandon_all() -> None:
    for store in _open_stores:
        store.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
