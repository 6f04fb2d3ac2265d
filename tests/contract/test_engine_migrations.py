"""A database's schema comes up to date once, whoever starts at the same moment."""

import asyncio

import pytest
from alembic.script import ScriptDirectory

from chopmark.store import db
from chopmark.store.current import make_current
from chopmark.store.engine import opening
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.schema import metadata


def tables(dialect: str) -> Script[set[str]]:
    if dialect == "sqlite":
        rows = yield query("SELECT name FROM sqlite_master WHERE type = 'table'")
    else:
        rows = yield query("SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = 'public'")
    return {row["name"] for row in rows}


async def tables_in(engine: Engine) -> set[str]:
    return await engine.read(tables, engine.dialect)


async def test_an_empty_database_becomes_this_releases(engine_url):
    assert await db.check(engine_url) is db.Fit.EMPTY
    assert await db.current(engine_url) is None

    await db.upgrade(engine_url)

    assert await db.current(engine_url) == db.head()
    assert await db.check(engine_url) is db.Fit.CURRENT
    engine = await db.open_engine(engine_url)
    assert await tables_in(engine) == {*metadata.tables, "alembic_version"}
    await engine.close()


async def test_a_start_compares_the_schema_with_the_last_revision(engine_url):
    assert db.head() == opening.RELEASE
    assert not await opening.is_current(engine_url)
    await make_current(engine_url)
    assert await opening.is_current(engine_url)


async def test_concurrent_starts_migrate_once(engine_url):
    await asyncio.gather(*(db.upgrade(engine_url) for _ in range(6)))

    assert await db.check(engine_url) is db.Fit.CURRENT


async def test_a_migration_that_fails_leaves_nothing(engine, engine_url):
    last = metadata.sorted_tables[-1].name

    def obstacle() -> Script[None]:
        yield query(f'CREATE TABLE "{last}" (x BIGINT)')

    await engine.run(obstacle)

    with pytest.raises(Exception, match=last):
        await db.upgrade(engine_url)
    assert await tables_in(engine) == {last}
    assert await db.check(engine_url) is db.Fit.EMPTY


async def test_a_later_releases_schema_is_left_alone(engine_url):
    await db.upgrade(engine_url)
    engine = await db.open_engine(engine_url)

    def later() -> Script[None]:
        yield query("UPDATE alembic_version SET version_num = '9999'")

    await engine.run(later)
    await engine.close()

    assert await db.check(engine_url) is db.Fit.AHEAD
    await db.upgrade(engine_url)
    assert await db.current(engine_url) == "9999"


async def test_a_database_in_memory_is_created_with_all_tables(memory):
    await db.create(memory)

    assert await tables_in(memory) == set(metadata.tables)


async def test_the_tables_of_a_created_database_are_those_of_a_migrated_one(engine):
    await db.create(engine)

    assert await tables_in(engine) == set(metadata.tables)


_BEFORE_HOLDS = (
    "DROP INDEX certificates_turned",
    "DROP INDEX holdings_by_key",
    "ALTER TABLE certificates DROP COLUMN turns",
    "DROP INDEX certificates_due",
    "ALTER TABLE certificates DROP COLUMN answer_due",
    "DROP TABLE blocked_keys",
    "DROP TABLE answers",
    "UPDATE alembic_version SET version_num = '0001'",
    """INSERT INTO certificates (serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs, state,
      shard, not_before, not_after, reserved_at, ended_at, reason)
    VALUES ('01', 'i', 'a', 1, 'p', 1, '', '', 'revoked', 0, 0, 0, 0, 5, 'superseded')""",
    """INSERT INTO certificates (serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs, state,
      shard, not_before, not_after, reserved_at)
    VALUES ('02', 'i', 'b', 1, 'p', 1, '', '', 'issued', 0, 0, 0, 0)""",
)


async def test_what_had_ended_before_there_were_holds_counts_as_one_change_of_status(engine_url):
    await db.upgrade(engine_url)
    engine = await db.open_engine(engine_url)

    def before() -> Script[None]:
        for statement in _BEFORE_HOLDS:
            yield query(statement)

    def turns() -> Script[list[int]]:
        rows = yield query("SELECT turns FROM certificates ORDER BY serial")
        return [row["turns"] for row in rows]

    await engine.run(before)

    await db.upgrade(engine_url)

    assert await db.check(engine_url) is db.Fit.CURRENT
    assert await engine.read(turns) == [1, 0]
    assert await tables_in(engine) == {*metadata.tables, "alembic_version"}
    await engine.close()


