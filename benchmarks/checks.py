"""Proof, before anything is timed, that a run does the work: every step once, in order, with the right value."""

import anyio
from anyio.lowlevel import checkpoint

from benchmarks.shapes import FAN_IN, Body, Shape, declare
from fusynk import Run, compile_plan

PRIME = 1_000_003
SUSPEND_EVERY = 7


def combine(step: int, *artifacts: int) -> int:
    """A number that tells which artifacts a step received and in which order."""
    value = step
    for artifact in artifacts:
        value = (value * 31 + artifact) % PRIME
    return value


def expected_artifacts(shape: Shape) -> list[int]:
    """Every step's artifact, computed without fusynk."""
    artifacts: list[int] = []
    for step, arguments in enumerate(shape.arguments):
        artifacts.append(combine(step, *(artifacts[argument] for argument in arguments)))
    return artifacts


class Witness:
    """Bodies for a shape that note when they start and end; some of them suspend."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.started: list[int] = []
        self.ended: set[int] = set()

    async def attend(self, step: int, *artifacts: int) -> int:
        """One call of a step's body."""
        self.started.append(step)
        early = [other for other in self.shape.predecessors[step] if other not in self.ended]
        assert not early, f"step {step} started before its predecessors {early[:5]} ended"
        if step % SUSPEND_EVERY == 0:
            await checkpoint()
        self.ended.add(step)
        return combine(step, *artifacts)

    def body(self, step: int) -> Body:
        """The function of one step, with as many parameters as it has arguments."""

        async def source() -> int:
            return await self.attend(step)

        async def follow(first: int) -> int:
            return await self.attend(step, first)

        async def join(first: int, second: int, third: int) -> int:
            return await self.attend(step, first, second, third)

        bodies: dict[int, Body] = {0: source, 1: follow, FAN_IN: join}
        return bodies[len(self.shape.arguments[step])]


def check_shape(shape: Shape, backend: str) -> None:
    """Runs the shape once with bodies that check.

    Raises:
        AssertionError: When a step ran twice, never, too early, or with a wrong artifact.
    """
    witness = Witness(shape)
    plan = compile_plan(declare(shape, [witness.body(step) for step in range(len(shape))]))

    async def once() -> Run[object]:
        return await plan.run()

    run = anyio.run(once, backend=backend)
    assert sorted(witness.started) == list(range(len(shape))), "not every step ran exactly once"
    artifacts = [run[f"s{step}"] for step in range(len(shape))]
    assert artifacts == expected_artifacts(shape), "a step has a wrong artifact"
    check_records(run, len(shape))


def check_records(run: Run[object], steps: int) -> None:
    """Looks at the records of a run whose steps all succeed at once.

    Raises:
        AssertionError: When there is not exactly one attempt for every step.
    """
    assert run.ok, f"the run ended {run.status}"
    attempts = run.attempts()
    assert len(attempts) == len({attempt.step for attempt in attempts}) == steps, "not one attempt for every step"
