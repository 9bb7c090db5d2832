"""T7: each call of the system that changes a file of the journal fails."""

import pytest

from tests.durable.injecting import CHANGING, Place, disturbed
from tests.durable.nursery import LONG

pytestmark = pytest.mark.timeout(0 if LONG else 120)


@pytest.mark.parametrize(("place", "least"), [("opening", 60), ("reopening", 30), ("writing", 40), ("closing", 5)])
def test_a_run_whose_files_cannot_be_written_is_refused_or_goes_on_and_can_be_resumed(place: Place, least: int) -> None:
    ends = disturbed(place, CHANGING, "EIO")

    assert ends["refused"] + ends["ended"] >= least
