"""Schedules of `cron`: facts written by hand, and what a scan of every minute finds."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fusynk import worker
from fusynk.errors import CronUnavailable, DeclarationError, InvalidOption
from fusynk.manager.cron import Pattern
from fusynk.manager.schedule import Cron, Due, schedule_of
from tests import loose
from tests.hostile_names import HOSTILE
from tests.observing import python

YEAR = 365 * 86_400


def never() -> float:
    raise AssertionError


def seconds(text: str) -> float:
    """A time with its offset, as in "2026-03-29 01:00+00:00", in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def starts(text: str, zone: str, since: str, count: int) -> list[str]:
    """The first points after a time, as a clock on the wall shows them, with the offset."""
    found: list[str] = []
    schedule, now = Cron(text, zone), seconds(since)
    while len(found) < count:
        due = schedule.after(now, now, never)
        assert due is not None
        assert due.at == due.tick > now
        now = due.at
        found.append(datetime.fromtimestamp(now, ZoneInfo(zone)).isoformat(" ", "minutes"))
    return found


# Facts by hand. In 2026 clocks are put forward at 02:00 and back at 03:00 in Berlin, on 29 March and 25 October, both
# at 02:00 in New York, on 8 March and 1 November.

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def test_a_time_that_is_skipped_is_due_at_the_end_of_the_gap() -> None:
    assert starts("30 2 * * *", BERLIN, "2026-03-28 00:00+01:00", 3) == [
        "2026-03-28 02:30+01:00",
        "2026-03-29 03:00+02:00",
        "2026-03-30 02:30+02:00",
    ]
    assert starts("30 2 * * *", NEW_YORK, "2026-03-07 12:00-05:00", 2) == [
        "2026-03-08 03:00-04:00",
        "2026-03-09 02:30-04:00",
    ]


def test_seconds_before_a_fixed_time_leave_it_fixed() -> None:
    assert starts("0 30 2 * * *", BERLIN, "2026-03-29 00:00+01:00", 1) == ["2026-03-29 03:00+02:00"]
    assert starts("0 30 2 * * *", BERLIN, "2026-10-25 02:40+02:00", 1) == ["2026-10-26 02:30+01:00"]
    assert starts("0 * 2 * * *", BERLIN, "2026-03-29 00:00+01:00", 1) == ["2026-03-30 02:00+02:00"]


def test_all_that_is_skipped_is_due_once() -> None:
    assert starts("0,20,40 2,3 * * *", BERLIN, "2026-03-29 00:00+01:00", 4) == [
        "2026-03-29 03:00+02:00",
        "2026-03-29 03:20+02:00",
        "2026-03-29 03:40+02:00",
        "2026-03-30 02:00+02:00",
    ]


def test_a_time_that_is_there_twice_is_due_the_first_time() -> None:
    assert starts("30 2 * * *", BERLIN, "2026-10-24 12:00+02:00", 2) == [
        "2026-10-25 02:30+02:00",
        "2026-10-26 02:30+01:00",
    ]
    assert starts("30 1 * * *", NEW_YORK, "2026-11-01 00:00-04:00", 2) == [
        "2026-11-01 01:30-04:00",
        "2026-11-02 01:30-05:00",
    ]


def test_the_second_time_is_past_for_one_who_asks_in_it() -> None:
    assert starts("30 2 * * *", BERLIN, "2026-10-25 02:10+01:00", 1) == ["2026-10-26 02:30+01:00"]
    assert starts("30 2,3 * * *", BERLIN, "2026-10-25 02:10+01:00", 1) == ["2026-10-25 03:30+01:00"]


