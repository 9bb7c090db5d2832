"""What a run took: computed from its records, shown as text."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fusynk._core.graph import critical_path
from fusynk._core.model import Status
from fusynk._core.notes import path_text
from fusynk._core.records import Records
from fusynk._core.scheduler import Scheduler

_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The figures of one run. All times are seconds.

    Attributes:
        makespan: From the first start to the last end.
        work: The sum of the durations of all attempts.
        critical_path: The steps of the longest chain by duration.
        slack: By step, how much later it could have ended without a longer critical path.
        total: How many steps the plan has.
        succeeded: How many returned.
        failed: How many failed for good.
        skipped: How many were not called.
        cancelled: How many were cancelled or never started.
        items: How many items its fan-outs had.
        failed_items: How many of these failed for good; with `on_error="continue"` their step succeeds all the same.
        success_rate: The share that returned of all steps, with the items of a fan-out in its place; 0.0 to 1.0, and
            1.0 for an empty plan.
        attempts: How many calls there were.
        retries: How many of these were not the first of their step or item.
        average: Mean duration of the steps that ran; a step's duration goes from its first attempt to its last.
        maximum: The longest of them.
        minimum: The shortest of them.
        cpu: CPU time of the whole process while the run went on, or `None` where it was not taken.
        peak_memory: The most memory that the process has held so far, in bytes, or `None` where the platform does not
            tell.
    """

    makespan: float
    work: float
    critical_path: tuple[str, ...]
    slack: Mapping[str, float]
    total: int
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    items: int
    failed_items: int
    success_rate: float
    attempts: int
    retries: int
    average: float
    maximum: float
    minimum: float
    cpu: float | None = None
    peak_memory: int | None = None

    def __str__(self) -> str:
        """Return the performance block."""
        rows = [row for row in self._rows() if row[1]]
        return "\n".join(["Performance", *(f"  {label:<17} {value}" for label, value in rows)])

    def _rows(self) -> Iterator[tuple[str, str]]:
        """Yield the lines of the block; one without a value is left out."""
        yield "Makespan", _seconds(self.makespan)
        yield "Work", _seconds(self.work)
        yield "CPU time", _seconds(self.cpu) if self.cpu is not None else ""
        yield "Peak memory", f"{self.peak_memory / _MEBIBYTE:.1f} MiB" if self.peak_memory is not None else ""
        yield "Steps", str(self.total)
        yield "Succeeded", str(self.succeeded)
        yield "Failed", str(self.failed)
        yield "Skipped", str(self.skipped)
        yield "Cancelled", str(self.cancelled)
        yield "Items", str(self.items) if self.items else ""
        yield "Failed items", str(self.failed_items) if self.items else ""
        yield "Success rate", _share(self.success_rate)
        yield "Attempts", str(self.attempts)
        yield "Retries", str(self.retries)
        yield "Average duration", _seconds(self.average)
        yield "Maximum duration", _seconds(self.maximum)
        yield "Minimum duration", _seconds(self.minimum)
        yield "Critical path", path_text(self.critical_path) or "none"


def make_report(records: Records, *, cpu: float | None = None, peak_memory: int | None = None) -> Report:
    """Compute the report of a run from its records, in O(V + E).

    Args:
        records: What happened.
        cpu: Seconds of CPU time that the process used meanwhile, if somebody took it.
        peak_memory: Bytes that the process held at most, if somebody knows.
    """
    scheduler = records.scheduler
    wiring = scheduler.wiring
    steps = wiring.steps()
    spans = {step: records.span_of(step) for step in steps}
    ran = [span for span in spans.values() if span is not None]
    by_step = [0.0] * len(wiring.names)
    for step, span in spans.items():
        by_step[step] = span[1] - span[0] if span is not None else 0.0
    chain = critical_path(wiring.predecessors, wiring.successors, by_step)
    durations = [end - start for start, end in ran]
    attempts = records.all_attempts()
    states = [scheduler.state[step] for step in steps]
    items = scheduler.state[scheduler.base :]
    return Report(
        makespan=max((end for _, end in ran), default=0.0) - min((start for start, _ in ran), default=0.0),
        work=sum(attempt.duration for attempt in attempts),
        critical_path=tuple(wiring.names[node] for node in chain.nodes if spans.get(node) is not None),
        slack=MappingProxyType({wiring.names[step]: chain.slack[step] for step in steps}),
        total=len(steps),
        succeeded=states.count(Status.SUCCEEDED),
        failed=states.count(Status.FAILED),
        skipped=states.count(Status.SKIPPED),
        cancelled=states.count(Status.CANCELLED),
        items=len(items),
        failed_items=items.count(Status.FAILED),
        success_rate=_success_rate(scheduler, steps),
        attempts=len(attempts),
        retries=sum(attempt.number > 1 for attempt in attempts),
        average=sum(durations) / len(durations) if durations else 0.0,
        maximum=max(durations, default=0.0),
        minimum=min(durations, default=0.0),
        cpu=cpu,
        peak_memory=peak_memory,
    )


def _success_rate(scheduler: Scheduler, steps: Sequence[int]) -> float:
    """Return the share of what returned; a fan-out counts by its items, because it succeeds also where some failed."""
    state = scheduler.state
    counted = [state[step] for step in steps if not scheduler.items.get(step)]
    counted += state[scheduler.base :]
    return counted.count(Status.SUCCEEDED) / len(counted) if counted else 1.0


def _share(value: float) -> str:
    """Return a share in per cent, rounded down: all but one of ten thousand are not 100 %."""
    return f"{math.floor(value * 1000 + 1e-9) / 10:.1f}%"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3f} {unit}"
    return f"{value / 1e-6:.1f} us"
