"""Calling functions in subprocesses, and watching processes from outside."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from fusynk.executors.subprocesses import SubprocessExecutor

BACKENDS: dict[str, Any] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
PROCESSES = Path("/proc")


async def call_in_subprocess(function: Any, *arguments: Any) -> Any:
    return await SubprocessExecutor().call(function, arguments, abandon=False)


def run(function: Callable[..., Any], *arguments: Any, backend: str) -> Any:
    """Run in an event loop of its own."""
    name, options = BACKENDS[backend]
    return anyio.run(function, *arguments, backend=name, backend_options=options)


def is_there(pid: int) -> bool:
    """Tell whether a process runs, or waits for its parent to hear of its end."""
    return (PROCESSES / str(pid)).exists()


def is_running(pid: int) -> bool:
    """Tell whether a process has not ended with all its threads."""
    threads = PROCESSES / str(pid) / "task"
    return _stat(pid)[0] not in "ZX" or (threads.exists() and len(list(threads.iterdir())) > 1)


def children() -> set[int]:
    """Return the pids of this process's children, also of those that wait for their parent to hear of their end."""
    pids = [int(entry.name) for entry in PROCESSES.iterdir() if entry.name.isdecimal()]
    return {pid for pid in pids if _stat(pid)[1] == str(os.getpid())}


def _stat(pid: int) -> list[str]:
    """Return the state and the parent of a process."""
    try:
        text = (PROCESSES / str(pid) / "stat").read_text("utf-8")
    except OSError:  # it has ended
        return ["X", ""]
    return text.rpartition(")")[2].split()[:2]


async def until(claim: Callable[[], bool]) -> None:
    """Wait for what another process does."""
    while not claim():  # noqa: ASYNC110 - it sets no event here
        await anyio.sleep(0.002)


async def pid_in(path: Path) -> int:
    """Wait until a process has written its pid."""
    await until(path.exists)
    return int(await anyio.Path(path).read_text("utf-8"))
