"""A run is continued by the plan that began it, with the inputs that it began with."""

from collections.abc import Callable
from typing import Any

import pytest

from fusynk import Graph, Plan, compile_plan, each, use, when
from fusynk.errors import PlanMismatch
from fusynk.protocols import Journal


def shop(
    *,
    extra: str = "",
    leave_out: str = "",
    on_error: Any = "abort",
    condition: bool = False,
    order: bool = False,
    compensate: Any = None,
    crossed: bool = False,
    fan_out: bool = False,
    **unimportant: Any,
) -> Plan[Any, Any]:
    """A plan of a few steps, one of which may differ in one way."""
    graph = Graph("shop")

    @graph.layer
    async def stock(product: str) -> list[int]:
        return [len(product)]

    @graph.layer
    async def price() -> list[int]:
        return [3]

    if leave_out != "audit":

        @graph.layer
        async def audit() -> None: ...

    if extra:
        _ = graph.layer(name=extra)(_nothing)

    after: Any = [when(price, bool)] if condition else [price] if order else []
    one, other = (price, stock) if crossed else (stock, price)
    options: Any = {"on_error": on_error, "depends_on": after, "compensate": compensate, **unimportant}

    async def pay_each(left: Any = each(one), cents: Any = use(other)) -> int:
        return 1

    async def pay(left: Any = use(one), cents: Any = use(other)) -> int:
        return 1

    _ = graph.layer.each(name="pay", **options)(pay_each) if fan_out else graph.layer(**options)(pay)
    return compile_plan(graph)


async def _nothing() -> None: ...


async def undo(artifact: object) -> None:
    """Undo nothing."""


def recover(error: Exception) -> int:
    """Recover from nothing."""
    return 0


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "added": ({"extra": "notify"}, {"added": ("notify",)}),
    "removed": ({"leave_out": "audit"}, {"removed": ("audit",)}),
    "renamed": ({"leave_out": "audit", "extra": "audits"}, {"added": ("audits",), "removed": ("audit",)}),
    "what a failure does": (
        {"on_error": "continue"},
        {"changed": ('\'pay\': on_error was "abort" and is "continue"',)},
    ),
    "a recovery": ({"on_error": recover}, {"changed": ('\'pay\': on_error was "abort" and is "recover"',)}),
    "a compensation": ({"compensate": undo}, {"changed": ("'pay': it had no compensation and has one",)}),
    "an edge": ({"order": True}, {"changed": ("'pay': its order edge from 'price' is new",)}),
    "a condition": ({"condition": True}, {"changed": ("'pay': its order edge from 'price' with a condition is new",)}),
    "where parameters come from": (
        {"crossed": True},
        {
            "changed": (
                "'pay': its data edge from 'stock' into 'left' is gone",
                "'pay': its data edge from 'price' into 'cents' is gone",
                "'pay': its data edge from 'price' into 'left' is new",
                "'pay': its data edge from 'stock' into 'cents' is new",
            )
        },
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_another_plan_is_told_with_all_that_differs(journal: Journal, change: str) -> None:
    options, expected = CHANGES[change]
    _ = await shop().options(journal=journal, run_id="order").run(product="chair")
    before = (list(journal.runs()), list(journal.history("order")))

    with pytest.raises(PlanMismatch) as caught:
        _ = await shop(**options).resume("order", journal=journal)

    error = caught.value
    found = {"added": error.added, "removed": error.removed, "changed": error.changed}
    assert {name: names for name, names in found.items() if names} == expected
    assert "'order' was begun by another plan:" in str(error)
    assert "nothing was changed" in str(error)
    assert list(journal.history("order")) == before[1]
    assert (await shop().resume("order", journal=journal)).ok, "the run is free and as it was"


async def test_a_fan_out_instead_of_one_call_is_another_plan(journal: Journal) -> None:
    _ = await shop().options(journal=journal, run_id="order").run(product="chair")
    with pytest.raises(PlanMismatch, match="'pay': it was no fan-out and is one"):
        _ = await shop(fan_out=True).resume("order", journal=journal)


@pytest.mark.parametrize(
    "options",
    [{"retries": 3}, {"timeout": 5}, {"priority": 7}, {"retry_delay": 2}, {"tags": ["x"]}, {"description": "x"}],
)
async def test_what_does_not_change_the_meaning_may_change(journal: Journal, options: dict[str, Any]) -> None:
    _ = await shop().options(journal=journal, run_id="order").run(product="chair")
    run = await shop(**options).options(concurrency=1, deadline=60).resume("order", journal=journal)
    assert run.ok
    assert len(run.replayed) == 4


async def test_other_inputs_are_told_by_name_and_without_their_values(journal: Journal) -> None:
    plan = shop().options(journal=journal, run_id="order")
    _ = await plan.run(product="chair")

    with pytest.raises(PlanMismatch) as caught:
        _ = await plan.run(product="secret")

    assert caught.value.changed == ("the input 'product' is another one",)
    assert "secret" not in str(caught.value)
    assert "chair" not in str(caught.value)
    assert (await plan.run(product="chair")).ok


async def test_an_int_may_stand_for_a_float_among_the_inputs(journal: Journal) -> None:
    graph = Graph("numbers")

    @graph.layer
    async def double(number: float) -> float:
        return 2 * number

    plan = compile_plan(double).options(journal=journal, run_id="order")
    _ = await plan.run(number=1.0)
    with pytest.raises(PlanMismatch, match="'number' is another one"):
        _ = await plan.run(number=2)
    assert (await plan.run(number=1)).result == 2, "an int may stand for a float"


async def test_a_default_that_changed_is_another_input_to_run_but_not_to_resume(journal: Journal) -> None:
    def plan_with(default: int) -> Plan[Any, Any]:
        graph = Graph("defaults")

        @graph.layer
        async def double(number: int = default) -> int:
            return 2 * number

        return compile_plan(double).options(journal=journal, run_id="order")

    _ = await plan_with(1).run()
    with pytest.raises(PlanMismatch):
        _ = await plan_with(2).run()
    assert (await plan_with(2).resume("order")).result == 2


async def test_members_of_a_process_in_another_order_are_another_plan(journal: Journal) -> None:
    def plan_of(*names: str) -> Plan[Any, Any]:
        graph: Any = Graph("process")
        units: dict[str, Callable[..., Any]] = {name: graph.layer(name=name)(_nothing) for name in "abc"}
        return compile_plan(graph.process("all", *[units[name] for name in names], mode="sequential"))

    _ = await plan_of(*"abc").options(journal=journal, run_id="order").run()
    with pytest.raises(PlanMismatch, match="'b': its order edge from 'a' is gone"):
        _ = await plan_of(*"bac").resume("order", journal=journal)
    assert (await plan_of(*"abc").resume("order", journal=journal)).ok
