"""What all tests share: where a test lies and what it uses decide its marks; one PostgreSQL a worker."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests import postgres
from tests.machine import program, write_to_memory

HERE = Path(__file__).parent
MARKED_FOLDERS = ("journey", "soak")


def pytest_configure(config: pytest.Config) -> None:
    """The long loops of `make soak` write more than a memory should hold."""
    if config.getoption("markexpr") != "soak":
        write_to_memory()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by folder and by fixture, so that no test can forget its mark; and begin with what waits longest."""
    items.sort(key=lambda item: not item.path.is_relative_to(HERE) or not _waits(item.path.relative_to(HERE)))
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        top = item.path.relative_to(HERE).parts[0]
        if top in MARKED_FOLDERS:
            item.add_marker(top)
        names = getattr(item, "fixturenames", ())
        if "postgres_cluster" in names:
            item.add_marker("postgres")
        if "chromium" in names:
            item.add_marker("browser")


def _waits(path: Path) -> bool:
    """Whether a file is one of those that take minutes by waiting for browsers, servers and clusters.

    A worker takes a file at a time: at the end these would keep one busy while the others have nothing left.
    """
    return path.parts[0] in {"ha", "journey"} or path.parts[:2] in {("contract", "served"), ("contract", "kill")}


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A running PostgreSQL; a module that wants its own databases calls `fresh_database()` on it."""
    with postgres.shared() as cluster:
        yield cluster


@pytest.fixture
async def postgres_dsn(postgres_cluster: postgres.Cluster) -> AsyncIterator[str]:
    """The dsn of an empty database for one test; dropped afterwards."""
    dsn = await postgres_cluster.fresh_database()
    yield dsn
    await postgres_cluster.drop(dsn)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """Debian's Chromium, for playwright's `executable_path`."""
    return program("chromium")
