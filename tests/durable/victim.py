"""Runs plans in processes that may die at any moment: `python -m tests.durable.victim`, told by lines of JSON.

It forks a process for each life, which is much faster than to start an interpreter for it.
"""

import ctypes
import importlib
import os
import pkgutil
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

import anyio
import msgspec

import fusynk
from fusynk import Batch, Plan, Run
from fusynk._core.envelope import FINAL
from fusynk._core.journalled import RunStart
from fusynk.errors import JournalError, UnknownRun
from fusynk.events import Event, StepFailed, StepSkipped, StepSucceeded
from fusynk.journals.journalled_run import JournalledRun
from fusynk.journals.sqlite import SqliteJournal
from fusynk.protocols import OnCommit, Poster
from tests.durable.checker import Entry
from tests.durable.shapes import Log, Shape, shaped

START = 43
_NEEDED = ("fusynk._core", "fusynk._runtime", "fusynk._durable", "fusynk.executors", "fusynk.journals")
_PR_SET_PTRACER = 0x59616D61
_PR_SET_PTRACER_ANY = ctypes.c_ulong(-1)
Backend: TypeAlias = Literal["asyncio", "trio"]
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]
Pause: TypeAlias = Literal["opening", "writing", "closing"]


class Life(msgspec.Struct, frozen=True, kw_only=True, tag="live"):
    """What a process is to do.

    Attributes:
        shape: The plan.
        run_id: The id of the run; resumed if it is there.
        file: The journal; empty for a run without one.
        log: Where it leaves lines.
        backend: Its event loop.
        synchronous: See `SqliteJournal`.
        lease: See `SqliteJournal`.
        pause: Where it waits until it is let on.
        descriptors: How many more it may open, or -1.
        descriptors_from: Whether that begins before it opens the journal, or when the run begins.
        largest_file: How many bytes a file may have, or -1.
        user: Whose rights it has, or -1.
    """

    shape: str
    run_id: str
    log: str
    file: str = ""
    backend: Backend = "asyncio"
    synchronous: Synchronous = "FULL"
    lease: float = 15.0
    concurrency: int = 4
    pause: Pause | None = None
    descriptors: int = -1
    descriptors_from: Literal["opening", "running"] = "opening"
    largest_file: int = -1
    user: int = -1


class Let(msgspec.Struct, frozen=True, tag="let"):
    """Lets a process on that waits."""

    pid: int


class Await(msgspec.Struct, frozen=True, tag="await"):
    """Waits for the death of a process."""

    pid: int


class Refusal(msgspec.Struct, frozen=True):
    """How a run was refused.

    Attributes:
        kind: The class of the error.
        text: What it says.
        path: The file it names.
        cause: The class of its cause.
        owner: Who has the run instead.
    """

    kind: str
    text: str
    path: str
    cause: str
    owner: str


class WatchedJournal(SqliteJournal):
    """A journal that notes what it finds, and waits where it is told to."""

    def __init__(self, life: Life, log: Log, hold: Callable[[Pause], object]) -> None:
        super().__init__(life.file, synchronous=life.synchronous, lease=life.lease)
        self._life, self._log, self._hold = life, log, hold
        self._is_limited = False

    def open_run(
        self,
        run_id: str,
        start: RunStart | None = None,
        *,
        on_commit: OnCommit,
        post: Poster | None = None,
        owner: str | None = None,
    ) -> JournalledRun:
        self._hold("opening")
        self._limit("opening")
        if self._life.pause == "writing":
            _ = self._opened()
            self._hold("writing")
        run = super().open_run(run_id, start, on_commit=on_commit, post=post, owner=owner)
        steps = tuple(record.step for record in run.records if record.kind in FINAL)
        self._log.write(Entry("found", os.getpid(), steps=steps))
        self._limit("running")
        return run

    def _limit(self, place: str) -> None:
        if self._life.descriptors >= 0 and self._life.descriptors_from == place and not self._is_limited:
            self._is_limited = True
            _limit_descriptors(self._life.descriptors)

    def close(self) -> None:
        self._hold("closing")
        super().close()


