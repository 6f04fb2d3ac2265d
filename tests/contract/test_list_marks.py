"""Whether a list lacks a change: by its mark, which costs the same however many certificates were ever changed."""

import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic.script import ScriptDirectory

from chopmark.core.types import IssuerId, Serial
from chopmark.store import db
from chopmark.store.engine.postgres import SESSION
from chopmark.store.engine.script import compiled
from chopmark.store.repositories.ca.certificates import REVOKE, CertificateRepository, StatusRepository
from chopmark.store.repositories.restored import RestoredRepository
from chopmark.store.repositories.va import lists
from chopmark.store.repositories.va.answers import CHANGED
from chopmark.va.ports import Crl
from tests.contract.alone import Alone
from tests.tables import Clock

ONE, TWO = IssuerId("one"), IssuerId("two")
PLACES = ((ONE, 0), (ONE, 1), (TWO, 0))
BEFORE_COUNT = """
SELECT CAST(COALESCE(SUM(turns), 0) AS BIGINT)
  + (SELECT COUNT(*) FROM service_revocations WHERE issuer = :issuer AND CAST(:shard AS BIGINT) = 0) AS n
FROM certificates WHERE issuer = :issuer AND shard = :shard AND turns > 0
"""
BEFORE_PUBLISH = """
INSERT INTO crls (issuer, shard, number, der, this_update, next_update, seen_end)
VALUES (:issuer, :shard, :number, :der, :this_update, :next_update, :seen_end)
ON CONFLICT (issuer, shard) DO UPDATE SET number = :number, der = :der, this_update = :this_update,
  next_update = :next_update, seen_end = :seen_end
WHERE crls.number < :number
"""
"""How the release before looks whether a list lacks a change, and stores one."""


class Lists:
    """The lists of two issuers, one of which has two shards, and a certificate in each."""

    def __init__(self, alone: Alone) -> None:
        self.alone = alone
        self.store = StatusRepository(alone.engine)
        self.numbers = dict.fromkeys(PLACES, 1)

    async def certificate(self, serial: str, issuer: IssuerId = ONE, shard: int = 0) -> Serial:
        named = {"serial": serial, "order_id": serial, "issuer": issuer, "shard": shard, "state": "issued"}
        moments = {"not_before": 0, "not_after": self.alone.ahead(days=100), "reserved_at": 0}
        said = {"attempt": 1, "profile": "investor", "profile_version": 1, "spki_sha256": serial, "tbs": b""}
        await self.alone.add("certificates", **named, **moments, **said)
        return Serial(serial)

    async def publish(self, issuer: IssuerId = ONE, shard: int = 0) -> bool:
        """As the publisher does, if the list lacks something: look, read the entries, store."""
        seen = await self.store.shard(issuer, shard)
        return seen.lacks and await self.publish_with(seen.mark, seen.beside, issuer, shard)

    async def publish_with(self, mark: str, beside: int, issuer: IssuerId = ONE, shard: int = 0) -> bool:
        number = self.numbers[issuer, shard] = self.numbers[issuer, shard] + 1
        crl = Crl(number, b"list", self.alone.now, self.alone.now + timedelta(days=1), mark, beside)
        return await self.store.publish(issuer, shard, crl, self.alone.record())

    async def count(self) -> int:
        """The changes that the release before counts."""
        return int((await self.alone.rows(BEFORE_COUNT, issuer=ONE, shard=0))[0]["n"])

    async def publish_before(self) -> bool:
        """As the publisher of the release before does."""
        counted = await self.count()
        there = await self.alone.rows("SELECT seen_end FROM crls WHERE issuer = :issuer AND shard = 0", issuer=ONE)
        return there[0]["seen_end"] != counted and await self.store_before(counted)

    async def store_before(self, counted: int) -> bool:
        number = self.numbers[ONE, 0] = self.numbers[ONE, 0] + 1
        values: dict[str, Any] = {"number": number, "der": b"old", "this_update": self.alone.ago(), "next_update": 1}
        await self.alone.change(BEFORE_PUBLISH, issuer=ONE, shard=0, seen_end=counted, **values)
        return True

    async def lack(self) -> list[bool]:
        """Of each place, whether its list lacks something."""
        return [(await self.store.shard(*place)).lacks for place in PLACES]


@pytest.fixture
async def world(alone: Alone) -> Lists:
    made = Lists(alone)
    for serial, place in zip(("0A", "0B", "0C"), PLACES, strict=True):
        await made.certificate(serial, *place)
        assert await made.publish(*place)
    assert await made.lack() == [False] * 3
    return made


