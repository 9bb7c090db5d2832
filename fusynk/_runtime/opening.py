"""Taking a run from its journal: as a new one, or where it was left."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fusynk._core.envelope import Record
from fusynk._core.fingerprint import differences
from fusynk._core.journalled import RunStart
from fusynk._core.program import Program
from fusynk._core.replay import Replay, replay_of
from fusynk._runtime.backend import loop_poster
from fusynk._runtime.blocking import call_to_the_end
from fusynk.errors import DamagedJournal, JournalError, PlanMismatch
from fusynk.protocols import Journal, OpenRun, Poster

if TYPE_CHECKING:
    from fusynk._core.recording import Recording


class CommitLine:
    """Hands on what becomes of records, to whoever is there when the run begins."""

    def __init__(self) -> None:
        self.listener: Callable[[Sequence[Record], JournalError | None], object] | None = None

    def __call__(self, records: Sequence[Record], error: JournalError | None) -> None:
        """Be told of records."""
        if self.listener is not None:
            self.listener(records, error)


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A run that this process may write to.

    Attributes:
        journalled: The run in its journal.
        line: Hands on what becomes of records.
        inputs: The values of its inputs.
        replay: Where it is.
    """

    journalled: OpenRun
    line: CommitLine
    inputs: Sequence[object]
    replay: Replay

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.journalled.run_id

    async def release(self) -> None:
        """Give the run free."""
        await call_to_the_end(self.journalled.release)


async def open_run(program: Program, run_id: str, inputs: Sequence[object] | None) -> OpenedRun:
    """Take a run from the plan's journal for this process alone.

    Args:
        program: The plan.
        run_id: The id of the run.
        inputs: The values of its inputs; `None` if the run must be there, and those are taken that it began with.

    Raises:
        RunLocked: Somebody else has it.
        PlanMismatch: It was begun by another plan, or with other inputs.
        Unstorable: An input cannot be kept in the journal.
        JournalError: The journal cannot be read or written, or is damaged, or has no such run.
    """
    opening = _Opening(program, run_id, inputs, loop_poster())
    return await call_to_the_end(opening.open, undo=lambda opened: opened.journalled.release())


class _Opening:
    """One try to open a run, in a thread."""

    def __init__(self, program: Program, run_id: str, inputs: Sequence[object] | None, post: Poster) -> None:
        self._program = program
        self._recording = cast("Recording", program.recording)
        self._journal = cast("Journal", program.settings.journal)
        self._run_id = run_id
        self._inputs = inputs
        self._post = post

    def open(self) -> OpenedRun:
        line = CommitLine()
        journalled = self._journal.open_run(self._run_id, self._start(), on_commit=line, post=self._post)
        try:
            inputs = self._checked(journalled)
            replay = self._replay(journalled)
            if not replay.is_over and journalled.state.status != "open":
                journalled.end("open")
        except BaseException:
            journalled.release()
            raise
        return OpenedRun(journalled, line, inputs, replay)

    def _start(self) -> RunStart | None:
        if self._inputs is None:
            return None
        return RunStart(
            fingerprint=self._recording.fingerprint,
            inputs=self._recording.inputs_to_bytes(self._inputs),
            plan=self._recording.description,
            created=time.time(),
        )

    def _checked(self, journalled: OpenRun) -> Sequence[object]:
        """Return the inputs of the run, if it was begun by this plan and with these inputs."""
        recording = self._recording
        with self._named():
            if journalled.start.fingerprint != recording.fingerprint:
                found = differences(journalled.start.plan, recording.description)
                raise self._mismatch(
                    f"was begun by another plan: {found}",
                    added=found.added,
                    removed=found.removed,
                    changed=found.changed,
                )
            inputs = recording.inputs_from_bytes(journalled.start.inputs)
        names = () if self._inputs is None else recording.changed_inputs(inputs, self._inputs)
        changed = tuple(f"the input {name!r} is another one" for name in names)
        if changed:
            raise self._mismatch(f"was begun with other inputs: {'; '.join(changed)}", changed=changed)
        return inputs

    def _mismatch(
        self, what: str, *, changed: tuple[str, ...], added: tuple[str, ...] = (), removed: tuple[str, ...] = ()
    ) -> PlanMismatch:
        message = (
            f"The run {self._run_id!r} {what}. Resume it with what it began with, or begin a run of another id; "
            "nothing was changed."
        )
        path = str(getattr(self._journal, "path", ""))
        return PlanMismatch(message, path=path, run_id=self._run_id, added=added, removed=removed, changed=changed)

    def _replay(self, journalled: OpenRun) -> Replay:
        with self._named():
            replay = replay_of(journalled.records, journalled.state.status, self._program.wiring, self._recording)
        if not self._program.compensations:
            replay.broken_off = None  # it goes on where it was left
        return replay

    @contextmanager
    def _named(self) -> Generator[None]:
        """Say of what is damaged in which journal and run it lies."""
        try:
            yield
        except DamagedJournal as error:
            path = str(getattr(self._journal, "path", ""))
            message = f"The run {self._run_id!r} in the journal {path!r} is refused, and left as it is: {error}"
            raise DamagedJournal(message, path=path, run_id=self._run_id) from error