_BEFORE_BEARERS = (
    "DROP TABLE bearers",
    "DROP TABLE former_contacts",
    "UPDATE alembic_version SET version_num = '{before}'",
    """INSERT INTO customers (id, person_kind, person_id_hash, person_id_sealed, name_sealed, version, created_at,
      updated_at)
    VALUES ('C1', 'national', 'p1', 'x', 'x', 1, 5, 5), ('C2', 'national', 'p2', 'x', 'x', 1, 6, 6)""",
    """INSERT INTO contacts (customer, channel, version, value_sealed, destination_hash, verified_at, cool_until)
    VALUES ('C1', 'mobile', 1, 'x', 'd1', 1, 1), ('C1', 'email', 1, 'x', 'd2', 1, 1),
      ('C2', 'mobile', 1, 'x', 'd1', 1, 1)""",
    "INSERT INTO accounts (number, customer, kind, position) VALUES ('F1', 'C2', 'futures', 0)",
    """INSERT INTO orders (id, customer, operation, account, profile, key_home, state, login_factors, policy,
      created_at, expires_at, birth_date_asked)
    VALUES ('o1', 'C1', 'enrol', 'F1', 'p', 'file', 'expired', '', '', 7, 7, 1),
      ('o2', 'C2', 'enrol', 'F1', 'p', 'file', 'expired', '', '', 8, 8, 1),
      ('o3', 'C2', 'rekey', 'F1', 'p', 'file', 'expired', '', '', 9, 9, 1)""",
)


async def test_what_customers_have_and_had_orders_for_is_remembered_when_there_is_a_memory(engine_url):
    await db.upgrade(engine_url)
    engine = await db.open_engine(engine_url)
    revision = ScriptDirectory(str(db.MIGRATIONS)).get_revision("0011")

    def before() -> Script[None]:
        for statement in _BEFORE_BEARERS:
            yield query(statement.format(before=revision.down_revision))

    def borne() -> Script[set[tuple[str, str, str, str]]]:
        rows = yield query("SELECT kind, value, customer, run FROM bearers")
        return {(row["kind"], row["value"], row["customer"], row["run"]) for row in rows}

    await engine.run(before)

    await db.upgrade(engine_url)

    assert await db.check(engine_url) is db.Fit.CURRENT
    assert await engine.read(borne) == {
        ("person", "p1", "C1", ""),
        ("person", "p2", "C2", ""),
        ("contact", "d1", "C1", ""),
        ("contact", "d2", "C1", ""),
        ("contact", "d1", "C2", ""),
        ("account", "F1", "C2", ""),
        ("account", "F1", "C1", ""),
    }
    assert await tables_in(engine) == {*metadata.tables, "alembic_version"}
    await engine.close()


_BEFORE_ONE_LOCK = (
    "DROP INDEX challenges_by_customer",
    "UPDATE alembic_version SET version_num = '{before}'",
    *(
        f"""INSERT INTO customers (id, person_kind, person_id_hash, person_id_sealed, name_sealed, version, created_at,
          updated_at) VALUES ('{customer}', 'p', '{customer}', '', '', 1, 0, 0)"""
        for customer in ("C1", "C2", "C3", "C4")
    ),
    """INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold) VALUES
      ('C1', 'sms', 5, 20, 20, 7, 'held'), ('C1', 'email', 6, 3, 3, NULL, NULL),
      ('C2', 'sms', 5, 20, 20, 9, 'held'), ('C2', 'email', 6, 20, 100, 8, 'disabled'),
      ('C3', 'sms', 5, 4, 40, NULL, NULL), ('C4', 'birth_date', 5, 3, 3, 7, 'held')""",
)


async def test_a_hold_of_one_channel_becomes_the_hold_of_all_and_what_was_counted_stays(engine_url):
    await db.upgrade(engine_url)
    engine = await db.open_engine(engine_url)
    revision = ScriptDirectory(str(db.MIGRATIONS)).get_revision("0013")

    def before() -> Script[None]:
        for statement in _BEFORE_ONE_LOCK:
            yield query(statement.format(before=revision.down_revision))

    def rows() -> Script[list[tuple[object, ...]]]:
        found = yield query("SELECT customer, factor, in_window, ever, held_at, hold FROM failures ORDER BY 1, 2")
        return [tuple(row[name] for name in row.keys()) for row in found]  # noqa: SIM118 - a Row has no other names

    await engine.run(before)
    elder = await engine.read(rows)

    await db.upgrade(engine_url)

    assert await db.check(engine_url) is db.Fit.CURRENT
    after = await engine.read(rows)
    assert set(after) - set(elder) == {("C1", "code", 0, 0, 7, "held"), ("C2", "code", 0, 0, 8, "disabled")}
    assert set(elder) <= set(after)
    await engine.close()
