"""Any order of all that can be done to a manager, in virtual time, beside a small model of what must come of it."""

import math
import os
import queue
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fusynk import Graph, Manager, errors
from fusynk._runtime.backend import loop_clock
from fusynk.manager import entry as entries
from fusynk.manager.status import TRANSITIONS, changed
from fusynk.manager.store import MemoryStore
from fusynk.testing import run_virtual
from fusynk.testing.virtual import Backend
from tests.manager.crew import EPOCH, Declined, Told

LONG = bool(os.environ.get("FUSYNK_LONG"))
pytestmark = pytest.mark.timeout(0 if LONG else 120)

MOMENT = 1 / 64  # what each step takes, so that all that follows from it has happened
EVERY = 10 + 2**-20  # no sum of moments, so that nothing is due at the end of one
NAMES = ("a", "b", "scheduled")
NAME = st.sampled_from(NAMES)


# The model


@dataclass
class Modelled:
    """A unit. `due` is when it starts next, `tick` the point of its schedule that was last reached."""

    status: str = "idle"
    enabled: bool = True
    pausing: bool = False
    runs: int = 0
    failures: int = 0
    scheduled: int = 0
    missed: int = 0
    every: float | None = None
    tick: float | None = None
    due: float | None = None
    late: int = 0  # points that the next start stands for as well
    is_set: bool = False

    @property
    def is_held(self) -> bool:
        """Whether it is paused, or will be."""
        return self.pausing or self.status == "paused"

    def rest(self) -> None:
        """Forget when it is due, if it may not run."""
        if not self.enabled or self.is_held:
            self.due = None

    def go_on(self, now: float) -> None:
        """Be due at the next point, or at once if there was none yet."""
        self.late = 0
        if self.every is not None and self.enabled and not self.is_held:
            self.tick = None if self.tick is None else self.tick + self.passed(now) * self.every
            self.due = now if self.tick is None else self.tick + self.every
        self.rest()

    def begin_again(self, now: float) -> None:
        """Be due after a restart: at once, if a point has passed meanwhile."""
        passed = self.passed(now)
        if passed and self.tick is not None and self.every is not None and self.enabled and not self.is_held:
            self.late = passed - 1
            self.tick, self.due = self.tick + self.late * self.every, now  # the last point is reached by the start
        else:
            self.go_on(now)

    def passed(self, now: float) -> int:
        """Count the points since the last one."""
        return math.floor((now - self.tick) / self.every) if self.tick is not None and self.every is not None else 0

    def start_on_schedule(self, now: float) -> None:
        """Start, for all points up to now."""
        first = self.tick is None
        passed = self.passed(now)
        self.missed += self.late + max(0, passed - 1)
        self.late = 0
        self.tick = now if first or self.tick is None else self.tick + passed * (self.every or 0)
        self.due = self.tick + (self.every or 0)
        self.scheduled += 1
        self.run()

    def run(self) -> None:
        self.runs += 1
        self.status = "running"

    def end(self, status: str) -> None:
        self.failures += status == "error"
        self.status = "paused" if self.pausing else status
        self.pausing = False
        self.rest()


@dataclass
class Model:
    """A manager and its store."""

    units: dict[str, Modelled] = field(default_factory=dict[str, Modelled])
    stored: dict[str, Modelled] = field(default_factory=dict[str, Modelled])
    known: set[str] = field(default_factory=set[str])
    life: str = "new"  # running, stopped
    now: float = 0.0

    def keep(self, *names: str) -> None:
        """Write units to the store, if it is open."""
        if self.life == "running":
            self.stored |= {name: replace(self.units[name]) for name in names}

    def hydrate(self, name: str) -> None:
        """Let a unit go on where the store, or it itself, left it."""
        unit, row = self.units[name], self.stored.get(name)
        was_running = False
        if name not in self.known and row is not None:
            was_running = row.status == "running"
            unit.runs, unit.failures = row.runs, row.failures
            unit.scheduled, unit.missed = row.scheduled, row.missed
            unit.tick = row.tick if row.every is not None else None
            if not unit.is_set:
                unit.enabled = row.enabled
                unit.status = "paused" if row.is_held else "error" if was_running else row.status
        self.known.add(name)
        unit.begin_again(self.now)
        if was_running or unit.is_set:
            self.keep(name)

    def pass_time(self, seconds: float) -> None:
        """Let what is due start."""
        end = self.now + seconds
        for name, unit in self.units.items():
            if self.life == "running" and unit.due is not None and unit.due <= end and unit.status != "running":
                unit.start_on_schedule(max(unit.due, self.now))
                self.keep(name)
        self.now = end


