"""What the events of a run must say, computed from the run's own records and from nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fusynk import Cancelled, Failed, Plan, Run, Skipped, Succeeded
from fusynk._core.wiring import EdgeKind, Wiring
from fusynk.events import (
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

ENDS = (StepSucceeded, StepFailed, StepSkipped, StepCancelled)
STARTED = {"running", "broken", "retrying", "expanded", "ended"}
AFTER: dict[type[StepEvent], set[str]] = {  # where a step must be for an event
    AttemptStarted: {"pending", "retrying"},
    AttemptFailed: {"running"},
    RetryScheduled: {"broken"},
    StepExpanded: {"pending"},
    StepFailed: {"pending", "broken", "expanded"},
    StepSkipped: {"pending"},
    StepCancelled: {"pending", "running", "broken", "retrying", "expanded"},
}
THEN: dict[type[StepEvent], str] = {  # and where it is then
    AttemptStarted: "running",
    AttemptFailed: "broken",
    RetryScheduled: "retrying",
    StepExpanded: "expanded",
}


def broken_laws(events: Sequence[Event], run: Run[Any], plan: Plan[Any, Any], *, virtual: bool = True) -> list[str]:
    """The laws that the events of a run have broken.

    Args:
        events: All of them, as one listener was told.
        run: The run.
        plan: Its plan.
        virtual: Whether the clock stood still between a record and its event.
    """
    laws = {
        "it begins and ends": _frame(events, run),
        "attempts": _attempts(events, run, times=virtual),
        "failed attempts": _failed_attempts(events, run, times=virtual),
        "ends": _ends(events, run),
        "fan-outs": _fan_outs(events, run),
        "order within a step": _order_within_steps(events),
        "order between steps": _order_between_steps(events, plan._program.wiring),
        "the aftermath": _aftermath(events, run),
    }
    return [f"{law}: {what}" for law, found in laws.items() for what in found]


def rebuilt(events: Sequence[Event]) -> dict[str, str]:
    """The status of every step and item, from the events alone."""
    states: dict[str, str] = {}
    for event in events:
        match event:
            case RunStarted(steps=steps):
                states = dict.fromkeys(steps, "pending")
            case StepExpanded(step=step, count=count):
                states[step] = "running"
                states |= {f"{step}[{number}]": "pending" for number in range(count)}
            case AttemptStarted(step=step):
                states[step] = "running"
            case RetryScheduled(step=step):
                states[step] = "retrying"
            case StepSucceeded() | StepFailed() | StepSkipped() | StepCancelled():
                states[event.step] = type(event).__name__.removeprefix("Step").lower()
            case _:
                pass
    return states


def all_outcomes(events: Sequence[Event], run: Run[Any]) -> dict[str, Any]:
    """How every step and every item ended, by name."""
    items = [
        f"{event.step}[{number}]"
        for event in events
        if isinstance(event, StepExpanded)
        for number in range(event.count)
    ]
    return {**run.outcomes, **{name: run.outcome(name) for name in items}}


def _compared(what: str, got: object, due: object) -> Iterator[str]:
    if got != due:
        yield f"{what}: {got}\n    not {due}"


def _frame(events: Sequence[Event], run: Run[Any]) -> Iterator[str]:
    if not events:
        yield "nothing was told"
        return
    first, last = events[0], events[-1]
    yield from _compared("numbers", [event.sequence for event in events], list(range(1, len(events) + 1)))
    yield from _compared("run ids", {event.run_id for event in events}, {run.id})
    yield from _compared("times", [event.time for event in events], sorted(event.time for event in events))
    kinds = Counter(type(event) for event in events)
    yield from _compared("starts and ends", (kinds[RunStarted], kinds[RunEnded]), (1, 1))
    if not isinstance(first, RunStarted) or not isinstance(last, RunEnded):
        yield f"it goes from {first} to {last}"
        return
    yield from _compared("steps", first.steps, tuple(run.outcomes))
    yield from _compared("parent", first.parent_id, run.parent_id)
    yield from _compared("end", (last.status, last.by), (run.status, run._ending.by))


def _attempts(events: Sequence[Event], run: Run[Any], *, times: bool) -> Iterator[str]:
    told = [event for event in events if isinstance(event, AttemptStarted)]
    records = run.attempts()
    yield from _compared("starts", [(e.step, e.attempt) for e in told], [(r.step, r.number) for r in records])
    if times:
        yield from _compared("times of starts", [e.time for e in told], [r.started for r in records])


def _failed_attempts(events: Sequence[Event], run: Run[Any], *, times: bool) -> Iterator[str]:
    told = [event for event in events if isinstance(event, AttemptFailed)]
    failed = [record for record in run.attempts() if record.error is not None]
    got = sorted((e.step, e.attempt, e.error, e.time if times else 0) for e in told)
    due = sorted((r.step, r.number, type(r.error).__qualname__, r.ended if times else 0) for r in failed)
    yield from _compared("failures", got, due)


def _ends(events: Sequence[Event], run: Run[Any]) -> Iterator[str]:
    outcomes = all_outcomes(events, run)
    starts = Counter(event.step for event in events if isinstance(event, AttemptStarted))
    told = [event for event in events if isinstance(event, ENDS)]
    names = Counter(event.step for event in told)
    yield from _compared("ends a step", names, Counter(outcomes.keys()))
    for event in told:
        due = _end_of(outcomes.get(event.step), event.step, starts)
        yield from _compared(event.step, _said(event), due)
    statuses = {name: type(outcome).__name__.lower() for name, outcome in outcomes.items()}
    yield from _compared("rebuilt", rebuilt(events), statuses)


def _end_of(outcome: Any, name: str, starts: Mapping[str, int]) -> tuple[Any, ...]:
    match outcome:
        case Succeeded():
            return ("succeeded", starts[name])
        case Failed(error):
            return ("failed", starts[name], type(error).__qualname__)
        case Skipped(because, cause):
            return ("skipped", because, cause)
        case Cancelled(by):
            return ("cancelled", by)
        case _:
            return ("unknown",)


def _said(event: StepEvent) -> tuple[Any, ...]:
    match event:
        case StepSucceeded():
            return ("succeeded", event.attempts)
        case StepFailed():
            return ("failed", event.attempts, event.error)
        case StepSkipped():
            return ("skipped", event.because, event.cause)
        case StepCancelled():
            return ("cancelled", event.by)
        case _:
            return ("no end", event)


def _fan_outs(events: Sequence[Event], run: Run[Any]) -> Iterator[str]:
    scheduler = run._scheduler
    told = [(event.step, event.count) for event in events if isinstance(event, StepExpanded)]
    due = [(scheduler.name_of(step), len(items)) for step, items in scheduler.items.items()]
    yield from _compared("expanded", sorted(told), sorted(due))


def _order_within_steps(events: Sequence[Event]) -> Iterator[str]:
    """Every event of a step or item follows from the one before it."""
    state: dict[str, tuple[str, int]] = {}
    for event in events:
        if not isinstance(event, StepEvent):
            continue
        now = state.get(event.step, ("pending", 0))
        later = _step_on(event, now)
        if later is None:
            yield f"{event} after {now}"
        else:
            state[event.step] = later
        fan_out = event.step.rpartition("[")[0]
        if fan_out and not (fan_out in state and state[fan_out][0] != "pending"):
            yield f"{event} before its fan-out was expanded"


def _step_on(event: StepEvent, now: tuple[str, int]) -> tuple[str, int] | None:
    """Where a step is after an event; `None` if it cannot have happened there."""
    place, attempt = now
    kind = type(event)
    allowed = AFTER.get(kind, STARTED)
    if isinstance(event, StepSucceeded):
        allowed = {"broken", "pending"} if event.recovered else {"running", "expanded"}  # pending: a condition raised
    numbers: dict[type[StepEvent], int] = {
        AttemptStarted: attempt + 1,
        AttemptFailed: attempt,
        RetryScheduled: attempt + 1,
    }
    if place not in allowed or getattr(event, "attempt", None) != numbers.get(kind):
        return None
    later = "ended" if isinstance(event, ENDS) else THEN.get(kind, place)
    return later, numbers[kind] if kind is AttemptStarted else attempt


def _order_between_steps(events: Sequence[Event], wiring: Wiring) -> Iterator[str]:
    """No step or item starts before what it waits for has ended."""
    ended: set[str] = set()
    for event in events:
        if isinstance(event, ENDS):
            ended.add(event.step)
        if isinstance(event, AttemptStarted):
            name, bracket, number = event.step.rpartition("[")
            awaited = _awaited(wiring, wiring.index[name or event.step], bracket + number)
            yield from (f"{event} before the end of {source}" for source in awaited if source not in ended)


def _awaited(wiring: Wiring, step: int, item: str) -> Iterator[str]:
    """The names of what a step waits for, through barriers; for an item of a chain the item before it."""
    for source, kind in zip(wiring.predecessors[step], wiring.kinds[step], strict=True):
        if source in wiring.delays:
            yield from _awaited(wiring, source, "")
        else:
            yield wiring.names[source] + (item if kind == EdgeKind.CHAIN else "")


def _aftermath(events: Sequence[Event], run: Run[Any]) -> Iterator[str]:
    def told(kind: type[StepEvent]) -> list[Any]:
        return [event for event in events if isinstance(event, kind)]

    def types(failures: Mapping[str, BaseException]) -> dict[str, str]:
        return {name: type(error).__qualname__ for name, error in failures.items()}

    yield from _compared("undone", tuple(e.step for e in told(StepCompensated)), run.compensated)
    undone = {e.step: e.error for e in told(CompensationFailed)}
    yield from _compared("not undone", undone, types(run.compensation_failures))
    torn = {e.step: e.error for e in told(TeardownFailed)}
    yield from _compared("not torn down", torn, types(run.teardown_failures))
    yield from _compared("stuck", tuple(e.step for e in told(BodyStuck)), run.stuck)
    yield from _compared("abandoned", tuple(e.step for e in told(ThreadAbandoned)), run.abandoned)
    milestones = [(e.step, e.name, dict(e.values)) for e in told(MilestoneReached)]
    yield from _compared("milestones", milestones, [(m.step, m.name, dict(m.values)) for m in run.milestones])
