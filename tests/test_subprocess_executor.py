"""The executor behind `run_in="subprocess"`: what it sends, what comes back, and that nothing stays behind."""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import context as otel_context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from fusynk._core.current import RUN, STEP
from fusynk.errors import AwaitableReturned, GeneratorReturned, RemoteError, RemoteTraceback, Unsendable, WorkerDied
from fusynk.executors.messages import SentStep
from tests.programs import crunching
from tests.subprocessing import BACKENDS, PROCESSES, call_in_subprocess, children, is_there, pid_in

pytestmark = pytest.mark.skipif(not PROCESSES.exists(), reason="looks at processes as Linux shows them")
Call = Callable[..., Any]


@pytest.fixture(scope="module", params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Also uvloop; one event loop for all tests, so that its subprocesses serve many of them."""
    return BACKENDS[request.param]


@pytest.fixture(scope="module")
async def call(anyio_backend: Any) -> Call:
    return call_in_subprocess


@contextmanager
def in_step(step: SentStep | None) -> Generator[None]:
    """Be in the body of a step, as the executor sees it."""
    tokens = RUN.set(step), STEP.set(None if step is None else 3)
    try:
        yield
    finally:
        RUN.reset(tokens[0])
        STEP.reset(tokens[1])


def inside(unit: Any, *, depth: int = 1) -> Any:
    """Return what a decorated function wraps."""
    for _ in range(depth):
        unit = unit.__wrapped__
    return unit


wait_for_end = os.waitid  # by another name, since it stops the event loop, which is wanted
LOCK: Any = threading.Lock()


# What is called


SENT: dict[str, tuple[Any, list[Any], Any]] = {
    "a plain function": (crunching.add, [1, 2], 3),
    "a unit": (crunching.double, [4], 8),
    "the function under a unit": (inside(crunching.double), [4], 8),
    "a function under two decorators": (inside(crunching.double_logged), [4], 1008),
    "the innermost of them": (inside(crunching.double_logged, depth=2), [4], 8),
    "a cached function under a unit": (inside(crunching.double_cached), [4], 8),
    "a method": (crunching.Scale(3).plainly, [4], 12),
    "a unit seen through an instance": (crunching.Scale(3).scaled, [4], 12),
    "the method under such a unit": (inside(crunching.Scale(3).scaled), [4], 12),
    "an inherited method": (inside(crunching.Larger(3).scaled), [4], 12),
    "a method that hides another": (crunching.Larger(3).plainly, [4], 13),
    "the method that it hides": (super(crunching.Larger, crunching.Larger(3)).plainly, [4], 12),
    "the function of a method": (inside(crunching.Scale.scaled), [crunching.Scale(5), 4], 20),
    "a static method": (crunching.Scale.negated, [4], -4),
    "the function of a static method": (inside(crunching.Scale.negated, depth=2), [4], -4),
    "a class method": (crunching.Scale.of_class, [4], "Scale 4"),
    "an inherited class method": (inside(crunching.Larger.of_class), [4], "Larger 4"),
    "a callable object": (crunching.Scale(7), [4], 28),
    "a partial": (crunching.five_more, [4], 9),
    "a partial of a unit": (partial(inside(crunching.double)), [4], 8),
    "a partial of a method": (partial(inside(crunching.Scale(3).scaled), 4), [], 12),
    "another name of a function": (crunching.shadowed, [1], 1),
    "a class": (crunching.Scale, [1, 2], None),
    "a function in C": (len, [[1, 2]], 2),
    "a method in C": ("a,b".split, [","], ["a", "b"]),
}


@pytest.mark.parametrize("kind", SENT)
async def test_is_called_in_a_subprocess(kind: str, call: Call) -> None:
    function, arguments, expected = SENT[kind]

    returned = await call(function, *arguments)

    assert returned == expected or isinstance(returned, crunching.Scale), kind


async def test_another_process_does_the_work(call: Call) -> None:
    assert await call(crunching.pid) != os.getpid()


async def test_it_is_called_in_a_main_thread_that_finds_the_same_modules(call: Call) -> None:
    assert await call(crunching.interpreter) == (True, False, sys.path)


async def test_large_arguments_and_results_arrive_whole(call: Call) -> None:
    content = os.urandom(5_000_000)

    assert await call(crunching.same, content) == content


def held_lock() -> Any:
    return crunching.Scale(1, threading.Lock()).scaled


def local_function() -> Any:
    def local() -> None: ...

    return local


NOT_SENT: dict[str, tuple[Any, list[Any], str]] = {
    "a lambda": (lambda: 1, [], "'<lambda>' is a lambda, which has no name that a subprocess could import"),
    "a local function": (local_function(), [], "'local_function.<locals>.local' is declared inside local_function()"),
    "a hidden function": (crunching.hidden, [], "cannot be imported as tests.programs.crunching.add_other"),
    "a method of an object with a lock": (held_lock(), [1], "'Scale.scaled' cannot be sent to a subprocess: cannot"),
    "a partial with a lock": (partial(crunching.add, LOCK), [1], "cannot pickle '_thread.lock' object"),
    "a lock": (
        crunching.add,
        [1, LOCK],
        "Argument 2 of 'add', 'second', is a _thread.lock, which cannot be sent to a subprocess",
    ),
    "a lock for a method": (crunching.Scale(1).scaled, [LOCK], "Argument 1 of 'Scale.scaled', 'number', is"),
    "a lambda as argument": (crunching.same, [{"key": lambda: 1}], "Argument 1 of 'same', 'value', is a dict, which"),
}


@pytest.mark.parametrize("kind", NOT_SENT)
async def test_is_refused_by_name_before_anything_is_started(kind: str, call: Call) -> None:
    function, arguments, text = NOT_SENT[kind]
    before = children()

    with pytest.raises(Unsendable) as caught:
        await call(function, *arguments)

    assert text in str(caught.value)
    assert caught.value.subject == ("argument" if "Argument" in text else "function")
    assert children() == before


async def test_what_the_subprocess_cannot_read_is_told_with_its_traceback(call: Call) -> None:
    with pytest.raises(
        Unsendable, match="An argument of 'same' could not be read in its subprocess: OSError: the arg"
    ) as caught:
        await call(crunching.same, crunching.Bomb())

    assert caught.value.subject == "argument"
    assert "in fail\n" in str(caught.value.__cause__)


async def test_a_module_that_only_exists_here_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("made_up")
    exec("def made(): ...", module.__dict__)  # noqa: S102 - a module without a file
    monkeypatch.setitem(sys.modules, "made_up", module)

    with pytest.raises(
        Unsendable, match="'made' could not be read in its subprocess: ModuleNotFoundError: No module"
    ) as caught:
        await call(module.made)

    assert caught.value.subject == "function"


# What comes back


UNFIT: dict[str, tuple[type[Exception], str]] = {
    "lock": (Unsendable, "'give' returned a _thread.lock, which cannot be sent from a subprocess: cannot pickle"),
    "lambda": (Unsendable, "'give' returned a function, which cannot be sent from a subprocess: "),
    "generator": (GeneratorReturned, "'give' returned a generator, which runs nothing by itself; return a list"),
    "coroutine": (AwaitableReturned, "'give' returned a coroutine, which nothing awaits in a subprocess"),
    "unreadable": (Unsendable, "The result of 'give' arrived, but could not be read: ValueError: invalid literal"),
}


@pytest.mark.parametrize("kind", UNFIT)
async def test_is_refused_as_a_result(kind: str, call: Call) -> None:
    error, text = UNFIT[kind]
    before = await call(crunching.pid)

    with pytest.raises(error) as caught:
        await call(crunching.give, kind)

    assert text in str(caught.value)
    assert await call(crunching.pid) == before


RAISED: list[tuple[type[BaseException], tuple[Any, ...]]] = [
    (ValueError, ("bad",)),
    (KeyError, ("key",)),
    (UnicodeDecodeError, ("utf-8", b"x", 0, 1, "odd")),
    (OSError, (2, "gone")),
    (SystemExit, (3,)),
    (KeyboardInterrupt, ()),
    (BaseException, ("base",)),
]


@pytest.mark.parametrize(("kind", "arguments"), RAISED, ids=lambda value: getattr(value, "__name__", ""))
async def test_arrives_as_itself_and_leaves_the_subprocess_alive(
    kind: type[BaseException], arguments: tuple[Any, ...], call: Call
) -> None:
    before = await call(crunching.pid)

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - compared below
        await call(crunching.fail, kind, *arguments)

    error = caught.value
    assert (type(error), error.args) == (type(kind(*arguments)), kind(*arguments).args)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert await call(crunching.pid) == before


async def test_the_cause_of_an_error_shows_the_line_in_the_subprocess(call: Call) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        await call(crunching.fail, ValueError, "bad")

    text = str(caught.value.__cause__)
    assert "crunching.py" in text
    assert "raise kind(*arguments)\nValueError: bad" in text
    assert "fusynk/executors" not in text


async def test_notes_attributes_and_the_text_of_causes_survive(call: Call) -> None:
    with pytest.raises(ValueError, match="noted") as caught:
        await call(crunching.fail_with_notes)

    error: Any = caught.value
    assert (error.__notes__, error.code) == (["a note"], 7)
    assert "KeyError: 'behind it'" in str(error.__cause__)


async def test_groups_arrive_whole(call: Call) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await call(crunching.fail_in_group)

    assert [repr(error) for error in caught.value.exceptions] == ["ValueError(1)", "TypeError(2)"]


async def test_stop_iteration_arrives_as_from_any_coroutine(call: Call) -> None:
    with pytest.raises(RuntimeError) as caught:
        await call(crunching.fail, StopIteration, 1)

    assert isinstance(caught.value.__cause__, StopIteration)


STOOD_FOR: list[tuple[type[Exception], tuple[Any, ...], str]] = [
    (crunching.Odd, (7, "odd"), "7: odd"),
    (crunching.Held, ("held",), "held"),
    (crunching.Mute, (), "<tests.programs.crunching.Mute whose text cannot be made>"),
]


@pytest.mark.parametrize(("kind", "arguments", "text"), STOOD_FOR, ids=["unreadable", "unpicklable", "without a text"])
async def test_an_error_that_cannot_be_sent_is_stood_for(
    kind: type[Exception], arguments: tuple[Any, ...], text: str, call: Call
) -> None:
    name = f"tests.programs.crunching.{kind.__name__}"

    with pytest.raises(RemoteError) as caught:
        await call(crunching.fail, kind, *arguments)

    error = caught.value
    assert str(error) == f"'fail' raised {name}, which could not be sent from its subprocess: {text}"
    assert (error.type_name, error.text) == (name, text)
    assert "raise kind(*arguments)" in error.traceback
    assert error.traceback in str(error.__cause__)


@pytest.mark.parametrize(
    "error",
    [
        Unsendable("text", subject="argument"),
        WorkerDied("text", exit_code=3, signal=None),
        RemoteError("text", type_name="Odd", text="odd", traceback="line"),
        RemoteTraceback("line"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_errors_of_subprocesses_can_be_sent_on(error: Exception) -> None:
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here

    assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


# How subprocesses live and die


async def test_a_subprocess_serves_call_after_call(call: Call) -> None:
    assert len({await call(crunching.pid) for _ in range(5)}) == 1


async def test_calls_at_once_have_a_subprocess_each(call: Call, tmp_path: Path) -> None:
    pids: list[int] = []

    async def meet(own: str, other: str) -> None:
        pids.append(await call(crunching.meet, str(tmp_path / own), str(tmp_path / other)))

    async with anyio.create_task_group() as group:
        group.start_soon(meet, "a", "b")
        group.start_soon(meet, "b", "a")

    assert len(set(pids)) == 2
    assert await call(crunching.pid) in pids


@pytest.mark.parametrize("function", [crunching.linger, crunching.spin], ids=["sleeps", "computes"])
async def test_a_cancelled_call_is_killed_and_gone_at_once(call: Call, function: Any, tmp_path: Path) -> None:
    started, ended = tmp_path / "started", tmp_path / "ended"
    pid = 0

    async with anyio.create_task_group() as group:
        group.start_soon(call, function, str(started), str(ended))
        pid = await pid_in(started)
        group.cancel_scope.cancel()

    assert not is_there(pid)
    assert not ended.exists()
    assert await call(crunching.pid) != pid


async def test_a_call_in_a_cancelled_scope_costs_no_subprocess(call: Call) -> None:
    pid = await call(crunching.pid)

    with anyio.CancelScope() as scope:
        scope.cancel()
        await call(crunching.pid)

    assert scope.cancelled_caught
    assert await call(crunching.pid) == pid


async def test_a_large_result_that_is_cancelled_halfway_leaves_nothing(call: Call) -> None:
    before = await call(crunching.pid)
    content = bytes(50_000_000)

    with anyio.move_on_after(0.03):
        await call(crunching.same, content)

    after = await call(crunching.pid)
    assert after == before or not is_there(before)


async def test_an_exit_is_told_with_its_code(call: Call) -> None:
    with pytest.raises(WorkerDied, match="which ran 'die', ended with exit code 7; raise an error instead") as caught:
        await call(crunching.die, 7)

    assert (caught.value.exit_code, caught.value.signal) == (7, None)
    assert await call(crunching.add, 1, 2) == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_a_death_by_signal_is_told_with_its_name(call: Call, number: signal.Signals) -> None:
    with pytest.raises(WorkerDied) as caught:
        await call(crunching.die_by, number.value)

    assert f"which ran 'die_by', was killed by signal {number.value} ({number.name})" in str(caught.value)
    assert ("out of memory" in str(caught.value)) == (number == signal.SIGKILL)
    assert (caught.value.exit_code, caught.value.signal) == (None, number)
    assert await call(crunching.add, 1, 2) == 3


async def test_a_death_is_heard_of_while_a_fork_lives(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "fork"

    with pytest.raises(WorkerDied):
        await call(crunching.die_while_fork_lives, str(path))

    fork = await pid_in(path)
    assert is_there(fork)
    os.kill(fork, signal.SIGKILL)


async def test_a_subprocess_that_hangs_up_is_killed_and_told(call: Call) -> None:
    with pytest.raises(WorkerDied, match="closed its pipe and was killed") as caught:
        await call(crunching.close_all)

    assert (caught.value.exit_code, caught.value.signal) == (None, None)
    assert await call(crunching.add, 1, 2) == 3


async def test_a_subprocess_that_died_while_idle_is_replaced(call: Call) -> None:
    pid = await call(crunching.pid)

    os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # a thread of asyncio was faster
        wait_for_end(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert await call(crunching.pid) != pid


# What the function sees


async def test_the_running_step_is_known_in_the_subprocess(call: Call) -> None:
    with in_step(SentStep(run_id="run-1", name="crunch[3]", attempt=2, depth=1)):
        assert await call(crunching.about_step) == ("run-1", "crunch[3]", 2, "run-1/crunch[3]", False)

    with in_step(SentStep(run_id="run-2", name="other", attempt=1, depth=1)):
        assert (await call(crunching.about_step))[1] == "other"


async def test_no_step_is_running_where_none_is(call: Call) -> None:
    with in_step(SentStep(run_id="run-1", name="crunch", attempt=1, depth=1)):
        assert await call(crunching.has_step)
    with in_step(None):
        assert not await call(crunching.has_step)


async def test_a_function_may_run_a_plan(call: Call) -> None:
    with in_step(SentStep(run_id="run-1", name="crunch", attempt=1, depth=1)):
        assert await call(crunching.run_plan, 4) == 8


async def test_an_error_of_a_plan_inside_arrives_as_itself(call: Call) -> None:
    with pytest.raises(ConnectionError, match="inside") as caught:
        await call(crunching.run_failing_plan)

    assert "'fails_inside' failed" in str(caught.value.__cause__) or "fails_inside" in str(caught.value.__cause__)


async def test_the_trace_context_is_passed_on(call: Call) -> None:
    span = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    token = otel_context.attach(set_span_in_context(NonRecordingSpan(span)))
    try:
        assert await call(crunching.trace_of) == (0xABC, 0xDEF)
    finally:
        otel_context.detach(token)

    assert await call(crunching.trace_of) == (0, 0)
