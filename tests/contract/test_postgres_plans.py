"""PostgreSQL keeps a plan as long as a connection. One that was made of an empty table has to be made anew."""

import json
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from chopmark.core.refusal import Kind, Refused
from chopmark.store import db
from chopmark.store.engine.port import Engine
from chopmark.store.engine.postgres import PostgresEngine
from chopmark.store.engine.postgres_pool import RENEWED_EVERY_S
from chopmark.store.engine.script import Script, compiled, query, whole
from chopmark.store.repositories.audit import log
from chopmark.store.repositories.ca import certificates
from chopmark.store.repositories.messaging import outbox
from chopmark.store.repositories.ra import orders, successors

pytestmark = pytest.mark.postgres

# An autovacuum that comes between would analyse the tables, and so hide what is tested.
UNSEEN = "ALTER TABLE {table} SET (autovacuum_enabled = off)"
ROWS = 5000
FILLED = {
    "customers": """(id, person_kind, person_id_hash, person_id_sealed, name_sealed, version, created_at, updated_at)
        SELECT 'c' || n, 'natural', 'h' || n, '', '', 1, 1, 1""",
    "orders": """(id, customer, operation, account, profile, key_home, state, login_factors, policy, created_at,
          expires_at, birth_date_asked)
        SELECT 'o' || n, 'c' || n, 'enrol', '', '', '', CASE WHEN n % 2 = 0 THEN 'submitted' ELSE 'done' END, '', '',
          n, n, 0""",
    "certificates": """(serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs, state, shard,
          not_before, not_after, reserved_at)
        SELECT 's' || n, 'ca', 'o' || n, 1, '', 1, '', '', 'issued', 0, 1, n, 1""",
    "holdings": """(serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain, not_before,
          not_after, issued_at)
        SELECT 's' || n, 'c' || n, '', 'o' || n, '', '', '', 'active', '', '', 1, n, 1""",
    "work": """(id, kind, facts, attempts, not_before, leased_until) SELECT 'w' || n, 'notice', '{}', 0, n, 0""",
    "leaves": """(chain, version, previous, at, event, facts, kid, mac)
        SELECT 'o' || n, 1, '', '', '', '{}', '', ''""",
}
STATEMENTS: dict[str, str] = {
    "orders": vars(orders)["_PEND"],
    "certificates": vars(certificates)["_STATUS"],
    "holdings": vars(successors)["_OLD_ACTIVE"],
    "work": vars(outbox)["_DONE"],
    "leaves": vars(log)["_WAITS"]["postgresql"],
}


def nodes(plan: Any) -> Iterator[Any]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def ran(sql: str) -> Script[list[Any]]:
    return [dict(row) for row in (yield query(sql))]


async def fill(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    for table, rows in FILLED.items():
        await connection.execute(f"INSERT INTO {table} {rows} FROM generate_series(1, {ROWS}) AS s (n)")
    await connection.close()


async def indexes(engine: Engine, table: str) -> set[str]:
    """The indexes by which the connection goes now, by the plan that it keeps."""
    values = {"orders": "'o5'", "certificates": "'ca', 's5'", "holdings": "'s5'", "work": "1, '', 'w5', ''"}
    told = values.get(table, "1000")
    (row,) = await engine.run(ran, f"EXPLAIN (FORMAT JSON) EXECUTE by_{table}({told})")
    plan = json.loads(row["QUERY PLAN"])[0]["Plan"]
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


async def test_a_plan_that_was_made_of_empty_tables_is_not_kept_when_they_are_full(postgres_dsn: str) -> None:
    now = [0.0]
    engine = await PostgresEngine.open(postgres_dsn, pool=1, tick=lambda: now[0])
    await db.create(engine)
    for table, text in STATEMENTS.items():
        await engine.run(ran, UNSEEN.format(table=table))
        await engine.run(ran, f"PREPARE by_{table} AS {compiled(text).numbered}")
    empty = {table: await indexes(engine, table) for table in STATEMENTS}
    await fill(postgres_dsn)

    kept = {table: await indexes(engine, table) for table in STATEMENTS}
    now[0] += RENEWED_EVERY_S
    anew = {table: await indexes(engine, table) for table in STATEMENTS}
    await engine.close()

    assert kept == empty
    assert kept["leaves"] >= {"leaves_pkey", "places_by_entry"}, "also where nothing has been planned anew"
    assert kept["orders"] == {"orders_by_state"}, "all orders of a state, for one of them"
    assert anew == {
        "orders": {"orders_pkey"},
        "certificates": {"certificates_pkey"},
        "holdings": {"holdings_pkey"},
        "work": {"work_pkey"},
        "leaves": kept["leaves"],
    }


def add(n: int) -> Script[None]:
    yield whole("INSERT INTO things VALUES (:n)", n=n)


async def test_a_connection_that_leads_to_a_standby_is_not_used_for_ever(postgres_dsn: str) -> None:
    engine = await PostgresEngine.open(postgres_dsn, pool=1)
    await engine.run(ran, "CREATE TABLE things (n BIGINT)")
    await engine.run(ran, "SET default_transaction_read_only = on")  # as on a standby, for this session
    with pytest.raises(Refused) as refused:
        await engine.run(add, 1)
    assert refused.value.refusal.kind is Kind.UNAVAILABLE
    await engine.run(add, 2)
    assert await engine.read(ran, "SELECT n FROM things") == [{"n": 2}]
    await engine.close()