def test_every_hour_is_an_hour_apart_over_both_changes() -> None:
    assert starts("0 * * * *", BERLIN, "2026-03-29 00:30+01:00", 3) == [
        "2026-03-29 01:00+01:00",
        "2026-03-29 03:00+02:00",
        "2026-03-29 04:00+02:00",
    ]
    assert starts("0 * * * *", BERLIN, "2026-10-25 01:30+02:00", 3) == [
        "2026-10-25 02:00+02:00",
        "2026-10-25 02:00+01:00",
        "2026-10-25 03:00+01:00",
    ]
    assert starts("*/30 1 * * *", NEW_YORK, "2026-11-01 00:00-04:00", 5) == [
        "2026-11-01 01:00-04:00",
        "2026-11-01 01:30-04:00",
        "2026-11-01 01:00-05:00",
        "2026-11-01 01:30-05:00",
        "2026-11-02 01:00-05:00",
    ]


def test_a_zone_may_be_off_by_half_an_hour() -> None:
    assert starts("15 9 * * *", "Asia/Kolkata", "2026-01-01 03:44+00:00", 1) == ["2026-01-01 09:15+05:30"]
    assert starts("0 0 * * *", "America/St_Johns", "2026-07-01 00:00+00:00", 1) == ["2026-07-01 00:00-02:30"]


def test_a_change_may_be_of_half_an_hour() -> None:
    """Lord Howe: forward from 02:00 to 02:30 on 4 October, back from 02:00 to 01:30 on 5 April 2026."""
    howe = "Australia/Lord_Howe"
    assert starts("*/15 2-3 * * *", howe, "2026-10-04 01:59+10:30", 3) == [
        "2026-10-04 02:30+11:00",
        "2026-10-04 02:45+11:00",
        "2026-10-04 03:00+11:00",
    ]
    assert starts("10 2 * * *", howe, "2026-10-04 00:00+10:30", 2) == [
        "2026-10-04 02:30+11:00",
        "2026-10-05 02:10+11:00",
    ]
    assert starts("45 1 * * *", howe, "2026-04-05 00:00+11:00", 2) == [
        "2026-04-05 01:45+11:00",
        "2026-04-06 01:45+10:30",
    ]


def test_midnight_may_be_missing_and_so_may_a_day() -> None:
    """Cairo had no midnight on 26 April 2024; Apia had no 30 December 2011."""
    assert starts("0 0 * * *", "Africa/Cairo", "2024-04-25 12:00+02:00", 2) == [
        "2024-04-26 01:00+03:00",
        "2024-04-27 00:00+03:00",
    ]
    assert starts("0 12 * * *", "Pacific/Apia", "2011-12-29 13:00-10:00", 3) == [
        "2011-12-31 00:00+14:00",
        "2011-12-31 12:00+14:00",
        "2012-01-01 12:00+14:00",
    ]


def test_a_leap_day_comes_each_four_years_but_not_in_2100() -> None:
    assert starts("0 0 29 2 *", "UTC", "2024-02-29 00:00+00:00", 1) == ["2028-02-29 00:00+00:00"]
    assert starts("0 0 29 2 *", BERLIN, "2096-03-01 00:00+01:00", 1) == ["2104-02-29 00:00+01:00"]
    assert starts("0 0 L 2 *", "UTC", "2027-01-01 00:00+00:00", 2) == [
        "2027-02-28 00:00+00:00",
        "2028-02-29 00:00+00:00",
    ]


def test_days_by_name_and_by_number() -> None:
    """The first of January 2026 is a Thursday."""
    assert starts("0 0 * * MON#2", "UTC", "2026-01-01 00:00+00:00", 1) == ["2026-01-12 00:00+00:00"]
    assert starts("0 0 13 * FRI", "UTC", "2026-01-01 00:00+00:00", 3) == [
        "2026-01-02 00:00+00:00",
        "2026-01-09 00:00+00:00",
        "2026-01-13 00:00+00:00",
    ]
    assert starts("0 0 * jan-mar 0", "UTC", "2026-03-23 00:00+00:00", 2) == [
        "2026-03-29 00:00+00:00",
        "2027-01-03 00:00+00:00",
    ]


