"""Laws of recorded runs over random plans of everything the DSL has."""

import os
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from fusynk import Plan, Run, Succeeded, current_step, milestone
from fusynk.errors import JournalUnavailable
from fusynk.journals import MemoryJournal
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.durable.hostile import LateJournal, assert_free, complete_in, cut_off
from tests.durable.test_laws import Flaw, FlawedJournal
from tests.model.scenes import Mishap, Part, Scene, Stage, play, scenes

LONG = bool(os.environ.get("FUSYNK_LONG"))
pytestmark = pytest.mark.timeout(0 if LONG else 120)
few = settings(max_examples=2000 if LONG else 30, suppress_health_check=[HealthCheck.too_slow])
both = pytest.mark.parametrize("backend", ["asyncio", "trio"])
OUTER: ContextVar[tuple[str, int]] = ContextVar("OUTER")


class Repeatable(Stage):
    """A plan whose bodies do in each attempt what they would do in it at any time, in any process."""

    def __init__(self, scene: Scene) -> None:
        self.begun: Counter[tuple[str, int]] = Counter()
        super().__init__(scene)

    def _note_call(self, part: Part, name: str) -> None:
        here = current_step()
        step, attempt = OUTER.get((here.name, here.attempt))
        self.begun[step, attempt] += 1
        milestone("called", attempt=attempt)
        if attempt <= part.failures:
            raise Mishap(name)

    def _nested(self, name: str, part: Part, given: Any) -> Any:
        nested = super()._nested(name, part, given)

        async def noted(given: Any = given) -> str:
            here = current_step()
            _ = OUTER.set((here.name, here.attempt))
            return str(await nested(given))

        return noted


def tolerant(scene: Scene) -> Scene:
    """The scene without anything that breaks its run off."""
    return replace(scene, parts=tuple(map(_tolerant, scene.parts)), deadline=None, cancel_at=None)


def _tolerant(part: Part) -> Part:
    if part.on_error == "abort":
        part = replace(part, on_error="continue")
    if part.test == "raise" and part.kind in {"fan-out", "chain"}:
        part = replace(part, test="accept")  # what these go over has no policy of its own
    return replace(part, falls=False) if part.kind == "resource" else part


def ended(run: Run[Any]) -> dict[str, str]:
    """How everything ended, by value; of resources only that they did."""
    scheduler: Any = run._scheduler
    names = [scheduler.name_of(index) for index in range(scheduler.base, len(scheduler.state))]
    outcomes = {**run.outcomes, **{name: run.outcome(name) for name in names}}
    return {name: repr(outcome) for name, outcome in outcomes.items()}


def told(run: Run[Any], scene: Scene) -> dict[str, str]:
    """The same, without what is set up anew in each process."""
    resources = {f"p{number}" for number, part in enumerate(scene.parts) if part.kind == "resource"}
    return {name: outcome for name, outcome in ended(run).items() if name not in resources}


def recorded(plan: Plan[Any, Any], journal: MemoryJournal) -> Plan[Any, Any]:
    return plan.options(journal=journal, run_id="scene")


JOURNALS: list[Any] = [
    pytest.param(MemoryJournal, id="prompt"),
    pytest.param(lambda: LateJournal(0.125, 1), id="one by one"),
    pytest.param(lambda: LateJournal(0.0, 3), id="next turn"),
]


@both
@few
@given(scene=scenes(largest=6))
@pytest.mark.parametrize("make", JOURNALS)
def test_a_run_with_a_journal_ends_as_one_without(
    backend: Backend, make: Callable[[], MemoryJournal], scene: Scene
) -> None:
    scene = tolerant(scene)
    calm = simulate(Repeatable(scene).plan, backend=backend)
    stage, journal = Repeatable(scene), make()

    trace = simulate(recorded(stage.plan, journal), backend=backend)

    assert (trace.error, ended(trace.run)) == (None, ended(calm.run))
    assert trace.run.status == calm.run.status
    assert_free(journal, "scene")
    assert [found.status for found in journal.runs()] == [calm.run.status]

    again = simulate(recorded(stage.plan, journal), backend=backend).run
    assert (told(again, scene), again.status) == (told(calm.run, scene), calm.run.status)
    again_begun = {attempt.step for attempt in again.attempts()}
    assert again_begun <= {f"p{number}" for number, part in enumerate(scene.parts) if part.kind == "process"}


