"""Units and a service that several tests share."""

from typing import Any

import pytest

from fusynk import compile_plan, layer, use
from fusynk.errors import InvalidPlan


def refusal(*targets: Any) -> str:
    """What compiling the targets is refused with."""
    with pytest.raises(InvalidPlan) as caught:
        compile_plan(*targets)
    return str(caught.value)


@layer
async def stock(product: str) -> int:
    """Counts what is left."""
    return len(product)


@layer(retries=2, tags=("slow",))
def price(product: str, left: int = use(stock)) -> float:
    """Says what it costs."""
    return left * 1.5


def label(product: str, *, left: int = use(stock)) -> str:
    """A function that is declared nowhere."""
    return f"{product} {left}"


class Shop:
    """A service whose steps share its state."""

    def __init__(self, stock: int = 10) -> None:
        self.stock = stock

    @layer
    async def count(self, ordered: int) -> int:
        """Counts what would be left."""
        return self.stock - ordered

    @layer
    def judge(self, left: int = use(count)) -> str:
        return f"{left} left"

    @layer(depends_on=judge)
    async def sell(self, left: int = use(count)) -> tuple[int, int]:
        return self.stock, left

    @layer
    @staticmethod
    def static_below(text: str = use(judge)) -> str:
        return text.upper()

    @staticmethod
    @layer
    def static_above(number: int) -> int:
        return number + 1

    @layer
    @classmethod
    def class_below(cls, number: int) -> str:
        return f"{cls.__name__} {number}"

    @classmethod
    @layer
    async def class_above(cls, number: int) -> str:
        return f"{cls.__name__} {number}"


class Corner(Shop):
    """Overrides a step."""

    @layer
    async def count(self, ordered: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] # of its `self`
        return 100 + await super().count(ordered)