def test_six_fields_begin_with_the_seconds() -> None:
    now = seconds("2026-01-01 00:00:07+00:00")

    assert Cron("*/20 * * * * *").after(now, now, never) == Due(at=now + 13, tick=now + 13)


# What passed


def test_what_passed_is_counted_and_started_once() -> None:
    """Berlin's clock is put back at 03:00 of 25 October."""
    hourly, daily = Cron("0 * * * *", BERLIN), Cron("30 2 * * *", BERLIN)
    tick, now = seconds("2026-10-24 02:30+02:00"), seconds("2026-10-26 12:10+01:00")

    assert hourly.after(tick, now, never) == Due(at=now + 3000, tick=now + 3000, missed=22 + 24 + 13)
    assert daily.resumed(tick, now, now, never) == Due(at=now, tick=now, missed=1)
    assert daily.resumed(now, now + 60, now + 60, never) == daily.after(now, now + 60, never)
    assert hourly.after(hourly.reached(tick, now), now, never) == Due(at=now + 3000, tick=now + 3000)


def passed(text: str, zone: str, since: str, until: str) -> int:
    due = Cron(text, zone).after(seconds(since), seconds(until), never)
    assert due is not None
    return due.missed


def test_a_gap_counts_once_and_with_its_end() -> None:
    day = "2026-03-29 00:00+01:00", "2026-03-29 12:00+02:00"

    assert passed("0,30 2 * * *", BERLIN, *day) == 1
    assert passed("0,30 2,3 * * *", BERLIN, *day) == 2
    assert passed("30 2,3 * * *", BERLIN, *day) == 2
    assert passed("*/30 2,3 * * *", BERLIN, *day) == 2


def test_a_year_has_all_its_months_and_both_changes() -> None:
    year = "2026-01-01 00:00-05:00", "2027-01-01 00:00-05:00"

    assert passed("*/30 1 * * *", NEW_YORK, *year) == 2 * 365 + 2
    assert passed("0 1 * * *", NEW_YORK, *year) == 365
    assert passed("0 12 1 jan,jul *", NEW_YORK, *year) == 2
    assert passed("0 12 * feb *", NEW_YORK, *year) == 28


def test_a_clock_set_back_a_little_starts_nothing_twice_and_set_back_a_lot_goes_on_from_there() -> None:
    schedule, tick = Cron("0 * * * *"), seconds("2026-01-01 12:00+00:00")

    for back in (1, 3599, 3601, 3 * 3600):
        assert schedule.after(tick, tick - back, never) == Due(at=tick + 3600, tick=tick + 3600)
    assert schedule.after(tick, tick - YEAR, never) == Due(at=tick - YEAR + 3600, tick=tick - YEAR + 3600)
    assert schedule.resumed(tick, tick - 60, tick - 60, never) == Due(at=tick + 3600, tick=tick + 3600)


@pytest.mark.parametrize("position", [-math.inf, -1e300, math.inf, 1e300, math.nan])
def test_a_position_that_is_no_time_does_no_harm(position: float) -> None:
    now = seconds("2026-01-01 12:00:30+00:00")
    schedule = Cron("* * * * *")

    resumed = schedule.resumed(position, now, now, never)

    assert resumed is not None
    assert resumed.at in {now, now + 30}


@pytest.mark.parametrize("now", [-1e18, -1.0, 0.0, 1e12, 1e18])
def test_a_clock_that_reads_nonsense_does_no_harm(now: float) -> None:
    due = Cron("0 0 29 2 *", BERLIN).first(now, never)

    assert due is None or due.at > now


def test_ten_years_of_seconds_are_counted_without_walking_over_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    local = Pattern._local

    def counted(self: Pattern, at: int) -> datetime:
        asked.append(at)
        return local(self, at)

    monkeypatch.setattr(Pattern, "_local", counted)
    schedule, now = Cron("* * * * * *", BERLIN), seconds("2026-06-01 00:00+00:00")

    due = schedule.resumed(now - 10 * YEAR, now, now, never)

    assert due == Due(at=now, tick=now, missed=10 * YEAR - 1)
    assert len(asked) < 2000


