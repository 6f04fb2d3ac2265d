"""No statement leases more rows than it was asked for, whatever plan PostgreSQL makes of it."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta

import asyncpg
import pytest

from chopmark.messaging.alarms import Alarm, AlarmKind
from chopmark.messaging.ports import OutboxJobKind
from chopmark.ra.reminders.policy import Step
from chopmark.store.db import open_engine, upgrade
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Value
from chopmark.store.repositories.messaging.alarms import AT_ONCE, AlarmRepository
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.outbox import OutboxRepository
from chopmark.store.repositories.reminders.queue import ReminderQueueRepository
from tests.contract.reminded import Bare, Reminded
from tests.postgres import name_in
from tests.tables import Clock

pytestmark = pytest.mark.postgres
NOW = datetime(2026, 7, 28, 12, 0, tzinfo=UTC)
MOST, THERE = 2, 7
# What is left is a loop that chooses anew for each row of the table, where an index gives the order.
OFF = ("hashagg", "hashjoin", "mergejoin", "sort", "material", "memoize")


@pytest.fixture
async def engine(postgres_dsn: str) -> AsyncIterator[Engine]:
    """A database of PostgreSQL that makes the plan in which a sub-select runs most often."""
    await upgrade(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn)
    for name in OFF:
        await connection.execute(f'ALTER DATABASE "{name_in(postgres_dsn)}" SET enable_{name} = off')
    await connection.close()
    opened = await open_engine(postgres_dsn)
    yield opened
    await opened.close()


@pytest.fixture
def tables(engine: Engine) -> Bare:
    return Bare(engine, Clock(NOW))


async def test_a_sub_select_behind_in_does_lease_too_many_on_such_a_database(tables: Bare) -> None:
    await tables.change("CREATE TABLE t (id INT PRIMARY KEY, leased INT)")
    await tables.change(f"INSERT INTO t SELECT i, 0 FROM generate_series(1, {THERE}) i")
    chosen = f"SELECT id FROM t WHERE leased = 0 ORDER BY id LIMIT {MOST} FOR UPDATE SKIP LOCKED"
    await tables.change(f"UPDATE t SET leased = 1 WHERE id IN ({chosen}) AND leased = 0")
    (row,) = await tables.rows("SELECT COUNT(*) AS n FROM t WHERE leased = 1")
    assert row["n"] > MOST


async def test_the_outbox_leases_no_more_than_it_was_asked_for(tables: Bare) -> None:
    for number in range(THERE):
        await tables.change(
            "INSERT INTO work (id, kind, facts, attempts, not_before, leased_until)"
            f" VALUES ('W{number}', 'notice', '{{}}', 0, {number}, 0)"
        )
    outbox = OutboxRepository(tables.engine)
    claims = [await outbox.claim([OutboxJobKind.NOTICE], MOST, "one", NOW, 60) for _ in range(5)]
    assert [[work.id for work in claim] for claim in claims] == [["W0", "W1"], ["W2", "W3"], ["W4", "W5"], ["W6"], []]


async def test_alarms_are_leased_no_more_than_at_once(tables: Bare) -> None:
    alarms = AlarmRepository(tables.engine)
    for number in range(AT_ONCE + THERE):
        await alarms.raised(Alarm(AlarmKind.JOB, f"job-{number}"), NOW)
    assert [len(await alarms.claim(NOW, 60)) for _ in range(3)] == [AT_ONCE, THERE, 0]


async def test_no_more_messages_are_asked_for_than_at_once(tables: Bare) -> None:
    then = ms(NOW - timedelta(hours=1))
    for number in range(THERE):
        await tables.change(
            "INSERT INTO deliveries (message, gateway, fate, tries, begun_at, ended_at, provider_id)"
            f" VALUES ('M{number}', 'sms', 'taken', 1, {then + number}, {then + number}, 'P{number}')"
        )
    deliveries = DeliveryRepository(tables.engine)
    asked = [await deliveries.unreported(["sms"], NOW, MOST) for _ in range(5)]
    assert [sorted(one.provider_id for one in some) for some in asked] == [
        ["P0", "P1"], ["P2", "P3"], ["P4", "P5"], ["P6"], []
    ]  # fmt: skip


async def test_reminders_are_claimed_and_swept_no_more_than_at_once(tables: Bare) -> None:
    reminded = Reminded(tables)
    people = await reminded.crowd(THERE, NOW + timedelta(days=3))
    for number, customer in enumerate(people):
        values: dict[str, Value] = {
            "id": f"R{number}",
            "customer": customer,
            "due": ms(NOW) - THERE + number,
            "until": ms(NOW) + 9_000_000,
        }
        await tables.change(
            "INSERT INTO reminders (id, customer, day, earliest, step, urgency, planned_at, due_at, until, state)"
            " VALUES (:id, :customer, '2026-07-28', '2026-07-28', '3', 997, 0, :due, :until, 'planned')",
            **values,
        )
        await tables.change(
            "INSERT INTO reminded_certificates (certificate, step, reminder, at) VALUES (:certificate, '3', :id, 0)",
            certificate=f"S-{customer}",
            id=f"R{number}",
        )
    queue, today = ReminderQueueRepository(tables.engine), date(2026, 7, 28)
    claims = [await queue.claim("one", NOW, today, Step(3), most=MOST, per_minute=100) for _ in range(2)]
    assert [sorted(one.id for one in claim) for claim in claims] == [["R0", "R1"], ["R2", "R3"]]
    await tables.change("UPDATE holdings SET state = 'superseded'")
    assert [await queue.sweep(NOW, today, Step(3), MOST) for _ in range(3)] == [MOST, 1, 0]
