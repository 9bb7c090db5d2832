"""Accepted by both checkers without one error: calls, plans and runs of what `accepted.py` declares."""

import math
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, assert_type

from fusynk import (
    AttemptRecord,
    Batch,
    Graph,
    Layer,
    Manager,
    Outcome,
    Override,
    Plan,
    PlanInput,
    Report,
    Run,
    backoff,
    compile_plan,
    current_step,
    errors,
    layer,
    run_of,
)
from fusynk._core.envelope import RecordKind
from fusynk._core.journalled import JournalStatus
from fusynk.journals import Codec, Conversion, MemoryJournal, Sizes, SqliteJournal
from fusynk.protocols import Journal
from fusynk.testing import Trace, run_virtual, simulate
from tests.typing.accepted import (
    Corner,
    Customer,
    Order,
    Purchase,
    RushOrder,
    Shelf,
    Shop,
    ask_again,
    ask_service,
    ask_twice,
    collect,
    doubler,
    fetch_film,
    find_customer,
    gathered,
    greet,
    half_of,
    hourly,
    lecture,
    look_up_shelf,
    night,
    nothing,
    orders,
    pack,
    place_order,
    print_receipt,
    renamed,
    reserve,
    ship,
    shorten,
    spread,
    store,
    taxed,
    upper,
)

# Calls stay what they were


async def ordinary_calls(shop: Shop) -> None:
    assert_type(await look_up_shelf("p", 1), Shelf)
    assert_type(await look_up_shelf(product_id="p", count=1), Shelf)
    assert_type(print_receipt(Shelf(1)), str)
    assert_type(await ask_service("why"), int)
    assert_type(await ask_again("why"), bytes)
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


# Files of graphs


class Drafts(Graph):
    """A graph of a kind of its own."""


def filed(path: Path, module: ModuleType) -> None:
    orders.save(path)
    orders.save("orders.json")
    assert_type(Graph.load(path, allow=[module, "pkg."]), Graph)
    assert_type(Graph.load("orders.json", allow=("pkg.orders",)), Graph)
    assert_type(Drafts.load(path, allow={"pkg.orders"}), Drafts)
    try:
        compile_plan(Graph.load(path, allow=[]))
    except errors.GraphFileError as refused:
        assert_type(refused.where, str)
        assert_type(refused.path, str)
    except errors.UnsavableGraph as refused:
        assert_type(refused.problems, tuple[str, ...])


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


# Runs that are recorded


async def recorded(purchase: Purchase, any_journal: Journal, *, is_kept: bool) -> None:
    journal = SqliteJournal("runs.db", synchronous="NORMAL", lease=15, codec=Codec([of_complex], sizes=Sizes(most=9)))
    plan = one.options(journal=journal, run_id="order-42")
    assert_type(plan, Plan[Purchase, str])
    assert_type(await plan.run(purchase), Run[str])
    assert_type(await one.resume("order-42", journal=journal), Run[str])
    assert_type((await plan.resume("order-42")).result, str)
    assert_type(one.resume_sync("order-42", journal=MemoryJournal()).result, str)
    assert_type(one.options(journal=any_journal).resume_sync("order-42").replayed, tuple[str, ...])
    assert_type(one.options(journal=journal if is_kept else None), Plan[Purchase, str])
    assert_type(compile_plan(place_order, journal=MemoryJournal()).settings.journal, Journal | None)
    assert_type(journal.runs()[0].status, JournalStatus)
    assert_type(journal.history("order-42")[0].kind, RecordKind)
    assert_type(current_step().idempotency_key, str)
    try:
        await plan.run(purchase)
    except errors.PlanMismatch as mismatch:
        assert_type((mismatch.added, mismatch.path), tuple[tuple[str, ...], str])
    except errors.RunLocked as locked:
        assert_type(locked.owner, str | None)


def to_parts(number: complex) -> list[float]:
    return [number.real, number.imag]


def from_parts(parts: list[float]) -> complex:
    return complex(*parts)


of_complex: Conversion[complex] = Conversion(complex, to_parts, from_parts)
