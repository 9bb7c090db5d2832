"""What happened in a run, kept in parallel lists; attempt records are views of them."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import islice

from fusynk._core.model import AttemptRecord, Milestone, Status
from fusynk._core.scheduler import Scheduler

NEVER = -1.0


@dataclass(slots=True)
class Records:
    """Times and attempts of a run.

    Attributes:
        scheduler: The run's state machine, which knows names and outcomes.
        started: When the last attempt of each step or item began, `NEVER` if none did.
        ended: When it ended.
        begun: The step or item of each attempt, in order of start; clocks are too coarse to tell.
        numbers: Which attempt a step or item is at, where it is not the first.
        failed: The attempts that failed, by step or item.
        recovered: The steps and items whose artifact came from their `on_error`.
        milestones: What bodies reported, in order.
    """

    scheduler: Scheduler
    started: list[float] = field(init=False)
    ended: list[float] = field(init=False)
    begun: list[int] = field(default_factory=list[int])
    numbers: dict[int, int] = field(default_factory=dict[int, int])
    failed: dict[int, list[AttemptRecord]] = field(default_factory=dict[int, list[AttemptRecord]])
    recovered: set[int] = field(default_factory=set[int])
    milestones: list[Milestone] = field(default_factory=list[Milestone])

    def __post_init__(self) -> None:
        """Make room for every step."""
        self.started = [NEVER] * self.scheduler.base
        self.ended = [NEVER] * self.scheduler.base

    def grow(self) -> None:
        """Make room for the items that came into being."""
        more = len(self.scheduler.state) - len(self.started)
        self.started += [NEVER] * more
        self.ended += [NEVER] * more

    def attempt_of(self, index: int) -> int:
        """Return which attempt a step or item is at, from 1."""
        return self.numbers.get(index, 1)

    def note_failure(self, index: int, error: BaseException) -> None:
        """Keep the attempt that just failed."""
        record = AttemptRecord(
            self.scheduler.name_of(index), self.attempt_of(index), self.started[index], self.ended[index], error
        )
        self.failed.setdefault(index, []).append(record)

    def note_start(self, index: int, now: float) -> None:
        """Begin an attempt."""
        self.begun.append(index)
        self.started[index] = now

    def take_back_start(self, index: int) -> None:
        """Forget the attempt that was begun last: it must wait after all."""
        self.begun.pop()
        self.started[index] = NEVER

    def note_retry(self, index: int) -> None:
        """Begin the next attempt of a step, which has no times yet."""
        self.numbers[index] = self.attempt_of(index) + 1
        self.started[index] = self.ended[index] = NEVER

    def attempts_of(self, index: int) -> list[AttemptRecord]:
        """Return the attempts of a step (with those of its items) or an item, in order of start."""
        items = self.scheduler.items.get(index)
        if items is not None:
            return self.attempts_among({index, *items})
        last = self._last_attempt(index)
        return [*self.failed.get(index, ()), *([last] if last is not None else [])]

    def attempts_among(self, indexes: Container[int]) -> list[AttemptRecord]:
        """Return the attempts of these steps and items, in order of start."""
        rest: dict[int, Iterator[AttemptRecord]] = {}
        found: list[AttemptRecord] = []
        for index in self.begun:
            if index in indexes:
                if index not in rest:
                    rest[index] = iter(self.attempts_of(index))
                found += islice(rest[index], 1)
        return found

    def _last_attempt(self, index: int) -> AttemptRecord | None:
        """Return the attempt that did not fail, if there is one."""
        state = self.scheduler.state[index]
        if index >= len(self.started) or self.started[index] == NEVER or index in self.recovered:
            return None
        if state == Status.FAILED or self.ended[index] == NEVER:
            return None
        number, noted = self.attempt_of(index), self.failed.get(index)
        if state == Status.CANCELLED and noted and noted[-1].number == number:
            return None
        name = self.scheduler.name_of(index)
        return AttemptRecord(name, number, self.started[index], self.ended[index], cancelled=state == Status.CANCELLED)

    def all_attempts(self) -> list[AttemptRecord]:
        """Return every attempt of the run, in order of start."""
        return self.attempts_among(range(len(self.scheduler.state)))

    def span_of(self, index: int) -> tuple[float, float] | None:
        """Return when a step began its first attempt and ended its last, or `None` if it was never called."""
        items = self.scheduler.items.get(index)
        if items is not None:
            spans = [span for item in items if (span := self.span_of(item)) is not None]
        else:
            spans = [(attempt.started, attempt.ended) for attempt in self.attempts_of(index)]
        return (min(spans)[0], max(ended for _, ended in spans)) if spans else None
