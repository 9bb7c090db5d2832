"""P3: a step whose data edge has no artifact is skipped, transitively; nothing stands in for an artifact."""

from typing import Any

import pytest

from fusynk import Failed, Graph, Skipped, Succeeded, compile_plan, each, errors, use, when
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend

ENDINGS = ("succeeded", "failed", "skipped after a failure", "skipped by a condition")

AFTER_FAILURE = Skipped(because="root", cause="failure")
BY_CONDITION = Skipped(because="root", cause="condition")

# What becomes of a dependent: the value it is called with, or why it is skipped. A row for each ending of its source.
TABLE: dict[str, dict[str, object]] = {
    "succeeded": {
        "data": 7,
        "default": 7,
        "order": "called",
        "data when true": 7,
        "data when false": Skipped(because="source", cause="condition"),
        "order when true": "called",
        "order when false": Skipped(because="source", cause="condition"),
        "default when false": "default",
    },
    "failed": {
        "data": Skipped(because="source", cause="failure"),
        "default": "default",
        "order": "called",
        "data when true": Skipped(because="source", cause="failure"),
        "data when false": Skipped(because="source", cause="failure"),
        "order when true": Skipped(because="source", cause="failure"),
        "order when false": Skipped(because="source", cause="failure"),
        "default when false": "default",
    },
    "skipped after a failure": {
        "data": AFTER_FAILURE,
        "default": "default",
        "order": "called",
        "data when true": AFTER_FAILURE,
        "data when false": AFTER_FAILURE,
        "order when true": AFTER_FAILURE,
        "order when false": AFTER_FAILURE,
        "default when false": "default",
    },
    "skipped by a condition": {
        "data": BY_CONDITION,
        "default": "default",
        "order": BY_CONDITION,
        "data when true": BY_CONDITION,
        "data when false": BY_CONDITION,
        "order when true": BY_CONDITION,
        "order when false": BY_CONDITION,
        "default when false": "default",
    },
}


def add_source(graph: Graph, ending: str) -> Any:
    """Add a step named `source` that ends in a certain way, and what it takes for that."""

    @graph.layer(on_error="continue")
    async def root() -> int:
        if ending == "skipped after a failure":
            raise ValueError
        return 0

    async def source(_before: int = 0) -> int:
        if ending == "failed":
            raise ValueError
        return 7

    if ending == "skipped by a condition":
        source.__defaults__ = (use(root, when=bool),)
    elif ending == "skipped after a failure":
        source.__defaults__ = (use(root),)
    return graph.layer(source, on_error="continue")


def accept(_artifact: object) -> bool:
    return True


def refuse(_artifact: object) -> bool:
    return False


def add_dependent(graph: Graph, source: Any, edge: str, called: list[object]) -> None:
    kind, _, condition = edge.partition(" when ")
    test: Any = {"true": accept, "false": refuse, "": None}[condition]

    async def dependent(value: object) -> None:
        called.append(value)

    async def bare() -> None:
        called.append("called")

    if kind == "order":
        graph.add_layer(bare, name="dependent", depends_on=when(source, test) if condition else source)
        return
    markers: dict[str, Any] = {
        "data": lambda: use(source, when=test),
        "default": lambda: use(source, default="default", when=test),
        "outcome": lambda: use.outcome(source),
    }
    dependent.__defaults__ = (markers[kind](),)
    graph.add_layer(dependent)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("edge", TABLE["succeeded"])
def test_p03_the_table_of_edges(ending: str, edge: str, backend: Backend) -> None:
    graph, called = Graph("table"), list[object]()
    add_dependent(graph, add_source(graph, ending), edge, called)

    run = simulate(compile_plan(graph), backend=backend).run

    expected = TABLE[ending][edge]
    if isinstance(expected, Skipped):
        assert (called, run.outcome("dependent")) == ([], expected)
    else:
        assert (called, run.outcome("dependent")) == ([expected], Succeeded(None))


@pytest.mark.parametrize("ending", ENDINGS)
def test_p03_an_outcome_edge_is_always_open_and_receives_the_outcome(ending: str, backend: Backend) -> None:
    graph, called = Graph("outcomes"), list[object]()
    add_dependent(graph, add_source(graph, ending), "outcome", called)

    run = simulate(compile_plan(graph), backend=backend).run

    assert called == [run.outcome("source")]
    kind = {"succeeded": Succeeded, "failed": Failed}.get(ending, Skipped)
    assert isinstance(called[0], kind)


