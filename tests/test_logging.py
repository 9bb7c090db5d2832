"""What runs write to loguru, and what lines of bodies carry."""

import logging as stdlib
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from loguru import logger

from fusynk import Graph, Plan, compile_plan, each, errors, layer, milestone, use
from fusynk import logging as fusynk_logging
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.observing import ROOT, python


@contextmanager
def lines(level: int | str = 0) -> Generator[list[Any]]:
    """Collect the records that sinks get while the block runs."""
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level=level, format="{message}")
    try:
        yield records
    finally:
        logger.remove(sink)


@pytest.fixture(autouse=True)
def silence() -> Generator[None]:
    """A library stays silent, whatever a test before this one has asked for."""
    fusynk_logging.disable()
    yield
    fusynk_logging.disable()


def messages(records: list[Any]) -> list[str]:
    return [record["message"] for record in records]


def plan_of_all_sorts(**options: Any) -> Plan[Any, Any]:
    graph, calls = Graph("all sorts"), list[int]()

    @graph.layer(retries=1, retry_delay=2)
    async def flaky() -> list[int]:
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError
        milestone("halfway", done=5)
        return [1, 2]

    @graph.layer.each(on_error="continue")
    async def item(number: int = each(flaky)) -> int:
        if number == 2:
            raise ValueError
        return number

    @graph.layer(on_error="continue", depends_on=item)
    async def fails() -> int:
        raise LookupError

    @graph.layer
    async def skipped(value: int = use(fails)) -> int:
        return value

    return compile_plan(skipped, **options)


EVERYTHING = [
    "Run of skipped started, steps: 4",
    "flaky: attempt 1 started",
    "flaky: attempt 1 failed with ConnectionError",
    "flaky: attempt 2 follows in 2 s",
    "flaky: attempt 2 started",
    "flaky: milestone halfway {'done': 5}",
    "flaky: succeeded",
    "item: 2 items",
    "item[0]: attempt 1 started",
    "item[0]: succeeded",
    "item[1]: attempt 1 started",
    "item[1]: attempt 1 failed with ValueError",
    "item[1]: failed with ValueError",
    "item: succeeded",
    "fails: attempt 1 started",
    "fails: attempt 1 failed with LookupError",
    "fails: failed with LookupError",
    "skipped: skipped because of fails (failure)",
    "Run of skipped failed after 2 s",
]


# The lines of a run


def test_a_run_writes_nothing_unless_somebody_asks(backend: Backend) -> None:
    with lines() as records:
        simulate(plan_of_all_sorts(), backend=backend)

    assert records == []


def test_a_verbose_plan_writes_a_line_for_whatever_happens(backend: Backend) -> None:
    with lines() as records:
        simulate(plan_of_all_sorts(verbose=True, retry_delay=2), backend=backend)

    assert messages(records) == EVERYTHING
    assert {(record["name"], record["extra"]["run_id"]) for record in records} == {("fusynk.logging", "simulation")}
    assert not any(record["exception"] for record in records)
    levels = {record["message"]: record["level"].name for record in records}
    assert levels["flaky: attempt 1 failed with ConnectionError"] == "WARNING"
    assert levels["fails: failed with LookupError"] == levels["Run of skipped failed after 2 s"] == "ERROR"


def test_the_values_of_a_line_are_bound_to_it(backend: Backend) -> None:
    with lines() as records:
        simulate(plan_of_all_sorts(verbose=True), backend=backend)

    extras = {record["message"]: record["extra"] for record in records}
    of_run = {"run_id": "simulation", "plan": "skipped"}
    assert extras["flaky: attempt 2 started"] == {**of_run, "layer": "flaky", "attempt": 2}
    assert extras["flaky: milestone halfway {'done': 5}"] == {
        **of_run,
        "layer": "flaky",
        "milestone": "halfway",
        "values": {"done": 5},
    }
    assert extras["Run of skipped failed after 2 s"] == {**of_run, "status": "failed", "seconds": 2.0}


def test_a_verbose_plan_makes_no_other_line_audible(backend: Backend) -> None:
    def broken(_event: object) -> None:
        raise ValueError

    with lines() as records:
        simulate(plan_of_all_sorts(verbose=True, subscribers=[broken]), backend=backend)

    assert messages(records) == EVERYTHING


def test_enable_makes_every_run_write_lines_from_a_level_up(backend: Backend) -> None:
    with lines() as records:
        fusynk_logging.enable()
        simulate(plan_of_all_sorts(), backend=backend)
        everything = messages(records)
        fusynk_logging.enable(level="WARNING")
        simulate(plan_of_all_sorts(), backend=backend)
        fusynk_logging.disable()
        simulate(plan_of_all_sorts(), backend=backend)

    assert everything == EVERYTHING
    assert messages(records)[len(everything) :] == [
        "flaky: attempt 1 failed with ConnectionError",
        "item[1]: attempt 1 failed with ValueError",
        "item[1]: failed with ValueError",
        "fails: attempt 1 failed with LookupError",
        "fails: failed with LookupError",
        "Run of skipped failed after 2 s",
    ]


