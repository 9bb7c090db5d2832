"""What a run records: nothing follows from the end of a step before its record is committed."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import anyio
from anyio import CancelScope

from fusynk._core.codec import CODEC
from fusynk._core.envelope import Record, RecordKind
from fusynk._core.journalled import JournalStatus
from fusynk._core.model import Skipped, Status
from fusynk._core.records import NEVER
from fusynk._core.replay import NO_CODEC, Known, skip_to_bytes
from fusynk._core.resuming import ResumingScheduler
from fusynk._core.scheduler import Scheduler
from fusynk._runtime.blocking import call_to_the_end
from fusynk._runtime.undoing import LEAVES_OPEN, Undoing
from fusynk.errors import JournalError, Unstorable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fusynk._core.recording import Recording
    from fusynk._runtime.opening import OpenedRun
    from fusynk._runtime.runner import Runner

_RUN: Final = -1  # stands for the step of a record that is about the run
_STATES: Final[dict[RecordKind, Status]] = {
    "succeeded": Status.SUCCEEDED,
    "recovered": Status.SUCCEEDED,
    "failed": Status.FAILED,
    "skipped": Status.SKIPPED,
}

Pending: TypeAlias = tuple[int, RecordKind, object]
"""A step or an item, what its record says, and its artifact, its error, why it was skipped, or the delay of a retry."""


class Durable:
    """Records what becomes of the steps of a run, and lets it follow when that is committed.

    Args:
        run: The run.
        opened: Where it is recorded, and where it was left.

    Attributes:
        codec: What codes errors.
        undoing: Records what is undone.
        broken: Why something could not be recorded, or `None`; the run is left as it was last recorded.
        replayed: The names of what is known from the journal, in plan order.
    """

    def __init__(self, run: "Runner", opened: "OpenedRun") -> None:
        self._run = run
        self._journalled = opened.journalled
        self._replay = opened.replay
        recording = cast("Recording", run.program.recording)
        self.codec, self._artifacts, self._derived = recording.codec, recording.artifacts, recording.derived
        self._warn_above = recording.codec.sizes.warn_above
        self._batch: list[Record] = []
        self._scheduler = self._attached(cast("ResumingScheduler", run.scheduler))
        self._succeed = run.succeed if self._scheduler.watchers else partial(Scheduler.succeed, self._scheduler)
        self._names, self._base = run.program.wiring.names, self._scheduler.base
        self._started, self._ended = run.records.started, run.records.ended
        self._attempts, self._recovered = run.records.numbers, run.records.recovered
        self._wall = time.time() - run.clock()
        self._pending: deque[Pending] = deque()
        self._told: deque[tuple[int, JournalError | None]] = deque()
        self._bell: anyio.Event | None = None
        self.broken: JournalError | None = None
        self.replayed: list[str] = []
        self.undoing = Undoing(run, self, opened.replay)
        opened.line.listener = self._note_committed

    def _attached(self, scheduler: ResumingScheduler) -> ResumingScheduler:
        """Tell the state machine of the run what is known, and take its skips."""
        scheduler.note_known = self._note_known
        scheduler.note_begun = self._note_begun
        scheduler.record_skip = self._record_skip
        scheduler.in_fixed_order = self.codec.in_fixed_order
        scheduler.recall(self._replay.steps, self._replay.items)
        return scheduler

    def _note_begun(self, indexes: Iterable[int]) -> None:
        """Go on counting attempts where former processes stopped."""
        before = self._replay.attempts
        if not before:
            return
        for index in indexes:
            failed = before.get(self._scheduler.name_of(index), 0)
            if failed:
                self._run.records.numbers[index] = failed + 1

    def _note_known(self, index: int, known: Known) -> None:
        self.replayed.append(self._scheduler.name_of(index))
        if known.is_recovered:
            self._recovered.add(index)

    # What becomes of steps

    def succeed(self, index: int, artifact: object) -> Unstorable | None:
        """Record the artifact of a step or an item. Returns why it cannot be recorded, if it cannot.

        Args:
            index: The step or item.
            artifact: What it returned.
        """
        is_step = index < self._base
        coder = self._artifacts[index if is_step else self._scheduler.step_of(index)]
        if coder is None:
            self._succeed_for_now(index, artifact)
            return None
        name = self._names[index] if is_step else self._scheduler.name_of(index)
        try:
            payload, artifact = coder.keep(artifact, step=name)
        except Unstorable as error:
            return error
        if len(payload) > self._warn_above:
            self._run.warn(index, f"An artifact of {len(payload):,} bytes is large for a journal")
        started, ended = self._started[index] + self._wall, self._ended[index] + self._wall
        kind: RecordKind = "recovered" if index in self._recovered else "succeeded"
        attempt = self._attempts.get(index, 1)
        self._batch.append(Record(step=name, attempt=attempt, kind=kind, payload=payload, started=started, ended=ended))
        self._pending.append((index, kind, artifact))
        return None

    def _succeed_for_now(self, index: int, artifact: object) -> None:
        """Let follow what no other process can use; of resources it is noted that they were there."""
        if self._scheduler.step_of(index) in self._derived:
            self._follow(index, "succeeded", artifact)
        else:
            self._record(index, "succeeded", b"", artifact, codec=NO_CODEC)

    def fail(self, index: int, error: BaseException) -> None:
        """Record that a step or an item failed for good, under a policy that lets the run go on.

        Args:
            index: The step or item.
            error: Its error.
        """
        if self._scheduler.step_of(index) in self._derived:
            self._follow(index, "failed", error)
        else:
            self._record(index, "failed", self.codec.encode_error(error), error)

    def note_attempt(self, index: int, error: BaseException, delay: float) -> None:
        """Record that an attempt failed, and have the next one made after that.

        Args:
            index: The step or item.
            error: Its error.
            delay: Seconds until the next attempt.
        """
        self._record(index, "attempted", self.codec.encode_error(error), delay)

    def _record_skip(self, step: int, skipped: Skipped) -> None:
        self._record(step, "skipped", skip_to_bytes(skipped), skipped)

    def _record(self, index: int, kind: RecordKind, payload: bytes, value: object, *, codec: str = CODEC) -> None:
        name = self._names[index] if index < self._base else self._scheduler.name_of(index)
        attempt, started, ended = self._attempts.get(index, 1), 0.0, 0.0
        if kind == "skipped":
            attempt = 0
        elif index < len(self._started) and self._started[index] != NEVER:
            started, ended = self._started[index] + self._wall, self._ended[index] + self._wall
        self._write(
            index,
            Record(step=name, attempt=attempt, kind=kind, payload=payload, started=started, ended=ended, codec=codec),
            value,
        )

    def _write(self, index: int, record: Record, value: object) -> None:
        self._batch.append(record)
        self._pending.append((index, record.kind, value))

    def note(self, record: Record) -> None:
        """Record something of the run, and not of one of its steps.

        Args:
            record: The record.
        """
        self._write(_RUN, record, None)
        self.flush()

    def flush(self) -> None:
        """Have written what is recorded, because others have their turn now."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        try:
            refused = self._journalled.append_all(batch)
        except JournalError as error:
            for index, _, _ in self._withdrawn(batch):
                self._break(index, error)
            return
        if refused:  # the marks of resources, which are set up in each process
            pending = list(zip(batch, self._withdrawn(batch), strict=True))
            self._pending.extend(entry for record, entry in pending if record not in refused)
            for record, entry in pending:
                if record in refused:
                    self._follow(*entry)

    def _withdrawn(self, batch: Sequence[Record]) -> list[Pending]:
        """Take back what was recorded last."""
        return [self._pending.pop() for _ in batch][::-1]

    # What is committed

    @property
    def is_committing(self) -> bool:
        """Whether something is recorded that is not committed yet."""
        return bool(self._pending)

    def _note_committed(self, records: Sequence[Record], error: JournalError | None) -> None:
        """Hear of records, in the order in which they were appended. The run sees to it in its own tasks."""
        self._told.append((len(records), error))
        self._run.host.wake()
        if self._bell is not None:
            self._bell.set()

    def acknowledge(self) -> None:
        """Let follow what is committed."""
        run, succeed, next_pending = self._run, self._succeed, self._pending.popleft
        while self._told:
            count, error = self._told.popleft()
            if error is not None and not count:
                self._lose(error)
            for _ in range(count):
                index, kind, value = next_pending()
                if error is not None:
                    self._break(index, error)
                elif kind == "succeeded" and not run.stopping:
                    succeed(index, value)
                elif kind in _STATES:
                    self._follow(index, kind, value)
                elif kind == "attempted" and not run.stopping:
                    run.outcomes.try_again(index, cast("float", value))

    def _follow(self, index: int, kind: RecordKind, value: object) -> None:
        run = self._run
        if run.stopping:
            self._scheduler.settle(index, _STATES[kind], value)
        elif kind == "succeeded":
            self._succeed(index, value)
        elif kind == "recovered":
            self._scheduler.succeed(index, value)
        elif kind == "failed":
            self._scheduler.fail(index, cast("BaseException", value))
        else:
            self._scheduler.skip(index, cast("Skipped", value))

    def _break(self, index: int, error: JournalError) -> None:
        """End the run with what could not be recorded. Its step is not complete."""
        self.broken = self.broken or error
        if index == _RUN:
            return
        if self._run.stopping:
            self._scheduler.settle(index, Status.FAILED, error)
        else:
            self._run.abort(index, error)

    @property
    def is_silent(self) -> bool:
        """Whether somebody else may have taken the run over."""
        return self._journalled.is_silent

    async def assure(self) -> None:
        """Make sure that nobody took the run over while this process was silent; end it if somebody did."""
        try:
            await call_to_the_end(self._journalled.assure)
        except JournalError as error:
            self._lose(error)

    def _lose(self, error: JournalError) -> None:
        """End the run that somebody else has now."""
        self.broken = self.broken or error
        if not self._run.stopping:
            self._run.reason = error
            self._run.stop("abort")

    async def wait_for_commits(self) -> None:
        """Wait until everything that is recorded is committed, whatever is cancelled meanwhile; then let it follow."""
        late: BaseException | None = None
        with CancelScope(shield=True):
            while self._pending:
                self.flush()
                self._bell = anyio.Event()
                late = await self._news(self._bell) or late
                self.acknowledge()
        self._bell = None
        if late is not None:
            raise late

    async def _news(self, bell: anyio.Event) -> BaseException | None:
        """Wait until something is committed. Returns a native cancellation that came instead."""
        try:
            if not self._told:
                await bell.wait()
        except anyio.get_cancelled_exc_class() as error:
            return error
        return None

    # How it ends

    async def follow(self, work: "Callable[[], Awaitable[None]]") -> None:
        """Run something, then note how the run ended and give it free.

        Args:
            work: Everything that the run does.
        """
        try:
            await work()
        finally:
            if self.broken is None and not self._replay.is_over and self._run.by in ("abort", "deadline"):
                self.undoing.note_break_off()
            self.flush()
            await call_to_the_end(self._close)

    async def release(self) -> None:
        """Give the run free that has not begun."""
        await call_to_the_end(self._journalled.release)

    def _close(self) -> None:
        """Note how the run ended, and give it free. It blocks."""
        try:
            if self.broken is None and not self._replay.is_over:
                self._journalled.end(self._status)
        except JournalError as error:
            self.broken = self.broken or error
        finally:
            self._journalled.release()

    @property
    def _status(self) -> JournalStatus:
        run = self._run
        if run.by in LEAVES_OPEN:
            return "cancelled"
        # A teardown belongs to its process; what it says of the run is raised there.
        return "failed" if run.by is not None or Status.FAILED in self._scheduler.state else "succeeded"