# What is modelled


class World(threading.Thread):
    """An event loop in virtual time, in a thread of its own, that does one thing after the other as it is told."""

    def __init__(self, backend: Backend) -> None:
        super().__init__(daemon=True)
        self._backend: Backend = backend
        self._calls: queue.SimpleQueue[Callable[[], Awaitable[object]] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[object, BaseException | None]] = queue.SimpleQueue()
        self._is_ready = threading.Event()
        self.start()
        assert self._is_ready.wait(20)

    def wall(self) -> float:
        """A wall clock that goes with the loop, for any thread."""
        return EPOCH + self._clock()

    def run(self) -> None:
        run_virtual(self._live, backend=self._backend)

    async def _live(self) -> None:
        self._clock = loop_clock()
        self._is_ready.set()
        async with anyio.create_task_group() as self.group:
            while (call := self._calls.get()) is not None:  # time stands still meanwhile
                try:
                    self._results.put((await call(), None))
                except BaseException as error:  # noqa: BLE001 - it is raised where the call came from
                    self._results.put((None, error))
            self.group.cancel_scope.cancel()

    def call(self, function: Callable[[], Awaitable[object]]) -> Any:
        """Do something in the loop, and let all happen that follows from it."""

        async def call() -> object:
            try:
                return await function()
            finally:
                await anyio.sleep(MOMENT)

        self._calls.put(call)
        result, error = self._results.get(timeout=20)
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        self._calls.put(None)
        self.join(20)
        assert not self.is_alive()


