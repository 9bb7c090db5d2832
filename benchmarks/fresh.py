"""Fresh interpreters that import the same fusynk as this one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parents[1]


def checkout() -> Path:
    """The folder from which fusynk is imported here."""
    found = importlib.util.find_spec("fusynk")
    assert found is not None, "fusynk is not importable"
    assert found.origin is not None, "fusynk is not a folder of files"
    return Path(found.origin).parents[1]


def output_of(code: str, *arguments: str, fusynk_from: Path | None = None) -> str:
    """What the code prints, run by a fresh interpreter that finds these benchmarks and that checkout's fusynk."""
    # The benchmarks are imported first: the other checkout may have its own.
    opening = f"import sys; sys.path[:0] = [{str(HERE)!r}]; import benchmarks; "
    opening += f"sys.path[:0] = [{str(fusynk_from or checkout())!r}]; "
    command = [sys.executable, "-c", opening + code, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
