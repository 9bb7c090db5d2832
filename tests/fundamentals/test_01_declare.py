"""Declare: a decorator turns a function into a layer, a step that plans can contain. Read these files in order."""

from typing import Any

import pytest

from fusynk import Graph, compile_plan, layer, use
from fusynk.errors import MissingArtifact, UnknownOption
from fusynk.testing import simulate


@layer
async def check_stock(product: str) -> int:
    """How many are left of a product."""
    return len(product)


@layer(retries=2, description="what the customer pays")
def compute_price(left: int = use(check_stock), discount: float = 0.0) -> float:
    """Few pieces cost more."""
    return 100 / left * (1 - discount)


async def test_a_layer_is_called_like_the_function_it_was() -> None:
    left = await check_stock("lamp")
    price = compute_price(left, discount=0.5)

    assert (left, price) == (4, 12.5)


def test_a_layer_keeps_its_name_and_its_documentation() -> None:
    assert check_stock.__name__ == "check_stock"
    assert check_stock.__doc__ == "How many are left of a product."


def test_in_a_plan_use_passes_what_the_other_layer_returned() -> None:
    plan = compile_plan(compute_price)

    run = simulate(plan, {"product": "lamp"}).run

    assert run.result == 25.0


def test_an_ordinary_call_must_bring_the_artifact_itself() -> None:
    unchecked: Any = compute_price  # a type checker refuses the call below

    with pytest.raises(
        MissingArtifact, match=r"compute_price\(\) was called without 'left', the artifact of 'check_stock'"
    ):
        unchecked()


def test_parameters_that_nothing_fills_are_inputs_of_the_plan() -> None:
    plan = compile_plan(compute_price)

    assert list(plan.inputs) == ["product", "discount"]
    assert simulate(plan, {"product": "lamp", "discount": 0.2}).result == 20.0


def test_depends_on_orders_two_layers_and_passes_nothing() -> None:
    log: list[str] = []

    @layer
    async def open_shop() -> None:
        log.append("open")

    @layer(depends_on=open_shop)
    async def sell() -> None:
        log.append("sell")

    simulate(compile_plan(sell))

    assert log == ["open", "sell"]


def test_a_parameter_named_like_a_unit_in_depends_on_receives_its_artifact() -> None:
    @layer(depends_on=[check_stock])
    async def label(check_stock: int) -> str:
        return f"{check_stock} left"

    assert simulate(compile_plan(label), {"product": "lamp"}).result == "4 left"


def test_a_name_stands_for_a_layer_that_is_declared_later_or_elsewhere() -> None:
    orders = Graph("orders")

    @orders.layer
    async def bill(price: float = use("reduced", type=float)) -> str:
        return f"{price:.2f}"

    @orders.layer
    async def reduced(price: float = use("tests.fundamentals.test_01_declare:compute_price", type=float)) -> float:
        return price / 2

    assert simulate(compile_plan(bill), {"product": "lamp"}).result == "12.50"


def test_functions_written_elsewhere_are_declared_in_place() -> None:
    shout = layer(str.upper, name="shout")

    assert simulate(compile_plan(shout), {"self": "lamp"}).result == "LAMP"


def test_a_graph_of_its_own_is_built_by_hand() -> None:
    def add(one: int, other: int) -> int:
        return one + other

    sums = Graph("sums")
    first = sums.add_layer(add, name="first")
    sums.add_layer(add, name="second", bind={"one": first, "other": "first"})

    assert simulate(compile_plan(sums), {"one": 1, "other": 2}).result == {"second": 6}


def test_a_misspelt_option_is_an_error_at_once() -> None:
    unchecked: Any = layer  # a type checker refuses it even sooner

    with pytest.raises(UnknownOption, match=r"@layer has no option 'retrys'\. Did you mean 'retries'\?"):
        unchecked(retrys=3)
