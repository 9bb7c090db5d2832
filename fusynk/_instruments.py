"""What looks on at a run: telemetry and lines, found out once, before it begins."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fusynk._core.printable import printable
from fusynk._core.program import Program
from fusynk._core.wiring import Body
from fusynk._runtime.runner import Runner
from fusynk.logging import RunLines, lowest_level, mark
from fusynk.protocols import Executor

if TYPE_CHECKING:
    from fusynk._runtime.opening import OpenedRun
    from fusynk.render.lines import Lines
    from fusynk.render.live import Drawing
    from fusynk.telemetry.instrument import Telemetry

_MOST_TARGETS = 3


def new_runner(
    program: Program,
    inputs: Sequence[object],
    run_id: str,
    executors: Mapping[Body, Executor],
    *,
    targets: Sequence[int],
    observed: bool,
    opened: "OpenedRun | None" = None,
) -> Runner:
    """Return a run with what looks on at it.

    Args:
        program: What to run.
        inputs: The values of its inputs.
        run_id: The id of the run.
        executors: Where its synchronous functions run, by how they are called.
        targets: The steps that the plan was compiled for.
        observed: Whether somebody may want its events who is not among the plan's subscribers.
        opened: Where the run is recorded, if it is.
    """
    settings = program.settings
    telemetry = _telemetry(program, targets, run_id)
    lowest = lowest_level(verbose=settings.verbose)
    lines = None if lowest is None else RunLines(_plan_name(program, targets), run_id, lowest)
    view = _progress_view() if settings.progress else None
    runner = Runner(
        program if telemetry is None else telemetry.program,
        inputs,
        run_id,
        executors,
        instruments=[one for one in (telemetry, lines) if one is not None],
        observed=observed or (view is not None and view.hears_events),
        opened=opened,
    )
    if view is not None:
        _show(runner, view)
    if telemetry is not None:
        telemetry.variables = runner.context
    if settings.log_context:
        mark(runner.context, run_id)
    return runner


def _telemetry(program: Program, targets: Sequence[int], run_id: str) -> "Telemetry | None":
    """Return what looks on for OpenTelemetry, which is loaded only if the application uses it."""
    if "opentelemetry.trace" not in sys.modules and "opentelemetry.metrics" not in sys.modules:
        return None
    with suppress(Exception):  # a broken installation of what only looks on is no reason not to run
        from fusynk.telemetry.instrument import telemetry_of  # noqa: PLC0415 - as said

        return telemetry_of(program, _plan_name(program, targets), run_id)
    return None


def _progress_view() -> "Drawing | Lines | None":
    from fusynk.render.live import progress_view  # noqa: PLC0415 - for those who want to see it

    return progress_view()


def _show(runner: Runner, view: "Drawing | Lines") -> None:
    """Have a view follow a run: one that draws looks by the clock, which costs the steps nothing."""
    if view.hears_events is False:
        runner.companions.append(partial(view.live, runner.records))
    elif runner.bus is not None:
        runner.bus.subscribe([view.hear])


def _plan_name(program: Program, targets: Sequence[int]) -> str:
    """Return how a plan is called: by its targets, of many by the first."""
    names = [printable(program.wiring.names[step]) for step in targets[:_MOST_TARGETS]]
    more = len(targets) - len(names)
    return ", ".join([*names, f"{more} more"] if more else names) or "nothing"
