"""Plans that do not compile, one function each. `test_compile_errors.py` holds what they are told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fusynk import Graph, compile_plan, each, layer, use
from tests import loose
from tests.shop import Shop

Case = Callable[[], object]
CASES: dict[str, Case] = {}


def case(function: Case) -> Case:
    """Adds a case under the function's name."""
    CASES[function.__name__] = function
    return function


async def nothing() -> None: ...


def edges(graph: Graph, *pairs: tuple[str, Iterable[str]]) -> Graph:
    """Adds units that return nothing, each with the names it depends on."""
    for name, dependencies in pairs:
        graph.add_layer(nothing, name=name, depends_on=list(dependencies))
    return graph


@case
def an_unknown_dependency_with_a_near_name() -> object:
    return compile_plan(edges(Graph("shop"), ("inventory", []), ("pay", ["inventry"])))


@case
def an_unknown_dependency_with_no_near_name() -> object:
    graph = Graph("shop")

    @graph.layer
    async def pay(rate: float = use("exchange", type=float)) -> float:
        return rate

    return compile_plan(pay)


@case
def unknown_names_in_other_modules() -> object:
    paths = ["no.such.module:pay", "tests.nowhere:pay", "tests.shop:prise", "tests.shop:label", "tests.shop:Any"]
    return compile_plan(edges(Graph("shop"), *((f"step_{number}", [path]) for number, path in enumerate(paths))))


@case
def a_cycle_of_two() -> object:
    return compile_plan(edges(Graph("shop"), ("chicken", ["egg"]), ("egg", ["chicken"])))


@case
def a_unit_that_depends_on_itself() -> object:
    return compile_plan(edges(Graph("shop"), ("ouroboros", ["ouroboros"])))


@case
def a_cycle_through_parameters() -> object:
    graph = Graph("shop")

    @graph.layer
    async def price(tax: float = use("tax", type=float)) -> float:
        return tax

    @graph.layer
    async def tax(price: float = use(price)) -> float:
        return price

    @graph.layer
    async def bill(price: float = use(price), tax: float = use(tax)) -> float:
        return price + tax

    return compile_plan(bill)


@case
def a_cycle_of_three_thousand() -> object:
    names = [f"step_{number}" for number in range(3000)]
    return compile_plan(edges(Graph("ring"), *((name, [names[place - 1]]) for place, name in enumerate(names))))


@case
def several_cycles() -> object:
    graph = Graph("knots")
    edges(graph, ("a", ["b"]), ("b", ["a"]), ("alone", ["alone"]))
    edges(graph, ("x", ["y"]), ("y", ["z"]), ("z", ["x", "a"]), ("behind", ["z", "fine"]), ("fine", []))
    return compile_plan(graph)


@case
def two_units_of_one_name() -> object:
    first, second = Graph("shop"), Graph("store")
    ours = first.add_layer(nothing, name="pay")
    return compile_plan(second.add_layer(nothing, name="pay", depends_on=ours))


@case
def one_method_of_two_instances() -> object:
    return compile_plan(Shop(1).judge, Shop(2).judge)


@case
def a_step_overridden_by_no_unit() -> object:
    class Broken(Shop):
        count = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    return compile_plan(Broken().judge)


@dataclass(frozen=True)
class Purchase:
    customer: str
    quantty: int


def checkout() -> Any:
    graph = Graph("shop")

    @graph.layer
    async def check(quantity: int, customer: int) -> int:
        return quantity + customer

    @graph.layer
    async def pay(quantity: int, card: "str | None", checked: int = use(check), tip: int = 0) -> int:
        return checked

    return pay


@case
def inputs_that_lack_fields() -> object:
    return loose.compile_plan(checkout(), inputs=Purchase)


@case
def inputs_that_are_no_dataclass() -> object:
    return loose.compile_plan(checkout(), inputs=dict)


@case
def inputs_that_are_an_instance() -> object:
    return loose.compile_plan(checkout(), inputs=Purchase("c", 1))


