"""The worker pool: its order against a small model, and what becomes of its pieces whatever happens to them."""

import gc
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn, assert_type

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fusynk import errors, milestone, run_items, run_of
from fusynk.manager import events, pool_events
from fusynk.manager.events import ManagerEvent
from fusynk.manager.piece import Piece
from fusynk.manager.pool import Pool
from fusynk.manager.pool_order import PoolOrder
from fusynk.manager.pool_status import EndedPiece
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks

NAMES = st.sampled_from("abcdefg")
REMEMBERED = 3


class OrderMachine(RuleBasedStateMachine):
    """Every call of the order logic, right or wrong, beside lists that say what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.order = PoolOrder("pool", 2, remember=REMEMBERED)
        self.size = 2
        self.waiting: list[str] = []
        self.paused: set[str] = set()
        self.running: dict[int, str] = {}
        self.ended: list[str] = []

    def refused(self, name: str, call: Callable[[str], object]) -> bool:
        """Whether a call for waiting pieces is refused, and in the right way."""
        if name in self.waiting:
            return False
        known = name in self.running.values() or name in self.ended
        with pytest.raises(errors.PieceNotWaiting if known else errors.UnknownPiece) as caught:
            call(name)
        assert caught.value.piece == name
        return True

    @rule(name=NAMES)
    def add(self, name: str) -> None:
        if name in self.waiting or name in self.running.values():
            with pytest.raises(errors.DuplicatePiece, match=f"'{name}'"):
                self.order.add(name)
            return
        self.order.add(name)
        self.waiting.append(name)
        if name in self.ended:
            self.ended.remove(name)

    @rule(name=NAMES)
    def pause(self, name: str) -> None:
        if not self.refused(name, self.order.pause):
            assert self.order.pause(name) == (name not in self.paused)
            self.paused.add(name)

    @rule(name=NAMES)
    def resume(self, name: str) -> None:
        if not self.refused(name, self.order.resume):
            assert self.order.resume(name) == (name in self.paused)
            self.paused.discard(name)

    @rule(size=st.integers(0, 4))
    def resize(self, size: int) -> None:
        self.order.size = self.size = size

    @rule()
    def start_next(self) -> None:
        expected: tuple[int, str] | None = None
        if self.waiting and self.waiting[0] not in self.paused and len(self.running) < self.size:
            slot = min(set(range(1, 9)) - set(self.running))
            assert slot <= self.size
            expected = slot, self.waiting.pop(0)
            self.running[slot] = expected[1]
        assert self.order.start_next() == expected

    @precondition(lambda self: self.running or self.waiting)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*self.running.values(), *self.waiting]))
        self.order.end(EndedPiece(name=name, status="cancelled", duration=0))
        self.running = {slot: other for slot, other in self.running.items() if other != name}
        self.waiting = [other for other in self.waiting if other != name]
        self.paused.discard(name)
        self.ended = [*self.ended, name][-REMEMBERED:]

    @invariant()
    def order_is_the_model_s(self) -> None:
        assert list(self.order.waiting.items()) == [(name, name in self.paused) for name in self.waiting]
        assert self.order.running == self.running
        assert list(self.order.ended) == self.ended
        assert all(self.order.is_running(name) == (name in self.running.values()) for name in "abcdefg")

    @invariant()
    def every_slot_is_shown(self) -> None:
        numbers = list(self.order.slots)
        assert numbers == sorted(numbers)
        assert set(numbers) == {*range(1, self.size + 1), *self.running}
        assert {number: name for number, name in self.order.slots.items() if name is not None} == self.running

    @invariant()
    def simulating_tells_what_would_start(self) -> None:
        """It is what starts when each piece ends as soon as it has begun."""
        told = self.order.simulate()
        twin, started = PoolOrder("twin", self.size), list[str]()
        for name in self.waiting:
            twin.add(name)
            if name in self.paused:
                twin.pause(name)
        while (step := twin.start_next()) is not None:
            started.append(step[1])
            twin.end(EndedPiece(name=step[1], status="succeeded", duration=0))
        assert list(told.names) == started
        assert [*told.names, *told.held] == self.waiting
        assert told.held_by == (next(iter(told.held), None) if self.size else None)
        assert told.held_by is None or told.held_by in self.paused


OrderMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_the_order_of_a_pool_is_that_of_the_model = OrderMachine.TestCase


# A pool in a task group


class Scene:
    """A pool, and what it tells."""

    def __init__(self, group: anyio.abc.TaskGroup, size: int) -> None:
        self.told: list[ManagerEvent] = []
        self.group = group
        self.pool = Pool("crawl", size, group.start_soon, self.tell)
        self.log: list[str] = []

    def tell(self, kind: type[ManagerEvent], /, *facts: object) -> None:
        self.told.append(kind(len(self.told) + 1, 0.0, *facts))

    async def work(self, name: str, seconds: float = 1) -> str:
        """Note that it begins and ends, and how."""
        self.log.append(f"{name} begins")
        try:
            await anyio.sleep(seconds)
        except BaseException:
            self.log.append(f"{name} is cancelled")
            raise
        self.log.append(f"{name} ends")
        return name.upper()

    def add(self, *names: str, seconds: float = 1) -> list[Piece[str]]:
        return [self.pool.add(name, self.work, name, seconds) for name in names]

    def add_at(self, **seconds: float) -> list[Piece[str]]:
        return [self.pool.add(name, self.work, name, length) for name, length in seconds.items()]

    def happened(self) -> list[str]:
        """What was told, as "Started a"."""
        return [
            f"{type(event).__name__.removeprefix('Piece')} {event.piece}"
            for event in self.told
            if isinstance(event, pool_events.PieceEvent)
        ]

    @property
    def waiting(self) -> list[str]:
        return [piece.name for piece in self.pool.status().waiting]

    @property
    def slots(self) -> dict[int, str | None]:
        return {slot.number: slot.piece for slot in self.pool.status().slots}


@asynccontextmanager
async def scene(size: int = 2) -> AsyncGenerator[Scene]:
    before = running_tasks()
    async with anyio.create_task_group() as group:
        yield Scene(group, size)
    await assert_settled(before)


def played(play: Callable[[Scene], Awaitable[None]], *, size: int = 2, backend: Backend = "asyncio") -> Scene:
    """Play something with a pool in virtual time; at its end everything has ended."""

    async def main() -> Scene:
        async with scene(size) as stage:
            await play(stage)
        return stage

    return run_virtual(main, backend=backend)


async def failing(error: BaseException, seconds: float = 1) -> NoReturn:
    await anyio.sleep(seconds)
    raise error


def nothing(*_: object) -> None: ...


async def cancelled(piece: Piece[Any]) -> None:
    """A piece was cancelled, and its waiters learn it."""
    with pytest.raises(errors.PieceCancelled, match=f"'{piece.name}'"):
        await piece.wait()
    assert piece.status == "cancelled"


# Running


def test_pieces_run_in_their_order_in_as_many_slots_as_there_are(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        pieces = stage.add_at(a=4, b=1, c=1, d=1)
        assert stage.slots == {1: "a", 2: "b"}
        assert stage.pool.simulate().names == ("c", "d")
        assert [await piece.wait() for piece in pieces] == ["A", "B", "C", "D"]
        assert await stage.pool.join() == ()
        assert {piece.status for piece in pieces} == {"succeeded"}
        assert stage.slots == {1: None, 2: None}

    stage = played(play, backend=backend)

    assert stage.happened() == [
        *["Added a", "Started a", "Added b", "Started b", "Added c", "Added d"],
        *["Succeeded b", "Started c", "Succeeded c", "Started d"],
        "Succeeded d",
        "Succeeded a",
    ]
    started = [event for event in stage.told if isinstance(event, pool_events.PieceStarted)]
    assert [(event.piece, event.slot) for event in started] == [("a", 1), ("b", 2), ("c", 2), ("d", 2)]
    assert len({event.run_id for event in started}) == 4
    assert {event.pool for event in started} == {"crawl"}


def test_retries_timeouts_and_arguments_are_those_of_any_worker(backend: Backend) -> None:
    attempts: list[tuple[int, str]] = []

    async def flaky(number: int, *, mark: str) -> str:
        attempts.append((number, mark))
        if len(attempts) < 3:
            raise ConnectionError
        return mark * number

    async def play(stage: Scene) -> None:
        piece = stage.pool.add("flaky", flaky, 2, mark="x", retries=2, retry_delay=5, retry_on=ConnectionError)
        slow = stage.pool.add("slow", stage.work, "slow", 10, timeout=3)
        assert await piece.wait() == "xx"
        with pytest.raises(errors.LayerTimeout) as caught:
            await slow.wait()
        run = run_of(caught.value)
        assert run is not None
        assert run.id == slow.run_id
        plain = assert_type(stage.pool.add("plain", threading.get_ident), Piece[int])
        assert_type(stage.pool.add("work", stage.work, "a", seconds=0), Piece[str])
        assert await plain.wait() != threading.get_ident()

    stage = played(play, backend=backend)

    assert attempts == [(2, "x")] * 3
    (failed,) = [event for event in stage.told if isinstance(event, pool_events.PieceFailed)]
    assert (failed.piece, failed.error, failed.duration) == ("slow", "LayerTimeout", 3)


def test_a_raising_piece_hurts_no_other_and_whoever_waits_gets_its_own_error(backend: Backend) -> None:
    error = LookupError("gone")

    async def play(stage: Scene) -> None:
        bad = stage.pool.add("bad", failing, error)
        good, next_one = stage.add("good", "next", seconds=2)
        for _ in range(2):
            with pytest.raises(LookupError) as caught:
                await bad.wait()
            assert caught.value is error
        assert (bad.status, next_one.status) == ("failed", "running")
        assert [await good.wait(), await next_one.wait()] == ["GOOD", "NEXT"]
        assert stage.pool.status().ended[0] == EndedPiece(name="bad", status="failed", duration=1, error="LookupError")

    with heard() as records:
        played(play, backend=backend)

    (record,) = [record for record in records if record["extra"].get("piece")]
    assert (record["extra"]["pool"], record["extra"]["piece"]) == ("crawl", "bad")
    assert record["message"] == "A piece of work raised LookupError"


def test_the_error_of_a_piece_says_where_its_function_is() -> None:
    async def play(stage: Scene) -> None:
        piece = stage.pool.add("bad", partial(failing, LookupError()))
        with pytest.raises(LookupError) as caught:
            await piece.wait()
        assert "in layer 'bad' (test_pool.py:" in caught.value.__notes__[0]

    played(play)


def test_status_shows_what_each_slot_does(backend: Backend) -> None:
    async def crawl() -> None:
        milestone("login", user="ann")
        await anyio.sleep(2)
        await run_items([1, 1], anyio.sleep, concurrency=1)
        await anyio.sleep(5)

    async def play(stage: Scene) -> None:
        piece = stage.pool.add("crawl", crawl)
        await anyio.sleep(1)
        (slot, _) = stage.pool.status().slots
        assert slot.milestone is not None
        assert (slot.number, slot.piece, slot.seconds, slot.run_id) == (1, "crawl", 1, piece.run_id)
        assert (slot.milestone.name, slot.milestone.values) == ("login", {"user": "ann"})
        await anyio.sleep(2.5)
        point = stage.pool.status().slots[0].milestone
        assert point is not None
        assert (point.name, point.values) == ("progress", {"done": 1, "total": 2, "failed": 0})

    stage = played(play, backend=backend)

    reached = [event for event in stage.told if isinstance(event, events.MilestoneReached)]
    assert [(event.name, event.step) for event in reached] == [("login", "crawl")] + [("progress", "crawl")] * 2


def test_what_has_ended_is_remembered_up_to_a_bound() -> None:
    async def play(stage: Scene) -> None:
        for number in range(120):
            stage.pool.add(f"n{number}", stage.work, "x", 0)
        await stage.pool.join()
        assert [piece.name for piece in stage.pool.status().ended] == [f"n{number}" for number in range(20, 120)]

    played(play)


# Names, and what is refused


def test_a_name_that_waits_or_runs_is_refused_and_nothing_is_changed() -> None:
    async def play(stage: Scene) -> None:
        (first, _) = stage.add("a", "b", seconds=5)
        for name, where in (("a", "runs"), ("b", "waits")):
            with pytest.raises(errors.DuplicatePiece, match=f"'{name}' that {where} still"):
                stage.pool.add(name, failing, LookupError())
        assert (stage.waiting, stage.slots) == (["b"], {1: "a"})
        assert len(stage.told) == 3
        await first.wait()
        assert await stage.pool.add("a", stage.work, "again").wait() == "AGAIN"

    played(play, size=1)


@pytest.mark.parametrize("verb", ["pause", "resume", "update"])
def test_what_waits_no_more_cannot_be_changed(verb: str) -> None:
    async def play(stage: Scene) -> None:
        (piece,) = stage.add("crawler")
        with pytest.raises(errors.PieceNotWaiting, match="'crawler' of pool 'crawl' runs and cannot be"):
            getattr(stage.pool, verb)("crawler")
        await piece.wait()
        with pytest.raises(errors.PieceNotWaiting, match=r"has ended \(succeeded\).*add it again"):
            getattr(stage.pool, verb)("crawler")
        stage.add("crawler")
        with pytest.raises(errors.UnknownPiece, match=r"no piece 'crawlr'.*Did you mean 'crawler'\?"):
            getattr(stage.pool, verb)("crawlr")

    played(play)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        (("", failing), {}, errors.InvalidOption, r"pool\.add\(''\)"),
        ((7, failing), {}, errors.InvalidOption, r"pool\.add\(7\)"),
        (("x", 7), {}, errors.InvalidDeclaration, r"pool\.add\('x'\) takes a function, not 7"),
        (("x", failing), {}, errors.InvalidDeclaration, r"'failing' cannot be called .*missing .*'error'"),
        (("x", failing, 1, 2, 3), {}, errors.InvalidDeclaration, r"too many positional"),
        (("x", failing, 1), {"retrys": 3}, errors.InvalidDeclaration, r"unexpected keyword argument 'retrys'"),
        (("x", failing, 1), {"retries": -1}, errors.InvalidOption, r"^pool\.add\(retries=-1\)"),
        (("x", failing, 1), {"timeout": 0}, errors.InvalidOption, r"^pool\.add\(timeout=0\)"),
        (("x", failing, 1), {"limit": "api"}, errors.InvalidOption, r"^pool\.add\(limit='api'\)"),
        (("x", gc.collect), {"timeout": 1}, errors.InvalidOption, r"timeout=1\): 'collect' is a plain function"),
    ],
)
def test_what_could_never_run_is_refused_and_nothing_is_changed(
    arguments: tuple[Any, ...], options: Any, error: type[Exception], said: str
) -> None:
    async def play(stage: Scene) -> None:
        with pytest.raises(error, match=said):
            stage.pool.add(*arguments, **options)
        assert (stage.told, stage.waiting, stage.slots) == ([], [], {1: None, 2: None})

    played(play)


@pytest.mark.parametrize("size", [-1, 1.5, True, "2", None])
def test_a_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(errors.InvalidOption, match=r"size must be a whole number from 0 up"):
        Pool("crawl", size, nothing, nothing)

    async def play(stage: Scene) -> None:
        with pytest.raises(errors.InvalidOption, match=r"pool\.resize\(size="):
            stage.pool.resize(size)
        assert (stage.pool.size, stage.told) == (2, [])

    played(play)


@pytest.mark.parametrize("name", ["", 3])
def test_a_pool_needs_a_name(name: Any) -> None:
    with pytest.raises(errors.InvalidOption, match=r"^pool\(name="):
        Pool(name, 1, nothing, nothing)


# Updating


def test_a_waiting_piece_can_be_given_other_work(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        _, second, third, fourth = stage.add("a", "b", "c", "d")
        stage.pool.update("b", arguments=("other", 2))
        stage.pool.update("c", function=failing, arguments=(LookupError(),), retries=1, retry_delay=10)
        stage.pool.update("d", arguments=(), keywords={"name": "kept", "seconds": 9}, timeout=4)
        assert await second.wait() == "OTHER"
        begun = anyio.current_time()
        with pytest.raises(LookupError):
            await third.wait()
        assert anyio.current_time() - begun == 12
        with pytest.raises(errors.LayerTimeout):
            await fourth.wait()

    stage = played(play, size=1, backend=backend)

    updated = [event for event in stage.told if isinstance(event, pool_events.PieceUpdated)]
    assert [(event.piece, event.options) for event in updated] == [
        ("b", ("arguments",)),
        ("c", ("function", "arguments", "retries", "retry_delay")),
        ("d", ("arguments", "keywords", "timeout")),
    ]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"retrys": 1}, errors.UnknownOption, r"pool\.update cannot change 'retrys'.*Did you mean 'retries'"),
        ({"arguments": ["b"]}, errors.InvalidOption, r"arguments must be a tuple"),
        ({"keywords": 1}, errors.InvalidOption, r"keywords must be a mapping"),
        ({"retries": -1}, errors.InvalidOption, r"^pool\.update\(retries=-1\)"),
        ({"arguments": ()}, errors.InvalidDeclaration, r"pool\.update\('b'\).*missing"),
        ({"function": 3}, errors.InvalidDeclaration, r"takes a function"),
    ],
)
def test_an_update_that_makes_no_sense_changes_nothing(changes: Any, error: type[Exception], said: str) -> None:
    async def play(stage: Scene) -> None:
        _, second = stage.add("a", "b")
        with pytest.raises(error, match=said):
            stage.pool.update("b", **changes)
        assert await second.wait() == "B"

    stage = played(play, size=1)
    assert not [event for event in stage.told if isinstance(event, pool_events.PieceUpdated)]


# Pausing


def test_a_paused_head_holds_everything_behind_it_until_it_is_resumed(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        *_, paused, last = stage.add("a", "b", "c", "d")
        stage.pool.pause("c")
        stage.pool.pause("c")
        told = stage.pool.simulate()
        assert (told.names, told.held, told.held_by) == (("b",), ("c", "d"), "c")
        assert (paused.status, last.status) == ("paused", "waiting")
        assert await stage.pool.join() == ("c", "d")
        await anyio.sleep(100)
        assert (stage.waiting, stage.slots) == (["c", "d"], {1: None})
        assert [piece.is_paused for piece in stage.pool.status().waiting] == [True, False]
        stage.pool.resume("d")
        assert stage.slots == {1: None}
        stage.pool.resume("c")
        stage.pool.resume("d")
        assert stage.slots == {1: "c"}
        assert [await paused.wait(), await last.wait()] == ["C", "D"]

    stage = played(play, size=1, backend=backend)
    assert [entry for entry in stage.happened() if entry.split()[0] in {"Paused", "Resumed"}] == [
        "Paused c",
        "Resumed c",
    ]


def test_cancelling_a_paused_head_frees_what_it_held(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        _, paused, last = stage.add("a", "b", "c")
        stage.pool.pause("b")
        await stage.pool.join()
        await stage.pool.cancel("b")
        await cancelled(paused)
        assert await last.wait() == "C"

    played(play, size=1, backend=backend)


# Resizing


def test_a_pool_that_shrinks_lets_run_what_runs(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        pieces = stage.add_at(a=1, b=2, c=3, d=1, e=1)
        stage.pool.resize(1)
        assert stage.slots == {1: "a", 2: "b", 3: "c"}
        assert [slot.is_closing for slot in stage.pool.status().slots] == [False, True, True]
        await anyio.sleep(1.5)
        assert (stage.slots, stage.waiting) == ({1: None, 2: "b", 3: "c"}, ["d", "e"])
        await anyio.sleep(1)
        assert (stage.slots, stage.waiting) == ({1: None, 3: "c"}, ["d", "e"])
        await anyio.sleep(1)
        assert (stage.slots, stage.waiting) == ({1: "d"}, ["e"])
        assert [await piece.wait() for piece in pieces] == list("ABCDE")
        assert not [entry for entry in stage.log if "cancelled" in entry]

    stage = played(play, size=3, backend=backend)
    resized = [event for event in stage.told if isinstance(event, pool_events.PoolResized)]
    assert [(event.former, event.size) for event in resized] == [(3, 1)]


def test_a_pool_that_grows_starts_more_at_once_and_size_0_starts_nothing(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        stage.add("a", "b", "c", seconds=5)
        assert (stage.slots, stage.pool.simulate().held) == ({}, ("a", "b", "c"))
        assert await stage.pool.join() == ("a", "b", "c")
        stage.pool.resize(2)
        assert stage.slots == {1: "a", 2: "b"}
        stage.pool.resize(0)
        assert await stage.pool.join() == ("c",)
        stage.pool.resize(1)
        stage.pool.resize(1)
        assert stage.slots == {1: "c"}

    stage = played(play, size=0, backend=backend)
    assert len([event for event in stage.told if isinstance(event, pool_events.PoolResized)]) == 3


# Cancelling


def test_a_waiting_piece_is_removed_and_a_running_one_is_cancelled_and_awaited(backend: Backend) -> None:
    async def tidy(stage: Scene) -> None:
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(3)
            stage.log.append("tidied")

    async def play(stage: Scene) -> None:
        running = stage.pool.add("running", tidy, stage)
        waiting, last = stage.add("waiting", "last")
        await anyio.sleep(1)
        await stage.pool.cancel("waiting")
        await cancelled(waiting)
        assert stage.log == []
        await stage.pool.cancel("running")
        assert stage.log == ["tidied"]
        await cancelled(running)
        assert await last.wait() == "LAST"
        for piece in (waiting, running, last):
            with pytest.raises(errors.PieceNotWaiting, match="has ended"):
                await stage.pool.cancel(piece.name)
        with pytest.raises(errors.UnknownPiece):
            await stage.pool.cancel("unknown")

    stage = played(play, size=1, backend=backend)

    ends = [event for event in stage.told if isinstance(event, pool_events.PieceCancelled)]
    assert [(event.piece, event.run_id is None, event.duration) for event in ends] == [
        ("waiting", True, 0),
        ("running", False, 4),
    ]


def test_a_piece_that_has_not_quite_begun_can_be_cancelled(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        (piece, last) = stage.add("a", "b")
        assert piece.status == "running"
        await stage.pool.cancel("a")
        await cancelled(piece)
        assert stage.log == []
        assert await last.wait() == "B"

    played(play, size=1, backend=backend)


def test_a_piece_that_waits_for_its_next_attempt_can_be_cancelled(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        piece = stage.pool.add("a", failing, LookupError(), retries=9, retry_delay=100)
        await anyio.sleep(50)
        await stage.pool.cancel("a")
        await cancelled(piece)

    played(play, backend=backend)


def test_a_piece_can_cancel_itself_and_two_may_cancel_one(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        async def end_it_all() -> None:
            await stage.pool.cancel("self")

        piece = stage.pool.add("self", end_it_all)
        (other,) = stage.add("other", seconds=10)
        await cancelled(piece)
        async with anyio.create_task_group() as group:
            group.start_soon(stage.pool.cancel, "other")
            group.start_soon(stage.pool.cancel, "other")
        await cancelled(other)

    played(play, backend=backend)


def test_a_piece_that_ends_well_though_cancelled_has_succeeded(backend: Backend) -> None:
    async def stubborn() -> str:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2)
        return "done"

    async def play(stage: Scene) -> None:
        piece = stage.pool.add("stubborn", stubborn)
        await anyio.sleep(1)
        await stage.pool.cancel("stubborn")
        await cancelled(piece)

    played(play, backend=backend)


def test_a_piece_whose_own_run_was_cancelled_has_failed() -> None:
    error = errors.RunCancelled("of another run")

    async def play(stage: Scene) -> None:
        piece = stage.pool.add("a", failing, error)
        with pytest.raises(errors.RunCancelled) as caught:
            await piece.wait()
        assert (caught.value, piece.status) == (error, "failed")

    played(play)


# The end of a pool


def test_stopping_cancels_what_waits_at_once_and_what_runs_after_the_grace(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        quick, slow, waiting, paused = stage.add_at(quick=3, slow=30, waiting=1, paused=1)
        stage.pool.pause("paused")
        await anyio.sleep(1)
        begun = anyio.current_time()
        await stage.pool.stop(grace=5)
        assert anyio.current_time() - begun == 5
        assert await quick.wait() == "QUICK"
        for piece in (slow, waiting, paused):
            await cancelled(piece)
        assert sorted(stage.log[:2]) == ["quick begins", "slow begins"]
        assert stage.log[2:] == ["quick ends", "slow is cancelled"]
        with pytest.raises(errors.ManagerStopped, match=r"pool\.add\('late'\): pool 'crawl' was stopped"):
            stage.add("late")
        await stage.pool.stop()
        assert await stage.pool.join() == ()

    stage = played(play, backend=backend)
    assert stage.happened()[-4:] == ["Cancelled waiting", "Cancelled paused", "Succeeded quick", "Cancelled slow"]


def test_a_listener_cannot_have_a_pool_start_something_while_it_stops(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        def tell(kind: type[ManagerEvent], /, *facts: object) -> None:
            stage.tell(kind, *facts)
            if kind is pool_events.PieceCancelled:
                pool.resize(5)

        pool = Pool("crawl", 1, stage.group.start_soon, tell)
        pieces = [pool.add(name, stage.work, name) for name in "abc"]
        await pool.stop()
        for piece in pieces:
            await cancelled(piece)

    assert "Started c" not in played(play, backend=backend).happened()


def test_stopping_without_grace_cancels_what_runs_and_what_has_not_quite_begun(backend: Backend) -> None:
    async def play(stage: Scene) -> None:
        first, second = stage.add("a", "b")
        await stage.pool.stop()
        await cancelled(first)
        await cancelled(second)
        assert stage.log == []

    played(play, backend=backend)


def test_stopping_leaves_a_thread_behind_that_does_not_end(backend: Backend) -> None:
    release = threading.Event()

    async def main() -> Piece[bool]:
        begun = anyio.Event()

        def wait_for_ever() -> bool:
            anyio.from_thread.run_sync(begun.set)
            return release.wait(60)

        async with scene() as stage:
            piece = stage.pool.add("stuck", wait_for_ever)
            await begun.wait()
            await stage.pool.stop(grace=0.1)
            await cancelled(piece)
        return piece

    try:
        assert anyio.run(main, backend=backend).status == "cancelled"
        assert not release.is_set()
    finally:
        release.set()


def test_a_pool_whose_manager_has_ended_before_it_starts_nothing_more(backend: Backend) -> None:
    """A piece that ends then must not take the manager's other work with it."""

    async def play(stage: Scene) -> None:
        def spawn(function: Any, /, *arguments: object) -> None:
            if begun:
                raise errors.ManagerStopped
            begun.append(1)
            stage.group.start_soon(function, *arguments)

        begun: list[int] = []
        pool = Pool("other", 1, spawn, stage.tell)
        first, *others = [pool.add(name, stage.work, name) for name in "abc"]
        assert await first.wait() == "A"
        for piece in others:
            await cancelled(piece)

    played(play, backend=backend)


