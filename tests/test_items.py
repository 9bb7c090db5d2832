"""`run_items`: one function over many items; each item ends exactly once, whatever happens around it."""

import asyncio
import gc
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any, NoReturn, assert_type

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusynk import (
    Batch,
    Graph,
    Limit,
    Progress,
    Run,
    backoff,
    batch_of,
    compile_plan,
    current_step,
    errors,
    layer,
    milestone,
    run_items,
    run_of,
)
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks
from tests.test_t04_cancel_everywhere import WAYS, Way

DRAWN = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


async def doubled(number: int) -> int:
    await anyio.sleep(number)
    return 2 * number


async def picky(number: int) -> int:
    if number % 3 == 0:
        raise ValueError(number)
    return await doubled(number)


def batch_from(items: Any, function: Any = doubled, *, backend: Backend = "asyncio", **options: Any) -> Batch[Any]:
    """The batch of some items in virtual time."""

    async def main() -> Batch[Any]:
        return await run_items(items, function, **options)

    return run_virtual(main, backend=backend)


# What comes back


def test_artifacts_come_back_in_the_order_of_the_items(backend: Backend) -> None:
    batch = batch_from([3, 1, 2], backend=backend)

    assert list(batch) == [6, 2, 4]
    assert batch.item_keys == (0, 1, 2)
    assert dict(batch.successes) == dict(batch.succeeded) == {0: 6, 1: 2, 2: 4}
    assert (batch.success_percentage, batch.failures, batch.cancelled) == (100.0, {}, ())


def test_a_failing_item_stops_no_other_and_its_error_is_kept_as_it_is(backend: Backend) -> None:
    """Synchronik ended the whole batch with the first error, and kept errors as texts."""
    error = ConnectionError("reset")

    async def fetch(name: str) -> str:
        await anyio.sleep(1)
        if name == "b":
            raise error
        await anyio.sleep(1)
        return name.upper()

    batch = batch_from(["a", "b", "c"], fetch, key=str, backend=backend)

    assert dict(batch.successes) == {"a": "A", "c": "C"}
    assert batch.failures["b"] is error
    assert batch.failed[1] is error
    assert (batch.total, len(batch), batch.cancelled) == (3, 2, ())
    assert batch.success_percentage == pytest.approx(200 / 3)


def test_plain_functions_run_in_threads_and_async_ones_on_the_loop(backend: Backend) -> None:
    here = threading.get_ident()
    meeting = threading.Barrier(10)

    def meet(_: int) -> int:
        meeting.wait(10)  # ten at once, or it breaks
        return threading.get_ident()

    async def where(_: int) -> int:
        return threading.get_ident()

    async def main() -> tuple[Batch[int], Batch[int]]:
        return await run_items(range(10), meet, concurrency=10), await run_items(range(3), where)

    threaded, on_loop = anyio.run(main, backend=backend)
    assert here not in set(threaded)
    assert len(set(threaded)) == len(threaded) == 10
    assert list(on_loop) == [here] * 3


def test_what_can_be_called_with_an_item_will_do() -> None:
    class Adder:
        def __init__(self, more: int) -> None:
            self.more = more

        async def __call__(self, number: int) -> int:
            return number + self.more

        async def method(self, number: int, /, *, scale: int = 1) -> int:
            return (number + self.more) * scale

    @layer
    async def tripled(number: int) -> int:
        return 3 * number

    assert list(batch_from([1, 2], Adder(1))) == [2, 3]
    assert list(batch_from([1, 2], Adder(1).method)) == [2, 3]
    assert list(batch_from([1, 2], tripled)) == [3, 6]
    assert list(batch_from(["1", "2"], int)) == [1, 2]
    assert list(batch_from([1, 2], returns_awaitable)) == [2, 4]


def returns_awaitable(number: int) -> Any:
    return doubled(number)


def test_any_iterable_will_do_and_is_gone_through_once() -> None:
    drawn: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(3):
            drawn.append(number)
            yield number

    assert list(batch_from(numbers())) == [0, 2, 4]
    assert drawn == [0, 1, 2]
    assert list(batch_from({2})) == [4]
    assert list(batch_from(Batch({0: 1, 2: 2}, {1: ValueError()}))) == [2, 4]