# Laws, against a scan of every minute

ZONES = [
    (BERLIN, "2026-03-29 01:00+00:00"),
    (BERLIN, "2026-10-25 01:00+00:00"),
    (NEW_YORK, "2026-03-08 07:00+00:00"),
    (NEW_YORK, "2026-11-01 06:00+00:00"),
    ("Australia/Lord_Howe", "2026-10-03 15:30+00:00"),
    ("Australia/Lord_Howe", "2026-04-04 15:00+00:00"),
    ("Africa/Cairo", "2024-04-25 22:00+00:00"),
    ("America/Santiago", "2024-04-07 03:00+00:00"),
    ("Pacific/Apia", "2011-12-30 10:00+00:00"),
    ("Asia/Kolkata", "2026-01-01 00:00+00:00"),
    ("UTC", "2024-02-29 00:00+00:00"),
]


def field(draw: st.DrawFn, low: int, high: int) -> tuple[str, set[int]]:
    """A field of an expression, and the numbers it has."""
    form = draw(st.sampled_from(["*", "*/n", "n", "list", "range", "range/n"]))
    one, other = sorted((draw(st.integers(low, high)), draw(st.integers(low, high))))
    step = draw(st.integers(1, 20))
    last = high if one == other else other  # "5-5/2" is read as "5/2" is: from 5 on
    return {
        "*": ("*", set(range(low, high + 1))),
        "*/n": (f"*/{step}", set(range(low, high + 1, step))),
        "n": (f"{one}", {one}),
        "list": (f"{other},{one}", {one, other}),
        "range": (f"{one}-{other}", set(range(one, other + 1))),
        "range/n": (f"{one}-{other}/{step}", set(range(one, last + 1, step))),
    }[form]


@st.composite
def expressions(draw: st.DrawFn) -> tuple[str, list[set[int]]]:
    """An expression and what each of its fields has. Its day is any, or of the month, or of the week."""
    minute, hour = field(draw, 0, 59), field(draw, 0, 23)
    any_day, any_weekday = ("*", set(range(1, 32))), ("*", set(range(7)))
    day, weekday = draw(
        st.sampled_from([(any_day, any_weekday), (field(draw, 1, 31), any_weekday), (any_day, field(draw, 0, 6))])
    )
    fields = [minute, hour, day, ("*", set(range(1, 13))), weekday]
    return " ".join(text for text, _ in fields), [numbers for _, numbers in fields]


def has(local: datetime, fields: list[set[int]]) -> bool:
    shown = (local.minute, local.hour, local.day, local.month, local.isoweekday() % 7)
    return all(one in numbers for one, numbers in zip(shown, fields, strict=True))


