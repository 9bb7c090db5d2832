"""Nested plans: `layer(plan)` makes one step of a plan; its parameters are the plan's inputs."""

import inspect
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from fusynk import Batch, Failed, Graph, Limit, compile_plan, each, errors, layer, process, run_of, use
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend


@dataclass(frozen=True)
class Size:
    width: int
    height: int = 2


@layer
async def area(width: int, height: int = 2) -> int:
    await anyio.sleep(1)
    return width * height


@layer
async def doubled(value: int = use(area)) -> int:
    return 2 * value


inner = compile_plan(doubled, inputs=Size)


def test_the_inputs_of_a_nested_plan_are_inputs_of_the_outer_one(backend: Backend) -> None:
    graph = Graph("outer")
    nested = graph.layer(inner, name="nested")

    @graph.layer
    async def last(value: int = use(nested)) -> str:
        return f"{value}"

    plan = compile_plan(last)

    assert {name: (needed.type, needed.needed_by) for name, needed in plan.inputs.items()} == {
        "width": (int, ("nested",)),
        "height": (int, ("nested",)),
    }
    assert simulate(plan, {"width": 5}, backend=backend).result == "20"
    assert simulate(plan, {"width": 5, "height": 3}, backend=backend).result == "30"


def test_its_name_is_that_of_its_target_unless_one_is_given() -> None:
    graph = Graph("outer")

    assert graph.layer(inner).unit.name == "doubled"
    assert list(graph.units) == ["doubled"]
    assert str(inspect.signature(inner.as_function())) == "(*, width: int, height: int = 2)"


def test_it_is_located_where_it_is_declared() -> None:
    graph = Graph("outer")
    nested = graph.layer(inner, name="nested")

    assert nested.unit.location.file == __file__


def test_a_parameter_of_it_may_be_bound_by_name_or_by_the_builder(backend: Backend) -> None:
    graph = Graph("outer")

    @graph.layer
    async def width() -> int:
        return 7

    graph.layer(inner, name="by_name", depends_on=width)
    graph.add_layer(inner, name="by_builder", bind={"width": width, "height": width})

    trace = simulate(compile_plan(graph), backend=backend)

    assert trace.run["by_name"] == 28
    assert trace.run["by_builder"] == 98


def test_an_edge_of_the_wrong_type_is_found() -> None:
    graph = Graph("outer")

    async def takes_text(value: str) -> None: ...

    unit = graph.add_layer(takes_text, bind={"value": graph.layer(inner, name="nested")})

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(unit)

    assert "'nested' (test_nested_plans.py" in str(caught.value)
    assert "returns int" in str(caught.value)


def test_a_plan_of_several_targets_yields_a_tuple_and_a_graph_a_mapping(backend: Backend) -> None:
    graph, whole = Graph("outer"), Graph("inner")

    @whole.layer
    async def one() -> int:
        return 1

    pair = graph.layer(compile_plan(area, doubled), name="pair")
    mapping = graph.layer(compile_plan(whole), name="mapping")

    trace = simulate(compile_plan(graph), {"width": 3}, backend=backend)

    assert trace.run[pair] == (6, 12)
    assert trace.run[mapping] == {"one": 1}


def test_the_error_of_a_nested_step_leaves_with_the_notes_of_both_runs(backend: Backend) -> None:
    graph, within = Graph("outer"), Graph("inner")

    @within.layer
    async def charge() -> None:
        raise LookupError

    graph.layer(compile_plan(charge), name="checkout")

    trace = simulate(compile_plan(graph), backend=backend)

    assert isinstance(trace.error, LookupError)
    notes = trace.error.__notes__
    assert [note.split(" (")[0] for note in notes] == ["in layer 'charge'", "in layer 'checkout'"]
    assert run_of(trace.error) is trace.run
    assert trace.run.cause == "checkout"


def test_a_nested_run_knows_its_parent(backend: Backend) -> None:
    graph, parents = Graph("outer"), list[str | None]()

    @graph.layer
    async def by_hand() -> None:
        run = await inner.run(Size(1))
        parents.append(run.parent_id)

    trace = simulate(compile_plan(graph, run_id="outer-1"), backend=backend)

    assert parents == ["outer-1"]
    assert trace.run.parent_id is None


