"""The tests' own PostgreSQL is durable, and nobody shares a database by accident."""

import asyncpg

from tests.postgres import Cluster


async def test_it_is_durable_as_in_production(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    try:
        settings = [await connection.fetchval(f"SHOW {name}") for name in ("fsync", "synchronous_commit")]
    finally:
        await connection.close()
    assert settings == ["on", "on"]


async def test_each_test_gets_a_database_of_its_own(postgres_cluster: Cluster) -> None:
    first = await postgres_cluster.fresh_database()
    connection = await asyncpg.connect(first)
    await connection.execute("CREATE TABLE mark (id int)")
    await connection.close()
    empty = await postgres_cluster.fresh_database()
    copy = await postgres_cluster.fresh_database(template=first)
    tables = []
    for dsn in (first, empty, copy):
        connection = await asyncpg.connect(dsn)
        tables.append(await connection.fetchval("SELECT to_regclass('mark') IS NOT NULL"))
        await connection.close()
        await postgres_cluster.drop(dsn)
    assert tables == [True, False, True]
