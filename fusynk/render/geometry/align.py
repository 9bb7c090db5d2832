"""The last touch: runs moved by a few cells where that takes kinks out of lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from fusynk.render.geometry.levels import Levels
from fusynk.render.geometry.runs import Runs
from fusynk.render.geometry.sizes import Sizes

_NEAR = 3


@dataclass(frozen=True, slots=True)
class _Goal:
    """What makes lines straight: other runs stand at most so far to the left, or to the right, of this one."""

    others: Sequence[int]
    left: int
    right: int

    def span(self, columns: Sequence[int]) -> tuple[int, int]:
        """Return the first and the last column that reach the goal, the first beyond the last if none does."""
        others = [columns[other] for other in self.others]
        return max(others) - self.right, min(others) + self.left


def align(levels: Levels, runs: Runs, sizes: Sizes, columns: list[int]) -> None:
    """Move each run to where most of its lines are straight, if that is near and free.

    Args:
        levels: What stands on each level.
        runs: All elements.
        sizes: Of the elements.
        columns: The column of each run, which is changed.
    """
    goals = _goals(levels, runs, sizes)
    for run in (*range(len(columns)), *reversed(range(len(columns)))):
        if goals[run]:
            columns[run] = _best(columns[run], [goal.span(columns) for goal in goals[run]], room_of(runs, run, columns))


def room_of(runs: Runs, run: int, columns: Sequence[float]) -> tuple[float, float]:
    """Return the first and the last column where a run may stand as long as nothing else moves.

    Args:
        runs: All runs.
        run: Which one.
        columns: The column of each.
    """
    first = max((columns[left] + apart for left, apart in runs.lefts[run].items()), default=-inf)
    last = min((columns[right] - apart for right, apart in runs.rights[run].items()), default=inf)
    return first, last


def _goals(levels: Levels, runs: Runs, sizes: Sizes) -> list[list[_Goal]]:
    """Return what to aim at: straight long lines, and boxes that all their lines come straight down to."""
    goals: list[list[_Goal]] = [[] for _ in runs.members]
    for lower, above in enumerate(levels.above):
        run, others = runs.run_of[lower], [runs.run_of[upper] for upper in above]
        left, right = (0, 0) if lower >= levels.nodes else (sizes.left(lower) - 1, sizes.right(lower) - 1)
        if above and run not in others:
            goals[run].append(_Goal(others, left, right))
            if len(above) == 1 and (lower >= levels.nodes or len(levels.below[above[0]]) == 1):
                goals[others[0]].append(_Goal([run], right, left))
    return goals


def _best(column: int, spans: Sequence[tuple[int, int]], room: tuple[float, float]) -> int:
    """Return the column nearby where most goals are reached, the nearest of several."""
    nearest = [min(max(column, first), last) for first, last in spans if first <= last]
    free = [goal for goal in nearest if abs(goal - column) <= _NEAR and room[0] <= goal <= room[1]]

    def rank(goal: int) -> tuple[int, int]:
        return -sum(first <= goal <= last for first, last in spans), abs(goal - column)

    return min([column, *free], key=rank)
