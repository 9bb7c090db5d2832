"""Columns as fractions: on each level, elements as near to their neighbours as those beside them allow."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import fsum  # gives the same sum in every version of Python

from fusynk.render.geometry.effort import Effort
from fusynk.render.geometry.levels import Levels, Rows
from fusynk.render.geometry.sizes import Sizes

Pulls = Sequence[Sequence[tuple[int, int]]]

_SWEEPS = 12
_HARDLY = 0.01


def balanced(levels: Levels, rows: Rows, sizes: Sizes, effort: Effort) -> list[float]:
    """Return a column for each element; they keep the order and the distances of each level.

    Each level in turn is moved to where the weighted squares of the ways across to its neighbours are least: first to
    the neighbours above, then below, then both.

    Args:
        levels: What stands on each level.
        rows: The elements of each level from left to right.
        sizes: Of the elements.
        effort: After two sweeps, sweeping ends when it is spent.
    """
    offsets = [list(accumulate((sizes.apart(*pair) for pair in pairwise(row)), initial=0)) for row in rows]
    columns = [0.0] * len(levels.above)
    for row, across in zip(rows, offsets, strict=True):
        for element, offset in zip(row, across, strict=True):
            columns[element] = offset - across[-1] / 2
    upwards, downwards = pulls_of(levels, sizes)
    both = [[*above, *below] for above, below in zip(upwards, downwards, strict=True)]
    for sweep in range(_SWEEPS):
        pulls = (upwards, downwards)[sweep] if sweep <= 1 else both
        for level in range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows))):
            _settle(rows[level], offsets[level], pulls, columns)
        effort.spend(sum(map(len, both)))
        if sweep and effort.left <= 0:
            break
    return columns


def pulls_of(levels: Levels, sizes: Sizes) -> tuple[Pulls, Pulls]:
    """Return for each element its neighbours above and those below, each with the weight of the edge."""
    upwards = [[(other, sizes.weight(other, element)) for other in row] for element, row in enumerate(levels.above)]
    downwards = [[(other, sizes.weight(element, other)) for other in row] for element, row in enumerate(levels.below)]
    return upwards, downwards


def _settle(row: Sequence[int], offsets: Sequence[int], pulls: Pulls, columns: list[float]) -> None:
    """Move one level to where it is best as long as nothing else moves."""
    wishes: list[float] = []
    weights: list[float] = []
    for element, offset in zip(row, offsets, strict=True):
        weight = sum(heavy for _, heavy in pulls[element])
        wish = fsum(heavy * columns[other] for other, heavy in pulls[element]) / weight if weight else columns[element]
        wishes.append(wish - offset)
        weights.append(weight or _HARDLY)
    for element, offset, column in zip(row, offsets, _ascending(wishes, weights), strict=True):
        columns[element] = column + offset


def _ascending(wishes: Sequence[float], weights: Sequence[float]) -> list[float]:
    """Return the ascending numbers nearest to the wishes by weighted squares (M. Ayer and others, 1955)."""
    pools: list[tuple[float, float, int]] = []
    for wish, weight in zip(wishes, weights, strict=True):
        mean, heavy, count = wish, weight, 1
        while pools and pools[-1][0] > mean:
            before, weighs, members = pools.pop()
            mean = (before * weighs + mean * heavy) / (weighs + heavy)
            heavy += weighs
            count += members
        pools.append((mean, heavy, count))
    return [mean for mean, _, count in pools for _ in range(count)]
