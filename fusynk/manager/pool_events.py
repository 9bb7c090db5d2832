"""What happened in a worker pool, as facts in the past tense."""

from typing import TypeAlias

from fusynk.manager.events import ManagerEvent


class PoolEvent(ManagerEvent, frozen=True):
    """A fact of one pool.

    Attributes:
        pool: Its name.
    """

    pool: str


class PoolResized(PoolEvent, frozen=True):
    """A pool got another number of slots. What runs in those that are too many runs on.

    Attributes:
        former: How many there were.
        size: How many there are.
    """

    former: int
    size: int


class PieceEvent(PoolEvent, frozen=True):
    """A fact of one piece of work.

    Attributes:
        piece: Its name.
    """

    piece: str


class PieceAdded(PieceEvent, frozen=True):
    """A piece waits for a slot."""


class PieceUpdated(PieceEvent, frozen=True):
    """A waiting piece was changed.

    Attributes:
        options: The names of what was set.
    """

    options: tuple[str, ...]


class PiecePaused(PieceEvent, frozen=True):
    """A waiting piece was paused; it holds everything behind it."""


class PieceResumed(PieceEvent, frozen=True):
    """A paused piece waits for a slot again."""


class PieceStarted(PieceEvent, frozen=True):
    """A piece runs.

    Attributes:
        slot: The number of its slot, from 1.
        run_id: Its run.
    """

    slot: int
    run_id: str


class PieceSucceeded(PieceEvent, frozen=True):
    """A piece returned.

    Attributes:
        run_id: Its run.
        duration: Seconds.
    """

    run_id: str
    duration: float


class PieceFailed(PieceEvent, frozen=True):
    """A piece failed for good.

    Attributes:
        run_id: Its run.
        duration: Seconds.
        error: The type of what it raised.
    """

    run_id: str
    duration: float
    error: str


class PieceCancelled(PieceEvent, frozen=True):
    """A piece was cancelled, or will never start.

    Attributes:
        run_id: Its run, or `None` if it never started.
        duration: Seconds; 0 if it never started.
    """

    run_id: str | None
    duration: float


AnyPoolEvent: TypeAlias = (
    PoolResized
    | PieceAdded
    | PieceUpdated
    | PiecePaused
    | PieceResumed
    | PieceStarted
    | PieceSucceeded
    | PieceFailed
    | PieceCancelled
)
