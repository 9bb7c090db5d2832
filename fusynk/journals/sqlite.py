"""A journal in a file of SQLite."""

import os
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from math import isfinite
from pathlib import Path
from threading import Lock
from typing import Literal
from weakref import WeakSet

from fusynk._core.codec import Codec
from fusynk._core.envelope import BrokenEnvelope, LaterEnvelope, Record
from fusynk._core.journalled import JournalStatus, RunStart, RunState, RunSummary, mark_of, start_to_bytes, summary_of
from fusynk._durable.database import Doing, is_busy, leak
from fusynk._durable.paths import real_path
from fusynk.errors import InvalidOption, JournalError, JournalUnavailable, NewerJournal, RunTakenOver, shown
from fusynk.journals.claims import Claim, Held, this_process
from fusynk.journals.journalled_run import Backend, JournalledRun, ended_state, run_locked, unknown_run
from fusynk.journals.leases import Leases
from fusynk.journals.shared_file import SharedFile
from fusynk.journals.sqlite_file import (
    FoundRun,
    delete_run,
    epoch_of,
    insert_records,
    insert_run,
    records_of,
    runs_in,
    update_state,
)
from fusynk.journals.writer import Group, Writer
from fusynk.protocols import OnCommit, Poster

_LONGEST_WAIT = 10_000  # milliseconds, for other processes that write to the file
_WAIT_FOR_RUN = 1_000  # likewise, where somebody waits who may be told that it is locked