def test_p03_a_skip_goes_on_through_any_number_of_steps_and_names_its_root(backend: Backend) -> None:
    graph, called = Graph("long skip"), list[int]()

    @graph.layer(on_error="continue")
    async def s0() -> int:
        raise ValueError

    async def step(before: int) -> int:
        called.append(before)
        return before

    for number in range(1, 30):
        graph.add_layer(step, name=f"s{number}", bind={"before": f"s{number - 1}"})

    run = simulate(compile_plan(graph), backend=backend).run

    assert called == []
    assert {run.outcome(f"s{number}") for number in range(1, 30)} == {Skipped(because="s0", cause="failure")}


def test_p03_none_is_an_artifact_like_any_other(backend: Backend) -> None:
    graph = Graph("none")

    @graph.layer
    async def nothing() -> None: ...

    @graph.layer
    async def dependent(value: object = use(nothing, default="default")) -> object:
        return value

    assert simulate(compile_plan(dependent), backend=backend).run.outcome(dependent) == Succeeded(None)


def test_p03_a_skipped_target_has_no_result(backend: Backend) -> None:
    graph, error = Graph("no result"), ValueError("no stock")

    @graph.layer(on_error="continue")
    async def source() -> int:
        raise error

    @graph.layer
    async def target(value: int = use(source)) -> int:
        return value

    run = simulate(compile_plan(target), backend=backend).run

    with pytest.raises(errors.ArtifactUnavailable, match=r"'target'.*skipped because 'source' failed") as caught:
        assert run.result
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("mode", ["parallel", "sequential", "batched", "isolated"])
def test_p03_the_members_of_a_process_follow_the_same_rules(mode: Any, backend: Backend) -> None:
    graph, called = Graph("process"), list[str]()

    @graph.layer(on_error="continue")
    async def source() -> int:
        raise ValueError

    @graph.layer
    async def dependent(value: int = use(source)) -> None:
        called.append("dependent")

    @graph.layer
    async def bystander() -> None:
        called.append("bystander")

    graph.process("batch", source, dependent, bystander, mode=mode, on_error="continue")

    run = simulate(compile_plan(graph), backend=backend).run

    assert called == ["bystander"]
    assert run.outcome("dependent") == Skipped(because="source", cause="failure")
    assert isinstance(run.outcome("batch"), Failed)


def test_p03_a_failed_item_is_skipped_by_the_items_that_chain_to_it(backend: Backend) -> None:
    graph, called = Graph("items"), list[int]()

    @graph.layer
    async def numbers() -> list[int]:
        return [0, 1, 2]

    @graph.layer.each(on_error="continue")
    async def first(number: int = each(numbers)) -> int:
        if number == 1:
            raise ValueError(number)
        return number

    @graph.layer.each
    async def second(number: int = each(first)) -> int:
        called.append(number)
        return number

    run = simulate(compile_plan(second), backend=backend).run

    assert called == [0, 2]
    assert run.outcome("second[1]") == Skipped(because="first[1]", cause="failure")
    assert list(run.result) == [0, 2]
    assert run.ok is False


@pytest.mark.parametrize("edge", ["data", "order", "default"])
def test_p03_a_raising_condition_fails_the_step_that_declared_it(edge: str, backend: Backend) -> None:
    graph, error, called = Graph("raising condition"), ZeroDivisionError("no"), list[int]()

    def break_off(_artifact: object) -> bool:
        raise error

    @graph.layer
    async def source() -> int:
        return 1

    async def dependent(value: int) -> None:
        called.append(value)

    async def bare() -> None:
        called.append(0)

    if edge == "order":
        graph.add_layer(bare, name="dependent", depends_on=when(source, break_off), on_error="continue", retries=3)
    else:
        marker = use(source, when=break_off) if edge == "data" else use(source, when=break_off, default=0)
        dependent.__defaults__ = (marker,)
        graph.add_layer(dependent, on_error="continue")

    run = simulate(compile_plan(graph), backend=backend).run

    assert called == []
    assert run.outcome("source") == Succeeded(1)
    assert run.outcome("dependent") == Failed(error)
    assert run.attempts("dependent") == ()
