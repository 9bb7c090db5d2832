"""The Manager in the order of a user's day: register, run, schedule, listen, operate, look, restart."""

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any
from unittest.mock import Mock

import anyio
import msgspec
import pytest

from fusynk import Graph, Manager, compile_plan, current_step, errors, layer, milestone, process, run_of, use, worker
from fusynk.manager import events, stats
from fusynk.manager.snapshot import Snapshot
from fusynk.testing.virtual import Backend
from tests.manager.crew import EPOCH, Crew, Declined, live, managed, told_by
from tests.observing import assert_settled, running_tasks

# Registering


def test_units_are_listed_by_kind_in_order_of_registration() -> None:
    crew = Crew()
    a, b = crew.worker("a"), crew.worker("b")
    both = crew.graph.process("both", a, b)

    @crew.graph.layer
    async def step() -> None: ...

    manager = Manager(both, b)
    manager.register(step)
    manager.register(a, name="other")

    assert manager.units == ("both", "b", "step", "other")
    assert manager.workers == ("b", "other")
    assert manager.processes == ("both",)
    assert manager.get(b).kind == "worker"
    assert manager.get("other").status == manager.status("other") == "idle"
    assert not manager.is_running


def test_a_graph_and_a_module_give_their_workers_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    crew = Crew()
    a = crew.worker("a")
    crew.graph.process("group", a)

    @crew.graph.layer
    async def step() -> None: ...

    module = ModuleType("rota")
    monkeypatch.setitem(sys.modules, "rota", module)
    exec(  # noqa: S102 - a module of its own is what this is about
        "from fusynk import worker, process, layer\n"
        "@worker\nasync def sweep(): ...\n"
        "@process(sweep)\nasync def night(): ...\n"
        "@layer\nasync def step(): ...\n",
        module.__dict__,
    )

    assert Manager(crew.graph).units == ("a", "group")
    assert Manager(module).units == ("sweep", "night")


def test_a_bound_method_is_a_unit(backend: Backend) -> None:
    class Desk:
        def __init__(self, city: str) -> None:
            self.city = city

        @worker
        async def sync(self) -> str:
            return self.city

        @layer
        async def name(self) -> str:
            return self.city.upper()

        @process(sync)
        async def report(self, name: str = use(name)) -> str:
            return name

    async def main() -> None:
        here, there = Desk("here"), Desk("there")
        manager = managed(here.sync, here.report)
        manager.register(there.sync, name="sync there")

        assert await manager.run("sync") == "here"
        assert await manager.run("sync there") == "there"
        assert await manager.run(here.report) == "HERE"

    live(main, backend)


def test_a_name_is_registered_once_unless_it_is_replaced() -> None:
    crew, others = Crew(), Crew()
    manager = Manager(crew.worker("a"))

    with pytest.raises(errors.AlreadyRegistered, match="'a' is registered already; release it first"):
        manager.register(others.worker("a"))
    with pytest.raises(errors.AlreadyRegistered):
        Manager(crew.graph, others.worker("a"))
    assert manager.units == ("a",)

    manager.register(others.worker("a"), replace=True)
    assert manager.units == ("a",)


def test_what_is_replaced_starts_no_more_and_leaves_its_state(backend: Backend) -> None:
    async def main() -> None:
        old, new = Crew(), Crew()
        async with managed(old.worker("a", every=10), new.worker("b")) as manager:
            await anyio.sleep(15)
            manager.register(new.worker("a", every=3), replace=True)
            await anyio.sleep(6.5)
            assert manager.get("a").runs == 5
            manager.pause("a")
            manager.disable("a")
            manager.register(new.worker("a", every=1), replace=True)
            await anyio.sleep(10)
            state = manager.get("a")

        assert old.starts("a") == [0, 10]
        assert new.starts("a")[0] >= 13
        assert (state.status, state.enabled, state.runs) == ("paused", False, 5)

    live(main, backend)


@pytest.mark.parametrize("wrong", [3, None, "name", len, object()])
def test_what_is_no_unit_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.InvalidDeclaration):
        Manager(wrong)


