"""A resource whose setup fails while it is cancelled fails like any body then: it does not speak for its run."""

from collections.abc import AsyncIterator

import anyio
import pytest

from fusynk import Failed, Graph, compile_plan, run_of
from fusynk.protocols import Journal
from tests.observing import assert_settled, running_tasks


class Outage(Exception):
    """Why the run ends."""


class Mishap(Exception):
    """What the setup raises when it is cancelled."""


@pytest.mark.parametrize("is_recorded", [False, True])
async def test_what_ends_a_run_is_not_the_error_of_a_setup_that_it_cancels(
    journal: Journal, *, is_recorded: bool
) -> None:
    graph, waiting, before = Graph("late"), anyio.Event(), running_tasks()

    @graph.layer
    async def held() -> AsyncIterator[str]:
        try:
            waiting.set()
            await anyio.sleep_forever()
        finally:
            raise Mishap
        yield "never"

    @graph.layer
    async def falls() -> None:
        await waiting.wait()
        raise Outage

    plan = compile_plan(graph)
    with pytest.raises(Outage) as caught:
        _ = await (plan.options(journal=journal, run_id="order") if is_recorded else plan).run()

    run = run_of(caught.value)
    assert run is not None
    assert (repr(run.outcome(held)), run.cause) == ("Failed(error=Mishap())", "falls")
    assert isinstance(run.outcome(falls), Failed)
    await assert_settled(before)


async def test_a_run_that_is_cancelled_passes_that_on_though_a_setup_raises() -> None:
    graph, waiting = Graph("late"), anyio.Event()

    @graph.layer
    async def held() -> AsyncIterator[str]:
        try:
            waiting.set()
            await anyio.sleep_forever()
        finally:
            raise Mishap
        yield "never"

    @graph.layer
    async def other() -> None:
        await anyio.sleep_forever()

    finished, handle = False, compile_plan(graph).start()
    with anyio.CancelScope() as scope:
        async with handle:
            await waiting.wait()
            scope.cancel()
        finished = True

    assert (finished, scope.cancelled_caught) == (False, True)
    assert handle.snapshot() == {"held": "failed", "other": "cancelled"}
