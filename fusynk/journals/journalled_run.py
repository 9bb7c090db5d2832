"""A run that is open in a journal: which of its steps are complete, and who is told when records are durable."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from fusynk._core.envelope import FINAL, Record, Seal
from fusynk._core.journalled import JournalStatus, RunStart, RunState
from fusynk.errors import JournalClosed, JournalError, RunLocked, UnknownRun
from fusynk.journals.claims import this_process
from fusynk.protocols import OnCommit, Poster


class Backend:
    """What a journal does for its open runs. Each takes the run first."""

    __slots__ = ("assure", "end", "is_silent", "path", "release")

    def __init__(
        self,
        path: str,
        end: "Callable[[JournalledRun, JournalStatus], None]",
        release: "Callable[[JournalledRun], None]",
        assure: "Callable[[JournalledRun], None]",
        is_silent: "Callable[[], bool]",
    ) -> None:
        self.path = path
        self.end = end
        self.release = release
        self.assure = assure
        self.is_silent = is_silent


class JournalledRun:
    """See `OpenRun`.

    Attributes:
        run_id: See there.
        start: See there.
        state: See there.
        records: See there.
        is_open: Whether it can be written to.
        refusal: Why it cannot, if it was taken over.
        count: How many records are committed.
        seal: Puts its records into envelopes.
        number: What the journal knows the run by.
    """

    def __init__(
        self,
        run_id: str,
        start: RunStart,
        state: RunState,
        records: Sequence[Record],
        *,
        number: int,
        seal: Seal,
        backend: Backend,
        wake: "Callable[[JournalledRun], object]",
        on_commit: OnCommit,
        post: Poster | None,
    ) -> None:
        self.run_id = run_id
        self.start = start
        self.state = state
        self.records: Sequence[Record] = tuple(records)
        self.count = len(self.records)
        self.seal = seal
        self.number = number
        self.is_open = True
        self.refusal: JournalError | None = None
        self._complete = {record.step for record in self.records if record.kind in FINAL}
        self._backend = backend
        self._pending: list[Record] = []
        self._wake = wake
        self._on_commit = on_commit
        self._post = post

    def append(self, record: Record) -> bool:
        """See `OpenRun`.

        Args:
            record: The record.

        Raises:
            JournalClosed: The run is not open.
        """
        return not self.append_all([record])

    def append_all(self, records: Sequence[Record]) -> Sequence[Record]:
        """See `OpenRun`.

        Args:
            records: The records.

        Raises:
            JournalClosed: The run is not open.
        """
        if not self.is_open or self.state.status != "open":
            raise self._closed()
        steps = [record.step for record in records if record.kind in FINAL]
        refused: Sequence[Record] = ()
        if self._complete.isdisjoint(steps) and len(set(steps)) == len(steps):
            self._complete.update(steps)
        else:
            refused = [record for record in records if not self._is_first(record)]
            records = [record for record in records if record not in refused]
        self._pending += records
        if records:
            self._wake(self)
        return refused

    def _is_first(self, record: Record) -> bool:
        """Tell whether a record is the first that says how its step ended; there is no other one from then on."""
        if record.kind not in FINAL:
            return True
        is_first = record.step not in self._complete
        self._complete.add(record.step)
        return is_first

    def take(self) -> list[Record]:
        """Return what waits to be written. One thread may take while another one appends."""
        taken: list[Record] = []
        pending = self._pending
        while pending:
            count = len(pending)
            taken += pending[:count]
            del pending[:count]
        return taken

    def end(self, status: JournalStatus) -> None:
        """See `OpenRun`.

        Args:
            status: How it ended.

        Raises:
            JournalError: It cannot be written.
        """
        if not self.is_open:
            raise self._closed()
        self._backend.end(self, status)

    def release(self) -> None:
        """See `OpenRun`."""
        self.is_open = False
        self._backend.release(self)

    @property
    def is_silent(self) -> bool:
        """See `OpenRun`."""
        return self._backend.is_silent()

    def assure(self) -> None:
        """See `OpenRun`.

        Raises:
            RunTakenOver: Somebody took the run over.
        """
        self._backend.assure(self)

    def fence(self, error: JournalError) -> None:
        """Let nothing more be written.

        Args:
            error: Why.
        """
        self.is_open, self.refusal = False, error

    def tell(self, records: Sequence[Record], error: JournalError | None) -> None:
        """Have the owner told what became of records.

        Args:
            records: The records.
            error: Why they are not committed, or `None`.
        """
        if error is not None:
            self._complete.difference_update([record.step for record in records if record.kind in FINAL])
        self._call_owner(lambda: self._on_commit(records, error))

    def _call_owner(self, call: Callable[[], object]) -> None:
        if self._post is None:
            call()
            return
        with suppress(RuntimeError):  # the loop has ended, on either backend, and nobody waits
            self._post(call)

    def _closed(self) -> JournalError:
        if self.refusal is not None:
            return self.refusal.with_traceback(None)
        why = (
            f"has ended: it {self.state.status}; call end('open') to go on"
            if self.is_open
            else "is not open here; open it anew"
        )
        return JournalClosed(f"The run {self.run_id!r} {why}.", path=self._backend.path, run_id=self.run_id)


def unknown_run(run_id: str, path: str) -> UnknownRun:
    """Return the error for an id that no run has.

    Args:
        run_id: The id.
        path: The file of the journal.
    """
    where = f"The journal {path!r}" if path else "The journal"
    return UnknownRun(f"{where} has no run {run_id!r}; journal.runs() tells which it has.", path=path, run_id=run_id)


def run_locked(run_id: str, path: str, owner: str | None) -> RunLocked:
    """Return the error for a run that somebody has.

    Args:
        run_id: Its id.
        path: The file of the journal.
        owner: Who has it, if that is known.
    """
    by = "somebody else" if owner is None else owner
    advice = "wait until it has ended there, or end that process"
    if owner == this_process():
        by = f"this very process, {owner}"
        advice = "wait until it has ended, or give each run an id of its own"
    message = f"The run {run_id!r} is in the hands of {by}; {advice}."
    return RunLocked(message, path=path, run_id=run_id, owner=owner)


def ended_state(run: JournalledRun, status: JournalStatus) -> RunState:
    """Return the state of a run that ends, or goes on.

    Args:
        run: The run.
        status: How it ends; "open" if it goes on.
    """
    ended = None if status == "open" else time.time()
    return RunState(epoch=run.state.epoch, owner=run.state.owner, status=status, records=run.count, ended=ended)