def test_a_unit_that_cannot_be_compiled_is_refused_at_once() -> None:
    graph = Graph("typo")

    @graph.worker
    async def inventory() -> None: ...

    @graph.worker(depends_on="inventry")
    async def pay() -> None: ...

    manager = Manager(inventory)
    with pytest.raises(errors.InvalidPlan) as caught:
        manager.register(pay)
    assert "Did you mean 'inventory'" in str(caught.value)
    assert manager.units == ("inventory",)


def test_a_released_unit_is_unknown_and_starts_no_more(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("probe", every=10)) as manager:
            told = told_by(manager)
            await anyio.sleep(5)
            manager.release("probe")
            await anyio.sleep(50)

            assert crew.starts("probe") == [0]
            assert told.kinds() == ["UnitStarted", "UnitCompleted", "UnitReleased"]
            with pytest.raises(errors.UnknownUnit, match="nothing is"):
                manager.get("probe")
            manager.register(crew.made["probe"])
            assert manager.get("probe").runs == 0

    live(main, backend)


def test_a_running_unit_is_neither_released_nor_replaced_nor_run_again(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("slow", 10))
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run, "slow")
            await anyio.sleep(3)
            before = manager.get("slow")
            with pytest.raises(errors.UnitRunning, match=r"'slow' has been running for 3 s and cannot be released"):
                manager.release("slow")
            with pytest.raises(errors.UnitRunning, match="cannot be replaced"):
                manager.register(crew.made["slow"], replace=True)
            with pytest.raises(errors.UnitRunning):
                await manager.run("slow")
            assert manager.get("slow") == before
        assert manager.get("slow").runs == 1
        manager.release("slow")

    live(main, backend)


# Running


def test_a_run_returns_what_the_plan_returns_and_is_noted(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 2))
        artifact = await manager.run("a")
        state = manager.get("a")

        assert artifact == "a"
        assert (state.status, state.runs, state.failures, state.scheduled_runs) == ("completed", 1, 0, 0)
        assert (state.last_started, state.last_ended, state.last_duration) == (EPOCH, EPOCH + 2, 2)
        assert (state.last_error, state.run_id, state.running_for) == (None, None, None)

    live(main, backend)


def test_a_state_says_what_runs_now(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 2, description="counts", tags=("x",)))
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run, "a")
            await anyio.sleep(1.5)
            state = manager.get("a")
            assert (state.status, state.running_for) == ("running", 1.5)
            assert (state.description, state.tags) == ("counts", ("x",))
            assert len(state.run_id or "") == 16

    live(main, backend)


def test_the_caller_gets_the_bodys_own_error(backend: Backend) -> None:
    async def main() -> None:
        crew, error = Crew(), Declined("no funds")
        manager = managed(crew.worker("pay", 1, error, retries=2, retry_delay=0))
        with pytest.raises(Declined) as caught:
            await manager.run("pay")

        assert caught.value is error
        assert len(crew.starts("pay")) == 3
        state = manager.get("pay")
        assert (state.status, state.failures, state.last_error) == ("error", 1, "Declined")
        failed = run_of(error)
        assert failed is not None
        assert failed.status == "failed"

    live(main, backend)


def test_a_failure_that_is_tolerated_is_an_error_all_the_same(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 0, Declined(), on_error="continue"))
        with pytest.raises(errors.ArtifactUnavailable) as raised:
            await manager.run("a")
        assert isinstance(raised.value.__cause__, Declined)
        assert manager.status("a") == "error"

    live(main, backend)


def test_inputs_are_given_by_name_or_as_an_instance(backend: Backend) -> None:
    graph = Graph("inputs")

    @graph.worker
    async def greet(name: str, greeting: str = "Hello") -> str:
        return f"{greeting} {name}"

    async def main() -> None:
        manager = managed(greet)
        assert await manager.run(greet, name="Ada") == "Hello Ada"
        assert await manager.run_worker("greet", name="Ada", greeting="Ciao") == "Ciao Ada"
        for wrong in ({}, {"nam": "Ada"}):
            with pytest.raises(errors.InvalidInputs, match="name"):
                await manager.run("greet", **wrong)
        state = manager.get("greet")
        assert (state.status, state.runs) == ("completed", 2)

    live(main, backend)


