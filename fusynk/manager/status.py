"""The status of a registered unit, and the one table of how it changes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

UnitStatus: TypeAlias = Literal["idle", "running", "paused", "completed", "error"]

TRANSITIONS: Mapping[UnitStatus, frozenset[UnitStatus]] = MappingProxyType(
    {
        "idle": frozenset({"running", "paused"}),
        "running": frozenset({"completed", "error", "idle"}),  # idle: its run was cancelled
        "completed": frozenset({"running", "paused"}),
        "error": frozenset({"running", "paused"}),
        "paused": frozenset({"idle"}),
    }
)


def changed(former: UnitStatus, status: UnitStatus) -> UnitStatus:
    """Return the new status.

    Args:
        former: What the unit is.
        status: What it becomes.

    Raises:
        AssertionError: Nothing leads from one to the other; a fault of the engine.
    """
    if status not in TRANSITIONS[former]:
        message = f"no unit goes from {former!r} to {status!r}"
        raise AssertionError(message)
    return status
