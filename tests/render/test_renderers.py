"""Whatever units are called, every renderer makes one harmless line of it, and all show the same graph."""

import ast
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk.render import layout
from fusynk.render.cells import clipped, in_ascii, width_of
from fusynk.render.dot import to_dot
from fusynk.render.escape import for_dot, for_mermaid, for_terminal, for_xml
from fusynk.render.layout import lay_out
from fusynk.render.marks import ROOM, Mark
from fusynk.render.mermaid import to_mermaid
from fusynk.render.svg import draw_svg
from fusynk.render.text import draw, draw_rails, draw_text
from tests.hostile_names import HOSTILE
from tests.render.graphs import SHOP, Graph, graphs
from tests.render.reading import read_boxes

SVG = "{http://www.w3.org/2000/svg}"
STATES: dict[int, Mark] = {0: "failed", 1: "succeeded"}
Edges = set[tuple[int, int]]

any_name = st.text(st.characters(), max_size=30) | st.sampled_from(list(HOSTILE.values()))


def svg_of(names: list[str], predecessors: list[list[int]], marks: Mapping[int, Mark] | None = None) -> ET.Element:
    text = draw_svg(lay_out(names, predecessors, room=ROOM), marks=marks, title=names[0])
    return ET.fromstring(text)  # noqa: S314 (our own text; that it parses is what is tested)


def edges_of(graph: Graph) -> Edges:
    return {(source, node) for node, sources in enumerate(graph.predecessors) for source in sources}


# Names.


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_is_one_line_of_printable_text(name: str) -> None:
    assert_harmless(for_terminal(name))
    assert for_terminal(name, ascii_only=True).isascii()
    assert_harmless(for_terminal(name, ascii_only=True))


@settings(max_examples=500)
@given(any_name)
def test_any_name_is_one_line_of_printable_text_and_stays_it(name: str) -> None:
    shown = for_terminal(name)

    assert_harmless(shown)
    assert for_terminal(shown) == shown
    for_terminal(name, ascii_only=True).encode("ascii")
    shown.encode("utf-8")


def assert_harmless(shown: str) -> None:
    assert shown.strip()
    assert len(shown.splitlines()) == 1
    for char in shown:
        assert char == " " or unicodedata.category(char)[0] not in "CZ", f"{char!a} of {shown!a}"


def test_what_is_harmless_stays_as_it_is() -> None:
    for name in ("check_inventory", "Größe", "在庫確認", "🚀 launch", "שלום", "a\\b", "e\u0301"):
        assert for_terminal(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202egpj", r"\u202egpj"),
        ("\ud800", r"\ud800"),
        ("", "''"),
        ("  ", "'  '"),
        ("\u3164", r"\u3164"),
        ("\u0301a\u0301", "\\u0301a\u0301"),
    ],
)
def test_what_steers_or_hides_is_spelled_out(name: str, shown: str) -> None:
    assert for_terminal(name) == shown


@settings(max_examples=300)
@given(any_name)
def test_xml_shows_the_name_as_text_and_as_an_attribute(name: str) -> None:
    element = ET.fromstring(f'<a b="{for_xml(name)}">{for_xml(name)}</a>')  # noqa: S314 (as above)

    assert (element.text, element.get("b"), len(element)) == (for_terminal(name), for_terminal(name), 0)


@settings(max_examples=300)
@given(any_name)
def test_mermaid_and_dot_hold_the_name_in_quotes(name: str) -> None:
    assert mermaid_label(for_mermaid(name)) == for_terminal(name)
    assert dot_label(for_dot(name)) == for_terminal(name)


# Drawings of hostile names.


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_breaks_no_drawing(name: str) -> None:
    names, rows = ["before", name, "after"], [[], [0], [0, 1]]
    shown = for_terminal(name)
    drawing = lay_out(names, rows)
    boxes, rails = draw_text(drawing).split("\n"), draw_rails(names, rows).split("\n")

    assert len(boxes) == drawing.height
    assert sum(shown in line for line in boxes) == 1
    assert len(rails) == 3
    assert shown in rails[1]
    for line in (*boxes, *rails, *draw(names, rows, width=30, ascii_only=True).split("\n")):
        assert not set(line) & set("\x00\x07\x1b\r\t\x7f\x9b\u2028\u202e")
    for line in draw(names, rows, width=30).split("\n"):
        assert width_of(line) <= 30


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_breaks_no_svg(name: str) -> None:
    root = svg_of([name, "after"], [[], [0]], STATES)

    assert root.findtext(f"{SVG}title") == for_terminal(name)
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert texts == [f"{for_terminal(name)} ✗", "after ✓"]
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "style", "rect", "g", "path", "circle", "text", "tspan")
    }
    for element in root.iter():
        assert set(element.attrib) <= SAFE_ATTRIBUTES


