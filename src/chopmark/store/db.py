"""Bring the schema of a database up to date, and tell which revision it has.

Only this module, the migrations and the tables import SQLAlchemy and alembic. A server whose schema is current imports
none of them (`current`, `engine.opening`).
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, create_mock_engine, event, text
from sqlalchemy.engine.mock import MockConnection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import ExecutableDDLElement

from chopmark.store.engine.opening import is_older, is_postgres, open_engine, schema_of, sqlite_path
from chopmark.store.engine.port import Engine
from chopmark.store.engine.postgres_rights import assert_may_migrate
from chopmark.store.engine.postgres_route import Route
from chopmark.store.engine.script import Query, Script
from chopmark.store.engine.sqlite_connection import connect_to_migrate
from chopmark.store.schema import metadata

T = TypeVar("T")

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x43484F50  # the advisory lock of migrations: "CHOP"
SESSION = {"application_name": "chopmark upgrade"}


__all__ = ["Fit", "check", "create", "current", "head", "open_engine", "upgrade"]


class Fit(StrEnum):
    """How a database's schema fits this release."""

    EMPTY = "empty"  # no schema yet
    BEHIND = "behind"  # `upgrade` has work to do
    CURRENT = "current"
    AHEAD = "ahead"  # a later release has been here; release N-1 runs on schema N


async def create(engine: Engine) -> None:
    """Make all tables of this release in an empty database. For databases in memory, which have no migrations."""
    await engine.run(_created, engine.dialect)


async def upgrade(url: str) -> None:
    """Apply each missing revision in a transaction of its own, until the schema is this release's.

    Other processes that start at the same moment wait. For a database in memory call `create` instead.

    Raises:
        Unfit: PostgreSQL cannot be used with this address, through this pooler, or with the rights of our role.
    """
    if is_postgres(url) and is_older(await schema_of(url)):
        await assert_may_migrate(Route.to(url))
    while await within(url, _one_revision):
        pass


async def current(url: str) -> str | None:
    """Return the revision of the database, None for an empty one."""
    return await within(url, _revision)


def head() -> str:
    """Return the last revision that this release knows."""
    revision = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision is None:
        raise RuntimeError("no migrations are installed")
    return revision


async def check(url: str) -> Fit:
    """Return how the database's schema fits this release."""
    revision = await current(url)
    if revision is None:
        return Fit.EMPTY
    if revision == head():
        return Fit.CURRENT
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    return Fit.BEHIND if revision in known else Fit.AHEAD


def _created(dialect: str) -> Script[None]:
    statements: list[str] = []

    def keep(ddl: ExecutableDDLElement, *_: object, **__: object) -> None:
        statements.append(str(ddl.compile(dialect=mock.dialect)))

    mock: MockConnection = create_mock_engine(f"{dialect}://", keep)
    metadata.create_all(mock, checkfirst=False)
    for statement in statements:
        yield Query(statement, {})


def alembic_config() -> Config:
    """Return the configuration by which alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _one_revision(connection: Connection) -> bool:
    """Apply the next revision in the open transaction. Return False when no revision is left."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    scripts = ScriptDirectory.from_config(alembic_config())
    revision = _revision(connection)
    known = {script.revision for script in scripts.walk_revisions()}
    if revision == scripts.get_current_head() or (revision is not None and revision not in known):
        return False
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "+1")
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
        raise RuntimeError("the migration leaves rows that refer to nothing")
    return True


async def within(url: str, step: Callable[[Connection], T]) -> T:
    """Run a step in one transaction. Migrations of other processes wait until it ends."""
    if not is_postgres(url):
        return await asyncio.to_thread(_within_sqlite, sqlite_path(url), step)
    route = Route.to(url)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: route.connect(SESSION), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(step)
    finally:
        await engine.dispose()


def _within_sqlite(path: str, step: Callable[[Connection], T]) -> T:
    engine = create_engine("sqlite://", creator=lambda: connect_to_migrate(path), poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            return step(connection)
    finally:
        engine.dispose()
