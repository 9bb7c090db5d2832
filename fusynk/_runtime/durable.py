"""What a run records: nothing follows from the end of a step before its record is committed."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import anyio
from anyio import CancelScope

from fusynk._core.codec import CODEC
from fusynk._core.envelope import Record, RecordKind
from fusynk._core.journalled import JournalStatus
from fusynk._core.model import CancelledBy, Skipped, Status
from fusynk._core.records import NEVER
from fusynk._core.replay import NO_CODEC, Known, place_of, skip_to_bytes
from fusynk._core.resuming import ResumingScheduler
from fusynk._core.scheduler import Scheduler
from fusynk._runtime.blocking import call_to_the_end
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
_LEAVES_OPEN: Final[frozenset[CancelledBy]] = frozenset({"caller", "stop", "signal"})


class Durable:
    """Records what becomes of the steps of a run, and lets it follow when that is committed.

    Args:
        run: The run.
        opened: Where it is recorded, and where it was left.

    Attributes:
        broken: Why something could not be recorded, or `None`; the run is left as it was last recorded.
        replayed: The names of what is known from the journal, in plan order.
    """

    def __init__(self, run: "Runner", opened: "OpenedRun") -> None:
        self._run = run
        self._journalled = opened.journalled
        self._replay = opened.replay
        recording = cast("Recording", run.program.recording)
        self._codec, self._artifacts, self._derived = recording.codec, recording.artifacts, recording.derived
        self._warn_above = recording.codec.sizes.warn_above
        self._add = opened.journalled.add
        self._scheduler = self._attached(cast("ResumingScheduler", run.scheduler))
        self._succeed = run.succeed if self._scheduler.watchers else partial(Scheduler.succeed, self._scheduler)
        self._names, self._base = run.program.wiring.names, self._scheduler.base
        self._started, self._ended = run.records.started, run.records.ended
        self._attempts, self._recovered = run.records.numbers, run.records.recovered
        self._wall = time.time() - run.clock()
        self._pending: deque[tuple[int, RecordKind, object]] = deque()
        self._told: deque[tuple[int, JournalError | None]] = deque()
        self._bell: anyio.Event | None = None
        self._notes_break_off = True
        self.broken: JournalError | None = None
        self.replayed: list[str] = []
        opened.line.listener = self._note_committed

    def _attached(self, scheduler: ResumingScheduler) -> ResumingScheduler:
        """Tell the state machine of the run what is known, and take its skips."""
        scheduler.note_known = self._note_known
        scheduler.note_begun = self._note_begun
        scheduler.record_skip = self._record_skip
        scheduler.in_fixed_order = self._codec.in_fixed_order
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
        record = Record(step=name, attempt=attempt, kind=kind, payload=payload, started=started, ended=ended)
        self._write(index, record, artifact)
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
            self._record(index, "failed", self._codec.encode_error(error), error)

    def note_attempt(self, index: int, error: BaseException) -> None:
        """Record that an attempt failed after which there is another one.

        Args:
            index: The step or item.
            error: Its error.
        """
        self._record(index, "attempted", self._codec.encode_error(error), None)

    def note_compensated(self, name: str) -> None:
        """Record that a step or an item was undone.

        Args:
            name: Its name.
        """
        self._write(_RUN, Record(step=name, attempt=0, kind="compensated", payload=b""), None)

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
        try:
            if self._add(record):
                self._pending.append((index, record.kind, value))
            else:  # the mark of a resource, which is set up in each process
                self._follow(index, record.kind, value)
        except JournalError as error:
            self._break(index, error)

    def flush(self) -> None:
        """Have written what is recorded, because others have their turn now."""
        if self._pending:
            self._journalled.flush()

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
            for _ in range(count):
                index, kind, value = next_pending()
                if error is not None:
                    self._break(index, error)
                elif kind == "succeeded" and not run.stopping:
                    succeed(index, value)
                elif kind in _STATES:
                    self._follow(index, kind, value)

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
            await call_to_the_end(self._close)

    def go_back_if_broken_off(self) -> None:
        """Go on with undoing a run that was broken off. Nothing of it is continued."""
        broken_off, run, replay = self._replay.broken_off, self._run, self._replay
        if broken_off is None:
            return
        self._notes_break_off = False
        self._ensure_items([*replay.order, broken_off.step] if broken_off.step else replay.order)
        self._scheduler.settle_known(replay.steps, replay.items)
        self._scheduler.settle_known(replay.lost_steps, replay.lost_items)
        if broken_off.step:
            index = self._index_of(broken_off.step)
            run.abort(index, broken_off.error)
        else:
            run.reason = broken_off.error
            run.stop("deadline")

    def _ensure_items(self, names: Iterable[str]) -> None:
        """Let items come into being whose fan-out goes over a resource, which is not set up to be undone."""
        counts: dict[int, int] = {}
        for name in names:
            step, number = place_of(name, self._scheduler.wiring)
            if number is not None:
                counts[step] = max(counts.get(step, 0), number + 1)
        for step, count in counts.items():
            self._scheduler.ensure_items(step, count)

    def _index_of(self, name: str) -> int:
        step, number = place_of(name, self._scheduler.wiring)
        return step if number is None else self._scheduler.items[step][number]

    async def may_undo(self) -> bool:
        """Tell whether the run is to be undone; if so, that is recorded first, and it is never continued."""
        if self._run.by in _LEAVES_OPEN or self.broken is not None:
            return False
        self._note_break_off()
        await self.wait_for_commits()
        return self.broken is None

    @property
    def compensated(self) -> Sequence[str]:
        """What was undone before, by name, in that order."""
        return self._replay.compensated if self._replay.broken_off is not None else ()

    def in_order_of_end(self, indexes: Sequence[int]) -> list[int]:
        """Return steps and items in the order in which they ended, in whatever process.

        Args:
            indexes: The steps and items, in the order in which this process heard of them.
        """
        places = {name: place for place, name in enumerate(self._replay.order)}
        return sorted(indexes, key=lambda index: places.get(self._scheduler.name_of(index), len(places)))

    def _note_break_off(self) -> None:
        """Record what broke the run off, once."""
        if not self._notes_break_off:
            return
        self._notes_break_off = False
        run = self._run
        name = "" if run.cause is None else self._scheduler.name_of(run.cause[0])
        error = cast("BaseException", run.reason)
        record = Record(step=name, attempt=0, kind="aborted", payload=self._codec.encode_error(error))
        self._write(_RUN, record, None)

    async def release(self) -> None:
        """Give the run free that has not begun."""
        await call_to_the_end(self._journalled.release)

    def _close(self) -> None:
        """Note how the run ended, and give it free. It blocks."""
        run = self._run
        try:
            if self.broken is None and not self._replay.is_over:
                if run.by in ("abort", "deadline"):
                    self._note_break_off()
                self._journalled.end(self._status)
        except JournalError as error:
            self.broken = self.broken or error
        finally:
            self._journalled.release()

    @property
    def _status(self) -> JournalStatus:
        return "cancelled" if self._run.by in _LEAVES_OPEN else self._run.status
