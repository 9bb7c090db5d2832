"""Settings shared by all tests: hypothesis profiles and the backends."""

import os

import pytest
from hypothesis import settings

# The same examples on every run, so that a red build is red again; FUSYNK_LONG=1 goes looking for new ones.
settings.register_profile("default", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("long", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("long" if os.environ.get("FUSYNK_LONG") else "default")


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend, for tests that start their own event loop; async tests get both without it."""
    return str(request.param)
