"""One owner of a store at a time, by a lock of the system, which frees it at the owner's death whatever that was."""

import os
from contextlib import suppress
from pathlib import Path

from fusynk._durable.locking import FileLock, is_alive
from fusynk.errors import StoreLocked


class Ownership:
    """The right to a file. A second file beside it is what is locked; it holds the owner's number and stays.

    Attributes:
        path: The file that is owned.
    """

    def __init__(self, path: Path) -> None:
        """Take the file.

        Args:
            path: The file. It need not exist.

        Raises:
            StoreLocked: Somebody else has it.
            OSError: The lock beside it cannot be made.
        """
        self.path = path
        self._lock = FileLock(Path(f"{path}.lock"))
        try:
            _take(path, self._lock)
        except BaseException:
            self._lock.close()
            raise

    def end(self) -> None:
        """Give the file free."""
        with suppress(OSError):  # the lock goes with the descriptor, whatever the file says
            self._lock.write(b"")
        self._lock.close()


def _take(path: Path, lock: FileLock) -> None:
    """Lock the file and write this process's number into it."""
    if not lock.take():
        raise _locked(path, _owner(lock))
    lock.write(b"%d" % os.getpid())


def _owner(lock: FileLock) -> int | None:
    """Return who has the lock, as far as that is known: a new owner may not have written its number yet."""
    try:
        owner = int(lock.read())
    except (OSError, ValueError):
        return None
    return owner if is_alive(owner) else None


def _locked(path: Path, owner: int | None) -> StoreLocked:
    where = {None: "elsewhere", os.getpid(): "in this process already"}.get(owner, f"in OS process {owner}")
    message = f"The store {str(path)!r} is open {where}; close it there, or give each manager a file of its own."
    return StoreLocked(message, path=str(path), owner=owner)
