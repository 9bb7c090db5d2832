"""Locks of the system on a file, which frees them at the owner's death whatever that was."""

import os
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from weakref import WeakSet


class FileLock:
    """A file that is locked, and what its owner says in it. It is not locked until `take` says so.

    Attributes:
        file: Its path.
    """

    def __init__(self, file: Path) -> None:
        """Open the file; make it if it is not there.

        Args:
            file: Its path.

        Raises:
            OSError: It cannot be opened.
        """
        self.file = file
        # Opened with O_CLOEXEC, so that no subprocess keeps it.
        self._open = FileIO(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        _all.add(self)

    def take(self, *, shared: bool = False) -> bool:
        """Lock the file without waiting; a lock that is held already is changed.

        Args:
            shared: Whether others may have it too, if they share it as well.

        Returns:
            Whether that was possible.
        """
        return _is_locked_now(self._open.fileno(), shared=shared)

    def read(self) -> bytes:
        """Return what the owner has said."""
        self._open.seek(0)
        return self._open.read(1024) or b""

    def write(self, said: bytes) -> None:
        """Say something, in place of what was said before.

        Args:
            said: At most a kilobyte.
        """
        self._open.seek(0)
        self._open.write(said)
        self._open.truncate(len(said))

    def is_in_place(self) -> bool:
        """Tell whether the path still leads to this file, and not to one that was put there since, or to none."""
        try:
            found = self.file.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._open.fileno())
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Give the lock free; in a copy of this process, let go of it without that."""
        self._open.close()


_all: WeakSet[FileLock] = WeakSet()


def _disown_all() -> None:
    for one in _all:
        one.close()


if hasattr(os, "register_at_fork"):
    # A child would keep the lock beyond the owner's death.
    os.register_at_fork(after_in_child=_disown_all)


if sys.platform == "win32":
    import msvcrt

    def _is_locked_now(descriptor: int, *, shared: bool) -> bool:
        """Lock a byte far behind what is said, which others can read all the same; there is no sharing."""
        os.lseek(descriptor, 2**30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_UNLCK if shared else msvcrt.LK_NBLCK, 1)
        except OSError:
            return shared
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _is_locked_now(descriptor: int, *, shared: bool) -> bool:
        try:
            # Not lockf: any close of the file in this process would drop that one.
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_alive(process: int) -> bool:
    """Tell whether there is an OS process of that number.

    Args:
        process: The number.
    """
    if sys.platform == "win32":  # a signal would end it there
        return True
    with suppress(OSError, OverflowError):
        try:
            os.kill(process, 0)
        except PermissionError:
            return True
        return True
    return False
