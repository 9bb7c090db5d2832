"""Limits as they are declared, and the law of their permits, without any event loop."""

import copy
import math
import os
import pickle
from dataclasses import FrozenInstanceError
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fusynk import Graph, Limit, compile_plan, errors
from fusynk._core.limits import Limit as CoreLimit
from fusynk._core.permits import Lane, Permits, Ticket, end_of_window
from tests import loose
from tests.limiting import crowded_window

SCALE = 20 if os.environ.get("FUSYNK_LONG") else 1
pytestmark = pytest.mark.timeout(0 if SCALE > 1 else 120)


# Declaring one


@pytest.mark.parametrize(
    ("rate", "starts", "period"),
    [
        ("40/10s", 40, 10),
        ("5/s", 5, 1),
        ("100/min", 100, 60),
        ("1/h", 1, 3600),
        ("7/250ms", 7, 0.25),
        ("3/0.1s", 3, 0.1),
        ("3/.1 s", 3, 0.1),
        (" 2 / 1.5 minutes ", 2, 90),
        ("2/2 hours", 2, 7200),
        ("1/sec", 1, 1),
        ("1/3 secs", 1, 3),
        ("1/second", 1, 1),
        ("1/3 seconds", 1, 3),
        ("007/s", 7, 1),
    ],
)
def test_a_rate_is_starts_in_a_time(rate: str, starts: int, period: float) -> None:
    limit = Limit("api", rate=rate)

    assert (limit.starts, limit.period) == (starts, period)


WHOLE = " must be a whole number from 1 up."
RATE = ' must be starts per time, such as "40/10s", "5/s" or "100/min".'


@pytest.mark.parametrize("rate", [40, 40.0, b"5/s", ("5", "s")])
def test_a_rate_is_a_text(rate: Any) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        loose.limit("api", rate=rate)

    assert str(caught.value) == f"Limit('api', rate={rate!r}){RATE}"


