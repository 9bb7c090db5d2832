"""Runs every example of README.md and of the package's docstrings."""

from collections.abc import Callable
from doctest import ELLIPSIS
from typing import Any

import pytest
from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.integration.pytest import SybilItem
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser


def _run_as_script(namespace: dict[str, Any]) -> None:
    """Lets README.md's blocks run as a script would, with what it does under `__name__ == "__main__"`."""
    namespace["__name__"] = "__main__"


# A block that must not run needs a comment that says why: <!-- skip: next "the reason" -->
_readme = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS), SkipParser()],
    patterns=["README.md"],
    setup=_run_as_script,
)
_docstrings = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS)],
    patterns=["fusynk/**/*.py", "fusynk/*.py"],
    document_types={".py": PythonDocStringDocument},
)

pytest_collect_file: Callable[..., Any] = (_readme + _docstrings).pytest()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts examples back into the order of their document after they were shuffled: they build on each other."""
    places = [place for place, item in enumerate(items) if isinstance(item, SybilItem)]
    examples = [item for item in items if isinstance(item, SybilItem)]
    examples.sort(key=lambda item: (str(item.path), item.example.line, item.example.column))
    for place, example in zip(places, examples, strict=True):
        items[place] = example
