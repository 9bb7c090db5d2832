"""What leaves a run when a step fails: the step's own exception, with notes, whatever kind of object it is."""

import gc
import inspect
import traceback
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import anyio
import anyio.lowlevel
import pytest

import fusynk
from fusynk import Failed, Graph, Run, compile_plan, each, run_of, use
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend

PACKAGE = str(Path(fusynk.__file__).parent)


class Declined(Exception):
    """An ordinary exception."""


def raising(error: BaseException, **options: Any) -> Graph:
    """A graph of one step named `pay` that raises."""
    graph = Graph("raising")

    @graph.layer(**options)
    async def pay() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    return graph


async def raised_by(graph: Graph, **options: Any) -> BaseException:
    """What leaves a run of this graph."""
    try:
        await compile_plan(graph, **options).run()
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is looked at)
        return error
    pytest.fail("nothing was raised")


def run_behind(error: BaseException) -> Run[Any]:
    run = run_of(error)
    assert run is not None
    return run


# Notes


async def test_notes_say_which_layer_where_which_attempt_and_which_run() -> None:
    graph = Graph("notes")

    @graph.layer(retries=2)
    async def pay() -> None:
        raise Declined("no stock")

    error = await raised_by(graph, run_id="order-42")

    line = inspect.getsourcelines(pay.__wrapped__)[1]
    assert error.__notes__ == [f"in layer 'pay' (test_errors.py:{line}), attempt 3 of 3, run order-42"]


async def test_notes_tell_how_many_attempts_there_were_of_how_many() -> None:
    graph, calls = Graph("attempts"), list[int]()

    @graph.layer(retries=4, retry_on=ConnectionError)
    async def pay() -> None:
        calls.append(1)
        raise ConnectionError if len(calls) == 1 else Declined

    error = await raised_by(graph)

    assert "attempt 2 of 5" in error.__notes__[0]


async def test_notes_tell_the_path_that_led_to_the_step() -> None:
    graph = Graph("path")

    @graph.layer
    async def check() -> int:
        return 1

    @graph.layer
    async def reserve(stock: int = use(check)) -> int:
        return stock

    @graph.layer
    async def pay(reservation: int = use(reserve)) -> None:
        raise Declined

    error = await raised_by(graph)

    assert error.__notes__[1:] == ["path: check -> reserve -> pay"]


async def test_a_long_path_is_shortened_in_the_middle() -> None:
    graph = Graph("long path")

    async def step() -> None: ...

    async def fail() -> None:
        raise Declined

    for number in range(200):
        graph.add_layer(fail if number == 199 else step, name=f"s{number}", depends_on=[f"s{number - 1}"][:number])

    error = await raised_by(graph)

    assert error.__notes__[1].startswith("path: s0 -> s1 -> ")
    assert error.__notes__[1].endswith(" -> s198 -> s199")
    assert " -> ... -> " in error.__notes__[1]
    assert len(error.__notes__[1]) < 200


def test_notes_name_what_else_failed(backend: Backend) -> None:
    graph = Graph("others")

    async def fail() -> None:
        raise KeyError

    @graph.layer(priority=-1)
    async def pay() -> None:
        raise Declined

    for number in range(25):
        graph.add_layer(fail, name=f"s{number}", on_error="continue")

    error = simulate(compile_plan(graph, concurrency=1), backend=backend).error

    assert error is not None
    (others,) = [note for note in error.__notes__ if note.startswith("also failed")]
    assert "'s0' (KeyError)" in others
    assert others.endswith("and 15 more")


async def test_notes_name_the_item() -> None:
    graph = Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each(retries=1)
    async def fetch(number: int = each(numbers)) -> int:
        if number == 2:
            raise Declined
        return number

    error = await raised_by(graph)

    assert error.__notes__[0].startswith("in layer 'fetch[1]' (test_errors.py:")
    assert "attempt 2 of 2" in error.__notes__[0]
    assert "path: numbers -> fetch" in error.__notes__[1]


async def test_notes_do_not_show_values() -> None:
    graph = Graph("secret")

    @graph.layer
    async def token(password: str) -> str:
        return f"token of {password}"

    @graph.layer(retries=1)
    async def pay(password: str, key: str = use(token)) -> None:
        raise Declined

    with pytest.raises(Declined) as caught:
        await compile_plan(pay).run(password="hunter2")  # noqa: S106 (it is no secret)

    shown = [*caught.value.__notes__, repr(run_behind(caught.value)), str(run_behind(caught.value).report)]
    assert not [text for text in shown if "hunter2" in text]


async def test_the_user_s_own_notes_stay() -> None:
    error = Declined()
    error.add_note("a note of my own")

    await raised_by(raising(error))

    assert error.__notes__[0] == "a note of my own"
    assert len(error.__notes__) == 2


# One exception object, many runs


async def test_notes_and_run_are_replaced_when_one_object_is_raised_by_many_runs() -> None:
    error = Declined()
    error.add_note("a note of my own")
    graph = raising(error)

    for number in range(50):
        assert (await raised_by(graph, run_id=f"run-{number}")) is error
        assert run_behind(error).id == f"run-{number}"

    assert error.__notes__[0] == "a note of my own"
    assert len(error.__notes__) == 2
    assert error.__notes__[1].endswith("run run-49")


async def test_many_runs_at_once_may_raise_one_object() -> None:
    error, caught = Declined(), list[BaseException]()
    graph = raising(error)

    async def run() -> None:
        caught.append(await raised_by(graph))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(run)

    assert {id(one) for one in caught} == {id(error)}
    assert len(error.__notes__) == 1


