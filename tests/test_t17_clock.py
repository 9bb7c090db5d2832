"""T17: the wall clock jumps by a day, forwards and back, during a run; nothing takes notice (P23)."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.to_thread
import pytest

import fusynk
from fusynk import Graph, Plan, Run, compile_plan
from fusynk.testing import run_virtual

LONG = bool(os.environ.get("FUSYNK_LONG"))
SEEDS = 200 if LONG else 20
DAY = 86_400
PACKAGE = str(Path(fusynk.__file__).parent)
pytestmark = pytest.mark.timeout(0 if LONG else 120)


class WallClock:
    """A wall clock that can be moved, and knows which modules of the library read it."""

    def __init__(self) -> None:
        self.offset = 0
        self.readers: set[str] = set()
        self._time = time.time

    def read(self) -> float:
        caller = sys._getframe(1).f_code.co_filename
        if caller.startswith(PACKAGE):
            self.readers.add(caller)
        return self._time() + self.offset

    def read_nanoseconds(self) -> int:
        return int(self.read() * 1e9)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr(time, "time", clock.read)
    monkeypatch.setattr(time, "time_ns", clock.read_nanoseconds)
    return clock


def restless(seed: int, move: Callable[[], None]) -> Plan[None, Any]:
    """A plan with sleeps, retries, timeouts and threads that move the wall clock; with delays if the seed is odd."""
    chance, graph = Random(seed), Graph(f"restless {seed}")
    names: list[str] = []
    for number in range(12):
        name, fails = f"s{number}", chance.choice((0, 0, 0, 1, 2))
        calls: list[int] = []
        before = chance.sample(names, k=min(number, chance.choice((0, 1, 2))))
        body = _blocking(fails, calls, move) if number % 4 == 3 else _suspending(fails, calls, move)
        timeout = None if number % 4 == 3 else 30
        graph.add_layer(
            body,
            name=name,
            depends_on=before,
            retries=2,
            retry_delay=0.002 * (seed % 2),
            timeout=timeout,
            on_error="continue",
        )
        names.append(name)
    return compile_plan(graph, deadline=60, concurrency=1, seed=seed)


def _suspending(fails: int, calls: list[int], move: Callable[[], None]) -> Callable[[], Any]:
    async def body() -> int:
        calls.append(1)
        move()
        await anyio.sleep(0.001)
        move()
        if len(calls) <= fails:
            raise ConnectionError
        return len(calls)

    return body


def _blocking(fails: int, calls: list[int], move: Callable[[], None]) -> Callable[[], Any]:
    def body() -> int:
        calls.append(1)
        move()
        if len(calls) <= fails:
            raise ConnectionError
        return len(calls)

    return body


def course_of(run: Run[Any], *, ordered: bool) -> list[tuple[str, ...]]:
    """What happened in a run, without its times; in order of start where no delay decides it."""
    outcomes = [(name, repr(outcome)) for name, outcome in run.outcomes.items()]
    attempts = [(record.step, str(record.number), repr(record.error)) for record in run.attempts()]
    return [*outcomes, *(attempts if ordered else sorted(attempts))]


def stay() -> None:
    """Leave the wall clock alone."""


async def test_t17_a_wall_clock_that_jumps_changes_nothing(wall_clock: WallClock) -> None:
    for seed in range(SEEDS):
        chance = Random(-seed)

        def move(chance: Random = chance) -> None:
            wall_clock.offset = chance.choice((-DAY, 0, DAY))

        begun = time.monotonic()
        undisturbed = await restless(seed, stay).run()
        disturbed = await restless(seed, move).run()
        passed = time.monotonic() - begun

        ordered = seed % 2 == 0
        assert course_of(disturbed, ordered=ordered) == course_of(undisturbed, ordered=ordered), f"seed {seed}"
        assert all(0 <= record.duration <= passed for record in disturbed.attempts()), f"seed {seed}"
        assert 0 <= disturbed.report.makespan <= passed, f"seed {seed}"
    assert wall_clock.readers == set()


@pytest.mark.parametrize("jump", [-DAY, DAY])
@pytest.mark.parametrize("waiting", ["timeout", "deadline", "delay"])
async def test_t17_what_is_waited_for_comes_in_its_time(waiting: str, jump: int, wall_clock: WallClock) -> None:
    graph, calls = Graph("waits"), list[int]()

    @graph.layer(retries=1, retry_delay=0.05, timeout=0.05 if waiting == "timeout" else None)
    async def step() -> str:
        wall_clock.offset = jump
        calls.append(1)
        if len(calls) == 1 and waiting != "deadline":
            if waiting == "timeout":
                await anyio.sleep(30)
            raise ConnectionError
        await anyio.sleep(30 if waiting == "deadline" else 0.001)
        return "done"

    plan = compile_plan(step, deadline=0.05 if waiting == "deadline" else 30)
    begun = time.monotonic()
    if waiting == "deadline":
        with pytest.raises(fusynk.errors.DeadlineExceeded):
            await plan.run()
    else:
        assert (await plan.run()).result == "done"
    assert 0.05 <= time.monotonic() - begun < 20
    assert len(calls) == (1 if waiting == "deadline" else 2)


def test_t17_virtual_time_waits_for_a_thread_while_those_of_former_loops_still_end() -> None:
    async def in_a_thread() -> int:
        return await anyio.to_thread.run_sync(lambda: 1)

    assert [run_virtual(in_a_thread) for _ in range(50)] == [1] * 50
