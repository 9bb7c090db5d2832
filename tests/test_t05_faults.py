"""T5: every seam of the engine raises every kind of exception; each run ends as promised (P2, P9, P10), none hangs."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import Failed, Graph, Plan, compile_plan, each, errors, use, when
from fusynk._runtime import host as host_module
from fusynk._runtime import runner as runner_module
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, outcomes_of, runner_of, running_tasks

LONG = bool(os.environ.get("FUSYNK_LONG"))
pytestmark = pytest.mark.timeout(10)
KINDS = ("Exception", "MemoryError", "KeyboardInterrupt", "SystemExit", "Cancelled")
Raise = Callable[..., Any]


class Fault(Exception):
    """An ordinary exception."""


async def made_up_cancellation() -> BaseException:
    """The loop's own cancellation, although nobody cancelled."""
    kept: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await anyio.lowlevel.checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            kept.append(error)
            raise
    return kept[0].with_traceback(None)


async def error_of(kind: str) -> BaseException:
    plain = {"Exception": Fault, "MemoryError": MemoryError, "KeyboardInterrupt": KeyboardInterrupt}
    if kind == "Cancelled":
        return await made_up_cancellation()
    return SystemExit(3) if kind == "SystemExit" else plain[kind]()


# The seams in user code. Each adds a step named "step" whose seam raises.


def add_body(graph: Graph, fault: Raise) -> None:
    async def step() -> None:
        fault()

    graph.add_layer(step)


def add_suspended_body(graph: Graph, fault: Raise) -> None:
    async def step() -> None:
        await anyio.sleep(0.001)
        fault()

    graph.add_layer(step)


def add_thread(graph: Graph, fault: Raise) -> None:
    graph.add_layer(fault, name="step", run_in="thread")


def add_inline(graph: Graph, fault: Raise) -> None:
    graph.add_layer(fault, name="step", run_in="inline")


def add_answer(graph: Graph, fault: Raise) -> None:
    async def answer() -> None:
        await anyio.lowlevel.checkpoint()
        fault()

    def step() -> Any:
        return answer()

    graph.add_layer(step)


def add_item(graph: Graph, fault: Raise) -> None:
    async def numbers() -> list[int]:
        return [0, 1]

    async def step(number: int) -> None:
        if number:
            await anyio.lowlevel.checkpoint()
            fault()

    step.__defaults__ = (each(graph.add_layer(numbers)),)
    graph.layer.each(step)


class Broken:
    """A collection, or the answer of a condition, that raises when it is used."""

    def __init__(self, fault: Raise) -> None:
        self._fault = fault

    def __iter__(self) -> Iterator[int]:
        yield 1
        self._fault()

    def __bool__(self) -> bool:
        self._fault()
        return True


def add_iteration(graph: Graph, fault: Raise) -> None:
    async def collection() -> Any:
        return Broken(fault)

    async def step(item: int) -> None: ...

    step.__defaults__ = (each(graph.add_layer(collection)),)
    graph.layer.each(step)


async def one() -> int:
    await anyio.lowlevel.checkpoint()
    return 1


def add_condition(graph: Graph, fault: Raise) -> None:
    async def step() -> None: ...

    graph.add_layer(step, depends_on=when(graph.add_layer(one), fault))


def add_condition_of_data(graph: Graph, fault: Raise) -> None:
    async def step(value: int) -> None: ...

    step.__defaults__ = (use(graph.add_layer(one), when=fault, default=0),)
    graph.add_layer(step)


def add_truth_of_a_condition(graph: Graph, fault: Raise) -> None:
    async def step() -> None: ...

    def answer(_value: object) -> Any:
        return Broken(fault)

    graph.add_layer(step, depends_on=when(graph.add_layer(one), answer))


async def fail() -> None:
    await anyio.lowlevel.checkpoint()
    raise ConnectionError


def add_retry_on(graph: Graph, fault: Raise) -> None:
    graph.add_layer(fail, name="step", retries=3, retry_on=fault)


def add_async_retry_on(graph: Graph, fault: Raise) -> None:
    async def ponder(_error: Exception) -> bool:
        await anyio.lowlevel.checkpoint()
        fault()
        return True

    graph.add_layer(fail, name="step", retries=3, retry_on=ponder)


