"""One attempt: what follows from its failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias, cast

from fusynk._core.backoff import Backoff
from fusynk._core.callables import takes_positional
from fusynk._core.options import Delay, Policy
from fusynk.errors import Unrepeatable


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again.

    Attributes:
        delay: After so many seconds.
    """

    delay: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """The step's `on_error` found an artifact.

    Attributes:
        artifact: What it returned.
    """

    artifact: object


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The step failed for good.

    Attributes:
        error: Why.
        aborts: Whether the run ends with it.
    """

    error: BaseException
    aborts: bool


Verdict: TypeAlias = Retry | Recovered | GivenUp


async def after_failure(
    policy: Policy, error: Exception, attempt: int, draw: Callable[[], float], *, may_retry: bool = True
) -> Verdict:
    """Decide what follows from a failed attempt.

    Args:
        policy: The step's policy.
        error: What the attempt raised.
        attempt: Which attempt it was, from 1.
        draw: Returns a number in [0, 1), for jitter.
        may_retry: False where another attempt would be wrong whatever the policy says.
    """
    try:
        may_retry = may_retry and not isinstance(error, Unrepeatable)
        if may_retry and attempt <= policy.retries and await _is_worth_retrying(policy, error):
            return Retry(_delay(policy, attempt, error, draw))
        if callable(policy.on_error):
            return Recovered(await awaited(policy.on_error(error)))
    except Exception as second:  # noqa: BLE001 - the user's own function; its error is the step's
        if second.__cause__ is None and second is not error:
            second.__cause__ = error
        return GivenUp(second, aborts=policy.on_error != "continue")
    return GivenUp(error, aborts=policy.on_error != "continue")


async def _is_worth_retrying(policy: Policy, error: Exception) -> bool:
    wanted = policy.retry_on
    if isinstance(wanted, (type, tuple)):
        return isinstance(error, wanted)
    return bool(await awaited(wanted(error)))


def _delay(policy: Policy, attempt: int, error: Exception, draw: Callable[[], float]) -> float:
    """Return the seconds until the next attempt. A function that asks for two arguments is told the error, too."""
    delay = policy.retry_delay
    if callable(delay):
        told: tuple[object, ...] = (attempt,) if takes_positional(delay, 1) else (attempt, error)
        delay = cast("Callable[..., Delay]", delay)(*told)
    seconds = delay.delay(attempt, draw) if isinstance(delay, Backoff) else float(delay)
    if not 0 <= seconds < float("inf"):
        message = f"retry_delay returned {seconds!r} after attempt {attempt}; it must return seconds, from 0 up."
        raise ValueError(message)
    return seconds


async def awaited(value: object) -> object:
    """Return a value, awaited first if it is awaitable."""
    return await cast("Awaitable[object]", value) if hasattr(value, "__await__") else value
