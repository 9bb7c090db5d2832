"""Figures with their targets, as a table for people and as JSON for programs."""

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

from benchmarks.measure import middle


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a figure should keep. It is printed beside the figure and never asserted."""

    bound: Literal["at most", "at least", "below"]
    limit: float

    def is_met(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        if self.bound == "at least":
            return value >= self.limit
        return value <= self.limit if self.bound == "at most" else value < self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: the median of its samples.

    Attributes:
        benchmark: Which benchmark measured it.
        backend: Where it ran; empty when no event loop matters.
        name: What was measured.
        unit: Of the value: `x` for a ratio, `us` for microseconds.
        samples: One for each round.
        target: The bound it should keep, if there is one.
        note: What a reader should know beside the number.
    """

    benchmark: str
    name: str
    unit: str
    samples: Sequence[float]
    backend: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The median."""
        return middle(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the target is met; `None` without one."""
        return None if self.target is None else self.target.is_met(self.value)

    @property
    def key(self) -> tuple[str, str, str]:
        """What the same figure of another checkout is found by."""
        return (self.benchmark, self.backend, self.name)

    def row(self) -> dict[str, object]:
        """The figure as JSON."""
        return {**asdict(self), "samples": list(self.samples), "value": self.value, "met": self.met}


Former = dict[tuple[str, str, str], float]


def document(figures: Sequence[Figure], former: Former, settings: object) -> dict[str, object]:
    """Everything as JSON; with another checkout's values each row tells that value and the ratio to it."""
    rows = [figure.row() for figure in figures]
    for figure, row in zip(figures, rows, strict=True):
        if figure.key in former:
            row["former"] = former[figure.key]
            row["ratio_to_former"] = figure.value / former[figure.key] if former[figure.key] else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: metadata.version(name) for name in ("anyio", "trio", "wrapt")},
        "settings": settings,
        "figures": rows,
    }


def line(figure: Figure, former: Former) -> str:
    """One line of the table."""
    place = f"{figure.benchmark} {figure.backend}".strip()
    text = f"{place:<16} {figure.name:<42} {figure.value:>10.4g} {figure.unit:<4}"
    if figure.target is not None:
        verdict = "met" if figure.met else "MISSED"
        text += f" {figure.target.bound} {figure.target.limit:g}: {verdict}"
    if former.get(figure.key):
        text += f" [{figure.value / former[figure.key]:.2f}x of {former[figure.key]:.4g}]"
    return f"{text} {figure.note}".rstrip()
