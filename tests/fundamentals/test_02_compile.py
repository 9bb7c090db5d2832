"""Compile: every mistake of the wiring is found before anything runs; what is left is a plan, which never changes."""

from dataclasses import dataclass

import pytest

from fusynk import Graph, compile_plan, current_step, layer, use
from fusynk.errors import DependencyCycle, InvalidPlan, UnknownDependency
from fusynk.testing import simulate


@layer
async def check_stock(product: str) -> int:
    return len(product)


@layer
async def find_customer(customer: str) -> str:
    return customer.title()


@layer
async def place_order(left: int = use(check_stock), customer: str = use(find_customer)) -> str:
    return f"1 of {left} for {customer}"


@layer(depends_on=place_order, priority=5)
async def thank(customer: str = use(find_customer)) -> str:
    return f"Thank you, {customer}"


def test_a_plan_contains_what_its_target_reaches() -> None:
    assert compile_plan(place_order).order == ("check_stock", "find_customer", "place_order")


def test_levels_group_the_steps_by_depth() -> None:
    assert compile_plan(thank).levels == (("check_stock", "find_customer"), ("place_order",), ("thank",))


def test_several_targets_give_a_tuple() -> None:
    plan = compile_plan(place_order, thank)

    assert simulate(plan, {"product": "lamp", "customer": "ada"}).result == ("1 of 4 for Ada", "Thank you, Ada")


def test_a_whole_graph_gives_its_last_steps_by_name() -> None:
    numbers = Graph("numbers")

    @numbers.layer
    def one() -> int:
        return 1

    @numbers.layer
    def two(number: int = use(one)) -> int:
        return number + 1

    @numbers.layer
    def three() -> int:
        return 3

    assert simulate(compile_plan(numbers)).result == {"two": 2, "three": 3}


def test_every_module_has_a_graph_of_its_own_which_its_name_stands_for() -> None:
    plan = compile_plan(__name__)

    assert simulate(plan, {"product": "lamp", "customer": "ada"}).result == {"thank": "Thank you, Ada"}


def test_a_dataclass_makes_the_inputs_typed() -> None:
    @dataclass(frozen=True)
    class Purchase:
        product: str
        customer: str

    plan = compile_plan(place_order, inputs=Purchase)

    assert simulate(plan, Purchase("lamp", "ada")).result == "1 of 4 for Ada"


def test_explain_tells_what_the_plan_will_do() -> None:
    said = compile_plan(thank, concurrency=3).explain()

    assert "Plan of 4 steps to thank" in said
    assert "concurrency=3" in said
    assert "customer <- find_customer" in said
    assert "after place_order" in said


def test_every_mistake_is_reported_at_once_each_with_its_fix() -> None:
    orders = Graph("orders")

    @orders.layer(depends_on="pay")
    async def inventory() -> None: ...

    @orders.layer(depends_on=["inventory", "custmer"])
    async def pay() -> None: ...

    @orders.layer
    async def customer() -> None: ...

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(orders)

    cycle, unknown = sorted(caught.value.exceptions, key=lambda fault: type(fault).__name__)
    assert isinstance(cycle, DependencyCycle)
    assert "inventory -> pay -> inventory" in str(cycle)
    assert isinstance(unknown, UnknownDependency)
    assert "'pay' (test_02_compile.py:" in str(unknown)
    assert "Did you mean 'customer'?" in str(unknown)


def test_an_input_that_is_missing_from_the_dataclass_names_who_needs_it() -> None:
    @dataclass
    class Purchase:
        product: str

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(place_order, inputs=Purchase)

    assert "'find_customer'" in str(caught.value)
    assert "'customer' (str)" in str(caught.value)


def test_options_make_another_plan_and_leave_this_one_as_it_is() -> None:
    plan = compile_plan(thank)

    careful = plan.options(concurrency=1, retries=3)

    assert careful.settings.concurrency == 1
    assert plan.settings.concurrency == 32


def test_one_slot_starts_the_steps_in_the_order_of_the_plan() -> None:
    started: list[str] = []
    chores = Graph("chores")
    for name, priority in {"dust": 0, "cook": 9, "sing": 0}.items():
        chores.add_layer(lambda: started.append(current_step().name), name=name, priority=priority)
    plan = compile_plan(chores, concurrency=1)

    simulate(plan)

    assert plan.order == ("cook", "dust", "sing")
    assert tuple(started) == plan.order
