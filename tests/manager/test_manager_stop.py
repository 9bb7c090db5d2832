"""Stopping a manager: what runs gets a grace, nothing else starts, nothing runs again, nothing stays alive."""

import asyncio
import threading
from typing import Any

import anyio
import pytest

from fusynk import Manager, compile_plan, errors
from fusynk.manager import events
from fusynk.manager.store import MemoryStore
from fusynk.testing.virtual import Backend
from tests.manager.crew import Crew, Declined, live, managed, told_by
from tests.observing import assert_settled, running_tasks


def test_what_ends_within_the_grace_ends_well_and_the_rest_is_cancelled(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("short", 4, every=60), crew.worker("long", 100, every=60), grace=5)
        told = told_by(manager)
        async with manager:
            await anyio.sleep(2)
        assert anyio.current_time() == 7
        await assert_settled(before)
        assert (manager.status("short"), manager.status("long")) == ("completed", "idle")
        assert told.of("long") == ["UnitStarted", "UnitCancelled"]
        (stopped,) = [event for event in told if isinstance(event, events.ManagerStopped)]
        assert stopped.cancelled == ("long",)
        assert told[-1] is stopped
        await anyio.sleep(1000)
        assert len(crew.started) == 2
        assert crew.ended == [("short", 4), ("long", 7)]

    live(main, backend)


@pytest.mark.parametrize("grace", [0, 1, 30.5])
def test_the_grace_of_a_call_comes_before_that_of_the_manager(grace: float, backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("long", 100, every=60))
        manager.start()
        await anyio.sleep(2)
        await manager.stop(grace)
        assert anyio.current_time() == 2 + grace
        assert crew.ended == [("long", 2 + grace)]

    live(main, backend)


def test_a_run_that_somebody_called_for_is_stopped_too_and_tells_them(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("long", 100))
        raised: list[BaseException] = []

        async def call() -> None:
            try:
                await manager.run("long")
            except errors.RunCancelled as error:
                raised.append(error)

        async with anyio.create_task_group() as group:
            manager.start()
            group.start_soon(call)
            await anyio.sleep(2)
            await manager.stop(1)
            assert crew.live == {"long": 0}
        assert len(raised) == 1
        assert manager.status("long") == "idle"

    live(main, backend)


