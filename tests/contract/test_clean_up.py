"""What has outlived its time is deleted each night, a little at a time; what audit and disputes need stays."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from chopmark.app.worker import tasks
from chopmark.limits.rate_limits import RateLimit
from chopmark.store.engine.columns import ms
from chopmark.store.engine.script import Batch, Script, Value, compiled
from chopmark.store.repositories.retention import BATCH, LIVES, RetentionRepository, deletion
from tests.contract.test_statement_counts import planned, scanned
from tests.contract.world import ANN, START, World, world_fixture

world = world_fixture()

KEPT = ("orders", "holdings", "certificates", "leaves", "customers", "contacts", "failures", "keys", "bearers")
"""What the clean-up must not touch."""
A_TABLE = {life.table for life in LIVES}


async def write(world: World, sql: str, rows: Sequence[dict[str, Value]]) -> None:
    def script() -> Script[None]:
        yield Batch(sql, rows, whole=True)

    if rows:
        await world.services.foundation.engine.run(script)


async def every(world: World) -> dict[str, int]:
    return {table: await world.count(table) for table in sorted({*A_TABLE, *KEPT})}


async def night(world: World) -> None:
    """Let the worker look as often as it would until there is no more to do."""
    while await world.once("clean-up"):
        pass


@dataclass
class Days:
    """What a day of a few customers leaves behind, written as the product writes it."""

    world: World
    order: str
    customers: int

    async def day(self, number: int, at: datetime) -> None:
        now, whose = ms(at), {"customer": ANN}
        each = [f"{number}-{index}" for index in range(self.customers)]
        await write(
            self.world,
            "INSERT INTO sessions (id_hash, login, customer, factors, door, created_at, seen_at, ends_at) "
            "VALUES (:id, 'L', :customer, 'password', 'portal', :now, :now, :ends)",
            [{"id": name.encode(), **whose, "now": now, "ends": now + 1_800_000} for name in each],
        )
        await write(
            self.world,
            "INSERT INTO launches (ticket_hash, client, customer, account, factors, created_at, expires_at) "
            "VALUES (:id, 'trading', :customer, 'F014000-0000001', 'password', :now, :ends)",
            [{"id": name.encode(), **whose, "now": now, "ends": now + 60_000} for name in each],
        )
        names = [f"signin:{name}:30s" for name in each] + [f"revoke:{name}:1y" for name in each[: len(each) // 4]]
        await write(
            self.world,
            "INSERT INTO counters (name, window_start, used) VALUES (:name, :now, 1)",
            [{"name": name, "now": now} for name in names],
        )
        await write(
            self.world,
            "INSERT INTO entries (subject, entry, failed, at) VALUES (:subject, 'stranger', 1, :now)",
            [{"subject": f"claim:{name}", "now": now} for name in each],
        )
        await write(
            self.world,
            "INSERT INTO idempotency (scope, name, body_sha256, created_at) VALUES (:scope, 'k', :body, :now)",
            [{"scope": name, "body": b"", "now": now} for name in each],
        )
        states = ["consumed" if index % 8 == 0 else "dead" for index in range(len(each))]
        await write(
            self.world,
            "INSERT INTO challenges (id, order_id, customer, channel, contact_version, nonce, kid, operation, spki, "
            "digits, reference, attempts, max_attempts, created_at, expires_at, resend_at, state) VALUES "
            "(:id, :order, :customer, 'mobile', 1, :nonce, 'k', 'enrol', '', 6, 'AB', 0, 5, :now, :now, :now, :state)",
            [
                {"id": name, "order": self.order, **whose, "nonce": b"", "now": now, "state": state}
                for name, state in zip(each, states, strict=True)
            ],
        )
        await write(
            self.world,
            "INSERT INTO work (id, kind, customer, facts, attempts, not_before, leased_until, done_at, outcome) "
            "VALUES (:id, 'notice', :customer, :facts, 1, :now, 0, :now, 'sent')",
            [{"id": name, **whose, "facts": json.dumps({"template": "x"}), "now": now} for name in each],
        )
        await write(
            self.world,
            "INSERT INTO inbox (id, channel, customer, facts, at) VALUES (:id, 'mobile', :customer, '{}', :now)",
            [{"id": name, **whose, "now": now} for name in each],
        )


async def simulated(world: World, days: int, customers: int, step: int = 1) -> list[dict[str, int]]:
    """Let the days pass, each `step`-th with its customers and its night; return the rows at the end of each."""
    order = await world.open()
    made = Days(world, order.id, customers)
    counts = []
    for number in range(0, days, step):
        await made.day(number, world.clock.now())
        world.clock.later(days=step)
        await night(world)
        counts.append(await every(world))
    return counts


def assert_flat(counts: list[dict[str, int]], from_day: int) -> None:
    """From that day on no table with a life has grown, and what is kept has not shrunk."""
    early, late = counts[from_day], counts[-1]
    assert {table: late[table] for table in A_TABLE} == {table: early[table] for table in A_TABLE}
    assert all(late[table] >= counts[0][table] for table in KEPT)


async def test_a_simulated_year_and_more_stays_flat_in_the_rows_that_have_a_life(world: World) -> None:
    longest = max(life.kept for life in LIVES).days
    counts = await simulated(world, longest + 30, 16, step=5)
    assert_flat(counts, longest // 5 + 2)
    assert counts[0]["sessions"] == 16  # the simulation writes something
    assert counts[-1]["sessions"] < 16 * 4
    assert counts[-1]["work"] < 16 * 8


async def test_what_audit_and_disputes_need_outlives_any_clean_up(world: World) -> None:
    await world.to_active()
    await world.work()
    before = {table: await world.rows(f"SELECT * FROM {table}") for table in KEPT}
    (approved,) = [row["challenge"] for row in before["orders"]]
    world.clock.later(days=399)
    await night(world)
    assert {table: await world.rows(f"SELECT * FROM {table}") for table in KEPT} == before
    assert await world.count("challenges", "id = :id", id=approved) == 1
    assert await world.count("sessions") == 0
    assert await world.count("work", "done_at IS NOT NULL") == 0
    assert await world.count("work", "done_at IS NULL") == 0
    assert (await world.audit()).sound


async def test_what_is_not_over_stays_and_what_is_over_goes(world: World) -> None:
    made, order = START, await world.open()
    await Days(world, order.id, 4).day(0, made)
    world.clock.later(days=1)
    await night(world)
    young = await every(world)
    for life in LIVES[:2]:
        assert young[life.table] >= 4
    world.clock.at = made + timedelta(days=9)
    await night(world)
    later = await every(world)
    assert later["sessions"] == later["launches"] == later["idempotency"] == 0
    assert (later["work"], later["inbox"], later["challenges"]) == (young["work"], young["inbox"], young["challenges"])
    assert await world.count("counters", "name LIKE 'revoke:%:1y'") == 1
    assert await world.count("counters", "name LIKE 'signin:%'") == 0
    assert later["entries"] == 4


async def test_work_that_waits_and_a_customers_closed_entry_stay_for_ever(world: World) -> None:
    await world.open()
    waiting = await world.count("work", "done_at IS NULL")
    assert waiting
    await write(
        world,
        "INSERT INTO entries (subject, entry, failed, at, closed_at) VALUES (:subject, 'stranger', 100, :at, :at)",
        [{"subject": ANN, "at": ms(START)}, {"subject": "claim:ab", "at": ms(START)}],
    )
    world.clock.later(days=399)
    await night(world)
    assert await world.count("entries") == 2
    world.clock.later(days=3)
    await night(world)
    assert await world.rows("SELECT subject FROM entries") == [{"subject": ANN}]
    assert await world.count("work", "done_at IS NULL") == waiting


async def test_what_a_former_issuer_said_goes_when_it_counts_no_more_and_what_it_has_revoked_stays_for_a_year(
    world: World,
) -> None:
    await write(
        world,
        "INSERT INTO former_answers (issuer, serial, reason, revoked_at, good_until, until) "
        "VALUES ('old', :serial, :reason, :revoked, :good, :until)",
        [
            {"serial": "01", "reason": None, "revoked": None, "good": ms(START), "until": ms(START)},
            {"serial": "02", "reason": "certificate_hold", "revoked": ms(START), "good": None, "until": ms(START)},
            {"serial": "03", "reason": "superseded", "revoked": ms(START), "good": None, "until": ms(START)},
        ],
    )
    left = "SELECT serial FROM former_answers ORDER BY serial"
    await night(world)
    assert [row["serial"] for row in await world.rows(left)] == ["01", "02", "03"]
    world.clock.later(days=2)
    await night(world)
    assert [row["serial"] for row in await world.rows(left)] == ["03"]
    world.clock.later(days=397)
    await night(world)
    assert [row["serial"] for row in await world.rows(left)] == ["03"]
    world.clock.later(days=3)
    await night(world)
    assert await world.rows(left) == []


async def test_one_transaction_deletes_no_more_than_a_batch_and_an_interrupted_night_goes_on(world: World) -> None:
    lives, order = RetentionRepository(world.services.foundation.engine), await world.open()
    await Days(world, order.id, BATCH + 50).day(0, world.clock.now())
    world.clock.later(days=9)
    assert await lives.delete(0, "one", world.clock.now()) == BATCH
    assert await world.count("sessions") == 50
    world.clock.later(seconds=31)  # the worker died; its lease runs out
    await night(world)
    assert await world.count("sessions") == 0
    assert await lives.cleaned() is not None


async def test_only_the_holder_of_the_lease_deletes(world: World) -> None:
    lives, order = RetentionRepository(world.services.foundation.engine), await world.open()
    await Days(world, order.id, 4).day(0, world.clock.now())
    world.clock.later(days=9)
    assert await lives.delete(1, "one", world.clock.now()) == 4
    assert await lives.delete(0, "other", world.clock.now()) is None
    await night(world)
    assert await world.count("sessions") == 4
    assert await lives.cleaned() is None


async def test_a_night_is_cleaned_up_once_and_the_next_one_again(world: World) -> None:
    await night(world)
    lives, order = RetentionRepository(world.services.foundation.engine), await world.open()
    assert await lives.cleaned() == "2026-03-31"
    await Days(world, order.id, 4).day(0, world.clock.now() - timedelta(days=9))
    await night(world)
    assert await world.count("sessions") == 4
    world.clock.later(hours=13, minutes=59)  # 01:59 in Taipei
    await night(world)
    assert await world.count("sessions") == 4
    world.clock.later(minutes=1)
    await night(world)
    assert await world.count("sessions") == 0


async def test_each_deletion_finds_its_rows_by_an_index(world: World) -> None:
    await Days(world, (await world.open()).id, 40).day(0, world.clock.now())
    dialect = world.services.foundation.engine.dialect
    statements = [deletion(life, dialect) for life in LIVES]
    if dialect == "postgresql":
        plans = await planned(world.url, [compiled(sql).numbered for sql in statements])
        assert len(plans) == len(LIVES)
        assert not {table for plan in plans for table in scanned(plan)}
        return
    with closing(sqlite3.connect(world.url.removeprefix("sqlite:///"))) as connection:
        for sql in statements:
            plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", {"before": 0, "most": 1})
            steps = [row[3] for row in plan]
            assert not [step for step in steps if step.startswith("SCAN")], (sql, steps)
            assert [step for step in steps if "<?" in step], (sql, steps)


def test_a_window_that_outlives_its_counter_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        RateLimit("sends:C1", 1, timedelta(days=2))
    RateLimit("revoke:C1:1y", 1, timedelta(days=365))


async def test_the_worker_has_the_clean_up_among_its_jobs(world: World) -> None:
    assert "clean-up" in [task.name for task in tasks(world.services)]
