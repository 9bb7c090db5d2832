"""What a run of a random case is held against: the model where its order is determined, the laws where it is not."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fusynk import Run
from fusynk.errors import ArtifactUnavailable
from tests.model.graphs import Built, Log
from tests.model.reference import Case, Label, Model, Pack

View = dict[str, Any]


def failures_of(endings: Mapping[str, tuple[Any, ...]]) -> dict[str, Label]:
    """Failed steps and failed items by name. The failure of an item that ended its step stands under the item."""
    failed = [(name, ending[1]) for name, ending in endings.items() if ending[0] == "failed"]
    failures = {label[1] if label[1].startswith(f"{name}[") else name: label for name, label in failed}
    for name, ending in endings.items():
        if ending[0] == "succeeded" and isinstance(ending[1], Pack):
            own = {f"{name}[{index}]": label for index, label in ending[1].failed}
            failures |= {item: label for item, label in own.items() if label[1] == item}  # others came down a chain
    return failures


def due_result(model: Model) -> View | None:
    """The artifacts of the sinks; None if one of them has none."""
    sinks = [index for index in model.order if not model.dependents[index]]
    if any(model.endings[index][0] != "succeeded" for index in sinks):
        return None
    return {f"s{index}": model.endings[index][1] for index in sinks}


def given_result(log: Log, run: Run[Any]) -> View | None:
    try:
        return {name: log.plain(artifact) for name, artifact in run.result.items()}
    except ArtifactUnavailable:
        return None


def expected(model: Model) -> View:
    """Everything the model says about a run."""
    endings = {f"s{index}": model.endings[index] for index in model.order}
    return {
        "endings": endings,
        "plan order": list(endings),
        "order of outcomes": list(endings),
        "bodies": [(a.step, a.number, a.args, a.started, a.ended) for a in model.attempts],
        "records": [(a.step, a.number, a.started, a.ended, a.ended - a.started, a.error) for a in model.attempts],
        "raised": model.raised,
        "ok": model.ok,
        "status": "succeeded" if model.ok else "failed",
        "failures": failures_of(endings) | model.lost_items,
        "recoveries": model.recoveries,
        "result": due_result(model),
        "seconds": model.now,
    }


def observed(built: Built, run: Run[Any], error: BaseException | None, seconds: float) -> View:
    """The same about a run that happened. Times count from the start of its first attempt."""
    log = built.log
    log.learn_timeouts(run)
    records = run.attempts()
    zero = log.entries[0].started if log.entries else 0.0
    first = records[0].started if records else 0.0
    return {
        "endings": {name: log.ending(outcome) for name, outcome in run.outcomes.items()},
        "plan order": list(built.plan.order),
        "order of outcomes": list(run.outcomes),
        "bodies": [
            (e.step, e.number, tuple(map(log.plain, e.args)), e.started - zero, e.ended - zero) for e in log.entries
        ],
        "records": [
            (r.step, r.number, r.started - first, r.ended - first, r.duration, log.verdict(r)) for r in records
        ],
        "raised": None if error is None else log.label(error),
        "ok": run.ok,
        "status": run.status,
        "failures": {name: log.label(failure) for name, failure in run.failures.items()},
        "recoveries": [(step, log.label(recovered)) for step, recovered in log.recoveries],
        "result": given_result(log, run),
        "seconds": seconds,
    }


def calm(case: Case) -> Case:
    """The case without aborts. How its steps end depends on no order and no clock."""
    steps = tuple(
        replace(step, on_error="continue" if step.on_error == "abort" else step.on_error) for step in case.steps
    )
    return replace(case, steps=steps)


def broken_laws(case: Case, log: Log, run: Run[Any], error: BaseException | None) -> list[str]:
    """The laws that a run has broken, whatever its order was."""
    log.learn_timeouts(run)
    model = Model(calm(case)).run()
    endings = {name: log.ending(outcome) for name, outcome in run.outcomes.items()}
    return [
        *_broken_by_bodies(case, log),
        *_broken_by_endings(case, model, endings, log, error),
        *_broken_by_attempts(model, log, run, endings),
        *_broken_by_starts(case, log, error),
    ]


def _broken_by_bodies(case: Case, log: Log) -> list[str]:
    laws = {
        f"more than {case.concurrency} live bodies": any(live > case.concurrency for live, _ in log.peaks),
        "two live bodies of one step": any(same > 1 for _, same in log.peaks),
        "a body outlived the run": any(entry.finished == 0 for entry in log.entries),
        "current_step() named another attempt": any(entry.named != (entry.step, entry.number) for entry in log.entries),
    }
    return [law for law, broken in laws.items() if broken]


def _broken_by_endings(
    case: Case, model: Model, endings: Mapping[str, tuple[Any, ...]], log: Log, error: BaseException | None
) -> list[str]:
    """Every step ends as it would without the abort, unless the abort cancelled it or it failed while that went on."""
    raised = None if error is None else log.label(error)
    due = {f"s{index}": ending for index, ending in model.endings.items()}
    aborting = {f"s{index}" for index, step in enumerate(case.steps) if step.on_error == "abort"}
    failing = failures_of({name: ending for name, ending in due.items() if name in aborting})
    broken = [] if endings.keys() == due.keys() else ["not one outcome for each step"]
    if (raised is None) != (not failing) or (raised is not None and raised not in failing.values()):
        broken.append(f"raised {raised}, one of {failing}")
    for name, ending in endings.items():
        of_item = ending[0] == "failed" and isinstance(due[name][1], Pack) and ending[1] in failing.values()
        cancelled = raised is not None and ending == ("cancelled", "abort")
        own = ending[0] == "failed" and ending[1][1].partition("[")[0] == name
        too_late = error is not None and own and log.is_later(ending[1], error)
        if not (ending == due[name] or of_item or cancelled or too_late):
            broken.append(f"{name} ended {ending}, not {due[name]}")
    return broken


def _broken_by_attempts(model: Model, log: Log, run: Run[Any], endings: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Every attempt received and gave what it must; only an abort leaves some of them out."""
    due = {(a.step, a.number): (a.args, a.error) for a in model.attempts}
    got = {(e.step, e.number): tuple(map(log.plain, e.args)) for e in log.entries}
    records = {(r.step, r.number): log.verdict(r) for r in run.attempts()}
    broken = [f"either a body or a record is missing for {call}" for call in sorted(records.keys() ^ got.keys())]
    for call, args in got.items():
        if call not in due or args != due[call][0]:
            broken.append(f"{call} received {args}, not {due.get(call)}")
        elif records.get(call) != due[call][1] and records.get(call) != ("cancelled",):
            broken.append(f"{call} gave {records.get(call)}, not {due[call][1]}")
    for step, number in due.keys() - got.keys():
        name = step.partition("[")[0]
        if endings[name] == model.endings[int(name[1:])]:
            broken.append(f"attempt {number} of {step} is missing")
    return broken


def _broken_by_starts(case: Case, log: Log, error: BaseException | None) -> list[str]:
    """No body starts before those of its predecessors are over, nor after the failure that aborts the run."""
    last = {entry.step: entry.finished for entry in log.entries}  # of an item, and below of the whole step
    for entry in log.entries:
        name = entry.step.partition("[")[0]
        last[name] = max(last.get(name, 0), entry.finished)
    broken: list[str] = []
    for entry in log.entries:
        name, bracket, item = entry.step.partition("[")
        early = [
            edge.source
            for edge in case.steps[int(name[1:])].edges
            if last.get(f"s{edge.source}{bracket}{item}" if edge.kind == "each" else f"s{edge.source}", 0) > entry.begun
            or (
                edge.kind == "each"
                and case.steps[edge.source].items is not None
                and last[f"s{edge.source}"] > entry.begun
            )
        ]
        broken += [f"{entry.step} started before s{source} ended" for source in early]
        if error is not None and entry.begun > log.moments.get(id(error), entry.begun):
            broken.append(f"{entry.step} started after the abort")
    return broken
