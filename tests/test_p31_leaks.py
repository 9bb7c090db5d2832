"""P31: a thousand runs with failures leave nothing behind, and nothing is complained about."""

import sys
from functools import cache
from typing import Any

import pytest

from tests.observing import program

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="open files are counted in /proc"),
]
STRICT = ("-X", "dev", "-W", "error")


@cache
def grown_by(what: str, backend: str) -> dict[str, Any]:
    """What a thousand runs leave behind in a strict interpreter; it must not say a word."""
    found: dict[str, Any] = program("leaks", what, backend, "1000", "0", flags=STRICT)
    return found


@pytest.mark.parametrize("what", ["failures"])
def test_p31_files_and_threads_do_not_grow(what: str, backend: str) -> None:
    found = grown_by(what, backend)

    assert (found["runs"], found["grown"]["files"]) == (1000, 0)
    assert found["grown"]["threads"] <= 0


@pytest.mark.parametrize("what", ["failures"])
def test_p31_objects_do_not_grow(what: str, backend: str) -> None:
    assert grown_by(what, backend)["grown"]["objects"] < 2000
