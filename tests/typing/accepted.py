"""Accepted by both checkers without one error: how fusynk is written. `assert_type` holds what they infer.

Nothing here runs; `test_typing.py` hands the file to the checkers.
"""

import asyncio
import math
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import assert_type

from fusynk import (
    Batch,
    Cancelled,
    Failed,
    Graph,
    Limit,
    Outcome,
    Skipped,
    Succeeded,
    backoff,
    each,
    layer,
    process,
    use,
    when,
    worker,
)


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


@layer
def ask_again(question: str) -> Coroutine[None, None, bytes]:
    raise NotImplementedError


# With `Any` in the place of the two `None`, mypy would take the unit for `Any`, too.
@layer(name="answer")
def ask_twice(question: str) -> Coroutine[None, None, bytes]:
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
