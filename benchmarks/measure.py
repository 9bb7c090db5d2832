"""CPU time of contenders that take turns in one process.

CPU time, because wall time triples under a neighbour's load; taking turns, because a change of clock speed then meets
all contenders alike. Before each sample everything is collected, and the collector stays on: the garbage that a
contender makes is its own to pay for, that of the one before is not.
"""

import gc
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import process_time

from benchmarks.contenders import Contender


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender, and how many calls make one sample long enough to trust the clock."""

    contender: Contender
    calls: int = 1


Samples = dict[str, list[float]]


async def cpu_seconds(entry: Entry) -> float:
    """CPU seconds of one call; what a call returns is kept until the clock has been read."""
    gc.collect()
    kept: list[object] = [None]
    started = process_time()
    for _ in range(entry.calls):
        kept[0] = await entry.contender()
    return (process_time() - started) / entry.calls


async def take_turns(entries: Mapping[str, Entry], rounds: int) -> Samples:
    """CPU seconds per call of each contender, a sample for each round, after one call that is not counted."""
    samples: Samples = {name: [] for name in entries}
    for entry in entries.values():
        await entry.contender()
    for turn in range(rounds):
        for name in rotated(list(entries), turn):
            samples[name].append(await cpu_seconds(entries[name]))
    return samples


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The names, beginning with another one each turn, so that nobody always follows the same neighbour."""
    start = turn % len(names)
    return [*names[start:], *names[:start]]


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """The ratio within each round."""
    return [one / other for one, other in zip(above, below, strict=True)]


def middle(samples: Sequence[float]) -> float:
    """The median."""
    return statistics.median(samples)