@pytest.mark.parametrize("key", [None, str])
def test_no_items_make_an_empty_batch(key: Any, backend: Backend) -> None:
    told: list[Progress] = []

    batch = batch_from([], key=key, on_progress=told.append, backend=backend)

    assert (list(batch), batch.item_keys, batch.success_percentage, told) == ([], (), 100.0, [])


def test_items_have_names_of_the_function_and_a_run_of_their_own() -> None:
    async def fetch(_: int) -> tuple[str, int]:
        step = current_step()
        return step.name, step.attempt

    assert list(batch_from(["ab"] * 2, fetch)) == [("fetch[0]", 1), ("fetch[1]", 1)]


async def test_a_batch_is_typed_by_what_the_function_returns() -> None:
    def shout(text: str) -> str:
        return text.upper()

    async def noted(number: int) -> str:
        return str(number)

    batch = await run_items([1, 2], noted, timeout=1, key=lambda number: -number)
    assert_type(batch, Batch[str])
    assert_type(batch.successes[-1], str)
    assert_type(await run_items({"a", "b"}, shout), Batch[str])
    assert_type(await run_items(["1"], int), Batch[int])


# What is refused, before anything runs


async def never(_: object) -> NoReturn:
    raise AssertionError


async def numbered() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("abc", r"got a str.*single characters.*list"),
        (b"abc", r"got a bytes"),
        ({"a": 1}, r"got a dict.*mapping\.values\(\)"),
        (numbered(), r"asynchronous.*async for"),
        (7, r"got a int, which has no items"),
        (None, r"got a NoneType"),
    ],
)
def test_what_has_no_items_is_refused(items: Any, said: str) -> None:
    with pytest.raises(errors.InvalidItems, match=said):
        batch_from(items, never)


def test_two_items_of_one_key_are_refused_before_anything_runs() -> None:
    with pytest.raises(errors.DuplicateKey, match=r"items 1 and 3 have the same key 'b'") as caught:
        batch_from(["a", "b", "c", "b"], never, key=str)
    assert caught.value.key == "b"


def test_what_cannot_be_a_key_is_refused_before_anything_runs() -> None:
    with pytest.raises(errors.InvalidItems, match=r"the key of item 1 is a list"):
        batch_from([0, 1], never, key=[7, [], 8].__getitem__)


def test_what_finding_items_and_keys_raises_goes_through() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError

    with pytest.raises(LookupError):
        batch_from(broken(), never)
    with pytest.raises(ZeroDivisionError):
        batch_from([1, 0], never, key=(1).__floordiv__)


def generates(_: int) -> Iterator[int]:
    yield 1


async def takes_nothing() -> None: ...


@pytest.mark.parametrize("function", [generates, numbered, takes_nothing, 7, None])
def test_what_cannot_be_called_with_an_item_is_refused(function: Any) -> None:
    with pytest.raises(errors.InvalidDeclaration, match=r"run_items\(\)"):
        batch_from([1], function)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"retries": -1}, r"^run_items\(retries=-1\): retries must be a whole number"),
        ({"retry_delay": "1"}, r"^run_items\(retry_delay='1'\)"),
        ({"retry_on": 3}, r"^run_items\(retry_on=3\)"),
        ({"timeout": 0}, r"^run_items\(timeout=0\)"),
        ({"concurrency": 0}, r"^run_items\(concurrency=0\)"),
        ({"limit": "tmdb"}, r"^run_items\(limit='tmdb'\)"),
        ({"weight": 2}, r"^run_items\(weight=2\) counts for nothing"),
        ({"key": never}, r"^run_items\(key='never'\): key must be a plain function of an item"),
        ({"key": "id"}, r"^run_items\(key='id'\)"),
        ({"on_progress": never}, r"^run_items\(on_progress='never'\): on_progress must be a plain function"),
        ({"on_progress": lambda: None}, r"on_progress must be a plain function of a Progress"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: Any, said: str) -> None:
    with pytest.raises(errors.InvalidOption, match=said):
        batch_from([1], never, **options)


def test_a_timeout_of_what_nothing_can_stop_is_refused() -> None:
    with pytest.raises(errors.InvalidOption, match=r"'sleep' is a plain function .* Make it async"):
        batch_from([1], time.sleep, timeout=1)


