"""T1: random plans run as the independent model says, or by the laws alone where several orders are right."""

import os
from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fusynk.testing import simulate
from tests.model.checks import broken_laws, expected, observed
from tests.model.graphs import CROWDED, INSTANT, TIMED, Backend, Built, cases, seeded_case
from tests.model.reference import Case, Model

LONG = bool(os.environ.get("FUSYNK_LONG"))
SCALE = 34 if LONG else 1
CHUNKS = range(10)
TIMED_CASES, TIMED_TRIO_CASES, INSTANT_CASES, CROWDED_CASES = 3000 * SCALE, 500 * SCALE, 1500 * SCALE, 500 * SCALE
DRAWN = settings(
    max_examples=150 * SCALE, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
pytestmark = pytest.mark.timeout(0 if LONG else 120)


def assert_as_the_model_says(case: Case, tape: Sequence[int], backend: Backend, origin: str) -> bool:
    """Run a case and compare everything. False if the case leaves its order open."""
    model = Model(case).run()
    if model.tied:
        return False
    built = Built(case)
    trace = simulate(built.plan, tape=tape, backend=backend)
    due, got = expected(model), observed(built, trace.run, trace.error, trace.seconds)
    if backend == "trio":  # it starts what begins at one instant in any order
        for view in (due, got):
            view["bodies"] = sorted(view["bodies"], key=lambda row: (row[3], row[:2]))
            view["records"] = sorted(view["records"], key=lambda row: (row[2], row[:2]))
    differences = "\n".join(f"{what}: {got[what]}\n  not {due[what]}" for what in due if due[what] != got[what])
    assert not differences, f"{origin}, tape {tape}, {backend}: {case!r}\n{differences}"
    return True


def assert_lawful(case: Case, tape: Sequence[int], backend: Backend, origin: str) -> None:
    built = Built(case)
    trace = simulate(built.plan, tape=tape, backend=backend)
    broken = broken_laws(case, built.log, trace.run, trace.error)
    assert not broken, f"{origin}, tape {tape}, {backend}: {case}\n" + "\n".join(broken)


def chunk_of(chunk: int, count: int) -> range:
    return range(chunk * count // len(CHUNKS), (chunk + 1) * count // len(CHUNKS))


def seeded_tape(seed: int) -> list[int]:
    chance = Random(-seed)
    return [chance.randrange(4) for _ in range(chance.randrange(60))]


@pytest.mark.parametrize("chunk", CHUNKS)
def test_t01_timed_plans_run_as_the_model_says(chunk: int) -> None:
    seeds = chunk_of(chunk, TIMED_CASES)
    compared = sum(assert_as_the_model_says(seeded_case(seed, TIMED), (), "asyncio", f"seed {seed}") for seed in seeds)
    assert compared > 0.8 * len(seeds)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_t01_timed_plans_run_as_the_model_says_on_trio(chunk: int) -> None:
    seeds = chunk_of(chunk, TIMED_TRIO_CASES)
    compared = sum(
        assert_as_the_model_says(seeded_case(-1 - seed, TIMED), (), "trio", f"seed {-1 - seed}") for seed in seeds
    )
    assert compared > 0.8 * len(seeds)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_t01_one_slot_and_no_waiting_leave_one_order_whatever_the_tape(chunk: int) -> None:
    seeds = chunk_of(chunk, INSTANT_CASES)
    compared = sum(
        assert_as_the_model_says(seeded_case(seed, INSTANT), seeded_tape(seed), "asyncio", f"seed {seed}")
        for seed in seeds
    )
    assert compared > 0.9 * len(seeds)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_t01_every_order_of_crowded_plans_keeps_the_laws(chunk: int, backend: Backend) -> None:
    for seed in chunk_of(chunk, CROWDED_CASES):
        assert_lawful(seeded_case(seed, CROWDED), seeded_tape(seed), backend, f"seed {seed}")


@DRAWN
@given(case=cases(TIMED))
def test_t01_drawn_timed_plans_run_as_the_model_says(case: Case) -> None:
    assume(assert_as_the_model_says(case, (), "asyncio", "drawn"))


@DRAWN
@given(case=cases(replace(CROWDED, largest=8)), tape=st.lists(st.integers(0, 3), max_size=40))
def test_t01_every_order_of_drawn_plans_keeps_the_laws(case: Case, tape: list[int]) -> None:
    assert_lawful(case, tape, "asyncio", "drawn")
