"""The timeline of a page: where its bars are, and what is said beside them."""

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import Graph, Plan, Run, compile_plan
from fusynk.render import gantt
from fusynk.testing import simulate
from tests.render.graphs import SHOP
from tests.render_runs.pages import Element, bars, orders, read, row, rows, states_of
from tests.render_runs.plans import films, named, shop, waiting


def close(some: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> bool:
    """Whether stretches are the same, but for what rounding to hundredths of a per cent loses."""
    pairs = zip(chain.from_iterable(some), chain.from_iterable(others), strict=True)
    return all(abs(one - other) <= 0.02 for one, other in pairs)


def test_each_attempt_is_a_bar_where_it_happened(ordered: Run[Any], ordered_page: Element) -> None:
    begin = min(attempt.started for attempt in ordered.attempts())
    share = 100 / ordered.report.makespan

    for name in set(SHOP.names) - {"fetch_orders"}:
        drawn, attempts = bars(row(ordered_page, name)), ordered.attempts(name)
        places = [((attempt.started - begin) * share, attempt.duration * share) for attempt in attempts]
        assert close([(first, width) for first, width, _ in drawn], places)
        assert [kind for _, _, kind in drawn] == ["failed" if attempt.error else "" for attempt in attempts]


def test_waits_between_attempts_are_lines_from_one_to_the_next(ordered_page: Element) -> None:
    fetching = row(ordered_page, "fetch_rates")

    gaps = [(first + width, second) for (first, width, _), (second, _, _) in pairwise(bars(fetching))]
    lines = [(float(one.attributes["x1"][:-1]), float(one.attributes["x2"][:-1])) for one in fetching.all("line")]
    assert close(lines, gaps)
    assert len(lines) == 2
    assert [bar.one("title").text for bar in fetching.all("rect") if bar.children] == [
        "attempt 1: 500 ms, failed",
        "attempt 2: 500 ms, failed",
        "attempt 3: 500 ms",
    ]
    failed = [first + width for first, width, kind in bars(fetching) if kind]
    ends = [float(end.attributes["x"][:-1]) for end in fetching.all("rect", "end")]
    assert close([(end, end) for end in ends], [(end, end) for end in failed])


def test_rows_tell_how_steps_ended_without_colours(ordered: Run[Any], ordered_page: Element) -> None:
    for name, state in states_of(ordered).items():
        found = row(ordered_page, name)
        assert found.one("b", "sign").attributes == {"class": "sign", "role": "img", "aria-label": state}
        assert state in found.classes
    assert row(ordered_page, "charge_cards").one("span", "remark").text == "CardDeclined"
    skipped = row(ordered_page, "ship_orders")
    assert skipped.one("span", "remark").text == "skipped: charge_cards failed"
    assert not skipped.all("svg")


def test_the_critical_path_is_marked(ordered: Run[Any], ordered_page: Element) -> None:
    marked = [one for one in rows(ordered_page) if "critical" in one.classes]

    assert [one.one("span", "name").text for one in marked] == list(ordered.report.critical_path)
    assert all(one.one("span", "aside").text == "on the critical path" for one in marked)


def test_a_cancelled_attempt_is_a_bar_of_its_own_kind() -> None:
    audit = row(read(simulate(shop()).run.to_html()), "audit")

    assert bars(audit) == [(0.0, 100.0, "cancelled")]
    assert not audit.all("rect", "end")
    assert audit.one("span", "remark").text == "cancelled: charge failed"


def shape(one: Element) -> list[tuple[float, float, int]]:
    """The steps of an outline: from where to where, in per cent, and how high."""
    [drawn] = one.all("path")
    view = one.all("svg")[1].attributes["viewbox"].split()
    parts = re.findall(r"V(\d+)H(\d+)", drawn.attributes["d"])
    places = [0, *(int(place) for _, place in parts)]
    share = 100 / int(view[2])
    return [
        (places[number] * share, places[number + 1] * share, int(view[3]) - int(top))
        for number, (top, _) in enumerate(parts)
    ]


def test_a_fan_out_is_the_outline_of_how_many_items_were_at_work_above_some_that_failed() -> None:
    run = simulate(films(100)).run
    root = read(run.to_html())

    found = row(root, "fetch")

    begin, end = run.attempts()[0].started, max(attempt.ended for attempt in run.attempts())
    first, last = run.attempts("fetch")[0].started, max(attempt.ended for attempt in run.attempts("fetch"))
    outline = [step for step in shape(found) if step[2]]
    assert outline[0][0] == pytest.approx((first - begin) / (end - begin) * 100, abs=1.25)
    assert outline[-1][1] == pytest.approx((last - begin) / (end - begin) * 100, abs=1.25)
    assert max(height for _, _, height in outline) == 8
    assert outline[-1][2] < 8, "the last items have less and less company"
    assert found.one("span", "remark").text.startswith("100 items, 4 failed")
    below = [one.one("span", "name").text for one in rows(root) if "item" in one.classes]
    assert below == ["fetch[3]", "fetch[32]", "fetch[61]", "fetch[90]"]


def test_failed_items_beyond_the_fifth_are_counted() -> None:
    root = read(simulate(films(300)).run.to_html())

    assert rows(root)[-2].one("span", "name").text == "and 6 more failed items"


def test_a_step_with_very_many_attempts_is_an_outline_too() -> None:
    graph = Graph("stubborn")
    graph.add_layer(waiting(0.01, OSError()), name="try", retries=999, retry_delay=0)

    text = simulate(compile_plan(graph, on_error="continue")).run.to_html()

    assert [height for _, _, height in shape(row(read(text), "try"))] == [8]
    assert len(text) < 120_000


@pytest.mark.parametrize(
    ("plan", "meanings"),
    [
        (shop(), ["critical path", "other steps", "failed attempt", "cancelled", "until the next attempt"]),
        (films(3), ["critical path", "how many items at work"]),
        (named(("one", "two")), ["critical path"]),
        (
            orders(),
            ["critical path", "other steps", "failed attempt", "until the next attempt", "how many items at work"],
        ),
        (compile_plan(Graph("empty")), []),
        (named(("too late",)).options(deadline=0.5), ["critical path", "cancelled"]),
    ],
    ids=["shop", "films", "named", "orders", "empty", "cancelled"],
)
def test_the_legend_explains_what_there_is(plan: Plan[None, Any], meanings: list[str]) -> None:
    drawn = read(gantt.Gantt(simulate(plan).run._account.story).html)

    assert [entry.text.strip() for legend in drawn.all("p") for entry in legend.all("span")] == meanings


def test_labels_do_not_leave_the_axis_at_its_end() -> None:
    graph = Graph("long")
    graph.add_layer(waiting(6.2), name="long")

    labels = read(simulate(compile_plan(graph)).run.to_html()).one("div", "axis").all("text")

    assert [label.text for label in labels] == ["0", "2 s", "4 s"]


@given(st.floats(1e-7, 1e8))
def test_ticks_are_few_and_evenly_spaced_at_round_times(seconds: float) -> None:
    places, labels = zip(*gantt._ticks(seconds), strict=True)

    assert labels[0] == "0"
    assert 1 <= len(places) <= 7
    assert places[-1] <= 100 + 1e-9
    steps = [later - former for former, later in pairwise(places)]
    assert steps == [pytest.approx(places[1])] * len(steps)
    for place, label in zip(places[1:], labels[1:], strict=True):
        number, unit = label.split()
        size = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}[unit]
        assert float(number) * size / seconds * 100 == pytest.approx(place)
    if len(labels) > 1:
        assert labels[1].split()[0].strip("0.")[:1] in "125"


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (0, ["0"]),
        (0.0032, ["0", "1 ms", "2 ms", "3 ms"]),
        (1.7, ["0", "0.5 s", "1 s", "1.5 s"]),
        (100, ["0", "20 s", "40 s", "60 s", "80 s", "100 s"]),
        (5400, ["0", "20 min", "40 min", "60 min", "80 min"]),
        (86400, ["0", "5 h", "10 h", "15 h", "20 h"]),
    ],
)
def test_ticks_are_labelled_in_units_that_suit(seconds: float, labels: list[str]) -> None:
    assert [label for _, label in gantt._ticks(seconds)] == labels


def test_the_lines_of_the_ticks_are_as_far_apart_as_the_labels(ordered: Run[Any]) -> None:
    drawn = gantt.Gantt(ordered._account.story)

    second = read(drawn.html).one("div", "axis").all("text")[1]
    assert f"background-size:{second.attributes['x']} 100%" in drawn.style
