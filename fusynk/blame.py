"""What leaves a run as an error: its notes, and the way from it back to the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusynk._core.graph import levels_of
from fusynk._core.notes import annotate, linked_run, own_traceback, path_text
from fusynk._core.records import Records
from fusynk._core.wiring import Wiring
from fusynk.run import Run

_PACKAGE = str(Path(__file__).parent)


def failure_notes(records: Records, index: int, attempts_allowed: int, run: Run[Any]) -> list[str]:
    """Return what is written on the error that ended a run: who, where, which attempt, and what else failed."""
    scheduler = records.scheduler
    step = scheduler.step_of(index)
    wiring = scheduler.wiring
    attempt = f"attempt {records.attempt_of(index)} of {attempts_allowed}"
    notes = [f"in layer {scheduler.name_of(index)!r} ({wiring.locations[step]}), {attempt}, run {run.id}"]
    path = [wiring.names[node] for node in _path_to(wiring, step)]
    if len(path) > 1:
        notes.append(f"path: {path_text(path)}")
    own = scheduler.name_of(index)
    others = [f"{name!r} ({type(error).__name__})" for name, error in run.failures.items() if name != own]
    if others:
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""  # noqa: PLR2004 - enough for a note
        notes.append(f"also failed: {', '.join(others[:10])}{more}")
    return notes + undone_notes(run)


def undone_notes(run: Run[Any]) -> list[str]:
    """Return what is written on an error about compensations and teardowns."""
    notes = [f"compensated: {', '.join(map(repr, run.compensated))}"] if run.compensated else []
    for what, failures in (("compensation", run.compensation_failures), ("teardown", run.teardown_failures)):
        notes += [f"{what} of {name!r} failed with {type(error).__name__}" for name, error in failures.items()]
    return notes


def _path_to(wiring: Wiring, step: int) -> Sequence[int]:
    """Return the longest way from a source to a step."""
    levels = levels_of(wiring.predecessors)
    path = [step]
    while wiring.predecessors[path[-1]]:
        path.append(max(wiring.predecessors[path[-1]], key=levels.__getitem__))
    return [node for node in reversed(path) if node not in wiring.delays]


def blame(error: BaseException, notes: Sequence[str], run: Run[Any]) -> None:
    """Write on an error where it came from, and link it to its run; notes of a run inside this one stay."""
    former = run_of(error)
    annotate(error, notes, run, keep=former is not None and former.parent_id == run.id)


def adopt_run(error: BaseException) -> None:
    """Link an error to the run of what it came from, if it has none itself."""
    source: BaseException | None = error
    while source is not None and run_of(source) is None:
        source = source.__cause__ or source.__context__
    run = run_of(source) if source is not None else None
    if run is not None and source is not error:
        blame(error, undone_notes(run), run)


def run_of(error: BaseException) -> Run[Any] | None:
    """Return the run that an error came out of, or `None` if it came out of none.

    Args:
        error: What `plan.run()` raised.
    """
    found = linked_run(error)
    return found if isinstance(found, Run) else None  # pyright: ignore[reportUnknownVariableType] # of any artifact


def raised_bare(error: BaseException) -> BaseException:
    """Return an error with the engine's frames taken off its traceback."""
    return error.with_traceback(own_traceback(error, _PACKAGE))
