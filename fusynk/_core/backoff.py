"""How long to wait before a retry."""

from collections.abc import Callable
from dataclasses import dataclass

from fusynk.errors import InvalidOption


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential delays with full jitter. Make one with `backoff()`.

    The delay after attempt n is `uniform(0, min(max, base * factor ** (n - 1)))`: "full jitter" in
    M. Brooker, Exponential Backoff And Jitter (AWS Architecture Blog, 2015).

    Attributes:
        base: Upper bound of the first delay, in seconds.
        factor: What the bound is multiplied by after each attempt.
        max: The largest bound, in seconds.
        jitter: Whether to draw below the bound; without it, the delay is the bound.
    """

    base: float
    factor: float = 2.0
    max: float = 60.0
    jitter: bool = True

    def __post_init__(self) -> None:
        """Refuse delays that make no sense."""
        for name, least in (("base", 0.0), ("factor", 1.0), ("max", 0.0)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value < float("inf"):
                raise InvalidOption(f"backoff({name}=...) must be a number from {least:g} up, not {value!r}.")
        if not isinstance(self.jitter, bool):
            raise InvalidOption(f"backoff(jitter={self.jitter!r}) must be True or False.")

    def delay(self, attempt: int, draw: Callable[[], float]) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: The attempt that failed, from 1.
            draw: Returns a number in [0, 1); what makes the jitter.
        """
        try:
            bound = min(self.max, self.base * self.factor ** (attempt - 1))
        except OverflowError:
            bound = self.max
        return bound * draw() if self.jitter else bound


def backoff(base: float, *, factor: float = 2.0, max: float = 60.0, jitter: bool = True) -> Backoff:  # noqa: A002 - the word users expect
    """Return growing delays between attempts, for `retry_delay=`.

    Args:
        base: Upper bound of the first delay, in seconds.
        factor: What the bound is multiplied by after each attempt, from 1.
        max: The largest bound, in seconds.
        jitter: Draw each delay between zero and its bound, so that clients do not retry in step.

    Raises:
        InvalidOption: A value is negative, infinite or no number.
    """
    return Backoff(base=base, factor=factor, max=max, jitter=jitter)
