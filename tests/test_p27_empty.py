"""P27: a plan of nothing succeeds, and a plan does not change after it was compiled."""

import pytest

from fusynk import Graph, Plan, Run, compile_plan, process
from fusynk.testing import simulate
from tests.shop import Shop


def empty_plan() -> Plan[None, object]:
    return compile_plan(Graph("empty"))


def assert_is_the_run_of_nothing(run: Run[object]) -> None:
    assert (run.status, run.ok, run.result) == ("succeeded", True, {})
    assert (dict(run.outcomes), dict(run.failures), run.attempts(), run.stuck) == ({}, {}, (), ())
    run.raise_for_failures()
    report = run.report
    assert (report.total, report.makespan, report.work, report.critical_path) == (0, 0.0, 0.0, ())
    assert (report.success_rate, report.average, report.maximum, report.minimum) == (1.0, 0.0, 0.0, 0.0)
    assert "Critical path     none" in str(report)


async def test_p27_a_plan_of_nothing_succeeds() -> None:
    assert_is_the_run_of_nothing(await empty_plan().run())


async def test_p27_a_handle_of_a_run_of_nothing_ends() -> None:
    async with empty_plan().start() as handle:
        assert_is_the_run_of_nothing(await handle.wait())
        handle.cancel()


def test_p27_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert_is_the_run_of_nothing(empty_plan().run_sync())
    assert_is_the_run_of_nothing(simulate(empty_plan()).run)

    assert capfd.readouterr() == ("", "")


def test_p27_it_tells_that_there_is_nothing() -> None:
    plan = empty_plan()

    assert (plan.order, plan.levels, dict(plan.inputs)) == ((), (), {})
    assert repr(plan) == "<Plan of 0 steps to nothing>"
    assert "0 steps to nothing" in plan.explain()


@pytest.mark.parametrize("concurrency", [1, 32])
def test_p27_its_options_may_be_anything(concurrency: int) -> None:
    plan = empty_plan().options(concurrency=concurrency, deadline=1, timeout=1, discipline="lifo", retries=3)

    assert_is_the_run_of_nothing(simulate(plan).run)


def test_p27_a_process_of_nothing_is_an_empty_mapping() -> None:
    assert simulate(compile_plan(process("nobody", mode="sequential"))).result == {}


def test_p27_a_plan_keeps_what_it_was_compiled_from() -> None:
    graph = Graph("changing")
    first = graph.add_layer(lambda: 1, name="first")
    plan = compile_plan(graph)
    explained = plan.explain()

    graph.add_layer(lambda: 2, name="second", depends_on=first)
    graph.remove_layer("first")
    graph.add_layer(lambda: 11, name="first")

    assert plan.explain() == explained
    assert simulate(plan).result == {"first": 1}


def test_p27_other_options_and_overrides_leave_a_plan_as_it_is() -> None:
    graph = Graph("still")
    first = graph.add_layer(lambda: 1, name="first")
    plan = compile_plan(first)
    before = (plan.explain(), plan.order, plan.settings)

    plan.options(concurrency=1, discipline="lifo", timeout=None, retries=4)
    plan.override(first.returns(2))

    assert (plan.explain(), plan.order, plan.settings) == before
    assert simulate(plan).result == 1


def test_p27_running_leaves_a_plan_as_it_is() -> None:
    plan = compile_plan(Shop(3).sell)
    before = plan.explain()

    results = [simulate(plan, {"ordered": number}).result for number in (1, 2)]

    assert results == [(3, 2), (3, 1)]
    assert plan.explain() == before