def test_a_unit_that_needs_inputs_takes_no_schedule() -> None:
    graph = Graph("inputs")

    @graph.worker(every=5)
    async def scheduled(name: str) -> None: ...

    @graph.worker
    async def greet(name: str) -> None: ...

    manager = Manager(greet)
    with pytest.raises(errors.InvalidOption, match="'scheduled' has a schedule, but needs 'name'"):
        manager.register(scheduled)
    with pytest.raises(errors.InvalidOption, match="'greet' has a schedule, but needs 'name'"):
        manager.update("greet", every=5)
    assert manager.units == ("greet",)
    assert manager._registry.find("greet").schedule is None


def test_workers_and_processes_are_run_by_kind(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        a = crew.worker("a")
        manager = managed(a, crew.graph.process("group", a))
        assert await manager.run_worker("a") == "a"
        assert await manager.run_process("group") == {"a": "a"}
        with pytest.raises(errors.UnknownUnit, match="'group' is no worker but a process"):
            await manager.run_worker("group")
        with pytest.raises(errors.UnknownUnit, match="'a' is no process but a worker"):
            await manager.run_process("a")

    live(main, backend)


def test_different_units_run_side_by_side(backend: Backend) -> None:
    async def main() -> float:
        crew = Crew()
        manager = managed(*(crew.worker(name, 5) for name in "abc"))
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(manager.run, name)
        return anyio.current_time()

    assert live(main, backend) == 5


def test_a_body_may_run_another_unit(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("inner", 3))

        @crew.graph.worker
        async def outer() -> object:
            return await manager.run("inner")

        manager.register(outer)
        assert await manager.run("outer") == "inner"

        @crew.graph.worker
        async def itself() -> None:
            await manager.run("itself")

        manager.register(itself)
        with pytest.raises(errors.UnitRunning):
            await manager.run("itself")
        assert manager.status("itself") == "error"

    live(main, backend)


def test_a_cancelled_call_leaves_the_unit_idle(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 10))
        told = told_by(manager)
        with anyio.move_on_after(3) as scope:
            await manager.run("a")
        assert scope.cancelled_caught
        assert manager.status("a") == "idle"
        assert told.kinds() == ["UnitStarted", "UnitCancelled"]
        assert await manager.run("a") is not None

    live(main, backend)


def test_a_run_that_a_body_cancelled_by_its_handle_is_a_failure_of_the_body(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        inner = compile_plan(crew.worker("inner", 10))

        @crew.graph.worker
        async def outer() -> None:
            async with inner.start() as handle:
                handle.cancel()
                await handle.wait()

        manager = managed(outer)
        with pytest.raises(errors.RunCancelled):
            await manager.run("outer")
        assert manager.status("outer") == "error"

    live(main, backend)


def test_plan_options_hold_for_all_units(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 1, Declined()), options={"retries": 2, "retry_delay": 0, "deadline": 2.5})
        with pytest.raises(errors.DeadlineExceeded):
            await manager.run("a")
        assert crew.starts("a") == [0, 1, 2]
        assert manager.status("a") == "error"

    live(main, backend)


# Processes


@pytest.mark.parametrize(
    ("mode", "starts"),
    [
        ("parallel", {"a": 0, "b": 0, "c": 0}),
        ("sequential", {"a": 0, "b": 2, "c": 4}),
        ("batched", {"a": 0, "b": 0, "c": 2}),
        ("isolated", {"a": 0, "b": 3, "c": 6}),
    ],
)
def test_a_process_runs_in_its_mode_and_a_failed_worker_fails_it(
    mode: Any, starts: dict[str, float], backend: Backend
) -> None:
    async def main() -> None:
        crew = Crew()
        members = [crew.worker(name, 2) for name in "abc"]
        fails = crew.worker("fails", 1, Declined())
        manager = managed(
            crew.graph.process("fine", *members, mode=mode, size=2, delay=1),
            crew.graph.process("broken", fails, *members, mode=mode, size=2, delay=1),
        )
        artifact = await manager.run("fine")
        assert dict(crew.started) == starts
        assert artifact == {"a": "a", "b": "b", "c": "c"}
        with pytest.raises(Declined):
            await manager.run_process("broken")
        assert manager.status("broken") == "error"
        assert manager.status("fine") == "completed"

    live(main, backend)


