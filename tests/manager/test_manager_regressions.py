"""Faults of this library's ancestor that concern its manager, and must not come back; one test for each."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from fusynk import Graph, Manager, errors
from fusynk.manager.sqlite import SqliteStore
from fusynk.manager.store import MemoryStore
from fusynk.testing.virtual import Backend
from tests.manager.crew import Crew, Declined, Told, live, managed, told_by
from tests.observing import ROOT


def test_a_timeout_leaves_no_live_copy_of_a_worker(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        worker = crew.worker("slow", 1000, timeout=1, retries=3, retry_delay=0, every=2)
        async with managed(worker) as manager:
            await anyio.sleep(30)
            assert manager.get("slow").failures > 3
        assert crew.most == 1
        assert crew.live == {"slow": 0}

    live(main, backend)


def test_stop_does_not_run_finished_work_again(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        members = [crew.worker(name, 1) for name in "abc"]
        manager = managed(crew.graph.process("group", *members, mode="sequential"), crew.worker("once", every=9999))
        manager.start()
        await manager.run("group")
        await manager.stop()
        await manager.stop()
        await anyio.sleep(80_000)
        assert sorted(name for name, _ in crew.started) == ["a", "b", "c", "once"]

    live(main, backend)


def test_a_raising_subscriber_starves_nobody(backend: Backend) -> None:
    async def main() -> None:
        crew, before, after = Crew(), Told(), Told()

        def raises(_: object) -> None:
            raise Declined

        async with managed(crew.worker("a", every=10), subscribers=[before, raises, after]):
            await anyio.sleep(95)
        assert len(crew.started) == 10
        assert before == after
        assert len(after) == 1 + 1 + 20 + 1

    live(main, backend)


def test_the_watchdog_deletes_nothing_that_never_ran_and_resumes_nothing(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        units = crew.worker("never ran"), crew.worker("paused", every=10), crew.worker("off", every=10)
        manager = managed(*units, stale_after=1, cancel_stale=True, scan_every=1)
        manager.pause("paused")
        manager.disable("off")
        told = told_by(manager)
        async with manager:
            await anyio.sleep(1_000)
            for _ in range(100):
                assert manager.scan() == ()
            assert manager.units == ("never ran", "paused", "off")
            assert manager.status("paused") == "paused"
            with pytest.raises(errors.UnitPaused):
                await manager.run("paused")
        assert crew.started == []
        assert told.kinds() == ["ManagerStarted", "ManagerStopped"]

    live(main, backend)


def test_an_interval_is_not_ignored(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("hourly", every=3600), crew.worker("often", every=30), crew.worker("never")):
            await anyio.sleep(7201)
        assert crew.starts("hourly") == [0, 3600, 7200]
        assert crew.starts("often") == list(range(0, 7201, 30))
        assert crew.starts("never") == []

    live(main, backend)


KEEPER = """
import sys, anyio
from fusynk import Graph, Manager
from fusynk.manager.sqlite import SqliteStore

async def main():
    graph = Graph("counts")

    @graph.worker
    async def count(): ...

    async with Manager(count, store=SqliteStore(sys.argv[1])) as manager:
        while True:
            await manager.run("count")
            print(manager.get("count").runs, flush=True)

anyio.run(main)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal on this platform")
def test_what_was_acknowledged_survives_a_kill_and_the_code_wins(tmp_path: Path) -> None:
    path, said = tmp_path / "state.db", 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", KEEPER, str(path)], stdout=subprocess.PIPE, cwd=ROOT) as keeper:
            assert keeper.stdout is not None
            for _ in range(20):
                said = int(keeper.stdout.readline())
            keeper.kill()
            said = max([said, *map(int, keeper.stdout.read().split(b"\n")[:-1])])
    assert said >= 60

    async def main() -> Any:
        graph = Graph("counts")

        @graph.worker(description="of the code")
        async def count() -> None: ...

        async with Manager(count, store=SqliteStore(path)) as manager:
            return manager.get("count")

    state = anyio.run(main)
    assert said <= state.runs <= said + 1
    assert state.description == "of the code"
    assert state.status in {"completed", "error"}


def test_what_is_stored_does_not_override_the_code(backend: Backend) -> None:
    async def main() -> None:
        store, old, new = MemoryStore(), Crew(), Crew()
        async with managed(old.worker("a", every=5, retries=4), store=store) as manager:
            manager.update("a", every=1)
            await anyio.sleep(3)
        async with managed(new.worker("a", 0, Declined(), every=50), store=store):
            await anyio.sleep(101)
        assert len(new.starts("a")) == 2

    live(main, backend)


@pytest.mark.parametrize("mode", ["parallel", "sequential", "batched", "isolated"])
def test_whoever_runs_a_process_is_told_of_a_failing_worker(mode: Any, backend: Backend) -> None:
    async def main() -> None:
        crew, error = Crew(), Declined()
        group = crew.graph.process("group", crew.worker("a", 1), crew.worker("bad", 1, error), mode=mode)
        manager = managed(group)
        told = told_by(manager)
        with pytest.raises(Declined) as caught:
            await manager.run_process("group")
        assert caught.value is error
        assert manager.status("group") == "error"
        assert told.kinds() == ["UnitStarted", "UnitFailed"]

    live(main, backend)


def test_a_dependency_on_a_misspelt_name_is_refused_and_no_process_completes() -> None:
    graph = Graph("typo")

    @graph.worker
    async def reserve() -> None: ...

    @graph.worker(depends_on="resrve")
    async def pay() -> None: ...

    with pytest.raises(errors.InvalidPlan) as caught:
        Manager(graph.process("order", reserve, pay))
    assert "depends on 'resrve', which nothing declares. Did you mean 'reserve'?" in str(caught.value)
