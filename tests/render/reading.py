"""Reads drawings back: which units do lines connect, if one follows them with a finger?

Nothing here knows how drawings are made. Only what is seen counts: characters in cells.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

Cell = tuple[int, int]
Way = tuple[int, int]
Strand = tuple[Cell, bool]

N, E, S, W = (0, -1), (1, 0), (0, 1), (-1, 0)
# Where lines leave a cell. A junction leads wherever lines come in; a crossing is two strands that do not touch.
_ARMS: dict[str, frozenset[Way]] = {
    "│": frozenset({N, S}),
    "─": frozenset({E, W}),
    "┌": frozenset({E, S}),
    "┐": frozenset({W, S}),
    "└": frozenset({E, N}),
    "┘": frozenset({W, N}),
    "┼": frozenset({N, E, S, W}),
    "●": frozenset({N, E, S, W}),
    "▼": frozenset({N}),
}
# A corner in ASCII may lead left or right: which is seen from its neighbour.
_ASCII_ARMS: dict[str, frozenset[Way]] = {
    "|": _ARMS["│"],
    "-": _ARMS["─"],
    ".": frozenset({E, W, S}),
    "'": frozenset({E, W, N}),
    "+": _ARMS["┼"],
    "*": _ARMS["●"],
    "v": _ARMS["▼"],
}


@dataclass
class Seen:
    """What a reader sees.

    Attributes:
        names: What is written in the boxes, or beside the bullets.
        edges: What is connected, from tail to head.
        lines: How many lines there are.
        faults: Where a reader stumbles: loose ends, lines of two boxes, heads that point nowhere.
    """

    names: list[str] = field(default_factory=list[str])
    edges: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    lines: int = 0
    faults: list[str] = field(default_factory=list[str])


def cells_of(text: str) -> dict[Cell, str]:
    """The character in each cell of a terminal; a wide one is in the first of its two."""
    cells: dict[Cell, str] = {}
    for y, line in enumerate(text.split("\n")):
        x = 0
        for char in line:
            if unicodedata.combining(char):
                cells[x - 1, y] += char
            else:
                cells[x, y] = char
                x += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return cells


def without_colour(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def read_boxes(text: str, *, ascii_only: bool = False) -> Seen:
    """Follow every line of a drawing with boxes."""
    return _Reader(cells_of(text), ascii_only=ascii_only).seen


class _Reader:
    def __init__(self, cells: Mapping[Cell, str], *, ascii_only: bool) -> None:
        self.seen = Seen()
        self._cells = cells
        self._arms = _ASCII_ARMS if ascii_only else _ARMS
        self._crossing, self._junction, self._head = "+*v" if ascii_only else "┼●▼"
        self._corners = "..''" if ascii_only else "┌┐└┘"
        self._across, self._upright, self._tail = "-|+" if ascii_only else "─│┬"
        self._box_at: dict[Cell, str] = {}
        self._tails: dict[Cell, str] = {}
        self._touching: dict[Cell, str] = {}
        self._joined: dict[Strand, Strand] = {}
        for x, y, right in list(self._boxes()):
            self._look_into(x, y, right)
        self._lines = {cell: char for cell, char in cells.items() if char in self._arms and cell not in self._box_at}
        for cell, char in self._lines.items():
            self._connect(cell, char)
        self._follow()

    def _boxes(self) -> Iterator[tuple[int, int, int]]:
        """Every frame: its left border, its upper border and its right border."""
        for (x, y), char in self._cells.items():
            if char != self._corners[0]:
                continue
            right = x + 1
            while self._cells.get((right, y)) == self._across:
                right += 1
            frame = [self._cells.get(cell) for cell in ((right, y), (x, y + 2), (right, y + 2))]
            sides = [self._cells.get(cell) for cell in ((x, y + 1), (right, y + 1))]
            bottom = {self._cells.get((column, y + 2)) for column in range(x + 1, right)}
            is_closed = frame == list(self._corners[1:]) and sides == [self._upright] * 2
            if is_closed and bottom <= {self._across, self._tail}:
                yield x, y, right

    def _look_into(self, x: int, y: int, right: int) -> None:
        name = "".join(self._cells.get((column, y + 1), "") for column in range(x + 1, right)).strip()
        self.seen.names.append(name)
        for column in range(x, right + 1):
            self._box_at |= {(column, row): name for row in (y, y + 1, y + 2)}
            if x < column < right and self._cells[column, y + 2] == self._tail:
                self._tails[column, y + 2] = name

    def _connect(self, cell: Cell, char: str) -> None:
        """Join the strands of neighbours that reach for each other; note what reaches for nobody."""
        met: set[Way] = set()
        for way in self._arms[char]:
            other = (cell[0] + way[0], cell[1] + way[1])
            back = (-way[0], -way[1])
            if other in self._lines and back in self._arms[self._lines[other]]:
                met.add(way)
                self._join(self._strand(cell, way), self._strand(other, back))
            elif way == N and other in self._tails:
                met.add(way)
            elif way == N and other in self._box_at:
                self._touching[cell] = self._box_at[other]
        needed = 3 if char == self._junction else 2 if char in self._corners else len(self._arms[char])
        if len(met) < needed or (char in self._corners and len(met) > needed):
            self.seen.faults.append(f"{char} at {cell} has a loose end")

    def _strand(self, cell: Cell, way: Way) -> Strand:
        return cell, self._cells[cell] == self._crossing and way in {N, S}

    def _find(self, strand: Strand) -> Strand:
        first = strand
        while strand in self._joined:
            strand = self._joined[strand]
        while first != strand:
            self._joined[first], first = strand, self._joined[first]
        return strand

    def _join(self, one: Strand, other: Strand) -> None:
        one, other = self._find(one), self._find(other)
        if one != other:
            self._joined[one] = other

    def _follow(self) -> None:
        """Note for each line the box it comes from and the boxes its heads point to."""
        owners: dict[Strand, str] = {}
        for (x, y), name in self._tails.items():
            below = (x, y + 1)
            if below not in self._lines or N not in self._arms[self._lines[below]]:
                self.seen.faults.append(f"no line leaves {name}")
            elif owners.setdefault(self._find(self._strand(below, N)), name) != name:
                self.seen.faults.append(f"{name} shares a line")
        for cell, name in self._touching.items():
            if owners.get(self._find((cell, False))) != name:
                self.seen.faults.append(f"what is at {cell} looks as if it came from {name}")
        for (x, y), char in self._lines.items():
            if char == self._head:
                source = owners.get(self._find(((x, y), False)))
                target = self._box_at.get((x, y + 1))
                if source is None or target is None or (source, target) in self.seen.edges:
                    self.seen.faults.append(f"the head at {(x, y)} leads from {source} to {target}")
                else:
                    self.seen.edges.add((source, target))
        self.seen.lines = len(owners)


def read_rails(text: str, *, ascii_only: bool = False) -> Seen:
    """Follow every rail of a drawing with one line a unit."""
    bullets, across = ("o#", "-") if ascii_only else ("○■", "─")
    goes_on, ends, joins = ("|*+", "'", "*'") if ascii_only else ("│├┤●┼", "└┘┴", "├┤●└┘┴")
    seen, lanes = Seen(), dict[int, str]()
    for line in text.split("\n") if text else ():
        own = min(place for place, char in enumerate(line) if char in bullets)
        rails = re.match(rf"[ {re.escape(bullets + across + goes_on + ends)}]*", line)
        name = line[rails.end() if rails else 0 :]
        row = dict(enumerate(line[: len(line) - len(name)]))
        seen.names.append(name)
        sources = [lanes[own]] if own in lanes else []
        for step in (-1, 1):
            lane = own
            while row.get(lane + step) == across:
                lane += 2 * step
                sources += [lanes.get(lane, "nobody")] if row[lane] in joins else []
        seen.edges |= {(source, name) for source in sources}
        seen.lines += row[own] == bullets[0]
        for lane in [lane for lane in lanes if lane != own]:
            if row.get(lane, " ") in ends:
                del lanes[lane]
            elif row.get(lane, " ") not in goes_on:
                seen.faults.append(f"the rail of {lanes[lane]} is lost beside {name}")
        seen.faults += [
            f"{row[lane]} beside {name} is no rail" for lane in row if row[lane] in goes_on and lane not in lanes
        ]
        lanes.pop(own, None)
        lanes |= {own: name} if row[own] == bullets[0] else {}
    seen.faults += [f"the rail of {name} leads nowhere" for name in lanes.values()]
    return seen