def test_processes_nest_and_keep_the_options_of_their_workers(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        flaky = crew.worker("flaky", 1, Declined(), retries=1, retry_delay=0, on_error="continue")
        inner = crew.graph.process("inner", flaky, crew.worker("b", 1), mode="sequential", on_error="continue")
        last = crew.worker("last", 1, depends_on=[inner])
        manager = managed(crew.graph.process("outer", inner, last, mode="parallel", on_error="continue"))
        told = told_by(manager)
        with pytest.raises(errors.ArtifactUnavailable):
            await manager.run("outer")
        assert crew.starts("flaky") == [0, 1]
        assert crew.starts("b") == [2]
        assert told.kinds() == ["UnitStarted", "UnitFailed"]

    live(main, backend)


# Life


def test_a_scheduled_unit_begins_with_the_manager_and_ends_with_it(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("probe", every=10))
        told = told_by(manager)
        async with manager as entered:
            assert entered is manager
            assert manager.is_running
            await anyio.sleep(25)
        assert not manager.is_running
        await assert_settled(before)
        await anyio.sleep(100)

        assert crew.starts("probe") == [0, 10, 20]
        assert manager.get("probe").scheduled_runs == 3
        assert told.kinds() == ["ManagerStarted", *["UnitStarted", "UnitCompleted"] * 3, "ManagerStopped"]

    live(main, backend)


def test_start_and_stop_are_plain_calls_that_may_be_repeated(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        manager = managed(crew.worker("probe", every=10))
        for begun in (0, 100, 200):
            await anyio.sleep(begun - anyio.current_time())
            manager.start()
            manager.start()
            await anyio.sleep(15)
            await manager.stop()
            assert running_tasks() <= before
            await manager.stop()
        assert crew.starts("probe") == [0, 10, 100, 110, 200, 210]
        with pytest.raises(errors.ManagerStopped, match="'probe' was not run: the manager has been stopped"):
            await manager.run("probe")
        with pytest.raises(errors.ManagerStopped):
            await manager.tick()

    live(main, backend)


def test_a_manager_that_is_stopped_and_started_at_once_has_one_loop(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("probe", every=10))
        for _ in range(5):
            manager.start()
            await manager.stop()
        manager.start()
        await anyio.sleep(25)
        await manager.stop()
        assert crew.starts("probe") == [0, 10, 20]

    live(main, backend)


def test_start_needs_a_loop_and_a_manager_is_entered_once(backend: Backend) -> None:
    manager = Manager(Crew().worker("a"))
    with pytest.raises(RuntimeError):
        manager.start()
    assert not manager.is_running

    async def main() -> None:
        async with manager:
            with pytest.raises(errors.ManagerError, match="runs already"):
                async with manager:
                    pass
            assert manager.is_running

    live(main, backend)


def test_a_manager_made_before_any_loop_lives_in_one_after_the_other() -> None:
    crew = Crew()
    manager = Manager(crew.worker("probe", every=10), crew.worker("other"))
    manager.pause("other")
    lives: list[list[float]] = []

    async def main() -> None:
        crew.started.clear()
        await anyio.sleep(3)
        async with manager:
            await anyio.sleep(24)
        lives.append([start for start in crew.starts("probe") if start >= 3])

    for backend in ("asyncio", "trio", "asyncio"):
        live(main, backend)
    assert [[round(start) for start in one] for one in lives] == [[3, 13, 23], [9, 19], [5, 15, 25]]
    assert manager.status("other") == "paused"
    assert manager.get("probe").runs == 8


async def test_a_manager_lives_in_real_time() -> None:
    crew = Crew()
    done = anyio.Event()

    @crew.graph.worker(every=0.01, max_runs=3)
    def count() -> int:
        return threading.get_ident()

    async with Manager(count) as manager:
        _ = manager.subscribe(lambda _: done.set(), events.ScheduleEnded)
        await done.wait()
    assert manager.get("count").runs == 3


def test_a_paused_or_disabled_unit_stays_so_when_the_manager_starts(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", every=5), crew.worker("b", every=5))
        manager.pause("a")
        manager.disable("b")
        for _ in range(2):
            async with manager:
                await anyio.sleep(20)
                assert manager.get("a").next_run is None
        assert crew.started == []
        assert manager.status("a") == "paused"
        assert not manager.get("b").enabled

    live(main, backend)


def test_a_run_that_goes_on_as_the_manager_starts_ends_in_it(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 10, every=4))
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run, "a")
            await anyio.sleep(1)
            async with manager:
                await anyio.sleep(30)
        assert crew.most == 1
        assert crew.starts("a")[:2] == [0, 10]

    live(main, backend)


def test_tick_runs_what_is_due_without_a_loop(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 2, every=10), crew.worker("b", every=30), crew.worker("c"))
        ticks: list[tuple[float, tuple[str, ...]]] = []
        for _ in range(5):
            ticks.append((anyio.current_time(), await manager.tick()))
            await anyio.sleep(8)
        assert ticks == [(0, ("a", "b")), (10, ("a",)), (20, ("a",)), (30, ("b", "a")), (40, ("a",))]

    live(main, backend)


