"""The plans whose runs are killed. Each body notes that it begins, and takes some milliseconds."""

import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import anyio
import msgspec

from fusynk import Batch, Failed, Graph, Outcome, Plan, compile_plan, current_step, each, use, when
from tests.durable.checker import Entry

LONGEST_REST = 0.004  # seconds
_random = Random()  # where a kill hits is up to chance anyway


class Outage(Exception):
    """What bodies raise."""


class Log:
    """Where the steps of a run leave lines, whatever becomes of their process."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def write(self, entry: Entry) -> None:
        os.write(self._descriptor, msgspec.json.encode(entry) + b"\n")

    def begin(self) -> int:
        """Note that the body of a step begins, and return which attempt it is."""
        step = current_step()
        assert step.idempotency_key == f"{step.run_id}/{step.name}"
        self.write(Entry("started", os.getpid(), step.name, step.attempt))
        return step.attempt


@dataclass
class Shape:
    """A plan, and what is known of it.

    Attributes:
        log: Where its steps leave lines.
        folder: Where they look for what they wait for.
        after: For each step, those that must have been told before it starts.
        everywhere: The steps that run in each process.
        derived: The steps without records.
    """

    log: Log
    folder: Path
    graph: Graph = field(default_factory=lambda: Graph("killed"))
    after: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    everywhere: set[str] = field(default_factory=set[str])
    derived: set[str] = field(default_factory=set[str])

    def plan(self) -> Plan[Any, Any]:
        return compile_plan(self.graph, concurrency=4)

    def note(self, name: str, *after: str) -> None:
        self.after[name] = list(after)

    def step(self, name: str, *after: str, failures: int = 0, thread: bool = False, **options: Any) -> Any:
        """Declare a step that adds its number to that of the first one it follows, once it has failed so often."""
        self.note(name, *after)

        value = len(self.after)

        async def body(before: int) -> int:
            return await self.tried(before * 7 % 1009 + value, failures)

        async def source(start: int) -> int:
            return await self.tried(start + value, failures)

        def body_in_thread(before: int) -> int:
            attempt = self.log.begin()
            time.sleep(_random.uniform(0, LONGEST_REST))
            if attempt <= failures:
                raise Outage(name)
            return before * 7 % 1009 + value

        if not after:
            return self.graph.layer(name=name, **options)(source)
        function: Callable[..., Any] = body_in_thread if thread else body
        bind = {"before": self.graph.units[after[0]]}
        return self.graph.add_layer(function, name=name, depends_on=list(after[1:]), bind=bind, **options)

    async def tried(self, value: int, failures: int = 0) -> int:
        attempt = self.log.begin()
        await self.rest()
        if attempt <= failures:
            raise Outage(f"attempt {attempt}")
        return value

    async def rest(self) -> None:
        await anyio.sleep(_random.uniform(0, LONGEST_REST))


def chain(shape: Shape) -> None:
    shape.step("c0")
    for number in range(1, 12):
        shape.step(f"c{number}", f"c{number - 1}")


def wide(shape: Shape) -> None:
    names = [f"w{number}" for number in range(20)]
    for name in names:
        shape.step(name)
    shape.step("join", *names)


def layered(shape: Shape) -> None:
    for level in range(4):
        for number in range(5):
            above = [f"l{level - 1}.{(number + more) % 5}" for more in (0, 2)]
            shape.step(f"l{level}.{number}", *(above if level else []))


def fan_out(shape: Shape) -> None:
    """Items, items of items, one of which fails, and what follows from them."""
    graph, count = shape.graph, 6

    @graph.layer
    async def numbers(start: int) -> list[int]:
        _ = await shape.tried(0)
        return [start + number for number in range(count)]

    @graph.layer.each(retries=1, retry_delay=0.002)
    async def doubled(number: int = each(numbers)) -> int:
        return await shape.tried(2 * number, failures=number % 2)

    @graph.layer.each(on_error="continue")
    async def squared(number: int = each(doubled)) -> int:
        if await shape.tried(number) % 5 == 0:
            raise Outage(f"{number}")
        return number * number

    @graph.layer
    async def total(batch: Batch[int] = use(squared)) -> list[int]:
        _ = await shape.tried(0)
        return [sum(batch), *batch.failed]

    shape.note("numbers")
    for item in range(count):
        shape.note(f"doubled[{item}]", "numbers")
        shape.note(f"squared[{item}]", f"doubled[{item}]")
    shape.note("total", "squared", *(f"squared[{item}]" for item in range(count)))
    shape.derived |= {"doubled", "squared"}


def branches(shape: Shape) -> None:
    """Conditions: some steps are skipped, and others join what was taken."""
    graph, probe = shape.graph, shape.step("probe")

    @graph.layer
    async def fast(number: int = use(probe, when=lambda number: number < 60)) -> int:
        return await shape.tried(number + 1)

    @graph.layer
    async def thorough(number: int = use(probe, when=lambda number: number >= 60)) -> int:
        return await shape.tried(number + 2)

    @graph.layer(depends_on=when(probe, lambda number: number > 0))
    async def beside() -> str:
        return str(await shape.tried(9))

    @graph.layer
    async def joined(one: int = use(fast, default=0), other: int = use(thorough, default=0)) -> tuple[int, int]:
        return one, await shape.tried(other)

    @graph.layer
    async def after_skipped(number: int = use(thorough)) -> int:
        return await shape.tried(number)

    for name, before in {"fast": ["probe"], "beside": ["probe"], "joined": ["fast", "thorough"]}.items():
        shape.note(name, *before)
    shape.step("last", "fast", "beside", "joined")


def retried(shape: Shape) -> None:
    """First attempts fail; a process counts on where the former one stopped."""
    shape.step("r0", failures=2, retries=2, retry_delay=0.003)
    for number in range(1, 5):
        shape.step(f"r{number}", f"r{number - 1}", failures=number % 3, retries=3, retry_delay=0.001)
        shape.step(f"beside{number}", f"r{number - 1}", failures=3, retries=3, retry_delay=0.004)


def forgiven(shape: Shape) -> None:
    """Failures that the run goes on after, those that are recovered, and who looks at them."""
    graph = shape.graph
    shape.step("f0")
    broken = shape.step("broken", "f0", failures=9, retries=1, retry_delay=0.002, on_error="continue")
    shape.step("recovered", "f0", failures=9, on_error=_length_of)
    shape.graph.add_layer(_never, name="never", bind={"before": broken})

    @graph.layer
    async def witness(seen: Outcome[Any] = use.outcome(broken)) -> str:
        _ = await shape.tried(0)
        return str(seen.error) if isinstance(seen, Failed) else "fine"

    @graph.layer
    async def consoled(number: int = use(broken, default=5)) -> int:
        return await shape.tried(number)

    shape.note("witness", "broken")
    shape.note("consoled", "broken")
    shape.step("on", "recovered", "broken")
    shape.step("off", "on", failures=9, on_error="continue")


def _length_of(error: BaseException) -> int:
    return len(str(error))


async def _never(before: int) -> int:
    return before


def threads(shape: Shape) -> None:
    shape.step("t0")
    for number in range(1, 8):
        above = [f"t{number - 1}"] if number % 3 else ["t0"]
        shape.step(f"t{number}", *above, thread=True, failures=number % 2, retries=2, retry_delay=0.001)


def staged(shape: Shape) -> None:
    """Processes, whose modes order their members."""
    graph = shape.graph
    names = {mode: [f"{mode}{number}" for number in range(4)] for mode in ("sequential", "batched", "isolated")}
    for members in names.values():
        for name in members:
            shape.step(name)
    row, pairs, apart = ([graph.units[name] for name in members] for members in names.values())
    in_row: Any = graph.process("in_row", *row, mode="sequential")
    in_pairs: Any = graph.process("in_pairs", *pairs, mode="batched", size=2)

    @graph.process(*apart, mode="isolated", delay=0.004)
    async def summary(one: dict[str, int] = use(in_row), other: dict[str, int] = use(in_pairs)) -> list[int]:
        return [await shape.tried(sum(one.values())), sum(other.values())]

    for mode in ("sequential", "isolated"):
        for former, name in zip(names[mode], names[mode][1:], strict=False):
            shape.note(name, former)
    shape.note("batched2", "batched0", "batched1")
    shape.note("batched3", "batched0", "batched1")
    shape.note("summary", "in_row", "in_pairs", *names["isolated"])
    shape.derived |= {"in_row", "in_pairs"}


def pooled(shape: Shape) -> None:
    """A resource, which each process sets up anew, and those who use it."""
    graph = shape.graph
    shape.step("p0")

    @graph.layer
    async def pool(number: int = use(graph.units["p0"])) -> AsyncIterator[str]:
        _ = await shape.tried(0)
        yield f"pool {number}"
        await shape.rest()

    shape.note("pool", "p0")
    shape.everywhere.add("pool")
    former = "p0"
    for number in range(1, 6):

        async def query(before: int, connection: str) -> str:
            return f"{connection}: {await shape.tried(before)}"

        name = f"query{number}"
        graph.add_layer(query, name=name, bind={"before": graph.units[former], "connection": pool})
        shape.note(name, former, "pool")
        shape.step(f"p{number}", former, name)
        former = f"p{number}"


def mixed(shape: Shape) -> None:
    """Twelve steps of all kinds, for those who look at each call of the system."""
    graph, first = shape.graph, shape.step("m0")

    @graph.layer
    async def kinds(number: int = use(first)) -> list[int]:
        return [await shape.tried(number), 2, 3]

    @graph.layer.each
    async def item(kind: int = each(kinds)) -> str:
        return f"item {await shape.tried(kind)}"

    @graph.layer
    async def total(items: Batch[str] = use(item)) -> str:
        _ = await shape.tried(0)
        return ", ".join(items)

    @graph.layer
    async def odd(number: int = use(first, when=lambda number: number % 2 == 1)) -> int:
        return await shape.tried(number)

    @graph.layer
    async def even(number: int = use(first, when=lambda number: number % 2 == 0)) -> int:
        return await shape.tried(number)

    @graph.layer
    async def joined(one: int = use(odd, default=0), other: int = use(even, default=0)) -> list[int]:
        return [await shape.tried(one), other]

    shape.step("threaded", "m0", thread=True)
    shape.step("retried", "m0", failures=1, retries=1, retry_delay=0.001)
    shape.step("broken", "m0", failures=1, on_error="continue")
    shape.step("recovered", "m0", failures=1, on_error=_length_of)
    shape.step("last", "recovered", "threaded", "retried", "total", "joined")
    named: dict[str, Sequence[str]] = {"kinds": ["m0"], "odd": ["m0"], "even": ["m0"], "joined": ["odd", "even"]}
    for name, before in {**named, "total": ["item"], **{f"item[{n}]": ["kinds"] for n in range(3)}}.items():
        shape.note(name, *before)
    shape.derived.add("item")


def gated(shape: Shape) -> None:
    """A step waits until a file is there; another one waits for the same slot, and for nothing else."""
    shape.step("g0")
    graph = shape.graph

    @graph.layer(priority=1)
    async def waiting(number: int = use(graph.units["g0"])) -> int:
        value = await shape.tried(number)
        while not (shape.folder / "gate").exists():  # noqa: ASYNC110 - another process makes it
            await anyio.sleep(0.005)
        return value

    shape.note("waiting", "g0")
    shape.step("behind", "waiting")
    shape.step("apart", "g0")
    shape.step("g1", "behind", "apart")


def large(shape: Shape) -> None:
    """Artifacts of 64 kB, for a disk that has no room for them."""

    async def pile(before: str) -> str:
        _ = await shape.tried(0)
        return before[-9:].rjust(1 << 16, "x")

    async def source(start: int) -> str:
        return str(await shape.tried(start)).rjust(1 << 16, "x")

    shape.graph.add_layer(source, name="b0")
    shape.note("b0")
    for number in range(1, 12):
        bind = {"before": shape.graph.units[f"b{number - 1}"]}
        shape.graph.add_layer(pile, name=f"b{number}", bind=bind)
        shape.note(f"b{number}", f"b{number - 1}")


SHAPES: dict[str, Callable[[Shape], None]] = {
    declare.__name__: declare
    for declare in (chain, wide, layered, fan_out, branches, retried, forgiven, threads, staged, pooled, mixed)
}
OTHERS: dict[str, Callable[[Shape], None]] = {declare.__name__: declare for declare in (gated, large)}


def shaped(name: str, log: Log, folder: Path) -> Shape:
    """Return a plan by its name."""
    shape = Shape(log, folder)
    (SHAPES | OTHERS)[name](shape)
    return shape
