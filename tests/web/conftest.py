"""The counter as a fixture."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.installation import prepared, shared_folder
from tests.web import counter


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a played demo; the workers of one run share it."""
    return asyncio.run(prepared(shared_folder(tmp_path_factory), "counter", counter.play))


@pytest.fixture
async def world(played: Path, tmp_path: Path) -> AsyncIterator[counter.World]:
    """A counter of one test."""
    async with counter.opened(played, tmp_path / "data") as opened:
        yield opened
