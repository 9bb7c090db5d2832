"""What is written on an error that leaves a run: where it came from, and the run itself."""

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import cast

from fusynk._core.printable import printable

_RUN = "__fusynk_run__"
_MOST_NAMES = 12


class _Note(str):
    """A note of fusynk's, told from the user's own when it is replaced."""

    __slots__ = ()


def annotate(error: BaseException, notes: Sequence[str], run: object, *, keep: bool = False) -> None:
    """Write notes on an error and link the run to it, in place of those of a former run.

    Args:
        error: The error.
        notes: What to write.
        run: What to link.
        keep: Whether the notes of the former run stay, because it was a part of this one.

    """
    # Straight to the error's dictionary, because a frozen exception class refuses attributes. Best effort: an
    # exception of the oddest class must still be raised as it is.
    with suppress(Exception):
        attributes = vars(error)
        attributes[_RUN] = run
        former = attributes.get("__notes__", [])
        if isinstance(former, list):
            kept = [note for note in cast("list[object]", former) if keep or not isinstance(note, _Note)]
            attributes["__notes__"] = [*kept, *map(_Note, notes)]


def linked_run(error: BaseException) -> object:
    """Return the run that an error was linked to, or `None`."""
    with suppress(Exception):  # a class may hide its dictionary
        return vars(error).get(_RUN)
    return None


def own_traceback(error: BaseException, package: str) -> TracebackType | None:
    """Return an error's traceback without the frames of the engine that lead to the body.

    Args:
        error: The error.
        package: The folder of the engine's own files.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(package):
        traceback = traceback.tb_next
    return traceback


def path_text(names: Sequence[str]) -> str:
    """Join the names of a path, leaving out the middle of a long one."""
    half = _MOST_NAMES // 2
    shown = names if len(names) <= _MOST_NAMES else (*names[:half], "...", *names[-half:])
    return " -> ".join(map(printable, shown))
