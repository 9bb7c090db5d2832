"""T7: the disk is full at each call of the system that takes room on it."""

import pytest

from tests.durable.injecting import FILLING, Place, disturbed
from tests.durable.nursery import LONG

pytestmark = pytest.mark.timeout(0 if LONG else 120)


@pytest.mark.parametrize(("place", "least"), [("opening", 60), ("reopening", 30), ("writing", 40), ("closing", 5)])
def test_a_run_that_finds_no_room_is_refused_or_goes_on_and_can_be_resumed(place: Place, least: int) -> None:
    ends = disturbed(place, FILLING, "ENOSPC")

    assert ends["refused"] + ends["ended"] >= least
