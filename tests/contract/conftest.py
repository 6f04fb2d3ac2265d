"""Both engines, each with an empty database of its own: a contract test runs on every one of them."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from chopmark.store import db
from chopmark.store.db import open_engine
from chopmark.store.engine.port import Engine
from tests.contract.alone import Alone, create_tables
from tests.postgres import ALONE, TEMPLATES, Cluster
from tests.tables import Clock


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another file system than the test's own: for what must not lie beside the database."""
    mine = tmp_path.stat().st_dev
    other = next(folder for folder in ("/var/tmp", "/dev/shm") if Path(folder).stat().st_dev != mine)
    with tempfile.TemporaryDirectory(dir=other, prefix="chopmark-") as made:
        yield Path(made)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine_url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database that several engines and processes can open."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_dsn"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
async def engine(engine_url: str) -> AsyncIterator[Engine]:
    opened = await open_engine(engine_url)
    yield opened
    await opened.close()


@pytest.fixture
async def memory() -> AsyncIterator[Engine]:
    opened = await open_engine("sqlite://:memory:")
    yield opened
    await opened.close()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def tables_alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database with our tables and no installation: one on each engine for all tests of a process."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('alone') / 'store.db'}"
        asyncio.run(_made(url))
        yield url
    else:
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        made = Path(os.environ.get(TEMPLATES, "")) / "postgresql" / ALONE
        if made.is_file():
            url = asyncio.run(cluster.fresh_database(made.read_text(encoding="ascii")))
        else:
            url = asyncio.run(cluster.fresh_database())
            asyncio.run(db.upgrade(url))
        yield url
        asyncio.run(cluster.drop(url))


async def _made(url: str) -> None:
    opened = await open_engine(url)
    await create_tables(opened)
    await opened.close()


@pytest.fixture
async def alone(tables_alone: str) -> AsyncIterator[Alone]:
    """The tables that tests of single statements write to, all empty."""
    opened = await open_engine(tables_alone)
    made = Alone(opened, Clock())
    await made.empty()
    yield made
    await opened.close()