def scanned(text: str, fields: list[set[int]], zone: str, since: float, until: float) -> Iterator[float]:
    """The points after one time and up to another, found by looking at every minute of the world and of the wall."""
    minute, hour = text.split()[:2]
    is_fixed = minute[0] != "*" and hour[0] != "*"
    place, step = ZoneInfo(zone), timedelta(minutes=1)
    at = datetime.fromtimestamp((since - 36 * 3600) // 60 * 60, UTC)
    seen = at.astimezone(place).replace(tzinfo=None)
    while (at := at + step).timestamp() <= until:
        local = at.astimezone(place).replace(tzinfo=None)
        if not is_fixed:
            found = has(local, fields)
        else:
            found = False
            while seen < local:
                seen += step
                found |= has(seen, fields)
        if found and at.timestamp() > since:
            yield at.timestamp()


@settings(max_examples=60)
@example(("0 0 * * *", [{0}, {0}, set(range(1, 32)), set(range(1, 13)), set(range(7))]), ZONES[0], 0.0, 60.0)
@given(expressions(), st.sampled_from(ZONES), st.floats(-1500, 1500), st.floats(1, 2000))
def test_next_and_count_are_those_of_a_scan(
    expression: tuple[str, list[set[int]]], place: tuple[str, str], before: float, minutes: float
) -> None:
    (text, fields), (zone, change) = expression, place
    since = seconds(change) + before * 60
    until = since + minutes * 60
    try:
        schedule = Cron(text, zone)
    except InvalidOption:
        assert not set(range(1, 30)) & fields[2]
        return

    found = list(scanned(text, fields, zone, since, until))

    now, walked = since, list[float]()
    while (due := schedule.after(now, now, never)) is not None and due.at <= until and len(walked) < 300:
        now = due.at
        walked.append(now)
    assert walked == found[:300]
    following = schedule.after(since, until, never)
    assert following is None or following.missed == len(found)
    resumed = schedule.resumed(since, until, until, never)
    assert resumed is not None
    assert (resumed.at == until, resumed.missed) == (bool(found), max(0, len(found) - 1))


@settings(max_examples=50)
@given(expressions(), st.integers(0, 2 * 10**9), st.integers(0, 86_400))
def test_in_utc_an_expression_is_a_scan_of_minutes(
    expression: tuple[str, list[set[int]]], since: int, length: int
) -> None:
    text, fields = expression
    if not set(range(1, 30)) & fields[2]:
        return
    expected = [
        float(at)
        for at in range((since // 60 + 1) * 60, since + length + 1, 60)
        if has(datetime.fromtimestamp(at, UTC), fields)
    ]

    due = Cron(text).after(since, since + length, never)

    assert due is not None
    assert due.missed == len(expected)
    first = Cron(text).after(since, since, never)
    assert first is not None
    assert not expected or first.at == expected[0]
    assert expected or first.at > since + length


# What is refused


@pytest.mark.parametrize("text", ["", "  ", "* * * *", "* * * * * * *", "@daily", 3, None, ["* * * * *"], "* " * 6000])
def test_a_text_of_another_shape_is_refused_here_and_at_the_decorator(text: object) -> None:
    loose_cron: type = Cron

    with pytest.raises(InvalidOption, match=r"must be a text of five fields, minute, hour, .* \"30 4 \* \* \*\""):
        loose_cron(text)
    if text is not None:
        with pytest.raises(InvalidOption, match=r"^@worker\(cron=.*must be a text of five fields"):
            loose.worker(cron=text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("60 * * * *", "has no such minute"),
        ("* 24 * * *", "has no such hour"),
        ("* * 0 * *", "has no such day-of-month"),
        ("* * 31 2 *", "has no such day-of-month"),
        ("* * * 13 *", "has no such month"),
        ("* * * * 8", "has no such day-of-week"),
        ("61 * * * * *", "has no such second"),
        ("*/0 * * * *", "has no such minute"),
        ("5-1 * * * *", "has no such minute"),
        ("-1 * * * *", "has no such minute"),
        ("1.5 * * * *", "has no such minute"),
        ("٣ * * * *", "has no such minute"),
        ("a b c d e", "has no such minute"),
        ("* * * * MON#6", "has no such day-of-week"),
        ("* * * * L", "has no such day-of-week"),
        ("9" * 990 + " * * * *", "has no such minute"),
        ("* * 31 4,6,9,11 *", "has no such day-of-month"),
        ("0 0 30,31 2 */1", "has no such day-of-month"),
    ],
)
def test_an_expression_that_means_nothing_is_refused_with_the_field(text: str, told: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Cron(text)

    assert told in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "as in" in str(caught.value)


def test_an_expression_that_is_never_due_is_refused() -> None:
    # A second Monday is neither the first day of a month nor the 31st.
    with pytest.raises(InvalidOption, match=r"^Cron\('0 0 \*/30 \* 1#2'\) is never due; give days"):
        Cron("0 0 */30 * 1#2")


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "long of everything"])
def test_a_hostile_text_is_no_zone_and_no_expression(name: str) -> None:
    text = HOSTILE[name]

    with pytest.raises(InvalidOption):
        Cron("* * * * *", text)
    with pytest.raises(InvalidOption):
        Cron(text)
    with pytest.raises(InvalidOption):
        loose.worker(cron="* * * * *", timezone=text)


@pytest.mark.parametrize(
    "zone", ["Europe", "../UTC", "/etc/localtime", "Europe/Berlin\0", "", ".", "x" * 5000, "posix/"]
)
def test_a_path_is_no_zone(zone: str) -> None:
    with pytest.raises(InvalidOption, match="timezone must be an IANA time zone"):
        Cron("* * * * *", zone)


@pytest.mark.parametrize("zone", [3, None, b"UTC", ["UTC"]])
def test_a_zone_is_a_text(zone: object) -> None:
    loose_cron: type = Cron

    with pytest.raises(InvalidOption, match=r"^Cron\(timezone=.*\): timezone must be an IANA time zone"):
        loose_cron("* * * * *", zone)


def test_the_nearest_zone_is_suggested() -> None:
    with pytest.raises(InvalidOption, match=r'or "UTC"\. Did you mean \'Europe/Berlin\'\?$'):
        worker(cron="* * * * *", timezone="Europe/Berln")(body)
    with pytest.raises(InvalidOption, match=r"Did you mean 'Europe/Berlin'\?$"):
        Cron("* * * * *", "Europe/Berln")


def test_where_a_system_has_no_zones_it_says_what_to_install() -> None:
    code = """
import zoneinfo
zoneinfo.reset_tzpath([])
import sys
sys.modules["tzdata"] = None
from fusynk import worker
from fusynk.errors import InvalidOption
from fusynk.manager.schedule import Cron
assert Cron("* * * * *", "UTC").first(0, None).at == 60
try:
    worker(cron="* * * * *", timezone="Europe/Berlin")
except InvalidOption as error:
    print(error)
"""

    ended = python(code)

    assert ended.stderr == ""
    assert ended.stdout.endswith("This system has no time zones; pip install tzdata.\n")


async def body() -> None: ...


def test_without_the_library_a_unit_can_be_declared_but_not_scheduled() -> None:
    code = """
import sys
sys.modules["cronsim"] = None
from fusynk import worker
from fusynk.errors import CronUnavailable
from fusynk.manager.schedule import Every, schedule_of

@worker(cron="0 4 * * *", timezone="UTC")
async def nightly(): ...

@worker(every=5)
async def often(): ...

assert schedule_of(often.unit.options) == Every(5)
try:
    schedule_of(nightly.unit.options)
except CronUnavailable as error:
    assert isinstance(error, ImportError)
    print(error)
"""

    ended = python(code)

    assert ended.stderr == ""
    assert ended.stdout == "cron='0 4 * * *' needs cronsim, which is not installed; pip install 'fusynk[cron]'.\n"
    assert issubclass(CronUnavailable, DeclarationError)


def test_the_library_is_imported_by_none_who_does_not_need_it() -> None:
    code = "import sys, fusynk.manager.schedule; print({'cronsim', 'zoneinfo'} & set(sys.modules))"

    assert python(code).stdout == "set()\n"


def test_the_schedule_of_a_unit_has_its_own_zone_or_the_one_it_is_given() -> None:
    plain = worker(cron="0 4 * * *")(body).unit.options
    own = worker(cron="0 4 * * *", timezone=BERLIN)(body).unit.options

    assert schedule_of(plain) == Cron("0 4 * * *", "UTC")
    assert schedule_of(plain, NEW_YORK) == Cron("0 4 * * *", NEW_YORK)
    assert schedule_of(own, NEW_YORK) == Cron("0 4 * * *", BERLIN)
    assert (Cron("* * * * *").clock, Cron("* * * * *").position(60.0, 99.0, 98.0)) == ("wall", 60.0)
