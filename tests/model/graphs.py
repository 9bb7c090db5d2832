"""Random cases, drawn by a seed or by hypothesis, and the fusynk plans that carry them out."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal

import anyio
from hypothesis import strategies as st

from fusynk import (
    AttemptRecord,
    Batch,
    Cancelled,
    Failed,
    Graph,
    Plan,
    Run,
    Skipped,
    Succeeded,
    compile_plan,
    current_step,
    each,
    use,
    when,
)
from fusynk.errors import LayerTimeout
from tests.model.reference import Case, Edge, Label, Pack, Step, artifact_of, fails, item_of, recovered, refuses

Backend = Literal["asyncio", "trio"]
Pick = Callable[[Sequence[Any]], Any]
Suspend = Callable[[float], Awaitable[None]]
KINDS: dict[type, str] = {Succeeded: "succeeded", Failed: "failed", Skipped: "skipped", Cancelled: "cancelled"}


@dataclass(frozen=True)
class Shape:
    """What kind of cases to draw. Times are drawn from long ranges so that two seldom end at one instant."""

    durations: Sequence[float]
    delays: Sequence[float]
    timeouts: Sequence[float | None]
    concurrencies: Sequence[int] = (1, 2, 3, 4)
    tolerant: Sequence[bool] = (True, True, False)  # whether no step aborts the run
    fan_out: bool = True
    largest: int = 14


_FRACTIONS = [number / 2048 for number in range(1, 8192)]
TIMED = Shape(
    durations=(*_FRACTIONS, *[0.0] * 150),
    delays=_FRACTIONS,
    timeouts=(*[None] * 8, *[number + 1 / 4096 for number in _FRACTIONS[2047::2048]]),
)
"""Steps that take time."""
INSTANT = Shape(durations=(0.0,), delays=(0.0,), timeouts=(None, None, 60.0), concurrencies=(1,))
"""Steps that never wait, one at a time: their order is fully determined."""
CROWDED = Shape(durations=(0.0, 0.25, 0.5, 1.0, 2.0), delays=(0.0, 0.25, 1.0), timeouts=(*[None] * 6, 0.375, 0.75, 1.5))
"""Steps that often end at one instant: many orders are right."""


def draw_edges(pick: Pick, shape: Shape, steps: Sequence[Step]) -> tuple[Edge, ...]:
    """Edges of the next step to earlier ones; those that pass something come first, as parameters do."""
    edges: list[Edge] = []
    for _ in range(pick((0, 1, 1, 2, 2, 3, 4)) if steps else 0):
        source: int = pick(range(len(steps)))
        kind = pick(("use", "use", "use", "each", "order", "order", "outcome"))
        spread = (
            shape.fan_out
            and (steps[source].items is not None or any(edge.kind == "each" for edge in steps[source].edges))
            and all(edge.kind != "each" for edge in edges)
        )
        if kind == "each":
            kind = "each" if spread else "use"
        test: Any = pick(("", "", "", "even", "even", "odd", "odd", "raise")) if kind in {"use", "order"} else ""
        default = pick((None, None, -7)) if kind == "use" else None
        if kind != "order" or all((edge.source, edge.kind) != (source, "order") for edge in edges):
            edges.append(Edge(source, kind, test, default))
    return tuple(sorted(edges, key=lambda edge: edge.kind == "order"))


def draw_step(pick: Pick, shape: Shape, steps: Sequence[Step], *, tolerant: bool) -> Step:
    edges = draw_edges(pick, shape, steps)
    spreads = any(edge.kind == "each" for edge in edges)
    items = pick((None, None, None, 0, 1, 2, 3)) if shape.fan_out and not spreads else None
    policies = ["continue", *([] if tolerant else ["abort"]), *([] if spreads or items is not None else ["recover"])]
    return Step(
        edges=edges,
        value=pick(range(4)),
        failures=pick((0, 0, 0, 0, 0, 1, 2, 9)),
        durations=tuple(pick(shape.durations) for _ in range(pick((1, 1, 2, 3)))),
        retries=pick((0, 0, 1, 2, 3)),
        retry_delay=pick(shape.delays),
        timeout=pick(shape.timeouts),
        priority=pick((0, 0, -1, 1, 2)),
        on_error=pick(policies),
        items=items,
    )


def draw_case(pick: Pick, shape: Shape) -> Case:
    tolerant = pick(shape.tolerant)
    steps: list[Step] = []
    for _ in range(pick(range(shape.largest + 1))):
        steps.append(draw_step(pick, shape, steps, tolerant=tolerant))
    return Case(tuple(steps), pick(shape.concurrencies), pick(("fifo", "lifo")))


def seeded_case(seed: int, shape: Shape) -> Case:
    return draw_case(Random(seed).choice, shape)


@st.composite
def cases(draw: st.DrawFn, shape: Shape) -> Case:
    """The same cases, drawn so that hypothesis can shrink them."""
    return draw_case(lambda options: draw(st.sampled_from(options)), shape)


@dataclass
class Entry:
    """One call of a body as the body saw it."""

    step: str
    number: int
    args: tuple[Any, ...]
    named: tuple[str, int]  # what current_step() said
    started: float
    ended: float = -1.0
    begun: int = 0  # moments in the order of the log
    finished: int = 0
    whole: bool = False  # whether the body came to its own end, by returning or raising


def class_of(value: Any) -> type:
    kind: type = value.__class__
    return kind


@dataclass
class Log:
    """What the bodies of one run did."""

    entries: list[Entry] = field(default_factory=list[Entry])
    labels: dict[int, Label] = field(default_factory=dict[int, Label])
    errors: list[BaseException] = field(default_factory=list[BaseException])  # keeps their ids unique
    live: Counter[str] = field(default_factory=Counter[str])
    peaks: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])  # live bodies; of the same step
    recoveries: list[tuple[str, BaseException]] = field(default_factory=list[tuple[str, BaseException]])
    moments: dict[int, int] = field(default_factory=dict[int, int])  # when each error was raised
    moment: int = 0

    def tick(self) -> int:
        self.moment += 1
        return self.moment

    def new_error(self, *label: str) -> BaseException:
        """An exception that the log can recognise by identity."""
        error = ValueError(*label)
        self.errors.append(error)
        self.labels[id(error)] = label
        self.moments[id(error)] = self.tick()
        return error

    def learn_timeouts(self, run: Run[Any]) -> None:
        """Label the errors that the library made, each by the attempt that recorded it."""
        for record in run.attempts():
            if isinstance(record.error, LayerTimeout):
                self.errors.append(record.error)
                self.labels[id(record.error)] = ("timeout", record.step, str(record.number))

    def verdict(self, record: AttemptRecord) -> Label | None:
        """The label of an attempt's error; ("cancelled",) where the body was stopped and no timeout stopped it."""
        entry = next((e for e in self.entries if (e.step, e.number) == (record.step, record.number)), None)
        if entry is None:
            return ("no body", repr(record.error))
        if not entry.whole and not isinstance(record.error, LayerTimeout):
            return ("cancelled",)
        return None if record.error is None else self.label(record.error)

    def is_later(self, label: Label, error: BaseException) -> bool:
        """Whether the error with the label was raised after another. When a timeout came is not known: it may be."""
        moments = [self.moments.get(identity) for identity, known in self.labels.items() if known == label]
        first = self.moments.get(id(error))
        return first is None or any(moment is None or moment > first for moment in moments)

    def label(self, error: BaseException) -> Label:
        return self.labels.get(id(error), ("unknown", repr(error)))

    def ending(self, outcome: Any) -> tuple[Any, ...]:
        """An outcome as the model writes it."""
        match KINDS.get(class_of(outcome)):
            case "succeeded":
                return ("succeeded", self.plain(outcome.artifact))
            case "failed":
                return ("failed", self.label(outcome.error))
            case "skipped":
                return ("skipped", outcome.because, outcome.cause)
            case "cancelled":
                return ("cancelled", outcome.by)
            case _:
                return ("unknown", repr(outcome))

    def plain(self, value: Any) -> Any:
        """A value as the model writes it."""
        if class_of(value) is Batch:
            failed = tuple((index, self.label(error)) for index, error in value.failed.items())
            return Pack(tuple(value.succeeded.items()), failed)
        return self.ending(value) if class_of(value) in KINDS else value


