"""How the tests run and import the examples."""

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

# A shell's background command ignores SIGINT, and its children inherit that; Ctrl-C shall end these.
_STARTER = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv.pop(0)
sys.path[0] = sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def start(script: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Starts a script of the examples in an interpreter of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", _STARTER, EXAMPLES, EXAMPLES / script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path},
    )


def finish(command: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Waits for a script, and returns what it printed after what was read before."""
    with command:
        stdout, stderr = command.communicate(timeout=60)
    return subprocess.CompletedProcess(command.args, command.returncode, stdout, stderr)


@contextmanager
def imported(name: str) -> Generator[Any]:
    """A script of the examples as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(EXAMPLES), *sys.path])
        yield import_module(name)
