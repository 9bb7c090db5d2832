"""Compensations: what succeeded is undone, last first, when a run ends early. First the saga of an order."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import Batch, Graph, Plan, Succeeded, compile_plan, current_step, each, errors, layer, run_of, use
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks


class PaymentDeclined(Exception):
    """What the card's bank says."""


class Shop:
    """Reserves, charges and ships, and can take each of that back."""

    def __init__(self, *, card_works: bool, ship_works: bool = True) -> None:
        self.card_works = card_works
        self.ship_works = ship_works
        self.stock = 3
        self.charged = 0
        self.diary = list[str]()

    def release(self, reservation: int) -> None:
        self.stock += reservation
        self.diary.append("released")

    async def refund(self, amount: int) -> None:
        await anyio.sleep(1)
        self.charged -= amount
        self.diary.append("refunded")

    @layer(compensate=release)
    async def reserve(self, quantity: int) -> int:
        self.stock -= quantity
        return quantity

    @layer(compensate=refund)
    async def charge(self, reserved: int = use(reserve)) -> int:
        if not self.card_works:
            raise PaymentDeclined
        self.charged += 10 * reserved
        return 10 * reserved

    @layer
    async def ship(self, paid: int = use(charge)) -> str:
        if not self.ship_works:
            raise ConnectionError
        return f"shipped for {paid}"


# The saga


def test_an_order_that_goes_well_undoes_nothing(backend: Backend) -> None:
    shop = Shop(card_works=True)

    trace = simulate(compile_plan(shop.ship), {"quantity": 2}, backend=backend)

    assert trace.result == "shipped for 20"
    assert (shop.stock, shop.charged, shop.diary, trace.run.compensated) == (1, 20, [], ())


def test_a_declined_charge_releases_the_reservation(backend: Backend) -> None:
    shop = Shop(card_works=False)

    trace = simulate(compile_plan(shop.ship), {"quantity": 2}, backend=backend)

    assert isinstance(trace.error, PaymentDeclined)
    assert (shop.stock, shop.charged, shop.diary) == (3, 0, ["released"])
    assert trace.run.compensated == ("reserve",)
    assert "compensated: 'reserve'" in trace.error.__notes__
    assert trace.run.outcome("reserve") == Succeeded(2)


def test_a_failed_shipment_undoes_all_in_reverse_order(backend: Backend) -> None:
    shop = Shop(card_works=True, ship_works=False)

    trace = simulate(compile_plan(Shop.ship), {"self": shop, "quantity": 1}, backend=backend)

    assert isinstance(trace.error, ConnectionError)
    assert (shop.stock, shop.charged, shop.diary) == (3, 0, ["refunded", "released"])
    assert trace.run.compensated == ("charge", "reserve")


# Which ends are undone


def undoable(end: Callable[[], Awaitable[None]], **options: Any) -> tuple[Plan[Any, Any], list[str]]:
    """A plan of two undoable steps and one that ends as it is told, and the diary of what was undone."""
    graph, diary = Graph("undone"), list[str]()

    @graph.layer(compensate=diary.append)
    async def first() -> str:
        return "first"

    @graph.layer(compensate=diary.append, depends_on=first)
    async def second() -> str:
        return "second"

    @graph.layer(depends_on=second)
    async def last() -> None:
        await end()

    return compile_plan(graph, **options), diary


async def fail() -> None:
    raise PaymentDeclined


async def hang() -> None:
    await anyio.sleep(1000)


async def interrupt() -> None:
    raise SystemExit(3)


def test_a_deadline_undoes(backend: Backend) -> None:
    plan, diary = undoable(hang, deadline=5)

    trace = simulate(plan, backend=backend)

    assert isinstance(trace.error, errors.DeadlineExceeded)
    assert (diary, trace.run.compensated) == (["second", "first"], ("second", "first"))


def test_an_interruption_undoes_and_leaves_bare(backend: Backend) -> None:
    plan, diary = undoable(interrupt)

    with pytest.raises(SystemExit) as caught:
        simulate(plan, backend=backend)

    run = run_of(caught.value)
    assert run is not None
    assert (caught.value.code, diary, run.compensated) == (3, ["second", "first"], ("second", "first"))


def test_a_cancellation_undoes_before_it_goes_on(backend: Backend) -> None:
    plan, diary = undoable(hang)

    async def main() -> None:
        before = running_tasks()
        with anyio.move_on_after(3) as scope:
            await plan.run()
        assert scope.cancelled_caught
        assert diary == ["second", "first"]
        await assert_settled(before)

    run_virtual(main, backend=backend)


def test_a_handle_that_cancels_undoes(backend: Backend) -> None:
    plan, diary = undoable(hang)

    async def main() -> None:
        async with plan.start() as handle:
            await anyio.sleep(1)
            handle.cancel()
            with pytest.raises(errors.RunCancelled) as caught:
                await handle.wait()
        run = run_of(caught.value)
        assert run is not None
        assert run.compensated == ("second", "first")

    run_virtual(main, backend=backend)

    assert diary == ["second", "first"]


