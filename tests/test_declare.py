"""Declaring: what becomes a unit, and what is refused."""

import math
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial, wraps
from typing import Any, ParamSpec, TypeVar

import pytest

from fusynk import Layer, Process, Worker, compile_plan, layer, process, use, worker
from fusynk.errors import InvalidDeclaration
from fusynk.testing import simulate
from tests import loose
from tests.shop import Shop, label, refusal, stock

P = ParamSpec("P")
R = TypeVar("R")


def test_the_bare_decorator_and_the_called_one_declare_alike() -> None:
    @layer
    def bare() -> int:
        return 1

    @layer()
    def called() -> int:
        return 1

    @layer(retries=1)
    def with_options() -> int:
        return 1

    assert [type(unit) for unit in (bare, called, with_options)] == [Layer, Layer, Layer]
    assert bare() == called() == with_options() == 1


def test_workers_and_processes_are_units_of_their_own_kind() -> None:
    @worker
    async def bare() -> int:
        return 1

    @worker(every=60, max_runs=3, heartbeat=5)
    async def scheduled() -> int:
        return 2

    @process(bare, scheduled)
    async def both(one: int = use(bare), two: int = use(scheduled)) -> int:
        return one + two

    assert isinstance(bare, Worker)
    assert isinstance(scheduled, Worker)
    assert isinstance(both, Process)
    assert simulate(compile_plan(both)).result == 3


@pytest.mark.parametrize("decorator", [layer, layer.each, worker])
def test_a_function_written_elsewhere_is_declared_under_a_name(decorator: Callable[..., Any]) -> None:
    def existing(number: int) -> int:
        return number + 1

    unit = decorator(existing, name="renamed", retries=1)

    assert unit(1) == 2
    assert unit.unit.name == "renamed"
    assert unit.unit.options.retries == 1


def test_one_function_declared_twice_is_two_units() -> None:
    first, second = layer(label, name="first"), layer(label, name="second")

    assert first != second
    assert len({first, second}) == 2
    assert compile_plan(first, second).order == ("stock", "first", "second")


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(InvalidDeclaration, match=r"give it name="):
        layer(lambda: 1)

    assert simulate(compile_plan(layer(lambda: 1, name="one"))).result == 1


def test_a_partial_is_a_unit_of_the_parameters_it_leaves() -> None:
    def scale(number: int, factor: int, *, offset: int = 0) -> int:
        return number * factor + offset

    by_position = layer(partial(scale, 3), name="by_position")
    by_keyword = layer(partial(scale, factor=10, offset=1), name="by_keyword")

    plan = compile_plan(by_position, by_keyword)
    assert sorted(plan.inputs) == ["factor", "number", "offset"]
    assert simulate(plan, {"factor": 2, "number": 7}).result == (6, 71)


def test_a_partial_that_fixes_an_edge_keeps_it() -> None:
    @layer
    async def twice(left: int = use(stock)) -> int:
        return left * 2

    fixed = layer(partial(label, "apple", left=use(twice)), name="fixed")

    assert simulate(compile_plan(fixed), {"product": "pear"}).result == "apple 8"


async def test_callable_objects_are_units_also_with_an_async_call() -> None:
    class Adder:
        def __call__(self, number: int, left: int = use(stock)) -> int:
            return number + left

    class Doubler:
        async def __call__(self, number: int) -> int:
            return number * 2

    adder, doubler = layer(Adder(), name="adder"), layer(Doubler(), name="doubler")

    assert adder(1, 2) == 3
    assert await doubler(4) == 8
    run = await compile_plan(adder, doubler).run(number=5, product="ab")
    assert run.result == (7, 10)


async def test_a_partial_of_an_async_function_or_object_is_async_too() -> None:
    class Doubler:
        async def __call__(self, number: int) -> int:
            return number * 2

    async def tripled(number: int) -> int:
        return number * 3

    # A timeout is refused where the function would run in a thread.
    of_object = layer(partial(Doubler(), 4), name="of_object", timeout=5)
    of_function = layer(partial(tripled, 4), name="of_function", timeout=5)

    assert (await compile_plan(of_object, of_function).run()).result == (8, 12)


