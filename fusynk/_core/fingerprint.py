"""What a plan consists of, as far as a recorded run rests on it; and how two plans differ."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal, TypeAlias

import msgspec

from fusynk._core.options import OnError
from fusynk._core.program import Program
from fusynk._core.wiring import FROM_INPUT, EdgeKind
from fusynk.errors import DamagedJournal

_DIGEST: Final = 16
_MOST: Final = 1 << 28  # bytes of a description; a larger one was not written by fusynk
_NOT_A_PLAN: Final = "What the journal holds of the plan cannot be read."

Edge: TypeAlias = tuple[str, str, str, bool]
"""The parameter that an edge fills or an empty text, its source, its kind, and whether it has a condition."""


class StepDescription(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a recorded run rests on, of one step.

    Attributes:
        edges: What it waits for, in order.
        inputs: The inputs of the plan that it takes.
        on_error: What its failure does.
        is_fan_out: Whether it runs once for each item.
        compensates: Whether it is undone when its run is broken off.
    """

    edges: tuple[Edge, ...]
    inputs: tuple[str, ...]
    on_error: Literal["abort", "continue", "recover"]
    is_fan_out: bool
    compensates: bool


PlanDescription: TypeAlias = dict[str, StepDescription]


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """How one plan differs from another.

    Attributes:
        added: The steps that only the new one has.
        removed: The steps that only the old one has.
        changed: What else differs, a phrase each.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __str__(self) -> str:
        """Say all of it."""
        parts = [f"{', '.join(map(repr, names))} {what}" for names, what in self._named() if names]
        return "; ".join([*parts, *self.changed])

    def _named(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        return (
            (self.added, "was added" if len(self.added) == 1 else "were added"),
            (self.removed, "was removed" if len(self.removed) == 1 else "were removed"),
        )


def describe_plan(program: Program) -> bytes:
    """Return what a plan consists of, as bytes.

    Retries, timeouts, priorities and limits may change under a run that is resumed; names, edges, inputs, fan-outs,
    compensations and what a failure does may not. The functions themselves are not compared.

    Args:
        program: The plan.
    """
    names = program.wiring.names
    steps = sorted(program.wiring.steps(), key=names.__getitem__)  # their order in the plan may change with priorities
    described = {names[step]: _described(program, step) for step in steps}
    return zlib.compress(msgspec.json.encode(described), 1)


def fingerprint_of(description: bytes) -> str:
    """Return what tells a plan from others.

    Args:
        description: What `describe_plan` returned.
    """
    return blake2b(description, digest_size=_DIGEST).hexdigest()


def differences(old: bytes, new: bytes) -> Differences:
    """Return how two plans differ.

    Args:
        old: What `describe_plan` returned of the one.
        new: What it returned of the other.

    Raises:
        DamagedJournal: One of them is something else.
    """
    before, after = _read(old), _read(new)
    return Differences(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(
            f"{name!r}: {change}"
            for name, step in after.items()
            if name in before
            for change in _changes(before[name], step)
        ),
    )


def _read(description: bytes) -> PlanDescription:
    try:
        return msgspec.json.decode(zlib.decompressobj().decompress(description, _MOST), type=PlanDescription)
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedJournal(_NOT_A_PLAN, path="") from error


def _described(program: Program, step: int) -> StepDescription:
    wiring = program.wiring
    taken = zip(wiring.parameters[step], wiring.edges[step], strict=True)
    return StepDescription(
        edges=tuple(_edges(program, step)),
        inputs=tuple(parameter.name for parameter, edge in taken if edge == FROM_INPUT),
        on_error=_said_of(program.policies[step].on_error),
        is_fan_out=step in wiring.fan_outs,
        compensates=step in program.compensations,
    )


def _said_of(on_error: OnError) -> Literal["abort", "continue", "recover"]:
    return "recover" if callable(on_error) else on_error


def _edges(program: Program, step: int) -> Iterator[Edge]:
    """Yield the edges of a step; the barriers of run modes stand for what they wait for."""
    wiring = program.wiring
    filled: Mapping[int, str] = {
        edge: parameter.name for parameter, edge in zip(wiring.parameters[step], wiring.edges[step], strict=True)
    }
    for position, (source, kind) in enumerate(zip(wiring.predecessors[step], wiring.kinds[step], strict=True)):
        if source in wiring.delays:
            names = [wiring.names[member] for member in wiring.predecessors[source]]
            yield from (("", name, "order", False) for name in names)
        else:
            conditional = (step, position) in wiring.conditions
            yield filled.get(position, ""), wiring.names[source], EdgeKind(kind).name.lower(), conditional


def _changes(old: StepDescription, new: StepDescription) -> Iterator[str]:
    if old.on_error != new.on_error:
        yield f'on_error was "{old.on_error}" and is "{new.on_error}"'
    if old.is_fan_out != new.is_fan_out:
        yield "it was no fan-out and is one" if new.is_fan_out else "it was a fan-out and is none"
    if old.compensates != new.compensates:
        yield "it had no compensation and has one" if new.compensates else "it had a compensation and has none"
    if old.inputs != new.inputs:
        yield f"it took {_listed(old.inputs, 'no inputs')} and takes {_listed(new.inputs, 'none')}"
    gone = [edge for edge in old.edges if edge not in new.edges]
    come = [edge for edge in new.edges if edge not in old.edges]
    yield from (f"{_edge_text(edge)} is gone" for edge in gone)
    yield from (f"{_edge_text(edge)} is new" for edge in come)
    if not gone and not come and old.edges != new.edges:
        yield "its edges stand in another order"


def _listed(names: tuple[str, ...], none: str) -> str:
    return ", ".join(map(repr, names)) or none


def _edge_text(edge: Edge) -> str:
    parameter, source, kind, conditional = edge
    into = f" into {parameter!r}" if parameter else ""
    return f"its {kind} edge from {source!r}{into}{' with a condition' if conditional else ''}"