def test_a_tick_lets_nothing_be_due_that_is_about_to_be_paused(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 5, every=10))
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run, "a")
            await anyio.sleep(1)
            manager.pause("a")
            assert await manager.tick() == ()
            assert manager.get("a").next_run is None
        assert manager.status("a") == "paused"
        assert await manager.tick() == ()
        manager.resume("a")
        assert await manager.tick() == ("a",)
        assert crew.starts("a") == [0, 5]

    live(main, backend)


def test_a_unit_registered_later_begins_at_once(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed() as manager:
            told = told_by(manager)
            await anyio.sleep(7)
            manager.register(crew.worker("late", every=10))
            await anyio.sleep(11)
        assert crew.starts("late") == [7, 17]
        assert told.of("late")[0] == "UnitRegistered"

    live(main, backend)


# What operators do


def test_a_paused_unit_refuses_until_it_is_resumed(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a"))
        told = told_by(manager)
        for _ in range(2):
            manager.pause("a")
        with pytest.raises(errors.UnitPaused, match=r"call resume\('a'\) first"):
            await manager.run("a")
        for _ in range(2):
            manager.resume("a")
        assert manager.status("a") == "idle"
        assert await manager.run("a") is not None
        assert told.of("a") == ["UnitPaused", "UnitResumed", "UnitStarted", "UnitCompleted"]

    live(main, backend)


def test_pausing_a_running_unit_lets_its_run_end(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 10))
        told = told_by(manager)
        async with anyio.create_task_group() as group:
            group.start_soon(manager.run, "a")
            await anyio.sleep(1)
            manager.pause("a")
            assert manager.get("a").is_pausing
            assert manager.status("a") == "running"
            manager.resume("a")
            assert not manager.get("a").is_pausing
            manager.pause("a")
            manager.update("a", every=5)
            manager.disable("a")
            manager.enable("a")
            assert manager.get("a").next_run is None
        assert manager.status("a") == "paused"
        assert told.of("a") == [
            *["UnitStarted", "UnitResumed", "UnitUpdated", "UnitDisabled", "UnitEnabled"],
            *["UnitCompleted", "UnitPaused"],
        ]

    live(main, backend)


def test_a_disabled_unit_refuses_until_it_is_enabled(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", 3, every=10)) as manager:
            told = told_by(manager)
            await anyio.sleep(1)
            for _ in range(2):
                manager.disable("a")
            await anyio.sleep(30)
            with pytest.raises(errors.UnitDisabled, match=r"call enable\('a'\) first"):
                await manager.run("a")
            for _ in range(2):
                manager.enable("a")
            await anyio.sleep(10)
        assert crew.starts("a") == [0, 40]
        assert crew.ended[0] == ("a", 3)
        assert told.of("a")[:4] == ["UnitStarted", "UnitDisabled", "UnitCompleted", "UnitEnabled"]

    live(main, backend)


def test_all_units_are_paused_and_resumed_at_once(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", 5, every=10), crew.worker("b"), crew.worker("c")) as manager:
            await anyio.sleep(1)
            manager.pause("c")
            manager.disable("b")
            manager.stop_all()
            assert [manager.status(name) for name in "abc"] == ["running", "paused", "paused"]
            await anyio.sleep(30)
            assert manager.status("a") == "paused"
            manager.start_all()
            await anyio.sleep(10)
            assert [manager.status(name) for name in "abc"] == ["running", "idle", "idle"]
            assert not manager.get("b").enabled
        assert crew.starts("a") == [0, 40]

    live(main, backend)


def test_options_are_updated_for_the_next_runs_and_add_up(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 1, Declined()))
        told = told_by(manager)
        manager.update("a", retries=2)
        manager.update("a", retry_delay=5)
        manager.update("a")
        with pytest.raises(Declined):
            await manager.run("a")
        assert crew.starts("a") == [0, 6, 12]
        manager.update("a", timeout=0.5, retries=0)
        with pytest.raises(errors.LayerTimeout):
            await manager.run("a")
        options = [event.options for event in told if isinstance(event, events.UnitUpdated)]
        assert options == [("retries",), ("retry_delay",), ("timeout", "retries")]

    live(main, backend)


def test_the_options_of_a_bound_method_are_updated(backend: Backend) -> None:
    class Desk:
        calls = 0

        @worker
        async def sync(self) -> None:
            self.calls += 1
            raise Declined

    async def main() -> None:
        desk = Desk()
        manager = managed()
        manager.register(desk.sync, name="desk")
        manager.update("desk", retries=2, retry_delay=0)
        with pytest.raises(Declined):
            await manager.run("desk")
        assert desk.calls == 3

    live(main, backend)


WRONG_UPDATES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"evry": 5}, errors.UnknownOption, "Did you mean 'every'"),
    ({"name": "b"}, errors.UnknownOption, "'name'"),
    ({"depends_on": ()}, errors.UnknownOption, "'depends_on'"),
    ({"every": -1}, errors.InvalidOption, "every=-1"),
    ({"every": 0}, errors.InvalidOption, "every=0"),
    ({"every": float("nan")}, errors.InvalidOption, "every=nan"),
    ({"every": "5"}, errors.InvalidOption, "every='5'"),
    ({"cron": "61 * * * *"}, errors.InvalidOption, "61"),
    ({"cron": "nonsense"}, errors.InvalidOption, "nonsense"),
    ({"cron": "* * * * *", "timezone": "Europe/Berln"}, errors.InvalidOption, "Europe/Berlin"),
    ({"cron": "* * * * *", "every": 5}, errors.InvalidOption, "two schedules"),
    ({"jitter": 50}, errors.InvalidOption, "jitter=50"),
    ({"max_runs": 0}, errors.InvalidOption, "max_runs=0"),
    ({"heartbeat": -1}, errors.InvalidOption, "heartbeat=-1"),
    ({"retries": -1}, errors.InvalidOption, "retries=-1"),
    ({"retries": 1, "timeout": 0}, errors.InvalidOption, "timeout=0"),
    ({"retries": 1, "every": -1}, errors.InvalidOption, "every=-1"),
]


