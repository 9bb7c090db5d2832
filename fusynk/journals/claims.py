"""One owner of a run at a time: a lock of the system, and a sign of life for owners that are stopped, not dead."""

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from fusynk._durable.locking import FileLock


class Held(Exception):
    """Somebody else has the run.

    Attributes:
        owner: Who, or `None` if that is not known.
    """

    def __init__(self, owner: str | None) -> None:
        super().__init__()
        self.owner = owner


class Claim:
    """The right to a run. It is taken and taken over only by who may write to the journal's file meanwhile."""

    def __init__(self, file: Path, owner: str, lease: float) -> None:
        """Take a run.

        Args:
            file: The file that is locked for it.
            owner: What others are told.
            lease: After how many seconds of silence an owner that lives loses the run.

        Raises:
            Held: Somebody else has it.
            OSError: The file cannot be made.
        """
        self._owner = owner.encode("utf-8", "surrogatepass")[:512]
        while True:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            self._lock = FileLock(file)
            try:
                if not self._lock.take():
                    _check_silent(self._lock, lease)
                    # Its owner keeps the lock of a file that has no name any more.
                    file.unlink(missing_ok=True)
                elif self._lock.is_in_place():  # and was not removed by who had it, between opening and locking
                    self.beat()
                    return
            except BaseException:
                self._lock.close()
                raise
            self._lock.close()

    def beat(self) -> None:
        """Give a sign of life. Its length is always the same, so that nobody reads half of two."""
        # The system's clock, which all its processes share and nobody sets.
        self._lock.write(b"%020d %b" % (time.monotonic_ns(), self._owner))

    def end(self) -> None:
        """Give the run free."""
        with suppress(OSError):
            if self._lock.is_in_place():
                self._lock.file.unlink()
        self._lock.close()


def holder_of(file: Path, lease: float) -> str | None:
    """Return who gave a sign of life for a run within the lease, without taking it.

    Args:
        file: The file that is locked for the run.
        lease: Seconds.
    """
    try:
        said, _, owner = file.read_bytes().partition(b" ")
        since = time.monotonic() - int(said) / 1e9
    except (OSError, ValueError):
        return None
    return owner.decode("utf-8", "surrogatepass") if since <= lease else None


def this_process() -> str:
    """Return what others are told of an owner that does not call itself otherwise."""
    return f"OS process {os.getpid()} on {socket.gethostname()}"


def _check_silent(lock: FileLock, lease: float) -> None:
    """Raise `Held` unless the owner gave no sign of life for as long as that."""
    said, _, owner = lock.read().partition(b" ")
    try:
        since = time.monotonic() - int(said) / 1e9
    except ValueError:
        raise Held(None) from None
    if since <= lease:
        raise Held(owner.decode("utf-8", "surrogatepass"))
