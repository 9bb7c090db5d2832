"""Which element stands left of which, so that few lines cross (K. Sugiyama, S. Tagawa, M. Toda, 1981)."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from fusynk.render.geometry.effort import Chance, Effort
from fusynk.render.geometry.levels import Levels, Rows

_SHUFFLED = 4
_SWEEPS = 24
_PATIENCE = 6
_SHAKES = 10
_SHAKES_OF_THE_BEST = 30


_Around = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """The elements of each level from left to right.

    Attributes:
        crossings: How many pairs of edges cross.
        length: How far edges lead sideways; 1 is the width of a level.
        rows: The elements.
    """

    crossings: int
    length: float
    rows: Rows = field(compare=False)


def orders(levels: Levels, effort: Effort) -> list[Order]:
    """Return a few good orders, at least one; the one nearest to the order of declaration first.

    Args:
        levels: What stands on each level.
        effort: The search ends when it is spent.
    """
    search = _Search(levels, effort)
    found: list[Order] = []
    for rows in search.starts():
        found.append(search.shaken(search.swept(rows), _SHAKES))
        if effort.left <= 0:
            break
    found.append(search.shaken(min(found), _SHAKES_OF_THE_BEST))
    found = [_upright(order, levels.rows) for order in found]
    return [order for place, order in enumerate(found) if all(order.rows != other.rows for other in found[:place])]


def _upright(order: Order, declared: Sequence[Sequence[int]]) -> Order:
    """Return an order or its mirror image, whichever is nearer to the order of declaration."""
    places = {element: place for row in declared for place, element in enumerate(row)}
    turned = sum(_inversions([places[element] for element in row], len(row)) for row in order.rows)
    pairs = sum(len(row) * (len(row) - 1) // 2 for row in order.rows)
    return replace(order, rows=[row[::-1] for row in order.rows]) if 2 * turned > pairs else order


class _Search:
    """Looks for good orders of the same levels.

    Args:
        levels: What stands on each level.
        effort: What all attempts share.
    """

    def __init__(self, levels: Levels, effort: Effort) -> None:
        self._levels = levels
        self._effort = effort
        self._chance = Chance()
        self._places = [0] * len(levels.above)
        self._edges = sum(map(len, levels.below))

    def starts(self) -> Iterator[Rows]:
        """Yield orders to begin with."""
        rows = self._levels.rows
        yield [list(row) for row in rows]
        yield self._depth_first()
        for _ in range(_SHUFFLED):
            yield [self._chance.shuffled(row) for row in rows]

    def _depth_first(self) -> Rows:
        """Put elements in the order in which lines followed from left to right reach them."""
        levels = self._levels
        depths = {element: depth for depth, row in enumerate(levels.rows) for element in row}
        rows: Rows = [[] for _ in levels.rows]
        seen: set[int] = set()
        stack = [element for row in levels.rows for element in row if not levels.above[element]][::-1]
        while stack:
            element = stack.pop()
            if element not in seen:
                seen.add(element)
                rows[depths[element]].append(element)
                stack.extend(reversed(levels.below[element]))
        return rows

    def swept(self, rows: Rows) -> Order:
        """Sort each level by the mean place of its neighbours, down and up, and swap; return the best order met."""
        self._number(rows)
        best = self._scored(rows)
        patience = _PATIENCE
        for sweep in range(_SWEEPS):
            if not best.crossings or not patience or self._effort.left <= 0:
                break
            self._sort(rows, downwards=sweep % 2 == 0)
            self._swap(rows)
            met = self._scored(rows)
            patience = _PATIENCE if met.crossings < best.crossings else patience - 1
            best = min(best, met)
        return best

    def shaken(self, best: Order, times: int) -> Order:
        """Move a few elements anywhere, mend what that breaks, and keep what is better, again and again."""
        for shake in range(times):
            if not best.crossings or self._effort.left <= 0:
                break
            rows = [row.copy() for row in best.rows]
            for row in rows:
                if self._chance.below(2):
                    row.insert(self._chance.below(len(row)), row.pop(self._chance.below(len(row))))
            self._number(rows)
            if shake % 3 == 2:  # noqa: PLR2004 (every third time)
                self._sort(rows, downwards=shake % 2 == 0)
            self._swap(rows)
            self._swap(rows)
            best = min(best, self._scored(rows))
        return best

    def _number(self, rows: Rows) -> None:
        for row in rows:
            self._number_row(row)

    def _number_row(self, row: Sequence[int]) -> None:
        for place, element in enumerate(row):
            self._places[element] = place

    def _scored(self, rows: Rows) -> Order:
        places, below = self._places, self._levels.below
        crossings, length = 0, 0.0
        for upper, lower in pairwise(rows):
            ends = [sorted(map(places.__getitem__, below[element])) for element in upper]
            crossings += _inversions([end for each in ends for end in each], len(lower))
            ways = [
                abs((2 * place + 1) * len(lower) - (2 * end + 1) * len(upper))
                for place, each in enumerate(ends)
                for end in each
            ]
            length += sum(ways) / (2 * len(upper) * len(lower))
        self._effort.spend(self._edges)
        return Order(crossings, length, [row.copy() for row in rows])

    def _sort(self, rows: Rows, *, downwards: bool) -> None:
        """Sort each level by the mean place of its neighbours; what has none keeps its place."""
        places = self._places
        neighbours = self._levels.above if downwards else self._levels.below
        for row in rows if downwards else reversed(rows):
            means = {
                element: sum(map(places.__getitem__, around)) / len(around)
                for element in row
                if (around := neighbours[element])
            }
            in_turn = iter(sorted(means, key=lambda element: (means[element], places[element])))
            row[:] = [next(in_turn) if element in means else element for element in row]
            self._number_row(row)
        self._effort.spend(self._edges)

    def _swap(self, rows: Rows) -> None:
        """Swap adjacent elements of each level as long as that takes crossings away."""
        for row in rows:
            if len(row) > 1:
                around = {element: self._around(element) for element in row}
                ends = sum(len(above) + len(below) for above, below in around.values())
                gains: dict[tuple[int, int], int] = {}
                while _swap_once(row, around, gains) and self._effort.left > 0:
                    self._effort.spend(ends)
                self._number_row(row)
                self._effort.spend(ends)

    def _around(self, element: int) -> tuple[list[int], list[int]]:
        """Return the places of an element's neighbours, above and below, in ascending order."""
        places, levels = self._places, self._levels
        return (
            sorted(map(places.__getitem__, levels.above[element])),
            sorted(map(places.__getitem__, levels.below[element])),
        )


