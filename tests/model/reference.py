"""What a run of a case must do: a small discrete-event model of the scheduler, written from the documents alone."""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

Label = tuple[
    str, ...
]  # names an error: ("raised", step, attempt), ("timeout", step, attempt), ("refused", step, edge)
Ending = tuple[Any, ...]  # ("succeeded", artifact), ("failed", label), ("skipped", because, cause), ("cancelled", by)
Call = tuple[int, int]  # a step and the index of its item; -1 where the step does not fan out


class Brief:
    """Shows only the fields that differ from their defaults, so that a failing case can be read."""

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(cast(Any, self)) if getattr(self, f.name) != f.default}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


@dataclass(frozen=True, repr=False)
class Edge(Brief):
    """An edge to an earlier step. `test` is its condition; `default` is what a closed data edge passes instead."""

    source: int
    kind: Literal["use", "each", "outcome", "order"] = "use"
    test: Literal["", "even", "odd", "raise"] = ""
    default: int | None = None


@dataclass(frozen=True, repr=False)
class Step(Brief):
    """A step, parameters first among its edges. Its first `failures` attempts fail; with `items` it returns a list."""

    edges: tuple[Edge, ...] = ()
    value: int = 0
    failures: int = 0
    durations: tuple[float, ...] = (1.0,)
    retries: int = 0
    retry_delay: float = 0.0
    timeout: float | None = None
    priority: int = 0
    on_error: Literal["abort", "continue", "recover"] = "abort"
    items: int | None = None

    def duration(self, number: int) -> float:
        """How long an attempt takes if nothing stops it; the last duration repeats."""
        return self.durations[min(number, len(self.durations)) - 1]


@dataclass(frozen=True)
class Case:
    """A whole plan."""

    steps: tuple[Step, ...]
    concurrency: int = 1
    discipline: Literal["fifo", "lifo"] = "fifo"


@dataclass(frozen=True)
class Pack:
    """A batch by value: pairs of index and artifact, pairs of index and error."""

    succeeded: tuple[tuple[int, Any], ...]
    failed: tuple[tuple[int, Any], ...]

    def __len__(self) -> int:
        return len(self.succeeded)


@dataclass
class Attempt:
    """One call of one body. `error` is None, a label, or ("cancelled",) when an abort cut it short."""

    step: str
    number: int
    args: tuple[Any, ...]
    started: float
    ended: float = -1.0
    error: Label | None = None


def name_of(call: Call) -> str:
    return f"s{call[0]}" if call[1] < 0 else f"s{call[0]}[{call[1]}]"


def refuses(test: str, artifact: Any) -> bool:
    """Whether a condition is false. It looks at the parity of a number, or of how many things there are."""
    number = artifact if isinstance(artifact, int) else len(artifact)
    return test in ("even", "odd") and (number % 2 == 0) != (test == "even")


def item_of(step: Step, args: Sequence[Any]) -> int:
    """The index of an item, which its value carries; an odd number where the step does not fan out."""
    return next((arg % 8 for arg, edge in zip(args, step.edges, strict=False) if edge.kind == "each"), -1)


def fails(step: Step, args: Sequence[Any], number: int) -> bool:
    """Whether an attempt fails. Among the items of a fan-out only the odd ones can."""
    return item_of(step, args) % 2 == 1 and number <= step.failures


def artifact_of(steps: Sequence[Step], index: int, args: Sequence[Any], number: int) -> Any:
    """The artifact of a successful attempt."""
    step = steps[index]
    if step.items is not None:
        return [8 * (step.value + number) + item for item in range(step.items)]
    item = item_of(step, args)
    return 100 * index + step.value + 2 * number if item < 0 else 8 * (100 * index + step.value + number) + item


def recovered(index: int) -> int:
    """What the `on_error` function of a step returns."""
    return -1 - index


def judge(step: Step, index: int, endings: Iterable[Ending]) -> Ending:
    """Judge the edges of a step by what each saw of its source: ("open", args), or how the step ends unstarted."""
    args: list[Any] = []
    for position, (edge, ending) in enumerate(zip(step.edges, endings, strict=True)):
        if edge.kind == "outcome":
            args.append(ending)
            continue
        if ending[0] == "succeeded" and edge.test == "raise":
            return ("failed", ("refused", f"s{index}", str(position)))
        closed: Ending | None = ending  # a skip is passed down with its root
        if ending[0] == "succeeded":
            closed = ("skipped", f"s{edge.source}", "condition") if refuses(edge.test, ending[1]) else None
        elif ending[0] == "failed":
            closed = ("skipped", f"s{edge.source}", "failure")
        if closed is None or edge.default is not None:
            args += [] if edge.kind == "order" else [ending[1] if closed is None else edge.default]
        elif edge.kind != "order" or edge.test or closed[2] == "condition":
            return closed
    return ("open", tuple(args))


