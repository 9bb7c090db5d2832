"""Faults that were observed in this library's two ancestors and must not come back; one test for each."""

import sys
from typing import Any

import anyio
import pytest

from fusynk import Cancelled, Failed, Graph, Skipped, Succeeded, compile_plan, each, errors, run_of, use, when
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend

SECRET = "hunter2"  # noqa: S105 (it is no secret)


class Declined(Exception):
    """What a step of these plans raises."""


def test_a_dependent_does_not_wait_for_the_slowest_step_of_its_level(backend: Backend) -> None:
    graph = Graph("level barrier")

    async def sleep_long() -> None:
        await anyio.sleep(0.6)

    async def sleep_short() -> None:
        await anyio.sleep(0.002)

    graph.add_layer(sleep_long, name="slow")
    graph.add_layer(sleep_short, name="fast")
    graph.add_layer(sleep_short, name="dependent", depends_on="fast")

    run = simulate(compile_plan(graph), backend=backend).run

    (dependent,), (slow,) = run.attempts("dependent"), run.attempts("slow")
    assert dependent.started - slow.started == pytest.approx(0.002)
    assert dependent.ended < slow.ended


def test_nothing_is_fed_to_the_dependents_of_a_failed_layer(backend: Backend) -> None:
    graph, received = Graph("null"), list[object]()

    @graph.layer(on_error="continue")
    async def source() -> int:
        raise Declined

    @graph.layer
    async def dependent(value: int = use(source)) -> None:
        received.append(value)

    run = simulate(compile_plan(dependent), backend=backend).run

    assert received == []
    assert run.outcome(dependent) == Skipped(because="source", cause="failure")


def test_an_abort_is_raised_and_no_side_effect_of_a_sibling_lands_later(backend: Backend) -> None:
    graph, effects = Graph("abort"), list[str]()

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(1)
        raise Declined

    @graph.layer
    async def sibling() -> None:
        await anyio.sleep(2)
        effects.append("landed")

    @graph.layer(depends_on=sibling)
    async def after() -> None:
        effects.append("landed too")

    async def main() -> None:
        with pytest.raises(Declined):
            await compile_plan(graph).run()
        await anyio.sleep(1000)

    run_virtual(main, backend=backend)

    assert effects == []


class Hostile:
    """A value that can neither be printed, compared, hashed, measured nor asked for its truth."""

    def _refuse(self, *_arguments: object) -> Any:
        raise RuntimeError("do not touch")

    __repr__ = __str__ = __eq__ = __bool__ = __len__ = __format__ = __iter__ = _refuse
    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]


@pytest.mark.parametrize("form", ["async", "sync", "inline", "item"])
async def test_a_result_that_cannot_be_printed_is_a_result(form: str) -> None:
    graph, calls, value = Graph("unprintable"), list[int](), Hostile()

    def charge() -> Hostile:
        calls.append(1)
        return value

    async def charge_async() -> Hostile:
        return charge()

    async def charge_item(_number: int) -> Hostile:
        return charge()

    async def numbers() -> list[int]:
        return [1]

    if form == "item":
        charge_item.__defaults__ = (each(graph.add_layer(numbers)),)
        source: Any = graph.layer.each(charge_item, retries=2)
    else:
        body = charge_async if form == "async" else charge
        source = graph.add_layer(body, retries=2, run_in="inline" if form == "inline" else "auto")

    async def receive(given: Any) -> bool:
        return next(iter(given), None) is value if form == "item" else given is value

    receive.__defaults__ = (use(source),)
    run = await compile_plan(graph.add_layer(receive)).run()

    assert (run.result, len(calls), run.ok) == (True, 1, True)
    assert "Performance" in str(run.report)


def test_compiling_twice_doubles_nothing(backend: Backend) -> None:
    graph, received = Graph("twice"), list[tuple[int, ...]]()

    @graph.layer
    async def one() -> int:
        return 1

    @graph.layer
    async def pair(left: int = use(one), right: int = use(one)) -> None:
        received.append((left, right))

    first = compile_plan(graph)
    for plan in (first, compile_plan(graph), first.options(concurrency=2), first.override(one.returns(1)), first):
        run = simulate(plan, backend=backend).run
        assert len(run.attempts()) == 2

    assert received == [(1, 1)] * 5


def test_no_function_is_dropped_because_of_its_name() -> None:
    def add(graph: Graph) -> Any:
        @graph.layer
        async def same() -> None: ...

        return same

    graph = Graph("one graph")
    add(graph)
    with pytest.raises(errors.DuplicateName, match="'same'"):
        add(graph)

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(add(Graph("left")), add(Graph("right")))
    assert [type(fault) for fault in caught.value.exceptions] == [errors.DuplicateName]


