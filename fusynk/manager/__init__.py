"""The Manager: units that run on demand and on schedules, for as long as their service lives."""

from fusynk.manager.entry import UnitState
from fusynk.manager.events import Stats
from fusynk.manager.manager import Manager
from fusynk.manager.piece import Piece
from fusynk.manager.pool import Pool
from fusynk.manager.pool_status import PoolStatus
from fusynk.manager.settings import ManagerOptions, Policy
from fusynk.manager.snapshot import Snapshot
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import MemoryStore, Store, StoredUnit
from fusynk.manager.watchdog import Stale

__all__ = [
    "Manager",
    "ManagerOptions",
    "MemoryStore",
    "Piece",
    "Policy",
    "Pool",
    "PoolStatus",
    "Snapshot",
    "SqliteStore",
    "Stale",
    "Stats",
    "Store",
    "StoredUnit",
    "UnitState",
]
