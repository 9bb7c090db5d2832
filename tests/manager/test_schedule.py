"""Schedules of `every`: which start is next, over late starts, restarts and clocks that jump."""

import math
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusynk import worker
from fusynk.errors import InvalidOption
from fusynk.manager.schedule import Cron, Due, Every, Schedule, schedule_of
from tests import loose

YEAR = 365 * 86_400.0


def never() -> float:
    raise AssertionError


def almost_all() -> float:
    return math.nextafter(1, 0)


async def body() -> None: ...


# By hand


def test_the_first_start_is_at_once() -> None:
    assert Every(60).first(1000.0, never) == Due(at=1000.0, tick=1000.0)


def test_the_next_start_is_one_interval_later_however_late_the_start_is() -> None:
    every = Every(60)

    assert every.after(1000.0, 1000.0, never) == Due(at=1060.0, tick=1060.0)
    assert every.after(1000.0, 1059.5, never) == Due(at=1060.0, tick=1060.0)


def test_points_that_passed_count_as_one_start_and_the_grid_stays() -> None:
    every = Every(60)

    assert every.after(1000.0, 1060.0, never) == Due(at=1120.0, tick=1120.0, missed=1)
    assert every.after(1000.0, 1299.0, never) == Due(at=1300.0, tick=1300.0, missed=4)


def test_a_point_just_ahead_has_not_passed_whatever_division_says() -> None:
    every, tick, now = Every(0.7), 11.7, 39.699999999999996
    assert (now - tick) / 0.7 == 40.0

    due = every.after(tick, now, never)

    assert (due.missed, due.tick) == (39, 39.7)
    assert due.tick > now


def test_a_late_start_takes_the_schedule_as_far_as_it_stands_for() -> None:
    every = Every(60)

    reached = every.reached(1000.0, 1299.0)

    assert reached == 1240.0
    assert every.after(reached, 1299.0, never) == Due(at=1300.0, tick=1300.0)
    assert every.resumed(every.position(reached, 5000.0, 1299.0), 5000.5, 0.5, never) == Due(at=1.0, tick=1.0)


def test_a_start_is_later_by_part_of_the_jitter_and_the_next_is_not_later_for_that() -> None:
    every = Every(60, jitter=10)

    assert every.first(1000.0, lambda: 0.5) == Due(at=1005.0, tick=1000.0)
    assert every.after(1000.0, 1005.0, lambda: 0.25) == Due(at=1062.5, tick=1060.0)
    assert every.after(1060.0, 1062.5, lambda: 0.0) == Due(at=1120.0, tick=1120.0)


def test_without_jitter_nothing_is_drawn() -> None:
    every = Every(5)

    assert every.resumed(0.0, 1.0, 100.0, never).at == 104.0


def test_after_a_restart_the_interval_goes_on_from_the_stored_start() -> None:
    # It started 20 s ago by the wall; this process's clock reads 7.
    assert Every(60).resumed(5000.0, 5020.0, 7.0, never) == Due(at=47.0, tick=47.0)


def test_after_a_restart_what_passed_meanwhile_is_started_at_once_and_once() -> None:
    # Points at 5060, 5120 and 5180 passed; it is 5185, and the next is at 5240.
    resumed = Every(60).resumed(5000.0, 5185.0, 7.0, never)

    assert resumed == Due(at=7.0, tick=2.0, missed=2)
    assert Every(60).after(resumed.tick, 7.0, never) == Due(at=62.0, tick=62.0)


def test_a_stored_start_in_the_future_makes_a_unit_wait_one_interval_at_most() -> None:
    assert Every(60).resumed(5000.0 + YEAR, 5000.0, 7.0, never) == Due(at=67.0, tick=67.0)


@pytest.mark.parametrize("position", [-math.inf, math.inf, math.nan])
def test_a_stored_start_that_is_no_time_counts_as_now(position: float) -> None:
    assert Every(60).resumed(position, 5000.0, 7.0, never) == Due(at=67.0, tick=67.0)


def test_a_position_is_on_the_wall_clock() -> None:
    assert Every(60).position(tick=40.0, wall=5000.0, now=47.0) == 4993.0


# Laws

# Fractions that floats hold exactly, so that the model below is exact too.
intervals = st.integers(1, 40_000).map(lambda number: number / 8)
instants = st.integers(0, 2**30).map(lambda number: number / 8)


@given(intervals, instants, st.lists(st.one_of(st.integers(0, 100), st.integers(0, 10**6)), max_size=30), st.data())
def test_every_point_is_started_or_counted_once_over_any_sequence_of_times(
    seconds: float, began: float, delays: list[int], data: st.DataObject
) -> None:
    jitter = data.draw(st.integers(0, int(seconds * 8))) / 8
    draw = Random(data.draw(st.integers())).random
    every = Every(seconds, jitter)
    due, now, missed = every.first(began, draw), began, 0

    for starts, delay in enumerate(delays, 1):
        now = max(now, due.at) + delay / 8  # the start is late by this
        following = every.after(due.tick, now, draw)
        missed += following.missed

        # Brute force: one point after the other.
        points, point = 0, began
        while point <= now and points < 10_000:
            points, point = points + 1, point + seconds
        if point > now:
            assert starts + missed == points
            assert following.tick == point
        assert following.tick > now
        assert every.after(every.reached(due.tick, now), now, lambda: 0.0).missed == 0
        assert following.tick <= following.at <= following.tick + jitter
        due = following


