"""Keeps the outputs in README.md true: runs its Python blocks, and compares what they write with what is pasted.

    python -m tests.pasted            says what is out of date
    python -m tests.pasted --write    pastes it anew

`<!-- output -->` above a block of text makes it what the block of Python before it writes to the standard output and
error where no terminal is. `<!-- output on a terminal after 625 ms -->` makes it what a terminal shows when the
progress of a run says so. What depends on the machine, such as peak memory, is pasted and not compared.
"""

import os
import re
import sys
import warnings
from contextlib import redirect_stderr, redirect_stdout
from difflib import unified_diff
from io import StringIO
from pathlib import Path
from types import CodeType
from unittest.mock import patch

from tests.render_runs.terminal import Terminal

README = Path(__file__).parents[1] / "README.md"
WRITE = "python -m tests.pasted --write"
WIDTH, HEIGHT = 80, 24

_BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$"
    r"|^(?P<marker><!-- output(?: on a terminal after (?P<time>[^>]+?))? -->)\n```text\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MEASURED = re.compile(r"^( *(?:Peak memory|CPU time) +).*$", re.MULTILINE)
_ENVIRONMENT = {"COLUMNS": str(WIDTH), "LINES": str(HEIGHT), "TERM": "xterm"}


class _Screen(StringIO):
    """A standard error that leads to a terminal, of which all pictures are kept."""

    def __init__(self) -> None:
        super().__init__()
        self._terminal = Terminal(WIDTH, HEIGHT)
        self.pictures: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._terminal.feed(text.replace("\n", "\r\n").encode())
        self.pictures.append("\n".join(self._terminal.lines))
        return len(text)


class _Reader:
    """Reads a document from top to bottom: runs each block of Python, and puts what it wrote into blocks of text."""

    def __init__(self, document: str) -> None:
        self._document = document
        self._names: dict[str, object] = {"__name__": "__main__"}
        self._code: CodeType = compile("", str(README), "exec")
        self._written = ""

    def refreshed(self) -> str:
        return _BLOCK.sub(self._read, self._document)

    def _read(self, block: re.Match[str]) -> str:
        if block["code"] is not None:
            above = self._document.count("\n", 0, block.start("code"))  # so that errors name the line in the document
            self._code = compile("\n" * above + block["code"], str(README), "exec")
            self._written = self._run(StringIO())
            return block[0]
        text = self._written if block["time"] is None else self._seen_after(block["time"])
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        is_same = _MEASURED.sub(r"\1", text) == _MEASURED.sub(r"\1", block["text"])
        return block[0] if is_same else f"{block['marker']}\n```text\n{text}```"

    def _run(self, stream: StringIO) -> str:
        with redirect_stdout(stream), redirect_stderr(stream):
            exec(self._code, self._names)  # noqa: S102 - the README's own code, as its reader runs it
        return stream.getvalue()

    def _seen_after(self, time: str) -> str:
        screen = _Screen()
        self._run(screen)
        pictures = [picture for picture in screen.pictures if f" after {time}: " in picture.rpartition("\n")[2]]
        if not pictures:
            raise LookupError(f"no picture of {len(screen.pictures)} on the terminal says 'after {time}: '")
        return pictures[0]


def refreshed(document: str) -> str:
    """Return a document with the outputs that its Python blocks have now."""
    with patch.dict(os.environ, _ENVIRONMENT), warnings.catch_warnings():
        warnings.simplefilter("error")  # as in tests; a warning in the README is a fault of it
        return _Reader(document).refreshed()


def difference(document: str) -> str:
    """Return what is out of date in a document, and how to mend it; nothing if all is as it should be."""
    pasted, written = document.splitlines(), refreshed(document).splitlines()
    lines = list(unified_diff(pasted, written, "README.md as it is", "README.md as its blocks write", lineterm=""))
    return "\n".join([*lines, f"Outputs in README.md are out of date; paste them anew: {WRITE}"]) if lines else ""


def main(arguments: list[str]) -> int:
    """Run the command: 1 if outputs are out of date and were not to be written."""
    document = README.read_text("utf-8")
    if arguments == ["--write"]:
        README.write_text(refreshed(document), "utf-8", newline="\n")
        return 0
    found = difference(document)
    print(found or "Outputs in README.md are up to date.")  # noqa: T201 - a command
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
