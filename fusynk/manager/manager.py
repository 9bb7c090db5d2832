"""`Manager`: runs workers and processes on demand and on schedules, for as long as a service lives."""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from anyio import create_task_group
from typing_extensions import Unpack

from fusynk._core.markers import Artifact
from fusynk._core.model import UNSET
from fusynk.manager.clocks import LoopClock
from fusynk.manager.companions import companions_of
from fusynk.manager.control import Control
from fusynk.manager.engine import Engine
from fusynk.manager.entry import Entry, UnitState
from fusynk.manager.events import Stats
from fusynk.manager.keeper import Keeper
from fusynk.manager.life import Life
from fusynk.manager.observable import Observable
from fusynk.manager.pool import Pool
from fusynk.manager.pools import Pools
from fusynk.manager.registry import Registry, units_of
from fusynk.manager.runs import Runs
from fusynk.manager.settings import ManagerOptions, Policy, manager_settings
from fusynk.manager.snapshot import Snapshot, stats_of
from fusynk.manager.stats import Meter
from fusynk.manager.status import UnitStatus
from fusynk.manager.timetable import Timetable
from fusynk.manager.watchdog import Stale, Watchdog
from fusynk.run import Run

A = TypeVar("A")


class Manager(Observable):
    """Runs registered units on demand and on their schedules, one run of a unit at a time, and tells what happens.

    Use it as `async with Manager(...) as manager:`, or call `start()` and `await stop()`. It may be made before there
    is an event loop, and started again after it was stopped.

    Args:
        units: Workers, processes and layers; of a graph or a module, all its workers and processes.
        given: See `ManagerOptions`.

    Raises:
        AlreadyRegistered: Two units have one name.
        InvalidDeclaration: It is no unit.
        InvalidPlan: A unit cannot be compiled.
        InvalidOption: An option has a value it cannot have.
    """

    def __init__(self, *units: object, **given: Unpack[ManagerOptions]) -> None:
        settings = self._settings = manager_settings(given)
        draw = Random(settings.seed).random  # noqa: S311 - for jitter, not for secrets
        self._clock = LoopClock()
        self._meter = Meter()
        self._registry = Registry(settings.timezone, settings.options)
        super().__init__(settings.wall_clock, self._registry.is_name_of)
        self._timetable = Timetable(self._clock, settings.wall_clock, draw)
        self._keeper = Keeper(settings.store, self._timetable, self._listeners)
        self._runs = Runs(self._listeners, self._timetable, self._keeper, self._clock, settings.wall_clock)
        self._engine = Engine(self._registry, self._timetable, self._runs, self._clock)
        self._pools = Pools(self._engine.spawn, self._listeners.tell)
        self._control = Control(
            registry=self._registry,
            timetable=self._timetable,
            keeper=self._keeper,
            listeners=self._listeners,
            clock=self._clock,
            look_again=self._engine.look_again,
        )
        self._watchdog = Watchdog(settings, self._clock, self._listeners, self._control)
        self._life = Life(
            registry=self._registry,
            keeper=self._keeper,
            runs=self._runs,
            engine=self._engine,
            pools=self._pools,
            listeners=self._listeners,
            clock=self._clock,
            grace=settings.grace,
            beside=partial(
                companions_of, settings, self._listeners, scan=self.scan, stats=self.stats, snapshot=self.snapshot
            ),
        )
        for subscriber in settings.subscribers:
            self._listeners.subscribe(subscriber)
        for unit in chain.from_iterable(map(units_of, units)):
            self.register(unit)

    # Life

    async def __aenter__(self) -> Self:
        """Start, in a task group of its own."""
        self._meter.read()
        await self._life.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop with the grace that was given to the manager."""
        await self._life.leave()

    def start(self) -> None:
        """Keep schedules from now on, in the background of the running event loop. Nothing happens if it does already.

        Trio has no place for what is no ordinary error of a scheduled body, such as `SystemExit`: `stop()` raises it.

        Raises:
            RuntimeError: No event loop runs here.
            StoreError: The store cannot be opened.
        """
        self._meter.read()
        self._life.start()

    async def stop(self, grace: float | None = None) -> None:
        """Start nothing more, let what is running end within the grace, and cancel the rest. Nothing is run again.

        Called inside a body or a piece of a pool, it waits for nothing, as it cannot wait for that: it begins to stop.

        A thread that does not end after that is left behind, counted and named in its run; an async body that refuses
        to be cancelled is waited for. Nothing happens if the manager does not run. `start()` makes it run again.

        Args:
            grace: Seconds; left out, those of the manager.

        Raises:
            InvalidOption: `grace` is no number of seconds from 0 up.
        """
        await self._life.stop(grace)

    @property
    def is_running(self) -> bool:
        """Whether schedules are kept."""
        return self._life.started is not None

    # Units

    def register(self, unit: object, *, name: str | None = None, replace: bool = False) -> None:
        """Register a unit. Its schedule begins at once if the manager runs.

        Args:
            unit: A worker, a process or a layer; also one seen through an instance, as in `service.sync`.
            name: What to call it here, if not by its own name.
            replace: Whether it may take the place of another one of that name, which does not run now.

        Raises:
            AlreadyRegistered: The name is taken.
            UnitRunning: What it replaces is running.
            InvalidDeclaration: It is no unit.
            InvalidPlan: It cannot be compiled.
            InvalidOption: Its schedule cannot be kept.
        """
        self._control.register(unit, name, replaces=replace, is_live=self.is_running)

    def release(self, unit: object) -> None:
        """Register a unit no longer.

        Raises:
            UnknownUnit: It is not registered.
            UnitRunning: It is running; wait until that has ended.
        """
        self._control.release(self._registry.find(unit))

    def get(self, unit: object) -> UnitState:
        """Return what is to be said of a unit now.

        Raises:
            UnknownUnit: It is not registered.
        """
        return self._registry.find(unit).seen(self._clock(), self._settings.wall_clock())

    def status(self, unit: object) -> UnitStatus:
        """Return what a unit does.

        Raises:
            UnknownUnit: It is not registered.
        """
        return self._registry.find(unit).status

    @property
    def units(self) -> tuple[str, ...]:
        """The names of all units, in order of registration."""
        return self._registry.names()

    @property
    def workers(self) -> tuple[str, ...]:
        """The names of the workers."""
        return self._registry.names("worker")

    @property
    def processes(self) -> tuple[str, ...]:
        """The names of the processes."""
        return self._registry.names("process")

    # Runs

    @overload
    async def run(self, unit: Artifact[A], inputs: object = ..., /, **keywords: object) -> A: ...
    @overload
    async def run(self, unit: str, inputs: object = ..., /, **keywords: object) -> Any: ...  # noqa: ANN401 - a name says nothing of the type
    async def run(self, unit: object, inputs: object = UNSET, /, **keywords: object) -> object:
        """Run a unit now and return its artifact. `last_run(unit)` is the run. The manager need not have been started.

        Args:
            unit: The unit or its name.
            inputs: An instance of its plan's input class.
            keywords: The inputs by name, instead.

        Raises:
            UnknownUnit: It is not registered.
            ManagerError: It runs already (`UnitRunning`), or may not now (`UnitPaused`, `UnitDisabled`,
                `ManagerStopped`).
            ArtifactUnavailable: It failed, and is told to let its run go on; the cause is its error.
            BaseException: What `plan.run()` raises.
        """
        return await self._run(self._registry.find(unit), inputs, keywords)

    async def run_worker(self, unit: object, inputs: object = UNSET, /, **keywords: object) -> Any:  # noqa: ANN401 - as above
        """Run a worker; see `run`.

        Raises:
            UnknownUnit: No such worker is registered.
        """
        return await self._run(self._registry.find(unit, "worker"), inputs, keywords)

    async def run_process(self, unit: object, inputs: object = UNSET, /, **keywords: object) -> Any:  # noqa: ANN401 - as above
        """Run a process; see `run`.

        Raises:
            UnknownUnit: No such process is registered.
        """
        return await self._run(self._registry.find(unit, "process"), inputs, keywords)

    async def _run(self, entry: Entry, inputs: object, keywords: Mapping[str, object]) -> object:
        if not self.is_running:
            self._clock.adopt()
        handle = self._runs.begin(entry, inputs, keywords)
        try:
            return (await self._runs.follow(entry, handle, is_scheduled=False)).result
        finally:
            self._engine.look_again()  # it may have been due meanwhile

    @overload
    def last_run(self, unit: Artifact[A]) -> Run[A] | None: ...
    @overload
    def last_run(self, unit: str) -> Run[Any] | None: ...
    def last_run(self, unit: object) -> Run[Any] | None:
        """Return the last run of a unit that ended in this process, with its report, timeline and errors, or `None`.

        Raises:
            UnknownUnit: It is not registered.
        """
        return self._registry.find(unit).last_run

    async def tick(self) -> tuple[str, ...]:
        """Run what is due now, and return its names when all of it has ended; for tests and operators."""
        if not self.is_running:
            self._clock.adopt()
            self._engine.enter()
        names: list[str] = []
        async with create_task_group() as group:
            names += self._engine.start_due(group)
        return tuple(names)

    def scan(self) -> tuple[Stale, ...]:
        """Have the watchdog look once, and return the runs that are stale; for tests and operators."""
        return self._watchdog.scan(self._registry)

    def pool(self, size: int, *, name: str = "pool") -> Pool:
        """Return a new worker pool, which runs named pieces of work while the manager runs, and is stopped with it.

        Args:
            size: How many pieces run at a time; 0 holds all.
            name: What to call it, if there are several.

        Raises:
            AlreadyRegistered: There is one of that name.
            InvalidOption: The name or the size makes no sense.
        """
        return self._pools.make(name, size)

    # What operators do

    def enable(self, unit: object) -> None:
        """Let a unit run again that was disabled.

        Raises:
            UnknownUnit: It is not registered.
            StoreError: That cannot be kept; nothing has changed.
        """
        self._control.enable(self._registry.find(unit))

    def disable(self, unit: object) -> None:
        """Let a unit run no more until it is enabled. A run that goes on ends as ever.

        Raises:
            UnknownUnit: It is not registered.
            StoreError: That cannot be kept; nothing has changed.
        """
        self._control.disable(self._registry.find(unit))

    def pause(self, unit: object) -> None:
        """Let a unit pause; if it is running, as soon as its run has ended. Its schedule passes meanwhile.

        Raises:
            UnknownUnit: It is not registered.
            StoreError: That cannot be kept; nothing has changed.
        """
        self._control.pause([self._registry.find(unit)])

    def resume(self, unit: object) -> None:
        """Let a paused unit run again; its schedule goes on at its next point.

        Raises:
            UnknownUnit: It is not registered.
            StoreError: That cannot be kept; nothing has changed.
        """
        self._control.resume([self._registry.find(unit)])

    def stop_all(self) -> None:
        """Pause every unit."""
        self._control.pause(self._registry)

    def start_all(self) -> None:
        """Resume every unit that is paused."""
        self._control.resume(self._registry)

    def update(self, unit: object, **policy: Unpack[Policy]) -> None:
        """Change options of a unit for its next runs, all of them or none. They are not kept over restarts.

        Args:
            unit: The unit or its name.
            policy: See `Policy`. Another kind of schedule ends the former one; `every=None` and `cron=None` end it.

        Raises:
            UnknownUnit: It is not registered.
            UnknownOption: An option does not exist, or belongs to the declaration.
            InvalidOption: An option has a value it cannot have.
            InvalidPlan: An option does not go with the unit.
        """
        self._control.update(self._registry.find(unit), policy)

    # What is to be seen

    def snapshot(self) -> Snapshot:
        """Return what the manager is like now: a copy, which can be written as JSON."""
        now, wall = self._clock(), self._settings.wall_clock()
        return Snapshot(
            time=wall,
            is_running=self.is_running,
            units={entry.name: entry.seen(now, wall) for entry in self._registry},
            pools=self._pools.status(),
            stats=self.stats(),
            subscriber_failures=dict(self._listeners.failures),
        )

    def dashboard(self, width: int | None = None) -> str:
        """Return the manager as text, a row for each unit; with `Manager(dashboard=True)` it is drawn live.

        Args:
            width: In cells; left out, that of the terminal.
        """
        from fusynk.manager.dashboard import dashboard  # noqa: PLC0415 - rich is loaded for those who look

        return dashboard(self.snapshot(), width=width)

    def stats(self) -> Stats:
        """Return the figures of the manager and its process."""
        uptime = 0.0 if self._life.started is None else self._clock() - self._life.started
        return stats_of(self._registry, self._runs, self._meter.read(), uptime)