async def test_i26_each_change_of_status_is_one_that_the_list_lacks_until_it_is_published(world: Lists) -> None:
    store, alone, ann = CertificateRepository(world.alone.engine), world.alone, Serial("0A")
    changes = (
        lambda: store.hold(ann, alone.now, alone.record()),
        lambda: store.release(ann, alone.now, alone.record()),
        lambda: store.hold(ann, alone.now, alone.record()),
        lambda: store.revoke(ann, "superseded", alone.now, alone.record()),
    )
    for change in changes:
        assert await change()
        assert await world.lack() == [True, False, False]
        assert [await world.publish() for _ in range(3)] == [True, False, False]
    await alone.change("UPDATE certificates SET state = 'reserved' WHERE serial = '0C'")
    assert await store.orphan(Serial("0C"), alone.now, alone.record())
    assert await world.lack() == [False, False, True]
    assert [one.serial for one in await world.store.ended(TWO, 0, alone.now)] == ["0C"]


async def test_i26_a_revocation_of_another_shard_or_issuer_is_none_of_a_list(world: Lists) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    for serial, place in zip(("0A", "0B", "0C"), PLACES, strict=True):
        assert await store.revoke(Serial(serial), "superseded", alone.now, alone.record())
        assert await world.lack() == [place == other for other in PLACES]
        assert await world.publish(*place)


async def test_i26_a_services_certificate_that_was_revoked_is_lacking_in_its_issuers_first_list(world: Lists) -> None:
    said = {"kind": "responder", "reason": "key_compromise", "not_after": 1, "ended_at": 1}
    await world.alone.add("service_revocations", serial="0F", issuer=ONE, **said)
    assert await world.lack() == [True, False, False]
    assert [await world.publish() for _ in range(2)] == [True, False]
    assert await world.lack() == [False] * 3


async def test_i26_a_change_between_the_look_and_the_storing_of_a_list_is_lacking_afterwards(world: Lists) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    seen = await world.store.shard(ONE, 0)
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    assert await world.publish_with(seen.mark, seen.beside)
    assert [await world.publish() for _ in range(2)] == [True, False]


async def test_after_a_restore_every_list_is_published_once(world: Lists) -> None:
    await RestoredRepository(world.alone.engine).renew_status(world.alone.now)
    assert await world.lack() == [True] * 3
    for place in PLACES:
        assert [await world.publish(*place) for _ in range(2)] == [True, False]


async def test_i26_after_the_upgrade_a_list_of_the_release_before_is_judged_by_its_count(world: Lists) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    await alone.change("DELETE FROM crls")
    await world.store_before(await world.count())
    assert (await world.lack())[0] is False
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    assert [await world.publish() for _ in range(2)] == [True, False]
    await world.store_before(await world.count())
    await alone.add("service_revocations", serial="0F", issuer=ONE, kind="x", reason="x", not_after=1, ended_at=1)
    assert [await world.publish() for _ in range(2)] == [True, False]
    await alone.change("UPDATE crls SET seen_end = -1 WHERE issuer = 'one' AND shard = 0")
    assert [await world.publish() for _ in range(2)] == [True, False], "as that release's `db restored` leaves it"


async def test_i26_the_upgrade_publishes_no_list_anew_and_the_next_change_does(engine_url: str) -> None:
    await db.upgrade(engine_url)
    engine = await db.open_engine(engine_url)
    lists_here = Lists(Alone(engine, Clock()))
    await lists_here.store_before(0)
    revision = ScriptDirectory(str(db.MIGRATIONS)).get_revision("0028")
    for statement in (
        "ALTER TABLE crls DROP COLUMN seen_mark",
        "ALTER TABLE crls DROP COLUMN seen_beside",
        "DROP INDEX certificates_changed_in",
        "DROP INDEX certificates_listed",
        f"UPDATE alembic_version SET version_num = '{revision.down_revision}'",
    ):
        await lists_here.alone.change(statement)

    await db.upgrade(engine_url)

    assert await db.check(engine_url) is db.Fit.CURRENT
    assert not await lists_here.publish()
    await lists_here.certificate("0A")
    store, alone = CertificateRepository(engine), lists_here.alone
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    assert [await lists_here.publish() for _ in range(2)] == [True, False]
    await engine.close()


