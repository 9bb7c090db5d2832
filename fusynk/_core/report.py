"""What a run took: computed from its records, shown as text."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from fusynk._core.graph import critical_path
from fusynk._core.model import Status
from fusynk._core.notes import path_text
from fusynk._core.records import Records


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
        success_rate: `succeeded / total`, 0.0 to 1.0; 1.0 for an empty plan.
        average: Mean duration of the steps that ran; a step's duration goes from its first attempt to its last.
        maximum: The longest of them.
        minimum: The shortest of them.
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
    success_rate: float
    average: float
    maximum: float
    minimum: float

    def __str__(self) -> str:
        """Return the performance block."""
        rows = (
            ("Makespan", _seconds(self.makespan)),
            ("Work", _seconds(self.work)),
            ("Steps", str(self.total)),
            ("Succeeded", str(self.succeeded)),
            ("Failed", str(self.failed)),
            ("Skipped", str(self.skipped)),
            ("Cancelled", str(self.cancelled)),
            ("Success rate", f"{self.success_rate:.1%}"),
            ("Average duration", _seconds(self.average)),
            ("Maximum duration", _seconds(self.maximum)),
            ("Minimum duration", _seconds(self.minimum)),
            ("Critical path", path_text(self.critical_path) or "none"),
        )
        return "\n".join(["Performance", *(f"  {label:<17} {value}" for label, value in rows)])


def make_report(records: Records) -> Report:
    """Compute the report of a run from its records, in O(V + E)."""
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
    states = [scheduler.state[step] for step in steps]
    succeeded = states.count(Status.SUCCEEDED)
    return Report(
        makespan=max((end for _, end in ran), default=0.0) - min((start for start, _ in ran), default=0.0),
        work=sum(attempt.duration for attempt in records.all_attempts()),
        critical_path=tuple(wiring.names[node] for node in chain.nodes if spans.get(node) is not None),
        slack=MappingProxyType({wiring.names[step]: chain.slack[step] for step in steps}),
        total=len(steps),
        succeeded=succeeded,
        failed=states.count(Status.FAILED),
        skipped=states.count(Status.SKIPPED),
        cancelled=states.count(Status.CANCELLED),
        success_rate=succeeded / len(steps) if steps else 1.0,
        average=sum(durations) / len(durations) if durations else 0.0,
        maximum=max(durations, default=0.0),
        minimum=min(durations, default=0.0),
    )


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.3f} {unit}"
    return f"{value / 1e-6:.1f} us"
