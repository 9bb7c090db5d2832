"""A manager's task group is cancelled after each single step of its tasks; every piece of its pool ends once."""

from collections import Counter
from functools import partial
from typing import Any

import anyio
import pytest

from fusynk import errors, run_items
from fusynk.manager.events import ManagerEvent
from fusynk.manager.piece import Piece
from fusynk.manager.pool import Pool
from fusynk.manager.pool_events import PieceEvent
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, running_tasks
from tests.test_t04_cancel_everywhere import WAYS, Way

ENDINGS = {"Succeeded", "Failed", "Cancelled"}


async def cut_off_pool(way: Way, at: int) -> int:
    """Pieces of every kind in a task group that is cut off after so many steps. Returns the count of steps."""
    begun, ended, before = Counter[str](), Counter[str](), running_tasks()
    told: list[ManagerEvent] = []
    pieces: list[Piece[Any]] = []

    async def work(name: str, seconds: float, *, fails: bool = False) -> str:
        begun[name] += 1
        try:
            await anyio.sleep(seconds)
            if fails:
                raise ConnectionError
        finally:
            ended[name] += 1
        return name

    async def crawl() -> int:
        return len(await run_items(["a", "b", "c"], partial(work, seconds=1), concurrency=2))

    async def manage() -> None:
        async with anyio.create_task_group() as group:
            pool = Pool("pool", 2, group.start_soon, lambda kind, *facts: told.append(kind(0, 0.0, *facts)))
            try:
                pieces.append(pool.add("quick", work, "quick", 0))
                pieces.append(pool.add("slow", work, "slow", 3, timeout=10))
                pieces.append(pool.add("fails", work, "fails", 1, fails=True, retries=1, retry_delay=2))
                pieces.append(pool.add("crawl", crawl))
                pieces.append(pool.add("held", work, "held", 1))
                pool.pause("held")
                await pool.join()
            finally:
                with anyio.CancelScope(shield=True):
                    await pool.stop()

    steps, felt = await way(manage, at)

    assert begun == ended
    endings = [event for event in told if isinstance(event, PieceEvent) and type(event).__name__[5:] in ENDINGS]
    assert Counter(event.piece for event in endings) == Counter(piece.name for piece in pieces)
    assert {(event.piece, type(event).__name__[5:].lower()) for event in endings} == {
        (piece.name, piece.status) for piece in pieces
    }
    for piece in pieces:
        if piece.status == "succeeded":
            await piece.wait()
        else:
            with pytest.raises((errors.PieceCancelled, ConnectionError)):
                await piece.wait()
    assert felt or [piece.status for piece in pieces] == ["succeeded", "succeeded", "failed", "succeeded", "cancelled"]
    await assert_settled(before)
    return steps


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_every_piece_ends_once_wherever_the_manager_is_cancelled(way: Way, backend: Backend) -> None:
    total = run_virtual(cut_off_pool, way, 0, backend=backend)

    assert total > 5
    for at in range(1, total + 1):
        try:
            run_virtual(cut_off_pool, way, at, backend=backend)
        except BaseException as error:
            error.add_note(f"cancelled after step {at} of {total}")
            raise
