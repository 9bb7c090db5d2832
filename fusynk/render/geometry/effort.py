"""Bounds and chance that make a drawing the same on every machine: no clock, no seed from outside."""

from collections.abc import Sequence
from dataclasses import dataclass

_MULTIPLIER = 48271
_MODULUS = 2**31 - 1


@dataclass(slots=True)
class Effort:
    """What may be spent on good looks, counted in comparisons of two ends of lines.

    Attributes:
        left: What may still be spent; below zero once more was spent than there was.
        spent: What was spent.
    """

    left: int
    spent: int = 0

    def spend(self, comparisons: int) -> None:
        """Count work that was done."""
        self.left -= comparisons
        self.spent += comparisons


class Chance:
    """The same numbers in every drawing (the minimal standard generator: S. Park and K. Miller, 1988)."""

    def __init__(self) -> None:
        self._state = 1

    def below(self, limit: int) -> int:
        """Return a number from 0 up to a limit, which is left out."""
        self._state = self._state * _MULTIPLIER % _MODULUS
        return self._state % limit

    def shuffled(self, numbers: Sequence[int]) -> list[int]:
        """Return the numbers in another order (R. Fisher and F. Yates, 1938)."""
        mixed = list(numbers)
        for last in range(len(mixed) - 1, 0, -1):
            other = self.below(last + 1)
            mixed[last], mixed[other] = mixed[other], mixed[last]
        return mixed
