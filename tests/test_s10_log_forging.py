"""S10: no name and no value forges a line, moves a terminal's cursor, or is taken for a format or a markup."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger

from fusynk import Graph, Plan, compile_plan, layer, milestone, telemetry
from fusynk._core.printable import MOST_BYTES, cut, plain, printable
from fusynk.testing import simulate
from tests.recorded import assert_whole

HOSTILE = [
    "pay\n2026-01-01 00:00:00 | INFO | Run succeeded",
    "pay\r\x1b[2K\x1b[31mred",
    "pay\x1b]0;title\x07",
    "\u202epay\u2066",
    "{0} {} {extra[run_id]} {self.__class__} %s %(levelname)s",
    "<red>pay</red> <level>",
    "pay\x00\x85\u2028\u2029",
    "pay\ud800",
    "käse 🧀",
]


def hostile_plan(name: str, **options: Any) -> Plan[Any, Any]:
    graph = Graph("hostile")

    async def body() -> None:
        milestone(name, **{name: name})
        logger.info("mine")
        raise type(name.replace("\ud800", "").replace("\x00", ""), (Exception,), {})

    graph.add_layer(body, name=name, retries=1, on_error="continue")
    graph.add_layer(body, name=f"after {name}", depends_on=name)
    return compile_plan(graph, run_id=name, **options)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("colorize", [True, False])
def test_s10_a_hostile_name_stays_on_its_line(name: str, colorize: bool) -> None:
    texts: list[str] = []
    sink = logger.add(texts.append, colorize=colorize, format="{message} {extra}")
    bare = logger.add(texts.append, format="{extra[run_id]} {message}")
    try:
        simulate(hostile_plan(name, verbose=True))
    finally:
        logger.remove(sink)
        logger.remove(bare)

    assert len(texts) == 2 * 17
    for text in texts:
        assert text.endswith("\n")
        assert text[:-1].isprintable(), repr(text)
    started = [text for text in texts if "attempt 1 started" in text]
    assert all(printable(name) in text for text in started)


@pytest.mark.parametrize("name", HOSTILE)
def test_s10_a_hostile_name_is_one_document_where_lines_are_serialized(name: str) -> None:
    texts: list[str] = []
    sink = logger.add(texts.append, serialize=True)
    try:
        simulate(hostile_plan(name, verbose=True))
    finally:
        logger.remove(sink)

    records = [json.loads(text)["record"] for text in texts]
    assert {record["extra"]["run_id"] for record in records} == {printable(name)}
    layers = {record["extra"].get("layer") for record in records}
    assert layers == {None, printable(name), printable(f"after {name}")}


@pytest.mark.parametrize("name", HOSTILE)
def test_s10_a_hostile_name_harms_no_span(name: str) -> None:
    with telemetry.capture() as recording:
        run = simulate(hostile_plan(name)).run

    assert run.subscriber_failures == {}
    assert_whole(recording)
    for span in recording.spans:
        json.loads(span.to_json())
        for value in (span.name, *(span.attributes or {}).values()):
            assert str(value).isprintable()


def test_s10_the_texts_of_lines_are_constant() -> None:
    texts: set[str] = set()

    def note(record: Any) -> None:
        texts.add(record["message"].replace(printable(str(record["extra"].get("layer"))), "LAYER"))

    for name in ("one", "two"):
        sink = logger.add(lambda message: note(message.record), format="{message}", filter="fusynk")
        try:
            simulate(hostile_plan(name, verbose=True))
        finally:
            logger.remove(sink)

    assert "LAYER: attempt 1 started" in texts


@given(st.text())
def test_s10_printable_text_is_left_and_all_other_is_escaped_for_good(text: str) -> None:
    shown = printable(text)

    assert shown.isprintable()
    assert (shown == text) == text.isprintable()
    assert printable(shown) == shown


@given(st.one_of(st.text(), st.text(min_size=MOST_BYTES)))
def test_s10_a_text_is_cut_to_a_kilobyte(text: str) -> None:
    shown = cut(text)

    assert len(shown.encode()) <= MOST_BYTES
    assert shown.isprintable()
    assert shown == printable(text) or (shown.endswith("...") and printable(text).startswith(shown[:-3]))


@given(st.one_of(st.integers(), st.floats(), st.booleans(), st.text(), st.binary()))
def test_s10_a_reported_value_is_a_number_a_text_or_the_name_of_its_type(value: object) -> None:
    shown = plain(value)

    assert isinstance(shown, (bool, int, float, str))
    if isinstance(value, (bool, float)):
        assert shown is value
    if isinstance(value, bytes):
        assert shown == "<bytes>"


def test_s10_the_layer_that_a_user_s_line_carries_is_escaped() -> None:
    extras: list[Any] = []
    sink = logger.add(lambda message: extras.append(message.record["extra"]), filter=__name__)

    @layer(name="a\nb")
    async def step() -> None:
        logger.info("mine")

    try:
        simulate(compile_plan(step, run_id="c\x1b"))
    finally:
        logger.remove(sink)

    assert extras == [{"run_id": "c\\x1b", "layer": "a\\nb"}]


def test_what_is_printed_of_a_plan_and_a_run_shows_names_on_one_line() -> None:
    graph = Graph("forged")

    async def step() -> None: ...

    graph.add_layer(step, name="a\n\x1b[31mb")
    plan = compile_plan(graph, run_id="r\n\x1b[31m")
    run = simulate(plan).run

    assert repr(plan) == "<Plan of 1 steps to a\\n\\x1b[31mb>"
    assert repr(run) == "<Run r\\n\\x1b[31m succeeded>"
    assert str(run.report).endswith("Critical path     a\\n\\x1b[31mb")
