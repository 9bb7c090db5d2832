"""Laws of runs that are recorded, over random plans: wherever one is broken off, it comes to the same end.

Nothing that is complete runs again.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fusynk import Plan, Run
from fusynk._core.envelope import Record
from fusynk.errors import JournalError, JournalUnavailable
from fusynk.journals import MemoryJournal
from fusynk.protocols import OnCommit, OpenRun, Poster
from fusynk.testing import simulate
from tests.model.graphs import INSTANT, Backend, Built, Entry, seeded_case
from tests.model.reference import Case

LONG = bool(os.environ.get("FUSYNK_LONG"))
CASES = 2000 if LONG else 60
CHUNKS = range(6)
pytestmark = pytest.mark.timeout(0 if LONG else 120)


class Repeatable(Built):
    """A plan whose bodies do in each attempt what they would do in it at any time."""

    async def _work(self, index: int, entry: Entry) -> Any:
        _, entry.number = entry.named
        return await super()._work(index, entry)


class Dying(Repeatable):
    """A plan whose process dies at the beginning of one call of a body."""

    dies_at = -1
    calls = 0

    async def _body(self, index: int, args: tuple[Any, ...]) -> Any:
        self.calls += 1
        if self.calls == self.dies_at:
            raise SystemExit(9)
        return await super()._body(index, args)


def ended(run: Run[Any]) -> dict[str, str]:
    """How everything ended, by value. Errors are known by their arguments, since those that are read are new ones."""
    scheduler: Any = run._scheduler
    names = [scheduler.name_of(index) for index in range(scheduler.base, len(scheduler.state))]
    outcomes = {**run.outcomes, **{name: run.outcome(name) for name in names}}
    return {name: repr(outcome) for name, outcome in outcomes.items()}


def bodies(built: Built) -> list[tuple[str, int, str]]:
    """Which attempts were made, and with what."""
    return sorted((entry.step, entry.named[1], repr(entry.args)) for entry in built.log.entries)


def redone(built: Built, calm: Built) -> set[str]:
    """What was started more often than in an undisturbed run, and nothing that was started less often."""
    often, due = Counter(bodies(built)), Counter(bodies(calm))
    assert not due - often
    return {step for step, _, _ in often - due}


def tolerant_cases(chunk: int) -> Iterator[tuple[int, Case]]:
    """Cases in which no step breaks the run off."""
    found, seed = 0, chunk * 100_000
    while found < CASES // len(CHUNKS):
        seed += 1
        case = seeded_case(seed, INSTANT)
        if case.steps and all(step.on_error != "abort" for step in case.steps):
            found += 1
            yield seed, case


def run_to_its_end(plan: Plan[Any, Any], backend: Backend, broken_off: type[BaseException]) -> tuple[Run[Any], int]:
    """Run a plan again and again until it comes to its end; and how often that took."""
    for times in range(1, 200):
        try:
            trace = simulate(plan, backend=backend)
        except SystemExit:
            assert broken_off is SystemExit
            continue
        if trace.error is None:
            return trace.run, times
        assert isinstance(trace.error, broken_off), repr(trace.error)
    pytest.fail("it never came to its end")


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_run_that_dies_at_any_call_of_a_body_comes_to_the_same_end(chunk: int, backend: Backend) -> None:
    for seed, case in tolerant_cases(chunk):
        calm = Dying(case)
        undisturbed = simulate(calm.plan, backend=backend).run
        for dies_at in range(1, calm.calls + 1):
            built = Dying(case)
            built.dies_at = dies_at
            journal = MemoryJournal()
            run, times = run_to_its_end(built.plan.options(journal=journal, run_id="law"), backend, SystemExit)

            story = f"seed {seed}, dies at call {dies_at}, {backend}: {case!r}"
            assert times == 2, story
            assert ended(run) == ended(undisturbed), story
            assert bodies(built) == bodies(calm), story


@dataclass
class Flaw:
    """Which record cannot be written, counted from 1 over all runs; 0 for none."""

    at: int
    seen: int = 0
    lost: list[str] = field(default_factory=list[str])


class FlawedRun:
    """A run in a journal that loses one record, and says so."""

    def __init__(self, kept: OpenRun, flaw: Flaw, on_commit: OnCommit, post: Poster) -> None:
        self.run_id, self.start, self.state, self.records = kept.run_id, kept.start, kept.state, kept.records
        self.end, self.release = kept.end, kept.release
        self._kept, self._flaw, self._on_commit, self._post = kept, flaw, on_commit, post

    def append_all(self, records: Sequence[Record]) -> Sequence[Record]:
        return [record for record in records if not self.append(record)]

    def append(self, record: Record) -> bool:
        self._flaw.seen += 1
        if self._flaw.seen != self._flaw.at:
            return self._kept.append(record)
        self._flaw.lost.append(record.step)
        error = JournalUnavailable("The disk is full.", path="")
        self._post(lambda: self._on_commit([record], error))
        return True


class FlawedJournal(MemoryJournal):
    """A journal in memory in which one record cannot be written."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__()
        self.flaw = flaw

    def open_run(self, run_id: str, start: Any = None, *, on_commit: Any, post: Any = None, owner: Any = None) -> Any:
        order: list[Callable[[], object]] = []

        def post_in_order(call: Callable[[], object]) -> None:
            order.append(call)
            post(lambda: order.pop(0)())  # noqa: PLW0108 - which one is known when it is called

        def commit_one_by_one(records: Sequence[Record], error: JournalError | None) -> None:
            on_commit(records, error)

        kept = super().open_run(run_id, start, on_commit=commit_one_by_one, post=post_in_order, owner=owner)
        return FlawedRun(kept, self.flaw, on_commit, post_in_order)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_run_whose_records_cannot_be_written_is_broken_off_and_goes_on(chunk: int, backend: Backend) -> None:
    for seed, case in list(tolerant_cases(chunk))[:: 1 if LONG else 2]:
        calm = Repeatable(case)
        undisturbed = simulate(calm.plan, backend=backend).run
        whole = FlawedJournal(Flaw(at=0))
        _ = simulate(Repeatable(case).plan.options(journal=whole, run_id="law"), backend=backend)
        for at in range(1, whole.flaw.seen + 1):
            built, flaw = Repeatable(case), Flaw(at=at)
            journal = FlawedJournal(flaw)
            run, times = run_to_its_end(built.plan.options(journal=journal, run_id="law"), backend, JournalUnavailable)

            story = f"seed {seed}, record {at} is lost ({flaw.lost}), {backend}: {case!r}"
            assert times == 2, story
            assert ended(run) == ended(undisturbed), story
            assert redone(built, calm) <= set(flaw.lost), story
