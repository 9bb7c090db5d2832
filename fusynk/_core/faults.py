"""The faults of a graph, gathered while it is compiled, told together in order of declaration."""

from fusynk._core.unit import Unit
from fusynk.errors import DependencyCycle, InvalidPlan, PlanFault


class Faults:
    """Collects faults instead of raising the first."""

    def __init__(self) -> None:
        self._found: list[tuple[int, PlanFault]] = []

    def __len__(self) -> int:
        """Count them."""
        return len(self._found)

    def add(self, kind: type[PlanFault], unit: Unit | None, message: str) -> None:
        """Note a fault.

        Args:
            kind: Its class.
            unit: The unit at fault; its name and place begin the message. `None` for the plan as a whole.
            message: What is wrong, and what to write instead.
        """
        if unit is None:
            self._found.append((-1, kind(message)))
            return
        fault = kind(f"{where(unit)} {message}", unit=unit.name, location=str(unit.location))
        self._found.append((unit.sequence, fault))

    def add_cycle(self, unit: Unit, cycle: tuple[str, ...], message: str) -> None:
        """Note a cycle, which knows its names.

        Args:
            unit: Its first unit.
            cycle: Its names; the first is repeated at the end.
            message: What is wrong, and what to write instead.
        """
        text = f"{where(unit)} {message}"
        fault = DependencyCycle(text, cycle=cycle, unit=unit.name, location=str(unit.location))
        self._found.append((unit.sequence, fault))

    def raise_all(self) -> None:
        """Raise what was found, if anything was.

        Raises:
            InvalidPlan: Holds every fault.
        """
        if not self._found:
            return
        ordered = [fault for _, fault in sorted(self._found, key=lambda found: found[0])]
        message = f"The plan has {len(ordered)} {'fault' if len(ordered) == 1 else 'faults'}:"
        raise InvalidPlan(message, ordered)


def where(unit: Unit) -> str:
    """Return a unit's name and place, as errors begin."""
    return f"{unit.name!r} ({unit.location})"
