"""Subprocesses from the start of their event loop to its end, in programs of their own."""

import asyncio
import gc
import inspect
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.lowlevel import cancel_shielded_checkpoint

from fusynk.errors import WorkerDied
from tests.programs import crunching
from tests.subprocessing import (
    BACKENDS,
    PROCESSES,
    call_in_subprocess,
    children,
    is_running,
    is_there,
    pid_in,
    run,
    until,
)

pytestmark = pytest.mark.skipif(not PROCESSES.exists(), reason="looks at processes as Linux shows them")
everywhere = pytest.mark.parametrize("backend", BACKENDS)
ROOT = Path(__file__).parents[1]
SCRIPT = """
import os, sys
from dataclasses import dataclass
from pathlib import Path
import anyio
from fusynk import compile_plan, errors, layer
from tests.subprocessing import call_in_subprocess, run

print("top of", __name__, file=sys.stderr)

@dataclass
class Point:
    x: int

class Odd(Exception):
    pass

@layer(run_in="subprocess")
def shifted(point: Point) -> Point:
    return Point(point.x + STEP)

def shift_in_another(point: Point) -> Point:
    return compile_plan(shifted).run_sync(point=point).result

def find() -> None:
    raise Odd("odd", Path(sys.argv[0]).name)

async def main() -> None:
    if __name__ == "__main__":
        sys.modules.pop("__mp_main__", None)  # multiprocessing makes it known here, too
    print((await compile_plan(shifted).run(point=Point(1))).result)
    print(await call_in_subprocess(shift_in_another, Point(10)))
    try:
        await call_in_subprocess(find)
    except Odd as error:
        print(error)
"""
START = "run(main, backend=sys.argv[1])\n"
GUARDED = f'if __name__ == "__main__":\n    {START}'


