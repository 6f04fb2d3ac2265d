"""The counter as a fixture."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web import counter


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a played demo; the workers of one run share it."""
    base = tmp_path_factory.getbasetemp()
    return counter.prepared(base.parent if base.name.startswith("popen-") else base)


@pytest.fixture
async def world(played: Path, tmp_path: Path) -> AsyncIterator[counter.World]:
    """A counter of one test."""
    async with counter.opened(played, tmp_path / "data") as opened:
        yield opened
