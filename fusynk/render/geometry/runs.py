"""Runs: elements below one another that share a column, such as the bends of a long line."""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fusynk._core.graph import start_order
from fusynk._core.ready import Fifo
from fusynk.render.geometry.levels import Levels, Rows
from fusynk.render.geometry.sizes import Sizes

_FAR = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """All elements as runs, in an order in which each run comes after those to the left of it.

    Attributes:
        members: The elements of each run, from the top; most runs have one.
        run_of: The run of each element.
        lefts: For each run those beside it on the left, with how many columns apart they must be.
        rights: The same on the right.
    """

    members: Sequence[Sequence[int]]
    run_of: Sequence[int]
    lefts: Sequence[Mapping[int, int]]
    rights: Sequence[Mapping[int, int]]


def runs_of(levels: Levels, rows: Rows, sizes: Sizes, columns: Sequence[float]) -> Runs:
    """Join what should stand in one column.

    Args:
        levels: What stands on each level.
        rows: The elements of each level from left to right.
        sizes: Of the elements.
        columns: Where each element would like to stand.
    """
    followers = _followers(levels, rows)
    followed = set(followers.values())
    runs: list[list[int]] = []
    for first in (element for row in rows for element in row if element not in followed):
        runs += _cut([first], followers, columns)
    return _side_by_side(_from_left_to_right(runs, rows), rows, sizes)


def _cut(run: list[int], followers: Mapping[int, int], columns: Sequence[float]) -> Iterator[list[int]]:
    """Yield a run, in pieces if it leads far across: to keep it straight would make the drawing wide."""
    total = columns[run[0]]
    while run[-1] in followers:
        follower = followers[run[-1]]
        if abs(columns[follower] - total / len(run)) > _FAR:
            yield run
            run, total = [], 0.0
        run.append(follower)
        total += columns[follower]
    yield run


def _followers(levels: Levels, rows: Rows) -> dict[int, int]:
    """Return for elements that have one the next element of their run. No two of these pieces cross."""
    followers: dict[int, int] = {}
    places = {element: place for row in rows for place, element in enumerate(row)}
    for row in rows:
        kept: list[tuple[int, int]] = []
        # Pieces of long lines first: they may keep others from being straight, not the other way round.
        for _, upper, lower in sorted(_candidates(levels, row)):
            piece = (places[upper], places[lower])
            at = bisect(kept, piece)
            if (at == 0 or kept[at - 1][1] < piece[1]) and (at == len(kept) or kept[at][1] > piece[1]):
                kept.insert(at, piece)
                followers[upper] = lower
    return followers


def _candidates(levels: Levels, row: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield edges that should be straight: where a bend follows a bend, and where nothing else leads from or to both.

    With each comes its rank.
    """
    for upper in row:
        for lower in levels.below[upper]:
            bends = (upper >= levels.nodes) + (lower >= levels.nodes)
            if bends == 2 or len(levels.below[upper]) == len(levels.above[lower]) == 1:  # noqa: PLR2004 (both)
                yield -bends, upper, lower


def _from_left_to_right(runs: Sequence[Sequence[int]], rows: Rows) -> list[Sequence[int]]:
    """Sort runs so that each comes after those left of it; there is such an order because no two of them cross."""
    run_of = {element: run for run, members in enumerate(runs) for element in members}
    lefts: list[dict[int, None]] = [{} for _ in runs]
    rights: list[dict[int, None]] = [{} for _ in runs]
    for row in rows:
        for left, right in pairwise(run_of[element] for element in row):
            rights[left][right] = lefts[right][left] = None
    return [runs[run] for run in start_order(list(map(tuple, lefts)), list(map(tuple, rights)), Fifo())]


def _side_by_side(runs: Sequence[Sequence[int]], rows: Rows, sizes: Sizes) -> Runs:
    run_of = [0] * len(sizes.widths)
    for run, members in enumerate(runs):
        for element in members:
            run_of[element] = run
    lefts: list[dict[int, int]] = [{} for _ in runs]
    rights: list[dict[int, int]] = [{} for _ in runs]
    for row in rows:
        for left, right in pairwise(row):
            ours, theirs = run_of[left], run_of[right]
            rights[ours][theirs] = lefts[theirs][ours] = max(rights[ours].get(theirs, 0), sizes.apart(left, right))
    return Runs(members=runs, run_of=run_of, lefts=lefts, rights=rights)