SAFE_ATTRIBUTES = {"class", "role", "width", "height", "viewBox", "d", "cx", "cy", "r", "x", "y", "rx"}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_name_breaks_neither_mermaid_nor_dot(name: str) -> None:
    names, rows = ["before", name, "after"], [[], [0], [0, 1]]

    for parsed in (parse_mermaid(to_mermaid(names, rows)), parse_dot(to_dot(names, rows))):
        assert parsed == (dict(enumerate(map(for_terminal, names))), {(0, 1), (0, 2), (1, 2)})
    assert parse_mermaid(to_mermaid(names, rows, marks={1: "failed"}))[0][1] == f"{for_terminal(name)} ✗"
    assert parse_dot(to_dot(names, rows, marks={1: "failed"}))[0][1] == f"{for_terminal(name)} ✗"


# The same graph everywhere.


@given(graphs(most=12))
def test_svg_mermaid_and_dot_show_the_edges_of_any_graph(graph: Graph) -> None:
    names = list(graph.names)
    rows = [list(row) for row in graph.predecessors]

    expected = dict(enumerate(names)), edges_of(graph)
    assert parse_mermaid(to_mermaid(names, rows)) == expected
    assert parse_dot(to_dot(names, rows)) == expected
    root = svg_of(names, rows)
    assert len(root.findall(f".//{SVG}path[@class='head']")) == len({source for source, _ in edges_of(graph)})
    assert svg_edges(root) == edges_of(graph)


def svg_edges(root: ET.Element) -> Edges:
    """Which box each head touches from above, by its coordinates."""
    box_at: dict[tuple[int, int], int] = {}
    for node, frame in enumerate(root.findall(f"{SVG}g/{SVG}rect")):
        left, top, width = (int(frame.get(key, "")) for key in ("x", "y", "width"))
        box_at |= {(x, top): node for x in range(left + 1, left + width)}
    edges: Edges = set()
    for source, group in enumerate(root.findall(f"{SVG}g")):
        for heads in group.findall(f"{SVG}path[@class='head']"):
            tips = re.findall(r"M(\d+) (\d+)l", heads.get("d", ""))
            edges |= {(source, box_at[int(x), int(y)]) for x, y in tips}
    return edges


def test_svg_says_the_state_of_a_unit_in_words_by_class_and_by_glyph() -> None:
    root = svg_of(["pay"], [[]], {0: "cancelled"})
    group = root.find(f"{SVG}g")

    assert group is not None
    assert group.get("class") == "unit cancelled"
    assert group.findtext(f"{SVG}title") == "pay: cancelled"
    assert group.findtext(f"{SVG}text/{SVG}tspan") == " ⊘"


def test_svg_is_dark_on_dark_pages_and_needs_nothing_from_outside() -> None:
    text = draw_svg(lay_out(SHOP.names, SHOP.predecessors))

    assert "prefers-color-scheme: dark" in text
    assert ":hover" in text
    without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"script|href|url\(|import|http|\son\w+=", without_namespace)
    assert len(text) < 12_000


def test_an_empty_graph_is_well_formed_everywhere() -> None:
    assert ET.fromstring(draw_svg(lay_out([], []))).tag == f"{SVG}svg"  # noqa: S314 (as above)
    assert parse_mermaid(to_mermaid([], [])) == ({}, set())
    assert parse_dot(to_dot([], [])) == ({}, set())


def test_an_edge_listed_twice_is_written_once() -> None:
    assert to_mermaid(["a", "b"], [[], [0, 0]]).count("-->") == 1
    assert to_dot(["a", "b"], [[], [0, 0]]).count("->") == 1


# Small parsers, as strict as the formats need.


def mermaid_label(text: str) -> str:
    assert re.fullmatch(r"(?:[\w \-.,']|#\d+;)*", text), text
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


