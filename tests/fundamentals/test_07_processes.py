"""Processes: a named group of units with a run mode, which orders the members and nothing else."""

from typing import Literal

import anyio
import pytest

from fusynk import Failed, Graph, Layer, compile_plan, layer, process, use, worker
from fusynk.errors import InvalidPlan
from fusynk.testing import simulate


def timed(graph: Graph, started: dict[str, float], *names: str) -> list[Layer[[], object, str]]:
    """Layers that take a second each and note when they start."""

    def make(name: str) -> Layer[[], object, str]:
        async def body() -> str:
            started[name] = anyio.current_time()
            await anyio.sleep(1)
            return name.upper()

        return graph.add_layer(body, name=name)

    return [make(name) for name in names]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("parallel", {"a": 0, "b": 0, "c": 0}),
        ("sequential", {"a": 0, "b": 1, "c": 2}),
        ("batched", {"a": 0, "b": 0, "c": 1}),
        ("isolated", {"a": 0, "b": 6, "c": 12}),
    ],
)
def test_the_mode_says_when_the_members_start(
    mode: Literal["parallel", "sequential", "batched", "isolated"], expected: dict[str, float]
) -> None:
    started: dict[str, float] = {}
    graph = Graph("night")
    members = timed(graph, started, "a", "b", "c")

    simulate(compile_plan(graph.process("night", *members, mode=mode, size=2, delay=5)))

    assert started == expected


def test_a_process_without_a_function_gives_its_members_artifacts_by_name() -> None:
    graph = Graph("night")
    members = timed(graph, {}, "a", "b")

    run = simulate(compile_plan(graph.process("night", *members))).run

    assert run.result == {"a": "A", "b": "B"}


def test_a_process_with_a_function_runs_it_last() -> None:
    @layer
    def velocity(v0: float) -> float:
        return v0 * 0.5

    @layer
    def time_to_peak(v: float = use(velocity)) -> float:
        return v / 10

    @process(velocity, time_to_peak, mode="sequential")
    def lecture(v: float = use(velocity), t: float = use(time_to_peak)) -> str:
        return f"{v * t:.0f} m"

    assert simulate(compile_plan(lecture), {"v0": 40.0}).result == "40 m"


def test_a_process_may_be_a_member_of_another() -> None:
    started: dict[str, float] = {}
    graph = Graph("night")
    a, b, c = timed(graph, started, "a", "b", "c")
    first = graph.process("first", a, b)

    run = simulate(compile_plan(graph.process("night", first, c, mode="sequential"))).run

    assert started == {"a": 0, "b": 0, "c": 1}
    assert run.result == {"first": {"a": "A", "b": "B"}, "c": "C"}


def test_a_failed_member_fails_its_process_and_the_others_still_run() -> None:
    @layer(on_error="continue")
    async def broken() -> None:
        raise ConnectionError

    @layer
    async def fine() -> str:
        return "fine"

    group = Graph("group").process("group", broken, fine, mode="sequential", on_error="continue")

    run = simulate(compile_plan(group)).run

    assert run[fine] == "fine"
    assert isinstance(run.outcome(group), Failed)
    assert list(run.failures) == ["broken", "group"]


def test_a_mode_against_the_members_own_edges_is_a_compile_error() -> None:
    @layer
    async def first() -> None: ...

    @layer(depends_on=first)
    async def second() -> None: ...

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(Graph("group").process("group", second, first, mode="sequential"))

    assert "first -> second -> first" in str(caught.value)


def test_a_worker_is_a_unit_with_a_schedule_and_runs_in_plans_too() -> None:
    @worker(every=60, max_runs=10)
    async def clean() -> int:
        return 3

    @process(clean)
    async def night(cleaned: int = use(clean)) -> str:
        return f"{cleaned} files"

    assert simulate(compile_plan(night)).result == "3 files"
