"""Methods: siblings are bound to one instance, the way a subclass overrides them."""

import copy
import pickle
from dataclasses import dataclass
from types import MethodType
from typing import Any

import pytest

from fusynk import Batch, compile_plan, each, layer, use
from fusynk.errors import InvalidInputs, UnknownStep
from fusynk.testing import simulate
from tests import loose
from tests.shop import Corner, Shop, refusal, stock

# Static and class methods have no types of their own.
loose_shop: Any = Shop
loose_corner: Any = Corner
SHOP = Shop(7)


async def test_methods_are_called_as_methods() -> None:
    shop = Shop(5)

    assert await shop.count(2) == 3
    assert await Shop.count(shop, 2) == 3
    assert shop.judge(4) == "4 left"
    assert await Corner(5).count(2) == 103


async def test_static_and_class_methods_are_called_as_such_in_both_decorator_orders() -> None:
    assert loose_shop.static_below("a") == loose_shop().static_below("a") == "A"
    assert loose_shop.static_above(1) == loose_shop().static_above(1) == 2
    assert loose_shop.class_below(1) == loose_shop().class_below(1) == "Shop 1"
    assert await loose_shop.class_above(1) == await loose_shop().class_above(1) == "Shop 1"
    assert loose_corner.class_below(2) == "Corner 2"


def test_a_plan_of_an_instance_binds_every_sibling_to_it() -> None:
    shop = Shop(7)

    trace = simulate(compile_plan(shop.sell), {"ordered": 3})

    assert trace.result == (7, 4)
    assert trace.run[shop.judge] == "4 left"
    assert list(compile_plan(shop.sell).inputs) == ["ordered"]


def test_a_plan_of_the_class_takes_the_instance_as_an_input() -> None:
    plan = compile_plan(Shop.sell)

    assert list(plan.inputs) == ["self", "ordered"]
    assert simulate(plan, {"self": Shop(7), "ordered": 3}).result == (7, 4)
    assert simulate(plan, {"self": Shop(8), "ordered": 3}).result == (8, 5)


async def test_the_instance_is_passed_as_the_keyword_self() -> None:
    run = await compile_plan(Shop.sell).run(self=Shop(7), ordered=3)

    assert run[Shop.count] == 4


def test_a_subclass_overrides_a_step() -> None:
    corner = Corner(7)

    trace = simulate(compile_plan(corner.sell), {"ordered": 3})

    assert trace.result == (7, 104)
    assert trace.run[corner.count] == 104


def test_a_plan_of_the_subclass_takes_its_overriding_step() -> None:
    plan = compile_plan(Corner.sell)

    assert simulate(plan, {"self": Corner(7), "ordered": 3}).result == (7, 104)


def test_an_instance_that_overrides_a_step_of_the_plan_is_refused() -> None:
    plan = compile_plan(Shop.sell)

    with pytest.raises(InvalidInputs, match="Corner overrides 'count'"):
        simulate(plan, {"self": Corner(7), "ordered": 3})


def test_static_and_class_methods_are_siblings_in_both_decorator_orders() -> None:
    class Store:
        @staticmethod
        @layer
        def above() -> int:
            return 1

        @layer
        @staticmethod
        def below() -> int:
            return 2

        @classmethod
        @layer
        def named(cls) -> str:
            return cls.__name__

        @layer(depends_on=[above, below])
        def total(
            self, one: int = loose.use(above), two: int = loose.use(below), name: str = loose.use(named)
        ) -> tuple[int, int, str]:
            return one, two, name

    class Branch(Store):
        @staticmethod
        @layer
        def above() -> int:
            return 10

        @layer
        @staticmethod
        def below() -> int:
            return 20

    assert simulate(compile_plan(Store().total)).result == (1, 2, "Store")
    assert simulate(compile_plan(Branch().total)).result == (10, 20, "Branch")


def test_a_method_that_is_bound_by_hand_is_the_same_step() -> None:
    shop = Shop(7)

    run = simulate(loose.compile_plan(MethodType(Shop.sell, shop)), {"ordered": 3}).run

    assert run[shop.sell] == (7, 4)


def test_an_override_that_is_no_unit_is_told() -> None:
    class Broken(Shop):
        async def count(self, ordered: int) -> int:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
            return ordered

    said = refusal(Broken().sell)

    assert "depends on 'count', which Broken overrides by something that is no unit; decorate it" in said


def test_methods_of_two_unrelated_classes_cannot_share_an_instance() -> None:
    class Stranger:
        @layer
        def visit(self) -> str:
            return type(self).__name__

    said = refusal(Shop.judge, Stranger.visit)

    assert "InputConflict" in said
    assert "'self'" in said


def test_methods_of_two_instances_of_two_classes_may_meet() -> None:
    class Stranger:
        @layer
        def visit(self, left: int = use(SHOP.count)) -> str:
            return f"{type(self).__name__} sees {left}"

    assert simulate(compile_plan(Stranger().visit), {"ordered": 1}).result == "Stranger sees 6"


