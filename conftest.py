"""Runs every example of README.md and of the package's docstrings."""

from collections.abc import Callable
from doctest import ELLIPSIS
from typing import Any

from sybil import Sybil
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
from sybil.parsers.rest import DocTestParser


def _name_the_module(namespace: dict[str, Any]) -> None:
    """Gives what README.md defines a module to belong to, as a script's definitions have."""
    namespace["__name__"] = "readme"


# A block that must not run needs a comment that says why: <!-- skip: next "the reason" -->
_readme = Sybil(
    parsers=[PythonCodeBlockParser(doctest_optionflags=ELLIPSIS), SkipParser()],
    patterns=["README.md"],
    setup=_name_the_module,
)
_docstrings = Sybil(
    parsers=[DocTestParser(optionflags=ELLIPSIS)],
    patterns=["fusynk/**/*.py", "fusynk/*.py"],
    document_types={".py": PythonDocStringDocument},
)

pytest_collect_file: Callable[..., Any] = (_readme + _docstrings).pytest()
