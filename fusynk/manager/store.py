"""What a manager keeps of its units from one process to the next, and where."""

from collections.abc import Mapping
from threading import Lock
from typing import Protocol

import msgspec

from fusynk.errors import StoreClosed, StoreLocked
from fusynk.manager.status import UnitStatus


class StoredUnit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a unit. Times are seconds since the epoch, durations seconds.

    Attributes:
        name: Its name.
        version: Which state this is; of two, a store keeps the one with the larger number.
        status: What it did. One that was "running" was interrupted.
        enabled: Whether it might run.
        paused: Whether it was paused, or to be paused after its run.
        runs: How many of its runs began.
        failures: How many of them failed.
        scheduled_runs: How many of them its schedule started.
        missed: How many points of its schedule were left out.
        last_started: When its last run began, or `None`.
        last_ended: When its last run ended, or `None`.
        last_duration: How long that took, or `None`.
        last_error: The type of what its last run raised, or `None`.
        position: Where its schedule was; see `Schedule.position`.
    """

    name: str
    version: int
    status: UnitStatus = "idle"
    enabled: bool = True
    paused: bool = False
    runs: int = 0
    failures: int = 0
    scheduled_runs: int = 0
    missed: int = 0
    last_started: float | None = None
    last_ended: float | None = None
    last_duration: float | None = None
    last_error: str | None = None
    position: float | None = None


class Store(Protocol):
    """Where the state of units is kept. Its methods block, and may be called from any thread, several at once.

    When a method returns, what it did is durable: it survives the death of this process, by any signal, and what else
    the store promises. When it raises, what was kept before is kept still, and it may be called again.
    """

    def open(self) -> None:
        """Take the store for this owner alone, and check all that it holds. It is not changed.

        Raises:
            StoreLocked: Somebody else has it open; it is free when they close it or die.
            DamagedStore: What it holds is torn, or was changed by something else.
            ForeignStore: It is no store.
            NewerStore: It was written by a later version.
            StoreUnavailable: The system refuses.
        """
        ...

    def load(self) -> Mapping[str, StoredUnit]:
        """Return all that is kept, by name.

        Raises:
            StoreClosed: The store is not open.
            StoreError: It cannot be read.
        """
        ...

    def save(self, *units: StoredUnit) -> None:
        """Keep these states, all or none. One whose version is not larger than the one that is kept is left out.

        Args:
            units: The states; one for a unit, or several.

        Raises:
            StoreClosed: The store is not open.
            StoreError: They cannot be written; none is kept.
        """
        ...

    def forget(self, *names: str) -> None:
        """Keep these units no longer. Unknown names are left out. A state that is saved later is a new one.

        Args:
            names: The names of the units.

        Raises:
            StoreClosed: The store is not open.
            StoreError: It cannot be written; all are kept.
        """
        ...

    def close(self) -> None:
        """Give the store free. Nothing happens if it is not open."""
        ...


class MemoryStore:
    """A store that lasts as long as this object: for tests, and for managers that follow one another in a process.

    >>> store = MemoryStore()
    >>> store.open()
    >>> store.save(StoredUnit(name="probe", version=2, runs=7))
    >>> store.save(StoredUnit(name="probe", version=1, runs=6))
    >>> store.load()["probe"].runs
    7
    >>> store.close()
    """

    def __init__(self) -> None:
        self._units: dict[str, StoredUnit] = {}
        self._is_open = False
        self._lock = Lock()

    def open(self) -> None:
        """See `Store`.

        Raises:
            StoreLocked: It is open.
        """
        with self._lock:
            if self._is_open:
                raise StoreLocked("The MemoryStore is open already; close it first.", path="")
            self._is_open = True

    def load(self) -> Mapping[str, StoredUnit]:
        """See `Store`.

        Raises:
            StoreClosed: It is not open.
        """
        with self._lock:
            self._check_open()
            return dict(self._units)

    def save(self, *units: StoredUnit) -> None:
        """See `Store`.

        Args:
            units: The states.

        Raises:
            StoreClosed: It is not open.
        """
        with self._lock:
            self._check_open()
            for unit in units:
                former = self._units.get(unit.name)
                if former is None or unit.version > former.version:
                    self._units[unit.name] = unit

    def forget(self, *names: str) -> None:
        """See `Store`.

        Args:
            names: The names of the units.

        Raises:
            StoreClosed: It is not open.
        """
        with self._lock:
            self._check_open()
            for name in names:
                self._units.pop(name, None)

    def close(self) -> None:
        """See `Store`."""
        with self._lock:
            self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreClosed("The MemoryStore is not open; call open() first.", path="")
