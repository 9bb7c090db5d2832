"""The watchdog: it reports what hangs, and cancels or resumes only if it was told to."""

import anyio
import pytest

from fusynk import errors, milestone
from fusynk.manager import events
from fusynk.manager.store import MemoryStore, StoredUnit
from fusynk.testing.virtual import Backend
from tests.manager.crew import Crew, live, managed, told_by
from tests.observing import heard


def test_a_run_that_is_silent_for_too_long_is_reported_once(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("hangs", 60, every=1000, heartbeat=10), scan_every=4) as manager:
            told = told_by(manager)
            await anyio.sleep(50)
            (stale,) = [event for event in told if isinstance(event, events.UnitStale)]
            assert (stale.unit, stale.seconds, stale.limit, stale.is_cancelled) == ("hangs", 12, 10, False)
            assert stale.run_id == manager.get("hangs").run_id
            (seen,) = manager.scan()
            assert (seen.unit, seen.seconds, seen.run_id) == ("hangs", 50, stale.run_id)
            assert manager.status("hangs") == "running"
            await anyio.sleep(20)
            assert manager.scan() == ()
            assert manager.status("hangs") == "completed"
            await manager.run("hangs")
            assert told.kinds("UnitStale") == ["UnitStale"] * 2

    live(main, backend)


def test_a_milestone_is_a_sign_of_life(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()

        @crew.graph.worker(every=1000, heartbeat=10)
        async def walks() -> None:
            for _ in range(5):
                await anyio.sleep(8)
                milestone("step")
            await anyio.sleep(30)

        async with managed(walks, scan_every=1) as manager:
            told = told_by(manager)
            await anyio.sleep(49)
            assert told.kinds("UnitStale") == []
            await anyio.sleep(10)
            assert told.kinds("UnitStale") == ["UnitStale"]
            assert manager.scan()[0].seconds == 19

    live(main, backend)


def test_a_unit_that_woke_up_is_reported_again_when_it_hangs_again(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()

        @crew.graph.worker(every=1000, heartbeat=10)
        async def dozes() -> None:
            await anyio.sleep(20)
            milestone("awake")
            await anyio.sleep(20)

        async with managed(dozes, scan_every=1) as manager:
            told = told_by(manager)
            await anyio.sleep(39)
        assert told.kinds("UnitStale") == ["UnitStale"] * 2

    live(main, backend)


def test_a_heartbeat_comes_before_the_managers_limit_and_without_both_nothing_is_stale(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = crew.worker("own", 1000, every=5000, heartbeat=100), crew.worker("other", 1000, every=5000)
        async with managed(*units, stale_after=10, grace=0) as manager:
            await anyio.sleep(50)
            assert [stale.unit for stale in manager.scan()] == ["other"]
            await anyio.sleep(60)
            assert [stale.unit for stale in manager.scan()] == ["own", "other"]
            manager.update("own", heartbeat=500)
            assert [stale.unit for stale in manager.scan()] == ["other"]
        async with managed(crew.worker("free", 1000, every=5000), grace=0) as manager:
            await anyio.sleep(900)
            assert manager.scan() == ()

    live(main, backend)


def test_only_if_it_was_told_to_does_it_cancel_and_it_never_restarts(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = crew.worker("hangs", 1000, heartbeat=10), crew.worker("fine", 1000, heartbeat=2000)
        manager = managed(*units, cancel_stale=True, scan_every=5)
        told = told_by(manager)
        raised: list[type[BaseException]] = []

        async def call(name: str) -> None:
            try:
                await manager.run(name)
            except errors.RunCancelled as error:
                raised.append(type(error))

        async with manager, anyio.create_task_group() as group:
            group.start_soon(call, "hangs")
            group.start_soon(call, "fine")
            await anyio.sleep(500)
            assert raised == [errors.RunCancelled]
            assert (manager.status("hangs"), manager.status("fine")) == ("idle", "running")
            assert crew.ended == [("hangs", 15)]
            assert told.of("hangs") == ["UnitStarted", "UnitStale", "UnitCancelled"]
        assert len(crew.started) == 2

    live(main, backend)


def test_a_cancelled_stale_run_of_a_schedule_starts_again_at_its_next_point_only(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        worker = crew.worker("hangs", 1000, every=30, heartbeat=10)
        async with managed(worker, cancel_stale=True, scan_every=1, grace=0):
            await anyio.sleep(70)
        assert crew.starts("hangs") == [0, 30, 60]
        assert crew.ended[:2] == [("hangs", 11), ("hangs", 41)]

    live(main, backend)


def test_it_never_resumes_what_is_paused(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", every=10), stale_after=1, cancel_stale=True) as manager:
            manager.pause("a")
            await anyio.sleep(80_000)
            assert manager.status("a") == "paused"
            assert manager.units == ("a",)
        assert len(crew.started) <= 1

    live(main, backend)


def test_it_resumes_after_a_time_if_it_was_told_to(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", 5, every=10), unpause_after=30, scan_every=1) as manager:
            told = told_by(manager)
            await anyio.sleep(2)
            manager.pause("a")
            await anyio.sleep(32)
            assert manager.status("a") == "paused"
            await anyio.sleep(2)
            assert manager.status("a") == "idle"
            await anyio.sleep(10)
        (resumed,) = [event for event in told if isinstance(event, events.UnitResumed)]
        assert resumed.by == "watchdog"
        assert crew.starts("a") == [0, 40]

    live(main, backend)


@pytest.mark.parametrize("stored", [True, False])
def test_a_pause_from_before_the_start_lasts_as_long_after_it(stored: bool, backend: Backend) -> None:
    async def main() -> None:
        await anyio.sleep(1000)
        crew, store = Crew(), MemoryStore()
        if stored:
            store.open()
            store.save(StoredUnit(name="a", version=1, status="paused", paused=True))
            store.close()
        manager = managed(crew.worker("a"), unpause_after=30, scan_every=1, store=store)
        if not stored:
            manager.pause("a")
        async with manager:
            await anyio.sleep(29.5)
            assert manager.status("a") == "paused"
            await anyio.sleep(2)
            assert manager.status("a") == "idle"

    live(main, backend)


def test_a_scan_that_fails_does_not_end_the_manager(backend: Backend) -> None:
    class Refusing(MemoryStore):
        refuses = False

        def save(self, *units: StoredUnit) -> None:
            if self.refuses:
                raise errors.StoreUnavailable("no space", path="")
            super().save(*units)

    async def main() -> None:
        crew, store = Crew(), Refusing()
        manager = managed(crew.worker("a"), crew.worker("b", every=10), unpause_after=5, scan_every=1, store=store)
        async with manager:
            await anyio.sleep(1)
            manager.pause("a")
            store.refuses = True
            await anyio.sleep(7)
            assert manager.status("a") == "paused"
            store.refuses = False
            await anyio.sleep(20)
            assert manager.status("a") == "idle"
        assert crew.starts("b") == [0, 10, 20]

    with heard() as records:
        live(main, backend)
    assert any("StoreUnavailable" in record["message"] for record in records)
