"""A database for what former issuers say: made once for a file, on each engine, and emptied before each test."""

import asyncio
from collections.abc import Iterator

import pytest

from chopmark.store import db
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from tests.postgres import Cluster


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ready(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database with our tables, one for all tests of this file."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
        asyncio.run(db.upgrade(url))
        yield url
    else:
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        url = asyncio.run(cluster.fresh_database())
        asyncio.run(db.upgrade(url))
        yield url
        asyncio.run(cluster.drop(url))


async def emptied(url: str) -> Engine:
    """Open the database with nothing in our tables."""
    engine = await open_engine(url)

    def script() -> Script[None]:
        for table in ("former_lists", "former_revocations", "former_answers", "leases"):
            yield query(f"DELETE FROM {table}")

    await engine.run(script)
    return engine