def key_of(case: Case, call: Call, event: int, place: int) -> tuple[int, ...]:
    """What sorts the ready queue: priority, then a queue or a stack; one event adds calls by place, then item."""
    arrival = (event, place, call[1])
    return (-case.steps[call[0]].priority, *(arrival if case.discipline == "fifo" else (-number for number in arrival)))


def dependents_of(steps: Sequence[Step]) -> list[list[int]]:
    sources = [{edge.source for edge in step.edges} for step in steps]
    return [[index for index in range(len(steps)) if source in sources[index]] for source in range(len(steps))]


def plan_order(case: Case, places: Sequence[int]) -> list[int]:
    """The order in which a run without faults starts the steps one at a time."""
    missing = [len({edge.source for edge in step.edges}) for step in case.steps]
    dependents = dependents_of(case.steps)
    ready = [(key_of(case, (index, -1), 0, places[index]), index) for index, count in enumerate(missing) if count == 0]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        order.append(heapq.heappop(ready)[1])
        for index in dependents[order[-1]]:
            missing[index] -= 1
            if missing[index] == 0:
                heapq.heappush(ready, (key_of(case, (index, -1), len(order), places[index]), index))
    return order


class Model:
    """Runs a case in virtual time. `tied` says that two things fell on one instant, so another order is right too."""

    def __init__(self, case: Case) -> None:
        self.case, self.steps = case, case.steps
        queued = plan_order(replace(case, discipline="fifo"), range(len(case.steps)))
        self.places = [queued.index(index) for index in range(len(case.steps))]  # settle what becomes ready at once
        self.order = plan_order(case, self.places)
        self.rank = {index: place for place, index in enumerate(self.order)}
        self.dependents = dependents_of(case.steps)
        self.endings: dict[int, Ending] = {}
        self.attempts: list[Attempt] = []
        self.recoveries: list[tuple[str, Label]] = []
        self.raised: Label | None = None
        self.tied = False
        self.now = 0.0
        self._event = 0
        self._due = [self.rank[index] for index, step in enumerate(self.steps) if not step.edges]
        self._ready: list[tuple[tuple[int, ...], Call]] = []
        self._timers: list[tuple[float, Call]] = []
        self._live: dict[Call, Attempt] = {}
        self._calls: Counter[Call] = Counter()
        self._args: dict[Call, tuple[Any, ...]] = {}
        self._items: dict[int, list[Ending]] = {}  # of each fan-out that has begun; () is an item that has not ended
        self._opened: list[Call] = []
        self._judged: set[int] = set()
        heapq.heapify(self._due)

    @property
    def ok(self) -> bool:
        """Whether nothing failed, items included."""
        packs = [ending[1] for ending in self.endings.values() if ending[0] == "succeeded"]
        return not any(e[0] == "failed" for e in self.endings.values()) and not any(
            isinstance(pack, Pack) and pack.failed for pack in packs
        )

    @property
    def lost_items(self) -> dict[str, Label]:
        """The items that failed by themselves, also those of a fan-out that was cut short."""
        ends = [((index, item), end) for index, items in self._items.items() for item, end in enumerate(items) if end]
        return {name_of(call): end[1] for call, end in ends if end[0] == "failed" and end[1][1] == name_of(call)}

    def run(self) -> "Model":
        self._judge_due()
        self._fill_slots()
        while self._timers and self.raised is None:
            self.now, call = heapq.heappop(self._timers)
            self.tied |= bool(self._timers) and self._timers[0][0] == self.now
            self._event += 1
            if call in self._live:
                self._end(call)
            else:
                self._enqueue([call])
            self._fill_slots()
        return self

    def _judge_due(self) -> None:
        """Judge every step whose predecessors have all ended, in plan order, and queue what is open.

        Conditions that raised fail their steps after that, one after the other, each an event of its own.
        """
        refused: list[tuple[int, Label]] = []
        while self.raised is None:
            refused += self._judge_all()
            self._enqueue(self._opened)
            self._opened = []
            if not refused:
                return
            self._event += 1
            index, label = refused.pop(0)
            self._fail((index, -1), label)

    def _judge_all(self) -> list[tuple[int, Label]]:
        """Judge what is due and what that makes due; return the steps whose conditions raised."""
        refused: list[tuple[int, Label]] = []
        while self._due:
            index = self.order[heapq.heappop(self._due)]
            verdict = judge(self.steps[index], index, map(self._seen_by, self.steps[index].edges))
            if verdict[0] == "open":
                self._expand(index, verdict[1])
            elif verdict[0] == "failed":
                refused.append((index, verdict[1]))
            else:
                self._close(index, verdict)
        # Those that fail at one instant do so in plan order, which is unlike the queue's when that is a stack.
        self.tied |= len(refused) > 1 and self.case.discipline == "lifo"
        return sorted(refused, key=lambda pair: self.places[pair[0]])

    def _seen_by(self, edge: Edge) -> Ending:
        """What an edge sees of its source. A chained `each` sees a fan-out as soon as there are items."""
        if edge.kind == "each" and edge.source in self._items:
            return ("succeeded", self._items[edge.source])
        return self.endings.get(edge.source, ())

    def _expand(self, index: int, args: tuple[Any, ...]) -> None:
        """Open the calls of a step: one, or one for each item. No item at all is an empty batch at once."""
        self._args[index, -1] = args
        each = next(((p, e.source) for p, e in enumerate(self.steps[index].edges) if e.kind == "each"), None)
        if each is None:
            self._opened.append((index, -1))
            return
        items = args[each[0]] if each[1] in self._items else [("succeeded", item) for item in args[each[0]]]
        self._items[index] = [()] * len(items)
        self._announce(index)
        for item, ending in enumerate(items):
            self._arrive((index, item), ending)
        if not items:
            self._close(index, ("succeeded", Pack((), ())))

    def _arrive(self, call: Call, ending: Ending) -> None:
        """Open the call of one item once its source has it; a source that failed passes the error on."""
        if ending and ending[0] == "failed":
            self._finish(call, ending)
        elif ending:
            edges = self.steps[call[0]].edges
            args = self._args[call[0], -1]
            self._args[call] = tuple(ending[1] if e.kind == "each" else a for a, e in zip(args, edges, strict=False))
            self._opened.append(call)

    def _enqueue(self, calls: Iterable[Call]) -> None:
        for call in calls:
            heapq.heappush(self._ready, (key_of(self.case, call, self._event, self.places[call[0]]), call))

    def _fill_slots(self) -> None:
        while self._ready and len(self._live) < self.case.concurrency and self.raised is None:
            call = heapq.heappop(self._ready)[1]
            step = self.steps[call[0]]
            self._calls[call] += 1
            number = self._calls[call]
            self._live[call] = Attempt(name_of(call), number, self._args[call], self.now)
            self.attempts.append(self._live[call])
            duration = step.duration(number)
            if duration == 0:  # ends before anything else can happen; with more slots that is one order of several
                self.tied |= self.case.concurrency > 1 and bool(self._ready)
                self._event += 1
                self._end(call)
            else:
                length = duration if step.timeout is None else min(duration, step.timeout)
                heapq.heappush(self._timers, (self.now + length, call))

    def _end(self, call: Call) -> None:
        attempt, step = self._live.pop(call), self.steps[call[0]]
        attempt.ended = self.now
        if step.timeout is not None and step.duration(attempt.number) > step.timeout:
            attempt.error = ("timeout", attempt.step, str(attempt.number))
        elif fails(step, attempt.args, attempt.number):
            attempt.error = ("raised", attempt.step, str(attempt.number))
        if attempt.error is None:
            self._finish(call, ("succeeded", artifact_of(self.steps, call[0], attempt.args, attempt.number)))
        elif attempt.number > step.retries:
            self._fail(call, attempt.error)
        elif step.retry_delay:
            heapq.heappush(self._timers, (self.now + step.retry_delay, call))
        else:
            self._enqueue([call])
        self._judge_due()

    def _fail(self, call: Call, label: Label) -> None:
        policy = self.steps[call[0]].on_error
        if policy == "abort":
            self._abort(call[0], label)
        elif policy == "continue":
            self._finish(call, ("failed", label))
        else:
            self.recoveries.append((name_of(call), label))
            self._finish(call, ("succeeded", recovered(call[0])))

    def _finish(self, call: Call, ending: Ending) -> None:
        """Close the step of a call, or only its item while others of the fan-out are open."""
        index, item = call
        if item < 0:
            self._close(index, ending)
            return
        items = self._items[index]
        items[item] = ending
        for dependent in self.dependents[index]:
            if dependent in self._items and Edge(index, "each") in self.steps[dependent].edges:
                self._arrive((dependent, item), ending)
        if all(items):
            ends = {kind: [(i, e[1]) for i, e in enumerate(items) if e[0] == kind] for kind in ("succeeded", "failed")}
            self._close(index, ("succeeded", Pack(tuple(ends["succeeded"]), tuple(ends["failed"]))))

    def _close(self, index: int, ending: Ending) -> None:
        self.endings[index] = ending
        self._announce(index)

    def _announce(self, index: int) -> None:
        """Let the dependents be judged that waited for this step only."""
        for dependent in self.dependents[index]:
            place = self.rank[dependent]
            if place not in self._judged and all(map(self._seen_by, self.steps[dependent].edges)):
                self._judged.add(place)
                heapq.heappush(self._due, place)

    def _abort(self, index: int, label: Label) -> None:
        """Record the failure, cut the live bodies short and cancel whatever is left."""
        self.raised = label
        self.endings[index] = ("failed", label)
        for attempt in self._live.values():
            attempt.ended, attempt.error = self.now, ("cancelled",)
        for other in range(len(self.steps)):
            self.endings.setdefault(other, ("cancelled", "abort"))