# Attempts


def test_retries_wait_and_timeouts_hold_for_each_attempt(backend: Backend) -> None:
    begun: list[tuple[int, float]] = []

    async def slow(number: int) -> int:
        begun.append((number, anyio.current_time()))
        await anyio.sleep(number)
        return number

    async def main() -> tuple[float, Batch[int], float]:
        start = anyio.current_time()
        batch = await run_items([1, 5], slow, retries=2, retry_delay=10, timeout=3)
        return start, batch, anyio.current_time() - start

    start, batch, seconds = run_virtual(main, backend=backend)
    assert dict(batch.succeeded) == {0: 1}
    assert isinstance(batch.failed[1], errors.LayerTimeout)
    assert [(number, when - start) for number, when in begun] == [(1, 0), (5, 0), (5, 13), (5, 26)]
    assert seconds == 29


def test_only_what_is_worth_it_is_tried_again() -> None:
    attempts: Counter[int] = Counter()

    async def fails(number: int) -> None:
        attempts[number] += 1
        raise ConnectionError if number else PermissionError

    batch = batch_from([0, 1], fails, retries=3, retry_on=ConnectionError, retry_delay=backoff(0.1))

    assert attempts == {0: 1, 1: 4}
    assert [type(error) for error in batch.failures.values()] == [PermissionError, ConnectionError]


@DRAWN
@given(
    items=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=8),
    retries=st.integers(0, 3),
    delay=st.integers(0, 2),
    concurrency=st.integers(1, 4),
    backend=st.sampled_from(["asyncio", "trio"]),
    tape=st.lists(st.integers(0, 3), max_size=12),
)
def test_each_item_ends_once_in_its_place_and_never_are_more_alive_than_allowed(
    items: list[tuple[int, int]], retries: int, delay: int, concurrency: int, backend: Backend, tape: list[int]
) -> None:
    attempts: Counter[int] = Counter()
    told: list[Progress] = []
    alive, most = 0, 0

    async def work(number: int) -> int:
        nonlocal alive, most
        attempts[number] += 1
        alive += 1
        most = max(most, alive)
        try:
            await anyio.sleep(items[number][0])
            if attempts[number] <= items[number][1]:
                raise ConnectionError(number)
            return -number
        finally:
            alive -= 1

    async def main() -> Batch[int]:
        return await run_items(
            range(len(items)),
            work,
            retries=retries,
            retry_delay=delay,
            concurrency=concurrency,
            on_progress=told.append,
            key="n{}".format,
        )

    batch = run_virtual(main, backend=backend, tape=tape)

    lasting = {number for number, (_, faults) in enumerate(items) if faults > retries}
    assert batch.item_keys == tuple(f"n{number}" for number in range(len(items)))
    assert list(batch.succeeded.items()) == [(n, -n) for n in range(len(items)) if n not in lasting]
    assert {n: error.args for n, error in batch.failed.items()} == {n: (n,) for n in lasting}
    assert attempts == {number: min(faults, retries) + 1 for number, (_, faults) in enumerate(items)}
    assert most <= concurrency
    assert_told_once(batch, told)


def assert_told_once(batch: Batch[Any], told: list[Progress]) -> None:
    """Progress was told once for each item that ended, counted up, with its key and error."""
    assert [progress.done for progress in told] == list(range(1, len(told) + 1))
    assert Counter(progress.key for progress in told) == Counter([*batch.successes, *batch.failures])
    for progress in told:
        assert progress.succeeded + progress.failed == progress.done
        assert progress.total == batch.total
        assert progress.percentage == 100 * progress.done / batch.total
        assert progress.error is batch.failures.get(progress.key)
    if told:
        assert (told[-1].succeeded, told[-1].failed) == (len(batch.succeeded), len(batch.failed))


# Being told


def test_what_a_listener_raises_is_counted_and_logged_and_costs_no_item(backend: Backend) -> None:
    def complain(_: Progress) -> NoReturn:
        raise LookupError

    with heard() as records:
        batch = batch_from(range(1, 12), on_progress=complain, backend=backend)

    assert (len(batch), batch.failed) == (11, {})
    warned = [record for record in records if record["extra"].get("subscriber", "").endswith("complain")]
    assert [record["message"].partition(" (")[2] for record in warned] == [
        "1 so far); the run goes on",
        "10 so far); the run goes on",
    ]


