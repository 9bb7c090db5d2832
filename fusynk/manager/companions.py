"""What goes on beside a manager's schedules, for as long as it runs: scans, figures, the dashboard."""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import anyio
from loguru import logger

from fusynk.manager.events import Stats, StatsTaken
from fusynk.manager.listeners import Listeners
from fusynk.manager.settings import ManagerSettings
from fusynk.manager.snapshot import Snapshot

Companion: TypeAlias = Callable[[], Coroutine[Any, Any, None]]


def companions_of(
    settings: ManagerSettings,
    listeners: Listeners,
    *,
    scan: Callable[[], object],
    stats: Callable[[], Stats],
    snapshot: Callable[[], Snapshot],
) -> list[Companion]:
    """Return what a manager with these settings has beside it.

    Args:
        settings: The manager's.
        listeners: Who is told of figures.
        scan: Has the watchdog look once.
        stats: Takes the figures.
        snapshot: Returns what the manager is like.
    """
    found: list[Companion] = [partial(_repeat, settings.scan_every, scan)]
    if settings.stats_every is not None:
        found.append(partial(_repeat, settings.stats_every, lambda: listeners.tell(StatsTaken, stats())))
    if settings.dashboard:
        from fusynk.manager.dashboard import show_dashboard  # noqa: PLC0415 - rich is loaded for those who look

        found.append(partial(show_dashboard, snapshot))
    return found


async def _repeat(seconds: float, function: Callable[[], object]) -> None:
    while True:
        await anyio.sleep(seconds)
        try:
            function()
        except Exception as error:  # noqa: BLE001 - a store that refuses now may take it the next time
            with suppress(Exception):  # a sink that raises must not hurt the manager
                logger.warning("What a manager does every {} s raised {}; it goes on", seconds, type(error).__name__)
