"""Compensations of runs that are recorded: a run that is undone is undone to the end, and never continued."""

from typing import Any

import anyio
import pytest

from fusynk import Graph, Plan, compile_plan, run_of, use
from fusynk.protocols import Journal


class Declined(Exception):
    """Why the payment fails."""


class Trip:
    """Books a car and a room, and pays; what is booked can be given back."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.crash_in: str = ""
        self.fail_in: str = "pay"
        self.fall_in: str = ""
        graph = Graph("trip")

        async def undo_car(car: str) -> None:
            self.note(f"undo {car}")

        async def undo_room(room: str) -> None:
            self.note(f"undo {room}")

        @graph.layer(compensate=undo_car)
        async def car() -> str:
            self.note("car")
            return "car"

        @graph.layer(compensate=undo_room)
        async def room(given: str = use(car)) -> str:
            self.note("room")
            return "room"

        @graph.layer
        async def pay(given: str = use(room)) -> str:
            self.note("pay")
            return "paid"

        self.plan: Plan[Any, str] = compile_plan(pay)

    def note(self, what: str) -> None:
        self.log.append(what)
        if what == self.crash_in:
            self.crash_in = ""
            raise SystemExit(9)
        if what == self.fail_in:
            raise Declined(what)
        if what == self.fall_in:
            self.fall_in = ""
            raise Declined(what)

    def taken(self) -> list[str]:
        log, self.log = self.log, []
        return log


async def test_a_run_that_was_undone_is_not_continued(journal: Journal) -> None:
    trip = Trip()
    plan = trip.plan.options(journal=journal, run_id="trip")
    with pytest.raises(Declined):
        _ = await plan.run()
    assert trip.taken() == ["car", "room", "pay", "undo room", "undo car"]

    trip.fail_in = ""
    with pytest.raises(Declined) as caught:
        _ = await plan.run()

    assert trip.taken() == []
    run = run_of(caught.value)
    assert run is not None
    assert (run.compensated, run.cause, run.status) == (("room", "car"), "pay", "failed")
    assert [found.status for found in journal.runs()] == ["failed"]
    kinds = [(record.step, record.kind) for record in journal.history("trip")]
    assert kinds == [
        *(("car", "succeeded"), ("room", "succeeded"), ("pay", "aborted")),
        *(("room", "compensated"), ("car", "compensated")),
    ]


async def test_what_was_left_to_be_undone_is_undone_when_it_is_resumed(journal: Journal) -> None:
    trip = Trip()
    plan = trip.plan.options(journal=journal, run_id="trip")
    trip.crash_in = "undo car"
    with pytest.raises(SystemExit):
        _ = await plan.run()
    assert trip.taken() == ["car", "room", "pay", "undo room", "undo car"]

    with pytest.raises(Declined, match="pay") as caught:
        _ = await plan.resume("trip")

    assert trip.taken() == ["undo car"], "what was undone is not undone twice"
    run = run_of(caught.value)
    assert run is not None
    assert run.compensated == ("room", "car")


async def test_a_compensation_that_failed_is_tried_again(journal: Journal) -> None:
    trip = Trip()
    plan = trip.plan.options(journal=journal, run_id="trip")
    trip.fall_in = "undo room"
    with pytest.raises(Declined) as caught:
        _ = await plan.run()
    run = run_of(caught.value)
    assert run is not None
    assert (list(run.compensation_failures), run.compensated) == (["room"], ("car",))
    _ = trip.taken()

    with pytest.raises(Declined) as caught:
        _ = await plan.resume("trip")

    run = run_of(caught.value)
    assert run is not None
    assert (trip.taken(), run.compensated, dict(run.compensation_failures)) == (["undo room"], ("car", "room"), {})


async def test_what_is_undone_keeps_the_order_of_its_completion_over_processes(journal: Journal) -> None:
    trip = Trip()
    plan = trip.plan.options(journal=journal, run_id="trip")
    trip.crash_in = "room"
    with pytest.raises(SystemExit):
        _ = await plan.run()
    with pytest.raises(Declined):
        _ = await plan.run()

    assert trip.taken() == ["car", "room", "room", "pay", "undo room", "undo car"]


async def test_a_run_that_is_cancelled_is_not_undone_because_it_can_be_resumed(journal: Journal) -> None:
    trip = Trip()
    trip.fail_in = ""
    reached = anyio.Event()
    plan = trip.plan.options(journal=journal, run_id="trip")

    async def hold() -> str:
        reached.set()
        await anyio.sleep_forever()
        return "never"

    held = plan.override(plan_step(plan, "pay").calls(hold_with(hold)))
    async with anyio.create_task_group() as group:
        group.start_soon(held.run)
        await reached.wait()
        group.cancel_scope.cancel()
    assert trip.taken() == ["car", "room"]

    assert (await plan.run()).result == "paid"
    assert trip.taken() == ["pay"]


def plan_step(plan: Plan[Any, Any], name: str) -> Any:
    wiring = plan._program.wiring
    return wiring.layers[wiring.index[name]]


def hold_with(hold: Any) -> Any:
    async def pay(given: str) -> str:
        return str(await hold())

    return pay


async def test_a_deadline_undoes_and_is_raised_again(journal: Journal) -> None:
    trip = Trip()
    plan = trip.plan.options(journal=journal, run_id="trip", deadline=0.3)

    async def hold() -> str:
        await anyio.sleep_forever()
        return "never"

    with pytest.raises(TimeoutError, match="longer than its deadline"):
        _ = await plan.override(plan_step(plan, "pay").calls(hold_with(hold))).run()
    assert trip.taken() == ["car", "room", "undo room", "undo car"]

    with pytest.raises(Exception, match="longer than its deadline") as caught:
        _ = await trip.plan.resume("trip", journal=journal)
    assert trip.taken() == []
    run = run_of(caught.value)
    assert run is not None
    assert run.compensated == ("room", "car")