def test_a_listener_that_would_end_the_program_is_asked_no_more() -> None:
    told: list[Progress] = []

    def leave(progress: Progress) -> NoReturn:
        told.append(progress)
        raise SystemExit

    with heard() as records:
        assert len(batch_from(range(1, 5), on_progress=leave)) == 4

    assert len(told) == 1
    warned = [record for record in records if "subscriber" in record["extra"]]
    assert [record["message"] for record in warned] == [
        "A subscriber raised SystemExit (1 so far); the run goes on",
        "A subscriber raised SystemExit and is told no more",
    ]
    assert {record["extra"]["subscriber"] for record in warned} == {leave.__qualname__}


def test_a_keyboard_interrupt_in_a_listener_goes_through_and_the_batch_with_it(backend: Backend) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        batch_from([1, 2, 30], on_progress=interrupt, backend=backend)

    batch = batch_of(caught.value)
    assert batch is not None
    assert (dict(batch.succeeded), batch.failed, batch.cancelled) == ({0: 2, 1: 4}, {}, (2,))


def progress_of(run: Any) -> list[dict[str, object]]:
    return [dict(point.values) for point in run.milestones if point.name == "progress"]


def test_inside_a_step_progress_is_a_milestone_of_that_step(backend: Backend) -> None:
    graph, told = Graph("scraper"), list[Any]()

    @graph.worker
    async def scrape() -> int:
        batch = await run_items([1, 2, 3], picky, on_progress=lambda progress: milestone("heard", key=progress.key))
        return len(batch)

    trace = simulate(compile_plan(scrape, subscribers=[told.append]), backend=backend)

    assert trace.result == 2
    assert {(point.step, point.name) for point in trace.run.milestones} == {("scrape", "progress"), ("scrape", "heard")}
    assert progress_of(trace.run) == [
        {"done": 1, "total": 3, "failed": 1},
        {"done": 2, "total": 3, "failed": 1},
        {"done": 3, "total": 3, "failed": 1},
    ]
    names = [event.name for event in told if type(event).__name__ == "MilestoneReached"]
    assert names == ["progress", "heard"] * 3


