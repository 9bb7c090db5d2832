"""S9: no argument, result or exception text is in any span, metric, log event or line, unless a plan asks for it."""

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from loguru import logger

from fusynk import Graph, Plan, compile_plan, each, errors, layer, milestone, telemetry, use, when
from fusynk import logging as fusynk_logging
from fusynk.telemetry import Captured
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend
from tests.observing import program
from tests.recorded import assert_whole, attributes_of, span_named

SECRET = "hunter2-canary"  # noqa: S105 (planted, to be looked for)
NAME = "Ada L., canary"


class Careless:
    """A value whose text is the secret, however it is asked for."""

    def __repr__(self) -> str:
        return SECRET

    __str__ = __repr__


class CarelessError(Exception):
    """An error whose text is the secret."""

    def __init__(self) -> None:
        super().__init__(SECRET, Careless())
        self.add_note(SECRET)


@dataclass(frozen=True)
class Login:
    """An input class that shows everything."""

    name: str
    password: str


def plan_of_secrets(**options: Any) -> Plan[Login, Any]:  # noqa: C901 (many small functions)
    """A plan that handles a secret in every way, and ends badly."""
    graph = Graph("secrets")

    @graph.layer(retries=1, on_error="continue")
    async def fails(password: str) -> str:
        local = password  # for those who print the variables of a frame
        await anyio.sleep(1)
        raise CarelessError from ValueError(local)

    @graph.layer
    async def logs_in(name: str, password: str) -> list[str]:
        milestone("logged in", attempts=1, token=Careless())
        return [password, name]

    @graph.layer.each(on_error="continue", retries=1)
    async def item(word: str = each(logs_in)) -> Any:
        if word == SECRET:
            raise CarelessError
        return Careless()

    def refuse(_value: object) -> bool:
        raise CarelessError

    @graph.layer(on_error="continue", depends_on=when(logs_in, refuse))
    async def judged() -> None: ...

    def undo(_artifact: object) -> None:
        raise CarelessError

    @graph.layer(compensate=undo)
    async def undone() -> str:
        return SECRET

    @graph.layer
    async def resource() -> Any:
        yield SECRET
        raise CarelessError

    @graph.layer(timeout=1, on_error="continue")
    async def slow(password: str) -> None:
        try:
            await anyio.sleep(100)
        finally:
            raise CarelessError

    @graph.layer(run_in="inline", on_error="continue")
    def inline(password: str) -> None:
        raise CarelessError

    @graph.layer(depends_on=[fails, judged, slow, inline, item])
    async def last(open_resource: str = use(resource), before: str = use(undone)) -> None:
        raise CarelessError

    def raises(_event: object) -> None:
        raise CarelessError

    return compile_plan(graph, inputs=Login, subscribers=[raises], **options)


@pytest.fixture
def heard(tmp_path: Path) -> Generator[Callable[[], str]]:
    """Everything that loguru's sinks get, with the settings that tell most, and that `logging` gets."""
    file, records = tmp_path / "everything.log", list[str]()
    sinks = [
        logger.add(file, level=0, backtrace=True, diagnose=True),
        logger.add(file.with_suffix(".json"), level=0, serialize=True),
        logger.add(lambda message: records.append(repr(message.record)), level=0),
        fusynk_logging.to_stdlib(),
    ]
    yield lambda: "\n".join([*records, file.read_text(), file.with_suffix(".json").read_text()])
    for sink in sinks:
        logger.remove(sink)
    fusynk_logging.disable()


