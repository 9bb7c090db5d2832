"""Synchronous functions in subprocesses, which an event loop starts, keeps for its next runs, and ends with itself."""

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from subprocess import PIPE
from typing import Final, cast

from anyio import CancelScope, move_on_after, open_process
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.lowlevel import RunVar, checkpoint_if_cancelled

from fusynk.errors import WorkerDied
from fusynk.executors.child import MAIN_HERE, SECONDS_TO_END, serve
from fusynk.executors.messages import LENGTH_BYTES, READ_AT_ONCE
from fusynk.executors.pickled import name_of, packed, unpacked


class SubprocessExecutor:
    """Runs functions in subprocesses of the running event loop.

    A subprocess is a fresh interpreter that imports what it calls. It is started when none is idle, serves one call at
    a time, and stays for later calls and runs on the same loop. How many may run at once is the runner's to say.

    A function must be importable; `why_not_importable` tells beforehand. It may be given as the plain function under a
    decorator, or as the unit. Functions run in the main thread of their subprocess and may use signals and subprocesses
    of their own; what they print goes to standard error.

    Attributes:
        abandoned: Always 0: a subprocess that nobody waits for is killed.
    """

    abandoned = 0

    async def call(self, function: Callable[..., object], arguments: Sequence[object], *, abandon: bool) -> object:  # noqa: ARG002 - the protocol's shape
        """Call a function in a subprocess. See `Executor.call`.

        When this is cancelled, the subprocess is killed, and gone when this returns.

        Args:
            function: The function.
            arguments: Its positional arguments.
            abandon: Without meaning here.

        Raises:
            BaseException: What the function raised; its cause holds the traceback of the subprocess.
            RemoteError: The function raised what cannot be pickled.
            Unsendable: The function, an argument or the result cannot be pickled.
            AwaitableReturned: The function returned an awaitable.
            GeneratorReturned: The function returned a generator.
            WorkerDied: The subprocess ended before the function did.
            UnguardedScript: A subprocess imports the script that this call comes from.
        """
        MAIN_HERE.refuse_run()
        await checkpoint_if_cancelled()
        name = name_of(function)
        request = packed(function, arguments, name)
        reply = await (await _children_of_loop()).ask(request, name)
        return unpacked(reply, name)


class _Children:
    """The subprocesses of one event loop. Those that are idle wait for the next call."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._end: AsyncGenerator[None] | None = None

    async def watch_loop(self) -> None:
        """Have the subprocesses end with the loop: every event loop closes its asynchronous generators at its end."""
        self._end = self._at_end_of_loop()
        await anext(self._end)

    async def ask(self, request: bytes, name: str) -> bytes:
        """Have a subprocess answer a request."""
        child = await self._take()
        try:
            reply = await child.exchange(request)
        except GeneratorExit:  # whoever drove this gave it up, and lets it wait for nothing more
            child.kill()
            raise
        except Exception as error:
            died = await child.obituary(name)
            await self._bury(child)
            raise died from error
        except BaseException:
            child.kill()
            await self._bury(child)
            raise
        self._idle.append(child)
        return reply

    async def _take(self) -> "_Child":
        while self._idle:
            child = self._idle.pop()
            if not child.has_ended():
                return child
            await self._bury(child)
        with CancelScope(shield=True):  # for some milliseconds, so that no subprocess is lost halfway
            child = _Child(await open_process(_command(), stdin=PIPE, stdout=PIPE, stderr=None))
            self._all.add(child)
            self._idle.append(child)
        return self._idle.pop()

    async def _bury(self, child: "_Child") -> None:
        """Wait for the end of a subprocess that was killed or has hung up."""
        with CancelScope(shield=True):
            await child.process.aclose()
        self._all.discard(child)

    async def _at_end_of_loop(self) -> AsyncGenerator[None]:
        """Wait, as it were, and end all subprocesses."""
        try:
            yield
        finally:
            with CancelScope(shield=True):
                await self._end_all()

    async def _end_all(self) -> None:
        """Let idle subprocesses leave in their own way, for a moment; kill the rest."""
        for child in self._idle:
            await child.hang_up()
        with move_on_after(SECONDS_TO_END):
            for child in self._idle:
                await child.process.wait()
        for child in list(self._all):
            child.kill()
            await self._bury(child)
        # Both know the loop, and would keep it in memory.
        self._idle.clear()
        self._end = None


class _Child:
    """One subprocess, seen from its parent."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._requests = cast("ByteSendStream", process.stdin)
        self._replies = cast("ByteReceiveStream", process.stdout)

    async def exchange(self, request: bytes) -> bytes:
        """Send a request, and return the reply.

        Raises:
            Exception: It closed its end of the pipe; event loops differ in how they say so.
        """
        await self._requests.send(len(request).to_bytes(LENGTH_BYTES) + request)
        return await self._read(int.from_bytes(await self._read(LENGTH_BYTES)))

    async def _read(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            parts.append(await self._replies.receive(min(count, READ_AT_ONCE)))
            count -= len(parts[-1])
        return b"".join(parts)

    def has_ended(self) -> bool:
        """Tell whether it has died; the system, where it can be asked without a trace, knows before the loop does."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):
            return self.process.returncode is not None
        try:
            return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    async def hang_up(self) -> None:
        """Let it end if it is idle."""
        await self._requests.aclose()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def obituary(self, name: str) -> WorkerDied:
        """Wait until it has ended, and tell how."""
        with move_on_after(SECONDS_TO_END, shield=True):
            await self.process.wait()
        code = self.process.returncode
        self.kill()
        who = f"The subprocess {self.process.pid}, which ran {name!r},"
        if code is None:
            return WorkerDied(f"{who} closed its pipe and was killed; let the function close only what it has opened.")
        if code >= 0:
            return WorkerDied(f"{who} ended with exit code {code}; raise an error instead, or return.", exit_code=code)
        hint = "; out of memory, the system kills so" if code == -signal.SIGKILL else ""
        return WorkerDied(f"{who} was killed by signal {-code} ({_signal_name(-code)}){hint}.", signal=-code)


_CHILDREN: Final = RunVar[_Children]("fusynk_subprocesses")


async def _children_of_loop() -> _Children:
    try:
        return _CHILDREN.get()
    except LookupError:
        children = _Children()
        _CHILDREN.set(children)
        await children.watch_loop()
        return children


def _command() -> list[str]:
    """Return the command line of a fresh interpreter that finds the same modules as this one."""
    path = [entry for entry in sys.path if isinstance(entry, str)]
    code = f"import sys; sys.path[:] = {path!r}; from {serve.__module__} import serve; serve()"
    return [sys.executable, "-c", code]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown"
