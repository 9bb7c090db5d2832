"""Run: a plan runs as often as you like; what you get back is a run, with every artifact, outcome and attempt."""

import threading

import anyio
import pytest

from fusynk import Graph, Succeeded, compile_plan, current_step, layer, use
from fusynk.errors import InvalidInputs, LoopRunning, RunCancelled
from fusynk.testing import run_virtual, simulate


@layer
async def check_stock(product: str) -> int:
    return len(product)


@layer
async def compute_price(left: int = use(check_stock), rate: float = 2.0) -> float:
    return left * rate


PLAN = compile_plan(compute_price)


async def test_run_gives_the_artifact_of_the_target_and_of_every_step() -> None:
    run = await PLAN.run(product="lamp")

    assert run.result == 8.0
    assert run[check_stock] == 4
    assert run["check_stock"] == 4


def test_run_sync_is_for_scripts() -> None:
    assert PLAN.run_sync(product="lamp", rate=1.5).result == 6.0


async def test_inside_a_running_loop_run_sync_says_what_to_write() -> None:
    with pytest.raises(LoopRunning, match=r"write `await plan\.run\(\.\.\.\)`"):
        PLAN.run_sync(product="lamp")


async def test_wrong_inputs_are_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidInputs, match="Did you mean 'product'"):
        await PLAN.run(prodct="lamp")


async def test_a_run_tells_how_every_step_ended() -> None:
    run = await PLAN.run(product="lamp")

    assert (run.status, run.ok) == ("succeeded", True)
    assert dict(run.outcomes) == {"check_stock": Succeeded(4), "compute_price": Succeeded(8.0)}


def test_steps_start_as_soon_as_their_own_sources_are_done() -> None:
    ended: dict[str, float] = {}

    @layer
    async def slow() -> None:
        await anyio.sleep(60)
        ended["slow"] = anyio.current_time()

    @layer
    async def quick() -> None:
        await anyio.sleep(1)

    @layer(depends_on=quick)
    async def after_quick() -> None:
        await anyio.sleep(1)
        ended["after_quick"] = anyio.current_time()

    simulate(compile_plan(slow, after_quick))

    assert ended == {"after_quick": 2, "slow": 60}


def test_concurrency_bounds_how_many_bodies_are_alive() -> None:
    alive, most = 0, 0

    async def body() -> None:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        await anyio.sleep(1)
        alive -= 1

    crowd = Graph("crowd")
    for number in range(9):
        crowd.add_layer(body, name=f"body_{number}")

    trace = simulate(compile_plan(crowd, concurrency=3))

    assert most == 3
    assert trace.seconds == 3


async def test_plain_functions_run_in_threads_so_the_loop_goes_on() -> None:
    @layer
    def plain() -> int:
        return threading.get_ident()

    @layer(run_in="inline")
    def inline() -> int:
        return threading.get_ident()

    run = await compile_plan(plain, inline).run()

    assert run[plain] != threading.get_ident()
    assert run[inline] == threading.get_ident()


async def test_a_body_can_ask_which_step_it_is() -> None:
    @layer
    async def ask() -> tuple[str, int, str]:
        step = current_step()
        return step.name, step.attempt, step.idempotency_key

    run = await compile_plan(ask, run_id="order-42").run()

    assert run.result == ("ask", 1, "order-42/ask")


def test_attempts_are_the_record_of_what_happened() -> None:
    @layer
    async def first() -> None:
        await anyio.sleep(2)

    @layer(depends_on=first)
    async def second() -> None:
        await anyio.sleep(3)

    run = simulate(compile_plan(second)).run

    assert [(record.step, record.number, record.duration) for record in run.attempts()] == [
        ("first", 1, 2.0),
        ("second", 1, 3.0),
    ]


def test_the_report_adds_them_up() -> None:
    @layer
    async def short() -> None:
        await anyio.sleep(1)

    @layer
    async def long() -> None:
        await anyio.sleep(4)

    @layer(depends_on=[short, long])
    async def last() -> None:
        await anyio.sleep(1)

    report = simulate(compile_plan(last)).run.report

    assert (report.makespan, report.work, report.success_rate) == (5, 6, 1.0)
    assert report.critical_path == ("long", "last")
    assert report.slack["short"] == 3
    assert "Success rate      100.0%" in str(report)


def test_start_gives_a_handle_to_wait_for_or_to_cancel() -> None:
    @layer
    async def forever() -> None:
        await anyio.sleep_forever()

    async def patience() -> tuple[str, str]:
        async with PLAN.start(product="lamp") as handle:
            finished = await handle.wait()
        async with compile_plan(forever).start() as handle:
            await anyio.sleep(10)
            hanging = list(handle.stacks())
            handle.cancel()
            with pytest.raises(RunCancelled):
                await handle.wait()
        return finished.status, hanging[0]

    assert run_virtual(patience) == ("succeeded", "forever")
