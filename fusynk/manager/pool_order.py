"""The order of a pool: what waits, what holds it, and what runs in which slot. No clock, no loop."""

from fusynk.errors import DuplicatePiece, PieceNotWaiting, UnknownPiece, did_you_mean
from fusynk.manager.pool_status import EndedPiece, Simulation


class PoolOrder:
    """Pieces by name, in the order in which they were added, and the slots.

    Args:
        pool: The name of the pool, for errors.
        size: How many slots there are, from 0.
        remember: How many of the pieces that have ended are remembered.

    Attributes:
        size: How many slots there are. More may be taken until what runs in them has ended.
        running: The names of what runs, by the number of its slot, from 1.
        ended: What has ended last, by name, oldest first.
    """

    def __init__(self, pool: str, size: int, *, remember: int = 100) -> None:
        self._pool = pool
        self._remember = remember
        self._waiting: dict[str, bool] = {}
        self.size = size
        self.running: dict[int, str] = {}
        self.ended: dict[str, EndedPiece] = {}

    @property
    def waiting(self) -> dict[str, bool]:
        """The waiting pieces in their order, and whether each is paused."""
        return dict(self._waiting)

    @property
    def slots(self) -> dict[int, str | None]:
        """What runs in each slot, by its number; also in those that are too many since the pool has shrunk."""
        numbers = sorted({*range(1, self.size + 1), *self.running})
        return {number: self.running.get(number) for number in numbers}

    def add(self, name: str) -> None:
        """Put a piece at the end.

        Raises:
            DuplicatePiece: One of that name waits or runs.
        """
        if name in self._waiting or self.is_running(name):
            where = "waits" if name in self._waiting else "runs"
            message = f"Pool {self._pool!r} has a piece {name!r} that {where} still; give this one another name."
            raise DuplicatePiece(message, piece=name)
        self.ended.pop(name, None)
        self._waiting[name] = False

    def pause(self, name: str) -> bool:
        """Hold a waiting piece and everything behind it; return whether it was not paused already."""
        self.check_waiting(name, "paused")
        was_paused, self._waiting[name] = self._waiting[name], True
        return not was_paused

    def resume(self, name: str) -> bool:
        """Hold a piece no more; return whether it was paused."""
        self.check_waiting(name, "resumed")
        was_paused, self._waiting[name] = self._waiting[name], False
        return was_paused

    def start_next(self) -> tuple[int, str] | None:
        """Give the first waiting piece the first free slot, and return both; `None` if there is none to start."""
        name = next(iter(self._waiting), None)
        if name is None or self._waiting[name] or len(self.running) >= self.size:
            return None
        del self._waiting[name]
        slot = next(number for number in range(1, self.size + 1) if number not in self.running)
        self.running[slot] = name
        return slot, name

    def end(self, ended: EndedPiece) -> None:
        """Note that a piece has ended, and forget what ended long before."""
        if self._waiting.pop(ended.name, None) is None:
            self.running = {slot: name for slot, name in self.running.items() if name != ended.name}
        self.ended[ended.name] = ended
        while len(self.ended) > self._remember:
            del self.ended[next(iter(self.ended))]

    def simulate(self) -> Simulation:
        """Return what would run, up to the first paused piece."""
        names = list(self._waiting)
        first = next((number for number, name in enumerate(names) if self._waiting[name]), len(names))
        if not self.size:
            return Simulation(names=(), held=tuple(names), held_by=None)
        held = tuple(names[first:])
        return Simulation(names=tuple(names[:first]), held=held, held_by=held[0] if held else None)

    def is_running(self, name: str) -> bool:
        """Tell whether a piece runs."""
        return name in self.running.values()

    def check_known(self, name: str, wanted: str) -> None:
        """Check that a piece waits or runs.

        Args:
            name: Its name.
            wanted: What cannot be done otherwise, as in "cancelled".

        Raises:
            UnknownPiece: There is none of that name.
            PieceNotWaiting: It has ended.
        """
        if name in self._waiting or self.is_running(name):
            return
        if name in self.ended:
            how = self.ended[name].status
            message = f"{name!r} of pool {self._pool!r} has ended ({how}) and cannot be {wanted}; add it again."
            raise PieceNotWaiting(message, piece=name)
        hint = did_you_mean(str(name), [*self._waiting, *self.running.values()])
        message = f"Pool {self._pool!r} has no piece {name!r} that could be {wanted}.{hint}"
        raise UnknownPiece(message, piece=name)

    def check_waiting(self, name: str, wanted: str) -> None:
        """Check that a piece waits; see `check_known`.

        Raises:
            UnknownPiece: There is none of that name.
            PieceNotWaiting: It runs, or has ended.
        """
        self.check_known(name, wanted)
        if name not in self._waiting:
            message = f"{name!r} of pool {self._pool!r} runs and cannot be {wanted}; cancel it, or let it end."
            raise PieceNotWaiting(message, piece=name)
