"""What notebooks show of plans and runs."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from fusynk import Graph, Run, compile_plan
from fusynk.testing import simulate
from tests.render_runs.pages import NAMES, graph_of, hostile, read, rows, skeleton
from tests.render_runs.plans import shop, waiting

PLAIN = "plain"


def test_a_notebook_shows_the_timeline_of_a_run(ordered: Run[Any]) -> None:
    bundle = ordered._repr_mimebundle_()

    assert bundle["text/plain"] == "<Run orders-2026-11-22 failed>"
    root = read(bundle["text/html"])
    assert root.one("div", "fusynk-run").all("p")[0].text.startswith("✗ Run orders-2026-11-22 failed after 5.32 s: ")
    assert len(rows(root)) == 22
    assert not root.all("script")


def test_what_a_notebook_shows_leaves_the_notebook_alone(ordered: Run[Any]) -> None:
    root = read(ordered._repr_mimebundle_()["text/html"])

    assert not [element for _, attributes in skeleton(root) for element, _ in attributes if element == "id"]
    rules = re.sub(r"@[^{]+\{(.*?\})\s*\}", r"\1", root.one("style").text, flags=re.DOTALL).split("}")
    selectors = [rule.partition("{")[0].strip() for rule in rules]
    assert len(selectors) > 30
    for selector in filter(None, selectors):
        alternatives = re.sub(r"\([^)]*\)", "", selector).split(",")
        assert {one.split()[0] for one in alternatives} == {".fusynk-run"}, selector


@pytest.mark.parametrize("what", NAMES)
def test_a_notebook_takes_any_name(what: str) -> None:
    plan = hostile(NAMES[what])
    run = simulate(plan).run

    shown, drawn = run._repr_mimebundle_(), plan._repr_mimebundle_()

    assert skeleton(read(shown["text/html"])) == skeleton(
        read(simulate(hostile(PLAIN)).run._repr_mimebundle_()["text/html"])
    )
    assert ET.fromstring(drawn["image/svg+xml"]).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - our own text
    for line in (shown["text/plain"], drawn["text/plain"]):
        assert line.isprintable()


def test_a_notebook_shows_the_graph_of_a_plan() -> None:
    plan = shop()

    assert plan._repr_mimebundle_() == {"text/plain": repr(plan), "image/svg+xml": plan.to_svg()}
    assert "x" * 40 not in compile_plan(graph_of("x" * 500))._repr_mimebundle_()["image/svg+xml"]


@pytest.mark.parametrize("steps", [0, 201])
def test_a_plan_that_is_too_large_to_draw_or_empty_is_a_line(steps: int) -> None:
    plan = compile_plan(graph_of(*(f"s{number}" for number in range(steps))))

    assert plan._repr_mimebundle_() == {"text/plain": repr(plan)}


def test_a_plan_with_too_many_edges_is_a_line() -> None:
    graph = Graph("dense")
    for number in range(50):
        graph.add_layer(waiting(1), name=f"s{number}", depends_on=[f"s{one}" for one in range(number)])

    assert list(compile_plan(graph)._repr_mimebundle_()) == ["text/plain"]


def test_a_notebook_gets_what_it_asks_for(ordered: Run[Any]) -> None:
    for shown, kind in ((ordered, "text/html"), (shop(), "image/svg+xml")):
        assert list(shown._repr_mimebundle_(include={kind})) == [kind]
        assert list(shown._repr_mimebundle_(include=[])) == ["text/plain", kind]
        assert list(shown._repr_mimebundle_(exclude=[kind])) == ["text/plain"]
        assert list(shown._repr_mimebundle_(None, None)) == ["text/plain", kind]
