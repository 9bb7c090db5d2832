"""Those who listen to a manager: told in order, without a hole, and unable to hurt it or each other."""

import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from fusynk import Graph, Manager, errors
from fusynk.manager import events
from fusynk.manager.events import ManagerEvent
from fusynk.manager.store import MemoryStore
from fusynk.testing.virtual import Backend
from tests.manager.crew import Crew, Declined, Told, live, managed, told_by
from tests.observing import heard


def test_events_are_numbered_without_a_hole_and_in_order_of_time(backend: Backend) -> None:
    async def main() -> None:
        crew, told = Crew(), Told()
        manager = managed(subscribers=[told])
        manager.register(crew.worker("a", 1, every=3))
        manager.register(crew.worker("bad", 1, Declined(), every=4))
        async with manager:
            await anyio.sleep(10)
            manager.pause("a")
            manager.emit_milestone("x")
            manager.resume("a")
            manager.update("a", every=5)
            manager.release("bad")
            await anyio.sleep(10)
        assert told.is_without_a_hole()
        times = [event.time for event in told]
        assert times == sorted(times)
        assert told.kinds()[:3] == ["UnitRegistered", "UnitRegistered", "ManagerStarted"]
        assert told.kinds()[-1] == "ManagerStopped"

    live(main, backend)


def test_every_start_has_one_end(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 4, every=3), crew.worker("b", 1, Declined(), every=2), grace=0)
        told = told_by(manager)
        async with manager:
            await anyio.sleep(21)
        for unit in "ab":
            runs: dict[str, list[str]] = {}
            for event in told:
                if isinstance(
                    event, events.UnitStarted | events.UnitCompleted | events.UnitFailed | events.UnitCancelled
                ):
                    runs.setdefault(event.run_id, []).append(type(event).__name__)
            assert all(len(kinds) == 2 and kinds[0] == "UnitStarted" for kinds in runs.values())
            assert "" not in runs
            assert len(crew.starts(unit)) > 3

    live(main, backend)


def test_one_that_raises_is_counted_and_logged_and_hurts_nobody(backend: Backend) -> None:
    async def main() -> None:
        crew, told = Crew(), [Told() for _ in range(9)]

        def broken(event: ManagerEvent) -> None:
            raise Declined(type(event).__name__)

        async with managed(crew.worker("a", 1, every=10), subscribers=[*told[:4], broken, *told[4:]]) as manager:
            await anyio.sleep(995)
            assert manager.snapshot().subscriber_failures == {broken.__qualname__: 1 + 1 + 200}
        assert len({tuple(one) for one in told}) == 1
        assert len(crew.started) == 100

    with heard() as records:
        live(main, backend)
    warned = [record for record in records if "listener" in record["message"]]
    assert len(warned) == 3  # the first, the tenth, the hundredth


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit])
def test_one_that_raises_what_is_no_ordinary_error_is_told_no_more(kind: type[BaseException], backend: Backend) -> None:
    async def main() -> None:
        crew, calls = Crew(), list[ManagerEvent]()

        def leaves(event: ManagerEvent) -> None:
            calls.append(event)
            raise kind

        manager = managed(crew.worker("a"), subscribers=[leaves])
        told = told_by(manager)
        assert await manager.run("a") is not None
        assert len(calls) == 1
        assert told.kinds() == ["UnitStarted", "UnitCompleted"]

    live(main, backend)