@pytest.mark.parametrize(("wrong", "kind", "told"), WRONG_UPDATES, ids=lambda value: str(value)[:40])
def test_a_wrong_update_changes_nothing(wrong: Any, kind: type[Exception], told: str, backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("a", every=10)) as manager:
            await anyio.sleep(1)
            entry = manager._registry.find("a")
            before = (entry.options, entry.plan, entry.schedule, entry.due, manager.get("a"))
            with pytest.raises(kind, match=told):
                manager.update("a", **wrong)
            assert before == (entry.options, entry.plan, entry.schedule, entry.due, manager.get("a"))

    live(main, backend)


WRONG_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"grase": 1}, errors.UnknownOption, "Did you mean 'grace'"),
    ({"grace": -1}, errors.InvalidOption, "grace=-1"),
    ({"grace": "5"}, errors.InvalidOption, "grace='5'"),
    ({"scan_every": 0}, errors.InvalidOption, "scan_every=0"),
    ({"stale_after": 0}, errors.InvalidOption, "stale_after=0"),
    ({"unpause_after": -1}, errors.InvalidOption, "unpause_after=-1"),
    ({"stats_every": 0}, errors.InvalidOption, "stats_every=0"),
    ({"timezone": "Europe/Berln"}, errors.InvalidOption, "Did you mean 'Europe/Berlin'"),
    ({"options": {"retris": 1}}, errors.UnknownOption, "Did you mean 'retries'"),
    ({"options": {"retries": -1}}, errors.InvalidOption, "retries=-1"),
    ({"subscribers": [3]}, errors.InvalidDeclaration, "not 3"),
]


