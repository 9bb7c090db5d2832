"""Resuming runs: what is complete does not run again, and everything else goes on as it was."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from msgspec.structs import replace

from fusynk import Batch, Graph, Outcome, Plan, Skipped, compile_plan, current_step, each, run_of, use, when
from fusynk._core.journalled import RunStart
from fusynk.errors import ArtifactUnavailable, InvalidOption, LoopRunning, RunLocked, StoredError, UnknownRun
from fusynk.journals import MemoryJournal
from fusynk.protocols import Journal


class Outage(Exception):
    """What keeps a step from its end."""


@dataclass(frozen=True)
class Stock:
    left: int


class Shop:
    """A plan whose steps note that they ran, and fail as long as they are told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.broken: dict[str, int] = {}
        self.graph = Graph("shop")

    def note(self, name: str) -> None:
        self.calls.append(name)
        if self.broken.get(name, 0):
            self.broken[name] -= 1
            raise Outage(name)

    def step(self, name: str, *after: Any, **options: Any) -> Any:
        async def body() -> str:
            self.note(name)
            return name

        return self.graph.layer(name=name, depends_on=after, **options)(body)

    def taken(self) -> list[str]:
        """Return what ran since the last time, and forget it."""
        calls, self.calls = self.calls, []
        return calls


async def broken_off(plan: Plan[Any, Any], **inputs: object) -> BaseException:
    """Run a plan that fails and return its error."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any kind, the test looks at it
        _ = await plan.run(**inputs)
    return caught.value


async def test_a_run_that_failed_goes_on_where_it_was_broken_off(journal: Journal) -> None:
    shop = Shop()
    first = shop.step("first")
    second = shop.step("second", first)
    plan = compile_plan(shop.step("third", second)).options(journal=journal, run_id="order")
    shop.broken["second"] = 1

    error = await broken_off(plan)
    assert (str(error), shop.taken()) == ("second", ["first", "second"])

    run = await plan.run()
    assert (run.result, shop.taken(), run.replayed) == ("third", ["second", "third"], ("first",))


async def test_a_finished_run_gives_its_outcomes_back(journal: Journal) -> None:
    shop = Shop()
    plan = compile_plan(shop.step("only")).options(journal=journal, run_id="order")

    assert (await plan.run()).result == "only"
    again = await plan.run()

    assert (again.result, again.ok, shop.taken(), again.attempts()) == ("only", True, ["only"], ())
    assert (await plan.resume("order")).result == "only"
    assert shop.taken() == []


async def test_resume_takes_the_inputs_from_the_journal(journal: Journal) -> None:
    graph = Graph("inputs")
    failures = [1]

    @graph.layer
    async def stock(product: str, quantity: int = 2) -> Stock:
        if failures:
            raise Outage(failures.pop())
        return Stock(len(product) * quantity)

    plan: Plan[Any, Stock] = compile_plan(stock)
    _ = await broken_off(plan.options(journal=journal, run_id="order-42"), product="chair")

    assert (await plan.resume("order-42", journal=journal)).result == Stock(10)


async def test_the_same_id_runs_once_for_many_orders_each(journal: Journal) -> None:
    graph = Graph("many")

    @graph.layer
    async def price(cents: int) -> int:
        return 2 * cents

    plan = compile_plan(price).options(journal=journal)
    runs = [await plan.options(run_id=f"order-{number}").run(cents=number) for number in range(3)]

    assert [run.result for run in runs] == [0, 2, 4]
    assert [found.run_id for found in journal.runs()] == ["order-0", "order-1", "order-2"]
    journal.delete("order-1")
    assert [found.run_id for found in journal.runs()] == ["order-0", "order-2"]


async def test_a_run_without_an_id_gets_one_by_which_it_can_be_resumed(journal: Journal) -> None:
    shop = Shop()
    plan = compile_plan(shop.step("only")).options(journal=journal)

    runs = [await plan.run(), await plan.run()]

    assert [found.run_id for found in journal.runs()] == [run.id for run in runs]
    assert (await plan.resume(runs[0].id)).result == "only"
    assert shop.taken() == ["only", "only"]


async def test_a_dependent_starts_only_when_its_predecessor_is_recorded(journal: Journal) -> None:
    graph = Graph("order")
    seen: list[list[str]] = []

    @graph.layer
    async def one() -> int:
        return 1

    @graph.layer
    async def two(given: int = use(one)) -> int:
        seen.append([record.step for record in await anyio.to_thread.run_sync(journal.history, "order")])
        return given + 1

    assert (await compile_plan(two).options(journal=journal, run_id="order").run()).result == 2
    assert seen == [["one"]]


async def test_an_end_is_told_only_when_it_is_recorded(journal: Journal) -> None:
    shop = Shop()
    told: list[tuple[str, int]] = []

    def hear(event: Any) -> None:
        if type(event).__name__ == "StepSucceeded":
            told.append((event.step, len(journal.history("order"))))

    plan = compile_plan(shop.step("second", shop.step("first")))
    _ = await plan.options(journal=journal, run_id="order", subscribers=[hear]).run()

    assert told == [("first", 1), ("second", 2)]


async def test_what_a_resumed_run_took_from_the_journal_is_told_as_ended_without_attempts(journal: Journal) -> None:
    shop = Shop()
    told: list[tuple[str, int]] = []

    def hear(event: Any) -> None:
        if type(event).__name__ == "StepSucceeded":
            told.append((event.step, event.attempts))

    plan = compile_plan(shop.step("second", shop.step("first"))).options(journal=journal, run_id="order")
    shop.broken["second"] = 1
    _ = await broken_off(plan)
    _ = await plan.options(subscribers=[hear]).run()

    assert told == [("first", 0), ("second", 1)]


# Attempts


async def test_retries_go_on_counting(journal: Journal) -> None:
    graph = Graph("retries")
    attempts: list[tuple[int, str]] = []

    @graph.layer(retries=3)
    async def unsteady() -> int:
        here = current_step()
        attempts.append((here.attempt, here.idempotency_key))
        if len(attempts) < 3:
            raise Outage
        if len(attempts) == 3:
            raise SystemExit(9)
        return here.attempt

    plan = compile_plan(unsteady).options(journal=journal, run_id="order")
    with pytest.raises(SystemExit):
        _ = await plan.run()
    run = await plan.run()

    assert run.result == 3
    assert attempts == [(1, "order/unsteady"), (2, "order/unsteady"), (3, "order/unsteady"), (3, "order/unsteady")]
    assert [record.number for record in run.attempts()] == [3]


async def test_no_more_attempts_are_made_than_are_left(journal: Journal) -> None:
    graph = Graph("retries")
    attempts: list[int] = []

    @graph.layer(retries=2)
    async def hopeless() -> None:
        attempts.append(current_step().attempt)
        if len(attempts) == 2:
            raise SystemExit(9)
        raise Outage

    plan = compile_plan(hopeless).options(journal=journal, run_id="order")
    with pytest.raises(SystemExit):
        _ = await plan.run()
    error = await broken_off(plan)

    assert isinstance(error, Outage)
    assert attempts == [1, 2, 2, 3]
    _ = await broken_off(plan)
    assert attempts == [1, 2, 2, 3, 1, 2, 3], "a run that was broken off is tried anew"


# What replays as it was


async def test_failures_that_the_run_went_on_after_are_not_tried_again(journal: Journal) -> None:
    shop = Shop()
    shop.broken = {"soft": 1, "end": 1}
    soft: Any = shop.step("soft", on_error="continue")
    seen: list[Any] = []

    @shop.graph.layer(name="end")
    async def end(outcome: Outcome[object] = use.outcome(soft)) -> str:
        seen.append(outcome)
        shop.note("end")
        return "done"

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    run = await plan.run()

    assert shop.taken() == ["soft", "end", "end"]
    assert (run.result, run.ok, run.status) == ("done", False, "failed")
    assert [repr(getattr(outcome, "error", None)) for outcome in seen] == ["Outage('soft')", "Outage('soft')"]
    again = await plan.run()
    assert (shop.taken(), again.ok, repr(again.failures)) == ([], False, repr(run.failures))


async def test_an_error_that_cannot_be_made_anew_is_stood_for(journal: Journal) -> None:
    graph = Graph("errors")
    crash = [SystemExit(9)]

    class Local(Exception):
        def __init__(self, code: int) -> None:
            super().__init__(f"code {code}")

    @graph.layer(on_error="continue")
    async def soft() -> None:
        raise Local(3)

    @graph.layer
    async def end(outcome: Outcome[None] = use.outcome(soft)) -> str:
        if crash:
            raise crash.pop()
        return type(getattr(outcome, "error", None)).__name__

    plan = compile_plan(end).options(journal=journal, run_id="order")
    with pytest.raises(SystemExit):
        _ = await plan.run()
    run = await plan.run()

    assert run.result == "StoredError"
    error = run.failures["soft"]
    assert isinstance(error, StoredError)
    assert "Local: code 3" in str(error)


async def test_a_recovered_artifact_is_replayed_and_known_as_such(journal: Journal) -> None:
    shop = Shop()
    shop.broken = {"unsteady": 1, "end": 1}
    recoveries: list[Exception] = []

    def recover(error: Exception) -> str:
        recoveries.append(error)
        return "instead"

    unsteady = shop.step("unsteady", on_error=recover)

    @shop.graph.layer(name="end")
    async def end(given: str = use(unsteady)) -> str:
        shop.note("end")
        return given

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    told: list[Any] = []
    run = await plan.options(subscribers=[told.append]).run()

    assert (run.result, shop.taken(), len(recoveries)) == ("instead", ["unsteady", "end", "end"], 1)
    assert [event.recovered for event in told if getattr(event, "step", "") == "unsteady"] == [True]


async def test_what_a_condition_decided_stays_decided(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1
    asked: list[str] = []
    answers = [False]
    probe = shop.step("probe")

    def is_slow(artifact: str) -> bool:
        asked.append(artifact)
        return answers[-1]

    slow = shop.step("slow", when(probe, is_slow))

    @shop.graph.layer(name="end")
    async def end(given: str | None = use(slow, default=None)) -> str:
        shop.note("end")
        return str(given)

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    answers.append(True)
    run = await plan.run()

    assert (run.result, asked, shop.taken()) == ("None", ["probe"], ["probe", "end", "end"])
    assert run.outcome(slow) == Skipped("probe", "condition")


async def test_items_of_a_fan_out_are_recorded_each(journal: Journal) -> None:
    graph = Graph("items")
    calls: list[int] = []
    failures = [3]

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3, 4]

    @graph.layer.each
    async def double(number: int = each(numbers)) -> int:
        calls.append(number)
        if number in failures:
            failures.remove(number)
            raise Outage(number)
        return 2 * number

    @graph.layer.each
    async def text(number: int = each(double)) -> str:
        calls.append(-number)
        return str(number)

    @graph.layer
    async def total(texts: Batch[str] = use(text)) -> list[str]:
        return list(texts)

    plan = compile_plan(total).options(journal=journal, run_id="order", concurrency=1)
    _ = await broken_off(plan)
    before = set(calls)
    calls.clear()
    run = await plan.run()

    assert run.result == ["2", "4", "6", "8"]
    assert 3 in calls
    assert not (before - {3}) & set(calls), "no item that was complete ran again"
    assert len(calls) == len(set(calls))
    steps = [record.step for record in journal.history("order") if record.kind == "succeeded"]
    assert sorted(steps) == sorted(
        ["numbers", "total", *(f"{name}[{number}]" for name in ("double", "text") for number in range(4))]
    )


async def test_items_that_failed_are_replayed_in_their_batch(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1

    @shop.graph.layer(name="numbers")
    async def numbers() -> tuple[int, ...]:
        return (1, 2, 3)

    @shop.graph.layer.each(name="odd", on_error="continue")
    async def odd(number: int = each(numbers)) -> int:
        shop.calls.append(f"odd {number}")
        if number == 2:
            raise Outage(number)
        return number

    @shop.graph.layer(name="end")
    async def end(batch: Batch[int] = use(odd)) -> list[str]:
        shop.note("end")
        return [repr(error) for error in batch.failed.values()]

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    _ = shop.taken()
    run = await plan.run()

    assert (run.result, shop.taken(), run.ok) == (["Outage(2)"], ["end"], False)


async def test_a_set_is_gone_over_in_an_order_that_every_process_knows(journal: Journal) -> None:
    graph = Graph("sets")

    @graph.layer
    async def words() -> set[str]:
        return {"pear", "apple", "fig"}

    @graph.layer.each
    async def word(given: str = each(words)) -> str:
        return given

    run = await compile_plan(word).options(journal=journal, run_id="order").run()

    assert list(run.result) == ["apple", "fig", "pear"]


async def test_fewer_items_than_are_recorded_are_refused(journal: Journal) -> None:
    graph = Graph("items")
    crash = [SystemExit(9)]

    @graph.layer(run_in="inline")
    def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each
    async def same(number: int = each(numbers)) -> int:
        return number

    @graph.layer
    async def end(batch: Batch[int] = use(same)) -> int:
        if crash:
            raise crash.pop()
        return len(batch)

    plan = compile_plan(end).options(journal=journal, run_id="order")
    with pytest.raises(SystemExit):
        _ = await plan.run()
    shorter = _with_artifact(journal, "numbers", b"[1]")
    error = await broken_off(plan.options(journal=shorter))

    assert type(error).__name__ == "ItemsChanged"
    assert "same[2] is recorded already" in str(error)


def _with_artifact(journal: Journal, step: str, payload: bytes) -> Journal:
    """A journal that remembers another artifact of one step."""
    start = _start_of(journal)
    other = MemoryJournal()
    run = other.open_run("order", RunStart(fingerprint=start.fingerprint, inputs=start.inputs), on_commit=print)
    for record in journal.history("order"):
        _ = run.append(replace(record, payload=payload) if record.step == step else record)
    run.release()
    return other


def _start_of(journal: Journal) -> Any:
    run = journal.open_run("order", on_commit=print)
    run.release()
    return run.start


# What is done again in each process


async def test_a_resource_is_set_up_again_while_the_run_is_not_over(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1

    @shop.graph.layer(name="connection")
    async def connection() -> AsyncIterator[list[str]]:
        shop.calls.append("open")
        yield ["live", "object"]
        shop.calls.append("close")

    @shop.graph.layer(name="query")
    async def query(given: list[str] = use(connection)) -> int:
        shop.calls.append("query")
        return len(given)

    @shop.graph.layer(name="end")
    async def end(count: int = use(query), given: list[str] = use(connection)) -> int:
        shop.note("end")
        return count + len(given)

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    assert shop.taken() == ["open", "query", "end", "close"]
    run = await plan.run()
    assert (run.result, shop.taken()) == (4, ["open", "end", "close"])

    over = await plan.run()
    assert (over.result, shop.taken()) == (4, [])
    with pytest.raises(ArtifactUnavailable, match="connection"):
        _ = over[connection]


async def test_a_process_without_a_function_gathers_its_members_again(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1
    pair = shop.graph.process("pair", shop.step("left"), shop.step("right"), mode="sequential")
    end = shop.step("end", pair)
    plan = compile_plan(end, pair).options(journal=journal, run_id="order")

    _ = await broken_off(plan)
    run = await plan.run()

    assert run.result == ("end", {"left": "left", "right": "right"})
    assert shop.taken() == ["left", "right", "end", "end"]


async def test_delays_between_complete_members_are_not_held_again(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1
    members = [shop.step(name) for name in "abc"]
    plan = compile_plan(shop.step("end", process_of(shop, members))).options(journal=journal, run_id="order")
    _ = await broken_off(plan)

    with anyio.fail_after(20):
        begun = anyio.current_time()
        run = await plan.options(deadline=15).run()
        assert anyio.current_time() - begun < 10
    assert run.result == "end"


def process_of(shop: Shop, members: list[Any]) -> Any:
    return shop.graph.process("group", *members, mode="isolated", delay=0.2)


async def test_a_nested_plan_is_one_step(journal: Journal) -> None:
    shop = Shop()
    shop.broken["end"] = 1
    inner = compile_plan(shop.step("within"))
    outer = Graph("outer")
    nested = outer.layer(inner, name="nested")

    @outer.layer
    async def end(given: str = use(nested)) -> str:
        shop.note("end")
        return given

    plan = compile_plan(end).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    assert (await plan.run()).result == "within"
    assert shop.taken() == ["within", "end", "end"]


async def test_a_nested_plan_with_a_journal_goes_on_where_it_was(journal: Journal) -> None:
    shop = Shop()
    shop.broken["inner end"] = 1
    inner = compile_plan(shop.step("inner end", shop.step("within"))).options(journal=journal)
    outer = Graph("outer")
    nested = outer.layer(inner, name="nested")
    plan = compile_plan(nested).options(journal=journal, run_id="order")

    _ = await broken_off(plan)
    run = await plan.run()

    assert (run.result, shop.taken()) == ("inner end", ["within", "inner end", "inner end"])
    assert [found.run_id for found in journal.runs()] == ["order", "order/nested"]


async def test_a_teardown_that_fails_belongs_to_its_process(journal: Journal) -> None:
    graph = Graph("teardown")

    @graph.layer
    async def connection() -> AsyncIterator[int]:
        yield 3
        raise Outage

    @graph.layer
    async def end(given: int = use(connection)) -> int:
        return given

    plan = compile_plan(end).options(journal=journal, run_id="order")
    assert isinstance(await broken_off(plan), Outage)

    assert [found.status for found in journal.runs()] == ["succeeded"]
    assert (await plan.run()).result == 3


# How runs end, and who may go on with them


async def test_a_run_that_was_cancelled_goes_on(journal: Journal) -> None:
    shop = Shop()
    first = shop.step("first")
    reached = anyio.Event()

    @shop.graph.layer(name="second", depends_on=first)
    async def second() -> str:
        shop.calls.append("second")
        reached.set()
        if len(shop.calls) < 3:
            await anyio.sleep_forever()
        return "second"

    plan = compile_plan(second).options(journal=journal, run_id="order")
    async with anyio.create_task_group() as group:
        group.start_soon(plan.run)
        await reached.wait()
        group.cancel_scope.cancel()

    assert [found.status for found in journal.runs()] == ["cancelled"]
    assert ((await plan.run()).result, shop.taken()) == ("second", ["first", "second", "second"])
    assert [found.status for found in journal.runs()] == ["succeeded"]


async def test_a_run_past_its_deadline_goes_on_with_a_new_one(journal: Journal) -> None:
    shop = Shop()
    first = shop.step("first")
    slow = [True]

    @shop.graph.layer(name="second", depends_on=first)
    async def second() -> str:
        if slow:
            await anyio.sleep_forever()
        return "second"

    plan = compile_plan(second).options(journal=journal, run_id="order", deadline=0.3)
    error = await broken_off(plan)
    assert isinstance(error, TimeoutError)
    slow.clear()

    assert ((await plan.run()).result, shop.taken()) == ("second", ["first"])


async def test_one_run_has_one_owner(journal: Journal) -> None:
    shop = Shop()
    refused: list[RunLocked] = []
    plan = compile_plan(shop.step("done", _second_owner(shop, journal, refused)))
    plan = plan.options(journal=journal, run_id="order")

    assert (await plan.run()).result == "done"
    assert [type(error) for error in refused] == [RunLocked]
    assert refused[0].owner
    assert "'order'" in str(refused[0])


def _second_owner(shop: Shop, journal: Journal, refused: list[RunLocked]) -> Any:
    @shop.graph.layer(name="rival")
    async def rival() -> None:
        other = compile_plan(Shop().step("done")).options(journal=journal, run_id="order")
        try:
            _ = await other.run()
        except RunLocked as error:
            refused.append(error)

    return rival


async def test_a_handle_runs_and_resumes_too(journal: Journal) -> None:
    shop = Shop()
    shop.broken["only"] = 1
    plan = compile_plan(shop.step("only")).options(journal=journal, run_id="order")

    async with plan.start() as handle:
        with pytest.raises(Outage):
            _ = await handle.wait()
    async with plan.start() as handle:
        run = await handle.wait()

    assert (run.result, shop.taken(), handle.id) == ("only", ["only", "only"], "order")


async def test_a_handle_that_cannot_have_its_run_says_so_at_once(journal: Journal) -> None:
    shop = Shop()
    plan = compile_plan(shop.step("only")).options(journal=journal, run_id="order")
    held = journal.open_run("order", None if journal.runs() else _begun(plan), on_commit=print)
    with pytest.raises(RunLocked):
        async with plan.start():
            pytest.fail("the block was entered")
    held.release()


def _begun(plan: Plan[Any, Any]) -> Any:
    recording: Any = plan._program.recording
    return RunStart(fingerprint=recording.fingerprint, inputs=b"{}", plan=recording.description)


async def test_an_unknown_run_is_not_begun(journal: Journal) -> None:
    plan = compile_plan(Shop().step("only"))

    with pytest.raises(UnknownRun, match=r"no run 'order'; journal.runs\(\) tells"):
        _ = await plan.resume("order", journal=journal)
    assert list(journal.runs()) == []


async def test_resume_needs_a_journal_and_an_id() -> None:
    plan = compile_plan(Shop().step("only"))
    no_journal: dict[str, Any] = {"journal": "runs.db"}

    with pytest.raises(InvalidOption, match=r"plan.resume\('order'\) needs an id and a journal; write plan.resume"):
        _ = await plan.resume("order")
    with pytest.raises(InvalidOption, match=r"run_id must be a text"):
        _ = await plan.resume("")
    with pytest.raises(InvalidOption, match=r'journal must be a journal, as SqliteJournal\("runs.db"\)'):
        _ = plan.options(**no_journal)


def test_resume_sync_is_for_scripts(journal: Journal) -> None:
    shop = Shop()
    shop.broken["only"] = 1
    plan = compile_plan(shop.step("only"))
    with pytest.raises(Outage) as caught:
        _ = plan.options(journal=journal, run_id="order").run_sync()
    found = run_of(caught.value)
    assert found is not None
    assert found.id == "order"

    assert plan.resume_sync("order", journal=journal).result == "only"


async def test_resume_sync_inside_a_loop_names_what_to_write(journal: Journal) -> None:
    plan = compile_plan(Shop().step("only"))

    with pytest.raises(LoopRunning, match=r"await plan\.resume"):
        _ = plan.resume_sync("order", journal=journal)


async def test_what_ran_in_threads_is_recorded_too(journal: Journal) -> None:
    graph = Graph("threads")
    calls: list[str] = []
    failures = [1]

    @graph.layer
    def first() -> int:
        calls.append("first")
        return 1

    @graph.layer
    def second(given: int = use(first)) -> int:
        calls.append("second")
        if failures:
            raise Outage(failures.pop())
        return given + 1

    plan = compile_plan(second).options(journal=journal, run_id="order")
    _ = await broken_off(plan)
    assert ((await plan.run()).result, calls) == (2, ["first", "second", "second"])


async def test_many_runs_at_once_share_a_journal(journal: Journal) -> None:
    graph = Graph("many")

    @graph.layer
    async def one(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    @graph.layer
    async def two(given: int = use(one)) -> int:
        return given + 1

    plan = compile_plan(two).options(journal=journal)
    results: dict[int, int] = {}

    async def ordered(number: int) -> None:
        results[number] = (await plan.options(run_id=f"order-{number}").run(number=number)).result

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ordered, number)

    assert results == {number: number + 1 for number in range(20)}
    assert {found.status for found in journal.runs()} == {"succeeded"}
