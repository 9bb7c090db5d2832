"""What tests of graph files share: saving and loading at once, and everything that a graph shows of itself."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fusynk import Graph, compile_plan
from fusynk.errors import InvalidPlan
from fusynk.testing import simulate
from tests.depot import plain

PLACE = re.compile(r", [^,()]+:\d+\)|\([^()]+:\d+\)")
"""Where a unit is declared, as plans and errors tell it."""


def again(graph: Graph, file: Path) -> Graph:
    """The same graph from a file."""
    graph.save(file)
    return Graph.load(file, allow=["tests."])


def one_layer(function: Callable[..., object] = plain, **options: Any) -> Graph:
    graph = Graph("one")
    loose_graph: Any = graph
    loose_graph.add_layer(function, **{"name": "one", **options})
    return graph


def entries(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))["units"]
    return found


def facts(graph: Graph, inputs: Mapping[str, object]) -> object:
    """All that a plan of the graph shows, and what a run of it gives; the faults if there is no plan."""
    try:
        plan = compile_plan(graph)
    except InvalidPlan as error:
        return PLACE.sub("", str(error))
    trace = simulate(plan, {name: value for name, value in inputs.items() if name in plan.inputs})
    outcomes = {name: repr(outcome) for name, outcome in trace.run.outcomes.items()}
    found = [(needed.name, needed.type, needed.default, needed.needed_by) for needed in plan.inputs.values()]
    return plan.order, plan.levels, found, PLACE.sub("", plan.explain()), repr(trace.error), outcomes, trace.seconds