def test_enable_lets_the_library_s_warnings_through(backend: Backend) -> None:
    def broken(_event: object) -> None:
        raise ValueError

    with lines() as records:
        fusynk_logging.enable("ERROR")
        simulate(plan_of_all_sorts(subscribers=[broken]), backend=backend)

    assert "A subscriber raised ValueError (1 so far); the run goes on" in messages(records)


@pytest.mark.parametrize("level", ["LOUD", -1, True, None])
def test_a_level_that_does_not_exist_is_refused(level: Any) -> None:
    with pytest.raises(errors.InvalidOption, match="is no level of loguru"):
        fusynk_logging.enable(level)


def test_how_a_run_ends_decides_the_level_of_its_last_line(backend: Backend) -> None:
    @layer
    async def step() -> None: ...

    with lines() as records:
        simulate(compile_plan(step, verbose=True), backend=backend)

    assert [record["level"].name for record in records] == ["INFO"] * 4
    assert messages(records)[-1] == "Run of step succeeded after 0 s"


async def test_what_is_undone_and_torn_down_has_its_lines() -> None:
    graph = Graph("undone")

    def undo(artifact: int) -> None:
        if artifact == 2:
            raise LookupError

    @graph.layer(compensate=undo)
    async def done1() -> int:
        return 1

    @graph.layer(compensate=undo, depends_on=done1)
    async def done2() -> int:
        return 2

    @graph.layer
    async def resource() -> Any:
        yield
        raise OSError

    @graph.layer(depends_on=[done2, resource])
    async def fails() -> None:
        raise UnicodeError

    with lines() as records, pytest.raises(UnicodeError):
        await compile_plan(graph, verbose=True).run()

    assert messages(records)[-4:-1] == [
        "done2: could not be undone: LookupError",
        "done1: undone",
        "resource: teardown failed with OSError",
    ]


@pytest.mark.parametrize("catch", [True, False])
def test_p16_a_sink_that_raises_changes_nothing_of_a_run(
    backend: Backend, catch: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_message: object) -> None:
        raise OSError

    sink = logger.add(broken, catch=catch)
    try:
        run = simulate(plan_of_all_sorts(verbose=True), backend=backend).run
    finally:
        logger.remove(sink)

    assert {name: type(outcome).__name__ for name, outcome in run.outcomes.items()} == {
        "flaky": "Succeeded",
        "item": "Succeeded",
        "fails": "Failed",
        "skipped": "Skipped",
    }
    assert run.subscriber_failures == {}
    assert len(run.attempts()) == 5
    assert ("OSError" in capsys.readouterr().err) == catch


# What lines of bodies carry


async def test_lines_of_every_kind_of_body_carry_run_and_layer() -> None:
    graph = Graph("bodies")

    @graph.layer
    async def at_once() -> None:
        logger.info("at_once")

    @graph.layer
    async def suspended() -> None:
        await anyio.sleep(0.001)
        logger.info("suspended")

    @graph.layer
    async def parent() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(child)

    async def child() -> None:
        await anyio.sleep(0.001)
        logger.info("parent")

    @graph.layer
    def threaded() -> None:
        logger.info("threaded")

    @graph.layer
    async def numbers() -> list[int]:
        return [1]

    @graph.layer.each
    async def item(number: int = each(numbers)) -> None:
        logger.info("item[0]")

    def recover(_error: Exception) -> None:
        logger.info("fails")

    @graph.layer(on_error=recover)
    async def fails() -> None:
        raise ValueError

    with lines() as records:
        run = await compile_plan(graph).run()
        logger.info("outside")

    *inside, outside = records
    assert sorted(messages(inside)) == ["at_once", "fails", "item[0]", "parent", "suspended", "threaded"]
    assert [(record["extra"]["run_id"], record["extra"]["layer"]) for record in inside] == [
        (run.id, message) for message in messages(inside)
    ]
    assert outside["extra"] == {}


async def test_what_the_user_bound_or_contextualized_stays() -> None:
    @layer
    async def step() -> None:
        logger.bind(layer="mine").info("bound")
        with logger.contextualize(inside=True):
            logger.info("contextualized")

    with lines() as records, logger.contextualize(tenant="acme"):
        run = await compile_plan(step).run()
        logger.info("outside")

    assert [record["extra"] for record in records] == [
        {"tenant": "acme", "run_id": run.id, "layer": "mine"},
        {"tenant": "acme", "run_id": run.id, "layer": "step", "inside": True},
        {"tenant": "acme"},
    ]


