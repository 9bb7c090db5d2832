"""One owner of a file at a time, by a lock of the system, which frees it at the owner's death whatever that was."""

import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from weakref import WeakSet

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
        file = Path(f"{path}.lock")
        # Opened with O_CLOEXEC, so that no subprocess keeps it.
        self._file = FileIO(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        try:
            _take(path, self._file)
        except BaseException:
            self._file.close()
            raise
        _all.add(self)

    def end(self) -> None:
        """Give the file free."""
        with suppress(OSError):  # the lock goes with the descriptor, whatever the file says
            self._file.truncate(0)
        self._file.close()

    def disown(self) -> None:
        """Let go of the lock in a copy of this process, without giving the file free."""
        self._file.close()


_all: WeakSet[Ownership] = WeakSet()


def _disown_all() -> None:
    for one in _all:
        one.disown()


if hasattr(os, "register_at_fork"):
    # A child would keep the lock beyond the owner's death.
    os.register_at_fork(after_in_child=_disown_all)


if sys.platform == "win32":
    import msvcrt

    def _is_locked_now(descriptor: int) -> bool:
        """Lock a byte far behind the number, which others can read all the same."""
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _is_locked_now(descriptor: int) -> bool:
        try:
            # Not lockf: any close of the file in this process would drop that one.
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _take(path: Path, file: FileIO) -> None:
    """Lock the file and write this process's number into it."""
    if not _is_locked_now(file.fileno()):
        raise _locked(path, _owner(file))
    file.truncate(0)
    file.write(b"%d" % os.getpid())


def _owner(file: FileIO) -> int | None:
    """Return who has the lock, as far as that is known: a new owner may not have written its number yet."""
    try:
        owner = int(file.read(32) or b"")
    except (OSError, ValueError):
        return None
    return owner if _is_alive(owner) else None


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # a signal would end it there
        return True
    try:
        os.kill(process, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _locked(path: Path, owner: int | None) -> StoreLocked:
    where = {None: "elsewhere", os.getpid(): "in this process already"}.get(owner, f"in OS process {owner}")
    message = f"The store {str(path)!r} is open {where}; close it there, or give each manager a file of its own."
    return StoreLocked(message, path=str(path), owner=owner)
