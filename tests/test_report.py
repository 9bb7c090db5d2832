"""The report's arithmetic, against figures computed by other means from the same records."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any, Literal

import anyio
import anyio.lowlevel
import pytest

from fusynk import Batch, Graph, Plan, Report, Run, compile_plan, each, use
from fusynk._core.memory import peak_memory
from fusynk.testing import simulate
from fusynk.testing.virtual import Backend

Sources = dict[str, list[str]]
NEAR = 1e-9


def random_graph(seed: int) -> tuple[Graph, Sources]:
    """A graph with sleeps, failures, retries and skips, and the predecessors of each step."""
    chance, graph = Random(seed), Graph(f"random {seed}")
    sources: Sources = {}
    for number in range(chance.randint(1, 10)):
        name = f"s{number}"
        sources[name] = chance.sample(sorted(sources), k=min(number, chance.choice((0, 0, 1, 1, 2, 3))))
        calls: list[int] = []
        body = _body(chance.choice((0, 1, 2, 5, 9)), chance.choice((0, 0, 0, 0, 1, 2, 9)), calls)
        graph.add_layer(
            body,
            name=name,
            depends_on=sources[name],
            retries=chance.choice((0, 1, 2)),
            retry_delay=chance.choice((0, 3)),
            on_error="continue",
        )
    return graph, sources


def _body(seconds: float, fails: int, calls: list[int]) -> Any:
    async def body() -> None:
        calls.append(1)
        await anyio.sleep(seconds)
        if len(calls) <= fails:
            raise ValueError

    return body


def durations_of(run: Run[Any]) -> dict[str, float]:
    """From the first start to the last end of each step that was called."""
    spans: dict[str, list[float]] = {}
    for record in run.attempts():
        spans.setdefault(record.step.partition("[")[0], []).extend((record.started, record.ended))
    return {name: max(moments) - min(moments) for name, moments in spans.items()}


def chains_to(step: str, sources: Sources) -> Iterator[tuple[str, ...]]:
    """Every chain of steps from a source to this one."""
    if not sources[step]:
        yield (step,)
    for source in sources[step]:
        for chain in chains_to(source, sources):
            yield (*chain, step)


def whole_chains(sources: Sources) -> list[tuple[str, ...]]:
    """Every chain from a source to a sink."""
    used = {source for before in sources.values() for source in before}
    return [chain for step in sources if step not in used for chain in chains_to(step, sources)]


@pytest.mark.parametrize("seed", range(60))
def test_the_figures_of_random_runs(seed: int, backend: Backend) -> None:
    graph, _ = random_graph(seed)

    run = simulate(compile_plan(graph, concurrency=1 + seed % 4), backend=backend).run

    report, durations = run.report, durations_of(run)
    starts, ends = [record.started for record in run.attempts()], [record.ended for record in run.attempts()]
    assert report.makespan == pytest.approx(max(ends) - min(starts), abs=NEAR), f"seed {seed}"
    work = sum(record.ended - record.started for record in run.attempts())
    assert report.work == pytest.approx(work, abs=NEAR), f"seed {seed}"
    assert report.average == pytest.approx(sum(durations.values()) / len(durations), abs=NEAR), f"seed {seed}"
    assert report.maximum == pytest.approx(max(durations.values()), abs=NEAR), f"seed {seed}"
    assert report.minimum == pytest.approx(min(durations.values()), abs=NEAR), f"seed {seed}"


@pytest.mark.parametrize("seed", range(60))
def test_critical_path_and_slack_of_random_runs(seed: int) -> None:
    graph, sources = random_graph(seed)

    run = simulate(compile_plan(graph)).run

    report, durations = run.report, durations_of(run)
    lengths = {chain: sum(durations.get(step, 0) for step in chain) for chain in whole_chains(sources)}
    longest = max(lengths.values())
    assert sum(durations[step] for step in report.critical_path) == pytest.approx(longest, abs=NEAR), f"seed {seed}"
    ran = [tuple(step for step in chain if step in durations) for chain in lengths]
    assert report.critical_path in ran, f"seed {seed}"
    for step in sources:
        through = max(length for chain, length in lengths.items() if step in chain)
        assert report.slack[step] == pytest.approx(longest - through, abs=NEAR), f"seed {seed}, {step}"


@pytest.mark.parametrize("seed", range(60))
def test_the_counts_of_random_runs(seed: int) -> None:
    graph, sources = random_graph(seed)

    run = simulate(compile_plan(graph, on_error="continue")).run

    report = run.report
    kinds = [type(outcome).__name__ for outcome in run.outcomes.values()]
    counts = (report.succeeded, report.failed, report.skipped, report.cancelled)
    assert counts == tuple(kinds.count(kind) for kind in ("Succeeded", "Failed", "Skipped", "Cancelled"))
    assert report.total == len(sources) == sum(counts)
    assert report.success_rate == pytest.approx(report.succeeded / report.total)


def test_slack_is_how_late_a_step_may_end(backend: Backend) -> None:
    graph = Graph("slack")

    async def sleep(seconds: int) -> None:
        await anyio.sleep(seconds)

    def add(name: str, seconds: int, *before: str) -> None:
        async def body() -> None:
            await sleep(seconds)

        graph.add_layer(body, name=name, depends_on=before)

    add("start", 1)
    add("long", 10, "start")
    add("short", 4, "start")
    add("join", 2, "long", "short")
    add("aside", 3, "start")

    report = simulate(compile_plan(graph), backend=backend).run.report

    assert report.critical_path == ("start", "long", "join")
    assert dict(report.slack) == {"start": 0, "long": 0, "short": 6, "join": 0, "aside": 9}
    assert (report.makespan, report.work) == (13, 20)


def test_a_retried_step_lasts_from_its_first_attempt_to_its_last_and_works_only_in_between(backend: Backend) -> None:
    graph, calls = Graph("retried"), list[int]()

    @graph.layer(retries=2, retry_delay=100)
    async def flaky() -> None:
        calls.append(1)
        await anyio.sleep(2)
        if len(calls) < 3:
            raise ValueError

    report = simulate(compile_plan(flaky), backend=backend).run.report

    assert (report.makespan, report.maximum, report.average, report.work) == (206, 206, 206, 6)


def test_a_fan_out_lasts_from_its_first_item_to_its_last(backend: Backend) -> None:
    graph = Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 2, 3]

    @graph.layer.each
    async def item(number: int = each(numbers)) -> int:
        await anyio.sleep(number)
        return number

    @graph.layer
    async def total(batch: Batch[int] = use(item)) -> int:
        await anyio.sleep(4)
        return sum(batch)

    report = simulate(compile_plan(total, concurrency=2), backend=backend).run.report

    assert (report.total, report.work, report.makespan) == (3, 10, 8)
    assert report.critical_path == ("numbers", "item", "total")


def test_what_was_cancelled_counts_as_work_up_to_then(backend: Backend) -> None:
    graph = Graph("aborted")

    @graph.layer
    async def fails() -> None:
        await anyio.sleep(2)
        raise ValueError

    @graph.layer
    async def sibling() -> None:
        await anyio.sleep(100)

    @graph.layer(depends_on=fails)
    async def never() -> None: ...

    run = simulate(compile_plan(graph), backend=backend).run

    report = run.report
    assert (report.makespan, report.work) == (2, 4)
    assert (report.succeeded, report.failed, report.cancelled, report.success_rate) == (0, 1, 2, 0)
    assert [(record.step, record.cancelled) for record in run.attempts()] == [("fails", False), ("sibling", True)]


def test_an_empty_plan_has_a_report(backend: Backend) -> None:
    report = simulate(compile_plan(Graph("empty")), backend=backend).run.report

    assert (report.makespan, report.work, report.total, report.success_rate) == (0, 0, 0, 1)
    assert (report.critical_path, dict(report.slack)) == ((), {})
    assert (report.average, report.maximum, report.minimum) == (0, 0, 0)
    assert "none" in str(report)


def test_the_performance_block(backend: Backend) -> None:
    graph = Graph("block")

    @graph.layer
    async def first() -> None:
        await anyio.sleep(2)

    @graph.layer(depends_on=first, on_error="continue")
    async def second() -> None:
        await anyio.sleep(0.0015)
        raise ValueError

    text = str(simulate(compile_plan(graph), backend=backend).run.report)

    figures = {line.strip().rsplit("  ", 1)[0].strip(): line.rsplit("  ", 1)[-1].strip() for line in text.splitlines()}
    assert {name: figures[name] for name in ("Steps", "Succeeded", "Failed", "Success rate")} == {
        "Steps": "2",
        "Succeeded": "1",
        "Failed": "1",
        "Success rate": "50.0%",
    }
    assert "2.002 s" in text or "2.001 s" in text
    assert "1.500 ms" in text
    assert "first -> second" in text


def with_items(*, failing: int, on_error: Literal["abort", "continue"] = "continue") -> Plan[None, int]:
    graph = Graph("with items")

    @graph.layer
    async def numbers() -> list[int]:
        return list(range(8))

    @graph.layer.each(retries=1, on_error=on_error)
    async def item(number: int = each(numbers)) -> int:
        await anyio.sleep(1)
        if number < failing:
            raise ValueError
        return number

    @graph.layer
    async def total(batch: Batch[int] = use(item)) -> int:
        return sum(batch)

    return compile_plan(total)


def rows_of(report: Report) -> dict[str, str]:
    """The lines of the block by their labels."""
    return {line[2:19].strip(): line[19:].strip() for line in str(report).splitlines()[1:]}


def test_items_that_failed_are_counted_though_their_step_succeeded(backend: Backend) -> None:
    run = simulate(with_items(failing=3), backend=backend).run

    report, rows = run.report, rows_of(run.report)
    assert not run.ok
    assert (report.succeeded, report.failed, report.items, report.failed_items) == (3, 0, 8, 3)
    assert report.success_rate == pytest.approx((2 + 5) / (2 + 8))
    assert (rows["Failed"], rows["Items"], rows["Failed items"], rows["Success rate"]) == ("0", "8", "3", "70.0%")


def test_a_plan_without_items_says_nothing_of_them(backend: Backend) -> None:
    graph = Graph("plain")
    graph.add_layer(anyio.lowlevel.checkpoint, name="plain")

    report = simulate(compile_plan(graph), backend=backend).run.report

    assert (report.items, report.failed_items, report.success_rate) == (0, 0, 1)
    assert rows_of(report).keys().isdisjoint({"Items", "Failed items"})


def test_an_aborted_fan_out_counts_what_became_of_its_items(backend: Backend) -> None:
    report = simulate(with_items(failing=1, on_error="abort").options(concurrency=1), backend=backend).run.report

    assert (report.succeeded, report.failed, report.cancelled) == (1, 1, 1)
    assert (report.items, report.failed_items) == (8, 1)
    # The second attempt of the item that fails comes after the first ones of the others.
    assert report.success_rate == pytest.approx((1 + 7) / (2 + 8))


@pytest.mark.parametrize(("failing", "attempts"), [(0, 10), (3, 13), (8, 18)])
def test_attempts_and_retries_are_counted(failing: int, attempts: int, backend: Backend) -> None:
    run = simulate(with_items(failing=failing), backend=backend).run

    assert (run.report.attempts, run.report.retries) == (attempts, failing)
    assert run.report.attempts == len(run.attempts())
    assert rows_of(run.report)["Retries"] == str(failing)


def test_a_retry_that_never_began_is_no_attempt(backend: Backend) -> None:
    graph = Graph("waits")

    @graph.layer(retries=5, retry_delay=100)
    async def flaky() -> None:
        raise ValueError

    report = simulate(compile_plan(flaky, deadline=10), backend=backend).run.report

    assert (report.attempts, report.retries) == (1, 0)


def test_all_but_one_of_ten_thousand_are_not_everything() -> None:
    report = simulate(compile_plan(Graph("empty"))).run.report

    assert "99.9%" in str(replace(report, success_rate=9_999 / 10_000))
    assert "100.0%" in str(replace(report, success_rate=1.0))
    assert "33.3%" in str(replace(report, success_rate=1 / 3))
    assert "29.0%" in str(replace(report, success_rate=0.29))


def test_memory_and_processor_time_are_shown_where_they_are_known() -> None:
    report = compile_plan(Graph("empty")).run_sync().report

    assert report.peak_memory is None or report.peak_memory > 2**20
    known, unknown = replace(report, cpu=0.25, peak_memory=3 * 2**19), replace(report, cpu=None, peak_memory=None)
    assert (rows_of(known)["CPU time"], rows_of(known)["Peak memory"]) == ("250.000 ms", "1.5 MiB")
    assert rows_of(unknown).keys().isdisjoint({"CPU time", "Peak memory"})


@pytest.mark.parametrize(("platform", "held"), [("linux", 5 * 1024), ("darwin", 5)])
def test_platforms_count_memory_in_units_of_their_own(
    platform: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(_who: object) -> object:
        return SimpleNamespace(ru_maxrss=5)

    fake = SimpleNamespace(RUSAGE_SELF=0, getrusage=usage)
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", platform)

    assert peak_memory() == held

    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory() is None


def test_the_block_is_aligned() -> None:
    lines = str(simulate(with_items(failing=2)).run.report).splitlines()

    assert lines[0] == "Performance"
    assert {(line[:2], line[19:20] == " ", line[20:21] != " ") for line in lines[1:]} == {("  ", True, True)}
