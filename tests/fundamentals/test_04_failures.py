"""Failures: never swallowed. A layer's own exception leaves the run, unless you said what else to do."""

import anyio
import pytest

from fusynk import Cancelled, Failed, Outcome, Skipped, backoff, compile_plan, layer, run_of, use
from fusynk.errors import ArtifactUnavailable, DeadlineExceeded, InvalidPlan, LayerTimeout
from fusynk.testing import simulate


class PaymentDeclined(Exception):
    """What the bank says."""


@layer
async def charge(card: str = "1234") -> str:
    raise PaymentDeclined(card)


@layer
async def ship(payment: str = use(charge)) -> str:
    return f"shipped after {payment}"


async def test_the_layers_own_exception_leaves_the_run() -> None:
    with pytest.raises(PaymentDeclined) as caught:
        await compile_plan(ship).run()

    notes = "\n".join(caught.value.__notes__)
    assert "in layer 'charge' (test_04_failures.py:" in notes
    assert "attempt 1 of 1" in notes


async def test_the_run_is_found_through_the_error() -> None:
    with pytest.raises(PaymentDeclined) as caught:
        await compile_plan(ship).run()

    run = run_of(caught.value)
    assert run is not None
    assert run.status == "failed"
    assert run.outcome(charge) == Failed(caught.value)
    assert run.outcome(ship) == Cancelled(by="abort")


def test_an_abort_cancels_the_siblings_and_waits_for_them() -> None:
    cleaned: list[str] = []

    @layer
    async def sibling() -> None:
        try:
            await anyio.sleep(60)
        finally:
            cleaned.append("sibling")

    @layer
    async def failing() -> None:
        await anyio.sleep(1)
        raise PaymentDeclined

    trace = simulate(compile_plan(sibling, failing))

    assert isinstance(trace.error, PaymentDeclined)
    assert trace.run.outcome(sibling) == Cancelled(by="abort")
    assert cleaned == ["sibling"]
    assert trace.seconds == 1


def test_continue_lets_the_rest_run_and_says_so() -> None:
    @layer
    async def unrelated() -> str:
        return "done"

    run = simulate(compile_plan(ship, unrelated, on_error="continue")).run

    assert not run.ok
    assert run[unrelated] == "done"
    assert list(run.failures) == ["charge"]
    assert run.outcome(ship) == Skipped(because="charge", cause="failure")
    with pytest.raises(ExceptionGroup) as caught:
        run.raise_for_failures()
    assert caught.group_contains(PaymentDeclined)


def test_a_step_without_an_artifact_never_passes_none() -> None:
    run = simulate(compile_plan(ship, on_error="continue")).run

    with pytest.raises(ArtifactUnavailable, match="it was skipped because 'charge' failed") as caught:
        run[ship]
    assert isinstance(caught.value.__cause__, PaymentDeclined)


def test_a_default_takes_the_place_of_a_missing_artifact() -> None:
    @layer
    async def bill(payment: str | None = use(charge, default=None)) -> str:
        return "paid" if payment else "open"

    assert simulate(compile_plan(bill, on_error="continue")).result == "open"


def test_use_outcome_passes_how_it_ended_whatever_that_was() -> None:
    @layer
    async def log(ended: Outcome[str] = use.outcome(charge)) -> str:
        return type(ended).__name__

    assert simulate(compile_plan(log, on_error="continue")).result == "Failed"


def test_a_function_can_recover() -> None:
    @layer(on_error=lambda error: f"by invoice, as {error} was declined")
    async def pay(card: str = "1234") -> str:
        raise PaymentDeclined(card)

    trace = simulate(compile_plan(pay))

    assert trace.result == "by invoice, as 1234 was declined"
    assert trace.run.ok
    assert isinstance(trace.run.attempts(pay)[0].error, PaymentDeclined)


def test_retries_are_attempts_after_the_first() -> None:
    attempts: list[float] = []

    @layer(retries=2, retry_delay=10)
    async def flaky() -> str:
        attempts.append(anyio.current_time())
        if len(attempts) < 3:
            raise ConnectionError
        return "there"

    trace = simulate(compile_plan(flaky))

    assert trace.result == "there"
    assert attempts == [0, 10, 20]
    assert [record.number for record in trace.run.attempts(flaky)] == [1, 2, 3]


def test_backoff_draws_growing_delays_from_a_seed() -> None:
    @layer(retries=4, retry_delay=backoff(1, factor=2, max=5), on_error="continue")
    async def flaky() -> None:
        raise ConnectionError

    def starts(seed: int) -> list[float]:
        return [record.started for record in simulate(compile_plan(flaky, seed=seed)).run.attempts(flaky)]

    delays = [later - former for former, later in zip(starts(1), starts(1)[1:], strict=False)]
    assert all(0 <= delay <= most for delay, most in zip(delays, [1, 2, 4, 5], strict=True))
    assert starts(1) == starts(1) != starts(2)


def test_retry_on_says_which_errors_are_worth_it() -> None:
    attempts: list[str] = []

    @layer(retries=5, retry_on=ConnectionError, on_error="continue")
    async def types() -> None:
        attempts.append("types")
        raise PaymentDeclined

    async def is_temporary(error: Exception) -> bool:
        return "temporary" in str(error)

    @layer(retries=5, retry_on=is_temporary, on_error="continue")
    async def function() -> None:
        attempts.append("function")
        raise PaymentDeclined("temporary" if attempts.count("function") == 1 else "final")

    simulate(compile_plan(types, function))

    assert (attempts.count("types"), attempts.count("function")) == (1, 2)


def test_a_timeout_holds_for_each_attempt() -> None:
    @layer(timeout=5, retries=1)
    async def hangs() -> None:
        await anyio.sleep(60)

    trace = simulate(compile_plan(hangs))

    assert isinstance(trace.error, LayerTimeout)
    assert isinstance(trace.error, TimeoutError)
    assert trace.seconds == 10


def test_a_plain_function_in_a_thread_cannot_be_stopped_so_its_timeout_is_refused() -> None:
    @layer(timeout=5)
    def blocks() -> None: ...

    with pytest.raises(InvalidPlan) as caught:
        compile_plan(blocks)

    assert "Make it async, set timeout=None, run it in an OS process" in str(caught.value)


def test_a_deadline_bounds_the_whole_run() -> None:
    @layer
    async def hangs() -> None:
        await anyio.sleep(60)

    trace = simulate(compile_plan(hangs, deadline=7))

    assert isinstance(trace.error, DeadlineExceeded)
    assert trace.run.outcome(hangs) == Cancelled(by="deadline")
    assert trace.seconds == 7
