"""What the repository promises about itself: its commands, its budgets of size, and what no file may hold."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_MODULE = 400
LONGEST_BODY = 40
MACHINE_PATH = re.compile(r"(?<![\w.~:/-])/(?:home|mnt|opt|root|Users|work)/\w")
REGISTRY = re.compile(r"\bpypi\.(?:org|python)|pythonhosted|--(?:extra-)?index-url|--find-links")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def tracked_files() -> list[Path]:
    """Everything that is committed or would be by `git add`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 (whichever git is there)
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [file for file in files if file.is_file()]


def sources(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def functions(file: Path) -> Iterator[FunctionNode]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, FunctionNode):
            yield node


def body_length(function: FunctionNode) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def matching_lines(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in tracked_files()
        if file != Path(__file__)  # it holds the patterns
        for number, line in enumerate(file.read_text("utf-8", errors="ignore").splitlines(), 1)
        if pattern.search(line)
    ]


def test_no_file_names_a_folder_of_one_machine() -> None:
    assert matching_lines(MACHINE_PATH) == []


def test_no_file_names_a_package_registry() -> None:
    assert matching_lines(REGISTRY) == []


def test_no_lock_file_is_kept() -> None:
    assert [file.name for file in tracked_files() if file.name == "uv.lock"] == []


def test_every_module_fits_its_budget() -> None:
    lengths = {file: len(file.read_text("utf-8").splitlines()) for file in sources("fusynk", "benchmarks", "examples")}
    too_long = {str(file.relative_to(ROOT)): length for file, length in lengths.items() if length > LONGEST_MODULE}
    assert too_long == {}


def test_every_function_fits_its_budget() -> None:
    too_long = [
        f"{file.relative_to(ROOT)}:{function.lineno} {function.name}: {body_length(function)} lines"
        for file in sources("fusynk", "benchmarks", "examples")
        for function in functions(file)
        if body_length(function) > LONGEST_BODY
    ]
    assert too_long == []


def test_every_module_says_what_it_is_for() -> None:
    files = sources("fusynk", "benchmarks", "examples", "tests")
    silent = [file for file in files if ast.get_docstring(ast.parse(file.read_text("utf-8"))) is None]
    assert [str(file.relative_to(ROOT)) for file in silent] == []


def test_the_package_tells_type_checkers_that_it_is_typed() -> None:
    assert (ROOT / "fusynk" / "py.typed").is_file()


def readme_commands() -> list[str]:
    """The lines of README.md's shell blocks."""
    readme = (ROOT / "README.md").read_text("utf-8")
    blocks: list[str] = re.findall(r"^```(?:sh|bash|console|shell)\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_the_readme_names_the_command_that_the_checks_run() -> None:
    run = subprocess.run([ROOT / ".ci" / "run", "--test-command"], capture_output=True, text=True, check=True)
    assert readme_commands().count(run.stdout.strip()) == 1


def test_the_readme_s_main_command_runs_the_checkout_example() -> None:
    commands = [line for line in readme_commands() if re.fullmatch("python3 -m venv .* examples/checkout.py", line)]
    assert len(commands) == 1
    assert (ROOT / "examples" / "checkout.py").is_file()