def _swap_once(row: list[int], around: dict[int, _Around], gains: dict[tuple[int, int], int]) -> bool:
    """Walk along a level, take each element along as far as that helps, and say whether any moved."""
    moved = False
    for place in range(len(row) - 1):
        left, right = pair = (row[place], row[place + 1])
        if pair not in gains:
            gains[pair] = _gain(around[left], around[right])
        if gains[pair] > 0:
            row[place], row[place + 1] = right, left
            moved = True
    return moved


def _gain(left: _Around, right: _Around) -> int:
    """Return how many crossings fewer there are if two adjacent elements change places."""
    gain = 0
    for ours, theirs in zip(left, right, strict=True):
        for place in theirs:
            gain += len(ours) - bisect_right(ours, place) - bisect_left(ours, place)
    return gain


def _inversions(numbers: Sequence[int], limit: int) -> int:
    """Count the pairs of numbers in the wrong order, by partial sums in a tree (P. Fenwick, 1994).

    Args:
        numbers: From 0 up to the limit, which is left out.
        limit: Above all numbers.
    """
    sums = [0] * (limit + 1)
    inversions = 0
    for seen, number in enumerate(numbers):
        inversions += seen
        at = number + 1
        while at:
            inversions -= sums[at]
            at &= at - 1
        at = number + 1
        while at <= limit:
            sums[at] += 1
            at += at & -at
    return inversions