class _Living:
    """One life."""

    def __init__(self, life: Life, gate: int) -> None:
        self._life, self._gate = life, gate
        self._log = Log(Path(life.log))
        folder = Path(life.log).parent
        self._shape: Shape = shaped(life.shape, self._log, folder)
        self._was_held = False

    def live(self) -> None:
        plan = self._shape.plan().options(subscribers=[self._tell], concurrency=self._life.concurrency)
        try:
            run = anyio.run(self._run, plan, backend=self._life.backend)
        except JournalError as error:
            self._say("refused", msgspec.json.encode(_refusal(error)).decode())
        except BaseException as error:  # noqa: BLE001 - whatever it is, the test must hear of it
            self._say("raised", "".join(traceback.format_exception(error)))
        else:
            self._say("ended", encoded(run, self._shape.everywhere))

    async def _run(self, plan: Plan[Any, Any]) -> Run[Any]:
        run_id = self._life.run_id
        if not self._life.file:
            return await plan.run(start=START)
        journal = WatchedJournal(self._life, self._log, self._hold)
        try:
            return await plan.resume(run_id, journal=journal)
        except UnknownRun:
            return await plan.options(journal=journal, run_id=run_id).run(start=START)
        finally:
            journal.close()

    def _hold(self, place: Pause) -> None:
        """Wait in this thread until the test says so, and tell it which thread it may look at meanwhile."""
        if self._life.pause != place or self._was_held:
            return
        self._was_held = True
        writing = next((thread for thread in threading.enumerate() if thread.name == "fusynk-journal"), None)
        thread = writing.native_id if writing is not None and place == "writing" else threading.get_native_id()
        self._say("paused", str(thread))
        _ = select.select([self._gate], [], [])  # not `read`, which may be the call that is disturbed

    def _tell(self, event: Event) -> None:
        match event:
            case StepSucceeded() | StepSkipped():
                self._log.write(Entry("told", os.getpid(), event.step))
            case StepFailed() if event.error == "Outage":
                self._log.write(Entry("failed", os.getpid(), event.step))
            case _:
                pass

    def _say(self, kind: Any, said: str) -> None:
        self._log.write(Entry(kind, os.getpid(), said=said))


def encoded(run: Run[Any], everywhere: set[str]) -> str:
    """Return what came of a run. Nothing of it may depend on how often it was killed."""
    outcomes = {
        name: [type(outcome).__name__, outcome] for name, outcome in run.outcomes.items() if name not in everywhere
    }
    came_to = {"status": run.status, "outcomes": outcomes, "failures": run.failures}
    return msgspec.json.encode(came_to, enc_hook=_plain).decode()


def _plain(value: object) -> object:
    if isinstance(value, BaseException):
        return [type(value).__name__, str(value)]
    if isinstance(value, Batch):
        batch = cast("Batch[object]", value)
        return {"succeeded": dict(batch.succeeded), "failed": dict(batch.failed), "total": batch.total}
    assert isinstance(value, Mapping)
    return dict(cast("Mapping[object, object]", value))


def _refusal(error: JournalError) -> Refusal:
    cause = "" if error.__cause__ is None else type(error.__cause__).__name__
    return Refusal(type(error).__name__, str(error), error.path, cause, getattr(error, "owner", "") or "")


def _limit_descriptors(more: int) -> None:
    """Let this process open so many more."""
    import resource  # noqa: PLC0415 - of POSIX

    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def _let_be_traced() -> None:
    """Let strace look at this process where the system wants to be asked for that; others know no such question."""
    with suppress(AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, _PR_SET_PTRACER_ANY, 0, 0, 0)


def _live(life: Life, gate: int) -> None:
    if life.pause is not None:
        _let_be_traced()
    if life.largest_file >= 0:
        import resource  # noqa: PLC0415 - of POSIX

        resource.setrlimit(resource.RLIMIT_FSIZE, (life.largest_file, resource.RLIM_INFINITY))
    if life.user >= 0:
        os.setuid(life.user)
    _Living(life, gate).live()


def _forked(life: Life, gates: dict[int, int]) -> int:
    theirs, ours = os.pipe()
    pid = os.fork()
    if pid:
        os.close(theirs)
        gates[pid] = ours
        return pid
    try:
        os.close(ours)
        _live(life, theirs)
    except BaseException:  # noqa: BLE001 - the process ends here, and must say why
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _load_all() -> None:
    """Load now what is loaded late otherwise: once for all lives, and while it can be read."""
    for package in fusynk.__path__:
        for found in pkgutil.walk_packages([package], "fusynk."):
            if found.name.startswith(_NEEDED):
                importlib.import_module(found.name)
    for backend in get_args(Backend):
        importlib.import_module(f"anyio._backends._{backend}")


def _answer(request: Life | Let | Await, gates: dict[int, int]) -> int:
    match request:
        case Life():
            return _forked(request, gates)
        case Let(pid):
            return os.write(gates[pid], b".")
        case Await(pid):
            os.close(gates.pop(pid))
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    gates: dict[int, int] = {}
    _ = tempfile.gettempdir()  # looks for a folder only once
    _load_all()
    decoder: msgspec.json.Decoder[Life | Let | Await] = msgspec.json.Decoder(Life | Let | Await)
    while line := sys.stdin.buffer.readline():
        os.write(1, b"%d\n" % _answer(decoder.decode(line), gates))
    for pid in gates:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
