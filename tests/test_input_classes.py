"""Inputs as an instance of a dataclass, an attrs class, a msgspec struct or a pydantic model."""

import dataclasses
from decimal import Decimal
from typing import Any

import attrs
import msgspec
import pydantic
import pytest

from fusynk import Graph, compile_plan, errors
from fusynk.testing import simulate


@dataclasses.dataclass(frozen=True, slots=True)
class AsDataclass:
    amount: int
    customer: str = "c1"
    note: str | None = None


@attrs.frozen
class AsAttrs:
    amount: int
    customer: str = "c1"
    note: str | None = None


class AsStruct(msgspec.Struct, frozen=True):
    amount: int
    customer: str = "c1"
    note: str | None = None


class AsModel(pydantic.BaseModel):
    amount: int
    customer: str = "c1"
    note: str | None = None


CLASSES: list[Any] = [AsDataclass, AsAttrs, AsStruct, AsModel]
of_each = pytest.mark.parametrize("form", CLASSES, ids=lambda form: str(form.__name__))


def two_layers() -> Graph:
    graph = Graph("inputs")

    @graph.layer
    async def total(amount: int) -> int:
        return 2 * amount

    @graph.layer
    async def receipt(customer: str, total: int = 0, note: str | None = None) -> str:
        return f"{customer} {total} {note}"

    return graph


@of_each
def test_an_instance_gives_the_inputs(form: Any) -> None:
    plan = compile_plan(two_layers(), inputs=form)

    assert simulate(plan, form(amount=3, note="n")).result == {"total": 6, "receipt": "c1 0 n"}


@of_each
def test_keywords_do_as_well(form: Any) -> None:
    plan = compile_plan(two_layers(), inputs=form)

    assert simulate(plan, {"amount": 1, "customer": "c2"}).result == {"total": 2, "receipt": "c2 0 None"}


@of_each
def test_a_field_that_is_missing_is_found_at_compile(form: Any) -> None:
    graph = two_layers()

    @graph.layer
    async def ship(adress: str) -> None: ...

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(graph, inputs=form)

    assert f"takes 'adress' (str), but {form.__name__} has no such field" in str(caught.value)


@of_each
def test_a_field_of_another_type_is_found_at_compile(form: Any) -> None:
    graph = two_layers()

    @graph.layer
    async def pay(amount: Decimal) -> None: ...

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(graph.units["pay"], inputs=form)

    assert f"{form.__name__}.amount is int" in str(caught.value)


@of_each
def test_a_field_that_nobody_takes_is_a_suspicion(form: Any) -> None:
    graph = Graph("inputs")

    @graph.layer
    async def total(amount: int) -> int:
        return amount

    assert f"no unit takes {form.__name__}.customer" in compile_plan(total, inputs=form).explain()


@of_each
def test_an_instance_of_another_class_is_refused(form: Any) -> None:
    others = [other for other in CLASSES if other is not form]
    plan = compile_plan(two_layers(), inputs=form)

    for other in others:
        with pytest.raises(errors.InvalidInputs, match=f"takes {form.__name__} or keywords, not {other.__name__}"):
            plan.run_sync(other(amount=1))


@of_each
def test_a_subclass_is_welcome(form: Any) -> None:
    more = type("More", (form,), {})

    assert simulate(compile_plan(two_layers(), inputs=form), more(amount=2)).result["total"] == 4


@of_each
def test_keywords_make_an_instance_with_its_defaults(form: Any) -> None:
    graph = Graph("inputs")

    @graph.layer
    async def greet(customer: str) -> str:
        return customer

    plan = compile_plan(greet, inputs=form)

    assert simulate(plan, {"amount": 1}).result == "c1"
    with pytest.raises(errors.InvalidInputs, match=f"'amount' is missing, a field of {form.__name__}"):
        plan.run_sync(customer="c2")


def test_keywords_are_checked_by_the_class() -> None:
    @dataclasses.dataclass(frozen=True)
    class Positive:
        amount: int = 1

        def __post_init__(self) -> None:
            if self.amount < 1:
                raise ValueError(self.amount)

    total = two_layers().units["total"]

    with pytest.raises(ValueError, match="-3"):
        compile_plan(total, inputs=Positive).run_sync(amount=-3)
    with pytest.raises(pydantic.ValidationError):
        compile_plan(total, inputs=AsModel).run_sync(amount="many")


def test_a_model_checks_its_values_before_the_run() -> None:
    with pytest.raises(pydantic.ValidationError):
        AsModel.model_validate({"amount": "many"})


def test_private_attributes_and_computed_fields_of_a_model_are_no_inputs() -> None:
    class Model(pydantic.BaseModel):
        amount: int
        _secret: str = pydantic.PrivateAttr(default="s")

    plan = compile_plan(two_layers().units["total"], inputs=Model)

    assert list(plan.inputs) == ["amount"]
    assert simulate(plan, Model(amount=4)).result == 8


def test_attributes_of_attrs_that_init_hides_are_still_fields() -> None:
    @attrs.define
    class WithTotal:
        amount: int
        customer: str = attrs.field(init=False, default="derived")

    assert simulate(compile_plan(two_layers(), inputs=WithTotal), WithTotal(amount=1)).result["receipt"] == (
        "derived 0 None"
    )