@pytest.mark.parametrize("grace", [-1, "5", None, float("nan")])
def test_a_grace_that_is_none_is_refused_and_stops_nothing(grace: Any) -> None:
    async def play(stage: Scene) -> None:
        with pytest.raises(errors.InvalidOption, match=r"^pool\.stop\(grace="):
            await stage.pool.stop(grace)
        assert await stage.add("a")[0].wait() == "A"

    played(play)


def test_when_the_manager_is_cancelled_every_piece_is_told_as_cancelled_and_none_starts(backend: Backend) -> None:
    stages: list[Scene] = []
    pieces: list[Piece[str]] = []

    async def main() -> None:
        with anyio.move_on_after(1):
            async with scene(2) as stage:
                stages.append(stage)
                pieces.extend(stage.add("a", "b", "c", "d", seconds=10))
        for piece in pieces:
            await cancelled(piece)

    run_virtual(main, backend=backend)

    (stage,) = stages
    assert sorted(stage.happened()[-4:]) == ["Cancelled a", "Cancelled b", "Cancelled c", "Cancelled d"]
    assert sorted(stage.log) == ["a begins", "a is cancelled", "b begins", "b is cancelled"]


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_through_the_manager_and_no_piece_is_lost(
    fatal: type[BaseException], backend: Backend
) -> None:
    stages: list[Scene] = []
    pieces: list[Piece[Any]] = []

    async def main() -> None:
        async with scene(2) as stage:
            stages.append(stage)
            pieces.append(stage.pool.add("bad", failing, fatal()))
            pieces.extend(stage.add("beside", "waiting", seconds=10))

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - bare, or in a group: that is the task group's way
        run_virtual(main, backend=backend)

    assert isinstance(caught.value, fatal) or caught.group_contains(fatal)
    (stage,) = stages
    assert [piece.status for piece in pieces] == ["failed", "cancelled", "cancelled"]
    assert sorted(stage.happened()[-3:]) == ["Cancelled beside", "Cancelled waiting", "Failed bad"]
    assert stage.log == ["beside begins", "beside is cancelled"]


