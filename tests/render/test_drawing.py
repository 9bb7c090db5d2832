"""The drawing is the graph: whoever follows its lines finds all edges, and none that are not there.

Three drawings are kept in `drawings` for people to judge; FUSYNK_SNAPSHOTS=write writes them anew.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk.render.cells import width_of
from fusynk.render.escape import for_terminal
from fusynk.render.geometry import ordering
from fusynk.render.geometry.drawing import Box, Drawing
from fusynk.render.geometry.effort import Effort
from fusynk.render.geometry.levels import levels_of
from fusynk.render.layout import EFFORT, lay_out
from fusynk.render.marks import ROOM, Mark
from fusynk.render.text import draw, draw_rails, draw_text
from tests.render.graphs import DIAMOND, ORDER, SHOP, Graph, chain, graphs, numbered
from tests.render.reading import Seen, cells_of, read_boxes, read_rails, without_colour

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "drawings"
WRITE = os.environ.get("FUSYNK_SNAPSHOTS") == "write"
EXAMPLES = max(400, settings().max_examples)
MARKS: Sequence[Mark] = ("succeeded", "failed", "skipped", "cancelled", "running", "pending", "retrying")


def assert_shows(graph: Graph, seen: Seen) -> None:
    assert seen.faults == []
    assert seen.edges == graph.edges
    assert sorted(seen.names) == sorted(map(for_terminal, graph.names))
    assert seen.lines == len({source for source, _ in graph.edges})


def laid_out(graph: Graph, *, effort: int = EFFORT, room: int = 0, width: int | None = None) -> Drawing:
    return lay_out(graph.names, graph.predecessors, effort=Effort(effort), room=room, width=width)


def box_of(drawing: Drawing, name: str) -> Box:
    return next(box for box in drawing.boxes if box.name == name)


def middle(box: Box) -> float:
    return box.x + (box.width - 1) / 2


# The law, for any graph.


@settings(max_examples=EXAMPLES)
@given(graphs(), st.sampled_from([0, 3_000, 30_000]))
def test_boxes_and_lines_show_the_edges_of_any_graph_and_no_others(graph: Graph, effort: int) -> None:
    assert_shows(graph, read_boxes(draw_text(laid_out(graph, effort=effort))))


@settings(max_examples=EXAMPLES)
@given(graphs())
def test_rails_show_the_edges_of_any_graph_and_no_others(graph: Graph) -> None:
    text = draw_rails(graph.names, graph.predecessors)

    assert_shows(graph, read_rails(text))
    assert len(text.split("\n")) == len(graph.names)


@given(graphs(most=12, density=0.5))
def test_both_can_be_read_in_ascii(graph: Graph) -> None:
    escaped = Graph(tuple(for_terminal(name, ascii_only=True) for name in graph.names), graph.predecessors)
    boxes = draw(graph.names, graph.predecessors, width=None, ascii_only=True)
    rails = draw_rails(graph.names, graph.predecessors, ascii_only=True)

    assert boxes.isascii()
    assert rails.isascii()
    assert_shows(escaped, read_boxes(boxes, ascii_only=True))
    assert_shows(escaped, read_rails(rails, ascii_only=True))


@given(graphs(), st.sampled_from([0, 3_000]))
def test_the_geometry_keeps_what_renderers_rely_on(graph: Graph, effort: int) -> None:
    drawing = laid_out(graph, effort=effort)

    assert [box.node for box in drawing.boxes] == list(range(len(graph.names)))
    for box in drawing.boxes:
        assert 0 <= box.x < box.x + box.width <= drawing.width
        assert 0 <= box.y < box.y + box.height <= drawing.height
        for source in graph.predecessors[box.node]:
            assert drawing.boxes[source].y + box.height < box.y
    for one, other in combinations(drawing.boxes, 2):
        assert one.y != other.y or one.x + one.width < other.x or other.x + other.width < one.x
    for line in drawing.lines:
        assert sorted(arrow.node for arrow in line.arrows) == sorted(
            node for node, sources in enumerate(graph.predecessors) if line.source in sources
        )
        for segment in line.segments:
            assert (segment.x1 == segment.x2) != (segment.y1 == segment.y2)
            assert 0 <= segment.x1 <= segment.x2 < drawing.width
            assert 0 <= segment.y1 <= segment.y2 < drawing.height
        uprights = sorted((piece.x1, piece.y1, piece.y2) for piece in line.segments if piece.x1 == piece.x2)
        for (x, _, end), (next_x, start, _) in pairwise(uprights):
            assert x != next_x or end < start, "one piece prolongs another"


@given(graphs(most=10), st.integers(0, 6))
def test_an_edge_listed_twice_and_the_order_of_sources_change_nothing(graph: Graph, turn: int) -> None:
    rows = [[*row[turn:], *row[:turn], *row] for row in map(list, graph.predecessors)]
    again = lay_out(graph.names, [sorted(row) for row in rows])

    assert again == lay_out(graph.names, [sorted(set(row)) for row in graph.predecessors])


@given(graphs(most=12), st.integers(8, 70))
def test_no_line_is_wider_than_the_terminal(graph: Graph, width: int) -> None:
    text = draw(graph.names, graph.predecessors, width=width, marks={0: "failed"})

    assert max(width_of(line) for line in text.split("\n")) <= width


@given(graphs(most=12))
def test_unconnected_parts_go_on_below_where_they_would_get_too_wide(graph: Graph) -> None:
    widest = max(laid_out(graph, effort=0, width=1).width, 1)
    drawing = laid_out(graph, effort=0, width=widest)

    assert drawing.width <= widest
    assert_shows(graph, read_boxes(draw_text(drawing)))


# Shapes and limits.


def test_an_empty_graph_is_an_empty_drawing() -> None:
    assert draw([], [], width=80) == draw_rails([], []) == ""
    assert lay_out([], []) == Drawing(boxes=(), lines=(), width=0, height=0)


def test_a_single_unit_is_a_box() -> None:
    assert draw(["pay"], [[]], width=80) == "┌─────┐\n│ pay │\n└─────┘"
    assert draw_rails(["pay"], [[]]) == "■ pay"


def test_a_chain_of_a_thousand_is_drawn_straight() -> None:
    graph = chain(1_000)
    effort = Effort(EFFORT)
    drawing = lay_out(graph.names, graph.predecessors, effort=effort)

    assert all(segment.x1 == segment.x2 for line in drawing.lines for segment in line.segments)
    assert (drawing.width, drawing.height) == (12, 1_000 * 4 - 1)
    assert_shows(graph, read_boxes(draw_text(drawing)))
    assert_shows(graph, read_rails(draw_rails(graph.names, graph.predecessors)))
    assert effort.spent < 100 * len(graph.names), "the one order there is was looked at more than once"


def test_five_hundred_units_that_nothing_connects_fill_the_width() -> None:
    graph = numbered([()] * 500)
    text = draw(graph.names, graph.predecessors, width=100)

    assert_shows(graph, read_boxes(text))
    assert 80 < max(map(len, text.split("\n"))) <= 100
    assert_shows(graph, read_rails(draw_rails(graph.names, graph.predecessors)))


def test_two_hundred_units_that_lead_to_one_are_drawn_or_listed() -> None:
    graph = numbered([*[()] * 200, range(200)])

    assert_shows(graph, read_boxes(draw(graph.names, graph.predecessors, width=None)))
    assert_shows(graph, read_rails(draw_rails(graph.names, graph.predecessors)))
    listed = draw(graph.names, graph.predecessors, width=60).split("\n")
    assert (listed[0], len(listed)) == ("unit_0", 201)
    assert listed[-1] == "unit_200 ← unit_0, unit_1, unit_2, unit_3, unit_4, unit_5, …"


def test_one_that_leads_to_five_hundred_is_one_line() -> None:
    graph = numbered([(), *[(0,)] * 500])

    assert_shows(graph, read_boxes(draw(graph.names, graph.predecessors, width=None)))


def test_levels_of_three_hundred_each_connected_to_all_become_rails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusynk.render.text.lay_out", None)  # would be called in vain
    graph = numbered([*[()] * 300, *[range(300)] * 300])
    drawn = draw(graph.names, graph.predecessors, width=None)

    assert len(drawn.split("\n")) == 600
    assert drawn == draw_rails(graph.names, graph.predecessors)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([[*range(max(0, node - 40), node)] for node in range(60)], id="sixty, dense"),
        pytest.param([[*range(node)] for node in range(40)], id="forty, complete"),
        pytest.param([*[()] * 30, *[range(30)] * 30], id="two levels of thirty"),
    ],
)
def test_effort_is_bounded_on_dense_graphs_and_they_are_still_right(rows: list[Sequence[int]]) -> None:
    graph = numbered(rows)
    effort = Effort(20_000)
    drawing = lay_out(graph.names, graph.predecessors, effort=effort)

    assert_shows(graph, read_boxes(draw_text(drawing)))
    assert effort.spent < 1.5 * 20_000


@pytest.mark.parametrize("spare", [1_000, 5_000])
def test_elements_are_swapped_as_long_as_there_is_effort_left(spare: int) -> None:
    upside_down = levels_of([*[[]] * 100, *([99 - node] for node in range(100))])
    effort = Effort(spare)
    search = ordering._Search(upside_down, effort)
    rows = [list(row) for row in upside_down.rows]
    search._number(rows)
    search._swap(rows)

    assert search._scored(rows).crossings > 0
    assert effort.spent < spare + 500


def test_small_graphs_need_a_fraction_of_the_effort() -> None:
    order, shop = Effort(EFFORT), Effort(EFFORT)
    lay_out(ORDER.names, ORDER.predecessors, effort=order)
    lay_out(SHOP.names, SHOP.predecessors, effort=shop)

    assert order.spent < EFFORT / 300
    assert shop.spent < EFFORT / 4


def test_more_effort_finds_an_order_with_fewer_crossings() -> None:
    crossings = {effort: draw_text(laid_out(SHOP, effort=effort)).count("┼") for effort in (0, EFFORT)}

    assert crossings[EFFORT] < crossings[0]


def test_a_cycle_is_told_with_its_path() -> None:
    with pytest.raises(ValueError, match=r"Nodes 0 -> 1 -> 2 -> 0 form a cycle"):
        draw(["a", "b", "c", "d"], [[2], [0], [1], []], width=80)
    with pytest.raises(ValueError, match=r"Nodes 2 -> 3 -> 2 form a cycle"):
        lay_out(["a", "b", "c", "d"], [[], [0], [3], [2]])
    with pytest.raises(ValueError, match=r"Nodes 0 -> 0 form a cycle"):
        draw_rails(["a"], [[0]])


def test_names_and_predecessors_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        lay_out(["a", "b"], [[]])


# Looks.


def test_a_join_stands_in_the_middle_of_what_it_joins() -> None:
    drawing = laid_out(DIAMOND)
    probe, fast, thorough, cleaned = (middle(box_of(drawing, name)) for name in DIAMOND.names)

    assert abs(probe - (fast + thorough) / 2) <= 0.5
    assert abs(cleaned - probe) <= 0.5


def test_the_order_is_drawn_without_a_needless_bend() -> None:
    drawing = laid_out(ORDER)
    across = [piece for line in drawing.lines for piece in line.segments if piece.y1 == piece.y2]
    columns = {arrow.x for line in drawing.lines for arrow in line.arrows}

    assert len(across) == 2
    assert len({piece.x2 - piece.x1 for piece in across}) <= 2
    assert drawing.height == 16
    assert drawing.width <= 2 + sum(box_of(drawing, name).width for name in ("reserve_inventory", "validate_customer"))
    assert len(columns) == 4


def test_a_long_line_leaves_its_box_once_and_is_straight_from_there() -> None:
    drawing = laid_out(numbered([(), (0,), (1,), (2,), (0, 3), (4,)]))

    across = [segment for line in drawing.lines for segment in line.segments if segment.y1 == segment.y2]
    assert len(across) == 1


def test_wide_names_keep_borders_in_line() -> None:
    names = ["在庫確認", "e\u0301te\u0301", "🚀", "plain"]
    text = draw_text(lay_out(names, [[], [0], [0], [1, 2]]))
    cells = cells_of(text)

    for box in lay_out(names, [[], [0], [0], [1, 2]]).boxes:
        right = box.x + box.width - 1
        assert [cells[box.x, box.y + row] for row in range(3)] == ["┌", "│", "└"]
        assert [cells[right, box.y + row] for row in range(3)] == ["┐", "│", "┘"]
    assert all(name in text for name in names)


@given(graphs(most=8), st.lists(st.sampled_from([None, *MARKS]), min_size=8, max_size=8))
def test_marks_and_colours_change_no_line(graph: Graph, states: list[Mark | None]) -> None:
    marks: dict[int, Mark] = {node: mark for node, mark in enumerate(states) if mark is not None}
    drawing = laid_out(graph, effort=3_000, room=ROOM)
    plain = draw_text(drawing, marks=marks)

    assert without_colour(draw_text(drawing, marks=marks, colour=True)) == plain
    assert read_boxes(plain).faults == []
    assert len(read_boxes(plain).edges) == len(graph.edges)


@pytest.mark.parametrize("mark", MARKS)
def test_each_state_has_a_glyph_and_a_colour_of_its_own(mark: Mark) -> None:
    def shown(state: Mark, *, ascii_only: bool) -> str:
        return draw(["pay"], [[]], width=80, marks={0: state}, ascii_only=ascii_only)

    for ascii_only in (False, True):
        frame = shown(mark, ascii_only=ascii_only)
        assert len({width_of(line) for line in frame.split("\n")}) == 1
        assert frame not in [shown(other, ascii_only=ascii_only) for other in MARKS if other != mark]
    rails = [draw_rails(["pay"], [[]], marks={0: state}, colour=True) for state in MARKS]
    assert len({rail.partition("m")[0] for rail in rails}) == len(MARKS)
    assert all(rail.startswith("■ \x1b[") and rail.endswith("\x1b[0m") for rail in rails)


def test_a_mark_finds_its_place_in_a_drawing_without_room_for_it() -> None:
    drawing = lay_out(["pay"], [[]])

    assert draw_text(drawing, marks={0: "succeeded"}) == "┌─────┐\n│pay ✓│\n└─────┘"
    assert draw_text(lay_out(["pay"], [[]], room=ROOM), marks={0: "succeeded"}) == "┌───────┐\n│ pay ✓ │\n└───────┘"


def test_names_beyond_ascii_take_up_as_much_place_in_a_drawing_in_ascii() -> None:
    drawing = lay_out(["在庫"], [[]])

    assert draw_text(drawing, ascii_only=True) == ".------.\n| ???? |\n'------'"
    assert draw(["在庫"], [[]], width=80, ascii_only=True).split("\n")[1] == r"| \u5728\u5eab |"


# The same everywhere.


DIGEST = """
from hashlib import sha256
from fusynk.render.text import draw, draw_rails
from tests.render.graphs import SHOP
texts = [draw(SHOP.names, SHOP.predecessors, width=None), draw_rails(SHOP.names, SHOP.predecessors)]
print(sha256("".join(texts).encode()).hexdigest())
"""


def test_a_drawing_does_not_depend_on_the_seed_of_hashes() -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    digests = {
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "42")
    }
    assert len(digests) == 1


def order() -> str:
    return draw(ORDER.names, ORDER.predecessors, width=80)


def shop_on_rails() -> str:
    return draw(SHOP.names, SHOP.predecessors, width=40)


def shop_with_states() -> str:
    names = SHOP.names
    marks: dict[int, Mark] = dict.fromkeys(range(len(names)), "skipped")
    marks |= {names.index(name): "succeeded" for name in names[:10]}
    marks |= {names.index("reserve_stock"): "failed", names.index("send_email"): "running"}
    return draw(names, SHOP.predecessors, width=100, marks=marks)


DRAWINGS: dict[str, Callable[[], str]] = {
    "order": order,
    "shop_on_rails": shop_on_rails,
    "shop_with_states": shop_with_states,
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_looks_like_this(name: str) -> None:
    text = DRAWINGS[name]() + "\n"

    snapshot = FOLDER / f"{name}.txt"
    if WRITE:
        snapshot.write_text(text, encoding="utf-8")
    assert text == snapshot.read_text(encoding="utf-8")


def test_every_drawing_belongs_to_a_case() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == DRAWINGS.keys()


def test_the_reader_is_no_fool() -> None:
    """A drawing that is wrong in one cell is not taken for right."""
    text = draw_text(laid_out(SHOP))
    dice = Random(1)
    lines = [place for place, char in enumerate(text) if char in "│─┌┐└┘┼●▼┬"]
    for place in dice.sample(lines, 150):
        broken = text[:place] + " " + text[place + 1 :]
        seen = read_boxes(broken)
        assert seen.faults or seen.edges != SHOP.edges or sorted(seen.names) != sorted(SHOP.names), broken
