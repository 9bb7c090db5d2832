"""A journal that lasts as long as its object, for tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import starmap
from threading import Lock

from fusynk._core.codec import Codec
from fusynk._core.envelope import Record, Seal
from fusynk._core.journalled import JournalStatus, RunStart, RunState, RunSummary, summary_of
from fusynk.journals.claims import this_process
from fusynk.journals.journalled_run import Backend, JournalledRun, ended_state, run_locked, unknown_run
from fusynk.protocols import OnCommit, Poster


@dataclass(slots=True)
class _Kept:
    """What is kept of a run."""

    start: RunStart
    state: RunState
    seal: Seal
    envelopes: list[bytes] = field(default_factory=list[bytes])
    owner: JournalledRun | None = None

    def records(self) -> list[Record]:
        return [self.seal.open(number, envelope) for number, envelope in enumerate(self.envelopes, 1)]


def _note_nothing(_run: JournalledRun) -> None:
    """Nobody takes a run over in memory."""


class MemoryJournal:
    """A journal in memory. What is appended is kept at once.

    >>> journal = MemoryJournal()
    >>> told = []
    >>> start = RunStart(fingerprint="9f3c", inputs=b"{}")
    >>> run = journal.open_run("order-42", start, on_commit=lambda *of: told.append(of))
    >>> run.append(Record(step="pay", attempt=1, kind="succeeded", payload=b"3"))
    True
    >>> run.append(Record(step="pay", attempt=2, kind="succeeded", payload=b"4"))
    False
    >>> run.release()
    >>> [record.payload for record in journal.history("order-42")]
    [b'3']
    """

    def __init__(self, *, codec: Codec | None = None) -> None:
        """Make an empty one.

        Args:
            codec: What codes artifacts, inputs and errors; left out, one without conversions.
        """
        self.codec = codec or Codec()
        self._runs: dict[str, _Kept] = {}
        self._lock = Lock()
        self._backend = Backend("", self._end, self._release, assure=_note_nothing, is_silent=bool)

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
            post: Has the caller's loop call it; without it `append` does.
            owner: What others are told.

        Raises:
            RunLocked: Somebody else has it.
            UnknownRun: It is not there, and no start is given.
        """
        with self._lock:
            kept = self._runs.get(run_id)
            if kept is None:
                if start is None:
                    raise unknown_run(run_id, "")
                state = RunState(epoch=0, owner="")
                kept = self._runs[run_id] = _Kept(start, state, Seal(run_id, start.fingerprint))
            self._check_free(run_id, kept)
            former = kept.state
            kept.state = RunState(
                epoch=former.epoch + 1,
                owner=owner or this_process(),
                status=former.status,
                records=len(kept.envelopes),
                ended=former.ended,
            )
            kept.owner = JournalledRun(
                run_id,
                kept.start,
                kept.state,
                kept.records(),
                number=0,
                seal=kept.seal,
                backend=self._backend,
                wake=self._keep,
                on_commit=on_commit,
                post=post,
            )
            return kept.owner

    def runs(self) -> Sequence[RunSummary]:
        """See `Journal`."""
        with self._lock:
            return [summary_of(run_id, kept.start, kept.state) for run_id, kept in self._runs.items()]

    def history(self, run_id: str) -> Sequence[Record]:
        """See `Journal`.

        Args:
            run_id: The id of the run.

        Raises:
            UnknownRun: It is not there.
        """
        with self._lock:
            return self._found(run_id).records()

    def delete(self, run_id: str) -> None:
        """See `Journal`.

        Args:
            run_id: The id of the run.

        Raises:
            UnknownRun: It is not there.
            RunLocked: Somebody has it.
        """
        with self._lock:
            self._check_free(run_id, self._found(run_id))
            del self._runs[run_id]

    def close(self) -> None:
        """See `Journal`. What is kept stays, and runs may be opened again."""
        with self._lock:
            owners = [kept.owner for kept in self._runs.values() if kept.owner is not None]
        for owner in owners:
            owner.release()

    def _keep(self, run: JournalledRun) -> None:
        """Keep what was added to a run, and tell its owner."""
        records = run.take()
        if records:
            with self._lock:
                kept = self._runs[run.run_id]
                kept.envelopes += starmap(kept.seal.close, enumerate(records, run.count + 1))
                run.count += len(records)
            run.tell(records, None)

    def _end(self, run: JournalledRun, status: JournalStatus) -> None:
        self._keep(run)
        with self._lock:
            kept = self._runs[run.run_id]
            kept.state = run.state = ended_state(run, status)

    def _release(self, run: JournalledRun) -> None:
        self._keep(run)
        with self._lock:
            kept = self._runs.get(run.run_id)
            if kept is not None and kept.owner is run:
                kept.owner = None

    def _found(self, run_id: str) -> _Kept:
        kept = self._runs.get(run_id)
        if kept is None:
            raise unknown_run(run_id, "")
        return kept

    def _check_free(self, run_id: str, kept: _Kept) -> None:
        if kept.owner is not None:
            raise run_locked(run_id, "", kept.state.owner)
