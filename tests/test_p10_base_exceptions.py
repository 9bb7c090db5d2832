"""P10: what is no ordinary exception leaves run() bare, once siblings are cancelled; signals are the host's."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import Cancelled, Failed, Graph, compile_plan, each
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import ROOT, assert_settled, outcomes_of, python, runner_of, running_tasks


class Escape(BaseException):
    """No ordinary exception."""


FORMS = ("async", "async at once", "thread", "inline", "item", "answer", "child task")
KINDS = (KeyboardInterrupt, SystemExit, Escape, GeneratorExit)


def add_raising_step(graph: Graph, form: str, error: BaseException, **options: Any) -> None:
    """Add a step named `step` that raises in one of the forms of a body."""

    async def raise_later() -> None:
        await anyio.sleep(0.001)
        raise error

    async def raise_at_once() -> None:
        raise error

    async def numbers() -> list[int]:
        return [0]

    async def raise_in_item(_number: int) -> None:
        await raise_later()

    def raise_plainly() -> None:
        raise error

    def answer() -> Any:
        return raise_later()

    functions: dict[str, Any] = {"async": raise_later, "async at once": raise_at_once, "answer": answer}
    if form == "item":
        raise_in_item.__defaults__ = (each(graph.add_layer(numbers)),)
        graph.layer.each(raise_in_item, name="step", **options)
    elif form in functions:
        graph.add_layer(functions[form], name="step", **options)
    else:
        graph.add_layer(raise_plainly, name="step", run_in="thread" if form == "thread" else "inline", **options)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "child task"])
@pytest.mark.parametrize("on_error", ["abort", "continue", "recover"])
async def test_p10_the_bare_exception_leaves_run_when_siblings_are_done(
    kind: type[BaseException], form: str, on_error: str
) -> None:
    graph, error, seen = Graph("bare"), kind(3), list[str]()

    def recover(_error: Exception) -> None:
        seen.append("recovered")

    policy: Any = recover if on_error == "recover" else on_error
    add_raising_step(graph, form, error, retries=3, on_error=policy)

    @graph.layer(priority=1)
    async def sibling() -> None:
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            seen.append("finally")

    @graph.layer(depends_on="step")
    async def dependent() -> None:
        seen.append("dependent")

    before = running_tasks()
    with pytest.raises(kind) as caught:
        await compile_plan(graph).run()
    seen.append("run left")

    assert caught.value is error
    assert seen == ["finally", "run left"]
    await assert_settled(before)


@pytest.mark.parametrize("kind", KINDS)
def test_p10_its_step_has_failed_and_the_others_are_cancelled(kind: type[BaseException], backend: Backend) -> None:
    graph, error = Graph("outcomes"), kind()
    add_raising_step(graph, "async", error)

    @graph.layer
    async def sibling() -> None:
        await anyio.sleep(100)

    @graph.layer(depends_on="step")
    async def dependent() -> None: ...

    async def main() -> dict[str, Any]:
        runner = runner_of(compile_plan(graph))
        with pytest.raises(kind):
            await runner.run()
        return outcomes_of(runner)

    cancelled = Cancelled(by="signal")
    assert run_virtual(main, backend=backend) == {"step": Failed(error), "sibling": cancelled, "dependent": cancelled}


@pytest.mark.parametrize("first", [ValueError, KeyboardInterrupt])
def test_p10_an_interruption_goes_before_an_ordinary_failure(first: type[BaseException], backend: Backend) -> None:
    graph = Graph("both")

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(1)
        raise first

    @graph.layer
    async def sibling() -> None:
        try:
            await anyio.sleep(100)
        finally:
            raise SystemExit(3)

    async def main() -> None:
        with pytest.raises((SystemExit, KeyboardInterrupt)) as caught:
            await compile_plan(graph).run()
        assert type(caught.value) is (SystemExit if first is ValueError else KeyboardInterrupt)

    run_virtual(main, backend=backend)


PLAN = """
import signal, sys, time
import anyio
from fusynk import compile_plan, layer

# A shell's background command ignores SIGINT, and its children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

@layer
async def sibling():
    try:
        await anyio.sleep(0.05)
        print("ready", flush=True)
        await anyio.sleep(60)
    finally:
        print("finally", flush=True)
"""
START = """
if sys.argv[1] == "run_sync":
    plan.run_sync()
else:
    anyio.run(plan.run, backend=sys.argv[1])
"""
EXITS = """
@layer
async def step():
    await anyio.sleep(0.1)
    sys.exit(3)

@layer
def thread():
    time.sleep(0.1)
    sys.exit(3)

plan = compile_plan(sibling, thread if sys.argv[2] == "thread" else step)
"""
WAITS = "plan = compile_plan(sibling)\n"
WAYS = ("run_sync", "asyncio", "trio")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", ["async", "thread"])
def test_p10_a_body_that_exits_ends_the_program_with_its_code(way: str, form: str) -> None:
    ended = python(PLAN + EXITS + START, way, form)

    assert (ended.returncode, ended.stderr) == (3, "")
    assert ended.stdout.split() == ["ready", "finally"]


@contextmanager
def started(source: str, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Start a program and wait until it says that it is ready; kill it at the end if it is alive."""
    child = subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    with child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("way", WAYS)
def test_p10_sigint_cancels_the_run_and_ends_the_program_as_interrupted(way: str) -> None:
    with started(PLAN + WAITS + START, way) as child:
        child.send_signal(signal.SIGINT)
        printed, complaints = child.communicate(timeout=30)

    assert printed == "finally\n"
    assert "KeyboardInterrupt" in complaints
    assert child.returncode in (-signal.SIGINT, 130)


STUBBORN = """
@layer
async def stubborn():
    try:
        await anyio.sleep(60)
    finally:
        print("cleaning up", flush=True)
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)

plan = compile_plan(sibling, stubborn)
"""


# Not trio: a program of trio's waits for what is shielded, however often it is interrupted.
@pytest.mark.parametrize("way", ["run_sync", "asyncio"])
def test_p10_a_second_sigint_does_not_wait_for_the_clean_up(way: str) -> None:
    with started(PLAN + STUBBORN + START, way) as child:
        assert child.stdout is not None
        child.send_signal(signal.SIGINT)
        printed = [child.stdout.readline(), child.stdout.readline()]
        # A signal that comes while tasks are being cancelled is lost on asyncio itself: a user presses again.
        for _ in range(100):
            time.sleep(0.2)
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGINT)
        child.communicate(timeout=1)

    assert sorted(printed) == ["cleaning up\n", "finally\n"]
    assert child.returncode in (-signal.SIGINT, 130)


def test_p10_sigterm_is_left_to_the_host() -> None:
    with started(PLAN + WAITS + START, "run_sync") as child:
        child.terminate()
        child.communicate(timeout=30)

    assert child.returncode == -signal.SIGTERM


def handlers() -> dict[signal.Signals, Callable[..., Any] | int | signal.Handlers | None]:
    return {number: signal.getsignal(number) for number in signal.valid_signals() if number in set(signal.Signals)}


async def test_p10_no_signal_handler_is_installed() -> None:
    graph = Graph("signals")

    @graph.layer
    async def look() -> Any:
        await anyio.lowlevel.checkpoint()
        return handlers()

    before = handlers()
    run = await compile_plan(look).run()

    assert run.result == before == handlers()