def parse_mermaid(text: str) -> tuple[dict[int, str], Edges]:
    """Labels and edges; every line must be a node, an edge, or a class."""
    header, *lines = text.removesuffix("\n").split("\n")
    assert header == "flowchart TD"
    labels: dict[int, str] = {}
    edges: Edges = set()
    for line in lines:
        if match := re.fullmatch(r' {4}n(\d+)\["([^"]*)"\](?::::[a-z]+)?', line):
            labels[int(match[1])] = mermaid_label(match[2])
        elif match := re.fullmatch(r" {4}n(\d+) --> n(\d+)", line):
            edges.add((int(match[1]), int(match[2])))
        else:
            assert re.fullmatch(r" {4}classDef [a-z]+ [a-z0-9#:,\- ]+", line), line
    return labels, edges


def dot_label(text: str) -> str:
    """What Graphviz shows: a backslash escapes what follows, and entities are read."""
    assert not re.search(r'(?<!\\)(?:\\\\)*"', text), text
    assert not re.search(r"&(?!amp;)", text), text
    return re.sub(r"\\(.)", r"\1", text).replace("&amp;", "&")


def parse_dot(text: str) -> tuple[dict[int, str], Edges]:
    """Labels and edges, from words: names, strings in quotes, and signs."""
    words = list(dot_words(text))
    assert words[:2] == ["digraph", "{"]
    assert words[-1] == "}"
    labels: dict[int, str] = {}
    edges: Edges = set()
    for at, word in enumerate(words):
        if word == "label":
            labels[int(words[at - 2][2:-1])] = dot_label(words[at + 2][1:-1])
        elif word == "->":
            edges.add((int(words[at - 1][2:-1]), int(words[at + 1][2:-1])))
    return labels, edges


def dot_words(text: str) -> Iterator[str]:
    at = 0
    pattern = re.compile(r'\s*("(?:[^"\\\n]|\\.)*"|->|[{}\[\]=,]|\w+)\s*')
    while at < len(text):
        match = pattern.match(text, at)
        assert match, f"no word: {text[at : at + 40]!r}"
        yield match[1]
        at = match.end()


# Widths.


WIDTHS = {
    "": 0,
    "abc": 3,
    "\uff21": 2,
    "é": 1,
    "e\u0301": 1,
    "在庫": 4,
    "🚀": 2,
    "❤\ufe0f": 2,
    "👍🏽": 2,
    "🇩🇪": 2,
    "각": 2,
}


@pytest.mark.parametrize(("text", "cells"), WIDTHS.items(), ids=map(ascii, WIDTHS))
def test_wide_characters_take_two_cells_and_marks_none(text: str, cells: int) -> None:
    assert width_of(text) == cells


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20), st.integers(0, 30))
def test_a_clipped_text_fits_and_a_text_in_ascii_is_as_wide(text: str, width: int) -> None:
    assert width_of(clipped(text, width, "…")) <= width
    assert clipped(text, 60, "…") == text
    assert in_ascii(text).isascii()
    assert width_of(in_ascii(text)) == width_of(text)


# Dependencies.


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


OURS = ("cells", "dot", "escape", "glyphs", "layout", "marks", "mermaid", "rails", "svg", "text")
PURE = {
    *[
        "bisect",
        "collections",
        "dataclasses",
        "html",
        "itertools",
        "math",
        "re",
        "string",
        "sys",
        "typing",
        "unicodedata",
    ]
}


def test_drawing_knows_neither_plans_nor_runs_and_needs_the_standard_library_only() -> None:
    folder = Path(layout.__file__).parent
    files = [*(folder / f"{name}.py" for name in OURS), *(folder / "geometry").glob("*.py")]

    assert len(files) > 20
    for file in files:
        for module in imported(file):
            is_ours = module.startswith(("fusynk.render.", "fusynk._core.graph", "fusynk._core.ready"))
            assert is_ours or module.split(".")[0] in PURE, f"{file.name} imports {module}"


def test_boxes_of_hostile_names_are_read_back() -> None:
    # Names that look like lines; and the reader takes each part of an emoji for one of its own.
    left_out = {"box", "ascii box", "rails", "emoji tone", "emoji style"}
    names = [name for key, name in HOSTILE.items() if key not in left_out and len(name) < 100]
    rows = [[node - 1] if node % 5 else [] for node in range(len(names))]
    seen = read_boxes(draw(names, rows, width=200))

    assert seen.faults == []
    assert len(seen.names) == len(names)
    assert len(seen.edges) == sum(map(len, rows))