def test_decorators_below_keep_their_effect_and_the_signature() -> None:
    calls: list[str] = []

    def noted(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def noting(*args: P.args, **kwargs: P.kwargs) -> R:
            calls.append("noted")
            return function(*args, **kwargs)

        return noting

    @layer
    @noted
    def wrapped(number: int, left: int = use(stock)) -> int:
        return number + left

    cached = layer(lru_cache(label), name="cached")

    assert simulate(compile_plan(wrapped), {"number": 1, "product": "abc"}).result == 4
    assert calls == ["noted"]
    assert simulate(compile_plan(cached), {"product": "abc"}).result == "abc 3"


def test_builtins_are_units_where_python_can_tell_their_signature() -> None:
    assert simulate(compile_plan(layer(len)), {"obj": "abc"}).result == 3

    unreadable = layer(math.hypot, name="hypot")
    said = refusal(unreadable)
    assert "'hypot'" in said
    assert "no signature that Python can tell" in said
    assert "wrap it in a def" in said


def test_parameters_of_every_kind_receive_what_is_theirs() -> None:
    @layer
    async def every(
        first: int, second: int = use(stock), /, third: int = 3, *rest: int, fourth: int = use(stock), **more: int
    ) -> tuple[object, ...]:
        return first, second, third, rest, fourth, more

    plan = compile_plan(every)

    assert list(plan.inputs) == ["product", "first", "third"]
    assert simulate(plan, {"first": 1, "product": "ab"}).result == (1, 2, 3, (), 2, {})
    assert simulate(plan, {"first": 1, "product": "ab", "third": 9}).result == (1, 2, 9, (), 2, {})


def test_a_plain_function_that_returns_an_awaitable_is_awaited() -> None:
    @layer
    def later() -> Coroutine[None, None, str]:
        async def answer() -> str:
            return "answer"

        return answer()

    @layer
    async def reader(text: str = use(later)) -> str:
        return text.upper()

    assert simulate(compile_plan(reader)).result == "ANSWER"


class Silent:
    """A callable object, which has no name to take."""

    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("target", "said"),
    [
        pytest.param(Shop, "Shop", id="a class"),
        pytest.param(7, "7", id="a number"),
        pytest.param("stock", "'stock'", id="a text"),
        pytest.param(stock, "'stock', which is a unit already", id="a unit"),
        pytest.param(Shop().count, "a unit already", id="a view of a unit"),
        pytest.param(staticmethod(stock), "a unit already", id="a static method of a unit"),
    ],
)
@pytest.mark.parametrize(
    "decorator", [layer, layer.each, worker, process()], ids=["layer", "each", "worker", "process"]
)
def test_what_cannot_be_a_unit(decorator: Callable[..., Any], target: object, said: str) -> None:
    with pytest.raises(InvalidDeclaration, match=said):
        decorator(target)


def test_a_partial_without_a_name() -> None:
    with pytest.raises(InvalidDeclaration, match="give it name="):
        layer(partial(label, "a"))


def test_an_object_without_a_name() -> None:
    with pytest.raises(InvalidDeclaration, match="give it name="):
        layer(Silent())


def test_a_function_as_a_member_of_a_process() -> None:
    with pytest.raises(InvalidDeclaration, match=r"'label'.*decorate it"):
        loose.process(label)


def test_a_function_in_use_each_and_when() -> None:
    marks: list[Callable[[], object]] = [
        lambda: loose.use(label),
        lambda: loose.each(label),
        lambda: loose.use.outcome(label),
        lambda: loose.when(label, bool),
    ]

    for refused in marks:
        with pytest.raises(InvalidDeclaration, match="'label'; decorate it with @layer"):
            refused()


def test_a_refused_declaration_leaves_no_unit_behind() -> None:
    graph = loose.graph("shop")

    declarations: list[Callable[[], object]] = [
        lambda: graph.layer(7),
        lambda: graph.layer(label, retrys=1),
        lambda: graph.layer(label, depends_on=7),
        lambda: graph.add_layer(label, bind={"left": 7}),
        lambda: graph.process("both", label),
        lambda: graph.layer(stock),
    ]

    for refused in declarations:
        with pytest.raises((InvalidDeclaration, TypeError)):
            refused()

    assert list(graph.units) == []
