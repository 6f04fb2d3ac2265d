"""Several hosts, one that takes writes: who answers is found, kept and found again, and readers only read."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from functools import partial

import asyncpg
import pytest

from chopmark.core.refusal import Kind, Refused
from chopmark.store.current import make_current
from chopmark.store.engine.opening import is_current, open_engine, schema_of
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.postgres import READING, SESSION
from chopmark.store.engine.script import Script, query, whole
from tests import postgres
from tests.sessions import end_sessions, has, pid, soon

ATTRIBUTES = ["primary", "read-write"]


def make() -> Script[None]:
    yield query("CREATE TABLE things (n BIGINT)")


def add(n: int) -> Script[None]:
    yield whole("INSERT INTO things VALUES (:n)", n=n)


def ns() -> Script[list[int]]:
    return [row["n"] for row in (yield query("SELECT n FROM things ORDER BY n"))]


@pytest.mark.parametrize("attributes", ["any", *ATTRIBUTES])
async def test_a_reader_is_told_to_read_only_after_the_driver_has_looked_for_a_writer(
    postgres_cluster, postgres_dsn, attributes
):
    url = f"{postgres_dsn}&target_session_attrs={attributes}"
    engine = await open_engine(url)
    assert await engine.read(has, *SESSION, *READING) == SESSION | READING
    first = {await engine.read(pid), await engine.run(pid)}

    assert await end_sessions(postgres_cluster, url) >= 2
    again = {await soon(partial(engine.read, pid)), await soon(partial(engine.run, pid))}

    assert not first & again
    assert await engine.read(has, *SESSION, *READING) == SESSION | READING
    await engine.run(make)
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await engine.read(add, 1)
    await engine.close()


@pytest.mark.parametrize("attributes", ATTRIBUTES)
async def test_the_schema_is_made_and_read_with_it(postgres_dsn, attributes):
    url = f"{postgres_dsn}&target_session_attrs={attributes}"
    await make_current(url)
    assert await is_current(url)


@pytest.mark.parametrize("attributes", ATTRIBUTES)
async def test_the_one_that_takes_writes_is_found_before_and_after_a_switch(attributes):
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(postgres.running())
        name = postgres.name_in(await first.fresh_database())
        second = stack.enter_context(postgres.following(first))
        hosts = f"{second.directory},{first.directory}"
        engine = await open_engine(
            f"postgresql://{postgres.OWNER}@/{name}?host={hosts}&target_session_attrs={attributes}"
        )
        await engine.run(make)
        await engine.run(add, 1)
        assert await engine.read(ns) == [1]
        connection = await asyncpg.connect(second.dsn())

        first.process.send_signal(signal.SIGINT)  # a fast shutdown waits until the standby has it all
        first.process.wait()
        with pytest.raises(Refused) as refused:  # reached, and takes no writes: no host will do
            await _until_refused(partial(engine.run, add, 2))
        assert refused.value.refusal.kind is Kind.UNAVAILABLE
        assert await connection.fetchval("SELECT pg_promote()")
        await connection.close()

        await soon(partial(engine.run, add, 3), tries=20)
        assert await engine.read(ns) == [1, 3]
        assert await engine.read(has, *READING) == READING
        await engine.close()


async def _until_refused(call) -> None:
    for _ in range(20):
        await call()


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, list[int]]]:
    """A host that takes connections and never answers; its port, and a list that grows by each connection."""
    callers: list[int] = []
    over = asyncio.Event()

    async def keep(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(len(callers))
        with contextlib.closing(writer):
            await over.wait()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], callers
        over.set()


async def test_a_host_that_swallows_everything_does_not_hide_the_next_and_is_asked_once(postgres_cluster, postgres_dsn):
    async with silent() as (port, callers):
        name = postgres.name_in(postgres_dsn)
        url = f"postgresql://{postgres.OWNER}@/{name}?host=127.0.0.1:{port},{postgres_cluster.directory}"
        engine = await open_engine(f"{url}&target_session_attrs=primary")
        await engine.run(make)
        await asyncio.gather(*(engine.run(add, n) for n in range(8)))
        assert await engine.read(ns) == list(range(8))
        assert len(callers) == 1
        await engine.close()


@pytest.mark.parametrize("kind", ["stream", "snapshot"])
async def test_a_stream_whose_connection_is_lost_is_unavailable_and_not_a_fault(postgres_cluster, postgres_dsn, kind):
    engine = await open_engine(postgres_dsn)
    many = "SELECT n FROM generate_series(1, 100000) AS s (n)"
    async with contextlib.AsyncExitStack() as stack:
        source = engine if kind == "stream" else await stack.enter_async_context(engine.snapshot())
        streams = [source.stream(many, {}, 10) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        assert await end_sessions(postgres_cluster, postgres_dsn) >= 2
        for stream in streams:
            with pytest.raises(Refused) as refused:
                await anext(stream)
            assert refused.value.refusal.kind is Kind.UNAVAILABLE
    await engine.close()


async def test_a_standby_alone_is_unavailable_and_not_a_fault():
    with postgres.running() as first, postgres.following(first) as second:
        url = f"{second.dsn()}&target_session_attrs=read-write"
        with pytest.raises(Refused) as refused:
            await open_engine(url)
        assert refused.value.refusal.kind is Kind.UNAVAILABLE
        with pytest.raises(OSError, match="takes writes"):
            await schema_of(url)


async def test_a_host_that_does_not_let_us_in_does_not_hide_the_next(postgres_cluster, postgres_dsn):
    with postgres.running() as other:  # without this database
        name = postgres.name_in(postgres_dsn)
        url = f"postgresql://{postgres.OWNER}@/{name}?host={other.directory},{postgres_cluster.directory}"
        engine = await open_engine(url)
        assert await engine.read(has, *READING) == READING
        await engine.close()
        with pytest.raises(Unfit, match=f'does not let us in.*"{name}" does not exist'):
            await open_engine(f"postgresql://{postgres.OWNER}@/{name}?host={other.directory},/nowhere")
