"""The inside of a subprocess: it reads requests, calls functions and writes replies until its parent hangs up.

Pickles travel over the pipe between a parent and its own child, and nowhere else.
"""

import os
import pickle
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from io import BytesIO, TextIOWrapper
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from types import AsyncGeneratorType, FrameType, GeneratorType, ModuleType
from typing import Literal, cast

from fusynk._core.current import RUN, STEP
from fusynk._core.notes import annotate, linked_run, own_traceback
from fusynk.errors import UnguardedScript
from fusynk.executors.messages import (
    LENGTH_BYTES,
    READ_AT_ONCE,
    Answer,
    Main,
    Raised,
    Reply,
    Request,
    Returned,
    Told,
    Unfit,
    Unread,
)

SECONDS_TO_END = 1.0
_MAIN = "__mp_main__"  # as multiprocessing calls a main module that is imported; scripts test their name
_INPUT, _OUTPUT, _ERRORS = 0, 1, 2
_DESCRIPTORS = "/dev/fd"
_PACKAGE = str(Path(__file__).parents[1])


class _MainHere:
    """The parent's main module in a subprocess: it is imported when something of it is asked for.

    Attributes:
        known: Where it is found; `None` in a process that is nobody's child.
    """

    def __init__(self) -> None:
        self.known: Main | None = None
        self._found: ModuleType | None = None
        self._loading = False

    def find(self) -> ModuleType | None:
        """Return the module, or `None` if there is none, or not yet.

        It is imported under a name that leaves out what a script does when it is started.
        """
        if self._found is not None or self._loading or self.known is None:
            return self._found
        self._loading = True
        module = ModuleType(_MAIN)
        try:
            module.__dict__.update(_names_of(self.known))
        finally:
            self._loading = False
        sys.modules["__main__"] = sys.modules[_MAIN] = self._found = module
        return module

    def refuse_run(self) -> None:
        """Refuse to start subprocesses while it is being imported: they would import it, too, and so on.

        Raises:
            UnguardedScript: It is being imported.
        """
        if self._loading and self.known is not None:
            message = (
                f"{self.known.path or self.known.module} starts a run while a subprocess imports it; "
                'put what starts it under `if __name__ == "__main__":`.'
            )
            raise UnguardedScript(message)


MAIN_HERE = _MainHere()


class _StandIn(ModuleType):
    """Holds the place of the main module. It has no names of its own, which could be taken for the module's."""

    def __getattr__(self, name: str) -> object:
        # What Python asks of every module is no reason to import this one.
        main = None if name.startswith("__") else MAIN_HERE.find()
        if main is None:
            raise AttributeError(name)
        return getattr(main, name)


class _Loader(pickle.Unpickler):  # noqa: S301 - of pickles that come from a parent or its own child, over their pipe
    """Reads what the other end of the pipe wrote."""

    def find_class(self, module: str, name: str, /) -> object:
        """Import what a pickle names; what a subprocess knows as `__mp_main__` is the main module elsewhere."""
        return super().find_class("__main__" if module == _MAIN else module, name)


def load(pickled: bytes) -> object:
    """Return what was pickled at the other end of the pipe."""
    return _Loader(BytesIO(pickled)).load()


