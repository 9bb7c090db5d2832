"""Pages as browsers see them, and runs that are worth a page.

`Reader` is stricter than browsers are: every element that is opened must be closed, in order.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import anyio
import pytest

from fusynk import Graph, Plan, Run, compile_plan, each, milestone
from tests.hostile_names import HOSTILE
from tests.render.graphs import SHOP
from tests.render_runs.plans import CardDeclined, HTTPError, waiting

VOID = frozenset({"meta"})
NAMES = {what: name for what, name in HOSTILE.items() if name}  # no step has an empty one
DRAWN_BY_NAME = frozenset({"content", "d", "height", "points", "viewbox", "width", "x", "y", "cx", "cy"})


@dataclass
class Element:
    """What a browser makes of a tag."""

    tag: str
    attributes: Mapping[str, str]
    children: list["Element | str"] = field(default_factory=list["Element | str"])

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    def all(self, tag: str, kind: str | None = None) -> list["Element"]:
        """All elements of this tag, and of this class, in it."""
        found: list[Element] = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if child.tag == tag and (kind is None or kind in child.classes) else []
                found += child.all(tag, kind)
        return found

    def one(self, tag: str, kind: str | None = None) -> "Element":
        [found] = self.all(tag, kind)
        return found


class Reader(HTMLParser):
    """Reads a page that has nothing in it but elements and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute of {tag} is there twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert any(element.tag == "svg" for element in self._open), f"<{tag}/> is not closed outside SVG"
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def handle_decl(self, decl: str) -> None:
        assert decl == "DOCTYPE html"

    def handle_comment(self, data: str) -> None:
        pytest.fail(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        pytest.fail(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        pytest.fail(f"a declaration: {data}")

    def close(self) -> None:
        super().close()
        assert self._open == [self.root], f"<{self._open[-1].tag}> is not closed"


def read(text: str) -> Element:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader.root


def skeleton(element: Element) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """All elements with their attributes, but for the numbers that depend on how long a name is."""
    attributes = tuple(
        (name, "" if name in DRAWN_BY_NAME else value) for name, value in sorted(element.attributes.items())
    )
    children = [child for child in element.children if isinstance(child, Element)]
    return [(element.tag, attributes), *(part for child in children for part in skeleton(child))]


def section(root: Element, title: str) -> Element:
    [found] = [part for part in root.all("section") if part.attributes["aria-label"] == title]
    assert found.one("h2").text == title
    return found


def embedded(root: Element) -> Any:
    return json.loads(root.one("script").text)


def rows(root: Element) -> list[Element]:
    return root.one("ol", "rows").all("li")


def row(root: Element, name: str) -> Element:
    [found] = [one for one in rows(root) if one.one("span", "name").text == name]
    return found


def bars(one: Element) -> list[tuple[float, float, str]]:
    """From where to where the bars of a row are, in per cent, and how they ended."""
    return [
        (float(bar.attributes["x"][:-1]), float(bar.attributes["width"][:-1]), " ".join(bar.classes))
        for bar in one.all("rect")
        if "end" not in bar.classes
    ]


def orders() -> Plan[None, Any]:
    """Twenty steps: a fan-out with failed items, attempts that are repeated, a failure and what is skipped for it."""
    graph, calls = Graph("orders"), dict[str, int]()

    def body(name: str, seconds: float) -> Any:
        async def run(receipt: object = None) -> str:
            calls[name] = calls.get(name, 0) + 1
            await anyio.sleep(seconds)
            if name.startswith("fetch_") and calls[name] < 3:
                raise ConnectionError("canary")
            if name == "charge_cards":
                raise CardDeclined("canary")
            milestone(f"{name} done", order="canary")
            return "canary"

        return run

    @graph.layer
    async def load_config() -> list[int]:
        await anyio.sleep(0.12)
        return list(range(20))

    @graph.layer.each(depends_on=["connect_db"], retries=1, retry_delay=0.1, on_error="continue")
    async def fetch_orders(number: int = each(load_config)) -> int:
        await anyio.sleep(0.05 + number % 7 * 0.03)
        if number % 9 == 3:
            raise HTTPError
        return number

    for place, (name, sources) in enumerate(zip(SHOP.names, SHOP.predecessors, strict=True)):
        if name not in graph.units:
            before = {SHOP.names[source] for source in sources}
            graph.add_layer(
                body(name, 0.1 + place * 37 % 11 * 0.05),
                name=name,
                depends_on=sorted(before - {"charge_cards"}),
                bind={"receipt": "charge_cards"} if "charge_cards" in before else {},
                retries=3 if name.startswith("fetch_") else 0,
            )
    return compile_plan(graph, concurrency=4, retry_delay=0.15, on_error="continue", run_id="orders-2026-11-22")


def states_of(run: Run[Any]) -> dict[str, str]:
    return {name: type(outcome).__name__.lower() for name, outcome in run.outcomes.items()}


def hostile(name: str) -> Plan[None, Any]:
    """A plan that says a name wherever one can be said."""
    graph = Graph("hostile")
    error: type[Exception] = type(name.replace("\x00", "").encode("utf-8", "ignore").decode() or "E", (Exception,), {})

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2]

    async def body() -> None:
        await anyio.sleep(1)
        milestone(name)
        raise error(name)

    async def item(number: int = each(numbers)) -> None:
        await anyio.sleep(1)
        raise error(name)

    graph.add_layer(body, name=name, retries=1)
    graph.add_layer(waiting(1), name=f"after {name}", depends_on=[name])
    graph.layer.each(name=f"each {name}")(item)
    return compile_plan(graph, run_id=name, on_error="continue")


def graph_of(*names: str) -> Graph:
    graph = Graph("names")
    for name in names:
        graph.add_layer(waiting(1), name=name)
    return graph
