"""Accepted by both checkers without one error: how fusynk is written. `assert_type` holds what they infer.

Nothing here runs; `test_typing.py` hands the file to the checkers.
"""

import asyncio
import math
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from types import ModuleType
from typing import Any, assert_type

from fusynk import (
    AttemptRecord,
    Batch,
    Cancelled,
    Failed,
    Graph,
    Layer,
    Outcome,
    Override,
    Plan,
    PlanInput,
    Report,
    Run,
    Skipped,
    Succeeded,
    backoff,
    compile_plan,
    current_step,
    each,
    errors,
    layer,
    process,
    run_of,
    use,
    when,
    worker,
)
from fusynk.testing import Trace, run_virtual, simulate
from tests.typing.stubs import Limit, Manager


@dataclass(frozen=True)
class Shelf:
    left: int


@dataclass(frozen=True)
class Customer:
    name: str
    active: bool


@dataclass(frozen=True)
class Order:
    id: str
    total: Decimal


@dataclass(frozen=True)
class RushOrder(Order):
    hours: int


@dataclass(frozen=True)
class Purchase:
    product_id: str
    count: int
    customer_id: str


# Layers: asynchronous, plain, and plain ones that return something to await


@layer
async def look_up_shelf(product_id: str, count: int) -> Shelf:
    return Shelf(10 - count)


@layer()
async def find_customer(customer_id: str) -> Customer:
    return Customer(customer_id, active=True)


@layer(priority=-1, tags=("slow", "disk"), description="writes the receipt")
def print_receipt(shelf: Shelf = use(look_up_shelf)) -> str:
    return f"{shelf.left} left"


@layer
def ask_service(question: str) -> asyncio.Future[int]:
    return asyncio.get_running_loop().create_future()


@layer(name="answer")
def ask_twice(question: str) -> Coroutine[Any, Any, bytes]:
    raise NotImplementedError


@layer
async def nothing() -> None: ...


@layer
async def lines() -> Sequence[str]:
    return ["a", "b"]


@layer
async def prices() -> dict[str, Decimal]:
    return {}


@layer
async def either(count: int) -> Order | None:
    return None if count else Order("o", Decimal(1))


# Edges: an artifact, one of a narrower type, a default, a condition, an outcome, a name


@layer
async def reserve(product_id: str, shelf: Shelf = use(look_up_shelf)) -> str:
    return f"{product_id}#{shelf.left}"


@layer
async def place_order(reservation: str = use(reserve), answer: int = use(ask_service)) -> RushOrder:
    return RushOrder(reservation, Decimal(answer), hours=2)


@layer
async def pack(order: Order = use(place_order)) -> Order:
    return order


@layer
async def weigh(
    raw: bytes = use(ask_twice), order: Order | None = use(either), names: Sequence[str] = use(lines)
) -> float:
    return len(raw) + len(names) + (1.5 if order else 0.5)


@layer
async def with_defaults(
    name: str | None = use(print_receipt, default=None),
    weight: float | str = use(weigh, default="unknown"),
    shelf: Shelf = use(look_up_shelf, default=Shelf(0)),
) -> bool:
    return name is None or weight == "unknown" or not shelf.left


@layer
async def plenty(shelf: Shelf = use(look_up_shelf, when=lambda shelf: shelf.left > 5)) -> str:
    return f"{shelf.left}"


@layer
async def scarce(shelf: Shelf | None = use(look_up_shelf, default=None, when=lambda shelf: shelf.left <= 5)) -> str:
    return "none" if shelf is None else f"{shelf.left}"


def is_active(customer: Customer) -> bool:
    return customer.active


@layer(depends_on=[nothing, when(find_customer, is_active), "weigh", "tests.typing.accepted:pack"])
async def ship(order: Order = use(pack)) -> str:
    return order.id


@layer(depends_on=when(find_customer, lambda customer: customer.active))
async def greet() -> str:
    return "hello"


@layer(depends_on=when("find_customer", bool))
async def greet_later() -> str:
    return "hello"


@layer(depends_on=(lines,))
async def by_name(lines: Sequence[str]) -> int:
    return len(lines)