def test_a_method_may_fan_out() -> None:
    class Films:
        def __init__(self, titles: dict[int, str]) -> None:
            self.titles = titles

        @layer
        def ids(self) -> list[int]:
            return list(self.titles)

        @layer.each
        async def title(self, number: int = each(ids)) -> str:
            return self.titles[number]

        @layer
        def all(self, titles: Batch[str] = use(title)) -> str:
            return ", ".join(titles)

    films = Films({1: "M", 2: "Metropolis"})

    assert simulate(compile_plan(films.all)).result == "M, Metropolis"
    assert simulate(compile_plan(Films.all), {"self": films}).result == "M, Metropolis"


def test_a_step_keeps_its_first_name_under_an_alias() -> None:
    class Named:
        @layer
        def first(self) -> int:
            return 1

        alias = first

        @layer
        def last(self, number: int = use(first)) -> int:
            return number

    class Renamed(Named):
        @layer
        def first(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] # of its `self`
            return 2

    assert simulate(compile_plan(Named().alias)).result == 1
    assert simulate(compile_plan(Renamed().last)).result == 2


def test_two_instances_keep_their_state_apart() -> None:
    one, other = Shop(1), Shop(100)

    plans = compile_plan(one.sell), compile_plan(other.sell)

    assert [simulate(plan, {"ordered": 1}).result for plan in plans] == [(1, 0), (100, 99)]


def test_two_instances_in_one_plan_share_a_name_and_are_told() -> None:
    said = refusal(Shop(1).count, Shop(2).count)

    assert "DuplicateName: 'count'" in said
    assert "two instances" in said


def test_a_step_of_another_instance_is_not_in_the_run() -> None:
    run = simulate(compile_plan(Shop(1).count), {"ordered": 1}).run

    with pytest.raises(UnknownStep) as caught:
        run[Shop(2).count]
    assert "Did you mean 'count'?" not in str(caught.value)


def test_a_method_depends_on_units_outside_its_class() -> None:
    class Store:
        factor = 2

        @layer
        def worth(self, left: int = use(stock)) -> int:
            return left * self.factor

    assert simulate(compile_plan(Store().worth), {"product": "abc"}).result == 6


def test_names_in_depends_on_and_use_find_siblings() -> None:
    @dataclass
    class Store:
        log: list[str]

        @layer(depends_on="opened")
        def sold(self, left: int = use("counted", type=int)) -> int:
            self.log.append("sold")
            return left

        @layer
        def opened(self) -> None:
            self.log.append("opened")

        @layer
        def counted(self) -> int:
            return 5

    store = Store([])

    assert simulate(compile_plan(store.sold)).result == 5
    assert store.log == ["opened", "sold"]


def test_objects_that_cannot_be_hashed_or_compared_are_services_too() -> None:
    class Odd:
        __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

        def __eq__(self, other: object) -> bool:
            raise RuntimeError

        @layer
        def first(self) -> int:
            return 1

        @layer
        def second(self, first: int = use(first)) -> int:
            return first + 1

    odd = Odd()

    assert simulate(compile_plan(odd.second)).run[odd.first] == 1


def test_views_of_one_instance_are_equal_and_of_two_are_not() -> None:
    shop = Shop()

    assert shop.count == shop.count
    assert hash(shop.count) == hash(shop.count)
    assert shop.count != Shop().count
    assert shop.count != shop.judge


def test_views_are_copied_and_pickled_as_bound_methods_are() -> None:
    shop = Shop(7)

    assert pickle.loads(pickle.dumps(shop.judge))(3) == "3 left"  # noqa: S301 - its own bytes
    assert copy.copy(shop.judge)(3) == "3 left"
    assert copy.deepcopy(shop.judge)(3) == "3 left"
    assert pickle.loads(pickle.dumps(loose_shop.class_below))(3) == "Shop 3"  # noqa: S301 - its own bytes


def test_views_say_what_they_are_bound_to() -> None:
    assert "Shop" in repr(Shop().count)
    assert "Shop" in repr(loose_shop.class_below)
    assert "NoneType" not in repr(loose_shop().static_below)


@pytest.mark.parametrize("name", ["static_below", "static_above", "class_below", "class_above"])
@pytest.mark.parametrize("owner", [Shop, Shop(3)])
def test_static_and_class_methods_compile_from_class_and_instance(owner: Any, name: str) -> None:
    plan = compile_plan(getattr(owner, name))

    assert "cls" not in plan.inputs
    given = {"number": 1, "ordered": 1, "self": Shop(3)}
    result = simulate(plan, {key: given[key] for key in plan.inputs}).result
    assert result == {"static_below": "2 LEFT", "static_above": 2}.get(name, "Shop 1")
