"""A run as Chrome trace events in JSON: what Perfetto and chrome://tracing open.

The format: "Trace Event Format", Google, 2016. Times in it are microseconds; here with three decimals, because steps
may take less than one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeAlias

from fusynk._core.model import AttemptRecord, Milestone, RunStatus, Status
from fusynk._core.records import Records
from fusynk._core.wiring import EdgeKind
from fusynk.render.escape import for_json

_RUN = 1  # the one process of the trace
_OUTCOMES = {Status.SUCCEEDED: "succeeded", Status.FAILED: "failed", Status.CANCELLED: "cancelled"}

Fact: TypeAlias = "str | int | float | Mapping[str, str | int]"


@dataclass(slots=True)
class _Slice:
    """An attempt on its lane.

    Attributes:
        index: Its step or item.
        attempt: What happened.
        lane: The slot, from 1. What follows in a lane begins when what is before has ended.
        begin: In nanoseconds from the first of all.
        end: In nanoseconds; never the begin, because a slice of no length can hold no arrow.
        arrows_in: The numbers of the arrows that end here.
        arrows_out: The numbers of those that begin here.
    """

    index: int
    attempt: AttemptRecord
    lane: int
    begin: int
    end: int
    arrows_in: list[int] = field(default_factory=list[int])
    arrows_out: list[int] = field(default_factory=list[int])


def trace(records: Records, *, run_id: str, status: RunStatus) -> str:
    """Return a run as trace events.

    Args:
        records: What happened.
        run_id: The run's id.
        status: How it ended.
    """
    slices = _slices(records)
    _connect(records, slices)
    lanes = max((one.lane for one in slices), default=0)
    events = [_named("process_name", 0, f"fusynk run {run_id}"), *(_lane_name(lane) for lane in range(1, lanes + 1))]
    for one in slices:
        events += _events_of(one, records)
    events += _milestones(records, slices)
    rows = ",\n".join(json.dumps(event, allow_nan=False) for event in events)
    about = json.dumps({"run_id": for_json(run_id), "status": status})
    return f'{{"displayTimeUnit": "ms", "otherData": {about}, "traceEvents": [\n{rows}\n]}}\n'


def _slices(records: Records) -> list[_Slice]:
    """Put every attempt on the lowest lane that is free, in order of start."""
    rest: dict[int, Iterator[AttemptRecord]] = {}
    slices: list[_Slice] = []
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    ends: dict[int, int] = {}
    origin: float | None = None
    begin = 0
    for index in records.begun:
        if index not in rest:
            rest[index] = iter(records.attempts_of(index))
        attempt = next(rest[index], None)
        if attempt is None:
            continue
        origin = attempt.started if origin is None else origin
        while busy and busy[0][0] <= attempt.started:
            heappush(free, heappop(busy)[1])
        lane = heappop(free) if free else len(busy) + 1
        heappush(busy, (attempt.ended, lane))
        # Slices of no length are given one, and what began after them does so in the picture, too.
        begin = max(round((attempt.started - origin) * 1e9), ends.get(lane, 0), begin)
        ends[lane] = max(round((attempt.ended - origin) * 1e9), begin + 1)
        slices.append(_Slice(index, attempt, lane, begin, ends[lane]))
    return slices


def _connect(records: Records, slices: Sequence[_Slice]) -> None:
    """Draw an arrow for each dependency: from the last attempt of what was waited for to the first of what waited."""
    first: dict[int, _Slice] = {}
    last: dict[int, _Slice] = {}
    for one in slices:
        for index in {one.index, records.scheduler.step_of(one.index)}:
            first.setdefault(index, one)
            if index not in last or last[index].end <= one.end:
                last[index] = one
    number = 0
    for source, target in _dependencies(records, last):
        if source in last and target in first:
            number += 1
            last[source].arrows_out.append(number)
            first[target].arrows_in.append(number)


def _dependencies(records: Records, last: Mapping[int, _Slice]) -> Iterator[tuple[int, int]]:
    """Yield the edges between steps; those of chained fan-outs lead from item to item."""
    scheduler, wiring = records.scheduler, records.scheduler.wiring
    released_by: dict[int, int] = {}
    for step, sources in enumerate(wiring.predecessors):
        # What a barrier held back was let go by the member that ended last.
        whole = [released_by.get(source, source) for source in sources]
        if step in wiring.delays:
            ran = [source for source in whole if source in last]
            if ran:
                released_by[step] = max(ran, key=lambda source: last[source].end)
            continue
        for source, kind in zip(whole, wiring.kinds[step], strict=True):
            if kind == EdgeKind.CHAIN and source in scheduler.items and step in scheduler.items:
                yield from zip(scheduler.items[source], scheduler.items[step], strict=True)
            else:
                yield source, step


def _events_of(one: _Slice, records: Records) -> Iterator[dict[str, Fact]]:
    """Yield a slice and the ends of its arrows. An arrow belongs to the slice that is open on its lane by then."""
    attempt = one.attempt
    name = for_json(attempt.step)
    facts: dict[str, str | int] = {"attempt": attempt.number, "outcome": _outcome(one, records)}
    if attempt.error is not None:
        facts["error"] = for_json(type(attempt.error).__qualname__)
    yield _event("X", name, one.lane, one.begin) | {"dur": (one.end - one.begin) / 1000, "args": facts}
    for arrow in one.arrows_in:
        yield _event("f", "needs", one.lane, one.begin) | {"id": arrow, "bp": "e"}
    for arrow in one.arrows_out:
        yield _event("s", "needs", one.lane, one.end - 1) | {"id": arrow}


def _outcome(one: _Slice, records: Records) -> str:
    if one.attempt.error is not None:
        return "failed"
    return _OUTCOMES.get(Status(records.scheduler.state[one.index]), "succeeded")


def _milestones(records: Records, slices: Sequence[_Slice]) -> Iterator[dict[str, Fact]]:
    """Yield what bodies reported, by name, on the lane of the attempt that was at work then."""
    of_step: dict[str, list[_Slice]] = {}
    if records.milestones:
        for one in slices:
            of_step.setdefault(one.attempt.step, []).append(one)
    for milestone in records.milestones:
        place = _place_of(milestone, of_step.get(milestone.step, []))
        if place is not None:
            time = place.begin + round((milestone.time - place.attempt.started) * 1e9)
            yield _event("i", for_json(milestone.name), place.lane, min(max(time, place.begin), place.end - 1)) | {
                "s": "t"
            }


def _place_of(milestone: Milestone, slices: Sequence[_Slice]) -> _Slice | None:
    begun = [one for one in slices if one.attempt.started <= milestone.time]
    return begun[-1] if begun else None


def _event(kind: str, name: str, lane: int, nanoseconds: int) -> dict[str, Fact]:
    category = {"X": "attempt", "i": "milestone"}.get(kind, "dependency")
    return {"ph": kind, "name": name, "cat": category, "pid": _RUN, "tid": lane, "ts": nanoseconds / 1000}


def _named(kind: str, lane: int, name: str) -> dict[str, Fact]:
    return {"ph": "M", "name": kind, "pid": _RUN, "tid": lane, "args": {"name": for_json(name)}}


def _lane_name(lane: int) -> dict[str, Fact]:
    return _named("thread_name", lane, f"slot {lane}")
