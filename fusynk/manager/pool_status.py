"""What can be seen of a worker pool at one moment."""

from dataclasses import dataclass
from typing import Literal

from fusynk._core.model import Milestone


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """What would run, and in which order, if nothing were added or changed.

    Attributes:
        names: The waiting pieces that would start, in that order.
        held: Those that would not.
        held_by: The paused piece at the head of these; `None` if the pool has no slots, or nothing is held.
    """

    names: tuple[str, ...]
    held: tuple[str, ...]
    held_by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedPiece:
    """A piece of work that has ended.

    Attributes:
        name: Its name.
        status: How.
        duration: Seconds; 0 if it never started.
        error: The type of what it raised, or `None`.
    """

    name: str
    status: Literal["succeeded", "failed", "cancelled"]
    duration: float
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotStatus:
    """What a slot does.

    Attributes:
        number: Its number, from 1.
        piece: The name of what runs in it, or `None`.
        run_id: The run of that, or `None`.
        seconds: For how long that has run.
        milestone: What that has reported last, such as its `progress`, or `None`.
        is_closing: Whether the pool has shrunk, and the slot goes when what runs in it has ended.
    """

    number: int
    piece: str | None = None
    run_id: str | None = None
    seconds: float = 0.0
    milestone: Milestone | None = None
    is_closing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPiece:
    """A piece of work that waits.

    Attributes:
        name: Its name.
        is_paused: Whether it is paused, and so holds everything behind it.
    """

    name: str
    is_paused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """What a pool does at one moment.

    Attributes:
        pool: Its name.
        size: How many slots it has.
        slots: What each of them does.
        waiting: What waits, in its order.
        ended: What has ended last, oldest first; at most 100.
    """

    pool: str
    size: int
    slots: tuple[SlotStatus, ...]
    waiting: tuple[WaitingPiece, ...]
    ended: tuple[EndedPiece, ...]
