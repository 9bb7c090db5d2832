"""Graphs: units by name, made by decorators or by hand, one implicit graph a module."""

import pytest

from fusynk import Graph, compile_plan, use
from fusynk.errors import UnknownStep
from fusynk.testing import simulate
from tests import loose
from tests.shop import refusal, stock


def test_a_graph_holds_what_its_decorators_declare_in_order() -> None:
    orders = Graph("orders")

    @orders.layer
    async def total(price: int) -> int:
        return price * 2

    @orders.layer(retries=1)
    async def taxed(total: int = use(total)) -> float:
        return total * 1.5

    @orders.worker
    async def cleaned() -> None: ...

    @orders.process(total, taxed, mode="sequential")
    async def billed(taxed: float = use(taxed)) -> str:
        return f"{taxed}"

    assert list(orders.units) == ["total", "taxed", "cleaned", "billed"]
    assert orders.units["total"] is total
    assert list(orders) == [total, taxed, cleaned, billed]
    assert repr(orders) == "<Graph 'orders' of 4 units>"
    assert simulate(compile_plan(orders), {"price": 2}).result == {"cleaned": None, "billed": "6.0"}


def test_the_units_of_a_graph_are_not_changed_from_outside() -> None:
    orders = loose.graph("orders")

    with pytest.raises(TypeError):
        orders.units["x"] = stock


def test_the_builder_adds_and_removes() -> None:
    def double(number: int) -> int:
        return number * 2

    def add(one: int, other: int) -> int:
        return one + other

    graph = Graph("numbers")
    doubled = graph.add_layer(double)
    quadrupled = graph.add_layer(double, name="quadrupled", bind={"number": doubled}, retries=1)
    graph.add_layer(add, name="sum", bind={"one": doubled, "other": "quadrupled"}, depends_on=[quadrupled])
    graph.add_layer(add, name="spare")

    graph.remove_layer("spare")

    assert list(graph.units) == ["double", "quadrupled", "sum"]
    assert simulate(compile_plan(graph), {"number": 3}).result == {"sum": 18}
    assert double(4) == 8


def test_a_name_can_be_added_again_once_it_is_removed() -> None:
    graph = Graph("numbers")
    graph.add_layer(lambda: 1, name="one")
    graph.remove_layer("one")

    graph.add_layer(lambda: 11, name="one")

    assert simulate(compile_plan(graph)).result == {"one": 11}


def test_a_plan_compiled_before_a_removal_still_runs() -> None:
    graph = Graph("numbers")
    graph.add_layer(lambda: 1, name="one")
    plan = compile_plan(graph)

    graph.remove_layer("one")

    assert simulate(plan).result == {"one": 1}


def test_a_removed_name_is_missed_at_the_next_compile() -> None:
    graph = Graph("numbers")
    graph.add_layer(lambda: 1, name="one")
    graph.add_layer(lambda: 2, name="two", depends_on="one")
    graph.remove_layer("one")

    assert "'one', which nothing declares" in refusal(graph)


def test_removing_what_is_not_there_names_the_nearest() -> None:
    graph = Graph("numbers")
    graph.add_layer(lambda: 1, name="inventory")

    with pytest.raises(UnknownStep, match=r"no unit 'inventry'\. Did you mean 'inventory'\?"):
        graph.remove_layer("inventry")


def test_two_graphs_have_names_of_their_own() -> None:
    one, other = Graph("one"), Graph("other")
    one.add_layer(lambda: 1, name="same")
    other.add_layer(lambda: 2, name="same")

    assert simulate(compile_plan(one)).result == {"same": 1}
    assert simulate(compile_plan(other)).result == {"same": 2}


def test_a_unit_of_one_graph_may_depend_on_a_unit_of_another() -> None:
    one, other = Graph("one"), Graph("other")
    source = one.add_layer(lambda: 4, name="source")

    @other.layer
    def reader(number: int = use(source)) -> int:
        return number + 1

    assert simulate(compile_plan(other)).result == {"reader": 5}
