"""P1: a step starts as soon as each of its edges is open and a slot is free; never before, never by levels."""

import threading
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from random import Random
from typing import Any

import anyio
import pytest

from fusynk import Batch, Graph, Run, compile_plan, each, use, when
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend

Times = dict[str, tuple[float, float]]


def times_of(run: Run[object]) -> Times:
    """When each step began and ended, in seconds since the first began."""
    first = run.attempts()[0].started
    return {record.step: (record.started - first, record.ended - first) for record in run.attempts()}


def test_p01_a_dependent_waits_for_its_own_edges_not_for_its_level(backend: Backend) -> None:
    graph = Graph("levels")

    @graph.layer
    async def slow() -> None:
        await anyio.sleep(612)

    @graph.layer
    async def fast() -> None:
        await anyio.sleep(10)

    @graph.layer(depends_on=fast)
    async def after_fast() -> None:
        await anyio.sleep(1)

    @graph.layer(depends_on=[slow, after_fast])
    async def last() -> None: ...

    times = times_of(simulate(compile_plan(last), backend=backend).run)

    assert times["after_fast"] == (10, 11)
    assert times["last"] == (612, 612)


def add_dependent(graph: Graph, source: Any, kind: str) -> None:
    """Add a step with one edge of a kind."""

    async def bare() -> None: ...
    async def passed(value: object) -> None: ...
    async def named(source: int) -> None: ...

    options: dict[str, Any] = {"order": {"depends_on": source}, "condition": {"depends_on": when(source, bool)}}
    markers = {"data": use(source), "default": use(source, default=0), "outcome": use.outcome(source)}
    if kind == "by name":
        graph.add_layer(named, name="dependent", depends_on=source)
    elif kind in options:
        graph.add_layer(bare, name="dependent", **options[kind])
    else:
        passed.__defaults__ = (markers[kind],)
        graph.add_layer(passed, name="dependent")


@pytest.mark.parametrize("kind", ["data", "order", "condition", "default", "outcome", "by name"])
def test_p01_every_kind_of_edge_opens_at_the_moment_its_predecessor_ends(kind: str, backend: Backend) -> None:
    graph = Graph("edges")

    @graph.layer
    async def source() -> int:
        await anyio.sleep(3)
        return 1

    @graph.layer
    async def other() -> None:
        await anyio.sleep(5)

    add_dependent(graph, source, kind)

    times = times_of(simulate(compile_plan(graph), backend=backend).run)

    assert times["dependent"] == (3, 3)
    assert times["other"] == (0, 5)


def sleeper(seconds: float) -> Callable[[], Coroutine[Any, Any, None]]:
    async def sleep() -> None:
        await anyio.sleep(seconds)

    return sleep


def random_graph(seed: int) -> tuple[Graph, dict[str, list[str]]]:
    """A graph of sleeping steps with random edges, and the predecessors of each."""
    chance, graph = Random(seed), Graph(f"random {seed}")
    sources: dict[str, list[str]] = {}
    for index in range(chance.randint(2, 16)):
        name, count = f"s{index}", chance.choice((0, 0, 1, 1, 2, 3))
        sources[name] = sorted(chance.sample(sorted(sources), k=min(index, count)))
        graph.add_layer(sleeper(chance.choice((0, 1, 1, 2, 3, 5))), name=name, depends_on=sources[name])
    return graph, sources


def ready_at(times: Times, sources: dict[str, list[str]], step: str) -> float:
    return max((times[source][1] for source in sources[step]), default=0.0)


@pytest.mark.parametrize("seed", range(20))
def test_p01_with_slots_to_spare_a_step_starts_when_its_last_predecessor_ends(seed: int, backend: Backend) -> None:
    graph, sources = random_graph(seed)

    times = times_of(simulate(compile_plan(graph), backend=backend).run)

    late = {step: times[step] for step in sources if times[step][0] != ready_at(times, sources, step)}
    assert late == {}, f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_p01_a_ready_step_waits_only_while_every_slot_is_taken(seed: int, backend: Backend) -> None:
    concurrency = 1 + seed % 3
    graph, sources = random_graph(seed)

    times = times_of(simulate(compile_plan(graph, concurrency=concurrency), backend=backend).run)

    moments = sorted({moment for span in times.values() for moment in span})
    for begin, end in pairwise(moments):
        live = [step for step, (started, ended) in times.items() if started <= begin and end <= ended]
        waiting = [step for step in times if ready_at(times, sources, step) <= begin < times[step][0]]
        assert len(live) <= concurrency, f"seed {seed}: {live} from {begin} to {end}"
        assert not waiting or len(live) == concurrency, f"seed {seed}: {waiting} wait from {begin} to {end}"