def type_name_of(value: object) -> str:
    """Return the full name of a value's class."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def serve() -> None:
    """Answer requests until the parent hangs up, or is gone."""
    requests, replies = _take_pipes()
    sys.modules["__main__"] = sys.modules[_MAIN] = _StandIn("__main__")
    # The parent decides what an interrupt from the terminal means; it ends its children if need be.
    signal.signal(signal.SIGINT, _ignore)
    inbox: SimpleQueue[bytes | None] = SimpleQueue()
    Thread(target=_listen, args=(requests, inbox), daemon=True).start()
    while (request := inbox.get()) is not None:
        reply = pickle.dumps(_answer(request), pickle.HIGHEST_PROTOCOL)
        with suppress(Exception):  # whatever the function has made of it
            sys.stdout.flush()
        try:
            _write(replies, len(reply).to_bytes(LENGTH_BYTES) + reply)
        except BrokenPipeError:
            return


def _ignore(number: int, frame: FrameType | None) -> None:
    """Ignore a signal; unlike `SIG_IGN`, programs that the function starts do not inherit this."""


def _take_pipes() -> tuple[int, int]:
    """Return pipes of requests and replies that nothing else uses.

    What the function prints goes to the parent's standard error, whoever writes it: Python, a C library, or a program
    that the function starts.
    """
    _close_copies()
    nowhere = os.open(os.devnull, os.O_RDWR)  # the first, so that it takes the place of a missing standard error
    requests, replies = os.dup(_INPUT), os.dup(_OUTPUT)
    os.dup2(nowhere, _INPUT)
    os.dup2(_ERRORS, _OUTPUT)
    cast("TextIOWrapper", sys.stdout).reconfigure(line_buffering=True)
    if hasattr(os, "register_at_fork"):
        # Else the parent would not hear of this one's end while a fork of it lives.
        os.register_at_fork(after_in_child=partial(_close, requests, replies))
    return requests, replies


def _close_copies() -> None:
    """Close what else leads to the pipes: uvloop leaves its own descriptors open, and forks would inherit them."""
    if not os.path.isdir(_DESCRIPTORS):  # noqa: PTH112 - nothing that is a path of anybody's
        return
    for number in map(int, os.listdir(_DESCRIPTORS)):  # noqa: PTH208
        with suppress(OSError):  # the one that listed them is closed already
            if number > _ERRORS and (os.path.sameopenfile(number, _INPUT) or os.path.sameopenfile(number, _OUTPUT)):
                os.close(number)


def _close(*pipes: int) -> None:
    for pipe in pipes:
        os.close(pipe)


def _listen(requests: int, inbox: "SimpleQueue[bytes | None]") -> None:
    """Read requests in a thread, so that a function at work does not outlive its parent."""
    while (length := _read(requests, LENGTH_BYTES)) is not None:
        inbox.put(_read(requests, int.from_bytes(length)))
    inbox.put(None)
    time.sleep(SECONDS_TO_END)
    os._exit(1)


def _read(pipe: int, count: int) -> bytes | None:
    """Read so many bytes; `None` at the end of the pipe."""
    parts: list[bytes] = []
    while count:
        part = os.read(pipe, min(count, READ_AT_ONCE))
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write(pipe: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(pipe, view) :]


def _answer(pickled: bytes) -> Answer:
    request = cast("Request", load(pickled))
    return Answer(_reply(request), request.step.milestones if request.step is not None else [])


def _reply(request: Request) -> Reply:
    MAIN_HERE.known = request.main
    subject: Literal["function", "arguments"] = "function"
    try:
        function = cast("Callable[..., object]", load(request.function))
        subject = "arguments"
        arguments = cast("Sequence[object]", load(request.arguments))
    except BaseException as error:  # noqa: BLE001 - told to the parent
        return Unread(subject, _told(error))
    try:
        returned = copy_context().run(_call, request, function, arguments)
    except BaseException as error:  # noqa: BLE001 - told to the parent, which raises it
        return _raised(error)
    return _returned(returned)


def _call(request: Request, function: Callable[..., object], arguments: Sequence[object]) -> object:
    """Call a function, in a context that is given up afterwards."""
    if request.step is not None:
        RUN.set(request.step)
        STEP.set(0)
    if request.carrier:
        from opentelemetry import context, propagate  # noqa: PLC0415 - optional

        context.attach(propagate.extract(request.carrier))
    return function(*arguments)


def _returned(value: object) -> Reply:
    name = type_name_of(value)
    if isinstance(value, (GeneratorType, AsyncGeneratorType)):
        return Unfit(name, "generator")
    if hasattr(value, "__await__"):
        if isinstance(value, Coroutine):
            cast("Coroutine[object, object, object]", value).close()  # else Python complains that nobody awaited it
        return Unfit(name, "awaitable")
    try:
        return Returned(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except Exception as error:  # noqa: BLE001 - from anybody's __reduce__; told to the parent
        return Unfit(name, "value", _text_of(error))


def _raised(error: BaseException) -> Raised:
    error.__traceback__ = own_traceback(error, _PACKAGE)
    told = _told(error)
    if linked_run(error) is not None:
        annotate(error, (), None)  # a run inside the function; it stays where it was
    try:
        return Raised(pickle.dumps(error, pickle.HIGHEST_PROTOCOL), told)
    except Exception:  # noqa: BLE001 - from anybody's __reduce__; the parent raises what is told
        return Raised(b"", told)


def _told(error: BaseException) -> Told:
    return Told(type_name_of(error), _text_of(error), "".join(traceback.format_exception(error)))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - from anybody's __str__
        return f"<{type_name_of(error)} whose text cannot be made>"


def _names_of(main: Main) -> dict[str, object]:
    """Run the parent's main module under another name, and return what it declares."""
    sys.argv = list(main.arguments)
    if main.module is not None:
        return runpy.run_module(main.module, run_name=_MAIN, alter_sys=True)
    if main.path is not None:
        return runpy.run_path(main.path, run_name=_MAIN)
    return {}
