"""What telemetry says of a plan and its steps: names, and where a step's function is found."""

from functools import cached_property, partial
from typing import TypeAlias, cast

from fusynk._core.printable import printable
from fusynk._core.program import Program
from fusynk._core.wiring import EdgeKind

Attributes: TypeAlias = dict[str, str | int | float | bool]

PLAN_NAME = "fusynk.plan.name"
RUN_ID = "fusynk.run.id"
RUN_STATUS = "fusynk.run.status"
LAYER_NAME = "fusynk.layer.name"
LAYER_STATE = "fusynk.layer.state"
LAYER_ATTEMPT = "fusynk.layer.attempt"
LAYER_PRIORITY = "fusynk.layer.priority"
DEPENDENCY = "fusynk.dependency"
ERROR_TYPE = "error.type"


class Names:
    """The names of one plan, and what stands behind those that events use.

    Args:
        program: The plan's program.
        plan: How the plan is called, printable.
    """

    def __init__(self, program: Program, plan: str) -> None:
        self.program = program
        self.wiring = program.wiring
        self.plan = plan

    def step_of(self, name: str) -> int:
        """Return the step that a name stands for; for that of an item, `name[i]`, the step of its fan-out."""
        found = self.wiring.index.get(name)
        return found if found is not None else self.wiring.index[self.owner_of(name)]

    def owner_of(self, name: str) -> str:
        """Return the name of the fan-out that an item belongs to; empty for a step."""
        return "" if name in self.wiring.index else name.rpartition("[")[0]

    def is_awaited(self, name: str) -> bool:
        """Tell whether something comes after a step; after an item, whether another item chains to it."""
        step = self.step_of(name)
        if name in self.wiring.index:
            return bool(self.wiring.successors[step])
        return step in self._chained

    @cached_property
    def _chained(self) -> frozenset[int]:
        """The fan-outs whose items others chain to."""
        wiring = self.wiring
        return frozenset(
            wiring.predecessors[step][edge]
            for step, edge in wiring.fan_outs.items()
            if wiring.kinds[step][edge] == EdgeKind.CHAIN
        )

    def layer_attributes(self, name: str, step: int) -> Attributes:
        """Return what a span says of a step: never a value."""
        wiring = self.wiring
        location = wiring.locations[step]
        return {
            PLAN_NAME: self.plan,
            LAYER_NAME: printable(name),
            LAYER_PRIORITY: wiring.priorities[step],
            "code.function.name": printable(_full_name(wiring.functions[step])),
            "code.file.path": printable(location.file),
            "code.line.number": location.line,
        }


def _full_name(function: object) -> str:
    """Return `module.function`, as far as a callable knows it."""
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', '')}"
