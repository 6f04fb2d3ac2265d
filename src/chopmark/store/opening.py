"""A database by its address: open it, and say whether its schema is this release's.

Addresses: `sqlite:///relative.db`, `sqlite:////absolute.db` (`?group=off` commits each call by itself),
`sqlite://:memory:`, `postgresql://user@host/name` with libpq's parameters.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from chopmark.store.engine import Engine
from chopmark.store.postgres import POOL, PostgresEngine
from chopmark.store.postgres_hosts import connect as connect_postgres
from chopmark.store.sqlite import SqliteEngine
from chopmark.store.sqlite_connection import MEMORY, connect, translating

RELEASE = "0016"
"""The last revision of the schema that this release knows; a test holds it to the migrations."""
_REVISION = "SELECT version_num FROM alembic_version"


async def open_engine(url: str, *, pool: int = POOL, durable: bool = True) -> Engine:
    """Return an engine whose connections are tried and whose durability settings hold; call it in the event loop.

    `pool` is the number of PostgreSQL connections that write; `durable=False` accepts a PostgreSQL that may lose
    commits (benches).

    Raises:
        ValueError: no address of this kind.
        NotDurable: the database would not keep what it commits.
        Refused: UNAVAILABLE, it cannot be reached.
    """
    if is_postgres(url):
        return await PostgresEngine.open(url, pool=pool, durable=durable)
    group = parse_qs(urlsplit(url).query).get("group", ["on"])[-1]
    if group not in {"on", "off"}:
        raise ValueError(f"group is on or off, not {group}")
    with translating():
        return SqliteEngine(sqlite_path(url), group=group == "on")


async def is_current(url: str) -> bool:
    """Tell whether the database's schema is this release's, without alembic."""
    if not is_postgres(url):
        return await asyncio.to_thread(_sqlite_is_current, sqlite_path(url))
    connection = await connect_postgres(url)
    try:
        return bool(await connection.fetchval(_REVISION) == RELEASE)
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()


async def make_current(url: str) -> None:
    """Bring the schema up to this release; alembic is loaded only when there is something to do."""
    if await is_current(url):
        return
    from chopmark.store import db  # noqa: PLC0415

    await db.upgrade(url)


def _sqlite_is_current(path: str) -> bool:
    if not Path(path).exists():
        return False
    with closing(connect(path)) as db:
        try:
            row = db.execute(_REVISION).fetchone()
        except sqlite3.OperationalError:
            return False
        return row is not None and row[0] == RELEASE


def is_postgres(url: str) -> bool:
    """Tell whether the address is PostgreSQL's."""
    return urlsplit(url.replace(MEMORY, "")).scheme in {"postgresql", "postgres"}


def sqlite_path(url: str) -> str:
    """Return the file of a SQLite address; ValueError for any other."""
    scheme, _, rest = url.partition("://")
    path = unquote(rest.partition("?")[0]).removeprefix("/")
    if scheme != "sqlite" or not path:
        raise ValueError("a database's address begins with sqlite:/// or postgresql://")
    return path