async def test_nothing_prints_or_logs_what_goes_through_a_plan(capfd: pytest.CaptureFixture[str]) -> None:
    graph = Graph("secrets")

    @graph.layer
    async def token(password: str) -> str:
        return f"token of {password}"

    @graph.layer.each(on_error="continue", retries=1)
    async def use_it(letter: str = each(token)) -> str:
        raise Declined

    @graph.layer(timeout=0.001, on_error="continue")
    async def slow(key: str = use(token)) -> None:
        await anyio.sleep(5)

    @graph.layer
    async def pay(key: str = use(token), rest: object = use(use_it)) -> None:
        raise Declined

    with pytest.raises(Declined) as caught:
        await compile_plan(pay, slow).run(password=SECRET)

    run = run_of(caught.value)
    assert run is not None
    shown = [*caught.value.__notes__, repr(run), str(run.report), repr(run.attempts()), compile_plan(pay).explain()]
    assert not [text for text in shown if SECRET in text]
    assert capfd.readouterr() == ("", "")


def test_a_retry_delay_does_not_hold_its_slot(backend: Backend) -> None:
    graph, order = Graph("delay"), list[str]()

    @graph.layer(retries=1, retry_delay=60)
    async def flaky() -> None:
        order.append("flaky")
        if order.count("flaky") == 1:
            raise Declined

    @graph.layer
    async def other() -> None:
        order.append("other")

    simulate(compile_plan(graph, concurrency=1), backend=backend)

    assert order == ["flaky", "other", "flaky"]


@pytest.mark.parametrize("discipline", ["fifo", "lifo"])
def test_the_order_is_topological_and_not_the_reverse(discipline: Any, backend: Backend) -> None:
    graph, started = Graph("order"), list[str]()

    def add(name: str, *before: str) -> None:
        async def body() -> None:
            started.append(name)

        graph.add_layer(body, name=name, depends_on=before)

    add("inventory")
    add("customer")
    add("reserve", "inventory")
    add("order", "reserve", "customer")
    add("pay", "order")
    plan = compile_plan(graph, discipline=discipline, concurrency=1)

    simulate(plan, backend=backend)

    assert tuple(started) == plan.order
    before = {name: set(unit.unit.depends_on) for name, unit in graph.units.items()}
    assert all(before[name] <= set(started[:place]) for place, name in enumerate(started))


def test_one_slot_runs_every_layer(backend: Backend) -> None:
    graph, ran = Graph("one slot"), list[str]()

    def add(name: str, *before: str) -> None:
        async def body() -> None:
            await anyio.sleep(1)
            ran.append(name)

        graph.add_layer(body, name=name, depends_on=before)

    add("a")
    add("b", "a")
    add("c", "a")
    add("d", "b", "c")

    trace = simulate(compile_plan(graph, concurrency=1), backend=backend)

    assert sorted(ran) == ["a", "b", "c", "d"]
    assert (trace.run.status, trace.seconds) == ("succeeded", 4)


def test_a_cycle_is_refused_and_told_in_order() -> None:
    graph, called = Graph("cycle"), list[int]()

    async def body() -> None:
        called.append(1)

    for name, before in (("a", "c"), ("b", "a"), ("c", "b"), ("alone", "alone")):
        graph.add_layer(body, name=name, depends_on=before)

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(graph)

    cycles = [fault.cycle for fault in caught.value.exceptions if isinstance(fault, errors.DependencyCycle)]
    assert ("alone", "alone") in cycles
    assert any(set(cycle) == {"a", "b", "c"} and cycle[0] == cycle[-1] for cycle in cycles)
    assert called == []


@pytest.mark.timeout(20)
@pytest.mark.parametrize("closed", [False, True])
def test_a_ladder_with_more_paths_than_can_be_counted_is_checked_at_once(closed: bool) -> None:
    graph = Graph("ladder")

    async def body() -> None: ...

    graph.add_layer(body, name="s0", depends_on="s300" if closed else [])
    for number in range(1, 301):
        for side in ("left", "right"):
            graph.add_layer(body, name=f"{side}{number}", depends_on=f"s{number - 1}")
        graph.add_layer(body, name=f"s{number}", depends_on=[f"left{number}", f"right{number}"])

    if closed:
        with pytest.raises(errors.InvalidPlan):
            compile_plan(graph)
    else:
        assert len(compile_plan(graph).order) == 901


