"""The runs that a process has in one journal, and the signs of life that it gives for them."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from fusynk.journals.claims import Claim, holder_of
from fusynk.journals.journalled_run import JournalledRun


class Leases:
    """Keeps what a process has claimed.

    Args:
        folder: Where the files are that are locked for runs.
        lease: Seconds of silence after which others may take the runs over.
        assure: Makes sure that nobody did. Nobody can while it gives signs of life.
    """

    def __init__(self, folder: Path, lease: float, assure: Callable[[], None]) -> None:
        self._folder = folder
        self._lease = lease
        self._assure = assure
        self._claims: dict[JournalledRun, Claim] = {}
        self._last_beat = 0.0

    def __iter__(self) -> Iterator[JournalledRun]:
        """Go through the runs, as they are now."""
        return iter(tuple(self._claims))

    def __contains__(self, run: JournalledRun) -> bool:
        """Tell whether this process has a run."""
        return run in self._claims

    def claim(self, number: int, owner: str) -> Claim:
        """Return the right to a run, which whoever gets it keeps or ends.

        Args:
            number: The number of the run.
            owner: What others are told.

        Raises:
            Held: Somebody else has it.
            OSError: Its file cannot be made.
        """
        return Claim(self._file(number), owner, self._lease)

    def holder_of(self, number: int) -> str | None:
        """Return who gave a sign of life for a run within the lease, if anybody did.

        Args:
            number: The number of the run.
        """
        return holder_of(self._file(number), self._lease)

    def keep(self, run: JournalledRun, claim: Claim) -> None:
        """Give signs of life for a run from now on.

        Args:
            run: The run.
            claim: The right to it.
        """
        if not self._claims:
            self._last_beat = time.monotonic()
        self._claims[run] = claim

    def end(self, run: JournalledRun) -> None:
        """Give a run free. Nothing happens if that was done before.

        Args:
            run: The run.
        """
        claim = self._claims.pop(run, None)
        if claim is not None:
            claim.end()

    def forget(self) -> None:
        """Have no runs any more, without giving them free."""
        self._claims.clear()

    @property
    def are_silent(self) -> bool:
        """Whether others may have taken runs over, because there was no sign of life for too long."""
        return time.monotonic() > self._last_beat + self._lease

    def tend(self) -> float | None:
        """Give signs of life when they are due; return in how many seconds the next ones are, or `None`."""
        if not self._claims:
            return None
        if self.are_silent:
            self._assure()
        elif time.monotonic() >= self._last_beat + self._lease / 4:
            self.beat()
        return max(0.0, self._last_beat + self._lease / 4 - time.monotonic())

    def beat(self) -> None:
        """Give signs of life."""
        for claim in self._claims.values():
            with suppress(OSError):  # somebody may take the run over, and this process will be told
                claim.beat()
        self._last_beat = time.monotonic()

    def _file(self, number: int) -> Path:
        return self._folder / str(number)
