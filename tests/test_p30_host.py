"""P30: importing and running change nothing of the host, and a run works on whatever event loop the host has."""

import asyncio
import os
import subprocess
import sys
import threading
import unittest
import warnings
from collections.abc import Callable, Coroutine
from functools import cache
from importlib import import_module
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from fusynk import Batch, Graph, Plan, compile_plan, each, errors, use
from tests.observing import ROOT, program, python

Main = Callable[[], Coroutine[Any, Any, Any]]


@cache
def changes() -> dict[str, Any]:
    """What import and runs change in an interpreter of their own."""
    found: dict[str, Any] = program("host")
    return found


def test_p30_importing_changes_nothing_of_the_host() -> None:
    assert changes()["by the import"] == {}


def test_p30_running_changes_nothing_of_the_host() -> None:
    assert changes()["ran"] == [["failed", "failed"]] * 2
    assert changes()["by the runs"] == {}


def test_p30_nothing_is_printed_or_logged_unless_the_host_asks() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.programs.host"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "LOGURU_LEVEL": "TRACE"},
    )

    assert (ended.returncode, ended.stderr, len(ended.stdout.splitlines())) == (0, "", 1)


def all_sorts() -> Plan[None, Any]:
    """A plan with a bit of everything."""
    graph, calls = Graph("all sorts"), list[int]()

    @graph.layer(retries=2, retry_delay=0.001)
    async def flaky() -> list[int]:
        calls.append(1)
        await anyio.sleep(0.001)
        if len(calls) % 2:
            raise ConnectionError
        return [1, 2, 3]

    @graph.layer.each(on_error="continue")
    def item(number: int = each(flaky)) -> int:
        if number == 2:
            raise ValueError(number)
        return number * 10

    @graph.layer(timeout=0.01, on_error="continue")
    async def slow() -> int:
        await anyio.sleep(30)
        return 1

    @graph.layer
    async def skipped(value: int = use(slow)) -> int:
        return value

    @graph.layer(depends_on=slow)
    async def total(batch: Batch[int] = use(item), rest: int = use(skipped, default=-1)) -> int:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.lowlevel.checkpoint)
        return sum(batch) + rest

    return compile_plan(total)


async def shape_of_a_run() -> list[str]:
    """How every step of that plan ended, and how often it was called."""
    run = await all_sorts().run()
    steps = [f"{name}: {type(outcome).__name__}" for name, outcome in run.outcomes.items()]
    return [f"result: {run.result}", *steps, *sorted(f"{record.step} {record.number}" for record in run.attempts())]


def on_anyio_asyncio(main: Main) -> Any:
    return anyio.run(main)


def on_anyio_trio(main: Main) -> Any:
    return anyio.run(main, backend="trio")


def on_plain_asyncio(main: Main) -> Any:
    return asyncio.run(main())


def on_plain_trio(main: Main) -> Any:
    return import_module("trio").run(main)


def in_debug_mode(main: Main) -> Any:
    return asyncio.run(main(), debug=True)


def on_uvloop(main: Main) -> Any:
    return anyio.run(main, backend_options={"loop_factory": pytest.importorskip("uvloop").new_event_loop})


def in_an_old_style_loop(main: Main) -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def in_a_test_case(main: Main) -> Any:
    class Case(unittest.IsolatedAsyncioTestCase):
        async def runTest(self) -> None:  # noqa: N802 (unittest's name)
            found.append(await main())

    found: list[Any] = []
    outcome = Case().run()
    assert outcome is not None
    assert outcome.wasSuccessful(), outcome.errors
    return found[0]


def in_a_thread(main: Main) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(main())))
    thread.start()
    thread.join(30)
    return found[0]


def with_eager_tasks(main: Main) -> Any:
    if sys.version_info < (3, 12):
        pytest.skip("asyncio has eager tasks from Python 3.12 on")

    async def make_eager() -> Any:
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 (3.12)
        return await main()

    return asyncio.run(make_eager())


@pytest.mark.parametrize(
    "start",
    [
        on_anyio_trio,
        on_plain_asyncio,
        on_plain_trio,
        in_debug_mode,
        on_uvloop,
        in_an_old_style_loop,
        in_a_test_case,
        in_a_thread,
        with_eager_tasks,
    ],
)
def test_p30_a_run_ends_alike_on_every_event_loop(start: Callable[[Main], Any]) -> None:
    assert start(shape_of_a_run) == on_anyio_asyncio(shape_of_a_run)


def test_p30_runs_of_one_loop_after_another_do_not_meet() -> None:
    plan = all_sorts()

    async def run() -> Any:
        return (await plan.run()).result

    assert [start(run) for start in (on_plain_asyncio, on_plain_trio, on_plain_asyncio, in_a_thread)] == [39] * 4


async def test_p30_run_sync_inside_a_running_loop_is_refused() -> None:
    graph, called = Graph("refused"), list[int]()

    @graph.layer
    async def step() -> None:
        called.append(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(errors.LoopRunning, match=r"await plan\.run\("):
            compile_plan(step).run_sync()

    assert called == []


async def test_p30_run_sync_in_a_thread_of_a_running_loop_is_fine() -> None:
    graph = Graph("thread")

    @graph.layer
    async def step() -> str:
        await anyio.sleep(0.001)
        return "done"

    run = await anyio.to_thread.run_sync(compile_plan(step).run_sync)

    assert run.result == "done"


def test_p30_the_loop_of_the_host_is_left_as_it_was() -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        before = [loop.get_debug(), loop.slow_callback_duration, loop.get_task_factory(), loop.get_exception_handler()]
        await shape_of_a_run()
        graph = Graph("fails")

        @graph.layer
        async def fail() -> None:
            await anyio.sleep(0.001)
            raise ValueError

        with pytest.raises(ValueError):  # noqa: PT011 (there is no other)
            await compile_plan(fail).run()
        after = [loop.get_debug(), loop.slow_callback_duration, loop.get_task_factory(), loop.get_exception_handler()]
        assert after == before
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())

    assert complaints == []


def test_p30_a_program_that_only_imports_starts_no_thread_and_no_loop() -> None:
    ended = python(
        "import sys, threading, fusynk; print(threading.active_count(), 'trio' in sys.modules)", flags=("-W", "error")
    )

    assert (ended.stdout.split(), ended.stderr) == (["1", "False"], "")
