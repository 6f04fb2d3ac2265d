"""SQLite. One thread writes and commits waiting scripts as a group; other threads read the last committed state.

A database in memory has one connection only, so the writer thread runs the reading scripts, too.
"""

import asyncio
import contextlib
import queue
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from functools import partial
from typing import Any, Literal, ParamSpec, TypeVar, cast

from chopmark.store.engine.port import UNHEARD_S, LocalNotifier, Snapshot, unavailable
from chopmark.store.engine.script import Query, Row, Script, ScriptRun, Value, query
from chopmark.store.engine.sqlite_connection import MEMORY, connect, run_through, translating
from chopmark.store.engine.sqlite_notifier import FileNotifier
from chopmark.store.engine.sqlite_snapshot import SqliteSnapshot, copied
from chopmark.store.engine.sqlite_writer import Job, Outcome, Writer

P = ParamSpec("P")
T = TypeVar("T")

READERS = 4
WAITING = 1024
"""So many calls may wait at a time. Further ones are refused as UNAVAILABLE at once."""


class SqliteEngine:
    """`Engine` over one SQLite file, or over a database in memory. Make it inside the event loop that uses it.

    `group=False` commits every script by itself, to measure what committing in groups is worth.
    """

    dialect: Literal["sqlite"] = "sqlite"

    def __init__(self, path: str, *, group: bool = True, readers: int = READERS) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._local = LocalNotifier()
        self._notifier = None if path == MEMORY else FileNotifier(path, self._local)
        self._waiting = 0
        self._closed = False
        self._endings: set[Future[None]] = set()
        self._writer = Writer(path, self._loop.time, self._hand_over, group=group)
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="sqlite-reader")
        if path != MEMORY:
            for _ in range(readers):
                self._readers.put(connect(path, reader=True))
        self._writer.start()

    async def run(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Engine.run`."""
        return cast(T, await self._submit(partial(script, *args, **kwargs), reader=False))

    async def read(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Engine.read`."""
        make = partial(script, *args, **kwargs)
        if self._path == MEMORY:
            return cast(T, await self._submit(make, reader=True))
        self._admit()
        try:
            return await self._loop.run_in_executor(self._threads, self._read, make)
        finally:
            self._waiting -= 1

    async def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """As `Engine.stream`; from memory all rows are fetched first."""
        if self._path == MEMORY:
            rows = await self.read(_all, query(sql, **values))
            for start in range(0, len(rows), batch):
                yield rows[start : start + batch]
            return
        # One thread, so that a cancelled fetch ends before close.
        thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-stream")
        in_thread = partial(self._loop.run_in_executor, thread)
        opened: list[sqlite3.Connection] = []
        try:
            with translating():
                cursor = await in_thread(self._cursor, opened, sql, values)
                while rows := await in_thread(cursor.fetchmany, batch):
                    yield rows
        finally:
            self._ending(thread.submit(_close, opened))
            thread.shutdown(wait=False)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """As `Engine.snapshot`; from memory all tables are copied first."""
        snapshot = SqliteSnapshot(self._path, await self.read(copied) if self._path == MEMORY else [])
        try:
            await snapshot.open()
            yield snapshot
        finally:
            self._ending(snapshot.close())

    async def wake(self, channel: str) -> None:
        """As `Engine.wake`; every process that uses this file hears it."""
        self._notify([channel])

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """As `Engine.wait`."""
        heard = self._notifier is None or self._notifier.listen()
        return await self._local.wait(channel, timeout_s if heard else min(timeout_s, UNHEARD_S))

    async def close(self) -> None:
        """As `Engine.close`."""
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        await asyncio.to_thread(self._writer.join)
        if self._notifier is not None:
            self._notifier.close()
        await asyncio.to_thread(self._threads.shutdown)
        while not self._readers.empty():
            self._readers.get().close()
        # Whoever ends last takes the log's file away, and by then another database may lie at that path.
        await asyncio.to_thread(wait_for, list(self._endings))

    def _ending(self, closing: Future[None]) -> None:
        """Remember the end of a stream's connection, which nobody waits for, until it has come."""
        self._endings.add(closing)
        closing.add_done_callback(self._endings.discard)

    def _admit(self) -> None:
        if self._closed or self._waiting >= WAITING or not self._writer.is_alive():
            raise unavailable()
        self._waiting += 1

    async def _submit(self, make: Callable[[], Script[Any]], *, reader: bool) -> object:
        self._admit()
        answered: asyncio.Future[object] = self._loop.create_future()
        self._writer.submit(Job(make, answered, reader))
        return await answered

    def _hand_over(self, outcomes: list[Outcome]) -> None:
        self._loop.call_soon_threadsafe(self._answer, outcomes)

    def _answer(self, outcomes: list[Outcome]) -> None:
        self._waiting -= len(outcomes)
        self._notify({channel for outcome in outcomes for channel in outcome.channels})
        for outcome in outcomes:
            if outcome.job.answered.done():
                continue
            if outcome.failure is not None:
                outcome.job.answered.set_exception(outcome.failure)
            else:
                outcome.job.answered.set_result(outcome.answer)

    def _notify(self, channels: Collection[str]) -> None:
        self._local.notify(channels)
        if self._notifier is not None:
            self._notifier.announce(channels)

    def _read(self, make: Callable[[], Script[T]]) -> T:
        db = self._readers.get()
        try:
            with translating():
                script_run = ScriptRun(make())
                db.execute("BEGIN")
                run_through(db, script_run)
                return script_run.answer
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._readers.put(db)

    def _cursor(self, opened: list[sqlite3.Connection], sql: str, values: Mapping[str, Value]) -> sqlite3.Cursor:
        opened.append(connect(self._path, reader=True))
        return opened[0].execute(sql, values)


def _close(opened: list[sqlite3.Connection]) -> None:
    for db in opened:
        db.close()


def _all(step: Query) -> Script[list[Row]]:
    return (yield step)
