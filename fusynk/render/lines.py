"""The progress of a run as plain lines, for where there is no terminal to draw on."""

from collections import deque
from typing import Literal, TextIO

from fusynk._core.events import (
    AttemptFailed,
    AttemptStarted,
    BodyStuck,
    CompensationFailed,
    Event,
    MilestoneReached,
    RetryScheduled,
    RunEnded,
    RunStarted,
    StepCancelled,
    StepCompensated,
    StepEvent,
    StepExpanded,
    StepFailed,
    StepSkipped,
    StepSucceeded,
    TeardownFailed,
    ThreadAbandoned,
)
from fusynk.render.bars import short_time
from fusynk.render.escape import for_terminal
from fusynk.render.streams import encodable, takes_more, warn
from fusynk.render.words import LONGEST_NAME, counted, shortened

_MOST_PENDING = 1000
_TIME = 9
_PARTS = 10  # of the items of a fan-out, each of which is said


class Lines:
    """Writes a line for each change of a run. The items of a fan-out are counted; of those only failures have lines.

    What the stream does not take at once is kept, up to 1000 lines, because waiting would hold up the run.

    Args:
        stream: Where to.
    """

    hears_events: Literal[True] = True

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = 0.0
        self._since: dict[str, float] = {}
        self._errors: dict[str, str] = {}
        self._items: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._counts = dict.fromkeys(("succeeded", "failed", "skipped", "cancelled"), 0)
        self._pending: deque[str] = deque()
        self._lost = 0
        self._is_broken = False

    def hear(self, event: Event) -> None:
        """Write what an event says; what fails ends the view with a warning, and not the run."""
        if self._is_broken:
            return
        try:
            self._write_of(event)
        except Exception as error:  # noqa: BLE001 - logged
            self._is_broken = True
            warn(error)

    def _write_of(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._begun = event.time
        text = self._of_step(event) if isinstance(event, StepEvent) else self._of_run(event)
        if text:
            self._write(f"{short_time(event.time - self._begun):>{_TIME}}  {text}")

    def _of_run(self, event: Event) -> str:
        match event:
            case RunStarted(run_id=run_id, steps=steps):
                return f"run {_shown(run_id)}: {counted(len(steps), 'step')}"
            case RunEnded(run_id=run_id, status=status):
                counts = ", ".join(f"{count:,} {kind}" for kind, count in self._counts.items() if count)
                return f"run {_shown(run_id)} {status}: {counts or 'no steps'}"
            case _:
                return ""

    def _of_step(self, event: StepEvent) -> str:
        owner = event.step.rpartition("[")[0]
        if owner in self._items:
            return self._of_item(event, owner)
        step = _shown(event.step)
        match event:
            case AttemptStarted(attempt=attempt):
                self._since.setdefault(event.step, event.time)
                return f"{step} started" + (f", attempt {attempt}" if attempt > 1 else "")
            case StepExpanded(count=count):
                self._items[event.step] = count
                self._since[event.step] = event.time
                return f"{step} has {counted(count, 'item')}"
            case StepSucceeded() | StepFailed() | StepSkipped() | StepCancelled():
                return self._of_end(event, step)
            case _:
                return self._of_attempt(event, step)

    def _of_end(self, event: StepEvent, step: str) -> str:
        """Count a step that has ended, and say how."""
        since = self._since.pop(event.step, None)
        after = "" if since is None else f" after {short_time(event.time - since)}"
        text = ""
        match event:
            case StepSucceeded(recovered=recovered):
                self._counts["succeeded"] += 1
                error = _shown(self._errors.pop(event.step, "an error"))
                text = f"{step} succeeded{after}" + (f", recovered from {error}" if recovered else "")
            case StepFailed(error=error):
                self._counts["failed"] += 1
                text = f"{step} failed{after}: {_shown(error)}"
            case StepSkipped(because=because, cause=cause):
                self._counts["skipped"] += 1
                why = "failed" if cause == "failure" else "did not meet a condition"
                text = f"{step} skipped: {_shown(because)} {why}"
            case _:
                self._counts["cancelled"] += 1
                text = f"{step} cancelled{after}" if since is not None else ""  # those that never began are many
        return text

    def _of_item(self, event: StepEvent, owner: str) -> str:
        """Count an item that has ended; say what went wrong with it, and now and then how many there are."""
        item, total = _shown(event.step), self._items[owner]
        if isinstance(event, StepFailed):
            self._count(owner)
            return f"{item} failed: {_shown(event.error)}"
        if not isinstance(event, (StepSucceeded, StepSkipped, StepCancelled)):
            return "" if isinstance(event, AttemptStarted) else self._of_attempt(event, item)
        done = self._count(owner)
        is_round = done * _PARTS // total > (done - 1) * _PARTS // total
        return f"{_shown(owner)} has done {done:,} of {counted(total, 'item')}" if is_round and done < total else ""

    def _count(self, owner: str) -> int:
        done = self._done[owner] = self._done.get(owner, 0) + 1
        return done

    def _of_attempt(self, event: StepEvent, step: str) -> str:
        match event:
            case AttemptFailed(error=error):
                self._errors[event.step] = error
                return ""
            case RetryScheduled(attempt=attempt, delay=delay):
                error = _shown(self._errors.pop(event.step, "an error"))
                return f"{step} failed: {error}; attempt {attempt} follows in {short_time(delay)}"
            case MilestoneReached(name=name):
                return f"{step} reached {_shown(name)}"
            case _:
                return _of_aftermath(event, step)

    def _write(self, line: str) -> None:
        """Write a line, after those that had to wait; of too many, the oldest are counted instead."""
        if len(self._pending) == _MOST_PENDING:
            self._pending.popleft()
            self._lost += 1
        self._pending.append(line)
        while self._pending and takes_more(self._stream):
            if self._lost:
                text = f"{'...':>{_TIME}}  {counted(self._lost, 'line')} of progress could not be written"
                self._lost = 0
            else:
                text = self._pending.popleft()
            self._stream.write(encodable(f"{text}\n", self._stream))
            self._stream.flush()


def _of_aftermath(event: StepEvent, step: str) -> str:
    match event:
        case BodyStuck():
            return f"{step} has outlived its grace"
        case ThreadAbandoned():
            return f"{step} has left its thread behind"
        case StepCompensated():
            return f"{step} undone"
        case CompensationFailed(error=error):
            return f"{step} not undone: its compensation failed with {_shown(error)}"
        case TeardownFailed(error=error):
            return f"{step} was not torn down well: {_shown(error)}"
        case _:
            return ""


def _shown(text: str) -> str:
    return shortened(for_terminal(text), LONGEST_NAME, "...")
