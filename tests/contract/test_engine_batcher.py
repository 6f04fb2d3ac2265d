"""Batchable bundles share a transaction on PostgreSQL and still stand or fall alone, on both engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from chopmark.core.refusal import Refused
from chopmark.store.engine.opening import open_engine
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, at_once, guard, query, whole

_INSERT = "INSERT INTO things (id, n) VALUES (:id, :n) ON CONFLICT (id) DO NOTHING RETURNING id"
_TAKE = "UPDATE stock SET n = n - 1 WHERE id = :id AND n > 0 RETURNING n"


async def stocked(engine: Engine) -> Engine:
    def made() -> Script[None]:
        yield query("CREATE TABLE things (id TEXT PRIMARY KEY, n BIGINT)")
        yield query("CREATE TABLE stock (id TEXT PRIMARY KEY, n BIGINT)")
        yield query("INSERT INTO stock (id, n) VALUES ('one', 1), ('many', 1000)")

    await engine.run(made)
    return engine


@pytest.fixture
async def things(engine: Engine) -> Engine:
    return await stocked(engine)


@pytest.fixture
async def on_postgres(postgres_dsn: str) -> AsyncIterator[Engine]:
    engine = await open_engine(postgres_dsn)
    yield await stocked(engine)
    await engine.close()


def put(name: str, *parts: str) -> Script[bool]:
    taken = [guard(_TAKE, id=part) for part in parts]
    return (yield from at_once(guard(_INSERT, id=name, n=1), *taken, batchable=True)) is not None


def ids(sql: str) -> Script[list[str]]:
    return [row["id"] for row in (yield whole(sql))]


async def names(engine: Engine) -> list[str]:
    return await engine.read(ids, "SELECT id FROM things ORDER BY id")


def look(name: str) -> Script[list[str]]:
    found = yield from at_once(query("SELECT id FROM things WHERE id = :id", id=name), batchable=True)
    return [row["id"] for row in (found or [[]])[0]]


async def test_all_that_wait_at_once_are_done_and_each_is_told_its_own(things: Engine) -> None:
    done = await asyncio.gather(*(things.run(put, f"{number:02}") for number in range(37)))
    assert done == [True] * 37
    assert await names(things) == [f"{number:02}" for number in range(37)]
    seen = await asyncio.gather(*(things.read(look, name) for name in ("03", "none", "36")))
    assert seen == [["03"], [], ["36"]]


async def test_one_that_cannot_be_done_takes_nobody_with_it(things: Engine) -> None:
    await things.run(put, "05")
    done = await asyncio.gather(*(things.run(put, f"{number:02}") for number in range(12)))
    assert done == [number != 5 for number in range(12)]
    assert len(await names(things)) == 12


async def test_of_two_that_want_the_same_one_gets_it(things: Engine) -> None:
    done = await asyncio.gather(*(things.run(put, "same") for _ in range(20)))
    assert sorted(done) == [False] * 19 + [True]
    done = await asyncio.gather(*(things.run(put, f"{number}", "one") for number in range(20)))
    assert sorted(done) == [False] * 19 + [True]
    assert len(await names(things)) == 2


async def test_a_row_that_many_change_loses_no_change(things: Engine) -> None:
    done = await asyncio.gather(*(things.run(put, f"{number}", "many") for number in range(30)))
    assert done == [True] * 30
    assert await things.read(ids, "SELECT id FROM stock WHERE n = 970") == ["many"]


async def test_who_is_cancelled_while_waiting_disturbs_nobody(things: Engine) -> None:
    waiting = [asyncio.create_task(things.run(put, f"{number:02}")) for number in range(24)]
    await asyncio.sleep(0)
    for task in waiting[::3]:
        task.cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [one is True or isinstance(one, asyncio.CancelledError) for one in done] == [True] * 24
    assert {f"{number:02}" for number, one in enumerate(done) if one is True} <= set(await names(things))
    assert await things.run(put, "after")


@asynccontextmanager
async def locked(url: str, sql: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await connection.execute(sql)
            yield
    finally:
        await connection.close()


@pytest.mark.postgres
async def test_on_postgresql_those_that_wait_share_a_transaction(on_postgres: Engine) -> None:
    await asyncio.gather(*(on_postgres.run(put, f"{number:02}") for number in range(34)))
    count = "SELECT CAST(COUNT(DISTINCT CAST(xmin AS TEXT)) AS TEXT) AS id FROM things"
    (transactions,) = await on_postgres.read(ids, count)
    assert int(transactions) <= 8


@pytest.mark.postgres
async def test_one_that_waits_for_a_lock_holds_up_nobody_else(on_postgres: Engine, postgres_dsn: str) -> None:
    async with locked(postgres_dsn, "UPDATE stock SET n = n WHERE id = 'one'"):
        waits = asyncio.create_task(on_postgres.run(put, "slow", "one"))
        while not await on_postgres.read(ids, "SELECT CAST(pid AS TEXT) AS id FROM pg_locks WHERE NOT granted"):
            pass
        assert await on_postgres.run(put, "quick", "many")
        assert not waits.done()
    assert await waits


@pytest.mark.postgres
async def test_when_the_server_ends_the_connections_all_are_told_and_the_next_goes_on(
    on_postgres: Engine, postgres_dsn: str
) -> None:
    async with locked(postgres_dsn, "UPDATE stock SET n = n WHERE id = 'one'"):
        waiting = [asyncio.create_task(on_postgres.run(put, f"{number}", "one")) for number in range(5)]
        while len(await on_postgres.read(ids, "SELECT CAST(pid AS TEXT) AS id FROM pg_locks WHERE NOT granted")) < 2:
            pass
        end = "SELECT CAST(pg_terminate_backend(pid) AS TEXT) AS id FROM pg_locks WHERE NOT granted"
        await on_postgres.read(ids, end)
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, Refused) for one in done) >= 1
    assert all(isinstance(one, Refused | bool) for one in done)
    assert await on_postgres.run(put, "after", "many")


@pytest.mark.postgres
async def test_only_what_streams_whole_tables_plans_to_read_them_from_end_to_end(on_postgres: Engine) -> None:
    ask = "SELECT current_setting('enable_seqscan') AS id"
    streamed = [row["id"] async for rows in on_postgres.stream(ask, {}) for row in rows]
    async with on_postgres.snapshot() as snapshot:
        streamed += [row["id"] async for rows in snapshot.stream(ask, {}) for row in rows]
    assert streamed == ["on", "on"]
    assert await on_postgres.run(ids, ask) == await on_postgres.read(ids, ask) == ["off"]