def add_retry_delay(graph: Graph, fault: Raise) -> None:
    graph.add_layer(fail, name="step", retries=3, retry_delay=fault)


def add_on_error(graph: Graph, fault: Raise) -> None:
    graph.add_layer(fail, name="step", on_error=fault)


def add_async_on_error(graph: Graph, fault: Raise) -> None:
    async def recover(_error: Exception) -> None:
        await anyio.lowlevel.checkpoint()
        fault()

    graph.add_layer(fail, name="step", on_error=recover)


def add_cleanup_after_a_timeout(graph: Graph, fault: Raise) -> None:
    async def step() -> None:
        try:
            await anyio.sleep(100)
        finally:
            fault()

    graph.add_layer(step, timeout=0.001)


USER_SEAMS: list[Callable[[Graph, Raise], None]] = [
    add_body,
    add_suspended_body,
    add_thread,
    add_inline,
    add_answer,
    add_item,
    add_iteration,
    add_condition,
    add_condition_of_data,
    add_truth_of_a_condition,
    add_retry_on,
    add_async_retry_on,
    add_retry_delay,
    add_on_error,
    add_async_on_error,
    add_cleanup_after_a_timeout,
]


def add_sibling(graph: Graph, seen: list[str]) -> None:
    @graph.layer(priority=1)
    async def sibling() -> None:
        seen.append("begun")
        try:
            await anyio.sleep(1000)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            seen.append("finally")

    @graph.layer(depends_on="step")
    async def dependent() -> None:
        seen.append("dependent")


def assert_right(kind: str, error: BaseException, raised: BaseException | None, outcome: Any, seam: str) -> None:
    """What must leave the run, and what must have become of the step."""
    if kind in ("KeyboardInterrupt", "SystemExit"):
        assert raised is error
        return
    assert isinstance(outcome, Failed)
    assert isinstance(raised, Exception)
    assert outcome.error is raised
    chain: list[BaseException | None] = [raised, raised.__cause__]
    if seam == "add_cleanup_after_a_timeout":
        assert isinstance(raised, errors.LayerTimeout)
        assert error in chain or kind == "Cancelled"
    elif kind == "Cancelled":
        assert isinstance(raised, errors.StrayCancellation)
    else:
        assert raised is error


async def one_faulty_run(add: Callable[[Graph, Raise], None], kind: str) -> None:
    error = await error_of(kind)
    graph, seen, before = Graph("faults"), list[str](), running_tasks()

    def fault(*_arguments: object) -> Any:
        raise error

    add(graph, fault)
    add_sibling(graph, seen)
    plan: Plan[None, Any] = compile_plan(graph)
    runner, raised = runner_of(plan), None

    with anyio.fail_after(8):
        try:
            await runner.run()
            plan._finish(runner)
        except BaseException as caught:  # noqa: BLE001 (whatever it is, it is compared)
            raised = caught

    assert_right(kind, error, raised, outcomes_of(runner)["step"], add.__name__)
    assert seen == ["begun", "finally"]
    await assert_settled(before)


def run_whole(backend: str, function: Callable[..., Any], *arguments: object) -> Any:
    """Run on an event loop of its own, which nothing may leave but what the function raises."""
    try:
        return anyio.run(function, *arguments, backend=backend)
    except (KeyboardInterrupt, SystemExit) as error:
        pytest.fail(f"{type(error).__name__} tore the event loop apart instead of leaving run()")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("add", USER_SEAMS)
def test_t05_a_fault_in_user_code_ends_as_promised(
    add: Callable[[Graph, Raise], None], kind: str, backend: Backend
) -> None:
    run_whole(backend, one_faulty_run, add, kind)


# The seams in the engine: the clock, and the spawning of tasks. Each is made to raise at its n-th use.


