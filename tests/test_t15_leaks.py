"""T15: a thousand runs of every kind leave nothing behind; an hour of them does not make the process grow."""

import os
import sys
from functools import cache
from typing import Any

import pytest

from tests.observing import program

LONG = bool(os.environ.get("FUSYNK_LONG"))
SOAK = float(os.environ.get("FUSYNK_SOAK_SECONDS", "3600"))
pytestmark = [
    pytest.mark.timeout(0 if LONG else 120),
    pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc"),
]


@cache
def grown_by_mixed_runs(backend: str) -> dict[str, Any]:
    found: dict[str, Any] = program("leaks", "mixed", backend, "1000", "0", flags=("-X", "dev", "-W", "error"))
    return found


def test_t15_files_threads_and_objects_stay_flat_over_runs_of_every_kind(backend: str) -> None:
    found = grown_by_mixed_runs(backend)

    assert (found["runs"], found["grown"]["files"]) == (1000, 0)
    assert found["grown"]["threads"] <= 0
    assert found["grown"]["objects"] < 2000


def test_t15_no_task_outlives_its_run(backend: str) -> None:
    # Trio counts two tasks of its own.
    assert grown_by_mixed_runs(backend)["tasks"] == (1 if backend == "asyncio" else 3)


@pytest.mark.skipif(not LONG, reason="takes an hour: FUSYNK_LONG=1, or fewer FUSYNK_SOAK_SECONDS")
def test_t15_an_hour_of_runs_does_not_make_the_process_grow(backend: str) -> None:
    found = program("leaks", "mixed", backend, "1000", str(SOAK), timeout=2 * SOAK + 60)

    assert found["grown"]["megabytes"] < max(1.0, SOAK / 3600)
    assert found["grown"]["objects"] < 2000