def started(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start an interpreter that finds this checkout and tells of every warning; in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-X", "dev", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def printed(*arguments: str, **options: Any) -> tuple[str, str, int]:
    """Run an interpreter to its end."""
    with started(*arguments, **options) as process:
        out, err = process.communicate()
        return out, err, process.returncode


@pytest.fixture
def running(tmp_path: Path, backend: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A program with a subprocess that is idle and one that computes without end, and their pids."""
    with started("-m", "tests.programs.busy", backend, str(tmp_path / "idle"), str(tmp_path / "busy")) as process:
        try:
            yield process, [anyio.run(pid_in, tmp_path / name) for name in ("idle", "busy")]
        finally:
            process.kill()


async def drive(body: Any) -> None:
    """Await a coroutine by hand, so that somebody else can close it meanwhile."""

    class Driven:
        def __await__(self) -> Generator[Any, Any, None]:
            rest = body.__await__()
            waiting = next(rest)
            while True:
                sent = yield waiting
                if inspect.getcoroutinestate(body) == inspect.CORO_CLOSED:
                    return
                waiting = rest.send(sent)

    await Driven()


def own_threads() -> set[threading.Thread]:
    """Return the threads that live, without those that trio keeps for ten seconds."""
    return {thread for thread in threading.enumerate() if not thread.name.startswith("Trio thread")}


# The start


@everywhere
@pytest.mark.parametrize("turns", [0, 1, 2, 5, 20])
def test_a_call_cancelled_while_its_subprocess_starts_leaves_nothing(backend: str, turns: int) -> None:
    async def main() -> set[int]:
        before = children()
        async with anyio.create_task_group() as group:
            group.start_soon(call_in_subprocess, crunching.pid)
            for _ in range(turns):
                await cancel_shielded_checkpoint()
            group.cancel_scope.cancel()
        return children() - before

    assert run(main, backend=backend) == set()


def test_a_script_calls_its_own_functions(backend: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"STEP = 4\n{SCRIPT}{GUARDED}", "utf-8")

    out, err, code = printed(str(script), backend)

    assert (out, code) == ("Point(x=5)\nPoint(x=14)\n('odd', 'script.py')\n", 0)
    assert err == "top of __main__\ntop of __mp_main__\ntop of __mp_main__\n"  # the last one in the inner subprocess


def test_a_module_started_by_its_name_calls_its_own_functions(backend: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sibling.py").write_text("STEP = 7\n", "utf-8")
    (package / "module.py").write_text(f"from .sibling import STEP\n{SCRIPT}{GUARDED}", "utf-8")

    out, err, code = printed("-m", "package.module", backend, cwd=tmp_path)

    assert (out, code) == ("Point(x=8)\nPoint(x=17)\n('odd', 'module.py')\n", 0)
    assert err == "top of __main__\ntop of __mp_main__\ntop of __mp_main__\n"


def test_a_script_without_a_guard_is_told_what_to_write(backend: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"STEP = 4\n{SCRIPT}{START}", "utf-8")

    out, err, code = printed(str(script), backend)

    assert (out, code) == ("", 1)
    assert err.count("top of") == 2
    assert (
        f"fusynk.errors.UnguardedScript: {script} starts a run while a subprocess imports it; "
        'put what starts it under `if __name__ == "__main__":`.\n'
    ) in err


def test_a_script_without_a_guard_may_call_functions_of_other_modules(backend: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    lines = [
        "import sys",
        "from tests.programs import crunching",
        "from tests.subprocessing import call_in_subprocess, run",
        "print(run(call_in_subprocess, crunching.add, 1, 2, backend=sys.argv[1]))",
    ]
    script.write_text("\n".join(lines), "utf-8")

    assert printed(str(script), backend) == ("3\n", "", 0)


@pytest.mark.parametrize("arguments", [["-c"], ["-"]], ids=["a command line", "standard input"])
def test_functions_of_a_program_without_a_file_are_refused(backend: str, arguments: list[str]) -> None:
    program = f"STEP = 4\n{SCRIPT}async def main() -> None: await call_in_subprocess(find)\n{GUARDED}"
    given = [*arguments, program, backend] if arguments == ["-c"] else [*arguments, backend]

    with started(*given, stdin=subprocess.PIPE) as process:
        _, err = process.communicate(program)

    assert "Unsendable: 'find' is declared in a __main__ without a file" in err
    assert "write it into a module and import it from there." in err
    assert "top of __mp_main__" not in err


def test_nothing_of_tracing_is_imported_where_nobody_traces(backend: str) -> None:
    assert run(call_in_subprocess, crunching.loaded, "opentelemetry.propagate", backend=backend) is False


# What is printed


@everywhere
def test_prints_go_to_standard_error_and_never_into_the_pipe(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(call_in_subprocess, crunching.print_everywhere, backend=backend) == 0

    seen = capfd.readouterr()
    assert seen.out == ""
    for text in ("by print\n", "without an end", "by descriptor\n", "by program\n", "." * 200_000):
        assert text in seen.err


@everywhere
def test_what_was_printed_before_a_death_is_not_lost(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(WorkerDied):
        run(call_in_subprocess, crunching.print_and_die, backend=backend)

    assert capfd.readouterr().err == "the last words\n"


# The end


@everywhere
def test_nothing_is_left_of_subprocesses_when_the_loop_has_ended(backend: str, tmp_path: Path) -> None:
    async def main() -> list[int]:
        async with anyio.create_task_group() as group:
            for own, other in ("ab", "ba"):
                group.start_soon(call_in_subprocess, crunching.meet, str(tmp_path / own), str(tmp_path / other))
        await call_in_subprocess(crunching.write_at_exit, str(tmp_path / "exited"))
        return [await call_in_subprocess(crunching.pid) for _ in range(3)]

    before, threads = children(), own_threads()
    pids = run(main, backend=backend)

    assert len(set(pids)) == 1
    assert children() == before
    anyio.run(until, lambda: own_threads() <= threads)  # asyncio has some that wait for ends, and tell of them first
    assert (tmp_path / "exited").exists()  # an idle one leaves in its own way


@everywhere
def test_a_subprocess_that_does_not_leave_is_killed(backend: str) -> None:
    async def main() -> int:
        pid: int = await call_in_subprocess(crunching.stay_at_exit)
        return pid

    assert not is_there(run(main, backend=backend))


@everywhere
def test_a_call_that_is_given_up_without_waiting_is_killed(backend: str, tmp_path: Path) -> None:
    async def main() -> int:
        pid = 0
        body: Any = call_in_subprocess(crunching.linger, str(tmp_path / "started"), str(tmp_path / "ended"))
        async with anyio.create_task_group() as group:
            group.start_soon(drive, body)
            pid = await pid_in(tmp_path / "started")
            body.close()
            await until(lambda: not is_running(pid))
            group.cancel_scope.cancel()
        return pid

    assert not is_there(run(main, backend=backend))


@pytest.mark.parametrize("backend", ["asyncio", "uvloop"])
def test_a_loop_that_has_ended_is_not_kept_in_memory(backend: str) -> None:
    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        await call_in_subprocess(crunching.pid)
        return weakref.ref(asyncio.get_running_loop())

    loop = run(main, backend=backend)
    gc.collect()

    assert loop() is None


@everywhere
def test_each_loop_has_subprocesses_of_its_own(backend: str) -> None:
    pids = [run(call_in_subprocess, crunching.pid, backend=backend) for _ in range(2)]

    assert len(set(pids)) == 2


@everywhere
def test_a_loop_that_is_interrupted_ends_its_subprocesses(backend: str) -> None:
    pids: list[int] = []

    async def main() -> None:
        pids.append(await call_in_subprocess(crunching.pid))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main, backend=backend)

    assert not is_there(pids[0])


def test_subprocesses_end_when_their_parent_is_killed(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = running
    assert all(map(is_running, pids))

    process.kill()
    process.wait()

    anyio.run(until, lambda: not any(map(is_running, pids)))


def test_an_interrupt_from_the_terminal_is_the_parents_to_see(running: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = running

    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate()

    assert out == "interrupted\n"
    assert err == ""
    assert not any(map(is_there, pids))