def _function(count: int, call: Callable[[tuple[Any, ...]], Awaitable[Any]]) -> Any:
    """A coroutine function with as many parameters as the step has."""

    async def none() -> Any:
        return await call(())

    async def one(p0: Any) -> Any:
        return await call((p0,))

    async def two(p0: Any, p1: Any) -> Any:
        return await call((p0, p1))

    async def three(p0: Any, p1: Any, *, p2: Any) -> Any:
        return await call((p0, p1, p2))

    async def four(p0: Any, p1: Any, /, p2: Any, *, p3: Any) -> Any:
        return await call((p0, p1, p2, p3))

    return (none, one, two, three, four)[count]


@dataclass
class Built:
    """The plan of a case, and the log its next run writes to."""

    case: Case
    suspend: Suspend = anyio.sleep
    log: Log = field(default_factory=Log)

    def __post_init__(self) -> None:
        self._graph = Graph("random")
        self._layers: list[Any] = []
        for index in range(len(self.case.steps)):
            self._layers.append(self._declare(index))
        options: dict[str, Any] = {"concurrency": self.case.concurrency, "discipline": self.case.discipline}
        self.plan: Plan[Any, Any] = compile_plan(self._graph, **options)

    def _declare(self, index: int) -> Any:
        """Declare a step, by the builder or by the decorator, with markers as defaults or with bindings."""
        step = self.case.steps[index]
        parameters = [edge for edge in step.edges if edge.kind != "order"]
        function = _function(len(parameters), partial(self._body, index))
        markers = [self._marker(index, position) for position in range(len(parameters))]
        first_is_plain = bool(parameters) and parameters[0] == Edge(parameters[0].source)
        spread = any(edge.kind == "each" for edge in parameters)
        first_is_plain = bool(parameters) and parameters[0] == Edge(parameters[0].source)
        bound = first_is_plain and index % 2 == 1 and len(parameters) < 4 and not spread  # `bind` takes a unit
        self._give_defaults(function, markers, int(bound))
        options = self._options(index)
        if spread or (index % 3 == 0 and not bound):
            declare: Any = self._graph.layer.each if spread else self._graph.layer
            return declare(name=f"s{index}", **options)(function)
        bind = {"p0": self._layers[parameters[0].source]} if bound else {}
        add_layer: Any = self._graph.add_layer
        return add_layer(function, name=f"s{index}", bind=bind, **options)

    @staticmethod
    def _give_defaults(function: Any, markers: list[Any], bound: int) -> None:
        names = [f"p{position}" for position in range(len(markers))]
        by_place = function.__code__.co_argcount
        function.__defaults__ = tuple(markers[bound:by_place])
        function.__kwdefaults__ = dict(zip(names[by_place:], markers[by_place:], strict=True))

    def _marker(self, index: int, position: int) -> Any:
        edge = self.case.steps[index].edges[position]
        source = self._layers[edge.source]
        if edge.kind == "each":
            return each(source)
        if edge.kind == "outcome":
            return use.outcome(source)
        options: dict[str, Any] = {} if edge.default is None else {"default": edge.default}
        if edge.test:
            options["when"] = partial(self._accepts, index, position)
        return use(source, **options)

    def _options(self, index: int) -> dict[str, Any]:
        step = self.case.steps[index]
        delay: Any = step.retry_delay
        if index % 4 == 1:
            delay = partial(self._delay, index)
        policy: Any = partial(self._recover, index) if step.on_error == "recover" else step.on_error
        return {
            "depends_on": [
                when(self._layers[edge.source], partial(self._accepts, index, position))
                if edge.test
                else self._layers[edge.source]
                for position, edge in enumerate(step.edges)
                if edge.kind == "order"
            ],
            "retries": step.retries,
            "retry_delay": delay,
            "timeout": step.timeout,
            "priority": step.priority,
            "on_error": policy,
        }

    def _accepts(self, index: int, position: int, artifact: Any) -> bool:
        test = self.case.steps[index].edges[position].test
        if test == "raise":
            raise self.log.new_error("refused", f"s{index}", str(position))
        return not refuses(test, artifact)

    def _delay(self, index: int, _attempt: int) -> float:
        return self.case.steps[index].retry_delay

    def _recover(self, index: int, error: BaseException) -> int:
        self.log.recoveries.append((f"s{index}", error))
        return recovered(index)

    async def _body(self, index: int, args: tuple[Any, ...]) -> Any:
        step, log = self.case.steps[index], self.log
        item = item_of(step, args)
        name = f"s{index}" if item < 0 else f"s{index}[{item}]"
        number = sum(entry.step == name for entry in log.entries) + 1
        here = current_step()
        entry = Entry(name, number, args, (here.name, here.attempt), anyio.current_time(), begun=log.tick())
        log.entries.append(entry)
        log.live[name] += 1
        log.peaks.append((log.live.total(), log.live[name]))
        try:
            return await self._work(index, entry)
        finally:
            log.live[name] -= 1
            entry.ended, entry.finished = anyio.current_time(), log.tick()

    async def _work(self, index: int, entry: Entry) -> Any:
        step = self.case.steps[index]
        if step.duration(entry.number):
            await self.suspend(step.duration(entry.number))
        entry.whole = True
        if fails(step, entry.args, entry.number):
            raise self.log.new_error("raised", entry.step, str(entry.number))
        return artifact_of(self.case.steps, index, entry.args, entry.number)