@pytest.mark.parametrize(("wrong", "kind", "told"), WRONG_OPTIONS, ids=lambda value: str(value)[:40])
def test_a_wrong_option_of_a_manager_is_named(wrong: Any, kind: type[Exception], told: str) -> None:
    with pytest.raises(kind, match=told):
        Manager(**wrong)


def test_unknown_names_are_named_with_what_is_near(backend: Backend) -> None:
    async def main() -> None:
        crew, others = Crew(), Crew()
        manager = managed(crew.worker("inventory"), crew.worker("pay"))
        near = "No unit 'inventry' is registered. Did you mean 'inventory'"
        calls: list[Any] = [manager.get, manager.status, manager.release, manager.enable, manager.disable]
        for call in [*calls, manager.pause, manager.resume, manager.update]:
            with pytest.raises(errors.UnknownUnit, match=near):
                call("inventry")
        for run in (manager.run, manager.run_worker, manager.run_process):
            with pytest.raises(errors.UnknownUnit, match=near):
                await run("inventry")
        with pytest.raises(errors.UnknownUnit, match="There are: inventory, pay"):
            manager.get("zzz")
        with pytest.raises(errors.UnknownUnit, match="another unit of that name"):
            manager.get(others.worker("pay"))
        with pytest.raises(errors.UnknownUnit):
            manager.get(3)
        for wrong in (-1, float("nan"), "5"):
            with pytest.raises(errors.InvalidOption, match="grace"):
                await manager.stop(wrong)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    live(main, backend)


# Listening


def test_hooks_are_called_for_all_units_or_one(backend: Backend) -> None:
    async def main() -> None:
        crew, called = Crew(), list[str]()
        good, bad = crew.worker("good"), crew.worker("bad", 0, Declined())
        manager = managed(good, bad)
        ends = [
            manager.on_start(lambda event: called.append(f"start {event.unit}")),
            manager.on_start(lambda event: called.append(f"one {event.unit}"), unit=good),
            manager.on_complete(lambda event: called.append(f"complete {event.unit}")),
            manager.on_error(lambda event: called.append(f"error {event.unit} {event.error}"), unit="bad"),
            manager.on_error(lambda event: called.append(f"never {event.unit}"), unit="good"),
        ]
        await manager.run("good")
        with pytest.raises(Declined):
            await manager.run("bad")
        for end in ends:
            end()
            end()
        await manager.run("good")
        assert called == ["start good", "one good", "complete good", "start bad", "error bad Declined"]

    live(main, backend)


def test_milestones_of_bodies_and_of_the_program_are_told(backend: Backend) -> None:
    async def main() -> None:
        crew, called = Crew(), list[object]()

        @crew.graph.worker
        async def scrape() -> None:
            milestone("page", number=1)
            milestone("other")

        manager = managed(scrape)
        _ = manager.on_milestone(lambda event: called.append((event.name, dict(event.values), event.unit, event.step)))
        _ = manager.on_milestone(lambda event: called.append(event.name), unit="scrape", name="page")
        await manager.run("scrape")
        manager.emit_milestone("deployed", version=3)

        assert called == [
            ("page", {"number": 1}, "scrape", "scrape"),
            "page",
            ("other", {}, "scrape", "scrape"),
            ("deployed", {"version": 3}, None, None),
        ]
        assert manager.get("scrape").last_milestone == "other"

    live(main, backend)


