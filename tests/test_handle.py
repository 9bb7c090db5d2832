"""The handle of a run that is going on: wait for it, cancel it, look where it hangs, leave without it."""

import threading
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import Cancelled, Graph, Plan, Succeeded, compile_plan, each, errors, run_of
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.observing import assert_settled, heard, running_tasks

BY_STOP = Cancelled(by="stop")


class Declined(Exception):
    """What a step of these plans raises."""


class BlockFailure(Exception):
    """What the block around the run raises."""


def sleeping(seconds: float, *, seen: list[str] | None = None, fails: BaseException | None = None) -> Plan[None, str]:
    """A plan of one step that sleeps, and returns or raises then."""
    graph = Graph("sleeping")

    @graph.layer
    async def sleep() -> str:
        try:
            await anyio.sleep(seconds)
        finally:
            if seen is not None:
                seen.append("finally")
        if fails is not None:
            raise fails
        return "done"

    return compile_plan(sleep)


def test_the_run_goes_on_beside_the_block(backend: Backend) -> None:
    async def main() -> None:
        begun = anyio.current_time()
        async with sleeping(10).start() as handle:
            await anyio.sleep(10)
            run = await handle.wait()
        assert (run.result, anyio.current_time() - begun) == ("done", 10)

    run_virtual(main, backend=backend)


def test_leaving_the_block_waits_for_the_run(backend: Backend) -> None:
    seen: list[str] = []

    async def main() -> None:
        before = running_tasks()
        async with sleeping(10, seen=seen).start() as handle:
            pass
        assert seen == ["finally"]
        assert (await handle.wait()).result == "done"
        await assert_settled(before)

    run_virtual(main, backend=backend)


def test_many_may_wait_and_wait_again(backend: Backend) -> None:
    runs: list[Any] = []

    async def main() -> None:
        async with sleeping(10).start() as handle, anyio.create_task_group() as group:

            async def wait() -> None:
                runs.append(await handle.wait())

            for _ in range(3):
                group.start_soon(wait)
            runs.append(await handle.wait())
            runs.append(await handle.wait())

    run_virtual(main, backend=backend)

    assert len(runs) == 5
    assert len({id(run) for run in runs}) == 1


def test_an_error_that_nobody_waited_for_is_raised_at_the_end_of_the_block(backend: Backend) -> None:
    error, reached = Declined("no stock"), list[str]()

    async def main() -> None:
        before = running_tasks()
        with pytest.raises(Declined) as caught:
            async with sleeping(1, fails=error).start():
                await anyio.sleep(10)
                reached.append("the end of the block")
        assert caught.value is error
        run = run_of(error)
        assert run is not None
        assert run.status == "failed"
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert reached == ["the end of the block"]


def test_an_error_that_was_waited_for_is_raised_there_and_only_there(backend: Backend) -> None:
    error = Declined("no stock")

    async def main() -> None:
        async with sleeping(1, fails=error).start() as handle:
            with pytest.raises(Declined) as caught:
                await handle.wait()
            assert caught.value is error
        with pytest.raises(Declined):
            await handle.wait()

    run_virtual(main, backend=backend)


def test_cancel_ends_the_bodies_and_starts_nothing_more(backend: Backend) -> None:
    graph, seen = Graph("cancel"), list[str]()

    @graph.layer
    async def done() -> int:
        seen.append("done")
        return 1

    @graph.layer(depends_on=done)
    async def sleeps() -> None:
        try:
            await anyio.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2)
            seen.append("finally")

    @graph.layer(depends_on=sleeps)
    async def dependent() -> None:
        seen.append("dependent")

    async def main() -> None:
        begun, before = anyio.current_time(), running_tasks()
        async with compile_plan(graph).start() as handle:
            await anyio.sleep(1)
            handle.cancel()
            handle.cancel()
            with pytest.raises(errors.RunCancelled) as caught:
                await handle.wait()
        run = run_of(caught.value)
        assert run is not None
        assert run.status == "cancelled"
        assert run.outcomes == {"done": Succeeded(1), "sleeps": BY_STOP, "dependent": BY_STOP}
        assert anyio.current_time() - begun == 3
        handle.cancel()
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert seen == ["done", "finally"]


