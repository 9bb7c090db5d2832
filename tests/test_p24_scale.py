"""P24: a hundred thousand steps, or a million edges, compile and run within bounds of time and memory."""

import sys
from functools import cache
from typing import Any

import pytest

from tests.observing import program

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc"),
]
SHAPES = {"chain": 100_000, "wide": 100_000, "edges": 10_000}
BACKENDS = ("asyncio", "trio")


@cache
def figures_of(shape: str) -> dict[str, Any]:
    """Measure a shape once, in an interpreter of its own."""
    figures: dict[str, Any] = program("scale", shape, str(SHAPES[shape]))
    return figures


@pytest.mark.parametrize("shape", SHAPES)
def test_p24_every_step_runs_once_with_the_right_value(shape: str) -> None:
    assert [figures_of(shape)[f"right {backend}"] for backend in BACKENDS] == [True, True]


@pytest.mark.parametrize("shape", SHAPES)
def test_p24_the_peak_of_memory_is_bounded(shape: str) -> None:
    assert figures_of(shape)["peak"] < 250


# Generous, and in seconds of processor time: what is too slow by an order shows on any machine.
@pytest.mark.parametrize("shape", SHAPES)
def test_p24_compiling_and_running_are_bounded(shape: str) -> None:
    figures = figures_of(shape)

    assert figures["compile"] < 5
    assert all(figures[f"run {backend}"] < 20 for backend in BACKENDS)


def test_p24_a_failure_at_the_end_of_a_long_chain_is_told_in_short() -> None:
    figures = figures_of("chain")

    assert figures["succeeded"] == SHAPES["chain"] - 1
    assert figures["traceback_lines"] < 100
    assert figures["traceback_bytes"] < 10_000
    assert figures["error_bytes"] < 4_096


def test_p24_a_failure_at_its_start_is_passed_on_to_the_end() -> None:
    assert figures_of("chain")["skipped"] == SHAPES["chain"] - 1


def test_p24_what_is_shown_of_a_large_run_fits_a_screen() -> None:
    figures = figures_of("chain")

    assert figures["report"] < 2_000
    assert figures["report_bytes"] < 2_000
    assert figures["repr_bytes"] < 200