def test_join_ends_also_when_a_piece_ends_the_program(backend: Backend) -> None:
    joined: list[tuple[str, ...]] = []

    class Fatal(BaseException):
        """What is no ordinary exception; asyncio would let a `SystemExit` tear the loop apart."""

    async def main() -> None:
        async with anyio.create_task_group() as outer:
            with pytest.raises(BaseExceptionGroup) as caught:
                async with scene(1) as stage:

                    async def join() -> None:
                        joined.append(await stage.pool.join())

                    stage.pool.add("bad", failing, Fatal())
                    outer.start_soon(join)
            assert caught.group_contains(Fatal)

    run_virtual(main, backend=backend)
    assert joined == [()]


def test_where_nothing_can_be_started_nothing_is_added() -> None:
    told: list[type[ManagerEvent]] = []

    def refuse(*_: object) -> NoReturn:
        message = "the task group has ended"
        raise RuntimeError(message)

    async def main() -> None:
        pool = Pool("crawl", 1, refuse, lambda kind, *_: told.append(kind))
        with pytest.raises(RuntimeError, match="the task group has ended"):
            pool.add("a", failing, LookupError())
        assert (pool.status().waiting, pool.status().slots[0].piece) == ((), None)
        assert await pool.join() == ()

    run_virtual(main)
    assert told[-1] is pool_events.PieceCancelled