async def test_lines_inside_a_nested_run_carry_the_inner_one() -> None:
    @layer
    async def inner() -> None:
        logger.info("inner")

    @layer
    async def outer() -> None:
        await compile_plan(inner, run_id="inside").run()
        logger.info("outer")

    with lines() as records:
        await compile_plan(outer, run_id="outside").run()

    assert [record["extra"] for record in records] == [
        {"run_id": "inside", "layer": "inner"},
        {"run_id": "outside", "layer": "outer"},
    ]


async def test_a_plan_can_leave_the_lines_of_its_bodies_alone() -> None:
    @layer
    async def step() -> None:
        logger.info("here")

    with lines() as records:
        await compile_plan(step, log_context=False).run()

    assert [record["extra"] for record in records] == [{}]


async def test_a_formatted_and_a_serialized_line_show_what_it_carries() -> None:
    @layer
    async def step() -> None:
        logger.info("here")

    texts: list[str] = []
    sinks = [
        logger.add(texts.append, format="{extra[run_id]} {extra[layer]} {message}"),
        logger.add(texts.append, serialize=True),
    ]
    try:
        await compile_plan(step, run_id="r").run()
    finally:
        for sink in sinks:
            logger.remove(sink)

    assert texts[0] == "r step here\n"
    assert '"extra": {"run_id": "r", "layer": "step"}' in texts[1]


# The standard library


@pytest.fixture
def bridge() -> Generator[int]:
    number = fusynk_logging.to_stdlib()
    yield number
    logger.remove(number)


@pytest.mark.usefixtures("bridge")
def test_the_standard_library_gets_the_lines_with_their_values(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(stdlib.INFO, logger="fusynk"):
        simulate(plan_of_all_sorts(), backend=backend)

    assert caplog.messages == EVERYTHING
    first: Any = caplog.records[1]
    assert (first.name, first.levelname, first.run_id, first.layer, first.attempt) == (
        "fusynk.logging",
        "INFO",
        "simulation",
        "flaky",
        1,
    )


@pytest.mark.usefixtures("bridge")
def test_the_standard_library_s_own_levels_hold(backend: Backend, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(stdlib.ERROR, logger="fusynk"):
        simulate(plan_of_all_sorts(), backend=backend)

    assert {record.levelname for record in caplog.records} == {"ERROR"}


@pytest.mark.usefixtures("bridge")
def test_lines_of_bodies_do_not_cross_the_bridge(caplog: pytest.LogCaptureFixture, backend: Backend) -> None:
    @layer
    async def step() -> None:
        logger.info("mine")

    with caplog.at_level(stdlib.INFO):
        simulate(compile_plan(step), backend=backend)

    assert "mine" not in caplog.messages


@pytest.mark.usefixtures("bridge")
def test_a_value_called_like_a_field_of_the_record_leaves_that_field(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    @layer
    async def step() -> None: ...

    with caplog.at_level(stdlib.INFO, logger="fusynk"), logger.contextualize(args="mine", name="mine"):
        simulate(compile_plan(step), backend=backend)

    assert {(record.name, record.args) for record in caplog.records} == {("fusynk.logging", ())}


@pytest.mark.usefixtures("bridge")
def test_a_bridge_the_other_way_does_not_make_a_circle(backend: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    class Intercept(stdlib.Handler):
        """The recipe by which applications send the standard library's records to loguru."""

        def emit(self, record: stdlib.LogRecord) -> None:
            def rename(one: Any) -> None:
                one["name"] = record.name

            logger.patch(rename).log(record.levelname, record.getMessage())

    handler, target = Intercept(), stdlib.getLogger("fusynk")
    target.addHandler(handler)
    target.setLevel(stdlib.INFO)
    try:
        with lines() as records:
            simulate(plan_of_all_sorts(), backend=backend)
    finally:
        target.removeHandler(handler)
        target.setLevel(stdlib.NOTSET)

    assert sorted(messages(records)) == sorted(EVERYTHING * 2)
    assert capsys.readouterr().err.count("Logging error") == 0


# The host


def test_importing_and_running_adds_no_sink_and_prints_nothing() -> None:
    source = """
import loguru
before = dict(loguru.logger._core.handlers)
import fusynk.logging
from fusynk import compile_plan, layer

@layer
async def step() -> None: ...

compile_plan(step).run_sync()
assert loguru.logger._core.handlers == before
"""
    ended = python(source, flags=("-W", "error"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_verbose_run_shows_on_loguru_s_own_sink() -> None:
    source = """
from fusynk import compile_plan, layer

@layer
async def step() -> None: ...

compile_plan(step).options(verbose=True).run_sync()
"""
    ended = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT
    )
    assert [line.rpartition(" - ")[2] for line in ended.stderr.splitlines()][:3] == [
        "Run of step started, steps: 1",
        "step: attempt 1 started",
        "step: succeeded",
    ]
