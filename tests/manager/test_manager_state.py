"""What a manager keeps over restarts: state and never policy, written before anybody learns of it, all or nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from fusynk import Manager, errors
from fusynk.manager import events
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import MemoryStore, StoredUnit
from fusynk.testing.virtual import Backend
from tests.manager.crew import EPOCH, Crew, Declined, live, managed, told_by


class Refusing(MemoryStore):
    """A store that can be told to refuse."""

    def __init__(self, *rows: StoredUnit) -> None:
        super().__init__()
        self.saves: list[tuple[str, str]] = []
        self.refuses: Callable[[tuple[StoredUnit, ...]], bool] = lambda _: False
        if rows:
            self.open()
            super().save(*rows)
            self.close()

    def save(self, *units: StoredUnit) -> None:
        if self.refuses(units):
            raise errors.StoreUnavailable("no space left", path="here")
        self.saves += [(unit.name, unit.status) for unit in units]
        super().save(*units)

    def forget(self, *names: str) -> None:
        if self.refuses(()):
            raise errors.StoreUnavailable("no space left", path="here")
        super().forget(*names)

    def row(self, name: str) -> StoredUnit:
        """What is kept of a unit, also while somebody has the store."""
        return self._units[name]


def test_state_goes_from_one_manager_to_the_next(backend: Backend) -> None:
    async def main() -> None:
        store = MemoryStore()
        crew = Crew()
        units = crew.worker("a", 1), crew.worker("bad", 1, Declined()), crew.worker("off"), crew.worker("held")
        async with managed(*units, store=store) as manager:
            await manager.run("a")
            with pytest.raises(Declined):
                await manager.run("bad")
            await manager.run("a")
            manager.disable("off")
            manager.pause("held")
            before = manager.snapshot().units
        async with managed(*units, store=store) as manager:
            assert manager.snapshot().units == before
            await manager.run("a")
            assert manager.get("a").runs == 3
            manager.enable("off")
            manager.resume("held")
        async with managed(*units, store=store) as manager:
            assert manager.get("off").enabled
            assert manager.status("held") == "idle"
            assert manager.status("bad") == "error"

    live(main, backend)


def test_state_is_kept_in_a_file_in_real_time(tmp_path: Path) -> None:
    crew = Crew()
    a, bad = crew.worker("a"), crew.worker("bad", 0, Declined())

    async def once() -> list[Any]:
        async with Manager(a, bad, store=SqliteStore(tmp_path / "state.db")) as manager:
            await manager.run("a")
            with pytest.raises(Declined):
                await manager.run("bad")
            manager.pause("a")
            seen = [manager.get("a").runs, manager.get("bad").failures, manager.status("a")]
            manager.resume("a")
            return seen

    assert anyio.run(once) == [1, 1, "paused"]
    assert anyio.run(once, backend="trio") == [2, 2, "paused"]
    assert anyio.run(once) == [3, 3, "paused"]


def test_code_wins_over_what_is_stored(backend: Backend) -> None:
    async def main() -> None:
        store = MemoryStore()
        old, new = Crew(), Crew()
        async with managed(old.worker("a", 1, every=10, description="old"), store=store) as manager:
            manager.update("a", every=3, retries=7)
            await anyio.sleep(5)
        async with managed(new.worker("a", every=20, description="new"), store=store) as manager:
            await anyio.sleep(41)
            state = manager.get("a")
            assert state.description == "new"
            assert manager._registry.find("a").options.retries != 7
        assert new.starts("a") == [23, 43]
        async with managed(Crew().worker("a"), store=store) as manager:
            assert manager.get("a").next_run is None
            assert manager.get("a").runs > 2

    live(main, backend)


def test_what_the_program_said_before_the_start_holds(backend: Backend) -> None:
    async def main() -> None:
        store = Refusing(
            StoredUnit(name="a", version=5, status="paused", paused=True, enabled=False, runs=10),
            StoredUnit(name="b", version=6, status="completed", runs=20),
            StoredUnit(name="c", version=7, status="completed", runs=30),
        )
        crew = Crew()
        manager = managed(crew.worker("a"), crew.worker("b"), crew.worker("c", 1), store=store)
        manager.disable("a")
        manager.enable("a")
        manager.pause("b")
        await manager.run("c")
        async with manager:
            assert (manager.status("a"), manager.get("a").enabled) == ("idle", True)
            assert manager.status("b") == "paused"
            assert [manager.get(name).runs for name in "abc"] == [10, 20, 31]
            assert (store.row("a").enabled, store.row("b").paused, store.row("c").runs) == (True, True, 31)

    live(main, backend)


def test_a_unit_that_was_running_was_interrupted_and_that_is_told_once(backend: Backend) -> None:
    async def main() -> None:
        store = Refusing(
            StoredUnit(name="a", version=1, status="running", runs=3, last_started=123.0),
            StoredUnit(name="b", version=2, status="running", paused=True, runs=3),
        )
        crew = Crew()
        units = crew.worker("a"), crew.worker("b")
        manager = managed(*units, store=store)
        told = told_by(manager)
        async with manager:
            assert (manager.status("a"), manager.get("a").last_error) == ("error", "Interrupted")
            assert (manager.status("b"), manager.get("b").last_error) == ("paused", "Interrupted")
            assert manager.get("a").runs == 3
        assert told.kinds() == ["ManagerStarted", "UnitInterrupted", "UnitInterrupted", "ManagerStopped"]
        assert [event.started for event in told if isinstance(event, events.UnitInterrupted)] == [123.0, None]
        assert store.row("a").status == "error"
        again = managed(*units, store=store)
        told = told_by(again)
        async with again:
            assert again.status("a") == "error"
            assert await again.run("a") is not None
        assert "UnitInterrupted" not in told.kinds()

    live(main, backend)


def test_a_schedule_goes_on_where_it_was(backend: Backend) -> None:
    async def main() -> None:
        store = MemoryStore()
        lives: list[list[float]] = []
        missed = 0
        for begun, length in ((0, 25), (28, 5), (100, 15), (1000, 1)):
            await anyio.sleep(begun - anyio.current_time())
            crew = Crew()
            units = crew.worker("a", every=10), crew.worker("c", cron="*/5 * * * *")
            async with managed(*units, store=store) as manager:
                await anyio.sleep(length)
                missed = manager.get("a").missed
            lives.append(crew.starts("a"))
        assert lives == [[0, 10, 20], [30], [100, 110], [1000]]
        assert missed == 6 + 88  # of 40 to 100, and of 120 to 1000, one each was started

    live(main, backend)


def test_what_a_late_start_stood_for_is_not_missed_again_after_a_restart(backend: Backend) -> None:
    async def main() -> None:
        store, crew = MemoryStore(), Crew()
        lengths = iter([35.0, 0.0, 0.0])
        worker = crew.worker("a", lambda: next(lengths), every=10)
        for begun, length in ((0, 37), (38, 5)):
            await anyio.sleep(begun - anyio.current_time())
            async with managed(worker, store=store) as manager:
                await anyio.sleep(length)
                assert manager.get("a").missed == 2
        assert crew.starts("a") == [0, 35, 40]

    live(main, backend)


def test_points_that_pass_while_a_unit_is_paused_are_not_missed_after_a_restart(backend: Backend) -> None:
    async def main() -> None:
        store, crew = MemoryStore(), Crew()
        worker = crew.worker("a", every=10)
        async with managed(worker, store=store) as manager:
            await anyio.sleep(5)
            manager.pause("a")
            await anyio.sleep(100)
            manager.resume("a")
        async with managed(worker, store=store) as manager:
            await anyio.sleep(10)
            manager.pause("a")
            assert manager.get("a").missed == 0
        await anyio.sleep(100)
        async with managed(worker, store=store) as manager:
            await anyio.sleep(2)
            manager.resume("a")
            await anyio.sleep(10)
            assert manager.get("a").missed == 0
        assert crew.starts("a") == [0, 110, 220]

    live(main, backend)


def test_max_runs_counts_over_restarts(backend: Backend) -> None:
    async def main() -> None:
        store, starts = MemoryStore(), list[float]()
        for _ in range(4):
            crew = Crew()
            async with managed(crew.worker("a", every=10, max_runs=3), store=store):
                await anyio.sleep(15)
            starts += crew.starts("a")
        assert starts == [0, 10, 20]

    live(main, backend)


def test_a_paused_or_disabled_unit_with_a_schedule_stays_so(backend: Backend) -> None:
    async def main() -> None:
        store, crew = MemoryStore(), Crew()
        units = crew.worker("a", every=10), crew.worker("b", every=10)
        for turn in range(3):
            async with managed(*units, store=store) as manager:
                if turn == 0:
                    await anyio.sleep(1)
                    manager.pause("a")
                    manager.disable("b")
                await anyio.sleep(50)
                assert manager.status("a") == "paused"
        assert len(crew.started) == 2

    live(main, backend)


def test_rows_of_units_that_are_not_registered_are_kept_for_when_they_are(backend: Backend) -> None:
    async def main() -> None:
        store, crew = MemoryStore(), Crew()
        a, b = crew.worker("a"), crew.worker("b")
        async with managed(a, b, store=store) as manager:
            await manager.run("a")
            await manager.run("b")
        async with managed(a, store=store) as manager:
            await manager.run("a")
        async with managed(a, store=store) as manager:
            manager.register(b)
            assert (manager.get("a").runs, manager.get("b").runs) == (2, 1)

    live(main, backend)


def test_a_released_unit_is_forgotten(backend: Backend) -> None:
    async def main() -> None:
        store, crew = MemoryStore(), Crew()
        a = crew.worker("a")
        async with managed(a, store=store) as manager:
            await manager.run("a")
        async with managed(a, store=store) as manager:
            manager.release("a")
            manager.register(a)
            assert (manager.status("a"), manager.get("a").runs) == ("idle", 0)
        async with managed(a, store=store) as manager:
            assert manager.get("a").runs == 0

    live(main, backend)


def test_a_manager_that_starts_again_goes_on_with_what_it_knows(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        manager = managed(crew.worker("a", every=10), crew.worker("b"), store=store)
        async with manager:
            await anyio.sleep(5)
        manager.pause("b")
        async with manager:
            await anyio.sleep(6)
            assert manager.status("b") == "paused"
            assert store.row("b").paused
        assert crew.starts("a") == [0, 10]
        assert manager.get("a").runs == 2

    live(main, backend)


# When something is written


def test_what_is_told_is_in_the_store_by_then(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        seen: list[tuple[str, str, int]] = []

        def look(event: object) -> None:
            if isinstance(event, events.UnitEvent) and not isinstance(event, events.UnitRegistered):
                row = store.row(event.unit)
                seen.append((type(event).__name__, "paused" if row.paused else row.status, row.runs))

        manager = managed(crew.worker("a", 1), crew.worker("bad", 1, Declined()), store=store, subscribers=[look])
        async with manager:
            await manager.run("a")
            with pytest.raises(Declined):
                await manager.run("bad")
            with anyio.move_on_after(0.5):
                await manager.run("a")
            manager.pause("a")
            manager.resume("a")
        assert seen == [
            ("UnitStarted", "running", 1),
            ("UnitCompleted", "completed", 1),
            ("UnitStarted", "running", 1),
            ("UnitFailed", "error", 1),
            ("UnitStarted", "running", 2),
            ("UnitCancelled", "idle", 2),
            ("UnitPaused", "paused", 2),
            ("UnitResumed", "idle", 2),
        ]

    live(main, backend)


def test_a_pause_while_the_end_is_written_is_not_lost(tmp_path: Path) -> None:
    async def main() -> None:
        crew = Crew()
        store = SqliteStore(tmp_path / "state.db")
        manager = Manager(crew.worker("a"), store=store)
        save = store.save

        def save_and_pause(*units: StoredUnit) -> None:
            save(*units)
            if units[0].status == "completed" and not units[0].paused:
                anyio.from_thread.run_sync(manager.pause, "a")

        async with manager:
            patched = pytest.MonkeyPatch()
            patched.setattr(store, "save", save_and_pause)
            await manager.run("a")
            patched.undo()
            assert manager.status("a") == "paused"
            assert store.load()["a"].paused
            assert store.load()["a"].status != "running"

    anyio.run(main)


def test_what_an_operator_does_is_done_and_kept_or_neither(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        units = crew.worker("a", every=10), crew.worker("p"), crew.worker("d"), crew.worker("slow", 30)
        async with managed(*units, store=store) as manager, anyio.create_task_group() as group:
            group.start_soon(manager.run, "slow")
            await anyio.sleep(3)
            manager.pause("p")
            manager.disable("d")
            told = told_by(manager)
            store.refuses = lambda _: True
            before = manager.snapshot().units
            kept = {name: store.row(name) for name in ("a", "p", "d", "slow")}
            calls: list[tuple[Callable[..., Any], tuple[str, ...]]] = [
                (manager.pause, ("a",)),
                (manager.pause, ("slow",)),
                (manager.disable, ("a",)),
                (manager.resume, ("p",)),
                (manager.enable, ("d",)),
                (manager.release, ("a",)),
                (manager.stop_all, ()),
                (manager.start_all, ()),
            ]
            for call, arguments in calls * 2:
                with pytest.raises(errors.StoreUnavailable, match="no space left"):
                    call(*arguments)
                assert manager.snapshot().units == before
            assert told == []
            assert kept == {name: store.row(name) for name in kept}
            store.refuses = lambda _: False
            await anyio.sleep(30)
            assert manager.is_running
        assert crew.starts("a") == [0, 10, 20, 30]
        assert crew.most == 1

    live(main, backend)


def test_a_run_whose_beginning_cannot_be_kept_does_not_happen(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        async with managed(crew.worker("a"), crew.worker("s", every=10), store=store) as manager:
            await anyio.sleep(1)
            store.refuses = lambda _: True
            with pytest.raises(errors.StoreUnavailable):
                await manager.run("a")
            assert crew.starts("a") == []
            assert (manager.status("a"), manager.get("a").last_error) == ("error", "StoreUnavailable")
            await anyio.sleep(10)
            store.refuses = lambda _: False
            assert await manager.run("a") is not None
            await anyio.sleep(10)
        assert crew.starts("s") == [0, 20]

    live(main, backend)


def test_a_success_that_cannot_be_kept_is_not_acknowledged_and_a_failure_is_told_as_itself(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        units = crew.worker("a"), crew.worker("bad", 0, Declined()), crew.worker("slow", 10)
        manager = managed(*units, store=store)
        async with manager:
            store.refuses = lambda units: units[0].status != "running"
            with pytest.raises(errors.StoreUnavailable):
                await manager.run("a")
            with pytest.raises(Declined):
                await manager.run("bad")
            with anyio.move_on_after(1) as scope:
                await manager.run("slow")
            assert scope.cancelled_caught
            assert [manager.status(name) for name in ("a", "bad", "slow")] == ["completed", "error", "idle"]
        assert not manager.is_running

    live(main, backend)


@pytest.mark.parametrize("what", ["open", "load", "save"])
def test_a_store_that_cannot_be_opened_leaves_the_manager_as_it_was(what: str, backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(StoredUnit(name="a", version=1, status="running")), Crew()
        manager = managed(crew.worker("a"), store=store)
        told = told_by(manager)

        def refuse(*_: object) -> None:
            raise errors.DamagedStore("torn", path="here")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(store, what, refuse)
            with pytest.raises(errors.DamagedStore):
                manager.start()
            with pytest.raises(errors.DamagedStore):
                async with manager:
                    pass
        assert not manager.is_running
        assert told == []
        store.open()
        store.close()

    live(main, backend)


def test_two_managers_do_not_share_a_store(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "state.db"
        crew = Crew()
        first, second = Manager(crew.worker("a"), store=SqliteStore(path)), Manager(store=SqliteStore(path))
        async with first:
            with pytest.raises(errors.StoreLocked):
                second.start()
            assert not second.is_running
            assert await first.run("a") is not None
        async with second:
            with pytest.raises(errors.StoreLocked):
                async with first:
                    pass
        async with first:
            assert first.get("a").runs == 1

    anyio.run(main)


def test_a_damaged_file_is_refused_and_left_alone(tmp_path: Path, backend: Backend) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a store at all" * 100)

    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", every=1), store=SqliteStore(path))
        with pytest.raises(errors.StoreError):
            manager.start()
        await anyio.sleep(10)
        assert crew.started == []

    live(main, backend)
    assert path.read_bytes() == b"not a store at all" * 100


def test_times_are_kept_by_the_wall(backend: Backend) -> None:
    async def main() -> None:
        store, crew = Refusing(), Crew()
        await anyio.sleep(500)
        async with managed(crew.worker("a", 3, every=10), store=store):
            await anyio.sleep(5)
            row = store.row("a")
        assert (row.last_started, row.last_ended, row.last_duration) == (EPOCH + 500, EPOCH + 503, 3)
        assert row.position == EPOCH + 500

    live(main, backend)
