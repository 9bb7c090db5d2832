r"""What views say of a step on one line: its name, and what became of it."""

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import groupby

from rich.cells import cell_len, set_cell_size

from fusynk._core.model import AttemptRecord, Cancelled, Ending, Skipped, Status
from fusynk._core.records import Records
from fusynk.render.escape import for_terminal

LONGEST_NAME = 200  # cells; what is longer was not written to be read
_LONGEST_MENTION = 60
_MOST_ERRORS = 3
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
_LEFT_TO_RIGHT_MARK = "\u200e"

_WHO_CANCELLED = {
    "caller": "cancelled from outside",
    "abort": "cancelled by a failure",
    "deadline": "cancelled at the deadline",
    "stop": "cancelled through its handle",
    "signal": "cancelled by an interruption",
}


def shortened(text: str, width: int, rest: str, *, keep_end: bool = True) -> str:
    """Return a text that is at most so wide.

    Args:
        text: One line of visible characters.
        width: In cells.
        rest: What stands for what is left out.
        keep_end: Whether that is the middle; the end otherwise.
    """
    if cell_len(text) <= width:
        return text
    room = width - len(rest)
    if room <= 0:
        return rest[: max(0, width)]
    end = room // 3 if keep_end else 0
    return set_cell_size(text, room - end).rstrip() + rest + _last_cells(text, end)


def _last_cells(text: str, width: int) -> str:
    start = len(text)
    while start and cell_len(text[start - 1 :]) <= width:
        start -= 1
    return text[start:]


def wrapped(text: str, width: int, *, indent: str = "", gap: str = " ") -> list[str]:
    """Return a text as lines that are no wider than this, as far as its words allow.

    Args:
        text: One line of visible characters.
        width: In cells.
        indent: What each line begins with; those after the first with twice that.
        gap: What is between words.
    """
    lines: list[str] = []
    for word in text.split(gap) if text else ():
        if lines and cell_len(lines[-1]) + len(gap) + cell_len(word) <= width:
            lines[-1] += gap + word
        else:
            lines.append(indent * (2 if lines and gap == " " else 1) + word)
    return lines


def padded(text: str, width: int) -> str:
    """Return a text filled up to a width in cells; what follows one in a right-to-left script stays to its right."""
    filled = text + " " * (width - cell_len(text))
    if text.isascii() or _RIGHT_TO_LEFT.isdisjoint(map(unicodedata.bidirectional, text)):
        return filled
    return text + _LEFT_TO_RIGHT_MARK + filled[len(text) :]


def kinds_of(errors: Iterable[BaseException]) -> str:
    """Name the types of errors in order, without what they say: `ConnectionError x2, CardDeclined`."""
    groups = [(name, sum(1 for _ in same)) for name, same in groupby(type(error).__name__ for error in errors)]
    texts = [f"{name} x{count}" if count > 1 else name for name, count in groups]
    return ", ".join(["...", *texts[-_MOST_ERRORS:]] if len(texts) > _MOST_ERRORS else texts)


def failures_of(attempts: Sequence[AttemptRecord]) -> list[BaseException]:
    """Return what attempts raised, in order."""
    return [attempt.error for attempt in attempts if attempt.error is not None]


def remark(records: Records, index: int, ending: Ending | None = None) -> str:
    """Return what there is to say of how a step or an item ended; nothing of one that simply returned.

    Args:
        records: What happened.
        index: The step or item.
        ending: How the run ended, if it has.
    """
    scheduler, failed = records.scheduler, failures_of(records.failed.get(index, ()))
    state, value = scheduler.state[index], scheduler.cells[index]
    if state == Status.SUCCEEDED:
        verb = "recovered from" if index in records.recovered else "after"
        return f"{verb} {kinds_of(failed)}" if failed else ""
    if state == Status.FAILED and isinstance(value, BaseException):
        told = failed if failed and type(failed[-1]) is type(value) else [*failed, value]
        return kinds_of(told)
    if isinstance(value, Skipped):
        why = "failed" if value.cause == "failure" else "did not meet a condition"
        return f"skipped: {_mention(value.because)} {why}"
    if isinstance(value, Cancelled):
        before = f"{kinds_of(failed)}, then " if failed else ""
        cause = ending.cause if ending is not None and value.by == "abort" else None
        return before + (_WHO_CANCELLED[value.by] if cause is None else f"cancelled: {_mention(cause)} failed")
    return ""


def aftermath(ending: Ending, name: str) -> list[str]:
    """Return what came after a step had ended.

    Args:
        ending: How the run ended.
        name: The step or item.
    """
    said = [
        (name in ending.compensated, "undone"),
        (name in ending.compensation_failures, "not undone: its compensation failed"),
        (name in ending.teardown_failures, "its teardown failed"),
        (name in ending.stuck, "outlived its grace"),
        (name in ending.abandoned, "its thread was left behind"),
    ]
    return [text for is_so, text in said if is_so]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, in plural where it is not one."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _mention(name: str) -> str:
    return shortened(for_terminal(name), _LONGEST_MENTION, "...")
