"""Schedules as the manager keeps them: at most once an interval, no overlap, what is missed counts as one."""

import math
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusynk import Manager, errors
from fusynk.manager import events
from fusynk.manager.events import TicksMissed
from fusynk.testing.virtual import Backend
from tests.manager.crew import EPOCH, Crew, Declined, live, managed, told_by


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.offset = EPOCH

    def __call__(self) -> float:
        return self.offset + anyio.current_time()


def test_an_interval_is_kept_from_start_to_start(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("probe", 3, every=10)):
            await anyio.sleep(45)
        assert crew.starts("probe") == [0, 10, 20, 30, 40]

    live(main, backend)


def test_a_unit_that_takes_longer_than_its_interval_never_overlaps_and_counts_what_it_missed(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("slow", 3.5, every=1)) as manager:
            told = told_by(manager)
            await anyio.sleep(13)
            state = manager.get("slow")
        assert crew.starts("slow") == [0, 3.5, 7, 10.5]
        assert crew.most == 1
        missed = [event.count for event in told if isinstance(event, TicksMissed)]
        assert missed == [2, 3, 2]  # of 1 to 3 one was started, of 4 to 7, of 8 to 10
        assert (state.missed, state.scheduled_runs) == (7, 4)

    live(main, backend)


def test_one_late_run_counts_its_misses_once(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        lengths = iter([35.0, *[0.0] * 20])
        async with managed(crew.worker("a", lambda: next(lengths), every=10)) as manager:
            await anyio.sleep(75)
            assert crew.starts("a") == [0, 35, 40, 50, 60, 70]
            assert manager.get("a").missed == 2

    live(main, backend)


@settings(max_examples=60)
@given(
    every=st.sampled_from([0.5, 1.0, 3.0, 7.0]),
    lengths=st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.5, 10.0]), min_size=1, max_size=20),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_starts_and_misses_together_are_the_points_of_the_schedule(
    every: float, lengths: list[float], backend: Any
) -> None:
    async def main() -> None:
        crew, left = Crew(), iter(lengths)
        manager = managed(crew.worker("a", lambda: next(left, 0.0), every=every))
        async with manager:
            await anyio.sleep(50.1)
        state = manager.get("a")
        starts = crew.starts("a")
        last_point = math.floor(starts[-1] / every)
        assert state.scheduled_runs + state.missed == last_point + 1
        assert crew.most == 1
        intervals = [math.floor(start / every) for start in starts]
        assert len(set(intervals)) == len(intervals)  # at most once an interval

    live(main, backend)


def test_a_failing_unit_stays_on_its_schedule(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("bad", 1, Declined(), every=10)) as manager:
            await anyio.sleep(25)
            assert manager.get("bad").failures == 3
        assert crew.starts("bad") == [0, 10, 20]

    live(main, backend)


