"""A run that dies while it is undone is undone whole, also where resources keep its steps from following again."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fusynk import Batch, Failed, Graph, Run, Succeeded, compile_plan, each, run_of, use, when
from fusynk.errors import ArtifactUnavailable
from fusynk.journals import MemoryJournal
from tests.durable.hostile import cut_off


class Declined(Exception):
    """What breaks a run off."""


class Ledger:
    """What was undone."""

    def __init__(self) -> None:
        self.undone: list[object] = []
        self.judged: list[object] = []
        self.opened: list[str] = []

    async def undo(self, artifact: object) -> None:
        self.undone.append(artifact)

    def judge(self, artifact: object) -> bool:
        self.judged.append(artifact)
        return True


def over_a_resource(graph: Graph, ledger: Ledger) -> Any:
    @graph.layer
    async def source() -> AsyncIterator[list[int]]:
        ledger.opened.append("source")
        yield [1, 2]

    @graph.layer.each(name="item", compensate=ledger.undo)
    async def item(number: int = each(source)) -> int:
        return number

    @graph.layer
    async def last(batch: Batch[int] = use(item)) -> int:
        raise Declined(len(batch))

    return last


def behind_items_that_are_resources(graph: Graph, ledger: Ledger) -> Any:
    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2]

    @graph.layer.each
    async def held(number: int = each(numbers)) -> AsyncIterator[int]:
        ledger.opened.append(f"held {number}")
        yield number

    @graph.layer.each(name="item", compensate=ledger.undo)
    async def item(number: int = each(held)) -> int:
        return number

    @graph.layer
    async def last(batch: Batch[int] = use(item)) -> int:
        raise Declined(len(batch))

    return last


def beside_a_resource(graph: Graph, ledger: Ledger) -> Any:
    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2]

    @graph.layer
    async def source() -> AsyncIterator[str]:
        ledger.opened.append("source")
        yield "held"

    @graph.layer.each(name="item", compensate=ledger.undo, depends_on=when(source, ledger.judge))
    async def item(number: int = each(numbers)) -> int:
        return number

    @graph.layer
    async def last(batch: Batch[int] = use(item)) -> int:
        raise Declined(len(batch))

    return last


def among_failing_items(graph: Graph, ledger: Ledger) -> Any:
    @graph.layer
    async def source() -> AsyncIterator[list[int]]:
        ledger.opened.append("source")
        yield [1, 2, 3]

    @graph.layer.each(name="item", compensate=ledger.undo)
    async def item(number: int = each(source)) -> int:
        if number == 3:
            raise Declined(number)
        return number

    return item


async def declined(plan: Any) -> Run[Any]:
    with pytest.raises(Declined) as caught:
        _ = await plan.run()
    run = run_of(caught.value)
    assert run is not None
    return run


@pytest.mark.parametrize(
    "build", [over_a_resource, behind_items_that_are_resources, beside_a_resource, among_failing_items]
)
async def test_items_are_undone_though_the_process_died_and_their_resource_with_it(
    build: Callable[[Graph, Ledger], Any],
) -> None:
    graph, ledger, journal = Graph("trip"), Ledger(), MemoryJournal()
    plan = compile_plan(build(graph, ledger), concurrency=1)
    first = await declined(plan.options(journal=journal, run_id="trip"))
    assert first.compensated == ("item[1]", "item[0]")
    assert ledger.undone == [2, 1]
    records = journal.history("trip")
    broken = next(number for number, record in enumerate(records, 1) if record.kind == "aborted")
    judged, opened = list(ledger.judged), list(ledger.opened)

    for count in range(broken, len(records) + 1):
        ledger.undone.clear()
        run = await declined(plan.options(journal=cut_off(journal, "trip", count), run_id="trip"))

        assert ledger.undone == [2, 1][count - broken :]
        assert (run.compensated, dict(run.compensation_failures)) == (first.compensated, {})
        assert (run.cause, repr(run.failures)) == (first.cause, repr(first.failures))
        assert str(run.timeline())
        assert str(run.report)
    assert (ledger.judged, ledger.opened) == (judged, opened), "nothing is asked or set up in order to be undone"


async def test_a_resource_that_cannot_be_undone_by_another_process_is_named() -> None:
    graph, ledger, journal = Graph("trip"), Ledger(), MemoryJournal()

    @graph.layer(compensate=ledger.undo)
    async def room() -> AsyncIterator[str]:
        yield "room"

    @graph.layer
    async def last(given: str = use(room)) -> str:
        raise Declined(given)

    plan = compile_plan(last)
    assert (await declined(plan.options(journal=journal, run_id="trip"))).compensated == ("room",)
    kinds = [record.kind for record in journal.history("trip")]
    assert kinds == ["succeeded", "aborted", "compensated"]

    run = await declined(plan.options(journal=cut_off(journal, "trip", 2), run_id="trip"))
    assert (run.compensated, ledger.undone) == ((), ["room"])
    error = run.compensation_failures["room"]
    assert isinstance(error, ArtifactUnavailable)
    assert "undo it by hand" in str(error)
    assert isinstance(run.outcome("room"), Succeeded)

    whole = await declined(plan.options(journal=journal, run_id="trip"))
    assert (whole.compensated, dict(whole.compensation_failures)) == (("room",), {})


async def test_the_fan_out_of_an_item_that_broke_its_run_off_has_failed_after_a_resume_too() -> None:
    graph, ledger, journal = Graph("trip"), Ledger(), MemoryJournal()
    plan = compile_plan(among_failing_items(graph, ledger), concurrency=1).options(journal=journal, run_id="trip")

    outcomes = [(await declined(plan)).outcome("item") for _ in range(2)]

    assert [type(outcome) for outcome in outcomes] == [Failed, Failed]
