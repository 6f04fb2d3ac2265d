"""A backup is put back: what the database forgot is answered from outside it at once, and entered again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from tests import postgres
from tests.contract.restored import Backups
from tests.contract.world import World, world_fixture

world = world_fixture()


@pytest.fixture
async def backups(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> AsyncIterator[Backups]:
    named = "postgres_cluster" if world.url.startswith("postgresql") else None
    cluster = None if named is None else cast(postgres.Cluster, request.getfixturevalue(named))
    yield Backups(world, cluster, tmp_path)
