"""Writes rows by the hundred thousand: into PostgreSQL by COPY, into SQLite by one connection that syncs nothing.

Both engines lose their indexes first and get them again at the end, because an index that is made over all rows costs
a fraction of one that each row changes.
"""

import asyncio
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import asyncpg

from bench.bare import Bared, bare, dressed
from chopmark.store.engine.opening import is_postgres, sqlite_path

Columns = Sequence[str]
Rows = dict[str, list[tuple[Any, ...]]]
Head = tuple[int, str, bytes]
"""Size, line and frontier."""


class Begun(NamedTuple):
    """What a database has before it is filled: its latest head, and the greatest entry of a record."""

    head: Head | None
    entry: int


_LATEST = "SELECT size, line, frontier FROM heads ORDER BY size DESC LIMIT 1"
_WAITING = "SELECT (SELECT COUNT(*) FROM leaves) - (SELECT COUNT(*) FROM places), (SELECT MAX(entry) FROM leaves)"
_NEXT = "SELECT setval(pg_get_serial_sequence('leaves', 'entry'), MAX(entry)) FROM leaves"
_PLACED = """
INSERT INTO heads (size, line, frontier, settled, xid) SELECT {marks}, COALESCE(MAX(entry), 0), 0 FROM leaves
"""
_FILLING = {"session_replication_role": "replica", "synchronous_commit": "off", "wal_compression": "on"}
"""For PostgreSQL's connections that fill: references are checked when they are made again; CHECKPOINT syncs it all."""

_OCTETS = """
SELECT relname, pg_total_relation_size(oid) AS whole, pg_indexes_size(oid) AS indexes
FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY 2 DESC LIMIT $1
"""
_CACHE_KIB = 1_000_000
_SQLITE_INDEXES = "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"


class Store(Protocol):
    """A database that is being filled by one process at a time, or by several (PostgreSQL)."""

    def begin(self, tables: Sequence[str]) -> Begun:
        """Return where the records stand, and take the tables' indexes off.

        Raises RuntimeError while leaves wait for their place.
        """

    def write(self, columns: Mapping[str, Columns], rows: Rows) -> None:
        """Write rows."""

    def end(self, head: Head) -> None:
        """Write the head, make the indexes again, and have everything on disk."""


def store_of(database: str) -> Store:
    """Return the writer for a database's address."""
    return Postgres(database) if is_postgres(database) else Sqlite(database)


class Postgres:
    """Rows come from several processes, each of which has a writer of its own; `begin` and `end` are one process's."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._tables: Sequence[str] = ()
        self._bared = Bared((), ())

    def begin(self, tables: Sequence[str]) -> Begun:
        self._tables = tables
        return asyncio.run(self._begin())

    async def _begin(self) -> Begun:
        connection = await asyncpg.connect(self._database)
        try:
            begun = _begun(await connection.fetchrow(_WAITING), await connection.fetchrow(_LATEST))
            self._bared = await bare(connection, self._tables)
            return begun
        finally:
            await connection.close()

    def write(self, columns: Mapping[str, Columns], rows: Rows) -> None:
        asyncio.run(self._write(columns, rows))

    async def _write(self, columns: Mapping[str, Columns], rows: Rows) -> None:
        connection = await asyncpg.connect(self._database, server_settings=_FILLING)
        try:
            async with connection.transaction():
                for table, records in rows.items():
                    await connection.copy_records_to_table(table, records=records, columns=columns[table])
        finally:
            await connection.close()

    def end(self, head: Head) -> None:
        asyncio.run(self._end(head))

    async def _end(self, head: Head) -> None:
        """Tables are vacuumed while they have no index, so that their rows are looked through once for it.

        They are analysed, as autovacuum would.
        """
        connection = await asyncpg.connect(self._database, server_settings=_FILLING)
        try:
            await connection.execute(_PLACED.format(marks="$1::bigint, $2::text, $3::bytea"), *head)
            await connection.execute(_NEXT)
            await connection.execute(f"VACUUM {', '.join(self._tables)}")
            await connection.execute("SET session_replication_role = origin")
            await dressed(connection, self._bared)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()


class Sqlite:
    """One connection writes everything in one transaction, without a log and without syncing.

    Keys stay, because SQLite has them within the table; the other indexes are made at the end.
    """

    def __init__(self, database: str) -> None:
        self._path = sqlite_path(database)
        self._db: sqlite3.Connection | None = None
        self._indexes: list[tuple[str, str]] = []

    def begin(self, tables: Sequence[str]) -> Begun:
        self._db = db = sqlite3.connect(self._path, isolation_level=None)
        begun = _begun(db.execute(_WAITING).fetchone(), db.execute(_LATEST).fetchone())
        for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE_KIB}", "foreign_keys = OFF"):
            db.execute(f"PRAGMA {setting}")
        self._indexes = [
            (name, text) for name, table, text in db.execute(_SQLITE_INDEXES).fetchall() if table in tables
        ]
        db.execute("BEGIN")
        for name, _ in self._indexes:
            db.execute(f"DROP INDEX {name}")
        return begun

    def write(self, columns: Mapping[str, Columns], rows: Rows) -> None:
        db = self._connected()
        for table, records in rows.items():
            marks = ", ".join("?" * len(columns[table]))
            db.executemany(f"INSERT INTO {table} ({', '.join(columns[table])}) VALUES ({marks})", records)

    def end(self, head: Head) -> None:
        db = self._connected()
        db.execute(_PLACED.format(marks="?, ?, ?"), head)
        for _, text in self._indexes:
            db.execute(text)
        db.execute("COMMIT")
        broken = db.execute("PRAGMA foreign_key_check").fetchone()
        made = db.execute(_SQLITE_INDEXES).fetchall()
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA journal_mode = WAL")
        db.close()
        self._db = None
        if broken or not {text for _, text in self._indexes} <= {text for _, _, text in made}:
            raise RuntimeError("the indexes or references are not what they were")
        with Path(self._path).open("rb") as file:  # nothing was synced so far
            os.fsync(file.fileno())

    def _connected(self) -> sqlite3.Connection:
        if self._db is None:
            raise RuntimeError("begin comes first")
        return self._db


async def octets(database: str, most: int = 20) -> dict[str, tuple[int, int]]:
    """Return what PostgreSQL's largest tables take up, all in all and their indexes; nothing of SQLite."""
    if not is_postgres(database):
        return {}
    connection = await asyncpg.connect(database)
    try:
        return {row["relname"]: (row["whole"], row["indexes"]) for row in await connection.fetch(_OCTETS, most)}
    finally:
        await connection.close()


def _begun(leaves: Any, row: Any) -> Begun:
    waiting, entry = leaves
    if waiting:
        raise RuntimeError(f"{waiting} leaves wait for the sequencer")
    return Begun(None if row is None else (row[0], row[1], row[2]), entry or 0)
