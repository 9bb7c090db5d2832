"""The worker pools of a manager."""

from anyio import create_task_group

from fusynk.errors import AlreadyRegistered
from fusynk.manager.pool import Pool, Spawn, Tell
from fusynk.manager.pool_status import PoolStatus


class Pools:
    """Makes pools and ends them with their manager.

    Args:
        spawn: Starts what runs a piece, in the task group of the manager.
        tell: Tells events.
    """

    def __init__(self, spawn: Spawn, tell: Tell) -> None:
        self._spawn = spawn
        self._tell = tell
        self._pools: dict[str, Pool] = {}

    def make(self, name: str, size: int) -> Pool:
        """Return a new pool.

        Raises:
            AlreadyRegistered: There is one of that name.
            InvalidOption: The name or the size makes no sense.
        """
        if name in self._pools:
            message = f"There is a pool {name!r} already; keep what pool() returned, or give this one another name=..."
            raise AlreadyRegistered(message)
        pool = self._pools[name] = Pool(name, size, self._spawn, self._tell)
        return pool

    async def stop(self, grace: float) -> None:
        """Cancel what waits, give what runs some time, and forget the pools.

        Args:
            grace: Seconds that running pieces have to end by themselves.
        """
        async with create_task_group() as group:
            for pool in self._pools.values():
                group.start_soon(pool.stop, grace)
        self._pools.clear()

    def status(self) -> dict[str, PoolStatus]:
        """Return what each pool does, by name."""
        return {name: pool.status() for name, pool in self._pools.items()}