async def test_i26_a_list_that_the_release_before_read_earlier_and_stored_later_is_found_to_lack_what_ours_had(
    world: Lists,
) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    counted = await world.count()
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    assert await world.publish()
    await world.store_before(counted)
    assert [await world.publish() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("mark", "snapshot"), [("0", "3:3:"), ("9000000000000", "9000000000000:9000000000000:"), ("3:3:", "3")]
)
async def test_i26_a_mark_of_another_database_silences_nobody(world: Lists, mark: str, snapshot: str) -> None:
    """A dump was loaded in a new cluster, where the numbers of transactions are lower, or higher."""
    store, alone = CertificateRepository(world.alone.engine), world.alone
    stored = mark if alone.engine.dialect == "sqlite" else snapshot
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    await alone.change("UPDATE crls SET seen_mark = :mark WHERE issuer = 'one' AND shard = 0", mark=stored)
    assert [await world.publish() for _ in range(3)] == [True, False, False]
    await world.certificate("0D")
    assert await store.revoke(Serial("0D"), "superseded", alone.now, alone.record())
    assert [await world.publish() for _ in range(3)] == [True, False, False]


async def test_a_certificates_number_from_the_future_publishes_no_list_for_ever(world: Lists) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    await alone.change("UPDATE certificates SET changed = 9000000000000 WHERE serial = '0A'")
    await world.publish()
    assert [await world.publish() for _ in range(3)] == [False] * 3
    await world.certificate("0D")
    assert await store.revoke(Serial("0D"), "superseded", alone.now, alone.record())
    assert [await world.publish() for _ in range(3)] == [True, False, False]


async def test_i26_ours_and_the_publisher_of_the_release_before_lose_nothing_beside_each_other_and_come_to_rest(
    world: Lists,
) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    both = (world.publish, world.publish_before)
    for number, order in enumerate((both, both[::-1])):
        serial = await world.certificate(f"1{number}")
        assert await store.revoke(serial, "superseded", alone.now, alone.record())
        made = [await publish() for _ in range(4) for publish in order]
        assert True in made[:2], "at once"
        assert sum(made) <= 3, "each once, and one once more"
        assert made[4:] == [False] * 4
    last = await world.store.crl(ONE, 0)
    assert last is not None
    assert last.der == b"old"
    assert await store.revoke(Serial("0A"), "superseded", alone.now, alone.record())
    assert await world.publish(), "over a list of the release before, too"


# what PostgreSQL alone has: transactions that end in another order than they began ----------------------------------


@asynccontextmanager
async def beside(url: str, *statements: str) -> AsyncIterator[asyncpg.Connection]:
    """Another connection in the middle of a transaction that ran these statements."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("BEGIN")
        for statement in statements:
            await connection.execute(statement)
        yield connection
    finally:
        await connection.close()


def revocation(serial: str) -> str:
    statement = REVOKE.format(changed=CHANGED["postgresql"]).replace(":now", "1").replace(":reason", "'superseded'")
    return statement.replace(":serial", f"'{serial}'")


@pytest.mark.parametrize("tables_alone", ["postgresql"], indirect=True)
@pytest.mark.postgres
async def test_i26_a_revocation_that_was_under_way_when_the_list_was_read_is_lacking_once_it_is_committed(
    world: Lists, tables_alone: str
) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    await world.certificate("0D")
    async with beside(tables_alone, revocation("0A")) as other:
        assert await world.lack() == [False] * 3
        assert await store.revoke(Serial("0D"), "superseded", alone.now, alone.record())
        assert [await world.publish() for _ in range(3)] == [True, False, False], "for the later one, and once"
        assert [one.serial for one in await world.store.ended(ONE, 0, alone.now)] == ["0D"]
        await other.execute("COMMIT")
    assert await world.lack() == [True, False, False]
    assert [await world.publish() for _ in range(3)] == [True, False, False]
    assert [one.serial for one in await world.store.ended(ONE, 0, alone.now)] == ["0A", "0D"]


@pytest.mark.parametrize("tables_alone", ["postgresql"], indirect=True)
@pytest.mark.postgres
async def test_a_transaction_that_does_not_end_has_no_list_published_again_and_again(
    world: Lists, tables_alone: str
) -> None:
    store, alone = CertificateRepository(world.alone.engine), world.alone
    async with beside(
        tables_alone, "INSERT INTO leases (name, holder, until, fencing) VALUES ('x', '', 0, 0)"
    ) as other:
        for serial in ("0D", "0E", "0F"):
            await world.certificate(serial)
            assert await store.revoke(Serial(serial), "superseded", alone.now, alone.record())
            assert [await world.publish() for _ in range(4)] == [True, False, False, False]
        await other.execute("ROLLBACK")
    assert await world.lack() == [False] * 3


# what it costs ------------------------------------------------------------------------------------------------------

_ROWS = """INSERT INTO certificates (serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs,
  state, shard, not_before, not_after, reserved_at, ended_at, reason, turns, changed)
