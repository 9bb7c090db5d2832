"""Two strict type checkers accept the whole of `accepted*.py` and refuse each marked line of `rejected.py`."""

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
ACCEPTED = tuple(FOLDER / name for name in ("accepted.py", "accepted_plans.py", "accepted_resources.py"))
REJECTED = FOLDER / "rejected.py"
MARK = "# error"
Complaints = Mapping[Path, Mapping[int, str]]
"""What a checker said, by file and line."""
pytestmark = pytest.mark.timeout(600)


def ask_mypy(_: Path) -> Complaints:
    lines = run_checker("mypy", "--strict", "--output=json", *map(str, (*ACCEPTED, REJECTED))).splitlines()
    found: dict[Path, dict[int, str]] = {}
    for complaint in map(json.loads, lines):
        if complaint["severity"] == "error":
            found.setdefault(ROOT / complaint["file"], {})[complaint["line"]] = complaint["message"]
    return found


def ask_basedpyright(scratch: Path) -> Complaints:
    configuration = scratch / "pyrightconfig.json"
    configuration.write_text(json.dumps(strict_settings()))
    said = run_checker("basedpyright", f"--project={configuration}", f"--pythonpath={sys.executable}", "--outputjson")
    found: dict[Path, dict[int, str]] = {}
    for complaint in json.loads(said)["generalDiagnostics"]:
        line = complaint["range"]["start"]["line"] + 1
        found.setdefault(Path(complaint["file"]), {})[line] = complaint["message"]
    return found


def strict_settings() -> dict[str, Any]:
    """The project's own settings, for these files alone: the project leaves one of them out."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["basedpyright"]
    assert settings["typeCheckingMode"] == "strict"
    named = {"include": [*map(str, (*ACCEPTED, REJECTED))], "exclude": [], "extraPaths": [str(ROOT)]}
    return {**settings, **named, "executionEnvironments": [], "reportPrivateUsage": False}


def run_checker(name: str, *arguments: str) -> str:
    command = [sys.executable, "-m", name, *arguments]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, f"{name} ended with {ended.returncode}: {ended.stdout}{ended.stderr}"
    return ended.stdout


CHECKERS: Mapping[str, Callable[[Path], Complaints]] = {"mypy": ask_mypy, "basedpyright": ask_basedpyright}


@pytest.fixture(scope="module", params=CHECKERS)
def complaints(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Complaints:
    """What one checker says about both files; it is asked once."""
    name = str(request.param)
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed; `pip install -e '.[dev]'` brings it")
    return CHECKERS[name](tmp_path_factory.mktemp(name))


def test_everything_in_accepted_passes(complaints: Complaints) -> None:
    assert not [said for path in ACCEPTED for said in complaints.get(path, {}).items()]


def test_exactly_the_marked_lines_of_rejected_are_refused(complaints: Complaints) -> None:
    written = REJECTED.read_text().splitlines()
    marked = {number for number, line in enumerate(written, start=1) if line.endswith(MARK)}

    refused = complaints[REJECTED]

    passed = [f"{number}: {written[number - 1]}" for number in sorted(marked - refused.keys())]
    unmarked = [f"{number}: {written[number - 1]}: {said}" for number, said in refused.items() if number not in marked]
    assert not passed
    assert not unmarked


def test_the_cases_are_many() -> None:
    assert REJECTED.read_text().count(MARK + "\n") > 60
    assert sum(path.read_text().count("assert_type(") for path in ACCEPTED) > 100