def test_a_stand_in_s_error_is_copied_for_every_attempt(backend: Backend) -> None:
    graph, error = Graph("stand-in"), Declined("no stock")

    @graph.layer(retries=2)
    async def pay() -> None: ...

    trace = simulate(compile_plan(pay).override(pay.raises(error)), backend=backend)

    raised = [record.error for record in trace.run.attempts(pay)]
    assert [type(one) for one in raised] == [Declined] * 3
    assert len({id(one) for one in [*raised, error]}) == 4
    assert trace.error is not None
    assert trace.error is raised[-1]
    assert trace.error.args == ("no stock",)
    assert (getattr(error, "__notes__", []), error.__traceback__, run_of(error)) == ([], None, None)


# Tracebacks


@pytest.mark.parametrize("form", ["async", "sync", "inline"])
async def test_the_traceback_leads_to_the_line_that_raised_without_the_engine_s_own(form: Any) -> None:
    graph = Graph("traceback")

    def decline() -> NoReturn:
        raise Declined

    async def pay() -> None:
        await anyio.lowlevel.checkpoint()
        decline()

    def pay_plainly() -> None:
        decline()

    if form == "async":
        graph.add_layer(pay, name="pay")
    else:
        graph.add_layer(pay_plainly, name="pay", run_in="inline" if form == "inline" else "thread")

    error = await raised_by(graph)

    frames = traceback.extract_tb(error.__traceback__)
    assert frames[0].name == "raised_by"
    assert [frame.name for frame in frames[-2:]] == ["pay" if form == "async" else "pay_plainly", "decline"]
    own = [frame.name for frame in frames if frame.filename.startswith(PACKAGE)]
    assert len(own) <= 4, own
    assert error.__suppress_context__ or error.__context__ is None


# Exceptions that are no ordinary objects


@dataclass(frozen=True)
class Frozen(Exception):
    """Refuses every attribute."""

    code: int


class Sealed(Exception):
    """Refuses every attribute, too, and its notes."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def add_note(self, note: str, /) -> None:
        raise TypeError(note)


class Slotted(Exception):
    """Declares slots."""

    __slots__ = ("code",)


class Hidden(Exception):
    """Does not show its dictionary."""

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override] # pyright: ignore[reportIncompatibleVariableOverride]
        raise AttributeError("__dict__")


class Unprintable(Exception):
    """Neither its text nor its representation can be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no representation")


class Incomparable(Exception):
    """Cannot be compared, hashed, or asked for its truth."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __len__(self) -> int:
        raise RuntimeError("no length")


class Uncopyable(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def with_notes(notes: Any) -> Declined:
    """An exception whose notes are no list."""
    error = Declined()
    vars(error)["__notes__"] = notes
    return error


def odd_errors() -> list[Any]:
    return [
        pytest.param(Frozen(7), id="frozen"),
        pytest.param(Sealed(), id="sealed"),
        pytest.param(Slotted(), id="slotted"),
        pytest.param(Hidden(), id="hidden"),
        pytest.param(Unprintable(), id="unprintable"),
        pytest.param(Incomparable(), id="incomparable"),
        pytest.param(Uncopyable("a", "b"), id="uncopyable"),
        pytest.param(with_notes(None), id="notes are None"),
        pytest.param(with_notes("text"), id="notes are a text"),
        pytest.param(with_notes(7), id="notes are a number"),
        pytest.param(ExceptionGroup("group", [Declined()]), id="group"),
    ]


@pytest.mark.parametrize("error", odd_errors())
@pytest.mark.parametrize("on_error", ["abort", "continue"])
async def test_an_odd_exception_takes_the_same_path_as_any_other(error: Any, on_error: Any) -> None:
    graph = raising(error, retries=1, on_error=on_error)

    @graph.layer(depends_on="pay", on_error="continue")
    async def after() -> str:
        return "went on"

    if on_error == "abort":
        for _ in range(2):
            assert (await raised_by(graph)) is error
        assert run_of(error) is None or run_behind(error).failures["pay"] is error
        return
    run = await compile_plan(graph).run()
    assert run["after"] == "went on"
    assert run.failures["pay"] is error
    assert [record.error is error for record in run.attempts("pay")] == [True, True]
    assert "Performance" in str(run.report)
    assert "failed" in repr(run)


@pytest.mark.parametrize("error", odd_errors())
async def test_asking_for_the_artifact_of_an_odd_failure_names_it_as_the_cause(error: Any) -> None:
    run = await compile_plan(raising(error, on_error="continue")).run()

    with pytest.raises(LookupError) as caught:
        assert run["pay"]
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [Frozen(7), Sealed(), Slotted()])
async def test_frozen_exceptions_are_linked_to_their_run_all_the_same(error: Exception) -> None:
    await raised_by(raising(error))

    assert run_behind(error).outcome("pay") == Failed(error)
    assert "in layer 'pay'" in "".join(traceback.format_exception(error))


# Links


def test_an_error_of_no_run_has_none() -> None:
    assert run_of(ValueError()) is None
    assert run_of(Hidden()) is None


async def test_an_error_that_was_tolerated_is_left_alone() -> None:
    error = Declined()

    run = await compile_plan(raising(error, on_error="continue")).run()

    assert run.failures["pay"] is error
    assert getattr(error, "__notes__", []) == []


async def test_an_error_that_passes_through_a_nested_run_keeps_its_identity() -> None:
    error = Declined()
    inner, outer = compile_plan(raising(error), run_id="inner"), Graph("outer")

    @outer.layer
    async def nest() -> None:
        await inner.run()

    assert (await raised_by(outer, run_id="outer")) is error
    assert run_behind(error).id == "outer"
    assert "in layer 'nest'" in "\n".join(error.__notes__)


async def test_a_run_is_freed_with_its_error() -> None:
    error = await raised_by(raising(Declined()))
    run = weakref.ref(run_behind(error))

    del error
    gc.collect()

    assert run() is None