def test_nothing_of_a_piece_is_kept_but_its_name() -> None:
    class Thing:
        """What can be referred to weakly."""

    async def play(stage: Scene) -> None:
        thing = Thing()
        kept = weakref.ref(thing)

        async def work(given: Thing) -> Thing:
            return given

        await stage.pool.add("a", work, thing).wait()
        await stage.pool.join()
        del thing
        await anyio.sleep(1)
        gc.collect()
        assert kept() is None

    played(play)


# Laws


@settings(max_examples=120, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=7),
    size=st.integers(1, 3),
    acts=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["pause", "resume", "cancel", "resize"]), st.integers(0, 6)),
        max_size=8,
    ),
    grace=st.integers(0, 3),
    backend=st.sampled_from(["asyncio", "trio"]),
    tape=st.lists(st.integers(0, 3), max_size=8),
)
def test_each_piece_ends_exactly_once_in_order_of_start_whatever_is_asked_for(
    lengths: list[int], size: int, acts: list[tuple[int, str, int]], grace: int, backend: Backend, tape: list[int]
) -> None:
    most = size

    async def act(stage: Scene, verb: str, number: int) -> None:
        nonlocal most
        if verb == "resize":
            most = max(most, number % 4)
            stage.pool.resize(number % 4)
            return
        try:
            result = getattr(stage.pool, verb)(f"n{number}")
            if result is not None:
                await result
        except errors.PieceError:
            pass

    async def main() -> tuple[Scene, list[Piece[str]]]:
        async with scene(size) as stage:
            pieces = [
                stage.pool.add(f"n{number}", stage.work, f"n{number}", length + 0.5)
                for number, length in enumerate(lengths)
            ]
            for pause, verb, number in acts:
                await anyio.sleep(pause)
                await act(stage, verb, number)
            await stage.pool.stop(grace)
        return stage, pieces

    stage, pieces = run_virtual(main, backend=backend, tape=tape)

    happened = stage.happened()
    ends = [entry for entry in happened if entry.split()[0] in {"Succeeded", "Failed", "Cancelled"}]
    assert sorted(entry.split()[1] for entry in ends) == sorted(piece.name for piece in pieces)
    assert sorted(ends) == sorted(f"{piece.status.capitalize()} {piece.name}" for piece in pieces)
    started = [entry.split()[1] for entry in happened if entry.startswith("Started")]
    assert started == sorted(started)
    running: set[str] = set()
    for entry in happened:
        what, name = entry.split()
        if what == "Started":
            running.add(name)
        elif what in {"Succeeded", "Cancelled"}:
            running.discard(name)
        assert len(running) <= most
    assert [event.sequence for event in stage.told] == list(range(1, len(stage.told) + 1))
