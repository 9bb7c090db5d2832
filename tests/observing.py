"""What tests of behaviour under faults share: watching what a run leaves behind, and programs of their own."""

import json
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
from loguru import logger

from fusynk import Plan
from fusynk._runtime.runner import Runner

ROOT = Path(__file__).parents[1]


def running_tasks() -> set[int]:
    """The tasks of the event loop that are alive now."""
    return {task.id for task in anyio.get_running_tasks()}


async def assert_settled(tasks_before: set[int]) -> None:
    """Nothing more is alive than before a run; asyncio ends a task one turn after its work."""
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
    assert running_tasks() <= tasks_before


def busy_threads(name: str) -> list[threading.Thread]:
    """Live threads with a name that starts like this; for bodies that name their own thread."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


@contextmanager
def heard() -> Generator[list[Any]]:
    """Collect the log records of the library while the block runs."""
    records: list[Any] = []
    sink = logger.add(lambda message: records.append(message.record), level=0, format="{message}")
    logger.enable("fusynk")
    try:
        yield records
    finally:
        logger.disable("fusynk")
        logger.remove(sink)


def runner_of(plan: Plan[Any, Any]) -> Runner:
    """A run of a plan that can be looked at from inside, whatever becomes of it. Made inside an event loop."""
    return plan._new_runner([])


def outcomes_of(runner: Runner) -> dict[str, Any]:
    """How every step of a watched run ended."""
    scheduler = runner.scheduler
    return {scheduler.name_of(step): scheduler.outcome_of(step) for step in scheduler.wiring.steps()}


def python(
    source: str, *arguments: str, flags: Sequence[str] = (), timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program of its own in a fresh interpreter and return what came of it."""
    return subprocess.run(
        [sys.executable, *flags, "-c", source, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )


def program(name: str, *arguments: str, flags: Sequence[str] = (), timeout: float = 100) -> Any:
    """Run one of `tests.programs` in a fresh interpreter and return the document it prints; it says nothing else."""
    ended = subprocess.run(
        [sys.executable, *flags, "-m", f"tests.programs.{name}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)