def test_a_keyboard_interrupt_goes_on_and_the_unit_has_ended(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a"))

        def interrupt(_: ManagerEvent) -> None:
            raise KeyboardInterrupt

        _ = manager.on_complete(interrupt)
        told = told_by(manager)
        with pytest.raises(KeyboardInterrupt):
            await manager.run("a")
        assert manager.status("a") == "completed"
        assert await manager.run("a") is not None
        assert told.kinds() == ["UnitStarted", "UnitCompleted"] * 2 or told.kinds()[-1] == "UnitCompleted"

    live(main, backend)


def test_one_may_leave_while_it_is_told_and_put_others_out_or_in(backend: Backend) -> None:
    async def main() -> None:
        crew, order = Crew(), list[str]()
        manager = managed(crew.worker("a"))
        ends: dict[str, Any] = {}

        def first(event: ManagerEvent) -> None:
            order.append(f"first {type(event).__name__}")
            ends["first"]()
            ends["second"]()
            _ = manager.subscribe(lambda event: order.append(f"new {type(event).__name__}"))

        ends["first"] = manager.subscribe(first)
        ends["second"] = manager.subscribe(lambda _: order.append("second"))
        _ = manager.subscribe(lambda event: order.append(f"third {type(event).__name__}"))
        await manager.run("a")
        assert order == ["first UnitStarted", "third UnitStarted", "third UnitCompleted", "new UnitCompleted"]

    live(main, backend)


def test_what_follows_from_a_listeners_calls_is_told_after_it(backend: Backend) -> None:
    async def main() -> None:
        crew, order = Crew(), list[str]()
        manager = managed(crew.worker("a"), crew.worker("b"))

        def acts(event: ManagerEvent) -> None:
            order.append(f"begin {type(event).__name__}")
            if isinstance(event, events.UnitCompleted):
                manager.pause("b")
                manager.register(crew.worker("c"))
                manager.emit_milestone("acted")
            order.append(f"end {type(event).__name__}")

        _ = manager.subscribe(acts)
        told = told_by(manager)
        await manager.run("a")
        assert told.kinds() == ["UnitStarted", "UnitCompleted", "UnitPaused", "UnitRegistered", "MilestoneReached"]
        assert order == [f"{word} {kind}" for kind in told.kinds() for word in ("begin", "end")]
        assert [event.sequence for event in told] == list(range(3, 8))  # two units were registered before

    live(main, backend)


def test_a_listener_may_call_everything_that_is_no_coroutine(backend: Backend) -> None:
    async def main() -> None:
        crew = Crew()
        manager = managed(crew.worker("a", 1), crew.worker("b"), store=MemoryStore())
        failed: list[BaseException] = []

        def acts(event: ManagerEvent) -> None:
            try:
                if isinstance(event, events.UnitStarted) and event.unit == "a":
                    for call in (manager.pause, manager.resume, manager.disable, manager.enable):
                        call("a")
                        call("b")
                    manager.update("a", retries=1)
                    manager.stop_all()
                    manager.start_all()
                    _ = manager.snapshot().to_json(), manager.scan(), manager.stats()
                    with pytest.raises(errors.UnitRunning):
                        manager.release("a")
                    manager.release("b")
                    manager.register(crew.made["b"])
            except BaseException as error:  # noqa: BLE001 - looked at below
                failed.append(error)

        _ = manager.subscribe(acts)
        async with manager:
            await manager.run("a")
            await anyio.sleep(5)
            assert failed == []
            assert manager.status("a") == "completed"
        assert manager.get("a").runs == 1

    live(main, backend)


def test_kinds_choose_what_one_is_told(backend: Backend) -> None:
    async def main() -> None:
        crew, told = Crew(), Told()
        manager = managed(crew.worker("a"), crew.worker("b", 0, Declined()))
        _ = manager.subscribe(told, events.UnitFailed, events.UnitStarted)
        await manager.run("a")
        with pytest.raises(Declined):
            await manager.run("b")
        assert told.kinds() == ["UnitStarted", "UnitStarted", "UnitFailed"]
        every = Told()
        _ = manager.subscribe(every, events.UnitEvent)
        manager.emit_milestone("no event of a unit")
        manager.pause("a")
        assert every.kinds() == ["UnitPaused"]

    live(main, backend)


async def coroutine_function(event: ManagerEvent) -> None:
    """What would never be awaited."""


@pytest.mark.parametrize("wrong", [3, None, "text", coroutine_function])
def test_what_cannot_listen_is_refused(wrong: Any) -> None:
    manager = Manager()
    calls: list[Callable[[], object]] = [
        lambda: manager.subscribe(wrong),
        lambda: manager.on_start(wrong, unit="a"),
        lambda: manager.on_complete(wrong),
        lambda: manager.on_error(wrong),
        lambda: manager.on_milestone(wrong, name="x"),
        lambda: manager.on_milestone(wrong, name="x", unit="a"),
        lambda: Manager(subscribers=[wrong]),
    ]
    for call in calls:
        with pytest.raises(errors.InvalidDeclaration, match="plain function"):
            call()


def test_a_hook_of_one_unit_hears_its_runs_and_no_others_whatever_becomes_of_it(backend: Backend) -> None:
    async def main() -> None:
        crew, heard_of = Crew(), list[str]()
        one, other, twin = crew.worker("one"), crew.worker("other"), crew.worker("one")

        async def heard_from(*names: str) -> list[str]:
            heard_of.clear()
            for name in names:
                await manager.run(name)
            return list(heard_of)

        manager = managed(other)
        _ = manager.on_start(lambda event: heard_of.append(event.unit), unit=one)
        assert await heard_from("other") == []
        manager.register(one)
        assert await heard_from("one", "other") == ["one"]
        manager.update("one", every=10, retries=1)
        assert await heard_from("one", "other") == ["one"]
        manager.release("one")
        manager.register(one, name="renamed")
        manager.register(twin)
        assert await heard_from("renamed", "one", "other") == ["renamed"]
        manager.register(one, name="again")
        assert await heard_from("renamed", "again", "one") == ["renamed", "again"]
        manager.release("renamed")
        manager.release("again")
        assert await heard_from("one", "other") == ["one"]  # by its name, as what has taken its place

    live(main, backend)


def test_a_hook_hears_of_a_unit_that_somebody_who_was_told_before_released(backend: Backend) -> None:
    async def main() -> None:
        crew, heard_of = Crew(), list[str]()
        one = crew.worker("one")
        manager = managed(one)
        _ = manager.on_complete(lambda _: manager.release("one"))
        _ = manager.on_complete(lambda event: heard_of.append(event.unit), unit=one)
        await manager.run("one")
        assert manager.units == ()
        assert heard_of == ["one"]

    live(main, backend)


def test_a_hook_of_a_method_hears_of_its_own_instance_alone(backend: Backend) -> None:
    graph = Graph("ports")

    class Port:
        @graph.worker
        async def sync(self) -> None: ...

    async def main() -> None:
        rome, oslo, heard_of = Port(), Port(), list[str]()
        manager = managed()
        manager.register(rome.sync, name="rome")
        manager.register(oslo.sync, name="oslo")
        _ = manager.on_complete(lambda event: heard_of.append(event.unit), unit=oslo.sync)
        for name in manager.units:
            await manager.run(name)
        assert heard_of == ["oslo"]

    live(main, backend)


@pytest.mark.parametrize("wrong", [int, "UnitStarted", 3])
def test_what_is_no_kind_of_event_is_refused(wrong: Any) -> None:
    with pytest.raises(errors.InvalidDeclaration, match=r"classes of fusynk\.manager\.events"):
        Manager().subscribe(print, wrong)


def test_what_hooks_raise_goes_by_their_own_name() -> None:
    manager = Manager()

    def broken(_: Any) -> None:
        raise Declined

    _ = manager.on_milestone(broken, name="x")
    _ = manager.on_milestone(broken, unit="a")
    _ = manager.on_milestone(broken)
    manager.emit_milestone("x")
    assert manager.snapshot().subscriber_failures == {broken.__qualname__: 2}


def test_milestones_from_many_threads_are_told_without_a_hole() -> None:
    manager, told = Manager(), Told()
    _ = manager.subscribe(told)

    def report() -> None:
        for number in range(200):
            manager.emit_milestone("x", number=number)

    threads = [threading.Thread(target=report) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    manager.emit_milestone("last")
    assert told.is_without_a_hole()
    assert len(told) == 1601


def test_nobody_who_listens_changes_what_happens(backend: Backend) -> None:
    def lived(*subscribers: Any) -> Any:
        async def main() -> Any:
            crew = Crew()
            async with managed(crew.worker("a", 1, every=3), subscribers=subscribers) as manager:
                await anyio.sleep(20)
            return crew.started, manager.get("a")

        return live(main, backend)

    assert lived() == lived(Told(), Told())