@pytest.mark.parametrize(
    "rate",
    [
        *["", "5", "/s", "5/", "s/5", "5s", "5 per s", "5/s/s"],
        *["0/s", "5/0s", "5/0.0s", "5/0ms", "-5/s", "5/-1s", "+5/s", "5.5/s", "1e3/s", "5/1e3s", "5/nan s", "5/inf s"],
        *["5/d", "5/m", "5/ss", "5/mss", "5/us", "5/1_0s", "5/1,5s", "5/1.s", "5/.s", "1234567890/s", "5/1234567890s"],
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(rate: str) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        Limit("api", rate=rate)

    assert str(caught.value) == f"Limit('api', rate={rate!r}){RATE}"


@pytest.mark.parametrize("concurrency", [0, -1, 1.0, 1.5, "4", True, False, float("inf")])
def test_a_concurrency_is_a_whole_number(concurrency: Any) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        loose.limit("api", concurrency=concurrency)

    assert str(caught.value) == f"Limit('api', concurrency={concurrency!r}){WHOLE}"


@pytest.mark.parametrize("name", ["", None, 3, b"api"])
def test_a_name_is_a_text(name: Any) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        loose.limit(name, concurrency=1)

    assert str(caught.value) == f"Limit({name!r}): the name must be a text that is not empty."


def test_a_limit_limits_something() -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        Limit("api")

    assert str(caught.value) == "Limit('api') limits nothing; give concurrency=4, rate=\"40/10s\", or both."


def test_what_it_limits_is_said_by_keyword() -> None:
    with pytest.raises(TypeError):
        loose.limit("api", 4)


def test_limits_that_say_the_same_are_equal_however_they_say_it() -> None:
    assert Limit("api", rate="1/0.7s") == Limit("api", rate="1/700ms")
    assert Limit("api", rate="1/0.1min") == Limit("api", rate="1/6s")
    assert Limit("api", rate="5/s") == Limit("api", rate="5/1second")
    assert hash(Limit("api", rate="5/s")) == hash(Limit("api", rate="5/1s"))
    assert Limit("api", concurrency=1) != Limit("api", concurrency=2)
    assert Limit("api", concurrency=1) != Limit("api", concurrency=1, rate="5/s")
    assert Limit("api", rate="5/s") != Limit("api", rate="50/10s")
    assert Limit("api", rate="5/s") != Limit("other", rate="5/s")


@given(count=st.integers(1, 999), thousandths=st.integers(1, 10**6))
def test_milliseconds_and_seconds_are_the_same_times(count: int, thousandths: int) -> None:
    seconds = f"{thousandths // 1000}.{thousandths % 1000:03}"

    assert Limit("api", rate=f"{count}/{thousandths}ms") == Limit("api", rate=f"{count}/{seconds}s")


def test_a_limit_is_frozen_and_travels() -> None:
    limit = Limit("api", concurrency=4, rate="40/10s")

    assert pickle.loads(pickle.dumps(limit)) == limit  # noqa: S301 (made a line above)
    assert copy.deepcopy(limit) == copy.copy(limit) == limit
    assert repr(limit) == "Limit(name='api', concurrency=4, rate='40/10s')"
    assert Limit is CoreLimit
    with pytest.raises(FrozenInstanceError):
        limit.concurrency = 5  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


TWO = Limit("two", concurrency=2)
FOR_NOTHING = " counts for nothing; give it a limit=Limit(..., concurrency=...)."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": "tmdb"}, "@layer(limit='tmdb'): limit must be a Limit(\"name\", ...)."),
        ({"weight": 0, "limit": TWO}, "@layer(weight=0): weight must be a whole number from 1 up."),
        ({"weight": 1}, f"@layer(weight=1){FOR_NOTHING}"),
        ({"weight": 2, "limit": Limit("a", rate="5/s")}, f"@layer(weight=2){FOR_NOTHING}"),
        (
            {"weight": 3, "limit": TWO},
            f"@layer(weight=3) is more than {TWO!r} ever grants; give at most its concurrency.",
        ),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.InvalidOption) as caught:
        loose.layer(**options)

    assert str(caught.value) == message


def test_explain_tells_the_limit_and_the_weight() -> None:
    graph, limit = Graph("explained"), Limit("tmdb", concurrency=4)

    @graph.layer(limit=limit, weight=2)
    async def heavy() -> None: ...

    @graph.layer(limit=limit)
    async def light() -> None: ...

    assert "limit=tmdb" in compile_plan(light).explain()
    assert "limit=tmdb weight=2" in compile_plan(heavy).explain()


# The end of a window


@given(
    now=st.one_of(st.floats(0, 1e-3, allow_subnormal=True), st.floats(0, 1e9)),
    period=st.one_of(st.sampled_from((0.1, 0.2, 0.3, 0.7, 10.0, 0.001)), st.floats(1e-9, 1e9)),
)
@example(now=6.339897628012819e-21, period=0.669042673771457)
@example(now=0.0, period=0.1)
def test_the_end_of_a_window_is_the_first_time_that_is_a_whole_period_later(now: float, period: float) -> None:
    later = end_of_window(now, period)

    assert Fraction(later) - Fraction(now) >= Fraction(period)
    assert Fraction(before(later)) - Fraction(now) < Fraction(period)


def before(moment: float) -> float:
    """The float before this one."""
    return math.nextafter(moment, -math.inf)


# The law of the permits


def nothing() -> None: ...


class Room:
    """A run with so many free slots, as a place where steps start."""

    def __init__(self) -> None:
        self.free = 2
        self.told = list[float]()

    def holds(self, steps: int) -> bool:
        return steps <= self.free

    def come_back(self, when: float) -> None:
        self.told.append(when)


class PermitsMachine(RuleBasedStateMachine):
    """Runs ask, begin, end, leave, fill up and empty in any order, while time goes on."""

    limit = Limit("law", concurrency=3, rate="3/1s")

    def __init__(self) -> None:
        super().__init__()
        self.permits = Permits(self.limit)
        self.now = 0.0
        self.rooms = [Room() for _ in range(3)]
        self.lanes = [Lane(room, self.permits, None) for room in self.rooms]
        self.waiting = list[Ticket]()
        self.granted = list[Ticket]()
        self.begun = list[Ticket]()
        self.starts = list[float]()

    # What a run does

    @rule(lane=st.integers(0, 20), weight=st.integers(1, 3))
    def ask(self, lane: int, weight: int) -> None:
        chosen = self.lanes[lane % len(self.lanes)]
        if not chosen.place.holds(1):
            return  # who asks does so in a slot
        if chosen.lender is not None:
            weight = min(weight, chosen.lender.weight)
        ticket: list[Ticket] = []
        asked = self.permits.ask(chosen, weight, lambda: self.note_grant(ticket[0]), self.now)
        ticket.append(asked)
        if asked.is_granted:
            self.assert_next(asked)
            self.begin_now(asked)
        else:
            self.waiting.append(asked)
        self.note_revoked()

    def note_grant(self, ticket: Ticket) -> None:
        self.note_revoked()
        self.assert_next(ticket)
        if ticket not in self.granted:  # it may have been revoked and granted again at once
            self.waiting.remove(ticket)
            self.granted.append(ticket)

    def assert_next(self, ticket: Ticket) -> None:
        """Nobody who came before and could start is passed over, but by who re-enters."""
        if ticket.source is None:
            before = [other for other in self.waiting if other.sequence < ticket.sequence and not other.is_granted]
            assert not any(other.lane.has_room() for other in before), "overtaken"

    @precondition(lambda self: self.granted)
    @rule(which=st.integers(0, 20))
    def begin(self, which: int) -> None:
        ticket = self.granted[which % len(self.granted)]
        if room_of(ticket).free > 0:
            self.granted.remove(ticket)
            self.begin_now(ticket)

    def begin_now(self, ticket: Ticket) -> None:
        self.starts.append(self.now)
        self.begun.append(ticket)
        self.permits.begin(ticket, self.now)
        room_of(ticket).free -= 1
        self.reconsider(ticket.lane)

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 20))
    def end(self, which: int) -> None:
        ticket = self.begun.pop(which % len(self.begun))
        room_of(ticket).free += 1
        self.give_back(ticket)

    @precondition(lambda self: self.waiting or self.granted)
    @rule(which=st.integers(0, 20))
    def leave(self, which: int) -> None:
        leaving = [*self.waiting, *self.granted]
        ticket = leaving[which % len(leaving)]
        (self.waiting if ticket in self.waiting else self.granted).remove(ticket)
        self.give_back(ticket)

    def give_back(self, ticket: Ticket) -> None:
        self.permits.unpark(ticket.lane)
        self.permits.give_back(ticket, self.now)
        self.note_revoked()

    @rule(lane=st.integers(0, 2), free=st.integers(0, 3))
    def fill_up_or_empty(self, lane: int, free: int) -> None:
        self.rooms[lane].free = free
        self.reconsider(self.lanes[lane])

    @precondition(lambda self: self.begun)
    @rule(which=st.integers(0, 20))
    def nest(self, which: int) -> None:
        room = Room()
        self.rooms.append(room)
        self.lanes.append(Lane(room, self.permits, self.begun[which % len(self.begun)]))

    @rule(seconds=st.sampled_from((0.0, 1e-17, 0.1, 0.3, 0.4, 1.0)))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def look_at_the_clock(self) -> None:
        """What a host does when it wakes: tell of each reminder that is due."""
        for room in self.rooms:
            due = [when for when in room.told if when <= self.now]
            room.told = [when for when in room.told if when > self.now]
            for _ in due:
                self.permits.remind(self.now)
                self.note_revoked()
        self.assert_nobody_waits_in_vain()

    def reconsider(self, lane: Lane) -> None:
        """What a run does when it has more room or less."""
        self.permits.unpark(lane)
        self.permits.serve(self.now)
        self.note_revoked()
        self.assert_nobody_waits_in_vain()

    def note_revoked(self) -> None:
        for ticket in [ticket for ticket in self.granted if not ticket.is_granted]:
            self.granted.remove(ticket)
            self.waiting.append(ticket)

    # What always holds

    @invariant()
    def never_too_much_weight_is_out(self) -> None:
        out = [*self.granted, *self.begun]
        own = sum(ticket.weight for ticket in out if ticket.source is None)
        assert own <= (self.limit.concurrency or own), "too much is out"
        assert self.permits.in_use == own, "miscounted"
        lenders = [self.lender_of(ticket) for ticket in out if ticket.source is not None]
        assert None not in lenders, "lent by nobody"
        assert len(lenders) == len(set(map(id, lenders))), "lent twice"

    def lender_of(self, ticket: Ticket) -> Ticket | None:
        """The permit that a borrower uses: of the nearest body around its run that is still alive."""
        lender = ticket.lane.lender
        while lender is not None and lender not in self.begun:
            lender = lender.lane.lender
        return lender

    @invariant()
    def no_window_holds_too_many_starts(self) -> None:
        assumed = [*self.starts, *[self.now] * len(self.granted)]
        assert not self.limit.starts or crowded_window(assumed, self.limit.starts, self.limit.period) is None

    @invariant()
    def who_waits_is_counted(self) -> None:
        assert self.permits.waiting == len(self.waiting)
        assert not any(ticket.is_granted for ticket in self.waiting)
        assert all(ticket.is_granted for ticket in self.granted)

    @invariant()
    def somebody_is_told_when_the_rate_lets_the_next_one_go_on(self) -> None:
        window = sorted(self.starts)[-self.limit.starts :] if self.limit.starts else []
        recent = [start for start in window if end_of_window(start, self.limit.period) > self.now]
        if self.waiting and recent and len(recent) + len(self.granted) >= self.limit.starts:
            first = end_of_window(recent[0], self.limit.period)
            waiting = {id(ticket.lane.place) for ticket in self.waiting}
            assert any(when <= first for room in self.rooms if id(room) in waiting for when in room.told), "not told"

    def assert_nobody_waits_in_vain(self) -> None:
        """Who comes first of those that could start waits for the limit itself, not for who cannot start."""
        rate = self.limit.starts
        recent = [start for start in self.starts if end_of_window(start, self.limit.period) > self.now]
        stuck = [ticket for ticket in self.granted if not ticket.lane.place.holds(len(ticket.lane.granted))]
        if rate and len(recent) + len(self.granted) - len(stuck) >= rate:
            return
        used = self.permits.in_use - sum(ticket.weight for ticket in stuck if ticket.source is None)
        able = [ticket for ticket in self.waiting if ticket.lane.has_room()]
        assert not any(ticket.lane.can_borrow() for ticket in able), "could re-enter"
        if able and self.limit.concurrency is not None:
            first = min(able, key=lambda ticket: ticket.sequence)
            assert used + first.weight > self.limit.concurrency, "waits in vain"
        else:
            assert not able, "waits in vain"

    def teardown(self) -> None:
        """In the end everybody gets through, and all is given back."""
        for lane in self.lanes:
            room_of(lane).free = 100
            self.reconsider(lane)
        for _ in range(2 * (len(self.waiting) + len(self.granted) + len(self.begun))):
            for ticket in self.granted.copy():
                self.granted.remove(ticket)
                self.begin_now(ticket)
            for ticket in self.begun.copy():
                self.begun.remove(ticket)
                self.give_back(ticket)
            self.now = max([self.now, *[when for room in self.rooms for when in room.told]])
            self.look_at_the_clock()
        assert (self.waiting, self.granted, self.begun) == ([], [], [])
        assert (self.permits.in_use, self.permits.waiting) == (0, 0)


