"""A run that several modules look at, and its page."""

from typing import Any

import pytest

from fusynk import Run
from fusynk.testing import simulate
from tests.render_runs.pages import Element, orders, read


@pytest.fixture(scope="session")
def ordered() -> Run[Any]:
    return simulate(orders()).run


@pytest.fixture(scope="session")
def ordered_page(ordered: Run[Any]) -> Element:
    return read(ordered.to_html())
