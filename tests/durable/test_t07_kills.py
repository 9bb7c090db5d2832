"""T7: a process is killed before each call of the system that changes a file of its journal."""

import pytest

from tests.durable.injecting import CHANGING, Place, disturbed
from tests.durable.nursery import LONG

pytestmark = pytest.mark.timeout(0 if LONG else 120)


@pytest.mark.parametrize(("place", "least"), [("opening", 60), ("reopening", 30), ("writing", 40), ("closing", 6)])
def test_a_run_that_is_killed_at_any_call_goes_on_where_it_was(place: Place, least: int) -> None:
    ends = disturbed(place, CHANGING, "kill")

    assert ends["killed"] >= least
