"""Running a plan in virtual time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import anyio

from fusynk._core.events import Subscriber
from fusynk.blame import run_of
from fusynk.executors.threads import InlineExecutor
from fusynk.plan import Plan
from fusynk.run import Run
from fusynk.testing.virtual import Backend, run_virtual

A = TypeVar("A")


@dataclass(frozen=True, kw_only=True)
class Trace(Generic[A]):
    """What a simulated run did.

    Attributes:
        run: The finished run, also when it failed.
        error: What `plan.run()` raised, or `None`.
        seconds: How long the run took, in virtual seconds.
    """

    run: Run[A]
    error: Exception | None
    seconds: float

    @property
    def result(self) -> A:
        """The run's result.

        Raises:
            Exception: What `plan.run()` raised.
        """
        if self.error is not None:
            raise self.error
        return self.run.result


def simulate(
    plan: Plan[Any, A], inputs: object = None, *, tape: Sequence[int] = (), backend: Backend = "asyncio"
) -> Trace[A]:
    """Run a plan in virtual time: deterministic, hours in milliseconds.

    Plain functions and subscribers run inline instead of in threads. A run id and a seed are fixed unless the plan has
    its own.

    Args:
        plan: The plan.
        inputs: Its inputs: an instance of its input class, or a mapping of keywords.
        tape: Chooses an interleaving, see `run_virtual`. Empty: every callback in its turn.
        backend: "asyncio" or "trio".

    Raises:
        InvalidInputs: An input is missing or unknown.
        BaseException: What is no ordinary exception leaves here as it leaves `plan.run()`.
    """
    settings = plan.settings
    inline = [replace(one, threaded=False) if isinstance(one, Subscriber) else one for one in settings.subscribers]
    fixed = plan.options(
        subscribers=inline,
        executor=settings.executor or InlineExecutor(),
        run_id=settings.run_id or "simulation",
        seed=0 if settings.seed is None else settings.seed,
    )
    return run_virtual(_traced, fixed, inputs, backend=backend, tape=tape)


async def _traced(plan: Plan[Any, A], inputs: object) -> Trace[A]:
    begun = anyio.current_time()
    try:
        if inputs is None or isinstance(inputs, Mapping):
            run = await plan.run(**cast("Mapping[str, object]", inputs or {}))
        else:
            run = await plan.run(inputs)
    except Exception as error:
        failed = run_of(error)
        if failed is None:
            raise
        return Trace(run=failed, error=error, seconds=anyio.current_time() - begun)
    return Trace(run=run, error=None, seconds=anyio.current_time() - begun)
