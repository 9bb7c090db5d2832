"""The marks of the states of a run."""

from collections.abc import Mapping
from typing import cast

from fusynk._core.model import Status
from fusynk.render.marks import Mark


def mark_of(state: int) -> Mark:
    """Return the mark of a step or an item.

    Args:
        state: Its status, other than "ready".
    """
    return cast("Mark", Status(state).name.lower())


ENDED: Mapping[int, Mark] = {
    state: mark_of(state) for state in (Status.SUCCEEDED, Status.FAILED, Status.SKIPPED, Status.CANCELLED)
}
