"""Which step of a plan somebody means."""

from fusynk._core.nodes import normalise
from fusynk._core.registry import AnyLayer
from fusynk._core.wiring import Wiring
from fusynk.errors import did_you_mean


def find_step(wiring: Wiring, unit: object) -> int | None:
    """Return the step of a unit or a name, or `None` if the plan has none."""
    if isinstance(unit, str):
        return wiring.index.get(unit)
    found = normalise(unit)
    if found is None:
        return None
    layer, instance = found
    step = wiring.index.get(layer.unit.name)
    if step is None or wiring.layers[step] is not layer:
        return _overriding_step(wiring, layer, instance)
    return step if instance is None or wiring.instances[step] is instance else None


def _overriding_step(wiring: Wiring, layer: AnyLayer, instance: object) -> int | None:
    """Look for what a subclass put in the place of a method."""
    if instance is None:
        return None
    steps = (step for step in wiring.steps() if wiring.layers[step] is layer and wiring.instances[step] is instance)
    return next(steps, None)


def unknown_step(wiring: Wiring, unit: object) -> str:
    """Say that a plan has no such step, and which it may be."""
    found = normalise(unit)
    name = unit if isinstance(unit, str) else found[0].unit.name if found else repr(unit)
    if not isinstance(unit, str) and name in wiring.index:
        return f"The plan's step {name!r} is another unit of that name, or of another instance; ask by that one."
    names = tuple(wiring.index)
    listed = ", ".join([*names[:10], "..."] if len(names) > 10 else names)  # noqa: PLR2004 - enough for an error
    return f"The plan has no step {name!r}.{did_you_mean(str(name), names) or f' It has: {listed}.'}"
