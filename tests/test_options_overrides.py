"""Overrides: stand-ins for functions, on a plan of their own."""

from collections.abc import Callable
from typing import Any, Self

import anyio
import pytest

from fusynk import Batch, Failed, compile_plan, current_step, each, layer, process, use
from fusynk.errors import FusynkError, InvalidDeclaration, InvalidPlan, LayerTimeout, UnknownStep
from fusynk.testing import simulate
from tests.shop import Shop


@layer
def stock(product: str) -> int:
    return len(product)


@layer
async def price(left: int = use(stock), *, rate: float = 2.0) -> float:
    return left * rate


@layer
async def numbers() -> list[int]:
    return [1, 2, 3]


@layer.each(on_error="continue", retries=1)
async def doubled(number: int = each(numbers)) -> int:
    return number * 2


class Declined(Exception):
    """Takes other arguments than it passes on."""

    def __init__(self, order: int, *, reason: str) -> None:
        super().__init__(f"order {order}: {reason}")
        self.order = order


PLAN = compile_plan(price)


def test_a_value_stands_in_for_a_function() -> None:
    trace = simulate(PLAN.override(stock.returns(10)), {"product": "abc"})

    assert trace.result == 20.0
    assert trace.run[stock] == 10


def test_a_function_stands_in_with_the_same_arguments() -> None:
    async def later(left: int, *, rate: float) -> float:
        return -left * rate

    def plenty(product: str) -> int:
        return 100

    plan = PLAN.override(stock.calls(plenty), price.calls(later))

    assert simulate(plan, {"product": "abc", "rate": 3.0}).result == -300.0


def test_a_unit_may_stand_in_for_another() -> None:
    @layer
    async def fake(product: str) -> int:
        return 50

    assert simulate(PLAN.override(stock.calls(fake)), {"product": "abc"}).result == 100.0


def test_an_error_stands_in_for_a_function() -> None:
    trace = simulate(PLAN.override(stock.raises(TimeoutError("too late"))), {"product": "abc"})

    assert isinstance(trace.error, TimeoutError)
    assert str(trace.error) == "too late"
    assert isinstance(trace.run.outcome(stock), Failed)


def test_the_plan_itself_is_left_as_it_was() -> None:
    other = PLAN.override(stock.returns(10))

    assert simulate(PLAN, {"product": "abc"}).result == 6.0
    assert simulate(other, {"product": "abc"}).result == 20.0
    assert other is not PLAN


def test_overrides_add_up_and_the_last_one_counts() -> None:
    plan = PLAN.override(stock.returns(10)).override(price.returns(1.5)).override(stock.returns(11))

    run = simulate(plan, {"product": "abc"}).run

    assert (run[stock], run[price]) == (11, 1.5)


def test_overrides_survive_other_options() -> None:
    plan = PLAN.override(stock.returns(10)).options(concurrency=1)

    assert simulate(plan, {"product": "abc"}).result == 20.0


def test_an_error_given_as_an_instance_is_copied_for_each_attempt() -> None:
    given = ConnectionError("lost")
    plan = PLAN.options(retries=2).override(stock.raises(given))

    runs = [simulate(plan, {"product": "abc"}).run for _ in range(2)]

    errors = [record.error for run in runs for record in run.attempts(stock)]
    assert len({id(error) for error in errors} | {id(given)}) == 7
    assert all(isinstance(error, ConnectionError) and error.args == ("lost",) for error in errors)
    assert given.__traceback__ is None
    assert not hasattr(given, "__notes__")


def test_an_error_keeps_what_it_carries() -> None:
    cause = KeyError("cause")
    given = Declined(7, reason="no money")
    given.__cause__ = cause

    trace = simulate(PLAN.override(stock.raises(given)), {"product": "abc"})

    assert isinstance(trace.error, Declined)
    assert (trace.error.order, str(trace.error)) == (7, "order 7: no money")
    assert trace.error.__cause__ is cause


def test_an_error_that_cannot_be_copied_is_raised_itself() -> None:
    class Stubborn(Exception):
        def __new__(cls, *, only: str) -> Self:
            return super().__new__(cls)

        def __init__(self, *, only: str) -> None:
            super().__init__(only)

    given = Stubborn(only="by keyword")

    assert simulate(PLAN.override(stock.raises(given)), {"product": ""}).error is given


def test_an_error_type_is_made_for_each_attempt() -> None:
    plan = PLAN.options(retries=1).override(stock.raises(ConnectionError))

    records = simulate(plan, {"product": "abc"}).run.attempts(stock)

    assert [type(record.error) for record in records] == [ConnectionError, ConnectionError]
    assert records[0].error is not records[1].error


def test_an_error_type_that_needs_arguments_is_refused() -> None:
    with pytest.raises(InvalidDeclaration, match="Declined"):
        stock.raises(Declined)


def test_policies_hold_for_stand_ins() -> None:
    async def slow(product: str) -> int:
        await anyio.sleep(60)
        return 1

    attempts: list[int] = []

    def flaky(product: str) -> int:
        attempts.append(current_step().attempt)
        if len(attempts) < 3:
            raise ConnectionError
        return 9

    assert simulate(PLAN.options(retries=5).override(stock.calls(flaky)), {"product": ""}).result == 18.0
    assert attempts == [1, 2, 3]
    fast = layer(timeout=1)(slow)
    trace = simulate(compile_plan(fast).override(fast.calls(slow)), {"product": ""})
    assert isinstance(trace.error, LayerTimeout)