def test_a_nested_run_without_its_result_fails_the_step_and_says_why(backend: Backend) -> None:
    graph, within = Graph("outer"), Graph("inner")

    @within.layer(on_error="continue")
    async def charge() -> int:
        raise LookupError

    nested = graph.layer(compile_plan(charge), name="checkout", on_error="continue")

    outcome = simulate(compile_plan(graph), backend=backend).run.outcome(nested)

    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, errors.ArtifactUnavailable)
    assert isinstance(outcome.error.__cause__, LookupError)


def test_retries_timeouts_and_the_deadline_hold_for_the_whole_nested_run(backend: Backend) -> None:
    graph, within, begun = Graph("outer"), Graph("inner"), list[float]()

    @within.layer
    async def slow() -> int:
        begun.append(anyio.current_time())
        await anyio.sleep(100 if len(begun) < 3 else 1)
        return 1

    nested = graph.layer(compile_plan(slow), name="nested", timeout=5, retries=2)

    trace = simulate(compile_plan(nested), backend=backend)

    assert (trace.result, trace.seconds) == (1, 11)


def test_nested_steps_have_slots_of_their_own(backend: Backend) -> None:
    graph = Graph("outer")
    first = compile_plan(area)
    for depth in range(50):
        first = compile_plan(graph.layer(first, name=f"level {depth}"), concurrency=1)

    assert simulate(first, {"width": 4}, backend=backend).result == 8


def test_a_fan_out_of_a_plan_is_declared_by_hand(backend: Backend) -> None:
    graph = Graph("outer")

    @graph.layer
    async def widths() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each
    async def areas(width: int = each(widths)) -> int:
        return (await inner.run(Size(width))).result

    @graph.layer
    async def total(found: Batch[int] = use(areas)) -> int:
        return sum(found)

    assert simulate(compile_plan(total), backend=backend).result == 24


def test_a_member_of_a_process_may_be_a_plan(backend: Backend) -> None:
    graph = Graph("outer")
    nested = graph.layer(inner, name="nested")
    both = graph.process("both", nested, graph.add_layer(area.unit.function or print, name="plain"), mode="sequential")

    trace = simulate(compile_plan(both), {"width": 1}, backend=backend)

    assert trace.result == {"nested": 4, "plain": 2}
    assert trace.seconds == 2


def test_it_may_be_replaced_and_limited_and_undone(backend: Backend) -> None:
    graph, undone = Graph("outer"), list[int]()
    one_at_a_time = Limit("nested plans", concurrency=1)
    nested = graph.layer(inner, name="nested", limit=one_at_a_time, compensate=undone.append)
    other = graph.layer(inner, name="other", limit=one_at_a_time)

    @graph.layer(depends_on=[nested, other])
    async def fails() -> None:
        raise LookupError

    plan = compile_plan(fails)

    assert simulate(plan, {"width": 1}, backend=backend).seconds == 2
    assert simulate(plan.override(nested.returns(9)), {"width": 1}, backend=backend).seconds == 1
    assert undone == [4, 9]


def test_a_plan_of_a_service_object_may_be_nested(backend: Backend) -> None:
    class Tax:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        @layer
        async def of(self, net: float) -> float:
            return net * self.rate

        @layer
        async def gross(self, net: float, tax: float = use(of)) -> float:
            return net + tax

    graph = Graph("outer")
    low = graph.layer(compile_plan(Tax(0.5).gross), name="low")
    high = graph.layer(compile_plan(Tax(2.0).gross), name="high")

    trace = simulate(compile_plan(low, high), {"net": 10.0}, backend=backend)

    assert trace.result == (15.0, 30.0)


def test_a_plan_that_nests_itself_without_end_is_refused() -> None:
    graph, plans = Graph("outer"), list[Any]()

    @graph.layer
    async def again() -> None:
        await plans[0].run()

    plans.append(compile_plan(again))

    with pytest.raises(errors.NestingTooDeep, match="more than 100 deep"):
        run_virtual(plans[0].run)


def test_a_plan_in_a_process_is_told_what_to_write() -> None:
    unlisted: Any = process

    with pytest.raises(errors.InvalidDeclaration, match=r"layer\(plan\)"):
        unlisted(inner)
