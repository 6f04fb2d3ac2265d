"""An address of several hosts: whoever leads is found, whatever the others do or do not say."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chopmark.core.refusal import Kind, Refused
from chopmark.store.engine.opening import open_engine
from chopmark.store.repositories.readiness import Readiness
from tests.postgres import OWNER, Cluster, name_in

pytestmark = pytest.mark.postgres
SOCKET = ".s.PGSQL.5432"


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """A host that takes connections and never says a word: everything on it stands still."""
    with tempfile.TemporaryDirectory(prefix="chopmark-silent-") as directory:
        gone = asyncio.Event()

        async def say_nothing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await gone.wait()
            writer.close()

        server = await asyncio.start_unix_server(say_nothing, str(Path(directory) / SOCKET))
        try:
            yield directory
        finally:
            gone.set()
            server.close()


def several(dsn: str, *hosts: Path | str) -> str:
    return f"postgresql://{OWNER}@/{name_in(dsn)}?host={','.join(map(str, hosts))}"


async def opens(address: str) -> None:
    engine = await open_engine(address)
    try:
        with pytest.raises(Exception, match="installation"):
            await Readiness(engine).answers()  # it is an empty database that was reached
    finally:
        await engine.close()


async def test_a_host_that_says_nothing_does_not_hide_the_one_that_leads(
    postgres_cluster: Cluster, postgres_dsn: str
) -> None:
    async with silent() as mute:
        await opens(several(postgres_dsn, mute, postgres_cluster.directory))


async def test_a_host_that_is_gone_does_not_hide_the_one_that_leads(
    postgres_cluster: Cluster, postgres_dsn: str, tmp_path: Path
) -> None:
    await opens(several(postgres_dsn, tmp_path, postgres_cluster.directory))


async def test_while_every_host_is_silent_nobody_waits_for_ever() -> None:
    async with silent() as one, silent() as two:
        with pytest.raises(Refused) as refused:
            await open_engine(several(f"postgresql://{OWNER}@/nothing?host=x", one, two))
    assert refused.value.refusal.kind is Kind.UNAVAILABLE
