"""Each record gets its place once, however late it becomes visible; places of the release before are taken over."""

import sqlite3
from typing import Any

import asyncpg
import pytest

from chopmark.audit.events import Event
from chopmark.audit.record import StreamId, make_record
from chopmark.store import db
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Script, compiled, query
from chopmark.store.repositories.leases import take
from chopmark.store.repositories.records import append
from tests.contract.audit_world import KEY, AuditTrail
from tests.unit.audit.ledger import START

A, B, C = StreamId("ORDERA"), StreamId("ORDERB"), StreamId("ORDERC")
on_postgres = pytest.mark.parametrize(
    "engine_url", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
async def world(engine: Engine) -> AuditTrail:
    await db.create(engine)
    return AuditTrail(engine)


class Slow:
    """A transaction of another process, which stays open until it is told to commit."""

    def __init__(self, world: AuditTrail, connection: Any) -> None:
        self._world = world
        self._connection = connection
        self._transaction = connection.transaction()

    @classmethod
    async def begun(cls, world: AuditTrail, dsn: str) -> "Slow":
        """Begin, and have PostgreSQL give the transaction its number."""
        slow = cls(world, await asyncpg.connect(dsn))
        await slow._transaction.start()
        await slow._connection.fetchval("SELECT pg_current_xact_id()")
        return slow

    async def write(self, stream: StreamId) -> None:
        script = append(make_record(await self._world.ledger.tip(stream), Event.RA_ORDER_OPENED, {}, START, KEY))
        step: Any = next(script)
        while step is not None:
            assert isinstance(step, Query)
            statement = compiled(step.sql)
            rows = await self._connection.fetch(statement.numbered, *statement.arguments(step.values))
            try:
                step = script.send(rows)
            except StopIteration:
                step = None

    async def commit(self) -> None:
        await self._transaction.commit()
        await self._connection.close()


async def settled(world: AuditTrail) -> list[int]:
    """Up to which entry each head says that nothing is missing."""

    def script() -> Script[list[int]]:
        return [row["settled"] for row in (yield query("SELECT settled FROM heads ORDER BY size"))]

    return await world.engine.read(script)


async def places(world: AuditTrail) -> list[tuple[str, int | None]]:
    return [(record.stream, record.index) for record in (await world.rows()).records]


@on_postgres
async def test_a_record_that_commits_after_later_ones_have_their_places_gets_one(world, postgres_dsn):
    late = await Slow.begun(world, postgres_dsn)
    await late.write(A)
    for _ in range(5):
        await world.write(B)
        assert await world.sequence() == 1
    assert await settled(world) == [0] * 5, "while somebody writes, nobody knows what is still to come"
    await late.commit()
    await world.write(B)

    assert await world.sequence() == 2
    assert (await world.verify()).findings == ()
    assert (A, 5) in await places(world)


@on_postgres
async def test_the_number_of_a_transaction_may_be_higher_than_that_of_one_with_a_later_entry(world, postgres_dsn):
    first = await Slow.begun(world, postgres_dsn)
    second = await Slow.begun(world, postgres_dsn)
    await second.write(A)
    await first.write(B)
    await first.commit()
    for _ in range(3):
        assert await world.sequence() in {0, 1}
        await world.write(C)
    assert set(await settled(world)) == {0}
    await second.commit()

    assert await world.sequence() == 2
    assert (await world.verify()).findings == ()
    assert A in {stream for stream, index in await places(world) if index is not None}


async def test_what_is_settled_follows_the_records(world):
    for _ in range(200):
        await world.write_many(A, 3)
        assert await world.sequence() == 3
    last = (await settled(world))[-1]

    assert 300 < last <= 597, "the search for waiting records begins near the last place"
    assert (await world.verify()).findings == ()


async def test_a_batch_that_is_cut_settles_nothing_behind_it(world):
    await world.write_many(A, 9)
    assert await world.sequence(limit=2) == 9
    assert await settled(world) == sorted(await settled(world))
    assert max(await settled(world)) <= 8
    await world.write_many(B, 4)
    assert await world.sequence(limit=100) == 4
    assert (await world.verify()).findings == ()


@on_postgres
async def test_numbers_of_another_cluster_whose_dump_was_loaded_settle_nothing_and_lose_nothing(world):
    def elsewhere() -> Script[None]:
        yield query("UPDATE heads SET xid = 9000000000000000000")

    await world.write_many(A, 3)
    await world.sequence()
    await world.engine.run(elsewhere)
    for _ in range(3):
        await world.write_many(B, 3)
        assert await world.sequence() == 3
    assert (await settled(world))[-1] > 0
    assert (await world.verify()).findings == ()


BEFORE = {
    "sqlite": (
        "DROP TABLE leases",
        "CREATE TABLE leases (name TEXT NOT NULL PRIMARY KEY, holder TEXT NOT NULL, fencing BIGINT, until BIGINT)",
    ),
    "postgresql": ("ALTER TABLE leases DROP CONSTRAINT leases_without_sequencer",),
}
"""What undoes revision 0027, beside `UNDONE`."""
UNDONE = (
    "ALTER TABLE leaves ADD COLUMN position BIGINT",
    "UPDATE leaves SET position = (SELECT p.position FROM places p WHERE p.entry = leaves.entry)",
    "CREATE UNIQUE INDEX leaves_by_position ON leaves (position)",
    "CREATE INDEX leaves_unsequenced ON leaves (entry) WHERE position IS NULL",
    "DROP TABLE places",
    "ALTER TABLE heads DROP COLUMN settled",
    "ALTER TABLE heads DROP COLUMN xid",
    "UPDATE alembic_version SET version_num = '0026'",
    "DELETE FROM leases",
    "INSERT INTO leases (name, holder, fencing, until) VALUES ('sequencer', 'before', 7, 1)",
)


@pytest.fixture
async def upgraded(engine_url: str, engine: Engine) -> AuditTrail:
    """A database of the release before, brought up to date: three records are in the tree, two wait."""
    await db.upgrade(engine_url)
    world = AuditTrail(engine)
    await world.write_many(A, 3)
    await world.sequence()
    await world.write_many(B, 2)

    def before() -> Script[None]:
        for statement in (*BEFORE[engine.dialect], *UNDONE):
            yield query(statement)

    await engine.run(before)
    await db.upgrade(engine_url)
    return world


async def test_places_of_the_release_before_are_taken_over_and_its_waiting_records_get_theirs(upgraded):
    assert await settled(upgraded) == [3]
    assert await places(upgraded) == [(A, 0), (A, 1), (A, 2), (B, None), (B, None)]
    await upgraded.write(A)

    assert await upgraded.sequence() == 3
    assert (await upgraded.verify()).findings == ()
    (_, last) = (await upgraded.rows()).stored_heads
    assert '"fencing":8' in last.line, "the numbers of leases go on"


async def test_a_sequencer_of_the_release_before_gets_no_lease_any_more(upgraded):
    with pytest.raises((sqlite3.IntegrityError, asyncpg.CheckViolationError)):
        await upgraded.engine.run(take, "sequencer", "before", ms(START), ms(START) + 1000)
    assert await upgraded.sequence() == 2
