"""A disk that loses power: what may be left of what was done in a folder.

What is synced is there, contents by their file, and names by their folder. Of the rest each sector holds what it held
after any of the writes to it, as in ALICE (Pillai and others, 2014): so writes are lost, torn and out of order.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Literal, TypeAlias

from tests.journals.recorded_disk import Deed

SECTOR = 512

Files: TypeAlias = dict[str, bytes]
Manner: TypeAlias = Literal["nothing", "everything", "the first ones", "any"]
MANNERS: tuple[Manner, ...] = ("nothing", "everything", "the first ones", "any", "any", "any")


@dataclass(slots=True)
class _Content:
    """What a file holds, whatever it is called."""

    synced: bytes = b""
    later: list[Deed] = field(default_factory=list[Deed])


class Disk:
    """A folder on a disk.

    Attributes:
        names: What its files are called now.
    """

    def __init__(self) -> None:
        self.names: dict[str, _Content] = {}
        self._synced: dict[str, _Content] = {}
        self._later: list[dict[str, _Content | None]] = []

    def see(self, deed: Deed) -> None:
        """Let something be done."""
        match deed.kind:
            case "make":
                if deed.name not in self.names:
                    self._rename({deed.name: _Content()})
            case "write" | "cut":
                self.names[deed.name].later.append(deed)
            case "sync":
                content = self.names[deed.name]
                content.synced, content.later = _result(content.synced, content.later), []
            case "rename":
                self._rename({deed.name: None, deed.other: self.names[deed.name]})
            case "remove":
                self._rename({deed.name: None})
            case "sync names":
                self._synced, self._later = dict(self.names), []
            case "say":
                pass

    def left(self, random: Random) -> Files:
        """Return files that a loss of power at this moment may leave."""
        names = dict(self._synced)
        for place in _reached([set(change) for change in self._later], random):
            for name, content in self._later[place].items():
                if content is None:
                    names.pop(name, None)
                else:
                    names[name] = content
        return {name: _left(content, random) for name, content in names.items()}

    def _rename(self, change: dict[str, _Content | None]) -> None:
        self._later.append(change)
        for name, content in change.items():
            if content is None:
                del self.names[name]
            else:
                self.names[name] = content


def _left(content: _Content, random: Random) -> bytes:
    pieces = [piece for deed in content.later for piece in _pieces(deed)]
    reached = _reached([{piece.place // SECTOR} for piece in pieces], random)
    filling = random.choice([bytes(1), random.randbytes(1)])
    left = _result(content.synced, [pieces[place] for place in reached], filling)
    longest = max([piece.place + len(piece.content) for piece in pieces], default=0)
    # The length is noted elsewhere on a disk than what stands there.
    return left.ljust(random.choice([0, 0, longest]), filling)


def _pieces(deed: Deed) -> list[Deed]:
    """Return the parts of a write that are written to one sector each."""
    if deed.kind == "cut":
        return [deed]
    end = deed.place + len(deed.content)
    borders = [deed.place, *range((deed.place // SECTOR + 1) * SECTOR, end, SECTOR), end]
    return [
        deed._replace(place=begin, content=deed.content[begin - deed.place : until - deed.place])
        for begin, until in pairwise(borders)
    ]


def _reached(touched: Sequence[AbstractSet[object]], random: Random) -> list[int]:
    """Return which changes reached the disk, by what each one touches: what touches the same comes in its order."""
    manner = random.choice(MANNERS)
    if manner == "nothing":
        return []
    if manner == "everything":
        return [*range(len(touched))]
    if manner == "the first ones":
        return [*range(random.randrange(len(touched) + 1))]
    share, reached, lost = random.choice([0.1, 0.5, 0.9]), list[int](), set[object]()
    for place, its in enumerate(touched):
        if random.random() < share and lost.isdisjoint(its):
            reached.append(place)
        else:
            lost |= its
    return reached


def _result(content: bytes, deeds: Sequence[Deed], filling: bytes = bytes(1)) -> bytes:
    """Return a content after some writes; what lies between them and was never written is filled."""
    result = bytearray(content)
    for deed in deeds:
        end = deed.place + len(deed.content)
        if deed.kind == "cut":
            del result[deed.place :]
        result += filling * (max(end, deed.place) - len(result))
        result[deed.place : end] = deed.content
    return bytes(result)
