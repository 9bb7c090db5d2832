"""The journals that runs are recorded in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fusynk.journals import MemoryJournal, SqliteJournal
from fusynk.protocols import Journal


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """An empty journal of each kind."""
    made = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "runs.db", synchronous="NORMAL")
    yield made
    made.close()
