"""Run a plan that handles secrets, with loguru as it comes: `python -m tests.programs.secrets`."""

import contextlib
import io
import json
import sys
from importlib import import_module
from typing import Any


def main() -> dict[str, Any]:
    """Return how many lines were written, and those that hold the secret."""
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        import_module("loguru")  # its sink writes to what is standard error now
        secrets: Any = import_module("tests.test_s09_secrets")
        simulate: Any = import_module("fusynk.testing").simulate
        import_module("fusynk.logging").enable(0)
        simulate(secrets.plan_of_secrets(verbose=True), secrets.Login(secrets.NAME, secrets.SECRET))
    lines = errors.getvalue().splitlines()
    return {"lines": len(lines), "found": [line for line in lines if secrets.SECRET in line or secrets.NAME in line]}


if __name__ == "__main__":
    json.dump(main(), sys.stdout)
