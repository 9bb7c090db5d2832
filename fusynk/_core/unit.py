"""The frozen record of a declaration."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fusynk._core.markers import Artifact
from fusynk._core.model import Location
from fusynk._core.options import Dependency, Mode, UnitOptions

if TYPE_CHECKING:
    from fusynk._core.registry import Namespace

UnitKind = Literal["layer", "worker", "process"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Members:
    """The members of a process and how they are ordered.

    Attributes:
        units: The members, in list order.
        mode: The run mode.
        size: How many run at a time in mode "batched".
        delay: Seconds between members in mode "isolated".
    """

    units: tuple[Artifact[object], ...]
    mode: Mode
    size: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unit:
    """What a decorator or a builder call declared.

    Attributes:
        name: The unit's name.
        kind: Which decorator declared it.
        function: The function as given, or `None` for a process without one.
        options: Its options.
        depends_on: Order edges, as written.
        bind: Parameters bound by the builder.
        each: Whether it is a fan-out.
        members: The members, for a process.
        location: Where it is declared.
        namespace: Where its names are looked up.
        scope: The class or function that declares it, as in `__qualname__`; empty at the top of a module.
        sequence: Its place in the order of all declarations.
    """

    name: str
    kind: UnitKind
    function: Callable[..., object] | None
    options: UnitOptions
    depends_on: tuple[Dependency, ...]
    bind: Mapping[str, Artifact[object] | str]
    each: bool
    members: Members | None
    location: Location
    namespace: "Namespace"
    scope: str
    sequence: int
