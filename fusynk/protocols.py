"""The seams: what can be replaced from outside, one small protocol each."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from fusynk._core.codec import Codec
    from fusynk._core.envelope import Record
    from fusynk._core.events import Event
    from fusynk._core.journalled import JournalStatus, RunStart, RunState, RunSummary
    from fusynk.errors import JournalError


class Instrument(Protocol):
    """What looks on at a run: spans, logs. It is told of every event, and enters the context of every body."""

    def enter(self, step: str, attempt: int) -> None:
        """Prepare the context of a body. Called inside it, after the event of its start and before the body itself.

        Args:
            step: The name of the step or item.
            attempt: Which attempt it is, from 1.
        """
        ...

    def hear(self, event: "Event") -> None:
        """Take an event."""
        ...


class Executor(Protocol):
    """Where synchronous functions run.

    Attributes:
        abandoned: How many calls are still at work though nobody waits for them.
    """

    abandoned: int

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:
        """Call a function and return what it returned.

        Args:
            function: The synchronous function.
            arguments: Its positional arguments.
            abandon: Whether to come back at once when cancelled, leaving the call behind.

        Raises:
            BaseException: What the function raised.
        """
        ...


Poster: TypeAlias = Callable[[Callable[[], object]], object]
"""What has an event loop call a function soon, from any thread; see `loop_poster`."""
OnCommit: TypeAlias = "Callable[[Sequence[Record], JournalError | None], object]"
"""What is told of records: that they are durable, or by which error they are not.

Of each group once, and of each record once, in the order in which they were appended. An error with no records says
that the run was taken over."""


class OpenRun(Protocol):
    """A run that its owner writes to.

    Attributes:
        run_id: Its id.
        start: What it began with: of a run that was there before, that of then.
        state: Where it was when it was opened, with this owner in it.
        records: What was in it when it was opened, in order.
    """

    run_id: str
    start: "RunStart"
    state: "RunState"
    records: "Sequence[Record]"

    @property
    def is_silent(self) -> bool:
        """Whether there was no sign of life for so long that somebody else may have taken the run over."""
        ...

    def assure(self) -> None:
        """Make sure that nobody took the run over, and give a sign of life. It blocks.

        Raises:
            RunTakenOver: Somebody did; nothing more is written.
        """
        ...

    def append(self, record: "Record") -> bool:
        """Have a record written. It is durable when `on_commit` is told so, and not before.

        It does not block. To be called from one thread at a time. What is appended is written in that order; if a
        record cannot be written, later ones still may be, and the same one may be appended again.

        Args:
            record: The record.

        Returns:
            False if the step has an outcome already, or one is on its way; the first one wins, and nothing is written.

        Raises:
            JournalClosed: The run was released or has ended, or its journal was closed.
        """
        ...

    def append_all(self, records: "Sequence[Record]") -> "Sequence[Record]":
        """Have records written as one group, which is cheaper. In all else it is as `append`.

        Args:
            records: The records, in order.

        Returns:
            Those that are not written, because their steps have outcomes already, or they are on their way.

        Raises:
            JournalClosed: As `append`.
        """
        ...

    def end(self, status: "JournalStatus") -> None:
        """Note how the run ended, durably, after all that was appended. It blocks. Nothing can be appended then.

        Args:
            status: How it ended; "open" lets a run that has ended go on.

        Raises:
            JournalError: It cannot be written, or the run was taken over.
        """
        ...

    def release(self) -> None:
        """Give the run free, after all that was appended. It blocks. Nothing happens if that was done before."""
        ...


class Journal(Protocol):
    """Where runs are recorded. A step is complete if and only if its record is committed here.

    Its methods block, and may be called from any thread, several at once.

    Attributes:
        codec: What codes artifacts, inputs and errors.
    """

    codec: "Codec"

    def open_run(
        self,
        run_id: str,
        start: "RunStart | None" = None,
        *,
        on_commit: "OnCommit",
        post: "Poster | None" = None,
        owner: str | None = None,
    ) -> OpenRun:
        """Take a run for this owner alone, as a new one or where it was left, and check all of it.

        Args:
            run_id: Its id.
            start: What a new run begins with; `None` if it must be there. Whether the one that is there began with the
                same is the caller's to compare.
            on_commit: Is told of records, once for each group that is committed.
            post: Has the caller's loop call `on_commit`; without it a thread of the journal does.
            owner: What others are told who want the run too; the OS process, if it is left out.

        Raises:
            RunLocked: Somebody else has it; it is free when they release it or die, or are silent for too long.
            UnknownRun: It is not there, and no start is given.
            JournalError: The journal cannot be read or written, or is damaged.
        """
        ...

    def runs(self) -> "Sequence[RunSummary]":
        """Return all runs, the oldest first.

        Raises:
            JournalError: The journal cannot be read.
        """
        ...

    def history(self, run_id: str) -> "Sequence[Record]":
        """Return what is recorded of a run, in order. It need not be free.

        Args:
            run_id: Its id.

        Raises:
            UnknownRun: It is not there.
            JournalError: The journal cannot be read.
        """
        ...

    def delete(self, run_id: str) -> None:
        """Remove a run.

        Args:
            run_id: Its id.

        Raises:
            UnknownRun: It is not there.
            RunLocked: Somebody has it.
            JournalError: The journal cannot be written.
        """
        ...

    def close(self) -> None:
        """Release all runs, after what was appended to them, and give the journal free. Nothing happens twice."""
        ...
