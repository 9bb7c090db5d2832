"""Paths of files that are kept open."""

import os
from pathlib import Path

from fusynk.errors import InvalidOption, shown


def real_path(path: str | os.PathLike[str], owner: str, in_memory: str) -> Path:
    """Return the path of a file with links followed, so that it stays the same wherever the program goes.

    Args:
        path: What the user gave.
        owner: The class that it was given to.
        in_memory: The class that keeps nothing in a file.

    Raises:
        InvalidOption: It is no path.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidOption(f"{owner}({shown(path)}): it must be the path of a file.")
    if text == ":memory:":
        raise InvalidOption(f"{owner}(':memory:') would make a file of that name; write {in_memory}().")
    return Path(os.path.realpath(text))