def test_a_stand_in_needs_no_thread() -> None:
    @layer(timeout=3)
    async def timed(number: int) -> int:
        return number

    def negative(number: int) -> int:
        return -number

    assert simulate(compile_plan(timed).override(timed.calls(negative)), {"number": 4}).result == -4


def test_functions_stand_in_item_by_item() -> None:
    names: list[str] = []

    def minus(number: int) -> int:
        names.append(current_step().name)
        if number == 2:
            raise ValueError(number)
        return -number

    batch = simulate(compile_plan(doubled).override(doubled.calls(minus))).result

    assert dict(batch.succeeded) == {0: -1, 2: -3}
    assert list(batch.failed) == [1]
    assert sorted(names) == ["doubled[0]", "doubled[1]", "doubled[1]", "doubled[2]"]


def test_errors_stand_in_item_by_item() -> None:
    trace = simulate(compile_plan(doubled).override(doubled.raises(ConnectionError("lost"))))

    assert trace.error is None
    assert list(trace.result.failed) == [0, 1, 2]
    assert len(trace.run.attempts(doubled)) == 6
    assert not trace.run.ok


def test_a_batch_stands_in_for_a_whole_fan_out() -> None:
    batch = Batch({0: 7}, {1: ValueError()})

    run = simulate(compile_plan(doubled).override(doubled.returns(batch))).run

    assert run.result is batch
    assert run[numbers] == [1, 2, 3]


def test_anything_else_does_not_stand_in_for_a_fan_out() -> None:
    unchecked: Any = doubled

    with pytest.raises(FusynkError, match="Batch"):
        compile_plan(doubled).override(unchecked.returns([7]))


def test_nor_for_a_fan_out_of_a_service() -> None:
    class Films:
        @layer.each
        def film(self, number: int = each(numbers)) -> int:
            return number

    unchecked: Any = Films()

    with pytest.raises(FusynkError, match="Batch"):
        compile_plan(unchecked.film).override(unchecked.film.returns([7]))


def test_the_source_of_a_fan_out_may_be_replaced() -> None:
    assert list(simulate(compile_plan(doubled).override(numbers.returns([5]))).result) == [10]


def test_processes_may_be_replaced() -> None:
    pair = process("pair", numbers, doubled)

    run = simulate(compile_plan(pair).override(pair.returns({"other": 1}))).run

    assert run.result == {"other": 1}
    assert run[numbers] == [1, 2, 3]


def test_methods_are_replaced_for_their_instance() -> None:
    shop = Shop(7)

    def fine(left: int) -> str:
        return "fine"

    plan = compile_plan(shop.sell).override(shop.count.returns(2), shop.judge.calls(fine))

    run = simulate(plan, {"ordered": 1}).run

    assert (run.result, run[shop.judge]) == ((7, 2), "fine")
    with pytest.raises(UnknownStep):
        plan.override(Shop(7).count.returns(1))


def test_methods_of_the_class_are_replaced_with_the_instance_as_an_argument() -> None:
    def counted(self: Shop, ordered: int) -> int:
        return self.stock * 100 + ordered

    plan = compile_plan(Shop.sell).override(Shop.count.calls(counted))

    assert simulate(plan, {"self": Shop(7), "ordered": 1}).result == (7, 701)


def test_a_unit_that_the_plan_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownStep, match=r"The plan has no step 'numbers'"):
        PLAN.override(numbers.returns([]))


@pytest.mark.parametrize("value", [7, None, stock, print])
def test_what_is_no_override_is_refused(value: object) -> None:
    unchecked: Any = PLAN

    with pytest.raises(InvalidDeclaration, match=r"override\(\) takes layer\.returns"):
        unchecked.override(value)


def test_what_cannot_be_raised_or_called_is_refused() -> None:
    unchecked: Any = stock

    with pytest.raises(InvalidDeclaration, match=r"raises\(\) takes an exception.* not 'lost'"):
        unchecked.raises("lost")
    with pytest.raises(InvalidDeclaration, match=r"raises\(\) takes an exception.*"):
        unchecked.raises(int)
    with pytest.raises(InvalidDeclaration, match=r"calls\(\) takes a function, not 7"):
        unchecked.calls(7)


def none() -> float:
    return 1.0


def one(left: int) -> float:
    return 1.0


def three(left: int, rate: float, more: int) -> float:
    return 1.0


def keyword(*, rate: float) -> float:
    return 1.0


@pytest.mark.parametrize("function", [none, one, three, keyword])
def test_a_function_of_the_wrong_arity_is_refused_at_once(function: Callable[..., float]) -> None:
    with pytest.raises(InvalidPlan) as caught:
        PLAN.override(price.calls(function))

    said = str(caught.value)
    assert "'price'" in said
    assert "left" in said
    assert "rate" in said


def both(left: int, rate: float) -> float:
    return 1.0


def apart(left: int, *, rate: float) -> float:
    return 1.0


def anything(*args: object, **kwargs: object) -> float:
    return 1.0


def any_keyword(left: int, **kwargs: object) -> float:
    return 1.0


@pytest.mark.parametrize("function", [both, apart, anything, any_keyword])
def test_a_function_that_takes_the_arguments_in_another_way_is_welcome(function: Callable[..., float]) -> None:
    assert simulate(PLAN.override(price.calls(function)), {"product": ""}).result == 1.0


def test_explain_says_what_is_replaced() -> None:
    said = PLAN.override(stock.returns(10)).explain()

    assert said != PLAN.explain()
    assert "replaced" in said or "returns" in said
