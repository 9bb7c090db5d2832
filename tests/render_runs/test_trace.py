"""Traces: what Perfetto makes of a run.

`read_back` follows the rules of Perfetto's importer: the slices of a lane are nested or apart, and an arrow begins and
ends at the slice that was opened last on its lane.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fusynk import Batch, Graph, Run, compile_plan, each, milestone, process, use
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.render_runs.plans import HOSTILE, chain, films, named, shop, waiting


@dataclass(frozen=True)
class Slice:
    name: str
    lane: int
    begin: int
    end: int
    facts: tuple[tuple[str, Any], ...]


@dataclass
class Picture:
    slices: list[Slice]
    arrows: list[tuple[Slice, Slice]]
    instants: list[tuple[str, str]]
    names: dict[tuple[str, int], str]


def nanoseconds(microseconds: float) -> int:
    return round(microseconds * 1000)


def read_back(text: str) -> Picture:
    events: list[dict[str, Any]] = json.loads(text)["traceEvents"]
    names = {(event["name"], event["tid"]): event["args"]["name"] for event in events if event["ph"] == "M"}
    picture = Picture([], [], [], names)
    top: dict[int, Slice] = {}
    sources: dict[int, Slice] = {}
    for event in sorted((event for event in events if event["ph"] != "M"), key=lambda event: nanoseconds(event["ts"])):
        assert event["pid"] == 1
        lane, now = event["tid"], nanoseconds(event["ts"])
        if event["ph"] == "X":
            one = Slice(event["name"], lane, now, now + nanoseconds(event["dur"]), tuple(event["args"].items()))
            assert one.end > one.begin, "a slice of no length is an instant, and instants pile up"
            assert lane not in top or top[lane].end <= now, f"{one} overlaps {top.get(lane)}"
            top[lane] = one
            picture.slices.append(one)
            continue
        assert top[lane].begin <= now < top[lane].end, f"{event} is on no slice"
        match event["ph"]:
            case "s":
                sources[event["id"]] = top[lane]
            case "f":
                assert event["bp"] == "e"
                picture.arrows.append((sources.pop(event["id"]), top[lane]))
            case "i":
                picture.instants.append((event["name"], top[lane].name))
            case other:
                pytest.fail(f"an event of kind {other}")
    assert not sources
    return picture


def arrows_of(run: Run[Any]) -> Counter[tuple[str, str]]:
    return Counter((source.name, target.name) for source, target in read_back(run.to_trace()).arrows)


def test_each_attempt_is_a_slice_as_long_as_it_took(backend: Backend) -> None:
    run = simulate(shop(), backend=backend).run

    slices = read_back(run.to_trace()).slices

    origin = run.attempts()[0].started
    drawn = sorted((one.name, one.begin, one.end) for one in slices)
    assert drawn == sorted(
        (record.step, round((record.started - origin) * 1e9), round((record.ended - origin) * 1e9))
        for record in run.attempts()
    )


def test_a_slice_says_which_attempt_it_was_and_how_it_ended_but_not_what_an_error_says() -> None:
    run = simulate(shop()).run

    text = run.to_trace()

    facts = [dict(one.facts) for one in read_back(text).slices if one.name == "validate_customer"]
    assert facts == [
        {"attempt": 1, "outcome": "failed", "error": "ConnectionError"},
        {"attempt": 2, "outcome": "failed", "error": "ConnectionError"},
        {"attempt": 3, "outcome": "succeeded"},
    ]
    [audit] = [dict(one.facts) for one in read_back(text).slices if one.name == "audit"]
    assert audit == {"attempt": 1, "outcome": "cancelled"}
    assert "8 left" not in text


def test_an_arrow_leads_from_the_last_attempt_of_each_dependency_to_the_first_of_its_dependent() -> None:
    run = simulate(shop()).run

    picture = read_back(run.to_trace())

    assert arrows_of(run) == Counter(
        [("check_inventory", "reserve_inventory"), ("validate_customer", "charge"), ("reserve_inventory", "charge")]
    )
    attempts = [dict(source.facts)["attempt"] for source, _ in picture.arrows if source.name == "validate_customer"]
    assert attempts == [3]


def test_lanes_are_used_again_and_named() -> None:
    picture = read_back(simulate(films(100, concurrency=8)).run.to_trace())

    assert {one.lane for one in picture.slices} == set(range(1, 9))
    assert picture.names == {("process_name", 0): "fusynk run simulation"} | {
        ("thread_name", lane): f"slot {lane}" for lane in range(1, 9)
    }


def test_a_fan_out_has_one_arrow_in_and_one_out_of_what_ended_last() -> None:
    run = simulate(films(20, failing=1000)).run

    arrows = arrows_of(run)

    assert set(arrows.values()) == {1}
    assert ("all_ids", "fetch[0]") in arrows
    last = max(run.attempts("fetch"), key=lambda record: record.ended).step
    assert (last, "store") in arrows
    assert len(arrows) == 2


def test_chained_fan_outs_have_an_arrow_for_each_item() -> None:
    graph = Graph("chained")

    @graph.layer
    async def numbers() -> list[int]:
        return [3, 1, 2]

    @graph.layer.each
    async def first(number: int = each(numbers)) -> int:
        await anyio.sleep(number)
        return number

    @graph.layer.each
    async def second(number: int = each(first)) -> int:
        await anyio.sleep(1)
        return number

    arrows = arrows_of(simulate(compile_plan(second)).run)

    assert arrows == Counter([("numbers", "first[0]"), *((f"first[{i}]", f"second[{i}]") for i in range(3))])


def test_members_that_a_run_mode_held_back_were_let_go_by_the_one_that_ended_last() -> None:
    graph = Graph("batches")
    for name, seconds in (("one", 1), ("two", 2), ("three", 1), ("four", 1)):
        graph.add_layer(waiting(seconds), name=name)
    members = [graph.units[name] for name in ("one", "two", "three", "four")]
    whole = process("whole", *members, mode="batched", size=2, delay=0.5)

    arrows = arrows_of(simulate(compile_plan(whole)).run)

    assert ("two", "three") in arrows
    assert ("two", "four") in arrows
    assert ("one", "three") not in arrows


def test_steps_that_take_no_time_lie_one_after_the_other_in_their_lane() -> None:
    picture = read_back(simulate(chain(500, slow=10_000)).run.to_trace())

    assert len(picture.slices) == 500
    assert {one.lane for one in picture.slices} == {1}
    assert len(picture.arrows) == 499


def test_milestones_are_instants_on_the_attempt_that_reported_them_without_their_values() -> None:
    graph, calls = Graph("milestones"), list[int]()

    @graph.layer(retries=1, retry_delay=5)
    async def encode() -> None:
        calls.append(1)
        await anyio.sleep(1)
        milestone("half", film="secret")
        await anyio.sleep(1)
        milestone("end")
        if len(calls) == 1:
            raise OSError

    text = simulate(compile_plan(encode)).run.to_trace()

    assert read_back(text).instants == [("half", "encode"), ("end", "encode")] * 2
    assert "secret" not in text


def test_names_of_any_kind_make_valid_json() -> None:
    text = simulate(named(HOSTILE)).run.to_trace()

    assert text.isascii()
    names = [one.name for one in read_back(text).slices]
    assert names == [name.replace("\ud800", "\\ud800") for name in HOSTILE]


def test_a_step_that_never_began_has_neither_slice_nor_arrow() -> None:
    picture = read_back(simulate(shop()).run.to_trace())

    assert "send_mail" not in {one.name for one in picture.slices}


def test_an_empty_run_is_a_trace_of_nothing() -> None:
    assert read_back(simulate(compile_plan(Graph("empty"))).run.to_trace()).slices == []


def test_a_trace_is_written_to_a_file_and_then_not_returned(tmp_path: Path) -> None:
    run = simulate(shop()).run

    for file in (tmp_path / "trace.json", str(tmp_path / "other.json")):
        run.to_trace(file)
        assert Path(file).read_text("utf-8") == run.to_trace()


def test_a_file_that_cannot_be_written_is_an_error_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="trace"):
        simulate(shop()).run.to_trace(tmp_path / "nowhere" / "trace.json")


@given(
    st.lists(st.tuples(st.floats(0, 3), st.lists(st.integers(0, 100), max_size=3), st.integers(0, 2)), max_size=12),
    st.integers(1, 5),
)
@example([(0.0, [], 0), (0.0, [], 0), (0.0, [1], 0), (1.0, [], 0)], 2)
def test_traces_of_random_runs_read_back_as_the_run(
    parts: list[tuple[float, list[int], int]], concurrency: int
) -> None:
    graph, edges = Graph("random"), set[tuple[str, str]]()
    for number, (seconds, before, failures) in enumerate(parts):
        sources = sorted({f"s{one % number}" for one in before}) if number else []
        edges |= {(source, f"s{number}") for source in sources}
        error = ValueError() if failures == 2 else None
        graph.add_layer(waiting(seconds, error), name=f"s{number}", depends_on=sources, retries=failures)

    run = simulate(compile_plan(graph, concurrency=concurrency, on_error="continue")).run

    picture = read_back(run.to_trace())
    assert Counter(one.name for one in picture.slices) == Counter(record.step for record in run.attempts())
    assert {(source.name, target.name) for source, target in picture.arrows} == edges
    assert max((one.lane for one in picture.slices), default=0) <= concurrency


def test_the_parameter_of_a_fan_out_that_was_replaced_still_has_its_arrow() -> None:
    graph = Graph("replaced")

    @graph.layer
    async def numbers() -> list[int]:
        await anyio.sleep(1)
        return [1]

    @graph.layer.each
    async def doubled(number: int = each(numbers)) -> int:
        return 2 * number

    @graph.layer
    async def total(batch: object = use(doubled)) -> object:
        return batch

    plan = compile_plan(total).override(doubled.returns(Batch({0: 2})))

    assert arrows_of(simulate(plan).run) == Counter([("numbers", "doubled"), ("doubled", "total")])