def test_a_run_by_call_holds_the_schedule_back(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", lambda: 12.0 if anyio.current_time() == 5 else 0.0, every=10)) as manager:
            await anyio.sleep(5)
            await manager.run("a")
            await anyio.sleep(8)
            state = manager.get("a")
        assert crew.starts("a") == [0, 5, 17, 20]
        assert crew.most == 1
        assert (state.runs, state.scheduled_runs) == (4, 3)

    live(main, backend)


def test_max_runs_counts_scheduled_runs_only(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", every=10, max_runs=3)) as manager:
            told = told_by(manager)
            await anyio.sleep(5)
            await manager.run("a")
            await anyio.sleep(60)
            state = manager.get("a")
            assert (state.runs, state.scheduled_runs, state.next_run, state.status) == (4, 3, None, "completed")
            manager.pause("a")
            manager.resume("a")
            await anyio.sleep(60)
            assert crew.starts("a") == [0, 5, 10, 20]
            manager.update("a", max_runs=4)
            await anyio.sleep(60)
            assert await manager.run("a") is not None
        ended = [event.runs for event in told if isinstance(event, events.ScheduleEnded)]
        assert ended == [3, 4]
        assert crew.starts("a") == [0, 5, 10, 20, 135, 185]

    live(main, backend)


@pytest.mark.parametrize("seed", [1, 2])
def test_jitter_puts_starts_off_and_a_seed_repeats_it(seed: int, backend: Backend) -> None:
    def starts(seed: int) -> list[float]:
        async def main() -> list[float]:
            crew = Crew()
            async with managed(crew.worker("a", every=10, jitter=4), seed=seed):
                await anyio.sleep(105)
            return crew.starts("a")

        return live(main, backend)

    first = starts(seed)
    assert first == starts(seed) != starts(seed + 2)
    assert [start // 10 for start in first] == list(range(len(first)))
    assert all(start % 10 <= 4 for start in first)
    assert len({start % 10 for start in first}) > 5


def test_units_of_one_moment_start_in_order_of_registration(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        told: list[Any] = []
        async with managed(*(crew.worker(name, every=10) for name in "cab"), subscribers=[told.append]):
            await anyio.sleep(15)
        started = [event.unit for event in told if isinstance(event, events.UnitStarted)]
        if backend == "asyncio":
            assert started == [*"cab"] * 2
        assert sorted(started[:3]) == sorted(started[3:]) == [*"abc"]

    live(main, backend)


# Cron


def test_a_cron_expression_is_due_by_the_wall(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        # The epoch of these tests is 22:13:20 UTC.
        async with managed(crew.worker("a", cron="*/5 * * * *")) as manager:
            assert manager.get("a").next_run == EPOCH + 100
            await anyio.sleep(1000)
        assert crew.starts("a")[:3] == [100, 400, 700]

    live(main, backend)


def test_a_zone_of_the_manager_holds_for_expressions_without_one(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = crew.worker("here", cron="0 0 * * *"), crew.worker("there", cron="0 0 * * *", timezone="UTC")
        async with managed(*units, timezone="Europe/Berlin"):
            await anyio.sleep(7200)
        assert crew.starts("here") == [46 * 60 + 40]
        assert crew.starts("there") == [46 * 60 + 40 + 3600]

    live(main, backend)


def test_a_clock_that_is_put_forward_makes_one_run_due_and_counts_the_rest(backend: Backend) -> None:
    async def main() -> None:
        crew, clock = Crew(), Clock()
        async with managed(
            crew.worker("a", cron="*/5 * * * *"), crew.worker("b", every=10), wall_clock=clock
        ) as manager:
            await anyio.sleep(110)
            clock.offset += 3600
            await anyio.sleep(40)
            assert crew.starts("a")[0] == 100
            assert len(crew.starts("a")) == 2
            assert 110 <= crew.starts("a")[1] <= 140
            assert manager.get("a").missed == 11
        assert crew.starts("b") == [*range(0, 151, 10)][: len(crew.starts("b"))]
        assert len(crew.starts("b")) >= 15

    live(main, backend)


def test_a_clock_that_is_set_back_starts_nothing_twice(backend: Backend) -> None:
    async def main() -> None:
        crew, clock = Crew(), Clock()
        async with managed(crew.worker("a", cron="*/5 * * * *"), crew.worker("b", every=10), wall_clock=clock):
            await anyio.sleep(110)
            clock.offset -= 600
            await anyio.sleep(880)  # until what the clock had shown when it was set, and the next point
            assert crew.starts("a") == [100]
            await anyio.sleep(50)
            assert crew.starts("a") == [100, 1000]
        assert len(crew.starts("b")) == 104

    live(main, backend)


def test_a_nap_is_not_too_long_to_see_the_clock_set(backend: Backend) -> None:
    async def main() -> None:
        crew, clock = Crew(), Clock()
        async with managed(crew.worker("a", cron="0 * * * *"), wall_clock=clock, scan_every=1e6):
            await anyio.sleep(1)
            clock.offset += 46 * 60 + 30
            await anyio.sleep(40)
        assert len(crew.starts("a")) == 1
        assert 9 <= crew.starts("a")[0] <= 40

    live(main, backend)


# What operators do


def test_what_passed_while_a_unit_was_paused_was_not_missed(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", every=10), crew.worker("c", cron="* * * * *")) as manager:
            await anyio.sleep(5)
            manager.stop_all()
            await anyio.sleep(1000)
            manager.start_all()
            await anyio.sleep(30)
            assert crew.starts("a") == [0, 1010, 1020, 1030]
            assert crew.starts("c") == []
            assert (manager.get("a").missed, manager.get("c").missed) == (0, 0)

    live(main, backend)


def test_a_unit_that_is_paused_before_its_first_start_starts_when_it_is_resumed(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", every=10))
        manager.pause("a")
        async with manager:
            await anyio.sleep(25)
            manager.resume("a")
            await anyio.sleep(15)
        assert crew.starts("a") == [25, 35]

    live(main, backend)


def test_a_schedule_is_updated_while_it_is_kept(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", every=10), crew.worker("b")) as manager:
            await anyio.sleep(15)
            manager.update("a", every=4)
            await anyio.sleep(10)
            manager.update("a", every=100)
            await anyio.sleep(50)
            manager.update("a", every=None)
            assert manager.get("a").next_run is None
            await anyio.sleep(200)
            manager.update("a", cron="* * * * *")
            await anyio.sleep(1)
            assert manager.get("a").next_run is not None
            manager.update("b", every=1)
            await anyio.sleep(1.5)
        assert crew.starts("a") == [0, 10, 19, 23]
        assert crew.starts("b") == [277]

    live(main, backend)


@pytest.mark.parametrize("change", [{"every": 4}, {"cron": "* * * * *"}, {"every": None}, {"max_runs": 5}])
def test_the_schedule_of_a_running_unit_is_updated_without_a_second_copy(change: Any, backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", 25, every=10), grace=100) as manager:
            await anyio.sleep(13)  # it is overdue now
            manager.update("a", **change)
            manager.disable("a")
            manager.enable("a")
            await anyio.sleep(100)
            assert manager.is_running
            assert (await manager.tick()) == ()
        assert crew.most == 1
        assert (len(crew.starts("a")) == 1) == (change == {"every": None})

    live(main, backend)


def test_a_listener_that_pauses_what_is_due_at_the_same_time_breaks_nothing(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", every=10, max_runs=1), crew.worker("b", every=10))
        _ = manager.subscribe(lambda _: manager.pause("b"), events.ScheduleEnded)
        async with manager:
            await anyio.sleep(25)
            assert manager.status("b") == "paused"
            assert await manager.run("a") is not None
        assert crew.starts("b") == []

    live(main, backend)


def test_a_thousand_units_keep_their_time(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = [crew.worker(f"unit {number}", every=1 + number % 7) for number in range(1000)]
        async with managed(*units) as manager:
            await anyio.sleep(7.5)
            assert sum(state.missed for state in manager.snapshot().units.values()) == 0
        for number in range(1000):
            every = 1 + number % 7
            assert crew.starts(f"unit {number}") == [point * every for point in range(8) if point * every <= 7]

    live(main, backend)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"every": -1}, "every=-1"),
    ({"every": 0}, "every=0"),
    ({"cron": "61 * * * *"}, "61"),
    ({"cron": "not a cron text"}, "not a cron text"),
    ({"cron": "0 0 30 2 *"}, "0 0 30 2"),
    ({"cron": "* * * * *", "timezone": "Mars"}, "Mars"),
]


@pytest.mark.parametrize(("wrong", "told"), WRONG, ids=lambda value: str(value)[:30])
def test_a_schedule_that_cannot_be_kept_is_refused(wrong: Any, told: str) -> None:
    manager = Manager()
    with pytest.raises(errors.InvalidOption, match=told):
        manager.register(Crew().worker("a", **wrong))
    assert manager.units == ()
