"""In which column each element stands: long lines straight, boxes under what they depend on."""

from collections.abc import Sequence
from math import floor, fsum  # fsum gives the same sum in every version of Python

from fusynk.render.geometry.align import align, room_of
from fusynk.render.geometry.balance import balanced, pulls_of
from fusynk.render.geometry.effort import Effort
from fusynk.render.geometry.levels import Levels, Rows
from fusynk.render.geometry.runs import Runs, runs_of
from fusynk.render.geometry.sizes import Sizes

_SWEEPS = 6

_Pulls = Sequence[Sequence[tuple[int, int]]]


def columns_of(levels: Levels, rows: Rows, sizes: Sizes, effort: Effort) -> list[int]:
    """Return the column of each element; they keep the order and the distances of each level.

    Args:
        levels: What stands on each level.
        rows: The elements of each level from left to right.
        sizes: Of the elements.
        effort: The search for better columns ends when it is spent.
    """
    fractions = balanced(levels, rows, sizes, effort)
    runs = runs_of(levels, rows, sizes, fractions)
    wishes = [fsum(fractions[element] for element in members) / len(members) for members in runs.members]
    columns = _whole(runs, _straightened(runs, wishes, _pulls_of_runs(levels, runs, sizes), effort))
    align(levels, runs, sizes, columns)
    return [columns[run] for run in runs.run_of]


def _pulls_of_runs(levels: Levels, runs: Runs, sizes: Sizes) -> _Pulls:
    """Return for each run the others that its elements lead to and from, each with the weight of the edge."""
    upwards, downwards = pulls_of(levels, sizes)
    return [
        [
            (runs.run_of[other], weight)
            for element in members
            for other, weight in (*upwards[element], *downwards[element])
            if runs.run_of[other] != run
        ]
        for run, members in enumerate(runs.members)
    ]


def _straightened(runs: Runs, wishes: Sequence[float], pulls: _Pulls, effort: Effort) -> list[float]:
    """Push runs apart, then move one after the other to where it is best between those beside it, a few times."""
    columns = _apart(runs, wishes)
    for sweep in range(_SWEEPS):
        if effort.left <= 0:
            break
        for run in range(len(columns)) if sweep % 2 else reversed(range(len(columns))):
            total = sum(weight for _, weight in pulls[run])
            if total:
                wish = fsum(weight * columns[other] for other, weight in pulls[run]) / total
                first, last = room_of(runs, run, columns)
                columns[run] = min(max(wish, first), last)
        effort.spend(sum(map(len, pulls)))
    return columns


def _apart(runs: Runs, wishes: Sequence[float]) -> list[float]:
    """Push runs apart where they are too near: half by pushing to the right and half by pushing to the left.

    Both ways keep the distances, and so does the mean of the two.
    """
    to_the_right, to_the_left = list(wishes), list(wishes)
    for run, lefts in enumerate(runs.lefts):
        for left, apart in lefts.items():
            to_the_right[run] = max(to_the_right[run], to_the_right[left] + apart)
    for run in range(len(wishes) - 1, -1, -1):
        for right, apart in runs.rights[run].items():
            to_the_left[run] = min(to_the_left[run], to_the_left[right] - apart)
    return [(one + other) / 2 for one, other in zip(to_the_right, to_the_left, strict=True)]


def _whole(runs: Runs, columns: Sequence[float]) -> list[int]:
    """Round columns. That keeps distances, except where the last bit of a fraction got lost: there a run gives way."""
    rounded: list[int] = []
    for column, lefts in zip(columns, runs.lefts, strict=True):
        rounded.append(max([floor(column + 0.5), *(rounded[left] + apart for left, apart in lefts.items())]))
    return rounded