@layer
async def forward(
    label: str = use("print_label", type=str),
    weight: float | None = use("tests.typing.accepted:weigh", type=float, default=None),
    short: str = use("print_label", type=str, when=lambda label: len(label) < 9),
) -> str:
    return f"{label} {weight} {short}"


@layer
async def print_label() -> str:
    return "label"


@layer
async def judge(
    shipped: Outcome[str] = use.outcome(ship), other: Outcome[object] = use.outcome("print_label")
) -> str | BaseException:
    match shipped:
        case Succeeded(artifact):
            assert_type(artifact, str)
            return artifact
        case Failed(error):
            assert_type(error, BaseException)
            return error
        case Skipped(because):
            assert_type(because, str)
            return because
        case Cancelled(by):
            return str(by)


# Keyword-only and positional-only parameters, and those that receive nothing


@layer
async def spread(first: str, /, second: int, *rest: str, third: Shelf = use(look_up_shelf), **others: object) -> int:
    return second + third.left + len(rest) + len(others)


# Every option


def first_delay(attempt: int) -> float:
    return attempt * 0.5


def is_temporary(error: Exception) -> bool:
    return isinstance(error, OSError)


async def is_known(error: Exception) -> bool:
    return bool(str(error))


def no_order(error: Exception) -> Order:
    return Order(str(error), Decimal(0))


@layer(retries=3, retry_delay=0.2, retry_on=ConnectionError, timeout=5, on_error="continue")
async def tolerant() -> None: ...


@layer(retries=3, retry_delay=backoff(0.2, factor=2, max=10), retry_on=(OSError, ValueError), timeout=None)
async def patient() -> None: ...


@layer(retry_delay=first_delay, retry_on=is_temporary, on_error=no_order, run_in="thread")
def careful() -> Order:
    return Order("o", Decimal(1))


@layer(retry_delay=lambda attempt: attempt / 2, retry_on=is_known, run_in="inline", abandon_on_timeout=False)
def quick() -> Order:
    return Order("o", Decimal(1))


@layer(abandon_on_timeout=True, timeout=1.5)
def given_up() -> None: ...


# Fan-out: one call for each item, chains of them, and what is made of the whole

catalogue = Limit("catalogue", concurrency=4, rate="40/10s")


@layer
async def film_ids() -> list[int]:
    return [1, 2, 404]


@layer
def film_names() -> Iterator[str]:
    return iter("ab")


@layer.each(limit=catalogue, retries=2, retry_delay=0.1, on_error="continue")
async def fetch_film(film_id: int = each(film_ids)) -> str:
    return f"film {film_id}"


@layer.each
def shorten(title: str = each(fetch_film), limit: int = 10) -> bytes:
    return title[:limit].encode()


@layer.each()
def upper(name: str = each(film_names), shelf: Shelf = use(look_up_shelf)) -> asyncio.Future[str]:
    return asyncio.get_running_loop().create_future()


@layer
async def store(films: Batch[str] = use(fetch_film), short: Batch[bytes] = use(shorten)) -> float:
    assert_type(list(films), list[str])
    assert_type(films.succeeded, Mapping[int, str])
    assert_type(films.failed, Mapping[int, BaseException])
    assert_type(len(short), int)
    assert_type(short.total, int)
    return films.success_rate


@layer
async def objects(films: Batch[object] = use(fetch_film)) -> int:
    return len(films)


# Workers


@worker
async def clean() -> int:
    return 1


@worker(every=60, max_runs=10, heartbeat=5, depends_on=clean)
async def collect(films: Batch[str] = use(fetch_film)) -> float:
    return films.success_rate


@worker(cron="0 * * * *")
def hourly(count: int = use(clean)) -> str:
    return str(count)


# Processes, with and without a function


@layer
def velocity(v0: float, angle: float) -> tuple[float, float]:
    return v0 * math.cos(angle), v0 * math.sin(angle)


@layer
def time_to_peak(g: float, v: tuple[float, float] = use(velocity)) -> float:
    return v[1] / g


@process(velocity, time_to_peak, mode="sequential")
def lecture(v: tuple[float, float] = use(velocity), t: float = use(time_to_peak)) -> str:
    return f"{v[0] * 2 * t:.2f} m"


@process(clean, hourly, collect, mode="batched", size=2, on_error="continue", timeout=9)
async def night(count: int = use(clean)) -> Shelf:
    return Shelf(count)


