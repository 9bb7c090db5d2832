"""What managers, their stores and their pools raise."""

from fusynk.errors.root import FusynkError


class ManagerError(FusynkError):
    """A manager does not do what it was asked for; nothing has changed."""


class UnknownUnit(ManagerError, LookupError):
    """A name or a unit that is not registered."""


class AlreadyRegistered(ManagerError):
    """Another unit is registered by that name."""


class UnitRunning(ManagerError):
    """The unit runs, and one run of it at a time is enough."""


class UnitPaused(ManagerError):
    """The unit is paused and does not run until it is resumed."""


class UnitDisabled(ManagerError):
    """The unit is disabled and does not run until it is enabled."""


class ManagerStopped(ManagerError):
    """The manager has been stopped and runs nothing until it is started again."""


class StoreError(FusynkError):
    """The store of a manager cannot be read or written. Its file is as it was.

    Attributes:
        path: The file.
    """

    def __init__(self, message: str, *, path: str) -> None:
        super().__init__(message)
        self.path = path


class DamagedStore(StoreError):
    """The file of a store is torn or was changed by something else."""


class ForeignStore(StoreError):
    """The file is no store of fusynk."""


class NewerStore(StoreError):
    """The file was written by a later version of fusynk."""


class StoreLocked(StoreError):
    """Somebody else has the store open.

    Attributes:
        owner: The number of the OS process that has it, or `None` if that is not known.
    """

    def __init__(self, message: str, *, path: str, owner: int | None = None) -> None:
        super().__init__(message, path=path)
        self.owner = owner


class StoreUnavailable(StoreError):
    """The system refuses to read or write the file; the cause says why."""


class StoreClosed(StoreError):
    """The store is not open."""


class PieceError(ManagerError):
    """A pool cannot do that with a piece of work. Nothing was changed.

    Attributes:
        piece: The name of the piece.
    """

    def __init__(self, message: str, *, piece: str) -> None:
        super().__init__(message)
        self.piece = piece


class DuplicatePiece(PieceError, ValueError):
    """A piece of that name waits or runs."""


class UnknownPiece(PieceError, LookupError):
    """The pool has no piece of that name."""


class PieceNotWaiting(PieceError, RuntimeError):
    """The piece runs, or has ended."""


class PieceCancelled(FusynkError):
    """The piece of work was cancelled before it ended."""
