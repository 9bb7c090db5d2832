"""What a manager is like at one moment: a copy that can be kept, compared and written as JSON."""

from collections.abc import Mapping
from typing import cast

import msgspec

from fusynk._core.printable import plain
from fusynk.manager.entry import UnitState
from fusynk.manager.events import Stats
from fusynk.manager.pool_status import PoolStatus
from fusynk.manager.registry import Registry
from fusynk.manager.runs import Runs
from fusynk.manager.stats import ProcessFigures
from fusynk.manager.status import TRANSITIONS


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A manager at one moment.

    Attributes:
        time: When, in seconds since the epoch.
        is_running: Whether schedules are kept.
        units: What is to be said of each unit, by name, in order of registration.
        pools: What each worker pool does, by name.
        stats: The figures.
        subscriber_failures: How often each listener has raised, by name.
    """

    time: float
    is_running: bool
    units: Mapping[str, UnitState]
    pools: Mapping[str, PoolStatus]
    stats: Stats
    subscriber_failures: Mapping[str, int]

    def to_json(self) -> str:
        """Return it as JSON, which `msgspec.json.decode(text, type=Snapshot)` reads.

        Of what bodies reported and JSON has no form for, the name of its class is left.
        """
        return msgspec.json.encode(self, enc_hook=_in_json).decode()


def _in_json(value: object) -> object:
    return dict(cast("Mapping[object, object]", value)) if isinstance(value, Mapping) else plain(value)


def stats_of(registry: Registry, runs: Runs, figures: ProcessFigures, uptime: float) -> Stats:
    """Return the figures of a manager and its process.

    Args:
        registry: The units.
        runs: Their runs.
        figures: Those of the process.
        uptime: Seconds since the manager was started.
    """
    by_status: dict[str, int] = dict.fromkeys(TRANSITIONS, 0)
    for entry in registry:
        by_status[entry.status] += 1
    return Stats(
        uptime=uptime,
        units=len(registry),
        by_status=by_status,
        runs=runs.begun,
        failures=runs.failed,
        missed=sum(entry.missed for entry in registry),
        cpu=figures.cpu,
        cpu_time=figures.cpu_time,
        memory=figures.memory,
        threads=figures.threads,
    )
