"""`plan.draw()` and its like: the declared steps, what run modes order, and in a run the state of each."""

import io
import sys
import xml.etree.ElementTree as ET

import pytest

from fusynk import Graph, Plan, compile_plan, use
from fusynk.testing import simulate
from tests.render.reading import read_boxes


def order_plan() -> Plan[None, object]:
    graph = Graph("order")

    @graph.layer
    async def stock() -> int:
        return 3

    @graph.layer(on_error="continue")
    async def notify(left: int = use(stock)) -> None:
        raise ConnectionError

    @graph.layer
    async def pay(left: int = use(stock)) -> str:
        return "paid"

    @graph.layer
    async def tell(nothing: None = use(notify), paid: str = use(pay)) -> str:
        return paid

    return compile_plan(tell)


EDGES = {("stock", "notify"), ("stock", "pay"), ("notify", "tell"), ("pay", "tell")}


def named(names: tuple[str, ...] | list[str], edges: set[tuple[int, int]]) -> set[tuple[str, str]]:
    return {(names[source], names[target]) for source, target in edges}


def test_the_drawing_of_a_plan_is_its_graph() -> None:
    plan = order_plan()

    seen = read_boxes(plan.draw())

    assert not seen.faults
    assert sorted(seen.names) == ["notify", "pay", "stock", "tell"]
    assert seen.edges == EDGES


def test_a_narrow_terminal_gets_a_line_a_step() -> None:
    lines = order_plan().draw(width=15).splitlines()

    assert [line.split()[-1] for line in lines] == ["stock", "notify", "pay", "tell"]


def test_a_run_shows_how_each_step_ended() -> None:
    run = simulate(order_plan()).run

    text = run.draw()

    assert all(mark in text for mark in ("stock ✓", "notify ✗", "pay ✓", "tell ↷"))
    assert "\x1b[32m" in run.draw(colour=True)
    assert "notify x" in run.draw(ascii_only=True)
    assert 'class="unit failed"' in run.to_svg()
    assert ":::skipped" in run.to_mermaid()


def test_what_a_run_mode_orders_is_drawn_without_its_barriers() -> None:
    graph = Graph("modes")

    async def member() -> None: ...

    members = [graph.add_layer(member, name=name) for name in ("a", "b", "c")]
    plan = compile_plan(graph.process("all", *members, mode="sequential"))

    seen = read_boxes(plan.draw())

    assert seen.edges == {("a", "b"), ("b", "c"), ("a", "all"), ("b", "all"), ("c", "all")}


@pytest.mark.parametrize("form", ["to_svg", "to_mermaid", "to_dot"])
def test_other_forms_name_every_step(form: str) -> None:
    text: str = getattr(order_plan(), form)()

    assert all(name in text for name in ("stock", "notify", "pay", "tell"))


def test_the_svg_is_one_well_formed_document_that_loads_nothing() -> None:
    text = order_plan().to_svg()

    root = ET.fromstring(text)  # noqa: S314 - our own text

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<script" not in text
    assert "href" not in text


def test_an_empty_plan_is_an_empty_drawing() -> None:
    assert compile_plan(Graph("nothing")).draw() == ""


@pytest.mark.parametrize(("encoding", "corner"), [("utf-8", "┌"), ("ascii", "."), ("latin-1", "."), (None, "┌")])
def test_boxes_are_drawn_where_the_standard_output_can_show_them(
    encoding: str | None, corner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = Graph("shown")

    async def step() -> None: ...

    graph.add_layer(step, name="step")
    plan = compile_plan(graph)
    monkeypatch.setattr(sys, "stdout", io.StringIO() if encoding is None else io.TextIOWrapper(io.BytesIO(), encoding))

    assert plan.draw()[0] == corner
    assert simulate(plan).run.draw()[0] == corner
    assert (plan.draw(ascii_only=True)[0], plan.draw(ascii_only=False)[0]) == (".", "┌")
