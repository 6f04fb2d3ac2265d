"""PostgreSQL over asyncpg: one pool that writes, one that only reads, and a notifier (LISTEN and NOTIFY)."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, Literal, ParamSpec, Self, TypeVar

import asyncpg

from chopmark.store.engine.port import UNHEARD_S, Clash, LocalNotifier, Snapshot, Unfit, unavailable
from chopmark.store.engine.postgres_batcher import LOST, Alone, Batcher
from chopmark.store.engine.postgres_bundle import perform_bundle
from chopmark.store.engine.postgres_notifier import Notifier
from chopmark.store.engine.postgres_pool import Pool
from chopmark.store.engine.postgres_rights import schema_of
from chopmark.store.engine.postgres_route import COMMAND_S, Route
from chopmark.store.engine.script import Batch, Bundle, Row, Script, ScriptRun, Statements, Value, compiled

P = ParamSpec("P")
T = TypeVar("T")

POOL = 8
READERS = 4
RERUNS = 3
SESSION = {
    "application_name": "chopmark",
    "timezone": "UTC",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",  # plans are kept, and one made while the table was empty would read all of it for ever
    "max_parallel_workers_per_gather": "0",  # to start two workers took 10 ms, for a look at no rows
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
}
UNHURRIED = SESSION | {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "enable_seqscan": "on",  # these sessions read whole tables
}
READING = {"default_transaction_read_only": "on"}

_RERUN = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError, asyncpg.InvalidCachedStatementError)
_UNAVAILABLE = (
    OSError,  # TimeoutError too
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresSystemError,
    asyncpg.LockNotAvailableError,
    *_RERUN,
)
_KEY = re.compile(r"Key \((?P<columns>[^)]*)\)=")


class PostgresEngine:
    """`Engine` over PostgreSQL; `open` makes one.

    Each connection keeps its prepared statements. So a pooler before PostgreSQL has to be in session mode.
    """

    dialect: Literal["postgresql"] = "postgresql"

    def __init__(self, route: Route, writers: Pool, readers: Pool) -> None:
        self._route = route
        self._writers = writers
        self._readers = readers
        self._batchers = {writers: Batcher(writers), readers: Batcher(readers)}
        self._local = LocalNotifier()
        self._notifier = Notifier(route, self._local)
        self._closed = False

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        pool: int = POOL,
        readers: int = READERS,
        durable: bool = True,
        tick: Callable[[], float] | None = None,
    ) -> Self:
        """Connect. A server that could lose committed transactions is refused. `tick` as for `Pool`.

        Raises:
            NotDurable: fsync, full_page_writes or synchronous_commit is off; `durable=False` accepts that (benches).
            Unfit: the address, a pooler or the rights of the role make it unusable.
        """
        route = Route.to(dsn)
        writing = Pool(partial(_connect, route, SESSION, durable), pool, plan_anew, tick)
        reading = Pool(partial(_connect, route, SESSION | READING, False), readers, plan_anew, tick)
        writing.beside, reading.beside = reading, writing
        with _opening:
            try:
                await schema_of(route)
                for each in (writing, reading):
                    each.give(await each.take())
            except BaseException:
                writing.terminate()
                raise
        return cls(route, writing, reading)

    async def run(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Engine.run`, in READ COMMITTED. After a deadlock it runs again, at most three times."""
        make = partial(script, *args, **kwargs)
        with _translating:
            for _ in range(RERUNS):
                try:
                    return await self._transaction(self._writers, "BEGIN", make)
                except _RERUN:
                    continue
                except asyncpg.ReadOnlySQLTransactionError as failure:  # during a failover this host may be a standby
                    raise unavailable() from failure
            return await self._transaction(self._writers, "BEGIN", make)

    async def read(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Engine.read`."""
        begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        with _translating:
            return await self._transaction(self._readers, begin, partial(script, *args, **kwargs))

    async def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """As `Engine.stream`."""
        statement = compiled(sql)
        with _translating:
            connection = await self._route.connect(UNHURRIED)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    cursor = await connection.cursor(statement.numbered, *statement.arguments(values))
                    while rows := await cursor.fetch(batch):
                        yield rows
            finally:
                connection.terminate()

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """As `Engine.snapshot`."""
        with _translating:
            connection = await self._route.connect(UNHURRIED)
        try:
            with _translating:
                await connection.transaction(isolation="repeatable_read", readonly=True).start()
                await connection.execute("SELECT 1")  # the first statement, not BEGIN, fixes the moment
            yield _View(connection)
        finally:
            connection.terminate()

    async def wake(self, channel: str) -> None:
        """As `Engine.wake`; every process that uses this database hears it."""
        self._notify([channel])

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """As `Engine.wait`."""
        heard = await self._notifier.listen(channel)
        return await self._local.wait(channel, timeout_s if heard else min(timeout_s, UNHEARD_S))

    async def close(self) -> None:
        """As `Engine.close`."""
        if not self._closed:
            self._closed = True
            await self._notifier.close()
            await self._readers.close()
            await self._writers.close()

    async def _transaction(self, pool: Pool, begin: str, make: Callable[[], Script[T]]) -> T:
        script_run = ScriptRun(make())
        try:
            step = script_run.first()
            if isinstance(step, Bundle) and step.batchable:
                with contextlib.suppress(Alone):
                    step = script_run.bundled(step, await self._batchers[pool].perform(step))
            if step is not None:
                connection = await pool.take()
                try:
                    await _run(connection, begin, script_run, step)
                except TimeoutError:
                    pool.doubt()
                    raise
                finally:
                    pool.give(connection)
        finally:
            script_run.close()
        self._notify(script_run.channels)
        return script_run.answer

    def _notify(self, channels: list[str]) -> None:
        if channels:
            self._local.notify(channels)
            self._notifier.announce(channels)


class _View:
    """`Snapshot` over a connection with an open transaction. Only one stream uses the connection at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    async def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        statement = compiled(sql)
        with _translating:
            async with self._turn:
                cursor = await self._connection.cursor(statement.numbered, *statement.arguments(values))
            while True:
                async with self._turn:
                    rows = await cursor.fetch(batch)
                if not rows:
                    return
                yield rows


async def _connect(route: Route, settings: dict[str, str], durable: bool) -> Any:
    """Return a new connection of a pool; raises as `Route.connect`."""
    return await route.connect(
        settings,
        durable=durable,
        command_timeout=COMMAND_S,
        statement_cache_size=1024,
        max_cached_statement_lifetime=0,
    )


async def plan_anew(connection: Any) -> None:
    """Have PostgreSQL forget the plans of a connection, so that each statement is planned once more, for what is there.

    A plan is kept as long as its connection. One that was made while a table, or a partial index, was empty may go
    through all of an index for a single row, also where the row is named by its key. Nothing else makes PostgreSQL look
    again before autovacuum has analysed the table, which takes days where the table is large.
    """
    try:
        await connection.execute("DISCARD PLANS")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, ConnectionError):
        connection.terminate()  # it was lost while nobody used it: the pool takes another one


async def _run(connection: Any, begin: str, script_run: ScriptRun[Any], step: Statements) -> None:
    """Run a script on a connection. A connection that is lost or interrupted meanwhile is not used again."""
    try:
        after: Statements | None = step
        if isinstance(step, Bundle):
            after = script_run.bundled(step, await perform_bundle(connection, step))
        elif script_run.whole:
            after = script_run.next(await _perform(connection, step))
        if after is not None:
            await _run_through(connection, begin, script_run, after)
    except LOST as failure:
        if type(failure) in LOST:
            connection.terminate()
            raise ConnectionResetError(str(failure)) from failure
        raise
    except (asyncio.CancelledError, TimeoutError, asyncpg.ReadOnlySQLTransactionError):
        connection.terminate()  # one that leads to a standby leads there as long as it lives
        raise


async def _run_through(connection: Any, begin: str, script_run: ScriptRun[Any], step: Statements | None) -> None:
    await connection.execute(begin)
    try:
        while step is not None:
            step = script_run.next(await _perform(connection, step))
        await connection.execute("COMMIT")
    except BaseException:
        # Where even this fails the connection is gone, or goes when it is given back, and the server rolls back.
        with contextlib.suppress(OSError, asyncpg.PostgresError, *LOST):
            await connection.execute("ROLLBACK")
        raise


async def _perform(connection: Any, step: Statements) -> list[Row]:
    if isinstance(step, Bundle):
        raise RuntimeError("a bundle is a script's first step")
    statement = compiled(step.sql)
    if isinstance(step, Batch):
        await connection.executemany(statement.numbered, [statement.arguments(values) for values in step.values])
        return []
    rows: list[Row] = await connection.fetch(statement.numbered, *statement.arguments(step.values))
    return rows


class _Translating:
    """Turn what the driver raises into Clash or into the refusal UNAVAILABLE; other exceptions pass unchanged.

    Unfit becomes UNAVAILABLE, too, except when the engine is opened: a customer is told that the database is away, and
    the log of a job names the cause.
    """

    __slots__ = ("_also",)

    def __init__(self, *also: type[Exception]) -> None:
        self._also = (*_UNAVAILABLE, *also)

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, failure: BaseException | None, _traceback: object) -> None:
        """Translate the exception."""
        if isinstance(failure, asyncpg.UniqueViolationError):
            match = _KEY.match(failure.detail or "")
            columns = tuple(match["columns"].split(", ")) if match else ()
            raise Clash(failure.table_name or "", columns) from None
        if isinstance(failure, self._also) or type(failure) in LOST:
            raise unavailable() from failure


_translating = _Translating(Unfit)
_opening = _Translating()
