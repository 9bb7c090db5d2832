"""What tests of limits share: bodies that keep account of what they see, and the laws that every account must keep."""

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import anyio

from fusynk import Graph, Limit, Plan, compile_plan
from fusynk._runtime.limits import permits_of

PATIENCE = 1_000_000  # virtual seconds after which something that waits is lost


def compute(seconds: float) -> None:
    """Let virtual time pass while the loop stands still, as it does while a body computes."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        trio.lowlevel.current_clock().jump(seconds)
    else:
        loop: Any = asyncio.get_running_loop()
        loop._virtual.now += seconds


class Account:
    """What the bodies of some limits saw: when they started, and how much weight was alive beside them."""

    def __init__(self) -> None:
        self.starts: defaultdict[Limit, list[float]] = defaultdict(list)
        self.alive: Counter[Limit] = Counter()
        self.most: Counter[Limit] = Counter()
        self.log: list[tuple[str, float]] = []

    @contextmanager
    def body(self, limit: Limit | None, weight: int = 1, *, name: str = "") -> Generator[None]:
        """Be a body, from its first line to its last."""
        self.log.append((name, anyio.current_time()))
        if limit is None:
            yield
            return
        self.starts[limit].append(anyio.current_time())
        self.alive[limit] += weight
        self.most[limit] = max(self.most[limit], self.alive[limit])
        try:
            yield
        finally:
            self.alive[limit] -= weight

    @contextmanager
    def lending(self, limit: Limit | None, weight: int = 1) -> Generator[None]:
        """Be a body that waits for a nested run: what it holds is used there."""
        if limit is None:
            yield
            return
        self.alive[limit] -= weight
        try:
            yield
        finally:
            self.alive[limit] += weight

    def names(self) -> list[str]:
        """The bodies in the order of their starts."""
        return [name for name, _ in self.log]

    def broken_laws(self) -> list[str]:
        """Each limit that was not kept, exactly."""
        broken: list[str] = []
        for limit, most in self.most.items():
            if limit.concurrency is not None and most > limit.concurrency:
                broken.append(f"{limit} had {most} alive at once")
        for limit, starts in self.starts.items():
            if limit.starts and (window := crowded_window(starts, limit.starts, limit.period)):
                broken.append(f"{limit} had {limit.starts + 1} starts from {window[0]!r} to {window[1]!r}")
        return broken


def crowded_window(starts: Sequence[float], most: int, period: float) -> tuple[float, float] | None:
    """Return the first and last of `most + 1` starts that lie in one window; each window is [t, t + period)."""
    ordered = sorted(starts)
    for first, last in zip(ordered, ordered[most:], strict=False):
        if Fraction(last) - Fraction(first) < Fraction(period):
            return first, last
    return None


async def assert_whole(limit: Limit) -> None:
    """Nothing is in use, nobody waits, and all that the limit grants can be had at one instant."""
    permits = permits_of(limit)
    assert (permits.in_use, permits.waiting) == (0, 0), (
        f"{limit} has {permits.in_use} in use, {permits.waiting} waiting"
    )
    await anyio.sleep(limit.period + 1)
    count = min(limit.concurrency or limit.starts, limit.starts or limit.concurrency or 1)
    alive = [0]
    together = anyio.Event()

    async def body() -> None:
        alive[0] += 1
        if alive[0] == count:
            together.set()
        await together.wait()

    graph = Graph("whole")
    for number in range(count):
        graph.add_layer(body, name=f"s{number}", limit=limit)
    with anyio.fail_after(limit.period + 1):
        await compile_plan(graph, concurrency=count).run()
    assert (permits.in_use, permits.waiting) == (0, 0)


async def all_of(*functions: Callable[[], Awaitable[object]]) -> None:
    """Call async functions beside each other; the first error leaves alone."""
    failed: list[BaseException] = []

    async def call(function: Callable[[], Awaitable[object]]) -> None:
        try:
            await function()
        except Exception as error:  # noqa: BLE001 (raised below, without its group)
            failed.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for function in functions:
            group.start_soon(call, function)
    if failed:
        raise failed[0]


def plan_of(*functions: Callable[..., Any], limit: Limit | None = None, **options: Any) -> Plan[None, Any]:
    """A plan of steps that depend on nothing, each of one limit."""
    graph = Graph("plan")
    for number, function in enumerate(functions):
        graph.add_layer(function, name=f"s{number}", limit=limit)
    return compile_plan(graph, **options)


def chain_of(*functions: Callable[..., Any], limit: Limit | None = None, **options: Any) -> Plan[None, Any]:
    """A plan of steps one after the other; only the last one has the limit."""
    graph, former = Graph("chain"), list[Any]()
    for number, function in enumerate(functions):
        own = limit if number == len(functions) - 1 else None
        former = [graph.add_layer(function, name=f"s{number}", limit=own, depends_on=former)]
    return compile_plan(graph, **options)


async def at(moment: float, plan: Plan[None, Any]) -> None:
    """Run a plan from that time on."""
    await anyio.sleep(moment)
    await plan.run()
