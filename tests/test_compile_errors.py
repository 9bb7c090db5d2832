"""What each mistake is told, word for word. The texts are in `snapshots`; FUSYNK_SNAPSHOTS=write writes them anew."""

import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from fusynk import Graph, compile_plan
from fusynk.errors import DependencyCycle, FusynkError, InvalidPlan, PlanFault
from tests.refused_declarations import CASES as DECLARATIONS
from tests.refused_plans import CASES as PLANS
from tests.refused_plans import edges

FOLDER = Path(__file__).parent / "snapshots"
WRITE = os.environ.get("FUSYNK_SNAPSHOTS") == "write"
CASES = PLANS | DECLARATIONS


def refused(case: Callable[[], object]) -> FusynkError:
    with pytest.raises(FusynkError) as caught:
        case()
    return caught.value


def told(error: FusynkError) -> str:
    """The type and text of an error, without the numbers of lines, which move."""
    return re.sub(r"\.py:\d+", ".py:N", f"{type(error).__name__}: {error}\n")


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_in_these_words(name: str) -> None:
    said = told(refused(CASES[name]))

    snapshot = FOLDER / f"{name}.txt"
    if WRITE:
        snapshot.write_text(said, encoding="utf-8")
    assert said == snapshot.read_text(encoding="utf-8")


def test_every_snapshot_belongs_to_a_case() -> None:
    assert not PLANS.keys() & DECLARATIONS.keys()
    assert {path.stem for path in FOLDER.iterdir()} == CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_text_is_short_and_ends_as_a_sentence(name: str) -> None:
    said = str(refused(CASES[name]))

    for line in said.splitlines()[1:] or [said]:
        assert len(line) < 400
        assert line.endswith((".", "?")), line
        assert " at 0x" not in line


@pytest.mark.parametrize("name", PLANS)
def test_each_fault_of_a_plan_has_a_kind_a_unit_and_a_place(name: str) -> None:
    error = refused(PLANS[name])

    assert isinstance(error, InvalidPlan)
    for fault in error.exceptions:
        assert isinstance(fault, PlanFault)
        assert type(fault) is not PlanFault
        if fault.unit is not None:
            assert repr(fault.unit) in str(fault)
            assert re.fullmatch(r"[\w.]+\.py:\d+", fault.location)
            assert fault.location in str(fault)
        else:
            assert name in {"inputs_that_are_no_dataclass", "inputs_that_are_an_instance"}


def test_all_faults_are_reported_at_once() -> None:
    error = refused(PLANS["six_faults_at_once"])

    assert isinstance(error, InvalidPlan)
    assert sorted(type(fault).__name__ for fault in error.exceptions) == [
        "DependencyCycle",
        "DuplicateName",
        "IncompatibleEdge",
        "InputConflict",
        "MisplacedEach",
        "UnknownDependency",
    ]


def test_faults_are_told_in_the_order_of_declaration() -> None:
    names = [f"step_{number}" for number in range(20)]

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(edges(Graph("shop"), *((name, [f"no_{name}"]) for name in names)))

    assert [fault.unit for fault in caught.value.exceptions if isinstance(fault, PlanFault)] == names


@pytest.mark.parametrize(
    ("name", "length"),
    [("a_cycle_of_two", 2), ("a_unit_that_depends_on_itself", 1), ("a_cycle_of_three_thousand", 3000)],
)
def test_a_cycle_is_told_in_the_order_of_its_edges(name: str, length: int) -> None:
    error = refused(PLANS[name])

    assert isinstance(error, InvalidPlan)
    (fault,) = error.exceptions
    assert isinstance(fault, DependencyCycle)
    assert len(fault.cycle) == length + 1
    assert fault.cycle[0] == fault.cycle[-1]
    if length > 2:
        steps = [int(step.removeprefix("step_")) for step in fault.cycle]
        assert all(later == (former + 1) % length for former, later in pairwise(steps))


def test_the_faults_of_a_group_can_be_told_apart() -> None:
    with pytest.raises(InvalidPlan) as caught:
        PLANS["six_faults_at_once"]()

    cycles, others = caught.value.split(DependencyCycle)
    assert isinstance(cycles, InvalidPlan)
    assert isinstance(others, InvalidPlan)
    assert (len(cycles.exceptions), len(others.exceptions)) == (1, 5)