class SqliteJournal:
    """A journal in a file, by the SQLite of the standard library. Several processes may use it, each its own runs.

    What was acknowledged is there after the death of the process at any moment. With "FULL" it is there after a loss of
    power as well, at the cost of waiting for the disk; with "NORMAL" the last records before it may be missing, and
    never some from the middle; their steps run again.

    The file is made where none is, for its owner alone to read; its folder must exist. While the journal is open,
    `<path>-wal` holds what was written last and belongs to the file; `<path>-shm`, `<path>.lock` and `<path>.locks` are
    for processes that use it at once. The first to open it checks all of it. A file that is damaged, foreign or of a
    later version is refused and left as it is. A journal that was closed is opened
    again by the next call. A file on a network may be locked in vain; use a local one.

    Attributes:
        path: The file, with links followed.
        synchronous: "FULL" or "NORMAL".
        lease: Seconds without a sign of life after which a process that still lives loses its runs to who wants them.
        codec: What codes artifacts, inputs and errors; at first one without conversions.

    Raises:
        InvalidOption: An argument has a value that it cannot have.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        lease: float = 15.0,
        codec: Codec | None = None,
    ) -> None:
        if synchronous not in ("FULL", "NORMAL"):
            message = f'SqliteJournal(synchronous={shown(synchronous)}): synchronous must be "FULL" or "NORMAL".'
            raise InvalidOption(message)
        if isinstance(lease, bool) or not isinstance(lease, (int, float)) or not (isfinite(lease) and lease > 0):
            raise InvalidOption(f"SqliteJournal(lease={shown(lease)}): lease must be seconds, more than 0.")
        self.path: Path = real_path(path, "SqliteJournal", "MemoryJournal")
        self.synchronous: Literal["FULL", "NORMAL"] = synchronous
        self.lease = float(lease)
        self.codec = codec or Codec()
        self._file = SharedFile(self.path, synchronous)
        self._leases = Leases(Path(f"{self.path}.locks"), self.lease, self._check_all_owned)
        self._backend = Backend(str(self.path), self._end, self._release, self._assure, self._is_silent)
        self._writer: Writer | None = None
        self._lock = Lock()

    def open_run(
        self,
        run_id: str,
        start: RunStart | None = None,
        *,
        on_commit: OnCommit,
        post: Poster | None = None,
        owner: str | None = None,
    ) -> JournalledRun:
        """See `Journal`.

        Args:
            run_id: The id of the run.
            start: What a new run begins with.
            on_commit: Is told of records.
            post: Has the caller's loop call it; without it the thread of the journal does.
            owner: What others are told.

        Raises:
            RunLocked: Somebody else has it.
            UnknownRun: It is not there, and no start is given.
            JournalError: The file cannot be read or written, or is refused.
        """
        writer = self._opened()

        def open_now() -> JournalledRun:
            with self._writing(_WAIT_FOR_RUN) as connection:
                found = self._found_or_new(connection, run_id, start)
                claim = self._claimed(found, owner or this_process())
                try:
                    records = records_of(connection, found)
                    state = _taken(found.state, owner or this_process(), len(records))
                    update_state(connection, found.number, run_id, state)
                    connection.execute("COMMIT")
                except BaseException:
                    claim.end()
                    raise
            run = JournalledRun(
                run_id,
                found.start,
                state,
                records,
                number=found.number,
                seal=found.seal(),
                backend=self._backend,
                wake=writer.wake,
                on_commit=on_commit,
                post=post,
            )
            self._leases.keep(run, claim)
            return run

        try:
            return writer.call(open_now)
        except JournalUnavailable as error:
            if is_busy(error.__cause__):
                self._refuse_owned(run_id, error)
            raise

    def runs(self) -> Sequence[RunSummary]:
        """See `Journal`.

        Raises:
            JournalError: The file cannot be read, or is refused.
        """
        with self._reading() as connection:
            return [summary_of(run.run_id, run.start, run.state) for run in runs_in(connection)]

    def history(self, run_id: str) -> Sequence[Record]:
        """See `Journal`.

        Args:
            run_id: The id of the run.

        Raises:
            UnknownRun: It is not there.
            JournalError: The file cannot be read, or is refused.
        """
        with self._reading() as connection:
            return records_of(connection, self._found(connection, run_id))

    def delete(self, run_id: str) -> None:
        """See `Journal`.

        Args:
            run_id: The id of the run.

        Raises:
            UnknownRun: It is not there.
            RunLocked: Somebody has it.
            JournalError: The file cannot be written, or is refused.
        """

        def delete_now() -> None:
            with self._writing(_WAIT_FOR_RUN) as connection:
                found = self._found(connection, run_id)
                claim = self._claimed(found, this_process())
                try:
                    delete_run(connection, found.number)
                    connection.execute("COMMIT")
                finally:
                    claim.end()

        self._opened().call(delete_now)

    def close(self) -> None:
        """See `Journal`."""
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is None:
                return
            for run in self._leases:
                run.is_open = False
            writer.stop()
            for run in self._leases:
                self._leases.end(run)
            self._file.close()

    def abandon(self) -> None:
        """Let a copy of this process do no harm: to close the connection there would end what its parent is writing."""
        self._lock, self._writer = Lock(), None  # whoever held it does not run here
        for run in self._leases:
            run.is_open = False
        self._leases.forget()
        connection = self._file.abandon()
        if connection is not None:
            leak(connection)

    # In the caller's thread

    def _opened(self) -> Writer:
        with self._lock:
            if self._writer is None:
                self._file.open()
                self._writer = Writer(self._commit, self._leases.tend)
                _open_journals.add(self)
            return self._writer

    def _refuse_owned(self, run_id: str, error: JournalUnavailable) -> None:
        """Say whose a run is that could not be had; its owner may have been stopped in the middle of a commit."""
        with self._reading() as connection:
            found = next(runs_in(connection, run_id), None)
        holder = None if found is None else self._leases.holder_of(found.number)
        if holder is not None:
            raise run_locked(run_id, str(self.path), holder) from error

    def _end(self, run: JournalledRun, status: JournalStatus) -> None:
        def end_now() -> None:
            with self._writing() as connection:
                self._check_owned(connection, run)
                state = ended_state(run, status)
                update_state(connection, run.number, run.run_id, state)
                connection.execute("COMMIT")
            run.state = state

        writer = self._opened()
        writer.wake(run)  # whoever appended may have been interrupted before
        writer.call(end_now)

    def _release(self, run: JournalledRun) -> None:
        writer = self._writer
        if writer is not None and run in self._leases:
            writer.wake(run)
            writer.call(lambda: self._leases.end(run))

    def _is_silent(self) -> bool:
        return self._leases.are_silent

    def _assure(self, run: JournalledRun) -> None:
        self._opened().call(self._leases.tend)
        if run.refusal is not None:
            raise run.refusal.with_traceback(None)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        """Look at what is committed, beside those who write."""
        _ = self._opened()
        with self._named("read"), closing(self._file.connect()) as connection:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            yield connection

    # In the thread that writes

    def _commit(self, group: Group) -> Mapping[JournalledRun, JournalError]:
        """Write a group, all or none of it, but for runs that were taken over; return what was not written, and why."""
        try:
            refused = self._write(group)
        except JournalError as error:
            return dict.fromkeys(group, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, their owners wait
            return dict.fromkeys(group, self._unexpected(error))
        for run in group.keys() - refused:
            run.count += len(group[run])
        return refused

    def _unexpected(self, cause: Exception) -> JournalError:
        error = JournalError(f"The journal {str(self.path)!r} cannot be written: {cause!r}.", path=str(self.path))
        error.__cause__ = cause
        return error

    def _write(self, group: Group) -> Mapping[JournalledRun, JournalError]:
        refused: dict[JournalledRun, JournalError] = {}
        with self._writing() as connection:
            for run, records in group.items():
                try:
                    self._check_owned(connection, run)
                except JournalError as error:
                    refused[run] = error
                else:
                    insert_records(connection, run.number, run.seal, run.count + 1, records)
            connection.execute("COMMIT")
        return refused

    def _check_all_owned(self) -> None:
        """Look whether runs were taken over while this process was silent, and have their owners told."""
        with suppress(JournalError), self._writing(_WAIT_FOR_RUN) as connection:
            for run in self._leases:
                try:
                    self._check_owned(connection, run)
                except JournalError as error:
                    run.tell((), error)
            self._leases.beat()  # nobody can take them over meanwhile

    def _check_owned(self, connection: sqlite3.Connection, run: JournalledRun) -> None:
        """Refuse to write to a run that somebody took over or removed. Nobody can do that until the commit."""
        if run.refusal is None and epoch_of(connection, run.number) != run.state.epoch:
            message = (
                f"The run {run.run_id!r} was taken over by somebody else, because this process gave no sign of life "
                f"for {self.lease:g} s; nothing of it is recorded from here on. Raise lease= if such pauses are usual."
            )
            run.fence(RunTakenOver(message, path=str(self.path), run_id=run.run_id))
            self._leases.end(run)
        if run.refusal is not None:
            raise run.refusal.with_traceback(None)

    @contextmanager
    def _writing(self, wait: int = _LONGEST_WAIT) -> Generator[sqlite3.Connection]:
        """Let nobody else write to the file meanwhile; what is not committed at the end is undone."""
        with self._named("written"):
            connection = self._file.connection
            self._file.check_place()
            if wait != _LONGEST_WAIT:
                connection.execute(f"PRAGMA busy_timeout={wait}")
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            finally:
                _roll_back(connection)
                if wait != _LONGEST_WAIT:
                    connection.execute(f"PRAGMA busy_timeout={_LONGEST_WAIT}")

    @contextmanager
    def _named(self, doing: Doing) -> Generator[None]:
        try:
            with self._file.file.named_errors(doing):
                yield
        except LaterEnvelope as error:
            message = f"The journal {str(self.path)!r} is newer than this fusynk, which has to be upgraded: {error}."
            raise NewerJournal(message, path=str(self.path)) from error
        except (BrokenEnvelope, UnicodeDecodeError) as error:
            raise self._file.file.damaged(str(error)) from error

    def _found(self, connection: sqlite3.Connection, run_id: str) -> FoundRun:
        found = next(runs_in(connection, run_id), None)
        if found is None:
            raise unknown_run(run_id, str(self.path))
        return found

    def _found_or_new(self, connection: sqlite3.Connection, run_id: str, start: RunStart | None) -> FoundRun:
        found = next(runs_in(connection, run_id), None)
        if found is not None or start is None:
            return found or self._found(connection, run_id)
        encoded = start_to_bytes(run_id, start, os.urandom(8))
        number = insert_run(connection, run_id, encoded)
        return FoundRun(number, run_id, start, RunState(epoch=0, owner=""), mark_of(encoded))

    def _claimed(self, found: FoundRun, owner: str) -> Claim:
        try:
            return self._leases.claim(found.number, owner)
        except Held as error:
            raise run_locked(found.run_id, str(self.path), error.owner) from None


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # what went wrong first is what is told
            connection.execute("ROLLBACK")


def _taken(former: RunState, owner: str, records: int) -> RunState:
    return RunState(epoch=former.epoch + 1, owner=owner, status=former.status, records=records, ended=former.ended)


_open_journals: WeakSet[SqliteJournal] = WeakSet()


def _abandon_all() -> None:
    for journal in _open_journals:
        journal.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