@process(lecture, night, mode="isolated", delay=0.5, priority=2)
async def everything(text: str = use(lecture), shelf: Shelf = use(night)) -> bool:
    return bool(text) and bool(shelf.left)


gathered = process("gathered", clean, lecture, mode="parallel", description="both")


@layer
async def after_process(text: str = use(lecture), parts: Mapping[str, object] = use(gathered)) -> int:
    return len(text) + len(parts)


# Methods, through an instance and through the class


class Shop:
    def __init__(self, stock: int) -> None:
        self.stock = stock

    @layer
    async def count(self, product_id: str) -> Shelf:
        return Shelf(self.stock + len(product_id))

    @layer(retries=1)
    def price(self, product_id: str, shelf: Shelf = use(count)) -> Decimal:
        return Decimal(shelf.left + len(product_id))

    @layer(depends_on=count)
    async def sell(self, price: Decimal = use(price)) -> Order:
        return Order("o", price)

    @layer.each
    async def film(self, film_id: int = each(film_ids)) -> str:
        return f"{self.stock} {film_id}"


class Corner(Shop):
    # pyright takes a unit of a class for a variable, whose type a subclass may not change; `self` is part of it.
    @layer
    async def count(self, product_id: str) -> Shelf:  # pyright: ignore[reportIncompatibleVariableOverride]
        return Shelf(len(product_id))


# Functions written elsewhere

add_numbers = layer(math.hypot, name="hypotenuse")
add_partial = layer(partial(first_delay), name="partial_delay")
renamed = layer(is_active, name="active", retries=1)


class Doubler:
    async def __call__(self, number: int) -> int:
        return number * 2


doubler = layer(Doubler(), name="doubler")

# Graphs

orders = Graph("orders")


@orders.layer
async def total(price: int, count: int) -> int:
    return price * count


@orders.layer(retries=1)
def taxed(total: int = use(total)) -> float:
    return total * 1.2


@orders.layer.each
async def digits(digit: str = each(lines)) -> int:
    return int(digit)


@orders.layer.each(on_error="continue")
def halves(digit: int = each(digits)) -> float:
    return digit / 2


@orders.worker(every=5)
async def refresh(total: int = use(total)) -> None: ...


@orders.worker
def refresh_again() -> bytes:
    return b""


@orders.process(total, taxed, mode="sequential")
async def billed(taxed: float = use(taxed)) -> str:
    return str(taxed)


def add(one: int, other: int) -> int:
    return one + other


async def halve(number: int) -> float:
    return number / 2


sum_of = orders.add_layer(add, name="sum", bind={"one": total, "other": "total"}, depends_on=[taxed, "refresh"])
half_of = orders.add_layer(halve, bind={"number": sum_of}, retries=2)
both_of = orders.process("both", sum_of, half_of)


def units_of_graphs() -> None:
    assert_type(orders.name, str)
    assert_type(list(orders.units), list[str])
    orders.remove_layer("sum")
    assert_type(sum_of(1, other=2), int)


# Calls stay what they were


async def ordinary_calls(shop: Shop) -> None:
    assert_type(await look_up_shelf("p", 1), Shelf)
    assert_type(await look_up_shelf(product_id="p", count=1), Shelf)
    assert_type(print_receipt(Shelf(1)), str)
    assert_type(await ask_service("why"), int)
    assert_type(await ask_twice("why"), bytes)
    assert_type(await place_order("r", 4), RushOrder)
    assert_type(await fetch_film(7), str)
    assert_type(shorten("a long title", limit=3), bytes)
    assert_type(await upper("a", Shelf(1)), str)
    assert_type(hourly(3), str)
    assert_type(await collect(Batch({0: "a"})), float)
    assert_type(lecture((1.0, 2.0), t=3.0), str)
    assert_type(await night(), Shelf)
    assert_type(await spread("a", 2, "b", third=Shelf(1), other=3), int)
    assert_type(await shop.count("p"), Shelf)
    assert_type(shop.price("p", Shelf(2)), Decimal)
    assert_type(await shop.sell(Decimal(1)), Order)
    assert_type(await Shop.count(shop, "p"), Shelf)
    assert_type(await shop.film(7), str)
    assert_type(await doubler(2), int)
    assert_type(renamed(Customer("c", active=True)), bool)
    assert_type(taxed(3), float)
    assert_type(await half_of(3), float)