def test_a_failure_that_is_told_to_continue_undoes_nothing(backend: Backend) -> None:
    plan, diary = undoable(fail, on_error="continue")

    trace = simulate(plan, backend=backend)

    assert not trace.run.ok
    assert diary == []


def test_only_what_succeeded_is_undone(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    @graph.layer(compensate=diary.append)
    async def done() -> str:
        await anyio.sleep(1)
        return "done"

    @graph.layer(compensate=diary.append)
    async def running() -> str:
        await anyio.sleep(1000)
        return "running"

    @graph.layer(compensate=diary.append, depends_on=running)
    async def not_begun() -> str:
        return "not begun"

    @graph.layer(compensate=diary.append, on_error="continue")
    async def failed() -> str:
        raise ValueError

    @graph.layer(compensate=diary.append)
    async def fails() -> str:
        await anyio.sleep(2)
        raise PaymentDeclined

    trace = simulate(compile_plan(graph), backend=backend)

    assert (diary, trace.run.compensated) == (["done"], ("done",))


def test_what_finishes_while_the_run_is_stopped_is_undone_too(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    @graph.layer(compensate=diary.append)
    async def cannot_be_stopped() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(3)
        return "late"

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(1)
        raise PaymentDeclined

    simulate(compile_plan(graph), backend=backend)

    assert diary == ["late"]


# How a compensation is called


def test_it_has_the_retries_of_its_step_and_their_delays(backend: Backend) -> None:
    graph, calls = Graph("undone"), list[float]()

    async def undo(artifact: str) -> None:
        calls.append(anyio.current_time())
        if len(calls) < 3:
            raise ConnectionError

    @graph.layer(compensate=undo, retries=2, retry_delay=10, retry_on=ConnectionError)
    async def step() -> str:
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    trace = simulate(compile_plan(fails), backend=backend)

    assert [moment - calls[0] for moment in calls] == [0, 10, 20]
    assert (trace.run.compensated, trace.run.compensation_failures) == (("step",), {})


def test_one_that_fails_is_attached_and_the_others_run(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    def undo(artifact: str) -> None:
        raise LookupError(artifact)

    @graph.layer(compensate=diary.append)
    async def first() -> str:
        return "first"

    @graph.layer(compensate=undo, depends_on=first, on_error="continue")
    async def second() -> str:
        return "secret"

    @graph.layer(depends_on=second)
    async def fails() -> None:
        raise PaymentDeclined

    trace = simulate(compile_plan(fails), backend=backend)

    assert isinstance(trace.error, PaymentDeclined)
    assert diary == ["first"]
    assert trace.run.compensated == ("first",)
    assert [type(error) for error in trace.run.compensation_failures.values()] == [LookupError]
    assert "compensation of 'second' failed with LookupError" in trace.error.__notes__
    assert "secret" not in "".join(trace.error.__notes__)


def test_the_timeout_of_its_step_holds_for_each_of_its_attempts(backend: Backend) -> None:
    graph, begun = Graph("undone"), list[float]()

    async def undo(artifact: str) -> None:
        begun.append(anyio.current_time())
        await anyio.sleep(100)

    @graph.layer(compensate=undo, timeout=5, retries=1)
    async def step() -> str:
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    trace = simulate(compile_plan(fails), backend=backend)

    assert [moment - begun[0] for moment in begun] == [0, 5]
    assert isinstance(trace.run.compensation_failures["step"], errors.LayerTimeout)
    assert trace.seconds == 10


def test_one_without_a_timeout_is_waited_for_and_named(backend: Backend) -> None:
    graph = Graph("undone")

    async def undo(artifact: str) -> None:
        await anyio.sleep(100)

    @graph.layer(compensate=undo)
    async def step() -> str:
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    with heard() as records:
        trace = simulate(compile_plan(fails, grace=10), backend=backend)

    assert (trace.seconds, trace.run.stuck, trace.run.compensated) == (100, ("step",), ("step",))
    assert {record["extra"]["layer"] for record in records} == {"step"}


def test_it_runs_in_the_context_of_its_step(backend: Backend) -> None:
    graph, keys = Graph("undone"), list[str]()

    async def undo(artifact: str) -> None:
        keys.append(current_step().idempotency_key)

    @graph.layer(compensate=undo)
    async def step() -> str:
        keys.append(current_step().idempotency_key)
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    simulate(compile_plan(fails, run_id="r"), backend=backend)

    assert keys == ["r/step", "r/step"]


@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_a_plain_one_runs_in_a_thread(backend_name: str) -> None:
    import threading  # noqa: PLC0415 - only here

    graph, places = Graph("undone"), list[bool]()
    main = threading.get_ident()

    def undo(artifact: str) -> None:
        places.append(threading.get_ident() == main)

    @graph.layer(compensate=undo)
    async def step() -> str:
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    with pytest.raises(PaymentDeclined):
        anyio.run(compile_plan(fails).run, backend=backend_name)

    assert places == [False]


def test_an_interruption_inside_one_leaves_bare_after_all_others(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    async def undo(artifact: str) -> None:
        raise KeyboardInterrupt

    @graph.layer(compensate=diary.append)
    async def first() -> str:
        return "first"

    @graph.layer(compensate=undo, depends_on=first)
    async def second() -> str:
        return "second"

    @graph.layer(depends_on=second)
    async def fails() -> None:
        raise PaymentDeclined

    with pytest.raises(KeyboardInterrupt):
        simulate(compile_plan(fails), backend=backend)

    assert diary == ["first"]


def test_a_cancellation_does_not_reach_a_compensation(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    async def undo(artifact: str) -> None:
        await anyio.sleep(10)
        diary.append(artifact)

    @graph.layer(compensate=undo)
    async def step() -> str:
        return "artifact"

    @graph.layer(depends_on=step)
    async def fails() -> None:
        await anyio.sleep(1)
        raise PaymentDeclined

    async def main() -> None:
        with anyio.move_on_after(5) as scope:
            await compile_plan(fails).run()
        assert scope.cancelled_caught

    run_virtual(main, backend=backend)

    assert diary == ["artifact"]


# With the rest of the DSL


def test_each_item_of_a_fan_out_is_undone(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[int]()

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3, 4]

    @graph.layer.each(compensate=diary.append, on_error="continue")
    async def book(number: int = each(numbers)) -> int:
        await anyio.sleep(number)
        if number == 3:
            raise ValueError
        return number * 10

    @graph.layer
    async def fails(booked: Batch[int] = use(book)) -> None:
        raise PaymentDeclined

    trace = simulate(compile_plan(fails), backend=backend)

    assert diary == [40, 20, 10]
    assert trace.run.compensated == ("book[3]", "book[1]", "book[0]")

    diary.clear()
    stubbed = compile_plan(fails).override(book.returns(Batch({0: 7, 1: 8}, {})))
    assert simulate(stubbed, backend=backend).run.compensated == ("book[1]", "book[0]")
    assert diary == [8, 7]


def test_resources_are_still_open_while_their_users_are_undone(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    @graph.layer
    async def database() -> Any:
        yield "database"
        diary.append("closed")

    async def undo(row: str) -> None:
        diary.append(f"deleted {row}")

    @graph.layer(compensate=undo)
    async def insert(connection: str = use(database)) -> str:
        return "row"

    @graph.layer(depends_on=insert)
    async def fails() -> None:
        raise PaymentDeclined

    simulate(compile_plan(fails), backend=backend)

    assert diary == ["deleted row", "closed"]


def test_a_recovered_step_is_undone_with_what_it_recovered(backend: Backend) -> None:
    graph, diary = Graph("undone"), list[str]()

    @graph.layer(compensate=diary.append, on_error=lambda error: "fallback")
    async def step() -> str:
        raise ValueError

    @graph.layer(depends_on=step)
    async def fails() -> None:
        raise PaymentDeclined

    simulate(compile_plan(fails), backend=backend)

    assert diary == ["fallback"]


def test_explain_names_it() -> None:
    assert "compensate=release" in compile_plan(Shop(card_works=True).ship).explain()


@given(
    tape=st.lists(st.integers(0, 7), max_size=30),
    durations=st.lists(st.integers(0, 5), min_size=8, max_size=8),
    fails=st.integers(0, 7),
    broken=st.sets(st.integers(0, 7)),
)
@pytest.mark.parametrize("backend_name", ["asyncio", "trio"])
def test_exactly_what_succeeded_is_undone_in_reverse_order_of_completion(
    backend_name: Backend, tape: list[int], durations: list[int], fails: int, broken: set[int]
) -> None:
    graph = Graph("undone")
    completed, undone = list[int](), list[int]()

    async def undo(number: int) -> None:
        await anyio.sleep(durations[number] % 2)
        undone.append(number)
        if number in broken:
            raise LookupError

    def add(number: int) -> None:
        async def body() -> int:
            await anyio.sleep(durations[number])
            if number == fails:
                raise PaymentDeclined
            completed.append(number)
            return number

        before = [f"s{number - 3}"] if number > 2 else []
        graph.add_layer(body, name=f"s{number}", depends_on=before, compensate=undo)

    for number in range(8):
        add(number)

    trace = simulate(compile_plan(graph, concurrency=3), tape=tape, backend=backend_name)

    assert isinstance(trace.error, PaymentDeclined)
    assert undone == completed[::-1]
    assert trace.run.compensated == tuple(f"s{number}" for number in undone if number not in broken)
    assert trace.run.compensation_failures.keys() == {f"s{number}" for number in undone if number in broken}
