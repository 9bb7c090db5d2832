"""How steps are undone: the function given as `compensate=`, bound like the step's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, cast

from fusynk._core.layer import ClassScope
from fusynk._core.wiring import Wiring

if TYPE_CHECKING:
    from fusynk._core.registry import AnyLayer


@dataclass(frozen=True, slots=True)
class Compensation:
    """What undoes a step.

    Attributes:
        function: Takes the artifact.
        instance_cell: The cell of the instance that comes before the artifact, where it is an input of the plan.
    """

    function: Callable[..., object]
    instance_cell: int | None

    def arguments(self, artifact: object, cells: Sequence[object]) -> tuple[object, ...]:
        """Return what the function is called with."""
        return (artifact,) if self.instance_cell is None else (cells[self.instance_cell], artifact)


def compensations_of(wiring: Wiring) -> Mapping[int, Compensation]:
    """Return what undoes each step that says so."""
    return {
        step: _compensation(wiring, step, options.compensate)
        for step, options in enumerate(wiring.options)
        if options.compensate is not None
    }


def _compensation(wiring: Wiring, step: int, function: Callable[..., object]) -> Compensation:
    """Bind a function that stands in the class body of the step's own method."""
    scope = cast("AnyLayer", wiring.layers[step]).unit.scope
    own = str(getattr(function, "__qualname__", "")).rpartition(".")[0]
    if not scope or own != scope or scope.endswith("<locals>") or isinstance(function, MethodType):
        return Compensation(function, None)
    instance = wiring.instances[step]
    if instance is None or isinstance(instance, ClassScope):
        return Compensation(function, wiring.input_cells.get("self"))
    return Compensation(cast("Callable[..., object]", MethodType(function, instance)), None)