class ManagerMachine(RuleBasedStateMachine):
    """Does to a manager and to the model what hypothesis thinks of."""

    backend: Backend = "asyncio"

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.world = World(self.backend)
        self.live: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.most = 0
        self.gates: dict[str, anyio.Event] = {}
        self.fails: dict[str, bool] = {}
        self.leave: Any = None
        self.scope: Any = None
        self.runs: Any = None
        self.workers = {name: self.worker(name) for name in NAMES}
        self.make(MemoryStore())

    def worker(self, name: str) -> Any:
        schedule: Any = {"every": EVERY} if name == "scheduled" else {}

        @Graph(name).worker(name=name, **schedule)
        async def body() -> None:
            self.live[name] += 1
            self.most = max(self.most, self.live[name])
            gate = self.gates[name] = anyio.Event()
            try:
                await gate.wait()
                if self.fails[name]:
                    raise Declined
            finally:
                self.live[name] -= 1

        return body

    def make(self, store: MemoryStore) -> None:
        """Make a new manager, of which the store is all that goes on."""
        self.store, self.told = store, Told()
        self.manager = Manager(store=store, wall_clock=self.world.wall, subscribers=[self.told], scan_every=1e6)
        self.model.units, self.model.known, self.model.life = {}, set(), "new"

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a plain method of the manager inside its loop."""

        async def plain() -> object:
            return function(*arguments)

        return self.world.call(plain)

    def teardown(self) -> None:
        if self.model.life == "running":
            self.stop()
        self.world.end()

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.register(name)
        self.start()

    # Units come and go

    @rule(name=NAME)
    def register(self, name: str) -> None:
        if name in self.model.units:
            with pytest.raises(errors.AlreadyRegistered):
                self.call(self.manager.register, self.workers[name])
        else:
            self.call(self.manager.register, self.workers[name])
            self.model.units[name] = Modelled(every=EVERY if name == "scheduled" else None)
            if self.model.life == "running":
                self.model.hydrate(name)
        self.model.pass_time(MOMENT)

    @rule(name=NAME)
    def release(self, name: str) -> None:
        unit = self.model.units.get(name)
        if unit is None:
            self.refuses(errors.UnknownUnit, self.manager.release, name)
        elif unit.status == "running":
            self.refuses(errors.UnitRunning, self.manager.release, name)
        else:
            self.call(self.manager.release, name)
            del self.model.units[name]
            self.model.known.discard(name)
            if self.model.life == "running":
                self.model.stored.pop(name, None)
            self.model.pass_time(MOMENT)

    def refuses(self, kind: type[Exception], function: Callable[..., Any], *arguments: Any) -> None:
        with pytest.raises(kind):
            self.call(function, *arguments)
        self.model.pass_time(MOMENT)

    # What operators do

    @rule(name=NAME, act=st.sampled_from(["pause", "resume", "enable", "disable"]))
    def operate(self, name: str, act: str) -> None:
        unit = self.model.units.get(name)
        if unit is None:
            self.refuses(errors.UnknownUnit, getattr(self.manager, act), name)
            return
        self.call(getattr(self.manager, act), name)
        getattr(self, f"model_{act}")(name, unit)
        self.model.pass_time(MOMENT)

    def model_pause(self, name: str, unit: Modelled) -> None:
        if unit.status != "paused" and not unit.pausing:
            unit.pausing = unit.status == "running"
            unit.status = unit.status if unit.pausing else "paused"
            self.changed(name, unit)

    def model_resume(self, name: str, unit: Modelled) -> None:
        if unit.status == "paused" or unit.pausing:
            unit.status = "idle" if unit.status == "paused" else unit.status
            unit.pausing = False
            unit.go_on(self.model.now)
            self.changed(name, unit)

    def model_enable(self, name: str, unit: Modelled) -> None:
        if not unit.enabled:
            unit.enabled = True
            unit.go_on(self.model.now)
            self.changed(name, unit)

    def model_disable(self, name: str, unit: Modelled) -> None:
        if unit.enabled:
            unit.enabled = False
            self.changed(name, unit)

    def changed(self, name: str, unit: Modelled) -> None:
        unit.is_set = True
        unit.rest()
        self.model.keep(name)

    @rule(act=st.sampled_from(["stop_all", "start_all"]))
    def operate_all(self, act: str) -> None:
        self.call(getattr(self.manager, act))
        for name, unit in self.model.units.items():
            (self.model_pause if act == "stop_all" else self.model_resume)(name, unit)
        self.model.pass_time(MOMENT)

    @precondition(lambda self: "scheduled" in self.model.units and self.model.life == "running")
    @rule(every=st.sampled_from([None, EVERY, 3 * EVERY]))
    def update(self, every: float | None) -> None:
        unit = self.model.units["scheduled"]
        self.call(lambda: self.manager.update("scheduled", every=every))
        if every != unit.every:
            unit.every, unit.due = every, None
            unit.tick = None if every is None else self.model.now
            unit.go_on(self.model.now)
        self.model.pass_time(MOMENT)

    # Units run

    @precondition(lambda self: self.model.life != "new")
    @rule(name=NAME)
    def run(self, name: str) -> None:
        unit = self.model.units.get(name)
        refusal = self.refusal(unit)
        if refusal is not None:

            async def refused() -> None:
                with pytest.raises(refusal):
                    await self.manager.run(name)

            self.world.call(refused)
        elif unit is not None:

            async def run() -> None:
                with suppress(errors.RunCancelled, Declined):
                    await self.manager.run(name)

            self.call(self.runs.start_soon, run)
            unit.run()
            self.model.keep(name)
        self.model.pass_time(MOMENT)

    def refusal(self, unit: Modelled | None) -> type[Exception] | None:
        if unit is None:
            return errors.UnknownUnit
        if self.model.life == "stopped":
            return errors.ManagerStopped
        if not unit.enabled:
            return errors.UnitDisabled
        if unit.status == "paused" or unit.pausing:
            return errors.UnitPaused
        return errors.UnitRunning if unit.status == "running" else None

    @precondition(lambda self: any(unit.status in {"completed", "error"} for unit in self.model.units.values()))
    @rule(draw=st.data())
    def run_again(self, draw: st.DataObject) -> None:
        ended = [name for name, unit in self.model.units.items() if unit.status in {"completed", "error"}]
        if self.model.life != "new":
            self.run(draw.draw(st.sampled_from(ended)))

    @precondition(lambda self: any(self.live.values()))
    @rule(draw=st.data(), how=st.sampled_from(["completed", "error", "idle"]))
    def end_a_run(self, draw: st.DataObject, how: str) -> None:
        name = draw.draw(st.sampled_from([name for name in NAMES if self.live[name]]))
        self.fails[name] = how == "error"
        handle = self.manager._registry.find(name).handle
        self.call(handle.cancel if how == "idle" and handle is not None else self.gates[name].set)
        self.model.units[name].end(how)
        self.model.keep(name)
        self.model.pass_time(MOMENT)

    # The manager itself

    @precondition(lambda self: self.model.life != "running")
    @rule()
    def start(self) -> None:
        async def live() -> None:
            self.leave = leave = anyio.Event()
            self.scope = anyio.CancelScope()
            with self.scope:
                async with self.manager, anyio.create_task_group() as group:
                    self.runs = group
                    await leave.wait()

        self.call(lambda: self.world.group.start_soon(live))
        self.model.life = "running"
        for name in self.model.units:
            self.model.hydrate(name)
        self.model.pass_time(MOMENT)

    @precondition(lambda self: self.model.life == "running")
    @rule()
    def stop(self) -> None:
        async def stop() -> None:
            await self.manager.stop(0)
            self.leave.set()

        self.world.call(stop)
        for name, unit in self.model.units.items():
            if unit.status == "running":
                unit.end("idle")
                self.model.keep(name)
        self.model.life = "stopped"
        self.model.pass_time(MOMENT)

    @rule()
    def crash(self) -> None:
        """Drop the manager as it is, and make another one on the same store."""
        store = MemoryStore()
        store._units.update(self.store._units)
        self.call(self.scope.cancel if self.model.life == "running" else int)
        self.make(store)
        self.model.pass_time(MOMENT)

    @precondition(lambda self: self.model.life == "running")
    @rule()
    def tick(self) -> None:
        """All that is due runs already."""
        assert self.world.call(self.manager.tick) == ()
        self.model.pass_time(MOMENT)

    @rule(seconds=st.sampled_from([1, 6, 13, 47]))
    def wait(self, seconds: int) -> None:
        self.world.call(lambda: anyio.sleep(seconds))
        self.model.pass_time(seconds)
        self.model.pass_time(MOMENT)

    @rule()
    def raise_in_a_subscriber(self) -> None:
        def broken(_: object) -> None:
            raise Declined

        self.call(self.manager.subscribe, broken)
        self.model.pass_time(MOMENT)

    # What always holds

    @invariant()
    def the_manager_is_as_the_model(self) -> None:
        seen = {name: self.manager.get(name) for name in self.manager.units}
        assert {name: (one.status, one.enabled, one.is_pausing) for name, one in seen.items()} == {
            name: (one.status, one.enabled, one.pausing) for name, one in self.model.units.items()
        }
        assert {name: (one.runs, one.failures, one.scheduled_runs, one.missed) for name, one in seen.items()} == {
            name: (one.runs, one.failures, one.scheduled, one.missed) for name, one in self.model.units.items()
        }
        if self.model.life == "running":
            due = {name: one.next_run for name, one in seen.items()}
            assert due == {
                name: None if one.due is None else pytest.approx(EPOCH + one.due, abs=1e-3)
                for name, one in self.model.units.items()
            }
        assert self.manager.is_running == (self.model.life == "running")

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        assert {
            name: (row.status, row.enabled, row.paused, row.runs, row.failures, row.scheduled_runs)
            for name, row in self.store._units.items()
        } == {
            name: (one.status, one.enabled, one.is_held, one.runs, one.failures, one.scheduled)
            for name, one in self.model.stored.items()
        }

    @invariant()
    def no_unit_runs_twice_and_none_without_being_told(self) -> None:
        assert self.most <= 1
        running = {name for name, unit in self.model.units.items() if unit.status == "running"}
        assert {name for name, count in self.live.items() if count} == running
        assert self.told.is_without_a_hole()


STEPS = settings(max_examples=1000 if LONG else 120, stateful_step_count=100 if LONG else 50, deadline=None)


def test_a_manager_does_what_its_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[str, str]] = set()

    def noted(former: Any, status: Any) -> Any:
        seen.add((former, status))
        return changed(former, status)

    monkeypatch.setattr(entries, "changed", noted)
    for backend in ("asyncio", "trio"):
        machine = type(f"ManagerOn{backend.title()}", (ManagerMachine,), {"backend": backend})
        run_state_machine_as_test(machine, settings=STEPS)
    assert seen == {(former, status) for former, following in TRANSITIONS.items() for status in following}