@case
def inputs_that_two_units_want_differently() -> object:
    graph = Graph("shop")

    @graph.layer
    async def count(number: int, limit: int = 10, unit: object = None) -> None: ...

    @graph.layer
    async def weigh(number: str, limit: int = 20, unit: str = "kg") -> None: ...

    return compile_plan(count, weigh)


@case
def edges_between_types_that_never_meet() -> object:
    graph = Graph("shop")

    @graph.layer
    async def count() -> int:
        return 1

    @graph.layer
    async def names() -> list[str]:
        return []

    @graph.layer
    async def label(text: str = loose.use(count)) -> str:
        return text

    @graph.layer.each
    async def each_of_none(number: int = loose.each(count)) -> int:
        return number

    @graph.layer.each
    async def each_of_others(number: int = loose.each(names)) -> int:
        return number

    @graph.layer(depends_on=count)
    async def by_name(count: bytes) -> None: ...

    return compile_plan(graph)


@case
def each_where_it_has_no_place() -> object:
    graph = Graph("shop")

    @graph.layer
    async def names() -> list[str]:
        return []

    @graph.layer
    async def without_the_decorator(name: str = each(names)) -> None: ...

    @graph.layer.each
    async def without_the_marker(name: list[str] = use(names)) -> None: ...

    @graph.layer.each
    async def with_two(name: str = each(names), other: str = each(names)) -> None: ...

    return compile_plan(graph)


@case
def timeouts_that_nothing_can_keep() -> object:
    graph = Graph("shop")

    @graph.layer(timeout=1.5)
    def in_a_thread() -> None: ...

    @graph.layer(timeout=2, run_in="inline")
    def inline() -> None: ...

    @graph.layer(timeout=3, abandon_on_timeout=True)
    def given_up() -> None: ...

    @graph.layer(timeout=3, run_in="inline", abandon_on_timeout=True)
    def cannot_be_given_up() -> None: ...

    return compile_plan(graph)


@case
def a_timeout_of_the_plan_that_nothing_can_keep() -> object:
    graph = Graph("shop")
    graph.add_layer(nothing, name="asynchronous")
    graph.add_layer(lambda: None, name="plain")
    graph.add_layer(lambda: None, name="without", timeout=None)
    return compile_plan(graph, timeout=2)


@case
def a_mode_against_the_edges() -> object:
    graph = edges(Graph("shop"), ("check", []), ("reserve", ["check"]), ("pay", ["reserve"]))
    units = graph.units
    graph.process("checkout", units["check"], units["pay"], units["reserve"], mode="sequential")
    return compile_plan(graph)


@case
def two_modes_against_each_other() -> object:
    graph = edges(Graph("shop"), ("check", []), ("pay", []))
    units = graph.units
    graph.process("forwards", units["check"], units["pay"], mode="sequential")
    graph.process("backwards", units["pay"], units["check"], mode="isolated")
    return compile_plan(graph)


@case
def a_binding_of_a_parameter_that_is_not_there() -> object:
    graph = Graph("shop")

    def pay(amount: int, currency: str) -> None: ...

    source = graph.add_layer(lambda: 1, name="source")
    graph.add_layer(pay, name="near", bind={"amuont": source})
    graph.add_layer(pay, name="far", bind={"zzz": "source"})
    graph.add_layer(lambda: 1, name="empty", bind={"zzz": source})
    return compile_plan(graph)


@case
def a_stand_in_that_takes_too_little() -> object:
    graph = Graph("shop")

    @graph.layer
    async def pay(amount: int, *, currency: str = "EUR") -> int:
        return amount

    return compile_plan(pay).override(pay.calls(lambda: 1))


@layer
async def amount() -> int:
    return 1


@case
def six_faults_at_once() -> object:
    graph = Graph("shop")

    @graph.layer(depends_on=["inventry", "reserve"], timeout=None)
    async def pay(amount: str = loose.use(amount)) -> None: ...

    @graph.layer(depends_on="pay")
    async def reserve(count: int) -> None: ...

    @graph.layer(name="amount")
    async def other_amount(count: str) -> int:
        return 1

    @graph.layer
    async def inventory(item: str = loose.each(pay)) -> None: ...

    return compile_plan(graph)