def test_nothing_starts_while_a_manager_stops(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = [crew.worker("long", 10, every=60), crew.worker("often", every=1), crew.worker("other")]
        manager = managed(*units, grace=20)
        async with anyio.create_task_group() as group:
            manager.start()
            await anyio.sleep(0.5)
            group.start_soon(manager.stop)
            await anyio.sleep(2)
            assert manager.is_running
            with pytest.raises(errors.ManagerStopped):
                await manager.run("other")
        assert anyio.current_time() == 10
        assert crew.starts("often") == [0]
        assert crew.starts("other") == []

    live(main, backend)


def test_a_retry_is_not_begun_while_a_manager_stops(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("flaky", 3, Declined(), every=60, retries=5, retry_delay=1), grace=20)
        async with manager:
            await anyio.sleep(2)
        assert crew.starts("flaky") == [0]
        assert anyio.current_time() <= 5
        assert manager.status("flaky") == "idle"

    live(main, backend)


def test_a_second_stop_changes_nothing_and_a_sharper_one_hurries(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("long", 100, every=60), grace=50)
        told = told_by(manager)
        manager.start()
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(manager.stop)
            await anyio.sleep(1)
            await manager.stop(2)
        assert anyio.current_time() == 4
        await manager.stop()
        await manager.stop(0)
        assert told.kinds("ManagerStopped") == ["ManagerStopped"]
        assert crew.ended == [("long", 4)]

    live(main, backend)


def test_stopping_what_never_started_does_nothing(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a"))
        told = told_by(manager)
        await manager.stop()
        assert told == []
        assert await manager.run("a") is not None

    live(main, backend)


def test_finished_work_is_not_run_again(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        members = [crew.worker(name, 1) for name in "abc"]
        manager = managed(crew.graph.process("group", *members, mode="sequential"), crew.worker("d", every=100))
        async with manager:
            await manager.run("group")
        await manager.stop()
        assert sorted(name for name, _ in crew.started) == ["a", "b", "c", "d"]

    live(main, backend)


@pytest.mark.parametrize("how", ["sleeps on", "finally"])
def test_a_body_that_refuses_to_be_cancelled_is_waited_for(how: str, backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()

        @crew.graph.worker(every=60)
        async def stubborn() -> None:
            if how == "finally":
                try:
                    await anyio.sleep(100)
                finally:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(30)
            else:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(33)

        manager = managed(stubborn, grace=2)
        async with manager:
            await anyio.sleep(1)
        assert anyio.current_time() == 33
        await assert_settled(before)
        assert manager.status("stubborn") == "idle"

    live(main, backend)


async def test_a_thread_that_does_not_end_is_left_behind_and_named() -> None:
    release, ended = threading.Event(), threading.Event()
    crew = Crew()
    runs: list[Any] = []

    @crew.graph.worker(every=60)
    def hangs() -> None:
        release.wait(30)
        ended.set()

    manager = Manager(hangs, grace=0.05)
    told = told_by(manager)
    started = anyio.Event()
    _ = manager.on_start(lambda _: started.set())
    try:
        async with manager:
            await started.wait()
            await anyio.sleep(0.05)
            runs.append(manager._registry.find("hangs").handle)
        assert not ended.is_set()
        assert manager.status("hangs") == "idle"
        (stopped,) = [event for event in told if isinstance(event, events.ManagerStopped)]
        assert stopped.cancelled == ("hangs",)
        with pytest.raises(errors.RunCancelled) as caught:
            await runs[0].wait()
        from fusynk import run_of  # noqa: PLC0415

        run = run_of(caught.value)
        assert run is not None
        assert run.abandoned == ("hangs",)
    finally:
        release.set()
        ended.wait(10)


def test_a_cancelled_scope_around_the_block_cancels_what_runs_at_once_and_goes_on(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("short", 4, every=60), crew.worker("long", 100, every=60), grace=5)
        with anyio.move_on_after(2) as scope:
            async with manager:
                await anyio.sleep(1000)
        assert scope.cancelled_caught
        assert anyio.current_time() == 2
        await assert_settled(before)
        assert (manager.status("short"), manager.status("long")) == ("idle", "idle")
        assert not manager.is_running

    live(main, backend)


def test_a_native_cancellation_of_the_block_gives_the_grace_and_goes_on() -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("long", 100, every=60), grace=5)

        async def block() -> None:
            async with manager:
                await anyio.sleep(1000)

        task = asyncio.create_task(block())
        await anyio.sleep(2)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not manager.is_running
        assert crew.ended == [("long", 7)]
        assert len(asyncio.all_tasks()) == 1

    live(main, "asyncio")


def test_an_error_in_the_block_is_raised_bare_after_the_stop(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("short", 4, every=60))
        with pytest.raises(Declined):
            async with manager:
                await anyio.sleep(2)
                raise Declined
        assert crew.ended == [("short", 4)]
        await assert_settled(before)

    live(main, backend)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("scheduled", [True, False])
def test_an_interruption_that_a_body_raises_leaves_the_block_bare(
    kind: type[BaseException], scheduled: bool, backend: Backend
) -> None:
    caught: list[BaseException] = []
    crew = Crew()

    async def main() -> None:
        async def body() -> None:
            await anyio.sleep(1)
            raise kind(3)

        schedule: Any = {"every": 60} if scheduled else {}
        exits: Any = crew.graph.worker(body, name="exits", **schedule)
        manager = managed(exits, crew.worker("other", 100, every=60), grace=2)
        try:
            async with manager:
                if scheduled:
                    await anyio.sleep(1000)
                else:
                    await manager.run("exits")
        except BaseException as error:  # noqa: BLE001 - it is what is looked at
            caught.append(error)
        assert not manager.is_running
        assert manager.status("exits") == "idle"
        await anyio.sleep(1)

    live(main, backend)
    assert [type(error) for error in caught] == [kind]
    assert crew.live == {"other": 0}


def test_a_body_may_stop_its_manager(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        after: list[str] = []

        @crew.graph.worker(every=60)
        async def last() -> None:
            await anyio.sleep(3)
            await manager.stop()
            await manager.stop()
            after.append("asked")
            await anyio.sleep(2)
            after.append("ended")

        manager = managed(last, crew.worker("long", 100, every=60), grace=5)
        told = told_by(manager)
        manager.start()
        await anyio.sleep(20)
        assert after == ["asked", "ended"]
        assert not manager.is_running
        assert manager.status("last") == "completed"
        assert crew.ended == [("long", 8)]
        assert told.kinds("ManagerStopped") == ["ManagerStopped"]
        await assert_settled(before)

    live(main, backend)


def test_a_body_that_stops_its_manager_and_goes_on_is_cancelled_after_the_grace(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()

        @crew.graph.worker
        async def inner() -> None:
            await manager.stop(2)
            await anyio.sleep(1000)

        @crew.graph.worker(every=60)
        async def outer() -> None:
            await manager.run("inner")

        manager = managed(inner, outer)
        async with manager:
            await anyio.sleep(1)
        assert anyio.current_time() <= 6
        assert (manager.status("inner"), manager.status("outer")) in {("idle", "idle"), ("idle", "error")}

    live(main, backend)


def test_a_subscriber_may_have_the_manager_stopped(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 3, every=60), crew.worker("long", 100, every=60), grace=2)
        async with anyio.create_task_group() as group:
            _ = manager.on_complete(lambda _: group.start_soon(manager.stop), unit="a")
            manager.start()
            await anyio.sleep(4)
        assert not manager.is_running
        assert crew.ended == [("a", 3), ("long", 5)]

    live(main, backend)


def test_a_manager_that_is_stopped_as_it_starts_leaves_nothing(backend: Backend) -> None:
    async def main() -> None:
        before = running_tasks()
        for turns in range(12):
            crew = Crew()
            store = MemoryStore()
            manager = managed(crew.worker("a", 50, every=60), store=store, grace=0)
            manager.start()
            for _ in range(turns):
                await anyio.lowlevel.checkpoint()
            await manager.stop()
            assert not manager.is_running
            assert manager.status("a") == "idle"
            assert crew.live in ({}, {"a": 0})
            await assert_settled(before)
            store.open()
            assert store.load().get("a") is None or store.load()["a"].status == "idle"
            store.close()

    live(main, backend)


def test_a_block_that_is_cancelled_as_it_is_entered_leaves_nothing(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("a", 50, every=60), store=MemoryStore())
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with manager:
                await anyio.sleep(10)
        assert not manager.is_running
        await assert_settled(before)
        async with manager:
            await anyio.sleep(61)
        assert crew.starts("a") == [60]

    live(main, backend)


def test_a_run_that_is_being_kept_as_the_manager_stops_does_not_begin(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 50), grace=1)
        manager.start()
        entry = manager._registry.find("a")
        gate = anyio.Event()
        keep = type(manager._keeper).keep

        async def slowly(*arguments: Any) -> None:
            await gate.wait()
            await keep(*arguments)

        patched = pytest.MonkeyPatch()
        patched.setattr(type(manager._keeper), "keep", slowly)
        raised: list[BaseException] = []

        async def call() -> None:
            try:
                await manager.run("a")
            except errors.RunCancelled as error:
                raised.append(error)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await anyio.sleep(1)
                group.start_soon(manager.stop)
                await anyio.sleep(10)
                gate.set()
        finally:
            patched.undo()
        assert entry.status == "idle"
        assert crew.started == []
        assert "'a' was not run" in str(raised[0])

    live(main, backend)


def test_a_plan_beside_the_manager_is_left_alone(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        a = crew.worker("a", 10)
        async with anyio.create_task_group() as group:
            group.start_soon(compile_plan(a).run)
            async with managed(a, grace=0):
                await anyio.sleep(1)
        assert crew.ended == [("a", 10)]

    live(main, backend)


def test_a_piece_of_a_pool_may_stop_the_manager(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("long", 100, every=60))

        async def piece() -> None:
            await manager.stop(2)
            await anyio.sleep(50)

        manager.start()
        manager.pool(1).add("piece", piece)
        await anyio.sleep(10)
        assert not manager.is_running
        assert crew.ended == [("long", 2)]
        await assert_settled(before)

    live(main, backend)