def test_s9_nothing_secret_is_recorded_or_written_while_everything_is(
    backend: Backend, heard: Callable[[], str], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with telemetry.capture() as recording, caplog.at_level(0):
        trace_of_run = simulate(plan_of_secrets(verbose=True), Login(NAME, SECRET), backend=backend)

    assert isinstance(trace_of_run.error, CarelessError)
    assert_whole(recording)
    told = "\n".join(
        [
            *(span.to_json() for span in recording.spans),
            *map(repr, recording.figures),
            *map(repr, recording.log_events),
            heard(),
            *(repr(vars(record)) for record in caplog.records),
            *capsys.readouterr(),
        ]
    )
    assert "logged in" in told
    assert "CarelessError" in told
    assert SECRET not in told
    assert NAME not in told


def test_s9_nothing_secret_is_written_by_the_sink_that_loguru_has_by_itself() -> None:
    document = program("secrets")

    assert document["lines"] > 20
    assert document["found"] == []


# What a plan may ask for


@layer
async def divide(number: int, by: int) -> float:
    await anyio.lowlevel.checkpoint()
    return number / by


def captured(plan: Plan[Any, Any], backend: Backend, **inputs: Any) -> dict[str, Any]:
    """What the span of the plan's one layer says beyond what each does."""
    with telemetry.capture() as recording:
        simulate(plan, inputs, backend=backend)
    assert_whole(recording)
    [span] = [span for span in recording.spans if span.name.startswith("layer ")]
    return _values(attributes_of(span))


def _values(attributes: dict[str, Any]) -> dict[str, Any]:
    wanted = ("fusynk.layer.argument.", "fusynk.layer.result", "exception.")
    return {name: value for name, value in attributes.items() if name.startswith(wanted)}


def test_s9_capture_names_what_spans_may_show(backend: Backend) -> None:
    plan = compile_plan(divide)
    arguments = {"fusynk.layer.argument.number": "6", "fusynk.layer.argument.by": "3"}

    assert captured(plan, backend, number=6, by=3) == {}
    assert captured(plan.options(capture={"arguments"}), backend, number=6, by=3) == arguments
    assert captured(plan.options(capture=["results"]), backend, number=6, by=3) == {"fusynk.layer.result": "2.0"}
    everything = plan.options(capture=("arguments", "results", "errors"))
    assert captured(everything, backend, number=6, by=3) == {**arguments, "fusynk.layer.result": "2.0"}
    failed = captured(everything, backend, number=6, by=0)
    assert failed["exception.message"] == "division by zero"
    assert "fusynk.layer.result" not in failed


def test_s9_the_error_of_a_plain_function_is_shown(backend: Backend) -> None:
    @layer(run_in="inline")
    def fails() -> None:
        raise LookupError("not there")

    shown = captured(compile_plan(fails, capture={"errors", "results"}), backend)

    assert shown == {"exception.message": "not there"}


def test_s9_a_function_decides_what_may_be_shown_of_each_value(backend: Backend) -> None:
    offered: list[Captured] = []

    def redact(subject: Captured) -> object:
        offered.append(subject)
        if subject.kind == "errors":
            return None
        return "***" if subject.name == "by" else subject.value

    shown = captured(compile_plan(divide, capture=redact), backend, number=6, by=3)

    assert shown == {
        "fusynk.layer.argument.number": "6",
        "fusynk.layer.argument.by": "***",
        "fusynk.layer.result": "2.0",
    }
    assert offered == [
        Captured(layer="divide", kind="arguments", name="number", value=6),
        Captured(layer="divide", kind="arguments", name="by", value=3),
        Captured(layer="divide", kind="results", name="", value=2.0),
    ]


def test_s9_a_redaction_that_raises_shows_nothing_and_fails_nothing(backend: Backend) -> None:
    def redact(_subject: Captured) -> object:
        raise CarelessError

    shown = captured(compile_plan(divide, capture=redact), backend, number=6, by=3)

    assert set(shown.values()) == {"<not shown: CarelessError>"}


def test_s9_no_value_takes_more_than_a_kilobyte(backend: Backend) -> None:
    @layer
    async def much(text: str, numbers: object) -> object:
        return [text] * 100

    plan = compile_plan(much, capture={"arguments", "results"})
    shown = captured(plan, backend, text="ä" * 10_000, numbers=range(10**9))

    assert all(0 < len(value.encode()) <= 1024 for value in shown.values())
    assert shown["fusynk.layer.argument.text"].endswith("ä...")


@pytest.mark.parametrize("broken", ["__repr__", "__str__"])
def test_s9_a_value_that_cannot_be_printed_fails_nothing(backend: Backend, broken: str) -> None:
    def fail(_self: object) -> str:
        raise CarelessError

    unprintable = type("Unprintable", (Exception,), {broken: fail})()

    @layer
    async def returns() -> object:
        return unprintable

    shown = captured(compile_plan(returns, capture={"results"}), backend)

    assert SECRET not in shown["fusynk.layer.result"]


async def test_s9_every_kind_of_body_shows_its_values_on_its_own_span() -> None:
    graph = Graph("kinds")

    @graph.layer(retries=1)
    async def retried(number: int) -> int:
        return number + 1

    @graph.layer
    def threaded(number: int, *, more: int = 0) -> int:
        assert threading.current_thread() is not threading.main_thread()
        return number + 2

    @graph.layer(run_in="inline")
    def inline(number: int) -> int:
        return number + 3

    async def later(number: int) -> int:
        return number + 4

    @graph.layer
    def awaited(number: int) -> Any:
        return later(number)

    @graph.layer
    async def resource(number: int) -> Any:
        yield number + 5

    graph.add_layer(divide_in_a_subprocess, name="apart", run_in="subprocess")

    with telemetry.capture() as recording:
        run = await compile_plan(graph, capture={"arguments", "results"}).run(number=1)

    assert run.ok
    shown = {span.name: _values(attributes_of(span)) for span in recording.spans}
    number = {"fusynk.layer.argument.number": "1"}
    assert shown["attempt 1"] == {**number, "fusynk.layer.result": "2"}
    assert shown["layer retried"] == {}
    assert shown["layer threaded"] == {**number, "fusynk.layer.argument.more": "0", "fusynk.layer.result": "3"}
    assert shown["layer inline"] == {**number, "fusynk.layer.result": "4"}
    assert shown["layer awaited"] == {**number, "fusynk.layer.result": "5"}
    assert shown["layer resource"] == number
    assert shown["layer apart"] == {}


def divide_in_a_subprocess(number: int) -> float:
    return number / 2


async def test_s9_without_a_tracer_nothing_is_captured() -> None:
    def redact(_subject: Captured) -> object:
        raise AssertionError

    run = await compile_plan(divide, capture=redact).run(number=6, by=3)

    assert run.result == 2


@pytest.mark.parametrize("capture", ["arguments", {"everything"}, 3, lambda: None])
def test_s9_what_capture_cannot_be_is_refused(capture: Any) -> None:
    with pytest.raises(errors.InvalidOption, match="capture must be some of"):
        compile_plan(divide, capture=capture)


def test_s9_a_body_that_is_shown_behaves_as_it_would(backend: Backend) -> None:
    plan = compile_plan(divide)
    plain = simulate(plan, {"number": 1, "by": 0}, backend=backend)
    with telemetry.capture() as recording:
        shown = simulate(plan.options(capture={"errors"}), {"number": 1, "by": 0}, backend=backend)

    assert type(shown.error) is type(plain.error)
    assert getattr(shown.error, "__notes__", None) == getattr(plain.error, "__notes__", None)
    assert attributes_of(span_named(recording, "layer divide"))["error.type"] == "ZeroDivisionError"
