"""Services: methods are layers; a plan of an instance binds every sibling to it, the way a subclass overrides them."""

from dataclasses import dataclass, field

from fusynk import compile_plan, layer, use
from fusynk.testing import simulate


@dataclass
class Shop:
    """Keeps stock and a log."""

    stock: int
    log: list[str] = field(default_factory=list[str])

    @layer
    async def reserve(self, count: int) -> int:
        self.log.append(f"reserve {count}")
        self.stock -= count
        return self.stock

    @layer
    async def pack(self, left: int = use(reserve)) -> str:
        self.log.append("pack")
        return f"packed, {left} left"

    @layer(depends_on=pack)
    def ship(self, left: int = use(reserve)) -> str:
        self.log.append("ship")
        return f"shipped, {left} left"


class CarefulShop(Shop):
    """Looks at the stock first."""

    @layer
    async def reserve(self, count: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] # of its `self`
        return await super().reserve(min(count, self.stock))


async def test_methods_are_called_as_methods() -> None:
    shop = Shop(5)

    assert await shop.reserve(2) == 3
    assert await shop.pack(3) == "packed, 3 left"


def test_a_plan_of_an_instance_runs_on_that_instance() -> None:
    shop = Shop(5)

    trace = simulate(compile_plan(shop.ship), {"count": 2})

    assert trace.result == "shipped, 3 left"
    assert trace.run[shop.pack] == "packed, 3 left"
    assert shop.log == ["reserve 2", "pack", "ship"]


def test_a_plan_of_the_class_takes_the_instance_as_an_input() -> None:
    plan = compile_plan(Shop.ship)
    one, other = Shop(5), Shop(50)

    assert simulate(plan, {"self": one, "count": 2}).result == "shipped, 3 left"
    assert simulate(plan, {"self": other, "count": 2}).result == "shipped, 48 left"


def test_a_subclass_replaces_a_step() -> None:
    shop = CarefulShop(1)

    assert simulate(compile_plan(shop.ship), {"count": 2}).result == "shipped, 0 left"


def test_a_service_may_use_layers_that_are_functions_and_functions_may_use_a_service() -> None:
    shop = Shop(9)

    @layer
    async def announce(shipped: str = use(shop.ship)) -> str:
        return shipped.upper()

    assert simulate(compile_plan(announce), {"count": 2}).result == "SHIPPED, 7 LEFT"


def test_a_test_replaces_a_method_for_its_instance() -> None:
    shop = Shop(5)
    plan = compile_plan(shop.ship).override(shop.reserve.returns(100))

    assert simulate(plan, {"count": 2}).result == "shipped, 100 left"
    assert shop.stock == 5
