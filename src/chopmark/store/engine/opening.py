"""Open the database that an address names, and tell whether its schema is this release's.

Addresses: `sqlite:///relative.db`, `sqlite:////absolute.db` (`?group=off` commits each call by itself),
`sqlite://:memory:`, `postgresql://user@host/name` with libpq's parameters.
"""

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from chopmark.core.refusal import Refused
from chopmark.store.engine import postgres_rights
from chopmark.store.engine.port import Engine, Unfit
from chopmark.store.engine.postgres import POOL, PostgresEngine
from chopmark.store.engine.postgres_route import Route
from chopmark.store.engine.sqlite import SqliteEngine
from chopmark.store.engine.sqlite_connection import BUSY_MS, MEMORY, translating

RELEASE = "0028"
"""The newest revision that this release knows. A test compares it with the migrations."""
_REVISION = "SELECT version_num FROM alembic_version"


async def open_engine(url: str, *, pool: int = POOL, durable: bool = True) -> Engine:
    """Connect, check the settings that durability rests on, and return the engine. Call it inside the event loop.

    `pool` is the number of PostgreSQL connections that write; `durable=False` accepts a PostgreSQL that may lose
    commits (benches).

    Raises:
        ValueError: this is not the address of a SQLite or PostgreSQL database.
        NotDurable: a setting of the database would let commits be lost.
        Unfit: the database cannot be used for another reason, which the text names.
        Refused: UNAVAILABLE, the database cannot be reached.
    """
    if is_postgres(url):
        return await PostgresEngine.open(url, pool=pool, durable=durable)
    group = parse_qs(urlsplit(url).query).get("group", ["on"])[-1]
    if group not in {"on", "off"}:
        raise ValueError(f"group is on or off, not {group}")
    with translating():
        return SqliteEngine(sqlite_path(url), group=group == "on")


async def schema_of(url: str) -> str | None:
    """Return the revision of the database's schema, or None if it has none. Nothing is created or changed."""
    if is_postgres(url):
        return await postgres_rights.schema_of(Route.to(url))
    return await asyncio.to_thread(_schema_of_sqlite, sqlite_path(url))


def is_older(revision: str | None) -> bool:
    """Tell whether a schema is older than this release. Revisions are numbered, so their order is known."""
    return revision is None or revision < RELEASE


async def is_current(url: str) -> bool:
    """Tell whether the database's schema is this release's, without alembic."""
    return await schema_of(url) == RELEASE


async def assert_current(url: str) -> None:
    """Check that the database has this release's schema or a later one: release N-1 runs on schema N.

    Raises:
        Unfit: the schema is older, or there is none.
    """
    found = await schema_of(url)
    if found is None:
        raise Unfit("the database has no schema yet: `chopmark db upgrade` makes it; nothing was changed")
    if is_older(found):
        raise Unfit(
            f"the database's schema is {found}, older than this release's {RELEASE}: `chopmark db upgrade` brings it "
            "up to date; nothing was changed"
        )


async def assert_usable(url: str) -> None:
    """Check the address, the pooler, the settings and the rights of our role. A database that is down passes.

    Raises:
        Unfit: one of them makes the database unusable.
    """
    if is_postgres(url):
        with suppress(Refused):
            await (await open_engine(url, pool=1)).close()


def _schema_of_sqlite(path: str) -> str | None:
    if not Path(path).exists():
        return None
    # Not `connect`: that makes a database of what it finds.
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, timeout=BUSY_MS / 1000)) as db:
        db.execute("PRAGMA query_only = 1")
        try:
            row = db.execute(_REVISION).fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None else str(row[0])


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
