"""All elements placed from left to right: the best looking of a few good orders."""

from collections.abc import Sequence
from dataclasses import dataclass

from fusynk.render.geometry.columns import columns_of
from fusynk.render.geometry.effort import Effort
from fusynk.render.geometry.levels import Levels, Rows
from fusynk.render.geometry.ordering import orders
from fusynk.render.geometry.sizes import Sizes

_A_CROSSING = 8
_A_COLUMN_SIDEWAYS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Where elements stand from left to right.

    Attributes:
        levels: What stands on each level.
        sizes: Of the elements.
        rows: The elements of each level from left to right.
        columns: The column of each element; the first ones may be negative.
        crossings: How many pairs of edges cross.
    """

    levels: Levels
    sizes: Sizes
    rows: Rows
    columns: Sequence[int]
    crossings: int

    def left(self, element: int) -> int:
        """Return the column of an element's left border."""
        return self.columns[element] - self.sizes.left(element)

    def ugliness(self) -> float:
        """Return a number that is less the fewer crossings, ways sideways and columns there are."""
        columns = self.columns
        ways = [abs(columns[one] - columns[other]) for one, row in enumerate(self.levels.below) for other in row]
        width = max(columns[row[-1]] + self.sizes.right(row[-1]) for row in self.rows) - min(
            self.left(row[0]) for row in self.rows
        )
        return _A_CROSSING * self.crossings + _A_COLUMN_SIDEWAYS * sum(ways) + width


def arranged(levels: Levels, sizes: Sizes, effort: Effort) -> Arrangement:
    """Place elements from left to right.

    Args:
        levels: What stands on each level, at least one.
        sizes: Of the elements.
        effort: What may be spent on good looks.
    """
    search = Effort(effort.left * 3 // 4)
    found = orders(levels, search)
    effort.spend(search.spent)
    arrangements = [
        Arrangement(
            levels=levels,
            sizes=sizes,
            rows=order.rows,
            columns=columns_of(levels, order.rows, sizes, effort),
            crossings=order.crossings,
        )
        for order in found
    ]
    return min(arrangements, key=Arrangement.ugliness)
