"""T7: each call of the system that reads or locks a file of the journal fails."""

import pytest

from tests.durable.injecting import READING, Place, disturbed
from tests.durable.nursery import LONG

pytestmark = pytest.mark.timeout(0 if LONG else 120)


@pytest.mark.parametrize(("place", "least"), [("opening", 20), ("reopening", 20), ("writing", 3), ("closing", 3)])
def test_a_run_whose_files_cannot_be_read_is_refused_or_goes_on_and_can_be_resumed(place: Place, least: int) -> None:
    ends = disturbed(place, READING, "EIO")

    assert ends["refused"] + ends["ended"] >= least
