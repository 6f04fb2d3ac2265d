"""Behind pgbouncer: in session mode everything holds, and each other mode is refused in words before it does harm."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

import asyncpg
import pytest

from chopmark.core.refusal import Kind, Refused
from chopmark.store import db
from chopmark.store.engine.opening import assert_usable, open_engine, schema_of
from chopmark.store.engine.port import Engine, Unfit
from chopmark.store.engine.postgres import READING, SESSION, UNHURRIED
from chopmark.store.engine.postgres_route import Route
from chopmark.store.engine.script import Row, Script, query, whole
from tests import pgbouncer, postgres
from tests.sessions import HAS, end_sessions, has, pid, soon

IGNORED = "lock_timeout,statement_timeout,idle_in_transaction_session_timeout,jit,plan_cache_mode,enable_seqscan"
IGNORING = {"ignore_startup_parameters": f"{IGNORED},default_transaction_read_only,synchronous_commit,options,geqo"}


def make() -> Script[None]:
    yield query("CREATE TABLE things (n BIGINT)")


def make_at_once() -> Script[None]:
    """Outside of any transaction block: the session alone says that nothing is written."""
    yield whole("CREATE TABLE things (n BIGINT)")


@pytest.fixture(scope="module", params=[{}, IGNORING], ids=["as it comes", "ignoring"])
def session_pooler(postgres_cluster: postgres.Cluster, request: pytest.FixtureRequest) -> Iterator[pgbouncer.Pooler]:
    with pgbouncer.pooling(postgres_cluster, "session", **request.param) as pooler:
        yield pooler


@pytest.fixture
def pooled(session_pooler: pgbouncer.Pooler, postgres_dsn: str) -> str:
    return session_pooler.dsn(postgres_dsn)


@pytest.fixture
async def engine(pooled: str) -> AsyncIterator[Engine]:
    opened = await open_engine(pooled)
    yield opened
    await opened.close()


async def test_a_writers_session_has_every_setting(engine):
    assert await engine.run(has, *SESSION) == SESSION


async def test_a_reader_has_them_too_and_cannot_write(engine):
    assert await engine.read(has, *SESSION, *READING) == SESSION | READING
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        await engine.read(make_at_once)


async def test_a_stream_and_a_snapshot_are_not_hurried(engine):
    names = {"names": ",".join(UNHURRIED)}

    async with engine.snapshot() as snapshot:
        for source in (engine, snapshot):
            async with aclosing(source.stream(HAS, names)) as rows:
                found: list[Row] = [row for batch in [batch async for batch in rows] for row in batch]
            assert {row["name"]: row["value"] for row in found} == UNHURRIED


async def test_migrations_and_scripts_run(pooled):
    await db.upgrade(pooled)

    assert await db.check(pooled) is db.Fit.CURRENT
    await assert_usable(pooled)


async def test_processes_wake_each_other_and_nobody_hears_himself_twice(engine, pooled):
    other = await open_engine(pooled)
    for each, channel in ((engine, "mine"), (engine, "fence"), (other, "mine"), (other, "theirs")):
        await each.wait(channel, 5)

    await engine.wake("mine")
    assert await engine.wait("mine", 5)
    assert await other.wait("mine", 5)
    await other.wake("fence")
    assert await engine.wait("fence", 5), "what came before it has come"
    assert not await engine.wait("mine", 0)
    await other.close()


async def test_connections_that_ended_are_made_again_with_their_settings(engine, postgres_cluster, pooled):
    before = {await engine.read(pid), await engine.run(pid)}

    assert await end_sessions(postgres_cluster, pooled) >= 2
    after = {await soon(partial(engine.read, pid)), await soon(partial(engine.run, pid))}

    assert not before & after
    assert await engine.read(has, *SESSION, *READING) == SESSION | READING
    assert await engine.run(has, *SESSION) == SESSION


async def test_what_the_address_wants_set_is_set_too(pooled):
    opened = await open_engine(f"{pooled}&geqo=off&options=-c%20search_path%3Dnowhere%20--from-collapse-limit%3D3")

    for call in (opened.run, opened.read):
        assert await call(has, "geqo", "search_path", "from_collapse_limit") == {
            "geqo": "off",
            "search_path": "nowhere",
            "from_collapse_limit": "3",
        }
    await opened.close()


async def test_the_addresss_own_wish_does_not_replace_a_setting_that_the_promises_rest_on(pooled):
    opened = await open_engine(f"{pooled}&options=-c%20statement_timeout%3D0&lock_timeout=0")

    assert await opened.run(has, *SESSION) == SESSION
    await opened.close()


async def test_a_setting_that_postgresql_does_not_know_is_a_sentence(pooled):
    with pytest.raises(Unfit, match=r"does not take a setting.*no_such_thing"):
        await open_engine(f"{pooled}&no_such_thing=1")


@asynccontextmanager
async def others(pooled: str, number: int) -> AsyncIterator[None]:
    """Clients that keep so many sessions busy with transactions of their own, and hold a few for a while."""
    connections = [await asyncpg.connect(pooled, statement_cache_size=0) for _ in range(number)]
    turns = 0
    enough = asyncio.Event()

    async def work(connection: asyncpg.Connection) -> None:
        nonlocal turns
        while True:
            await connection.execute("BEGIN; SELECT 1; SELECT 2; COMMIT")
            turns += 1
            if turns >= 20 * number:
                enough.set()

    busy = [asyncio.create_task(work(connection)) for connection in connections]
    if busy:
        await enough.wait()
    yield
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    for connection in connections:
        connection.terminate()


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("turns", [0, 1], ids=["the last one first", "round robin"])
async def test_transaction_mode_is_refused_however_busy_it_is(postgres_cluster, postgres_dsn, turns, number):
    with pgbouncer.pooling(postgres_cluster, "transaction", server_round_robin=turns, **IGNORING) as pooler:
        pooled = pooler.dsn(postgres_dsn)
        async with others(pooled, number):
            for _ in range(5):
                for way in (open_engine, schema_of, db.upgrade, assert_usable):
                    with pytest.raises(Unfit, match="pool_mode = session"):
                        await way(pooled)


@pytest.mark.parametrize("number", [2, 3, 4])
@pytest.mark.parametrize("turns", [0, 1], ids=["the last one first", "round robin"])
async def test_transaction_mode_is_refused_where_several_sessions_are_idle(
    postgres_cluster, postgres_dsn, turns, number
):
    with pgbouncer.pooling(postgres_cluster, "transaction", server_round_robin=turns) as pooler:
        pooled = pooler.dsn(postgres_dsn)
        await leave_idle(pooled, number)
        with pytest.raises(Unfit, match="pool_mode = session"):
            await open_engine(pooled)


async def leave_idle(pooled: str, number: int) -> None:
    """Have the pooler open so many sessions, and use none of them."""
    connections = [await asyncpg.connect(pooled) for _ in range(number)]
    for what in ("BEGIN", "COMMIT"):
        for connection in connections:
            await connection.execute(what)
    for connection in connections:
        await connection.close()


@pytest.mark.parametrize("turns", [0, 1], ids=["the last one first", "round robin"])
async def test_statement_mode_is_refused(postgres_cluster, postgres_dsn, turns):
    with pgbouncer.pooling(postgres_cluster, "statement", server_round_robin=turns) as pooler:
        for way in (open_engine, schema_of, db.upgrade, assert_usable):
            with pytest.raises(Unfit, match="pool_mode = session"):
                await way(pooler.dsn(postgres_dsn))


async def test_a_connection_made_when_the_mode_has_changed_is_refused_where_its_settings_are_lost(
    postgres_cluster, postgres_dsn
):
    with pgbouncer.pooling(postgres_cluster, "transaction", server_round_robin=1) as pooler:
        pooled = pooler.dsn(postgres_dsn)
        await leave_idle(pooled, 3)
        with pytest.raises(Unfit, match="pool_mode = session"):
            await Route.to(pooled).connect(SESSION)


async def test_a_refused_start_leaves_no_setting_in_sessions_that_others_use(postgres_cluster, postgres_dsn):
    with pgbouncer.pooling(postgres_cluster, "transaction", **IGNORING) as pooler:
        pooled = pooler.dsn(postgres_dsn)
        with pytest.raises(Unfit):
            await open_engine(pooled)
        connection = await asyncpg.connect(pooled, statement_cache_size=0)
        assert await connection.fetchval("SHOW statement_timeout") == "0"
        assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
        await connection.close()


async def test_sessions_that_are_handed_on_as_they_were_left_are_refused(postgres_cluster, postgres_dsn):
    with pgbouncer.pooling(postgres_cluster, "session", server_reset_query="") as pooler:
        pooled = pooler.dsn(postgres_dsn)
        first = await open_engine(pooled)
        await first.close()
        with pytest.raises(Unfit, match="server_reset_query = DISCARD ALL"):
            await open_engine(pooled)


async def test_a_pooler_without_room_is_a_sentence(postgres_cluster, postgres_dsn):
    with (
        pgbouncer.pooling(postgres_cluster, "session", default_pool_size=1, query_wait_timeout=1) as pooler,
        pytest.raises(Unfit, match="default_pool_size"),
    ):
        await open_engine(pooler.dsn(postgres_dsn))


async def test_postgresql_down_behind_the_pooler_is_unavailable():
    with postgres.running() as cluster, pgbouncer.pooling(cluster, "session") as pooler:
        engine = await open_engine(pooler.dsn(await cluster.fresh_database()))
        await engine.run(make)
        cluster.process.send_signal(signal.SIGINT)
        cluster.process.wait()
        for _ in range(3):
            with pytest.raises(Refused) as refused:
                await engine.run(make)
            assert refused.value.refusal.kind is Kind.UNAVAILABLE
        await engine.close()
