"""What units say to share a bound: how much may be alive at once, and how much may start in a window of time."""

import re
from dataclasses import dataclass, field
from fractions import Fraction

from fusynk.errors import InvalidOption

_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,9}(?:\.\d{1,9})?)\s*(ms|s|secs?|seconds?|min|minutes?|h|hours?)\s*")
_LENGTHS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}


@dataclass(frozen=True, slots=True)
class Limit:
    """What units may share: `@layer(limit=tmdb, weight=1)`. Equal limits are one limit.

    There is one of it for each event loop, shared by every run there and every unit that names it. Waiting for it holds
    no slot, is first come, first served, and can be cancelled. A step passes over one that came before it only while
    the run of that one has no slot or thread free. A nested run re-enters the permit of the step that started it, one
    of its steps at a time; its starts count all the same.

    >>> tmdb = Limit("tmdb", concurrency=4, rate="40/10s")
    >>> tmdb.starts, tmdb.period
    (40, 10.0)

    Args:
        name: The limit's name, for errors and displays.
        concurrency: How much weight may be alive at once, `None` for no bound.
        rate: How many attempts may start in any window of that length, as in "40/10s", "5/s", "100/min"; `None` for no
            bound.

    Raises:
        InvalidOption: Neither is given, or one makes no sense.
    """

    name: str
    concurrency: int | None = field(default=None, kw_only=True)
    rate: str | None = field(default=None, kw_only=True, compare=False)
    starts: int = field(init=False, repr=False)
    period: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check what was given, and read the rate."""
        if not isinstance(self.name, str) or not self.name:
            raise InvalidOption(f"Limit({self.name!r}): the name must be a text that is not empty.")
        if self.concurrency is None and self.rate is None:
            raise InvalidOption(f'Limit({self.name!r}) limits nothing; give concurrency=4, rate="40/10s", or both.')
        whole = isinstance(self.concurrency, int) and not isinstance(self.concurrency, bool)
        if self.concurrency is not None and not (whole and self.concurrency > 0):
            message = f"Limit({self.name!r}, concurrency={self.concurrency!r}) must be a whole number from 1 up."
            raise InvalidOption(message)
        starts, period = (0, 0.0) if self.rate is None else _read_rate(self.name, self.rate)
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "period", period)


def _read_rate(name: str, rate: object) -> tuple[int, float]:
    """Return the starts and the seconds of a rate."""
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is not None:
        count, length, unit = found.groups()
        starts, period = int(count), float(Fraction(length or 1) * _LENGTHS[unit if unit == "ms" else unit[0]])
        if starts and period:
            return starts, period
    message = f'Limit({name!r}, rate={rate!r}) must be starts per time, such as "40/10s", "5/s" or "100/min".'
    raise InvalidOption(message)
