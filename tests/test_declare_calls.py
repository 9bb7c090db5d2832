"""A unit stays the function it was; what no plan fills in is asked of the caller."""

import copy
import inspect
import pickle
import types
from collections.abc import Callable
from functools import lru_cache, partial, wraps
from typing import Any

import pytest

from fusynk import compile_plan, current_step, each, layer, process, use, when
from fusynk.errors import InvalidDeclaration, MissingArtifact
from fusynk.testing import simulate
from tests.shop import Shop, label, price, stock

labelled = layer(label, name="labelled")
# For calls that a type checker refuses.
loose_stock: Any = stock
loose_price: Any = price
loose_shop: Any = Shop


def collect(*values: object, **named: object) -> tuple[object, ...]:
    return values, named


class Held:
    """Holds markers as defaults in places where they are harder to see."""

    def __call__(self, number: int, left: int = use(stock)) -> int:
        return number + left

    @layer
    def method(self, left: int = use(stock)) -> int:
        return left

    @layer
    @staticmethod
    def static(left: int = use(stock)) -> int:
        return left

    @classmethod
    @layer
    def of_class(cls, left: int = use(stock)) -> int:
        return left


loose_held: Any = Held


def forwarded(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def forwarding(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return forwarding


async def test_a_call_is_the_functions_own() -> None:
    assert await stock("abc") == 3
    assert await stock(product="abc") == 3
    assert price("abc", 2) == 3.0
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        await loose_stock("abc", colour="red")


def test_names_and_documentation_are_kept() -> None:
    assert (loose_stock.__name__, loose_stock.__qualname__, loose_stock.__module__) == ("stock", "stock", "tests.shop")
    assert stock.__doc__ == "Counts what is left."
    assert loose_shop.count.__qualname__ == "Shop.count"
    assert loose_shop().count.__doc__ == "Counts what would be left."
    assert inspect.getsourcelines(stock)[0][0] == "@layer\n"


def test_being_a_coroutine_function_is_kept() -> None:
    assert inspect.iscoroutinefunction(stock)
    assert inspect.iscoroutinefunction(Shop().count)
    assert inspect.iscoroutinefunction(loose_shop.class_above)
    assert not inspect.iscoroutinefunction(price)
    assert not inspect.iscoroutinefunction(Shop().judge)


def test_the_signature_shows_artifacts_as_required() -> None:
    @layer
    def step(
        one: int, two: int = 2, three: int = use(stock), *, four: int = use(stock), five: int = 5
    ) -> tuple[int, ...]:
        return one, two, three, four, five

    assert str(inspect.signature(step)) == (
        "(one: int, two: int = 2, *, three: int, four: int, five: int = 5) -> tuple[int, ...]"
    )
    assert str(inspect.signature(stock)) == "(product: str) -> int"
    assert str(inspect.signature(price)) == "(product: str, left: int) -> float"


def test_the_signature_of_an_item_is_that_of_one_call() -> None:
    @layer
    def letters() -> str:
        return "abc"

    @layer.each
    def item(letter: str = each(letters)) -> str:
        return letter

    assert str(inspect.signature(item)) == "(letter: str) -> str"


def test_the_signature_of_methods_does_too() -> None:
    assert str(inspect.signature(Shop.judge)) == "(self, left: int) -> str"
    assert str(inspect.signature(Shop().judge)) == "(left: int) -> str"
    assert str(inspect.signature(loose_shop.static_below)) == "(text: str) -> str"
    assert str(inspect.signature(loose_shop().static_below)) == "(text: str) -> str"
    assert str(inspect.signature(loose_shop.class_below)) == "(number: int) -> str"
    assert str(inspect.signature(loose_shop().class_above)) == "(number: int) -> str"


def test_the_signature_of_a_class_method_shows_artifacts_as_required() -> None:
    class Named:
        @layer
        @classmethod
        def below(cls, left: int = use(stock)) -> int:
            return left

        @classmethod
        @layer
        def above(cls, left: int = use(stock)) -> int:
            return left

    loose_named: Any = Named
    for view in (loose_named.below, loose_named().below, loose_named.above, loose_named().above):
        assert str(inspect.signature(view)) == "(left: int) -> int"


def test_it_equals_only_itself() -> None:
    assert stock == stock  # noqa: PLR0124 - the point
    assert not layer(label, name="one") == layer(label, name="other")  # noqa: SIM201 - the other operator
    assert stock != stock.__wrapped__
    assert {stock: 1}[stock] == 1
    assert stock not in {price: 1}


def test_copies_are_the_unit_itself() -> None:
    assert copy.copy(stock) is stock
    assert copy.deepcopy([stock])[0] is stock


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_goes_by_import_path(protocol: int) -> None:
    for unit in (stock, price, Shop.count):
        assert pickle.loads(pickle.dumps(unit, protocol)) is unit  # noqa: S301 - its own bytes


def test_a_unit_that_its_path_does_not_lead_to_is_not_pickled_as_something_else() -> None:
    @layer
    def local() -> None: ...

    for unit in (local, layer(label, name="elsewhere"), layer(partial(label, "a"), name="part")):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(unit)


def test_a_unit_under_a_name_of_its_own_is_pickled_as_itself_or_not_at_all() -> None:
    try:
        pickled = pickle.dumps(labelled)
    except pickle.PicklingError:
        return

    assert pickle.loads(pickled) is labelled  # noqa: S301 - its own bytes


def test_the_repr_says_what_it_is_and_where() -> None:
    assert repr(stock).startswith("<layer 'stock' at shop.py:")


def test_an_ordinary_call_that_misses_an_artifact_names_it() -> None:
    with pytest.raises(MissingArtifact) as caught:
        loose_price("abc")

    assert str(caught.value) == (
        "price() was called without 'left', the artifact of 'stock'; pass left=..., or run it in a plan."
    )


def test_it_is_told_at_the_call_also_of_an_async_function() -> None:
    @layer
    async def later(left: int = use(stock)) -> int:
        return left

    loose_later: Any = later
    with pytest.raises(MissingArtifact, match=r"later\(\) was called without 'left'"):
        loose_later()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: labelled("a"), id="a keyword-only parameter"),
        pytest.param(lambda: price("a", use(stock)), id="a marker by position"),
        pytest.param(lambda: price("a", left=use(stock)), id="a marker by keyword"),
        pytest.param(lambda: loose_stock(use(price)), id="a marker where none is declared"),
        pytest.param(lambda: loose_price("a", when(stock, bool)), id="a condition"),
        pytest.param(lambda: loose_price("a", use.outcome(stock)), id="an outcome"),
        pytest.param(lambda: layer(collect)(use(stock)), id="a marker in *args"),
        pytest.param(lambda: layer(collect)(left=use(stock)), id="a marker in **kwargs"),
        pytest.param(lambda: Held().method(), id="a method"),
        pytest.param(lambda: Held.method(Held()), id="a method through its class"),
        pytest.param(Held.static, id="a static method"),
        pytest.param(loose_held().of_class, id="a class method"),
        pytest.param(lambda: layer(Held(), name="held")(1), id="a callable object"),
        pytest.param(layer(partial(label, "a"), name="part"), id="a partial"),
        pytest.param(lambda: layer(partial(label, left=use(stock)), name="whole")("a"), id="a partial that holds it"),
        pytest.param(lambda: layer(forwarded(label), name="forward")("a"), id="a wrapper"),
        pytest.param(lambda: layer(lru_cache(label), name="kept")("a"), id="a cache"),
        pytest.param(partial(price, "a"), id="a partial of a unit"),
    ],
)
def test_a_marker_is_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(MissingArtifact, match=r"stock|price"):
        call()


