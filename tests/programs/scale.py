"""Build, compile and run a large graph, and print what that took: `python -m tests.programs.scale chain 100000`."""

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

from fusynk import Graph, Plan, compile_plan, run_of

Figures = dict[str, Any]
_STATUS = Path("/proc/self/status")


class Declined(Exception):
    """What the last step of a failing chain raises."""


def peak() -> float:
    """The largest resident size of this process so far, in MB."""
    line = next(line for line in _STATUS.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def zero() -> int:
    return 0


async def one_more(before: int) -> int:
    return before + 1


async def nothing() -> None: ...


def chain(steps: int) -> tuple[Graph, int]:
    graph = Graph("chain")
    graph.add_layer(zero, name="s0")
    for number in range(1, steps):
        graph.add_layer(one_more, name=f"s{number}", bind={"before": f"s{number - 1}"})
    return graph, steps - 1


def wide(steps: int) -> tuple[Graph, int]:
    graph = Graph("wide")
    sources = [graph.add_layer(nothing, name=f"s{number}") for number in range(steps - 1)]
    graph.add_layer(zero, name="sink", depends_on=sources)
    return graph, 0


def levelled(levels: int, width: int) -> Graph:
    """Levels of steps, each of which waits for every step of the level before."""
    graph = Graph("levels")
    former: Sequence[Any] = ()
    for level in range(levels):
        former = [graph.add_layer(nothing, name=f"s{level}-{place}", depends_on=former) for place in range(width)]
    graph.add_layer(zero, name="sink", depends_on=former)
    return graph


def edges(steps: int) -> tuple[Graph, int]:
    """About a hundred edges a step."""
    return levelled(steps // 100, 100), 0


def dense(side: int) -> tuple[Graph, int]:
    """Every step waits for every step before it; beside it, two full levels."""
    graph = levelled(2, side)
    former: list[Any] = []
    for number in range(side):
        former.append(graph.add_layer(nothing, name=f"d{number}", depends_on=former))
    graph.remove_layer("sink")
    graph.add_layer(zero, name="sink", depends_on=[former[-1], *(f"s1-{place}" for place in range(side))])
    return graph, 0


SHAPES: dict[str, Callable[[int], tuple[Graph, int]]] = {"chain": chain, "wide": wide, "edges": edges, "dense": dense}


def measured(figures: Figures, name: str, function: Callable[[], Any]) -> Any:
    """Call a function and note the seconds of processor time that it took."""
    begun = time.process_time()
    returned = function()
    figures[name] = time.process_time() - begun
    return returned


def fail_at_the_end(plan: Plan[None, Any], last: Any) -> Figures:
    """Let the last step fail, and tell how long the traceback is that a user would see."""
    try:
        anyio.run(plan.override(last.raises(Declined("no stock"))).run)
    except Declined as error:
        run = run_of(error)
        text = "".join(traceback.format_exception(error))
        notes = "\n".join([str(error), *error.__notes__])
        succeeded = run.report.succeeded if run is not None else -1
        return {
            "traceback_lines": len(text.splitlines()),
            "traceback_bytes": len(text.encode()),
            "error_bytes": len(notes.encode()),
            "succeeded": succeeded,
        }
    return {}


def skip_everything(plan: Plan[None, Any], first: Any) -> Figures:
    """Let the first step fail in a plan that goes on, and count what is skipped because of it."""
    run = anyio.run(plan.options(on_error="continue").override(first.raises(Declined)).run)
    return {"skipped": run.report.skipped, "repr_bytes": len(repr(run)), "report_bytes": len(str(run.report))}


def main(shape: str, steps: int) -> Figures:
    """Measure one shape on both backends."""
    figures: Figures = {}
    import_module("trio")
    import_peak = peak()
    graph, expected = measured(figures, "declare", partial(SHAPES[shape], steps))
    plan: Plan[None, Any] = measured(figures, "compile", partial(compile_plan, graph))
    run: Any = None
    for backend in ("asyncio", "trio"):
        run = measured(figures, f"run {backend}", partial(anyio.run, plan.run, backend=backend))
        last = list(graph.units)[-1]
        figures[f"right {backend}"] = run.ok and run[last] == expected and len(run.attempts()) == len(plan.order)
    figures["report"] = len(str(run.report))
    figures["peak"] = peak() - import_peak
    if shape == "chain":
        units = list(graph.units.values())
        figures |= fail_at_the_end(plan, units[-1]) | skip_everything(plan, units[0])
    return figures


def growth(shape: str, small: int, large: int) -> Figures:
    """Compare two sizes of a shape. Without the garbage collector, whose share grows with all there is."""
    figures: Figures = {}
    gc.disable()
    for size, rounds in ((small, 3), (large, 1)):
        taken: list[float] = []
        for _ in range(rounds):
            graph, _ = SHAPES[shape](size)
            one: Figures = {}
            plan: Plan[None, Any] = measured(one, "compile", partial(compile_plan, graph))
            measured(one, "run", partial(anyio.run, plan.run))
            taken.append(one["compile"] + one["run"])
            gc.collect()
        figures[str(size)] = min(taken)
    return figures


if __name__ == "__main__":
    if sys.argv[1] == "growth":
        print(json.dumps(growth(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201 (its one output)
    else:
        print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))  # noqa: T201 (its one output)