def test_p01_items_of_a_fan_out_share_the_slots(backend: Backend) -> None:
    graph = Graph("items")
    live: list[int] = [0]
    peaks: list[int] = []

    @graph.layer
    async def numbers() -> range:
        return range(20)

    @graph.layer.each
    async def item(number: int = each(numbers)) -> int:
        live[0] += 1
        peaks.append(live[0])
        await anyio.sleep(1)
        live[0] -= 1
        return number

    trace = simulate(compile_plan(item, concurrency=4), backend=backend)

    assert max(peaks) == 4
    assert trace.seconds == 5
    assert list(trace.result) == list(range(20))


def test_p01_a_chained_item_waits_for_its_own_item_only(backend: Backend) -> None:
    graph = Graph("chained items")

    @graph.layer
    async def delays() -> list[int]:
        return [5, 1, 3]

    @graph.layer.each
    async def first(delay: int = each(delays)) -> int:
        await anyio.sleep(delay)
        return delay

    @graph.layer.each
    async def second(delay: int = each(first)) -> int:
        await anyio.sleep(1)
        return delay

    @graph.layer
    async def total(batch: Batch[int] = use(second)) -> int:
        return sum(batch)

    trace = simulate(compile_plan(total), backend=backend)

    times = times_of(trace.run)
    assert [times[f"second[{number}]"] for number in range(3)] == [(5, 6), (1, 2), (3, 4)]
    assert times["total"] == (6, 6)


def test_p01_a_body_that_still_cleans_up_after_its_timeout_keeps_its_slot(backend: Backend) -> None:
    graph = Graph("slow cleanup")

    @graph.layer(timeout=1, on_error="continue")
    async def tidy() -> None:
        try:
            await anyio.sleep(10)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)

    @graph.layer
    async def other() -> None: ...

    times = times_of(simulate(compile_plan(graph, concurrency=1), backend=backend).run)

    assert times == {"tidy": (0, 3), "other": (3, 3)}


async def test_p01_threads_and_coroutines_share_the_slots() -> None:
    graph = Graph("mixed")
    lock = threading.Lock()
    live, peaks = {"all": 0, "threads": 0}, {"all": 0, "threads": 0}

    def count(change: int, *kinds: str) -> None:
        with lock:
            for kind in kinds:
                live[kind] += change
                peaks[kind] = max(peaks[kind], live[kind])

    def blocking() -> None:
        count(1, "all", "threads")
        time.sleep(0.001)
        count(-1, "all", "threads")

    async def suspending() -> None:
        count(1, "all")
        await anyio.sleep(0.001)
        count(-1, "all")

    for number in range(20):
        graph.add_layer(blocking, name=f"blocking{number}")
        graph.add_layer(suspending, name=f"suspending{number}")

    await compile_plan(graph, concurrency=4, threads=2).run()

    assert peaks["all"] <= 4
    assert peaks["threads"] <= 2


def test_p01_nothing_starts_while_the_one_slot_is_taken_even_if_it_becomes_ready(backend: Backend) -> None:
    graph, order = Graph("one slot"), list[str]()

    @graph.layer
    async def first() -> None:
        order.append("first")

    @graph.layer(depends_on=first)
    async def long() -> None:
        order.append("long begins")
        await anyio.sleep(1)
        order.append("long ends")

    @graph.layer(depends_on=first)
    async def short() -> None:
        order.append("short")

    async def main() -> None:
        await compile_plan(graph, concurrency=1).run()

    run_virtual(main, backend=backend)

    assert order == ["first", "long begins", "long ends", "short"]