@given(
    st.floats(0.001, 3_155_760_000), st.floats(0, 1e10), st.floats(0, 1e10), st.sampled_from([lambda: 0.0, almost_all])
)
def test_the_next_start_is_strictly_later_within_one_interval_and_the_jitter(
    seconds: float, tick: float, later: float, draw: Callable[[], float]
) -> None:
    jitter = seconds / 2
    due = Every(seconds, jitter).after(tick, now := tick + later, draw)

    assert due.at >= due.tick > now
    assert due.tick <= max(now, tick) + seconds * (1 + 1e-9) + 1e-5
    assert due.at <= due.tick + jitter
    assert abs(due.missed - later / seconds) < 1 + later / seconds * 1e-9 + 1e-2


@given(intervals, st.integers(0, 2**30), st.integers(-(2**20), 2**33), instants)
def test_a_restart_is_as_if_the_process_had_gone_on(seconds: float, stored: int, passed: int, now: float) -> None:
    every, position, wall = Every(seconds), stored / 8, (stored + passed) / 8

    resumed = every.resumed(position, wall, now, never)

    meanwhile = max(0, math.floor((wall - position) / seconds))
    assert resumed.missed == max(0, meanwhile - 1)
    assert resumed.at >= now
    assert resumed.at - now <= seconds
    assert (resumed.at == now) == (meanwhile > 0)
    if passed >= 0:
        assert every.position(resumed.tick, wall, now) == position + max(1, meanwhile) * seconds


@given(intervals, instants, instants, instants, instants)
def test_a_position_comes_back_as_the_tick_it_was(
    seconds: float, tick: float, wall: float, now: float, other: float
) -> None:
    every = Every(seconds)
    position = every.position(tick, wall, now)

    # The other process begins at the same time of the wall; its own clock reads something else.
    resumed = every.resumed(position, wall, other, never)

    assert wall - (now - tick) == position
    assert (resumed.tick - other - (tick - now)) % seconds == 0 or tick > now


@given(st.floats(0, 1e9), st.floats(0.5, 1e6), st.floats(-1e9, 0))
def test_a_clock_that_reads_less_than_before_starts_nothing_twice(tick: float, seconds: float, back: float) -> None:
    assert Every(seconds).after(tick, tick + back, never).tick == tick + seconds
    assert Every(seconds).reached(tick, tick + back) == tick


def test_ten_years_of_milliseconds_cost_no_more_than_one() -> None:
    every = Every(0.001)

    assert every.after(0.0, 10 * YEAR, never).missed == pytest.approx(10 * YEAR * 1000, rel=1e-9)
    assert every.resumed(0.0, 10 * YEAR, 3.0, never).missed == pytest.approx(10 * YEAR * 1000, rel=1e-9)


# What is refused

NO_SECONDS = [0, -1, -0.5, math.inf, -math.inf, math.nan, True, "60", None, 0.0009, 3_155_760_001, 10**400, [60], 1j]


@pytest.mark.parametrize("seconds", NO_SECONDS, ids=lambda value: repr(value)[:20])
def test_an_interval_that_cannot_be_is_refused_here_and_at_the_decorator(seconds: object) -> None:
    wanted = r"must be a number of seconds from 0.001 to 3155760000 \(a century\)"
    loose_every: type = Every

    with pytest.raises(InvalidOption, match=rf"^Every\(seconds=.*\): seconds {wanted}\.$"):
        loose_every(seconds)
    if seconds is not None:
        with pytest.raises(InvalidOption, match=rf"^@worker\(every=.*\): every {wanted}\.$"):
            loose.worker(every=seconds)


@pytest.mark.parametrize("jitter", [-1, 61, 60.1, math.inf, math.nan, True, "1", None], ids=repr)
def test_a_jitter_that_cannot_be_is_refused_here_and_at_the_decorator(jitter: object) -> None:
    loose_every: type = Every

    with pytest.raises(InvalidOption, match=r"^Every\(jitter=.*\): jitter must be .* from 0 to the interval, 60\.$"):
        loose_every(60, jitter)
    with pytest.raises(InvalidOption, match=r"^@worker\(jitter="):
        loose.worker(every=60, jitter=jitter)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"every": 1, "cron": "* * * * *"}, "has two schedules; give one, or declare two units."),
        ({"jitter": 1}, "@worker(jitter=1) counts for nothing; give it with every=."),
        ({"jitter": 1, "cron": "* * * * *"}, "@worker(jitter=1) counts for nothing; give it with every=."),
        ({"timezone": "UTC"}, "@worker(timezone='UTC') counts for nothing; give it with cron=."),
        ({"timezone": "UTC", "every": 1}, "@worker(timezone='UTC') counts for nothing; give it with cron=."),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        loose.worker(**options)

    assert told in str(caught.value)


def test_a_layer_has_neither_jitter_nor_time_zone() -> None:
    for option in ("jitter", "timezone"):
        with pytest.raises(TypeError, match=f"@layer has no option {option!r}"):
            loose.layer(**{option: 1})


def test_both_kinds_are_schedules() -> None:
    schedules: list[Schedule] = [Every(1), Cron("* * * * *")]

    assert [one.clock for one in schedules] == ["monotonic", "wall"]


def test_the_schedule_of_a_unit_is_what_it_was_declared_with() -> None:
    def options_of(**given: object) -> object:
        return schedule_of(loose.worker(**given)(body).unit.options)

    assert options_of() is None
    assert options_of(every=0.5) == Every(0.5)
    assert options_of(every=60, jitter=60) == Every(60, jitter=60)
    assert options_of(every=60, cron=None, jitter=0) == Every(60)
    assert worker(every=60, jitter=1.5)(body).unit.options.jitter == 1.5
