"""A SQLite database as it was at one moment, read through a connection and a thread of its own."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from chopmark.store.engine.script import Row, Script, Value, query
from chopmark.store.engine.sqlite_connection import connect, translating

_TABLES = "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"


@dataclass(frozen=True, slots=True)
class TableCopy:
    """A copy of a table of a database in memory. A second connection could not see the table itself."""

    name: str
    ddl: str
    rows: tuple[tuple[Value, ...], ...]


def copied() -> Script[list[TableCopy]]:
    """Copy every table, without its indexes."""
    copies = []
    for table in (yield query(_TABLES)):
        rows = yield query(f'SELECT * FROM "{table["name"]}"')
        copies.append(TableCopy(table["name"], table["sql"], tuple(_plain(row) for row in rows)))
    return copies


class SqliteSnapshot:
    """`Snapshot` over a file as it is when `open` returns, or over copies of the tables of a database in memory."""

    def __init__(self, path: str, copies: list[TableCopy]) -> None:
        self._path = path
        self._copies = copies
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-snapshot")
        self._in_thread = partial(asyncio.get_running_loop().run_in_executor, self._thread)
        self._opened: list[sqlite3.Connection] = []

    async def open(self) -> None:
        """Connect, and begin the transaction that fixes the moment."""
        with translating():
            await self._in_thread(self._open)

    async def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """As `Snapshot.stream`."""
        with translating():
            cursor = await self._in_thread(self._opened[0].execute, sql, values)
            while rows := await self._in_thread(cursor.fetchmany, batch):
                yield rows

    def close(self) -> Future[None]:
        """End the connection after what its thread is doing just now. Return that end, and do not wait for it."""
        ending = self._thread.submit(self._close)
        self._thread.shutdown(wait=False)
        return ending

    def _open(self) -> None:
        db = connect(self._path)
        self._opened.append(db)
        db.text_factory = _text
        for copy in self._copies:
            db.execute(copy.ddl)
            places = ", ".join("?" * len(copy.rows[0])) if copy.rows else "NULL"
            db.executemany(f'INSERT INTO "{copy.name}" VALUES ({places})', copy.rows)
        db.execute("PRAGMA query_only = 1")
        db.execute("BEGIN")
        db.execute("SELECT 1 FROM sqlite_master").fetchall()  # not BEGIN but the first read fixes the moment

    def _close(self) -> None:
        for db in self._opened:
            db.close()


def _text(octets: bytes) -> str:
    return octets.decode(errors="surrogateescape")


def _plain(row: Row) -> tuple[Value, ...]:
    return tuple(row[name] for name in row.keys())  # noqa: SIM118
