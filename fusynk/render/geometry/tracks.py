"""On which row between two levels each line runs sideways, so that lines cross seldom and never share a cell."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count

from fusynk._core.graph import cycles_among, start_order, successors_of
from fusynk._core.ready import Fifo

_MOST_PAIRS = 100_000


@dataclass(slots=True, eq=False)
class Net:
    """A line between two levels: down in one column, sideways on one track, further down in other columns.

    Attributes:
        element: Where it comes from.
        top: The column it comes down in.
        bottoms: The columns it goes down in, in ascending order.
        parent: The net of the same line that it hangs from, if it is the end of a detour.
        track: The row it runs sideways on, counted from the upper level.
    """

    element: int
    top: int
    bottoms: list[int]
    parent: "Net | None" = None
    track: int = 0

    @property
    def left(self) -> int:
        """The first column it takes up."""
        return min(self.top, self.bottoms[0])

    @property
    def right(self) -> int:
        """The last column it takes up."""
        return max(self.top, self.bottoms[-1])

    @property
    def is_straight(self) -> bool:
        """Whether it needs no track."""
        return self.bottoms == [self.top]

    def parts_at(self, column: int) -> bool:
        """Whether there is a junction where it goes up or down in a column."""
        return self.left < column < self.right or (column == self.top and column in self.bottoms)


def set_tracks(nets: list[Net], covered: Mapping[int, int]) -> int:
    """Give each net its track; add the ends of detours where lines would block each other. Return how many there are.

    Args:
        nets: All lines between two levels. No column is the top of two, or the bottom of two.
        covered: The columns below boxes of the upper level, with the element of the box.
    """
    above = _kept_above(nets)
    _break_cycles(nets, above)
    placed: list[Net] = []
    for index in _from_above(nets, above):
        net = nets[index]
        rivals = [other.track for other in placed if other.left <= net.right + 1 and net.left <= other.right + 1]
        net.track = max([_first_track(net, [nets[other] for other in above[index]], covered), *(t + 1 for t in rivals)])
        placed.append(net)
    return max((net.track + 1 for net in placed), default=0)


def _kept_above(nets: Sequence[Net]) -> list[set[int]]:
    """Return for each net those that must run above it: those that come down where it goes further down."""
    tops = {net.top: index for index, net in enumerate(nets)}
    return [{tops[column] for column in net.bottoms if column in tops} - {index} for index, net in enumerate(nets)]


def _break_cycles(nets: list[Net], above: list[set[int]]) -> None:
    """Lead lines around where each would have to run above the other.

    The one goes down in a free column beside, runs below the other and then back. What hangs from it like that has
    nothing below that it must run above, so it is on no cycle, and every detour takes one cycle away.
    """
    used = {column for net in nets for column in (net.top, *net.bottoms)}
    while stuck := sorted(set(range(len(nets))) - set(_sorted(above))):
        for cycle in cycles_among(list(map(sorted, above)), stuck):
            lower, upper = cycle[0], cycle[-1]
            column = nets[upper].top
            beside = next(side for away in count(1) for side in (column - away, column + away) if side not in used)
            used.add(beside)
            nets[lower].bottoms.remove(column)
            insort(nets[lower].bottoms, beside)
            above[lower].remove(upper)
            nets.append(Net(nets[lower].element, beside, [column], nets[lower]))
            above.append({lower, upper})


def _sorted(above: Sequence[Collection[int]]) -> list[int]:
    """Return nets so that each comes after those above it; without those on cycles and what is below them."""
    predecessors = list(map(sorted, above))
    return start_order(predecessors, successors_of(predecessors), Fifo())


def _from_above(nets: Sequence[Net], above: Sequence[set[int]]) -> list[int]:
    """Return the nets that need a track in an order in which, running from above, few cross."""
    bent = [index for index in _sorted(above) if not nets[index].is_straight]
    if len(bent) ** 2 > _MOST_PAIRS:
        return bent
    losses = _losses(nets, bent)
    left = {index: sum(losses[index].values()) for index in bent}
    order: list[int] = []
    while left:
        free = (index for index in left if left.keys().isdisjoint(above[index]))
        order.append(min(free, key=lambda index: (left[index], nets[index].right - nets[index].left, index)))
        del left[order[-1]]
        for rival in losses[order[-1]].keys() & left:
            left[rival] -= losses[rival][order[-1]]
    return order


def _losses(nets: Sequence[Net], bent: Sequence[int]) -> dict[int, dict[int, int]]:
    """Return for each net, and each other that it meets, how many crossings more there are if it runs above it."""
    losses: dict[int, dict[int, int]] = {index: {} for index in bent}
    for one, other in combinations(bent, 2):
        loss = _crossings(nets[one], nets[other]) - _crossings(nets[other], nets[one])
        if loss:
            losses[one][other], losses[other][one] = loss, -loss
    return losses


def _crossings(upper: Net, lower: Net) -> int:
    """Count the crossings of two nets if one runs above the other."""
    if upper.right <= lower.left or lower.right <= upper.left:
        return 0
    comes_through = upper.left < lower.top < upper.right
    return comes_through + bisect_left(upper.bottoms, lower.right) - bisect_right(upper.bottoms, lower.left)


def _first_track(net: Net, above: Sequence[Net], covered: Mapping[int, int]) -> int:
    """Return the first track below those that a net is kept below."""
    # A junction right below a box it does not come from would look as if it did.
    parts = filter(net.parts_at, net.bottoms)
    track = int(any(covered.get(column, net.element) != net.element for column in parts))
    for other in above:
        # So would one line's junction right below the other's end in the same column.
        touching = other is not net.parent and (other.parts_at(other.top) or net.parts_at(other.top))
        track = max(track, other.track + 1 + touching)
    return track
