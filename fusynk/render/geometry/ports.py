"""Where on top of a box its arrows end."""

from collections.abc import Collection, Sequence
from math import ceil, inf

_BENT = 8
_BELOW_ANOTHER = 5
_BESIDE_ANOTHER = 3
_MOST_CHOICES = 20_000


def width_for(arrows: int) -> int:
    """Return how wide a box must be: an arrow on every other cell, none on a corner."""
    return 2 * arrows + 1


def ports_of(starts: Sequence[int], left: int, width: int, taken: Collection[int]) -> list[int]:
    """Return the columns where arrows end on top of a box, in ascending order, no two side by side.

    A line that can come straight down does, if that does not push others too far; the others are spread evenly.

    Args:
        starts: The columns where the lines come from, in ascending order.
        left: The left border of the box.
        width: Of the box.
        taken: The columns where lines come from, also those to other boxes: it is better not to end below them.
    """
    wishes = _evenly(left, width, len(starts))
    columns = range(left + 1, left + width - 1)
    if len(starts) * len(columns) > _MOST_CHOICES:
        return wishes
    # The least cost of arrows up to this one if it ends in each column, and the column of the one before it then.
    totals = [0.0] * len(columns)
    before: list[list[int]] = []
    for arrow, (start, wish) in enumerate(zip(starts, wishes, strict=True)):
        nearest = _best_so_far(totals) if arrow else [(0.0, -1)] * len(columns)
        before.append([column for _, column in nearest])
        totals = [
            total + _cost(column, start, wish, taken) for column, (total, _) in zip(columns, nearest, strict=True)
        ]
    return _traced(totals, before, left + 1)


def _evenly(left: int, width: int, arrows: int) -> list[int]:
    middle, apart = left + (width - 1) / 2, max(2, (width - 1) / (arrows + 1))
    return [ceil(middle + (arrow - (arrows - 1) / 2) * apart - 0.5) for arrow in range(arrows)]


def _cost(column: int, start: int, wish: int, taken: Collection[int]) -> int:
    if column == start:
        return 0
    cost = _BENT + abs(column - wish) + _BELOW_ANOTHER * (column in taken)
    return cost + _BESIDE_ANOTHER * (column - 1 in taken or column + 1 in taken)


def _best_so_far(totals: Sequence[float]) -> list[tuple[float, int]]:
    """Return for each column the least total of those at least two columns to the left, and where it is."""
    best = (inf, -1)
    found: list[tuple[float, int]] = [best] * min(2, len(totals))
    for column, total in enumerate(totals[:-2]):
        best = min(best, (total, column))
        found.append(best)
    return found


def _traced(totals: Sequence[float], before: Sequence[Sequence[int]], first: int) -> list[int]:
    """Follow the choices back from the best end."""
    column = min(range(len(totals)), key=totals.__getitem__)
    ports: list[int] = []
    for columns in reversed(before):
        ports.append(first + column)
        column = columns[column]
    return ports[::-1]
