"""How wide elements are, how far apart they stand, and how much it matters that lines between them are straight."""

from collections.abc import Sequence
from dataclasses import dataclass

NARROWEST = 5  # cells of a box
_BETWEEN_BOXES = 2
_BESIDE_LINES = 1
_TO_A_BOX, _FROM_A_BOX, _OF_A_LONG_LINE = 1, 2, 8


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of elements, which reach as far to the left of their column as to the right, or one cell less.

    Attributes:
        nodes: How many elements are nodes.
        widths: Of each element, in cells; 1 for bends.
    """

    nodes: int
    widths: Sequence[int]

    def left(self, element: int) -> int:
        """Return how many cells an element reaches to the left of its column."""
        return (self.widths[element] - 1) // 2

    def right(self, element: int) -> int:
        """Return how many cells an element reaches to the right of its column."""
        return self.widths[element] // 2

    def apart(self, left: int, right: int) -> int:
        """Return how many columns there must be from one element to the next on its level."""
        between = _BETWEEN_BOXES if max(left, right) < self.nodes else _BESIDE_LINES
        return self.right(left) + 1 + between + self.left(right)

    def weight(self, upper: int, lower: int) -> int:
        """Return how much it matters that an edge is straight: long lines most (E. Gansner and others, 1993)."""
        if lower < self.nodes:
            return _TO_A_BOX
        return _FROM_A_BOX if upper < self.nodes else _OF_A_LONG_LINE