class Countdown:
    """Raises at its n-th use; says whether it came to that."""

    def __init__(self, uses: int, error: BaseException) -> None:
        self._left = uses
        self._error = error

    @property
    def is_over(self) -> bool:
        return self._left <= 0

    def tick(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise self._error


def break_the_clock(monkeypatch: pytest.MonkeyPatch, countdown: Countdown) -> None:
    real: Callable[[], Callable[[], float]] = getattr(runner_module, "loop_clock")  # noqa: B009 (imported there)

    def broken_clock() -> Callable[[], float]:
        read = real()

        def broken() -> float:
            countdown.tick()
            return read()

        return broken

    monkeypatch.setattr(runner_module, "loop_clock", broken_clock)


def break_the_spawning(monkeypatch: pytest.MonkeyPatch, countdown: Countdown) -> None:
    real: Callable[[], Any] = getattr(host_module, "create_task_group")  # noqa: B009 (imported there)

    class BrokenGroup:
        def __init__(self) -> None:
            self._group = real()

        async def __aenter__(self) -> Any:
            await self._group.__aenter__()
            return self

        async def __aexit__(self, *error: object) -> Any:
            return await self._group.__aexit__(*error)

        @property
        def cancel_scope(self) -> Any:
            return self._group.cancel_scope

        def start_soon(self, *arguments: Any, **options: Any) -> None:
            countdown.tick()
            self._group.start_soon(*arguments, **options)

    monkeypatch.setattr(host_module, "create_task_group", BrokenGroup)


ENGINE_SEAMS = [break_the_clock, break_the_spawning]
_MOST_USES = 400


async def one_broken_run(kind: str, uses: int, seam: Callable[..., None]) -> bool:
    """Run a plan in which the seam breaks at its n-th use. Returns whether it came to that."""
    graph, begun, ended, before = Graph("engine"), list[str](), list[str](), running_tasks()

    async def body() -> None:
        begun.append("body")
        try:
            await anyio.sleep(1)
        finally:
            ended.append("body")

    async def flaky() -> None:
        begun.append("flaky")
        try:
            if begun.count("flaky") == 1:
                raise ConnectionError
        finally:
            ended.append("flaky")

    graph.add_layer(body, name="first")
    graph.add_layer(flaky, retries=1, retry_delay=2)
    graph.add_layer(body, name="timed", timeout=0.5, on_error="continue")
    graph.add_layer(body, name="last", depends_on=["first", "flaky"])
    error = await error_of(kind)
    countdown, raised = Countdown(uses, error), None
    plan: Plan[None, Any] = compile_plan(graph)
    records: Any = None
    with pytest.MonkeyPatch.context() as monkeypatch:
        seam(monkeypatch, countdown)
        try:
            runner = runner_of(plan)
            records = runner.records
            with anyio.fail_after(1000):
                await runner.run()
            plan._finish(runner)
        except BaseException as caught:  # noqa: BLE001 (whatever it is, it is compared)
            raised = caught
    assert sorted(begun) == sorted(ended)
    await assert_settled(before)
    if not countdown.is_over:
        assert raised is None
        return False
    if kind in ("KeyboardInterrupt", "SystemExit"):
        assert raised is error
    else:
        # What breaks while a step is being started may count as an attempt of that step that failed.
        noted = [attempt.error for attempts in records.failed.values() for attempt in attempts] if records else []
        found = [raised, *noted, *[one.__cause__ for one in noted]]
        # While a timeout cancels a slot, a made-up cancellation cannot be told from the timeout's own.
        in_time = kind == "Cancelled" and any(isinstance(one, errors.LayerTimeout) for one in noted)
        assert error in found or in_time
    return True


@pytest.mark.timeout(0 if LONG else 20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seam", ENGINE_SEAMS)
def test_t05_a_fault_of_the_engine_s_own_leaves_the_run_when_all_is_settled(
    seam: Callable[..., None], kind: str, backend: Backend
) -> None:
    for uses in range(1, _MOST_USES):
        try:
            came_to_it = run_virtual(one_broken_run, kind, uses, seam, backend=backend)
        except (KeyboardInterrupt, SystemExit) as error:
            pytest.fail(f"{type(error).__name__} at use {uses} tore the event loop apart instead of leaving run()")
        except BaseException as error:
            error.add_note(f"broken at use {uses}")
            raise
        if not came_to_it:
            assert uses > 3
            return
    pytest.fail("the seam is used without end")