def test_the_defaults_that_a_framework_passes_are_refused() -> None:
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(price.__wrapped__).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }

    with pytest.raises(MissingArtifact, match="'left', the artifact of 'stock'"):
        price("abc", **defaults)


def test_a_marker_among_the_inputs_of_a_run_is_refused() -> None:
    seen: list[object] = []

    @layer
    async def reader(text: object, other: object = None) -> None:
        seen.append(text)

    for inputs in ({"text": use(stock)}, {"text": 1, "other": when(stock, bool)}):
        with pytest.raises(TypeError, match=r"text|other"):
            simulate(compile_plan(reader), inputs)
    assert seen == []


def test_a_process_without_a_function_cannot_be_called() -> None:
    pair = process("pair", stock, price)

    with pytest.raises(InvalidDeclaration, match=r"compile it with compile_plan\(\)"):
        pair()


def test_current_step_outside_a_body_says_so() -> None:
    with pytest.raises(LookupError, match=r"current_step\(\) was called outside a running step"):
        current_step()


async def test_a_unit_called_inside_another_is_an_ordinary_call() -> None:
    @layer
    async def caller() -> float:
        return price("abc", await stock("abc"))

    assert (await compile_plan(caller).run()).result == 4.5


def test_a_unit_serves_as_a_function_everywhere() -> None:
    assert [*map(layer(str.upper, name="shouted"), ["a", "b"])] == ["A", "B"]
    assert max(["a", "bbb", "cc"], key=layer(len, name="length")) == "bbb"
    assert isinstance(stock, types.FunctionType)
    assert callable(stock)
