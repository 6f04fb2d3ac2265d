"""A database by its address: open it, and say whether its schema is this release's.

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

RELEASE = "0021"
"""The last revision of the schema that this release knows; a test holds it to the migrations."""
_REVISION = "SELECT version_num FROM alembic_version"


async def open_engine(url: str, *, pool: int = POOL, durable: bool = True) -> Engine:
    """Return an engine whose connections are tried and whose durability settings hold; call it in the event loop.

    `pool` is the number of PostgreSQL connections that write; `durable=False` accepts a PostgreSQL that may lose
    commits (benches).

    Raises:
        ValueError: no address of this kind.
        NotDurable: the database would not keep what it commits.
        Unfit: it cannot be used for another reason that its text says.
        Refused: UNAVAILABLE, it cannot be reached.
    """
    if is_postgres(url):
        return await PostgresEngine.open(url, pool=pool, durable=durable)
    group = parse_qs(urlsplit(url).query).get("group", ["on"])[-1]
    if group not in {"on", "off"}:
        raise ValueError(f"group is on or off, not {group}")
    with translating():
        return SqliteEngine(sqlite_path(url), group=group == "on")


async def schema_of(url: str) -> str | None:
    """Return the revision of the database's schema, None where there is none; nothing is made or changed."""
    if is_postgres(url):
        return await postgres_rights.schema_of(Route.to(url))
    return await asyncio.to_thread(_schema_of_sqlite, sqlite_path(url))


def is_older(revision: str | None) -> bool:
    """Tell whether a schema lacks something of this release: revisions are numbered without a gap."""
    return revision is None or revision < RELEASE


async def is_current(url: str) -> bool:
    """Tell whether the database's schema is this release's, without alembic."""
    return await schema_of(url) == RELEASE


async def assert_current(url: str) -> None:
    """The database holds this release's schema, or a later one (release N-1 runs on schema N); nothing is changed.

    Raises:
        Unfit: it holds an older one, or none.
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
    """Nothing keeps a process from using this database, except perhaps its being down just now, or its schema.

    Raises:
        Unfit: the address, a pooler, a setting or our role's rights will not do.
    """
    if is_postgres(url):
        with suppress(Refused):
            await (await open_engine(url, pool=1)).close()


async def make_current(url: str) -> None:
    """Bring the schema up to this release; alembic is loaded only when there is something to do."""
    if await is_current(url):
        return
    from chopmark.store import db  # noqa: PLC0415

    await db.upgrade(url)


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