def test_a_chain_of_borrowers_uses_one_permit_even_when_its_middle_ends_first() -> None:
    permits, lane, tickets = Permits(Limit("chain", concurrency=1)), None, list[Ticket]()
    for _ in range(4):
        lane = Lane(Room(), permits, tickets[-1] if tickets else None)
        tickets.append(permits.ask(lane, 1, nothing, 0.0))
        permits.begin(tickets[-1], 0.0)
    outermost, second, third, innermost = tickets

    permits.give_back(third, 1.0)
    permits.give_back(second, 1.0)
    assert (permits.in_use, permits.ask(Lane(Room(), permits, outermost), 1, nothing, 1.0).is_granted) == (1, False)
    permits.give_back(outermost, 2.0)
    assert (permits.in_use, permits.waiting) == (1, 1)
    permits.give_back(innermost, 3.0)
    assert (permits.in_use, permits.waiting) == (1, 0)


def test_what_is_revoked_goes_back_to_its_place_and_takes_what_room_there_is() -> None:
    permits, first, second = Permits(Limit("revoked", concurrency=2)), Room(), Room()
    holder = permits.ask(Lane(Room(), permits, None), 2, nothing, 0.0)
    lane = Lane(first, permits, None)
    tickets = [permits.ask(lane, 1, nothing, 0.0) for _ in range(3)]
    permits.give_back(holder, 1.0)
    assert [ticket.is_granted for ticket in tickets] == [True, True, False]
    first.free = 1  # another step of that run took the other slot

    late = permits.ask(Lane(second, permits, None), 2, nothing, 1.0)

    assert (late.is_granted, sum(ticket.is_granted for ticket in tickets)) == (False, 1)
    assert tickets[0].is_granted


def room_of(where: Ticket | Lane) -> Room:
    """The place of a ticket or a lane of these tests."""
    place = where.place if isinstance(where, Lane) else where.lane.place
    assert isinstance(place, Room)
    return place


class ConcurrencyMachine(PermitsMachine):
    """The same without a rate."""

    limit = Limit("law", concurrency=3)


class RateMachine(PermitsMachine):
    """The same without a concurrency."""

    limit = Limit("law", rate="3/1s")


PermitsMachine.TestCase.settings = settings(max_examples=300 * SCALE, stateful_step_count=50, deadline=None)
ConcurrencyMachine.TestCase.settings = PermitsMachine.TestCase.settings
RateMachine.TestCase.settings = PermitsMachine.TestCase.settings
TestPermits = PermitsMachine.TestCase
TestConcurrency = ConcurrencyMachine.TestCase
TestRate = RateMachine.TestCase