# Plans: of one, two, three, four targets, with and without a class of inputs, of graphs and modules

one = compile_plan(ship, inputs=Purchase)
one_of_keywords = compile_plan(print_receipt, concurrency=3)
two = compile_plan(ship, print_receipt)
two_typed = compile_plan(ship, fetch_film, inputs=Purchase, discipline="lifo")
three = compile_plan(ship, store, lecture)
three_typed = compile_plan(ship, store, lecture, inputs=Purchase)
four = compile_plan(ship, store, lecture, greet)
five_typed = compile_plan(ship, store, lecture, greet, hourly, inputs=Purchase)
of_graph = compile_plan(orders)
of_graph_typed = compile_plan(orders, inputs=Purchase)
of_name = compile_plan("tests.typing.accepted")
of_worker = compile_plan(hourly)
of_process = compile_plan(lecture)
of_group = compile_plan(gathered)
of_batch = compile_plan(fetch_film)
of_awaitable = compile_plan(ask_service)


def of_module(module: ModuleType) -> None:
    assert_type(compile_plan(module), Plan[None, Mapping[str, object]])


def of_methods(shop: Shop, corner: Corner) -> None:
    assert_type(compile_plan(shop.sell), Plan[None, Order])
    assert_type(compile_plan(Shop.sell), Plan[None, Order])
    assert_type(compile_plan(shop.price, inputs=Purchase), Plan[Purchase, Decimal])
    assert_type(compile_plan(corner.count, corner.sell), Plan[None, tuple[Shelf, Order]])
    assert_type(compile_plan(shop.film), Plan[None, Batch[str]])
    shop_plan = compile_plan(shop.sell).override(shop.count.returns(Shelf(0)), shop.price.raises(ValueError))
    assert_type(shop_plan.run_sync(product_id="p")[shop.count], Shelf)


assert_type(one, Plan[Purchase, str])
assert_type(one_of_keywords, Plan[None, str])
assert_type(two, Plan[None, tuple[str, str]])
assert_type(two_typed, Plan[Purchase, tuple[str, Batch[str]]])
assert_type(three, Plan[None, tuple[str, float, str]])
assert_type(three_typed, Plan[Purchase, tuple[str, float, str]])
assert_type(four, Plan[None, tuple[object, ...]])
assert_type(five_typed, Plan[Purchase, tuple[object, ...]])
assert_type(of_graph, Plan[None, Mapping[str, object]])
assert_type(of_graph_typed, Plan[Purchase, Mapping[str, object]])
assert_type(of_name, Plan[None, Mapping[str, object]])
assert_type(of_worker, Plan[None, str])
assert_type(of_process, Plan[None, str])
assert_type(of_group, Plan[None, Mapping[str, object]])
assert_type(of_batch, Plan[None, Batch[str]])
assert_type(of_awaitable, Plan[None, int])

# What a plan tells, other options, stand-ins


async def reserve_nothing(product_id: str, shelf: Shelf) -> str:
    return f"{product_id} {shelf.left}"


assert_type(one.options(concurrency=1, threads=2, discipline="lifo", deadline=9.5), Plan[Purchase, str])
assert_type(one.options(retries=2, retry_delay=backoff(0.1), timeout=4, on_error="continue"), Plan[Purchase, str])
assert_type(one.options(run_id="order-42", seed=7, grace=0.5, deadline=None), Plan[Purchase, str])
assert_type(one.explain(), str)
assert_type(one.inputs, Mapping[str, PlanInput])
assert_type(one.order, tuple[str, ...])
assert_type(one.levels, tuple[tuple[str, ...], ...])

assert_type(look_up_shelf.returns(Shelf(0)), Override)
assert_type(
    one.override(
        look_up_shelf.returns(Shelf(0)),
        pack.returns(RushOrder("o", Decimal(1), hours=1)),
        find_customer.raises(TimeoutError()),
        nothing.raises(TimeoutError),
        nothing.returns(None),
        ask_service.returns(4),
        reserve.calls(reserve_nothing),
        place_order.calls(place_order),
        fetch_film.returns(Batch({0: "a"}, {1: ValueError()})),
    ),
    Plan[Purchase, str],
)


