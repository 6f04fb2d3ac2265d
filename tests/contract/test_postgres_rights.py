"""A role without its rights is told so in one sentence, whose remedy, typed as it stands, is the remedy."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Connection

from chopmark.store import db
from chopmark.store.current import make_current
from chopmark.store.engine.opening import assert_usable, is_current, open_engine, schema_of
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.script import Script, query, whole
from tests import postgres

ROLE = 'a "role" of its own'


def to_older(connection: Connection) -> None:
    """Bring the schema to a release before."""
    config = db.alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0010")


async def execute(dsn: str, *statements: str) -> None:
    """Run statements as the superuser that the cluster belongs to."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture
async def role(postgres_dsn: str) -> AsyncIterator[str]:
    """The address of the database for a role that nothing was granted to."""
    quoted = ROLE.replace('"', '""')
    await execute(postgres_dsn, f'CREATE ROLE "{quoted}" LOGIN')
    yield postgres_dsn.replace(f"//{postgres.OWNER}@", "//a%20%22role%22%20of%20its%20own@")
    await execute(postgres_dsn, f'DROP OWNED BY "{quoted}"')
    name = postgres.name_in(postgres_dsn)
    await execute(postgres_dsn, f'ALTER DATABASE "{name}" OWNER TO {postgres.OWNER}', f'DROP ROLE "{quoted}"')


def remedies(unfit: pytest.ExceptionInfo[Unfit]) -> list[str]:
    """The SQL statements that a sentence names."""
    return re.findall(r"(?:GRANT|ALTER DATABASE) [^;]+", str(unfit.value))


@pytest.mark.parametrize("chosen", [0, 1], ids=["the grant", "the owner"])
async def test_a_role_that_may_make_no_tables(postgres_dsn, role, chosen):
    with pytest.raises(Unfit, match="may not make tables in schema public"):
        await db.upgrade(role)
    with pytest.raises(Unfit, match="may not make tables in schema public") as unfit:
        await make_current(role)

    await execute(postgres_dsn, remedies(unfit)[chosen])
    await make_current(role)
    assert await is_current(role)


async def test_a_role_that_may_not_even_look_into_the_schema(postgres_dsn, role):
    await execute(postgres_dsn, "REVOKE ALL ON SCHEMA public FROM public")
    with pytest.raises(Unfit, match="may not make tables in schema public") as unfit:
        await make_current(role)

    await execute(postgres_dsn, remedies(unfit)[0])
    await make_current(role)
    assert await is_current(role)


def remember() -> Script[None]:
    yield query("INSERT INTO installation (name, value) VALUES ('portal', 'p')")


def entry() -> Script[None]:
    yield whole("SELECT COUNT(*) FROM leaves")


async def test_a_role_that_may_not_read_the_tables(postgres_dsn, role):
    await db.upgrade(postgres_dsn)
    for way in (is_current, make_current, assert_usable, schema_of):
        with pytest.raises(Unfit, match="may not read and write"):
            await way(role)
    with pytest.raises(Unfit, match="may not read and write") as unfit:
        await open_engine(role)

    await execute(postgres_dsn, *remedies(unfit))
    assert await is_current(role)
    engine = await open_engine(role)
    await engine.run(remember)
    await engine.read(entry)
    await engine.close()


@pytest.mark.parametrize("missing", ["SELECT", "INSERT", "UPDATE"])
async def test_one_right_that_is_missing_on_one_table_is_found(postgres_dsn, role, missing):
    await db.upgrade(postgres_dsn)
    with pytest.raises(Unfit) as unfit:
        await open_engine(role)
    await execute(postgres_dsn, *remedies(unfit))
    quoted = ROLE.replace('"', '""')
    await execute(postgres_dsn, f'REVOKE {missing} ON leaves FROM "{quoted}"')

    with pytest.raises(Unfit, match="may not read and write leaves"):
        await open_engine(role)


async def test_tables_of_others_in_the_same_schema_are_not_looked_at(postgres_dsn, role):
    await execute(postgres_dsn, "CREATE ROLE somebody_else", "GRANT CREATE ON SCHEMA public TO somebody_else")
    await execute(postgres_dsn, "SET ROLE somebody_else; CREATE TABLE theirs (n BIGINT); RESET ROLE")
    await db.upgrade(postgres_dsn)
    with pytest.raises(Unfit) as unfit:
        await open_engine(role)
    await execute(postgres_dsn, *remedies(unfit))
    quoted = ROLE.replace('"', '""')
    await execute(postgres_dsn, f'REVOKE ALL ON theirs FROM "{quoted}"')

    await (await open_engine(role)).close()
    await execute(postgres_dsn, "DROP OWNED BY somebody_else", "DROP ROLE somebody_else")


async def test_a_role_that_may_use_the_tables_of_another_and_not_change_them(postgres_dsn, role):
    await db.within(postgres_dsn, to_older)
    with pytest.raises(Unfit) as unfit:
        await open_engine(role)
    quoted = ROLE.replace('"', '""')
    await execute(postgres_dsn, *remedies(unfit), f'GRANT CREATE ON SCHEMA public TO "{quoted}"')

    with pytest.raises(Unfit, match=f"may not change the tables.*they are {postgres.OWNER}'s") as unfit:
        await make_current(role)
    await execute(postgres_dsn, *remedies(unfit))
    await make_current(role)
    assert await is_current(role)


async def test_a_role_that_only_uses_the_tables_runs_on_a_later_releases_schema(postgres_dsn, role):
    await db.upgrade(postgres_dsn)
    await execute(postgres_dsn, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unfit) as unfit:
        await open_engine(role)
    await execute(postgres_dsn, *remedies(unfit))

    await make_current(role)
    assert await schema_of(role) == "9999"


async def test_a_role_that_may_not_connect(postgres_dsn, role):
    await execute(postgres_dsn, f'REVOKE CONNECT ON DATABASE "{postgres.name_in(postgres_dsn)}" FROM public')
    with pytest.raises(Unfit, match=r"does not let us in.*permission denied for database"):
        await open_engine(role)


async def test_a_role_or_a_database_that_does_not_exist(postgres_dsn):
    with pytest.raises(Unfit, match=r'does not let us in.*role "nobody" does not exist'):
        await open_engine(postgres_dsn.replace(f"//{postgres.OWNER}@", "//nobody@"))
    with pytest.raises(Unfit, match=r'does not let us in.*database "nothing" does not exist'):
        await open_engine(postgres_dsn.replace(postgres.name_in(postgres_dsn), "nothing"))
