"""The units of a manager, by name."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, cast

from fusynk._core.markers import Artifact, advice
from fusynk._core.model import UNSET
from fusynk._core.nodes import normalise
from fusynk._core.options import SCHEDULE_NAMES, AdjustableOptions, PlanOptions, adjusted_options, scheduled_options
from fusynk._core.registry import Namespace, units_of_module
from fusynk.compile import compile_plan
from fusynk.errors import (
    AlreadyRegistered,
    InvalidDeclaration,
    InvalidOption,
    UnknownOption,
    UnknownUnit,
    did_you_mean,
    shown,
)
from fusynk.manager.entry import Entry, UnitKind
from fusynk.manager.schedule import Schedule, schedule_of
from fusynk.plan import Plan

_OF_ATTEMPTS = frozenset(AdjustableOptions.__annotations__)


class Registry:
    """What is registered.

    Args:
        timezone: Where cron expressions are read that name no zone.
        options: Options of the plans that units are compiled to.
    """

    def __init__(self, timezone: str, options: PlanOptions) -> None:
        self._timezone = timezone
        self._options = options
        self._entries: dict[str, Entry] = {}

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the units in order of registration."""
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        """Count them."""
        return len(self._entries)

    def names(self, kind: UnitKind | None = None) -> tuple[str, ...]:
        """Return the names of all units, or of those of one kind, in order of registration."""
        return tuple(entry.name for entry in self._entries.values() if kind is None or entry.kind == kind)

    def find(self, unit: object, kind: UnitKind | None = None) -> Entry:
        """Return the entry of a unit or a name.

        Args:
            unit: The unit or the name.
            kind: What it must be; any if left out.

        Raises:
            UnknownUnit: It is not registered, or of another kind.
        """
        entry = self._entries.get(unit) if isinstance(unit, str) else self._of_object(unit)
        if entry is None:
            raise UnknownUnit(self._unknown(unit))
        if kind is not None and entry.kind != kind:
            message = f"{entry.name!r} is no {kind} but a {entry.kind}; call run({entry.name!r}), which runs any unit."
            raise UnknownUnit(message)
        return entry

    def _of_object(self, unit: object) -> Entry | None:
        found = normalise(unit)
        if found is None:
            return None
        layer, instance = found
        known = [entry for entry in self._entries.values() if entry.is_of(layer, instance)]
        if len(known) > 1:
            names = " and ".join(repr(entry.name) for entry in known)
            raise UnknownUnit(f"{layer.unit.name!r} is registered as {names}; ask by the name.")
        if not known and layer.unit.name in self._entries:
            raise UnknownUnit(f"{layer.unit.name!r} is registered as another unit of that name; ask by the name.")
        return known[0] if known else None

    def is_name_of(self, name: str, unit: object) -> bool:
        """Tell whether a unit has this name here, or, if it is not registered, of its own.

        Args:
            name: The name.
            unit: The unit or a name.
        """
        if isinstance(unit, str):
            return unit == name
        found = normalise(unit)
        if found is None:
            return False
        entry = self._entries.get(name)
        if entry is not None and entry.is_of(*found):
            return True
        return name == found[0].unit.name and not any(entry.is_of(*found) for entry in self._entries.values())

    def _unknown(self, unit: object) -> str:
        found = None if isinstance(unit, str) else normalise(unit)
        name = unit if isinstance(unit, str) else shown(unit) if found is None else found[0].unit.name
        if not self._entries:
            return f"No unit {name!r} is registered; nothing is. Pass units to Manager(...), or call register(...)."
        known = sorted(self._entries)
        listed = ", ".join([*known[:10], "..."] if len(known) > 10 else known)  # noqa: PLR2004 - enough for an error
        return f"No unit {name!r} is registered.{did_you_mean(str(name), known) or f' There are: {listed}.'}"

    def made(self, unit: object, name: str | None = None) -> Entry:
        """Compile a unit and return its entry, which is not yet registered.

        Args:
            unit: The unit.
            name: What to register it as, if not by its own name.

        Raises:
            InvalidDeclaration: It is no unit.
            InvalidPlan: It cannot be compiled.
            InvalidOption: Its schedule cannot be kept.
        """
        found = normalise(unit)
        if found is None:
            message = f"register() takes a worker, a process or a layer, not {shown(unit)}{advice(unit)}."
            raise InvalidDeclaration(message)
        layer = found[0]
        plan: Plan[Any, Any] = compile_plan(cast("Artifact[object]", unit), **self._options)
        schedule = schedule_of(layer.unit.options, self._timezone)
        _check_inputs(layer.unit.name, plan, schedule)
        return Entry(
            name=layer.unit.name if name is None else name,
            unit=layer,
            instance=found[1],
            options=layer.unit.options,
            plan=plan,
            schedule=schedule,
        )

    def add(self, entry: Entry, *, replaces: bool = False) -> None:
        """Register an entry.

        Raises:
            AlreadyRegistered: The name is taken.
        """
        if not replaces and entry.name in self._entries:
            message = (
                f"{entry.name!r} is registered already; release it first, pass replace=True, or register this one as "
                "another name=..."
            )
            raise AlreadyRegistered(message)
        self._entries[entry.name] = entry

    def remove(self, entry: Entry) -> None:
        """Take an entry out."""
        del self._entries[entry.name]

    def has(self, name: str) -> bool:
        """Tell whether a name is taken."""
        return name in self._entries

    def update(self, entry: Entry, changes: Mapping[str, object]) -> None:
        """Change options of a unit, all of them or none.

        Args:
            entry: The unit.
            changes: The options of its schedule and of its attempts.

        Raises:
            UnknownOption: There is no such option, or it belongs to the declaration.
            InvalidOption: A value makes no sense.
        """
        known = SCHEDULE_NAMES | _OF_ATTEMPTS
        for option in changes:
            if option not in known:
                hint = did_you_mean(option, sorted(known)) or f" It takes: {', '.join(sorted(known))}."
                message = f"update({entry.name!r}) has no option {option!r}.{hint}"
                raise UnknownOption(message)
        of_attempts = {option: value for option, value in changes.items() if option in _OF_ATTEMPTS}
        of_schedule = {option: value for option, value in changes.items() if option in SCHEDULE_NAMES}
        options = adjusted_options("update()", entry.options, of_attempts)
        options = scheduled_options("update()", options, of_schedule)
        schedule = schedule_of(options, self._timezone)
        _check_inputs(entry.name, entry.plan, schedule)
        if of_attempts:
            entry.plan = entry.plan.override(entry.unit.with_options(**cast("AdjustableOptions", of_attempts)))
        entry.options, entry.schedule = options, schedule


def units_of(source: object) -> Iterator[object]:
    """Yield the workers and processes of a graph or a module, or the unit itself."""
    if isinstance(source, ModuleType):
        source = units_of_module(source)
    if not isinstance(source, Namespace):
        yield source
        return
    for layer in source:
        if layer.unit.kind != "layer":
            yield layer


def _check_inputs(name: str, plan: Plan[Any, Any], schedule: Schedule | None) -> None:
    """Refuse a schedule for what needs inputs that nobody gives."""
    needed = [needs.name for needs in plan.inputs.values() if needs.default is UNSET]
    if schedule is not None and needed:
        message = (
            f"{name!r} has a schedule, but needs {', '.join(map(repr, needed))}, which no schedule can give; "
            "give the parameter a default, or use another unit's artifact."
        )
        raise InvalidOption(message)