# Runs


async def runs(purchase: Purchase) -> None:
    run = await one.run(purchase)
    assert_type(run, Run[str])
    assert_type(run.result, str)
    assert_type((await one.run(product_id="p", count=2, customer_id="c")).result, str)
    assert_type(one.run_sync(purchase).result, str)
    assert_type((await two.run(product_id="p")).result, tuple[str, str])
    assert_type((await four.run()).result, tuple[object, ...])
    assert_type((await of_graph.run(price=1, count=2)).result, Mapping[str, object])

    assert_type(run[look_up_shelf], Shelf)
    assert_type(run[ask_service], int)
    assert_type(run[ask_twice], bytes)
    assert_type(run[fetch_film], Batch[str])
    assert_type(run[shorten], Batch[bytes])
    assert_type(run[upper], Batch[str])
    assert_type(run[lecture], str)
    assert_type(run[gathered], Mapping[str, object])
    assert_type(run[half_of], float)
    assert_type(run["look_up_shelf"], Any)

    assert_type(run.outcome(look_up_shelf), Outcome[Shelf])
    assert_type(run.outcome("look_up_shelf"), Outcome[object])
    assert_type(run.outcomes, Mapping[str, Outcome[object]])
    assert_type(run.failures, Mapping[str, BaseException])
    assert_type(run.attempts(), tuple[AttemptRecord, ...])
    assert_type(run.attempts(look_up_shelf), tuple[AttemptRecord, ...])
    assert_type(run.attempts("fetch_film[0]")[0].duration, float)
    assert_type(run.report, Report)
    assert_type(run.report.critical_path, tuple[str, ...])
    assert_type(run.id, str)
    assert_type(run.ok, bool)
    assert_type(run.stuck, tuple[str, ...])
    run.raise_for_failures()


async def handles(purchase: Purchase) -> None:
    async with one.start(purchase) as handle:
        assert_type(handle.stacks(), dict[str, tuple[str, ...]])
        assert_type((await handle.wait()).result, str)
        handle.cancel()
    async with two.start(product_id="p", count=1) as other:
        assert_type((await other.wait()).result, tuple[str, str])


async def managed() -> None:
    async with Manager(lecture, collect) as manager:
        assert_type(await manager.run(lecture, v0=50, angle=math.radians(30), g=9.81), str)
        assert_type(await manager.run(collect), float)


def failing(purchase: Purchase) -> None:
    with suppress(errors.FusynkError, errors.LayerTimeout):
        one.run_sync(purchase)
    try:
        one.run_sync(purchase)
    except errors.InvalidPlan as group:
        assert_type(group.exceptions[0], errors.PlanFault | ExceptionGroup[errors.PlanFault])
    except ConnectionError as error:
        assert_type(run_of(error), Run[Any] | None)


@layer
async def asks_about_itself() -> str:
    step = current_step()
    assert_type(step.attempt, int)
    assert_type(step.cancelled, bool)
    return step.idempotency_key + step.name + step.run_id


def simulated(purchase: Purchase) -> None:
    trace = simulate(one, purchase, backend="trio", tape=[1, 0])
    assert_type(trace, Trace[str])
    assert_type(trace.run, Run[str])
    assert_type(trace.result, str)
    assert_type(trace.error, Exception | None)
    assert_type(trace.seconds, float)
    assert_type(simulate(one, {"product_id": "p"}).run[look_up_shelf], Shelf)
    assert_type(run_virtual(look_up_shelf, "p", 1), Shelf)


# What passes for what: a unit is an artifact of anything wider, a plan of narrower inputs


def takes_any_unit(unit: Layer[..., Any, Any]) -> str:
    return compile_plan(unit).explain()


def takes_wide_run(run: Run[Order]) -> Decimal:
    return run.result.total


def variance(run: Run[RushOrder], plan: Plan[object, RushOrder]) -> None:
    takes_wide_run(run)
    narrower: Plan[Purchase, Order] = plan
    narrower.explain()
    takes_any_unit(look_up_shelf)
    takes_any_unit(lecture)
    wider: Batch[object] = Batch({0: "a"})
    list(wider)