def test_a_milestone_of_a_member_names_unit_and_step(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()

        @crew.graph.worker
        async def member() -> None:
            milestone("half", run_id=current_step().run_id)

        manager = managed()
        manager.register(crew.graph.process("group", member), name="nightly")
        told = told_by(manager)
        await manager.run("nightly")
        run = manager.last_run("nightly")
        assert run is not None
        (reached,) = [event for event in told if isinstance(event, events.MilestoneReached)]
        assert (reached.unit, reached.step, reached.values) == ("nightly", "member", {"run_id": run.id})

    live(main, backend)


# Looking


def test_a_snapshot_is_a_copy_that_goes_to_json_and_back(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        async with managed(crew.worker("b", every=10), crew.worker("a", 0, Declined())) as manager:
            with pytest.raises(Declined):
                await manager.run("a")
            await anyio.sleep(4)
            seen = manager.snapshot()
            text = seen.to_json()
            assert msgspec.json.decode(text, type=Snapshot) == seen
            await manager.run("b")

            assert list(seen.units) == ["b", "a"]
            assert (seen.units["b"].runs, manager.get("b").runs) == (1, 2)
            assert seen.units["b"].next_run == EPOCH + 10
            assert (seen.time, seen.is_running) == (EPOCH + 4, True)
            assert seen.stats.by_status == {"idle": 0, "running": 0, "paused": 0, "completed": 1, "error": 1}
            assert (seen.stats.runs, seen.stats.failures, seen.stats.units, seen.stats.uptime) == (2, 1, 2, 4)
            with pytest.raises(AttributeError):
                seen.units["b"].runs = 7  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]

    live(main, backend)


@pytest.mark.parametrize("has_psutil", [True, False])
def test_stats_need_no_psutil(has_psutil: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if has_psutil and importlib.util.find_spec("psutil") is None:
        psutil = Mock()
        psutil.Process().memory_info().rss = 4096
        monkeypatch.setattr(stats, "import_module", Mock(return_value=psutil))
        monkeypatch.setattr(stats, "find_spec", Mock(return_value=object()))
    elif not has_psutil:
        monkeypatch.setattr(stats, "find_spec", Mock(return_value=None))
    manager = Manager(Crew().worker("a"))

    first = manager.stats()
    second = manager.stats()

    assert first.cpu is None
    assert second.cpu is not None
    assert second.cpu >= 0
    assert second.cpu_time >= first.cpu_time > 0
    assert second.memory is not None
    assert second.memory > 1000
    assert second.threads >= 1
    assert (second.units, second.runs, second.uptime) == (1, 0, 0)


def test_stats_are_told_from_time_to_time(backend: Backend) -> None:
    async def main() -> None:
        manager = managed(stats_every=10)
        told = told_by(manager)
        async with manager:
            await anyio.sleep(35)
        taken = [event.stats.uptime for event in told if isinstance(event, events.StatsTaken)]
        assert taken == [10, 20, 30]

    live(main, backend)


def test_a_pool_takes_work_as_soon_as_its_manager_was_started(backend: Backend) -> None:
    async def main() -> None:
        crew, before = Crew(), running_tasks()
        plan = compile_plan(crew.worker("a", 3))
        manager = managed()
        with pytest.raises(errors.ManagerStopped, match="start it first"):
            manager.pool(1, name="early").add("a", plan.run)
        manager.start()
        pool = manager.pool(1)
        pool.add("a", plan.run)
        await anyio.sleep(5)
        await manager.stop()
        assert crew.ended == [("a", 3)]
        await assert_settled(before)
        with pytest.raises(errors.ManagerStopped, match="start it first"):
            manager.pool(1, name="late").add("a", plan.run)

    live(main, backend)
