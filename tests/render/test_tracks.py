"""Lines between two levels, however they are tangled, never share a cell but where they cross."""

from collections.abc import Iterator
from itertools import chain, product

from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk.render.geometry.tracks import Net, set_tracks

Cell = tuple[int, int]
FLOOR = 1_000


@st.composite
def tangles(draw: st.DrawFn) -> list[Net]:
    """Nets whose columns get in each other's way as often as can be."""
    columns = draw(st.permutations(range(draw(st.integers(1, 9)))))
    tops = columns[: draw(st.integers(1, len(columns)))]
    bottoms: dict[int, list[int]] = {top: [] for top in tops}
    for column in draw(st.permutations(columns)):
        bottoms[draw(st.sampled_from(tops))].append(column)
    return [Net(top, top, sorted(ends)) for top, ends in sorted(bottoms.items()) if ends]


def ways(net: Net, nets: list[Net]) -> Iterator[tuple[Cell, Cell]]:
    """The pieces of a net, from cell to cell, each downwards or to the right."""
    start = -1 if net.parent is None else net.parent.track
    if net.is_straight:
        yield (net.top, start), (net.top, FLOOR)
        return
    yield (net.top, start), (net.top, net.track)
    yield (net.left, net.track), (net.right, net.track)
    hung = {other.top for other in nets if other.parent is net}
    for column in net.bottoms:
        if column not in hung:
            yield (column, net.track), (column, FLOOR)


def cells(way: tuple[Cell, Cell], lowest: int) -> Iterator[tuple[Cell, bool, bool]]:
    """Each cell of a piece, whether it is taken downwards, and whether across; an end takes it both ways."""
    (x1, y1), (x2, y2) = way
    for x, y in product(range(x1, x2 + 1), range(y1, min(y2, lowest) + 1)):
        is_end = (x, y) in way
        yield (x, y), is_end or x1 == x2, is_end or y1 == y2


@settings(max_examples=400)
@given(tangles())
def test_each_cell_belongs_to_one_line_or_is_a_crossing(nets: list[Net]) -> None:
    tracks = set_tracks(nets, {})

    owners: dict[tuple[Cell, str], int] = {}
    for net in nets:
        for cell, downwards, across in chain.from_iterable(cells(way, tracks) for way in ways(net, nets)):
            assert not downwards or owners.setdefault((cell, "downwards"), net.element) == net.element
            assert not across or owners.setdefault((cell, "across"), net.element) == net.element


@given(tangles())
def test_every_end_is_reached_if_by_a_detour(nets: list[Net]) -> None:
    asked = {net.element: (net.top, list(net.bottoms)) for net in nets}
    tracks = set_tracks(nets, {})

    for net in nets:
        assert 0 <= net.track < max(tracks, 1)
        assert net.bottoms == sorted(net.bottoms)
        assert net.parent is None or (net.top in net.parent.bottoms and net.track > net.parent.track)
    for element, (top, bottoms) in asked.items():
        own = [net for net in nets if net.element == element]
        hung = {net.top for net in own if net.parent is not None}
        assert [net.top for net in own if net.parent is None] == [top]
        assert sorted(column for net in own for column in net.bottoms if column not in hung) == bottoms


def test_two_lines_that_change_places_need_one_detour() -> None:
    nets = [Net(0, 3, [7]), Net(1, 7, [3])]
    tracks = set_tracks(nets, {})

    assert tracks == 3
    assert [net.element for net in nets if net.parent is not None] == [0]


def test_lines_that_do_not_meet_share_a_track() -> None:
    assert set_tracks([Net(0, 1, [4]), Net(1, 9, [6]), Net(2, 11, [14, 15])], {}) == 1


def test_a_staircase_is_ordered_so_that_nothing_crosses() -> None:
    nets = [Net(number, 2 * number, [2 * number + 9]) for number in range(4)]
    set_tracks(nets, {})

    assert [net.track for net in nets] == [3, 2, 1, 0]


def test_a_junction_keeps_off_a_box_that_it_does_not_come_from() -> None:
    below_another = Net(0, 0, [0, 5, 9])
    set_tracks([below_another], dict.fromkeys(range(4, 8), 1))
    below_its_own = Net(0, 0, [0, 5, 9])
    set_tracks([below_its_own], dict.fromkeys(range(10), 0))

    assert (below_another.track, below_its_own.track) == (1, 0)