def test_a_dependency_on_a_misspelt_name_is_refused_with_the_right_one() -> None:
    graph = Graph("typo")

    async def body() -> None: ...

    graph.add_layer(body, name="inventory")
    graph.add_layer(body, name="pay", depends_on="inventry")
    graph.process("checkout", graph.units["pay"])

    with pytest.raises(errors.InvalidPlan) as caught:
        compile_plan(graph)
    assert "Did you mean 'inventory'?" in str(caught.value)
    assert [type(fault) for fault in caught.value.exceptions] == [errors.UnknownDependency]


def test_a_timeout_leaves_no_live_copy_behind(backend: Backend) -> None:
    graph, live, most = Graph("copies"), [0], [0]

    @graph.layer(timeout=1, retries=2)
    async def stubborn() -> None:
        live[0] += 1
        most[0] = max(most[0], live[0])
        try:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(10)
        finally:
            live[0] -= 1

    trace = simulate(compile_plan(stubborn), backend=backend)

    assert isinstance(trace.error, errors.LayerTimeout)
    assert (most, live, len(trace.run.attempts())) == ([1], [0], 3)


def test_stopping_a_run_does_not_run_finished_work_again(backend: Backend) -> None:
    graph, calls = Graph("stop"), list[str]()

    @graph.layer
    async def done() -> int:
        calls.append("done")
        return 1

    @graph.layer(retries=5, retry_delay=1)
    async def flaky(value: int = use(done)) -> None:
        calls.append("flaky")
        await anyio.sleep(5)

    async def main() -> None:
        async with compile_plan(graph).start() as handle:
            await anyio.sleep(1)
            handle.cancel()
            handle.cancel()
        await anyio.sleep(1000)

    run_virtual(main, backend=backend)

    assert calls == ["done", "flaky"]


@pytest.mark.parametrize("mode", ["parallel", "sequential", "batched", "isolated"])
@pytest.mark.parametrize("member_on_error", ["abort", "continue"])
def test_whoever_runs_a_process_is_told_of_a_failing_worker(mode: Any, member_on_error: Any, backend: Backend) -> None:
    graph, error = Graph("process"), Declined("no stock")

    @graph.worker(on_error=member_on_error)
    async def failing() -> None:
        raise error

    @graph.worker
    async def other() -> str:
        return "done"

    everything = graph.process("everything", failing, other, mode=mode)

    trace = simulate(compile_plan(everything), backend=backend)

    assert trace.error is error
    assert trace.run.status == "failed"
    assert trace.run.outcome("failing") == Failed(error)
    assert trace.run.outcome(everything) in (Failed(error), Cancelled(by="abort"))


def test_a_process_with_a_failed_member_may_be_tolerated_but_has_failed(backend: Backend) -> None:
    graph, error = Graph("tolerated"), Declined("no stock")

    @graph.worker(on_error="continue")
    async def failing() -> None:
        raise error

    everything = graph.process("everything", failing, on_error="continue")

    run = simulate(compile_plan(everything), backend=backend).run

    assert (run.ok, run.outcome(everything)) == (False, Failed(error))


def test_the_pause_of_an_isolated_process_is_kept(backend: Backend) -> None:
    graph = Graph("pause")

    async def work() -> None:
        await anyio.sleep(2)

    members = [graph.add_layer(work, name=f"member{number}") for number in range(3)]
    graph.process("isolated", *members, mode="isolated", delay=10)

    trace = simulate(compile_plan(graph), backend=backend)

    begun = [trace.run.attempts(f"member{number}")[0].started for number in range(3)]
    assert [moment - begun[0] for moment in begun] == [0, 12, 24]
    assert trace.seconds == 26


def test_a_condition_that_refuses_does_not_count_as_a_failure(backend: Backend) -> None:
    graph, called = Graph("branch"), list[str]()

    @graph.layer
    async def probe() -> int:
        return 70

    def is_short(length: int) -> bool:
        return length < 60

    @graph.layer(depends_on=when(probe, is_short))
    async def fast() -> None:
        called.append("fast")

    @graph.layer(depends_on=fast)
    async def after_fast() -> None:
        called.append("after fast")

    run = simulate(compile_plan(graph), backend=backend).run

    assert (called, run.ok) == ([], True)
    assert run.outcome(after_fast) == Skipped(because="probe", cause="condition")


def test_a_plan_needs_no_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    graph = Graph("no terminal")

    @graph.layer
    async def step() -> str:
        return "done"

    for stream in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, stream, None)
    plan = compile_plan(step)
    run = plan.run_sync()

    assert run.outcomes == {"step": Succeeded("done")}
    assert "step" in plan.explain()
    assert str(run.report)
    assert capfd.readouterr() == ("", "")
