"""The program that README.md opens with is complete: it runs as a file, alone, and prints what it says.

The other blocks are run by the conftest at the root.
"""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
PROMISED = re.compile(r"^ *print\(.*\)  # (.*)$", re.MULTILINE)


def test_the_first_program_runs_from_a_file_and_prints_what_its_comments_promise(tmp_path: Path) -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)[:1]
    file = tmp_path / "orders.py"
    file.write_text(program, "utf-8")

    run = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True)

    promised = PROMISED.findall(program)
    assert len(promised) >= 2
    for line, comment in zip(run.stdout.splitlines(), promised, strict=False):
        assert comment.startswith(line)
    assert run.stderr == ""