SELECT 'f' || n, 'one', 'f' || n, 1, '', 1, '', '', 'revoked', 0, 0, n, 0, n, 'superseded', 1, {changed} FROM {numbers}
"""
LOOK, ENDED = vars(lists)["_SHARD"], vars(lists)["_ENDED"]
EVER = 3000
LISTED = 20
"""Of those that were ever changed, so many stand in the list."""


def read_rows(plan: Any) -> int:
    """How many rows a plan's nodes have read, whether they gave them on or not."""
    own = sum(plan.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return int(own) * int(plan.get("Actual Loops", 1)) + sum(read_rows(below) for below in plan.get("Plans", ()))


@pytest.mark.postgres
async def test_what_the_publisher_asks_costs_postgresql_the_same_however_many_certificates_were_changed(
    postgres_dsn: str,
) -> None:
    await db.upgrade(postgres_dsn)
    connection = await asyncpg.connect(postgres_dsn, server_settings=SESSION)

    async def read(name: str, sql: str, *values: object) -> int:
        said = ", ".join(repr(value) for value in values)
        await connection.execute(f"PREPARE {name} AS {compiled(sql).numbered}")
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name}({said})")
        return read_rows(json.loads(plan)[0]["Plan"])

    look = LOOK["postgresql"]
    cost = {}
    try:
        for size in ("few", "many"):
            if size == "many":
                numbers = f"generate_series(1, {EVER}) AS s (n)"
                await connection.execute(_ROWS.format(changed=CHANGED["postgresql"], numbers=numbers))
                await connection.execute("ANALYZE")
            await connection.execute(
                "INSERT INTO crls (issuer, shard, number, der, this_update, next_update, seen_end, seen_mark) "
                "VALUES ('one', 0, 1, '', 1, 1, -2, CAST(pg_current_snapshot() AS TEXT)) "
                "ON CONFLICT (issuer, shard) DO UPDATE SET seen_mark = CAST(pg_current_snapshot() AS TEXT)"
            )
            cost[size] = await read(f"look_{size}", look, "one", 0)
        (row,) = await connection.fetch(compiled(look).numbered, "one", 0)
        assert not row["changed"]
        ended = await read("ended", ENDED, "one", 0, EVER - LISTED)
        before = await read("before", BEFORE_COUNT, "one", 0)
    finally:
        await connection.close()
    assert cost["many"] <= cost["few"] < 10
    assert ended <= 6 * LISTED < EVER / 10, "a list's entries are read, and not all that ever ended"
    assert before >= EVER, "what it is compared with"


def test_what_the_publisher_asks_costs_sqlite_the_same_however_many_certificates_were_changed(
    sqlite_house: Path,
) -> None:
    with closing(sqlite3.connect(sqlite_house)) as connection:

        def steps(sql: str, **values: object) -> int:
            """How many steps SQLite's machine takes for it."""
            taken = itertools.count()
            connection.set_progress_handler(lambda: next(taken) < 0, 1)
            connection.execute(sql, values).fetchall()
            connection.set_progress_handler(None, 1)
            return next(taken)

        few, place = 10, {"issuer": "one", "shard": 0}
        cost = []
        connection.execute("INSERT INTO crls VALUES ('one', 0, 1, '', 1, 1, -2, '10', 0)")
        for first, last in ((1, few), (few + 1, EVER)):
            connection.execute(
                f"WITH RECURSIVE s (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}) "
                + _ROWS.format(changed="n", numbers="s")
            )
            connection.execute("UPDATE crls SET seen_mark = :mark", {"mark": str(last)})
            assert [row[-1] for row in connection.execute(LOOK["sqlite"], place)] == [0]
            cost.append((steps(LOOK["sqlite"], **place), steps(ENDED, **place, keep_after=last - few)))
        before = steps(BEFORE_COUNT, **place)
    assert cost[0][0] == cost[1][0]
    assert max(*cost[0], *cost[1]) < EVER / 10, "a list's entries are read, and not all that ever ended"
    assert before > EVER, "what it is compared with"


@pytest.fixture
async def sqlite_house(tmp_path: Path, sqlite_url: str) -> Path:
    engine = await db.open_engine(sqlite_url)
    await db.create(engine)
    await engine.close()
    return tmp_path / "store.db"
