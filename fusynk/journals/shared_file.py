"""The file of a `SqliteJournal`, which several processes may have open: who is the first checks it."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Literal
from weakref import WeakSet

from fusynk._durable.database import DatabaseFile
from fusynk._durable.locking import FileLock
from fusynk.errors import DamagedJournal, JournalClosed, JournalUnavailable
from fusynk.journals.sqlite_file import JOURNAL

_LONGEST_CHECK = 10.0  # seconds that another process may take to check the file
_PAUSE = 0.005
_LONGEST_WAIT = 10.0


class SharedFile:
    """A file that is checked and made when nobody has it open, and otherwise joined.

    Attributes:
        path: The file.
        file: What it is made and checked by.
    """

    def __init__(self, path: Path, synchronous: Literal["FULL", "NORMAL"]) -> None:
        self.path = path
        self.file = DatabaseFile(path, JOURNAL)
        self._synchronous = synchronous
        self._connection: sqlite3.Connection | None = None
        self._gate: FileLock | None = None
        self._identity: tuple[int, int] | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The one that writes.

        Raises:
            JournalClosed: The file is not open.
        """
        if self._connection is None:
            raise JournalClosed(f"The journal {str(self.path)!r} is not open.", path=str(self.path))
        return self._connection

    def open(self) -> None:
        """Open the file.

        Raises:
            JournalError: It is refused, or the system refuses.
        """
        with self.file.named_errors("opened"):
            if os.path.lexists(self.path):
                self.file.check_header()
            gate = FileLock(Path(f"{self.path}.lock"))
            try:
                self._enter(gate)
                found = self.path.stat()
                self._connection = self.connect()
                self._identity = found.st_dev, found.st_ino
            except BaseException:
                self.close()
                gate.close()
                raise
            self._gate = gate
            _open_files.add(self)

    def connect(self) -> sqlite3.Connection:
        """Return a new connection to the file, which can be used in any one thread."""
        connection = sqlite3.connect(
            self.path, timeout=_LONGEST_WAIT, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            if self._synchronous == "FULL":
                connection.execute("PRAGMA fullfsync=ON")  # for macOS, where a plain one does not reach the disk
            connection.execute("SELECT 1 FROM runs LIMIT 1").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def check_place(self) -> None:
        """Refuse to write where nobody would find it.

        Raises:
            DamagedJournal: The file was removed or replaced since it was opened.
        """
        try:
            found = os.stat(self.path)  # noqa: PTH116 - before each group; faster than by Path
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            advice = "close it, and open it anew"
            message = f"The journal {str(self.path)!r} was removed or replaced while it was open; {advice}."
            raise DamagedJournal(message, path=str(self.path))

    def close(self) -> None:
        """Close it. Nothing happens if it is not open."""
        connection, self._connection = self._connection, None
        gate, self._gate = self._gate, None
        try:
            if connection is not None:
                connection.close()
        finally:
            if gate is not None:
                gate.close()

    def abandon(self) -> sqlite3.Connection | None:
        """Let go of all in a copy of this process, and return the connection, which must not be closed there."""
        connection, self._connection, self._gate = self._connection, None, None
        return connection

    def _enter(self, gate: FileLock) -> None:
        """Wait until the file may be used, and check it if nobody else uses it."""
        until = time.monotonic() + _LONGEST_CHECK
        is_checked = False
        while time.monotonic() < until:
            if not is_checked and not self._is_open_here() and gate.take():
                self._check()
                is_checked = True
            # Another one may come in between and check again, which takes nothing from what was found here.
            if gate.take(shared=True):
                return
            time.sleep(_PAUSE)
        message = f"The journal {str(self.path)!r} is being checked by another process; try again later."
        raise JournalUnavailable(message, path=str(self.path))

    def _check(self) -> None:
        """Make the file if there is none; it may have come, gone or changed until it was alone."""
        if not os.path.lexists(self.path):
            self.file.create()
        self.file.check_header()
        self.file.check()

    def _is_open_here(self) -> bool:
        """Tell whether this process uses the file, whose locks would be dropped if it were read past SQLite."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        mine = found.st_dev, found.st_ino
        return any(one._connection is not None and one._identity == mine for one in _open_files)  # noqa: SLF001 - ours


_open_files: WeakSet[SharedFile] = WeakSet()
