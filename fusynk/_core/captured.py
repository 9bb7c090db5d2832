"""What `capture=` lets telemetry show of the values of a run."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["arguments", "results", "errors"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """One value, as it is offered to the function given as `capture=`, which returns what may be shown of it.

    Attributes:
        layer: The step's name; an item of a fan-out is `name[i]`.
        kind: "arguments", "results" or "errors".
        name: The parameter that the argument is for; empty for a result or an error.
        value: The argument, the artifact or the exception.
    """

    layer: str
    kind: Kind
    name: str
    value: object


Capture: TypeAlias = Collection[Kind] | Callable[[Captured], object]
