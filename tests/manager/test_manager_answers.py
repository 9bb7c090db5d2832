"""What a manager answers whoever asks for a unit by the unit itself, for its last run, or for all of it as JSON."""

from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest

from fusynk import Graph, Manager, compile_plan, milestone, process, run_items, worker
from fusynk.errors import UnknownUnit
from fusynk.manager import Snapshot
from fusynk.manager.events import UnitCompleted, UnitFailed
from fusynk.testing import run_virtual, simulate
from fusynk.testing.virtual import Backend


class Shop:
    """A service with a method that is a unit."""

    def __init__(self, town: str) -> None:
        self.town = town

    @worker
    async def sync(self) -> str:
        if self.town == "Atlantis":
            raise LookupError
        return self.town


def test_a_unit_is_found_by_its_instance_whatever_it_is_called_here(backend: Backend) -> None:
    rome, oslo = Shop("Rome"), Shop("Oslo")
    manager = Manager()
    manager.register(rome.sync, name="south")
    manager.register(oslo.sync, name="north")

    assert (manager.get(rome.sync).name, manager.get(oslo.sync).name) == ("south", "north")
    assert run_virtual(manager.run, oslo.sync, backend=backend) == "Oslo"
    assert (manager.status("south"), manager.status("north")) == ("idle", "completed")
    with pytest.raises(UnknownUnit):
        manager.get(Shop("Paris").sync)


def test_a_unit_that_is_registered_twice_is_asked_for_by_name() -> None:
    rome, manager = Shop("Rome"), Manager()
    manager.register(rome.sync, name="one")
    manager.register(rome.sync, name="two")

    with pytest.raises(UnknownUnit, match="'sync' is registered as 'one' and 'two'; ask by the name"):
        manager.get(rome.sync)


def test_hooks_are_for_the_unit_under_whatever_name_also_if_it_is_registered_later() -> None:
    rome, sunk, manager = Shop("Rome"), Shop("Atlantis"), Manager()
    completed, failed = list[UnitCompleted](), list[UnitFailed]()
    manager.on_complete(completed.append, unit=rome.sync)
    manager.on_error(failed.append, unit=sunk.sync)
    manager.register(rome.sync, name="south")
    manager.register(sunk.sync, name="deep")

    run_virtual(manager.run, "south")
    with pytest.raises(LookupError):
        run_virtual(manager.run, "deep")

    assert ([one.unit for one in completed], [one.unit for one in failed]) == (["south"], ["deep"])


def test_the_last_run_of_a_unit_is_at_hand_however_it_ended(backend: Backend) -> None:
    graph, outcomes = Graph("ends"), [None, LookupError("the reason")]

    @graph.worker(every=10)
    async def checks() -> str:
        error = outcomes.pop(0)
        if error is not None:
            raise error
        return "fine"

    async def main() -> list[Any]:
        seen: list[Any] = []
        async with Manager(checks) as manager:
            seen.append(manager.last_run(checks))
            for _ in range(2):
                await anyio.sleep(9)
                seen.append(manager.last_run(checks))
        return seen

    before, first, second = run_virtual(main, backend=backend)

    assert before is None
    assert (first.ok, first.result) == (True, "fine")
    assert [repr(error) for error in second.failures.values()] == ["LookupError('the reason')"]
    assert "checks" in second.timeline()


def test_a_process_has_a_schedule_like_a_worker(backend: Backend) -> None:
    ran: list[float] = []

    @worker
    async def member() -> None:
        ran.append(anyio.current_time())

    nightly = process("nightly", member, every=10, max_runs=3)

    async def main() -> None:
        async with Manager(nightly) as manager:
            await anyio.sleep(50)
            assert manager.get(nightly).scheduled_runs == 3

    run_virtual(main, backend=backend)

    assert [when - ran[0] for when in ran] == [0, 10, 20]


def test_a_snapshot_is_json_whatever_bodies_report_and_reads_back() -> None:
    async def piece() -> None:
        milestone("opened", file=Path("x"), numbers=[1, 2])
        await anyio.sleep(5)

    async def main() -> Snapshot:
        async with Manager(Shop("Rome").sync, grace=0) as manager:
            manager.pool(1).add("open", piece)
            await anyio.sleep(1)
            return manager.snapshot()
        raise AssertionError

    text = run_virtual(main).to_json()

    assert "<PosixPath>" in text or "<WindowsPath>" in text
    assert msgspec.json.decode(text, type=Snapshot).units["sync"].status == "idle"


def test_the_progress_of_items_is_a_milestone_but_hides_none_of_the_unit_s_own() -> None:
    graph, names = Graph("items"), list[str]()

    async def item(number: int) -> int:
        return number

    @graph.worker
    async def scrape() -> None:
        milestone("begun")
        await run_items(range(3), item)

    manager = Manager(scrape)
    manager.on_milestone(lambda event: names.append(event.name))
    run_virtual(manager.run, "scrape")

    assert names == ["begun", "progress", "progress", "progress"]
    assert manager.get("scrape").last_milestone == "begun"


def test_options_of_attempts_can_be_other_ones_in_a_plan_of_tests() -> None:
    graph, calls = Graph("options"), list[float]()

    @graph.layer(retries=1, retry_delay=60, retry_on=ConnectionError)
    async def fetch() -> None:
        calls.append(anyio.current_time())
        raise ConnectionError

    plan = compile_plan(fetch)
    trace = simulate(plan.override(fetch.with_options(retries=3, retry_delay=1)))

    assert isinstance(trace.error, ConnectionError)
    assert [when - calls[0] for when in calls] == [0, 1, 2, 3]
    calls.clear()
    simulate(plan)
    assert [when - calls[0] for when in calls] == [0, 60]
