"""Save graphs over and over, and be killed: `python -m tests.programs.saver loop FILE` or `... step FILE`.

Either way the file holds one of two graphs, whole.
"""

import itertools
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from fusynk import Graph
from tests.depot import depot, plain

PARTS = 1_000  # enough that writing the file takes a while


def graphs() -> tuple[Graph, Graph]:
    large = Graph("large")
    for number in range(PARTS):
        large.add_layer(plain, name=f"part {number}", description="x" * 100)
    return depot, large


def loop(file: Path) -> None:
    """Save for ever, one graph after the other."""
    one, other = graphs()
    one.save(file)
    sys.stdout.write("saved\n")
    sys.stdout.flush()
    for graph in itertools.cycle((other, one)):
        graph.save(file)


def killed_at(call: int, graph: Graph, file: Path) -> bool:
    """Whether a child that saves is killed, the kill being at that call of a function since it began."""
    child = os.fork()
    if not child:
        calls = itertools.count()

        def kill(_: FrameType, event: str, __: object) -> None:
            if event in {"call", "return", "c_call", "c_return"} and next(calls) == call:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(kill)
        graph.save(file)
        sys.setprofile(None)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def step(file: Path) -> None:
    """Kill a child at each call of a function; say which graph was in the file, and how many kills there were."""
    small, former = Graph("small"), Graph("former")
    small.add_layer(plain, name="one")
    former.save(file)
    whole = {file.read_bytes(): "former"}
    small.save(file)
    whole[file.read_bytes()] = "new"

    def found() -> Iterator[str]:
        for call in itertools.count():
            former.save(file)
            killed = killed_at(call, small, file)
            yield whole.get(file.read_bytes(), "torn")
            if not killed:
                return

    sys.stdout.write(json.dumps(list(found())))


if __name__ == "__main__":
    {"loop": loop, "step": step}[sys.argv[1]](Path(sys.argv[2]))