@both
@few
@given(scene=scenes(largest=5))
def test_a_run_that_dies_after_any_record_comes_to_the_same_end(backend: Backend, scene: Scene) -> None:
    scene = tolerant(scene)
    first, journal = Repeatable(scene), MemoryJournal()
    calm = simulate(recorded(first.plan, journal), backend=backend).run
    records = journal.history("scene")

    for count in range(len(records)):
        note(f"dies after {count} of {[(record.step, record.kind) for record in records]}")
        left, stage = cut_off(journal, "scene", count), Repeatable(scene)
        complete = complete_in(left, "scene")
        run = simulate(recorded(stage.plan, left), backend=backend).run

        assert (told(run, scene), run.status) == (told(calm, scene), calm.status)
        redone = {step for step, _ in stage.begun if step in complete}
        assert all(scene.parts[int(step[1:])].kind == "resource" for step in redone)
        assert set(stage.begun) <= set(first.begun)
        failed = {(record.step, record.attempt) for record in records[:count] if record.kind == "attempted"}
        again = {step for step, _ in failed & set(stage.begun)}
        assert again <= complete, "but for resources that had been set up, an attempt that failed is not made again"
        assert_free(left, "scene")


@both
@few
@given(scene=scenes(largest=5))
def test_a_run_that_is_undone_is_undone_whole_though_it_dies_after_any_record(backend: Backend, scene: Scene) -> None:
    scene = replace(scene, cancel_at=None)
    first, journal = Repeatable(scene), MemoryJournal()
    trace = simulate(recorded(first.plan, journal), backend=backend)
    undoable = [number for number, part in enumerate(scene.parts) if part.kind == "undoable"]
    records = journal.history("scene")
    breaks = [number for number, record in enumerate(records, 1) if record.kind == "aborted"]
    if trace.error is None or not undoable or not breaks:
        return

    for count in range(breaks[0], len(records) + 1):
        note(f"dies after {count} of {[(record.step, record.kind) for record in records]}")
        left, stage = cut_off(journal, "scene", count), Repeatable(scene)
        again = simulate(recorded(stage.plan, left), backend=backend)

        assert str(again.error) == str(trace.error)
        assert again.run.cause == trace.run.cause
        assert set(again.run.compensated) == set(trace.run.compensated)
        assert set(again.run.compensation_failures) == set(trace.run.compensation_failures)
        assert stage.begun == Counter()
        assert_free(left, "scene")


@both
@few
@given(scene=scenes(largest=5))
def test_a_run_whose_records_cannot_be_written_goes_on_later(backend: Backend, scene: Scene) -> None:
    scene = tolerant(scene)
    whole = FlawedJournal(Flaw(at=0))
    calm = simulate(recorded(Repeatable(scene).plan, whole), backend=backend).run

    for at in range(1, whole.flaw.seen + 1):
        stage, flaw = Repeatable(scene), Flaw(at=at)
        journal = FlawedJournal(flaw)
        broken = simulate(recorded(stage.plan, journal), backend=backend)
        note(f"the record of {flaw.lost} is lost")
        assert isinstance(broken.error, JournalUnavailable)
        assert [found.status for found in journal.runs()] == ["open"]
        first, complete = Counter(stage.begun), complete_in(journal, "scene")
        run = simulate(recorded(stage.plan, journal), backend=backend).run

        assert (told(run, scene), run.status) == (told(calm, scene), calm.status)
        redone = {step for (step, _), times in (stage.begun - first).items() if times and step in complete}
        assert all(scene.parts[int(step[1:])].kind == "resource" for step in redone)


def endable(scene: Scene) -> Scene:
    """The scene without anything that breaks its run off but how it is ended; that is cancelled, not undone."""
    calm = tolerant(scene)
    parts = tuple(replace(part, kind="body") if part.kind == "undoable" else part for part in calm.parts)
    return replace(calm, parts=parts, deadline=scene.deadline, cancel_at=scene.cancel_at)


@both
@few
@given(scene=scenes(largest=6))
@pytest.mark.parametrize("make", JOURNALS)
def test_a_run_that_is_ended_early_goes_on_to_the_same_end(
    backend: Backend, make: Callable[[], MemoryJournal], scene: Scene
) -> None:
    scene = endable(scene)
    unending = replace(scene, deadline=None, cancel_at=None)
    calm = simulate(Repeatable(unending).plan, backend=backend).run
    stage, journal = Repeatable(scene), make()

    early = run_virtual(play, recorded(stage.plan, journal), scene, id, backend=backend)
    complete = {name for name, outcome in early.outcomes.items() if isinstance(outcome, Succeeded)}
    assert_free(journal, "scene")
    first = Counter(stage.begun)
    run = simulate(recorded(stage.plan.options(deadline=None), journal), backend=backend).run

    assert (told(run, scene), run.status) == (told(calm, scene), calm.status)
    redone = {step for (step, _), times in (stage.begun - first).items() if times and step in complete}
    assert all(scene.parts[int(step[1:])].kind == "resource" for step in redone)