@pytest.mark.parametrize(("total", "reports"), [(100, 100), (101, 100), (250, 100), (1000, 100)])
def test_of_many_items_each_percent_is_a_milestone(total: int, reports: int) -> None:
    graph = Graph("scraper")

    @graph.worker
    async def scrape() -> None:
        await run_items([0] * total, doubled)

    points = progress_of(simulate(compile_plan(scrape)).run)

    assert len(points) == reports
    assert points[-1] == {"done": total, "total": total, "failed": 0}
    shares = [100 * int(str(point["done"])) // total for point in points]
    assert sorted(set(shares)) == shares or total <= 100


def test_milestones_of_items_are_those_of_their_own_run() -> None:
    graph = Graph("scraper")

    async def chatty(number: int) -> None:
        milestone("seen", number=number)

    @graph.worker
    async def scrape() -> None:
        await run_items([1], chatty)

    assert [point.name for point in simulate(compile_plan(scrape)).run.milestones] == ["progress"]


# Limits


def test_items_borrow_the_permit_of_the_step_around_them_one_at_a_time(backend: Backend) -> None:
    api, graph = Limit("api", concurrency=1), Graph("scraper")

    @graph.worker(limit=api)
    async def scrape() -> list[int]:
        return list(await run_items([1, 1, 1], doubled, limit=api))

    trace = simulate(compile_plan(scrape), backend=backend)

    assert trace.result == [2, 2, 2]
    assert trace.seconds == 3


def test_items_share_a_limit_with_others_by_their_weight(backend: Backend) -> None:
    async def main() -> float:
        heavy, start = Limit("disk", concurrency=4), anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(lambda: run_items([1, 1], doubled, limit=heavy, weight=2))
        return anyio.current_time() - start

    assert run_virtual(main, backend=backend) == 2


# Being cut off


async def cut_off_run(way: Way, at: int) -> int:
    """Items of every kind, cut off after so many steps of their tasks; checks that none is lost."""
    begun, ended, returned = Counter[int](), Counter[int](), set[int]()
    told: list[Progress] = []
    batches: list[Batch[Any] | None] = []
    runs: list[Any] = []
    before = running_tasks()

    async def work(number: int) -> int:
        begun[number] += 1
        try:
            if number % 3 == 1:
                await anyio.sleep(1)
            if number % 4 == 0:
                raise ConnectionError(number)
            if number == 5:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(2)
        finally:
            ended[number] += 1
        returned.add(number)
        return number

    async def scrape() -> None:
        try:
            batch = await run_items(
                range(7), work, retries=1, retry_delay=3, concurrency=3, key=str, on_progress=told.append
            )
        except BaseException as error:
            batches.append(batch_of(error))
            runs.append(run_of(error))
            raise
        batches.append(batch)

    steps, felt = await way(scrape, at)

    (batch,) = batches
    assert batch is not None
    assert all(isinstance(run, Run) for run in runs)
    assert begun == ended
    assert batch.item_keys == tuple(map(str, range(7)))
    assert Counter([*batch.successes, *batch.failures, *batch.cancelled]) == Counter(batch.item_keys)
    assert set(batch.succeeded) == returned
    assert set(batch.failed) <= {0, 4}
    assert felt or not batch.cancelled
    assert_told_once(batch, told)
    await assert_settled(before)
    return steps


@pytest.mark.parametrize(("way", "backend"), WAYS)
def test_no_item_is_lost_wherever_the_call_is_cancelled(way: Way, backend: Backend) -> None:
    total = run_virtual(cut_off_run, way, 0, backend=backend)

    assert total > 5
    for at in range(1, total + 1):
        try:
            run_virtual(cut_off_run, way, at, backend=backend)
        except BaseException as error:
            error.add_note(f"cancelled after step {at} of {total}")
            raise


@DRAWN
@given(
    lengths=st.lists(st.integers(0, 4), max_size=7),
    at=st.integers(0, 6),
    concurrency=st.integers(1, 3),
    backend=st.sampled_from(["asyncio", "trio"]),
    tape=st.lists(st.integers(0, 3), max_size=12),
)
def test_what_has_ended_when_a_worker_is_cancelled_is_kept(
    lengths: list[int], at: int, concurrency: int, backend: Backend, tape: list[int]
) -> None:
    graph, begun, found = Graph("scraper"), dict[int, float](), list[Batch[Any]]()

    async def work(number: int) -> int:
        begun[number] = anyio.current_time()
        await anyio.sleep(lengths[number] + 0.5)
        return number

    @graph.worker
    async def scrape() -> None:
        try:
            found.append(await run_items(range(len(lengths)), work, concurrency=concurrency))
        except anyio.get_cancelled_exc_class() as error:
            cut = batch_of(error)
            assert cut is not None
            found.append(cut)
            raise

    async def main() -> float:
        start = anyio.current_time()
        async with compile_plan(scrape).start() as handle:
            await anyio.sleep(at + 0.25)
            handle.cancel()
            try:
                await handle.wait()
            except errors.RunCancelled:
                assert found[0].cancelled
            else:
                assert not found[0].cancelled
        return start

    start = run_virtual(main, backend=backend, tape=tape)

    done = {number for number, when in begun.items() if when + lengths[number] + 0.5 <= start + at + 0.25}
    assert set(found[0].succeeded) == done
    assert found[0].cancelled == tuple(sorted(set(range(len(lengths))) - done))


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_leaves_bare_with_the_batch(fatal: type[BaseException], backend: Backend) -> None:
    async def work(number: int) -> int:
        await anyio.sleep(number)
        if number == 2:
            raise fatal
        return number

    with pytest.raises(fatal) as caught:
        batch_from([1, 2, 3], work, backend=backend)

    batch = batch_of(caught.value)
    assert batch is not None
    assert (dict(batch.succeeded), batch.cancelled) == ({0: 1}, (2,))
    assert batch.failed[1] is caught.value


def test_an_item_that_raises_a_cancellation_of_its_own_has_failed() -> None:
    async def stray(_: int) -> NoReturn:
        raise asyncio.CancelledError

    batch = batch_from([1, 2], stray)

    assert [type(error) for error in batch.failed.values()] == [errors.StrayCancellation] * 2


def test_an_error_that_came_out_of_no_batch_tells_of_none() -> None:
    class Hidden(Exception):
        __slots__ = ()

    assert batch_of(ValueError()) is None
    assert batch_of(Hidden()) is None


def test_nothing_of_a_call_is_kept() -> None:
    class Thing:
        """What can be referred to weakly."""

    kept: list[weakref.ref[Any]] = []

    def once() -> None:
        thing, graph = Thing(), Graph("scraper")

        async def work(number: int) -> Thing:
            return thing

        @graph.worker
        async def scrape() -> None:
            await run_items([1, 2], work, on_progress=lambda progress: None, key=lambda number: (number, thing))

        kept.extend([weakref.ref(thing), weakref.ref(work)])
        simulate(compile_plan(scrape))

    once()
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


# A batch by itself


def test_a_batch_knows_the_keys_of_what_did_not_run() -> None:
    batch = Batch({1: "b"}, {0: ValueError()}, keys=["a", "b", "c"])

    assert (dict(batch.successes), list(batch.failures), batch.cancelled) == ({"b": "b"}, ["a"], ("c",))
    assert (batch.total, batch.success_rate) == (3, 1 / 3)
    assert batch == Batch({1: "b"}, dict(batch.failed), keys="abc")
    assert batch != Batch({1: "b"}, dict(batch.failed), keys="abd")
    assert Batch({0: 1, 1: 2}) == Batch({0: 1, 1: 2}, keys=range(2))


@pytest.mark.parametrize(("succeeded", "failed"), [({3: 1}, {}), ({}, {5: ValueError()}), ({-1: 1}, {})])
def test_a_batch_needs_a_key_for_each_index(succeeded: Any, failed: Any) -> None:
    with pytest.raises(ValueError, match="3 keys"):
        Batch(succeeded, failed, keys="abc")


# All of it together


class Site:
    """A film site that answers slowly, fails now and then, and bans whoever asks too much."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.open = self.most_open = 0

    async def get(self, path: str) -> str:
        self.asked[path] += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await anyio.sleep(0.2)
            if path.endswith("7") and self.asked[path] < 3:
                raise ConnectionResetError(path)
            if path.endswith("13"):
                raise FileNotFoundError(path)
            if path.endswith("17"):
                await anyio.sleep(1000)
            return f"<h1>Film {path.rpartition('/')[2]}</h1>"
        finally:
            self.open -= 1


def scraper(site: Site, notes: list[str]) -> Graph:
    graph, polite = Graph("films"), Limit("films.example", concurrency=3, rate="20/s")

    async def fetch(path: str) -> str:
        page = await site.get(path)
        return page.removeprefix("<h1>").removesuffix("</h1>")

    def transient(error: Exception) -> bool:
        return not isinstance(error, FileNotFoundError)

    def note(progress: Progress) -> None:
        if progress.error is not None:
            notes.append(f"{progress.percentage:.0f} %: {progress.key} {type(progress.error).__name__}")

    @graph.worker
    async def scrape() -> dict[str, Any]:
        batch = await run_items(
            [f"/films/{number}" for number in range(20)],
            fetch,
            key=lambda path: path.removeprefix("/films/"),
            retries=3,
            retry_delay=0.5,
            retry_on=transient,
            timeout=2,
            limit=polite,
            on_progress=note,
        )
        return {"titles": dict(batch.successes), "missing": sorted(map(str, batch.failures)), "batch": batch}

    return graph


def test_a_scraper_keeps_what_it_got_and_knows_what_it_did_not(backend: Backend) -> None:
    site, notes = Site(), list[str]()

    trace = simulate(compile_plan(scraper(site, notes)), backend=backend)

    found: Any = trace.run["scrape"]
    assert found["missing"] == ["13", "17"]
    assert found["titles"]["7"] == "Film 7"
    assert (found["batch"].success_percentage, trace.run.ok) == (90.0, True)
    assert (site.asked["/films/7"], site.asked["/films/13"], site.asked["/films/17"]) == (3, 1, 4)
    assert site.most_open == 3
    assert [note.partition(": ")[2] for note in notes] == ["13 FileNotFoundError", "17 LayerTimeout"]
    assert progress_of(trace.run)[-1] == {"done": 20, "total": 20, "failed": 2}