def test_a_cancelled_run_that_nobody_waits_for_ends_its_block_quietly(backend: Backend) -> None:
    seen: list[str] = []

    async def main() -> None:
        async with sleeping(100, seen=seen).start() as handle:
            await anyio.sleep(1)
            handle.cancel()
        seen.append("after the block")

    run_virtual(main, backend=backend)

    assert seen == ["finally", "after the block"]


def test_a_run_that_is_cancelled_before_it_began_starts_nothing(backend: Backend) -> None:
    graph, started = Graph("at once"), list[int]()

    @graph.layer
    async def step() -> None:
        await anyio.sleep(1)
        started.append(1)

    async def main() -> None:
        async with compile_plan(step).start() as handle:
            handle.cancel()
            with pytest.raises(errors.RunCancelled):
                await handle.wait()

    run_virtual(main, backend=backend)

    assert started == []


def test_cancelling_a_run_that_has_ended_changes_nothing(backend: Backend) -> None:
    async def main() -> None:
        async with sleeping(1).start() as handle:
            run = await handle.wait()
            handle.cancel()
            assert (await handle.wait()) is run
        assert run.result == "done"

    run_virtual(main, backend=backend)


def test_an_error_of_the_block_cancels_the_run_and_leaves_bare(backend: Backend) -> None:
    seen: list[str] = []
    error = BlockFailure("of the block")

    async def main() -> None:
        begun, before = anyio.current_time(), running_tasks()
        with pytest.raises(BlockFailure) as caught:
            async with sleeping(100, seen=seen).start():
                await anyio.sleep(1)
                raise error
        assert caught.value is error
        assert anyio.current_time() - begun == 1
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert seen == ["finally"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_so_does_what_is_no_ordinary_exception(kind: type[BaseException], backend: Backend) -> None:
    seen: list[str] = []

    async def main() -> None:
        with pytest.raises(kind):
            async with sleeping(100, seen=seen).start():
                await anyio.sleep(1)
                raise kind

    run_virtual(main, backend=backend)

    assert seen == ["finally"]


def test_an_error_of_the_block_goes_before_one_of_the_run(backend: Backend) -> None:
    async def main() -> None:
        with pytest.raises(BlockFailure):
            async with sleeping(1, fails=Declined()).start():
                await anyio.sleep(10)
                raise BlockFailure

    run_virtual(main, backend=backend)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_ordinary_exception_leaves_the_block_bare(kind: type[BaseException], backend: Backend) -> None:
    error = kind()

    async def main() -> None:
        before = running_tasks()
        with pytest.raises(kind) as caught:
            async with sleeping(1, fails=error).start() as handle:
                await handle.wait()
        assert caught.value is error
        with pytest.raises(kind) as caught:
            async with sleeping(1, fails=error).start():
                await anyio.sleep(2)
        assert caught.value is error
        await assert_settled(before)

    run_virtual(main, backend=backend)


def test_a_cancellation_around_the_block_ends_the_run_and_goes_on(backend: Backend) -> None:
    seen: list[str] = []

    async def main() -> None:
        before = running_tasks()
        with anyio.move_on_after(1) as scope:
            async with sleeping(100, seen=seen).start() as handle:
                await handle.wait()
            seen.append("not reached")
        assert scope.cancelled_caught
        await assert_settled(before)

    run_virtual(main, backend=backend)

    assert seen == ["finally"]


def test_whoever_waits_may_be_cancelled_without_harm_to_the_run(backend: Backend) -> None:
    async def main() -> None:
        async with sleeping(10).start() as handle:
            with anyio.move_on_after(1) as scope:
                await handle.wait()
            assert scope.cancelled_caught
            assert (await handle.wait()).result == "done"

    run_virtual(main, backend=backend)


def test_a_deadline_reaches_whoever_waits(backend: Backend) -> None:
    async def main() -> None:
        async with sleeping(100).options(deadline=5).start() as handle:
            with pytest.raises(errors.DeadlineExceeded):
                await handle.wait()

    run_virtual(main, backend=backend)


def test_a_body_that_refuses_to_be_cancelled_is_waited_for_and_named(backend: Backend) -> None:
    graph = Graph("stubborn")

    @graph.layer
    async def stubborn() -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(12)

    async def main() -> None:
        begun = anyio.current_time()
        async with compile_plan(stubborn, grace=5).start() as handle:
            await anyio.sleep(1)
            handle.cancel()
            with pytest.raises(errors.RunCancelled) as caught:
                await handle.wait()
        run = run_of(caught.value)
        assert run is not None
        assert (run.stuck, anyio.current_time() - begun) == (("stubborn",), 12)

    with heard() as records:
        run_virtual(main, backend=backend)

    assert [record["extra"]["layer"] for record in records] == ["stubborn"] * 2


def test_wrong_inputs_are_refused_before_anything_starts() -> None:
    graph = Graph("inputs")

    @graph.layer
    async def step(amount: int) -> int:
        return amount

    plan = compile_plan(step)
    with pytest.raises(errors.InvalidInputs, match="amount"):
        plan.start()
    with pytest.raises(errors.InvalidInputs, match="amuont"):
        plan.start(amount=1, amuont=2)


def test_inputs_reach_the_run(backend: Backend) -> None:
    graph = Graph("inputs")

    @graph.layer
    async def step(amount: int) -> int:
        return amount * 2

    async def main() -> None:
        async with compile_plan(step).start(amount=21) as handle:
            assert (await handle.wait()).result == 42

    run_virtual(main, backend=backend)


def test_two_runs_of_one_plan_go_on_beside_each_other(backend: Backend) -> None:
    plan = sleeping(10)

    async def main() -> None:
        begun = anyio.current_time()
        async with plan.start() as one, plan.start() as other:
            one.cancel()
            assert (await other.wait()).result == "done"
        assert anyio.current_time() - begun == 10

    run_virtual(main, backend=backend)


# Where it hangs


def test_stacks_show_where_each_body_hangs_through_all_that_it_awaits(backend: Backend) -> None:
    graph, event = Graph("stacks"), list[anyio.Event]()

    class Service:
        async def wait_for_the_bank(self) -> None:
            await event[0].wait()

    async def charge() -> None:
        await Service().wait_for_the_bank()

    @graph.layer(timeout=60)
    async def pay() -> None:
        await charge()

    @graph.layer
    async def notify() -> None:
        await anyio.sleep(50)

    @graph.layer(depends_on=pay)
    async def later() -> None: ...

    async def main() -> None:
        event.append(anyio.Event())
        async with compile_plan(graph).start() as handle:
            await anyio.sleep(1)
            stacks = handle.stacks()
            assert list(stacks) == ["pay", "notify"]
            functions = [line.rpartition(" in ")[2] for line in stacks["pay"]]
            assert functions[:3] == ["pay", "charge", "wait_for_the_bank"]
            assert stacks["pay"][0].startswith(f"{__file__}:")
            assert stacks["notify"][0].endswith(" in notify")
            event[0].set()
            await anyio.sleep(1)
            assert list(handle.stacks()) == ["notify"]
        assert handle.stacks() == {}

    run_virtual(main, backend=backend)


async def test_stacks_name_a_body_in_a_thread() -> None:

    graph, begun, release = Graph("thread"), threading.Event(), threading.Event()

    @graph.layer
    def blocking() -> None:
        begun.set()
        release.wait(30)

    async with compile_plan(blocking).start() as handle:
        while not begun.is_set():  # noqa: ASYNC110 (set from a thread)
            await anyio.sleep(0.001)
        assert list(handle.stacks()) == ["blocking"]
        release.set()


def test_stacks_name_an_item(backend: Backend) -> None:

    graph = Graph("items")

    @graph.layer
    async def numbers() -> list[int]:
        return [1, 50]

    @graph.layer.each
    async def item(number: int = each(numbers)) -> None:
        await anyio.sleep(number)

    async def main() -> None:
        async with compile_plan(item).start() as handle:
            await anyio.sleep(2)
            assert list(handle.stacks()) == ["item[1]"]

    run_virtual(main, backend=backend)


def test_whoever_is_cancelled_while_the_block_is_entered_leaves_nothing_behind(backend: Backend) -> None:
    async def enter(plan: Plan[None, str]) -> None:
        async with plan.start() as handle:
            await handle.wait()

    async def main() -> bool:
        before = running_tasks()
        async with anyio.create_task_group() as group:
            group.start_soon(enter, sleeping(10))
            await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        await assert_settled(before)
        return True

    assert run_virtual(main, backend=backend)


async def test_an_error_of_the_making_leaves_the_block_bare() -> None:
    graph = Graph("deep")

    @graph.layer
    async def again() -> None:
        async with compile_plan(again).start() as handle:
            await handle.wait()

    with pytest.raises(errors.NestingTooDeep):
        await compile_plan(again).run()
