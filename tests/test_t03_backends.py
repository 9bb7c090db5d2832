"""T3: one plan gives the same outcomes, attempts, arguments and results on every event loop."""

import asyncio
import os
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from fusynk import run_of
from tests.model.checks import broken_laws, expected, observed
from tests.model.graphs import Built, Shape, seeded_case
from tests.model.reference import Case, Model

LONG = bool(os.environ.get("FUSYNK_LONG"))
GRAPHS = 5000 if LONG else 300
SHAPE = Shape(durations=(0, 0, 1, 2, 3), delays=(0.0,), timeouts=(None, 60.0))  # durations count checkpoints here
LOOPS = ("asyncio", "trio", "debug", "uvloop", "eager")
pytestmark = pytest.mark.timeout(0 if LONG else 120)


async def pass_checkpoints(count: float) -> None:
    for _ in range(int(count)):
        await anyio.lowlevel.checkpoint()


def options_of(loop: str) -> dict[str, Any]:
    """What `anyio.run` needs for a kind of event loop."""
    if loop == "trio":
        return {"backend": "trio"}
    if loop == "uvloop":
        return {"backend_options": {"loop_factory": pytest.importorskip("uvloop").new_event_loop}}
    if loop == "eager" and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("asyncio has eager tasks from Python 3.12 on")
    return {"backend_options": {"debug": loop == "debug"}}


async def run_case(case: Case, loop: str) -> tuple[Built, Any, BaseException | None]:
    if loop == "eager":
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 (3.12)
    built = Built(case, pass_checkpoints)
    try:
        return built, await built.plan.run(), None
    except Exception as error:  # noqa: BLE001 (whatever a case raises is compared)
        return built, run_of(error), error


def differences(built: Built, run: Any, error: BaseException | None) -> list[str]:
    """Everything but the times with one slot, where the order is determined; the laws otherwise."""
    case = built.case
    broken = broken_laws(case, built.log, run, error)
    if case.concurrency > 1:
        return broken
    still = replace(case, steps=tuple(replace(step, durations=(0.0,)) for step in case.steps))
    due, got = expected(Model(still).run()), observed(built, run, error, 0.0)
    for view in (due, got):
        view["bodies"] = [row[:3] for row in view["bodies"]]
        view["records"] = [(*row[:2], row[-1]) for row in view["records"]]
        del view["seconds"]
    return broken + [f"{what}: {got[what]}\n  not {due[what]}" for what in due if due[what] != got[what]]


@pytest.mark.parametrize("loop", LOOPS)
def test_t03_plans_run_alike_on_every_loop(loop: str) -> None:
    options = options_of(loop)

    async def run_all() -> None:
        for seed in range(GRAPHS):
            case = seeded_case(seed, SHAPE)
            broken = differences(*await run_case(case, loop))
            assert not broken, f"seed {seed}, {loop}: {case}\n" + "\n".join(broken)

    anyio.run(run_all, **options)
