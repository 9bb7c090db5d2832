"""Import the library and run plans, and print what that changed of the host: `python -m tests.programs.host`."""

import asyncio
import contextvars
import decimal
import gc
import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from importlib import import_module
from typing import Any

import anyio
import loguru
import typing_extensions
import wrapt

State = dict[str, Any]
PARTS = (anyio, loguru, typing_extensions, wrapt)  # what the library is made of changes things of its own


def state() -> State:
    """Everything that the library could change behind its host's back, in comparable form."""
    root = logging.getLogger()
    policy: Any = getattr(asyncio, "get_event_loop_policy")()  # noqa: B009 (deprecated from Python 3.14 on)
    sinks: dict[int, Any] = getattr(loguru.logger, "_core").handlers  # noqa: B009 (loguru shows them nowhere else)
    return {
        "root logger": [
            repr(root.handlers),
            root.level,
            root.disabled,
            repr(root.filters),
            logging.root.manager.disable,
        ],
        "log levels": logging.getLevelNamesMapping(),
        "loguru sinks": {number: repr(sink) for number, sink in sinks.items()},
        "signal handlers": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "warning filters": [repr(one) for one in warnings.filters],
        "showwarning": repr(warnings.showwarning),
        "loop policy": [type(policy).__qualname__, id(policy)],
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 (as the host sees it)
        "path": list(sys.path),
        "hooks": [repr(one) for one in (sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook)],
        "async generator hooks": repr(sys.get_asyncgen_hooks()),
        "tracing": [repr(sys.gettrace()), repr(sys.getprofile()), repr(threading.gettrace())],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size()],
        "garbage collector": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), gc.get_freeze_count()],
        "chance": hash(random.getstate()),
        "decimal": repr(decimal.getcontext()),
        "context": sorted(f"{variable.name}={value!r}" for variable, value in contextvars.copy_context().items()),
        "threads": sorted(thread.name for thread in threading.enumerate() if not _is_cached(thread)),
        "tracer provider": _tracer_provider(),
    }


def _is_cached(thread: threading.Thread) -> bool:
    """Trio keeps its idle threads for ten seconds, whoever used them."""
    return thread.name.startswith("Trio thread")


def _tracer_provider() -> str:
    trace: Any = sys.modules.get("opentelemetry.trace")
    return repr(trace._TRACER_PROVIDER) if trace is not None else "None"


async def run_everything() -> list[str]:
    """Run a plan that succeeds and one that fails, in coroutines and in threads."""
    from fusynk import Graph, compile_plan, run_of  # noqa: PLC0415 (importing it is what is looked at)

    graph = Graph("host")

    @graph.layer(retries=1, timeout=5)
    async def first() -> int:
        await anyio.sleep(0.001)
        return 1

    @graph.layer(depends_on=first)
    def second() -> str:
        return threading.current_thread().name

    @graph.layer(depends_on=second, on_error="continue")
    def fails() -> None:
        raise ValueError

    good = await compile_plan(graph, deadline=60).run()
    try:
        await compile_plan(graph).override(second.raises(KeyError)).run()
    except KeyError as error:
        failed = run_of(error)
        return [good.status, failed.status if failed is not None else "unknown"]
    return ["nothing was raised"]


def main() -> State:
    """Compare the state of the host before and after."""
    import_module("trio")
    before = state()
    import_module("fusynk")
    imported = state()
    ran = [anyio.run(run_everything, backend=backend) for backend in ("asyncio", "trio")]
    after = state()
    return {"by the import": _differences(before, imported), "by the runs": _differences(imported, after), "ran": ran}


def _differences(one: State, other: State) -> State:
    return {name: [repr(one[name]), repr(other[name])] for name in one if one[name] != other[name]}


if __name__ == "__main__":
    print(json.dumps(main()))  # noqa: T201 (its one output)
