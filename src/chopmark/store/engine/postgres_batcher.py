"""The batcher: bundles that wait at the same moment run as one statement, in one transaction with one disk flush.

What it buys: issuance without it costs 1.37 times the CPU in our process and 1.49 times in PostgreSQL. In a customer's
whole journey it brings nothing (1.00), so only the CA's bundles are marked `batchable` (`repositories/ca`).

Each bundle still succeeds or fails by itself. When a guard of any of them fails, the server takes the whole statement
back, and each bundle is run again by itself (`Alone`). A bundle may be marked `batchable` when each of its parts reads,
is a guard, or writes a row that no other such bundle writes. Then two bundles that want the same row do not both
succeed: the guard of one of them fails.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

import asyncpg

from chopmark.core.refusal import Refused
from chopmark.store.engine.port import Unfit
from chopmark.store.engine.postgres_bundle import perform_bundle
from chopmark.store.engine.postgres_pool import Pool
from chopmark.store.engine.script import Bundle, Row

WORKERS = 2
"""So many statements of one shape run at a time, so that one which waits for a lock does not hold up the others."""
SIZES = (8, 4, 2, 1)
"""How many bundles a statement may hold. There are no other sizes, so a connection prepares four statements a shape."""
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""asyncpg raises exactly these classes when the connection is closed under us or the server ends it.

Their subclasses mean that we misused the API, so compare types exactly."""
Shape: TypeAlias = tuple[tuple[str, bool], ...]
Answer: TypeAlias = list[list[Row]] | None
Waiting: TypeAlias = deque[tuple[Bundle, "asyncio.Future[Answer]"]]


class Alone(Exception):
    """Nothing of the bundle has happened. The caller runs it by itself."""


class Batcher:
    """Runs bundles of the same shape together, on the connections of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[Shape, Waiting] = {}
        self._workers: dict[Shape, set[asyncio.Task[None] | None]] = {}

    async def perform(self, bundle: Bundle) -> Answer:
        """Run the bundle with others or by itself, as `perform_bundle`; raises Alone, and what the driver raises."""
        shape = tuple((part.sql, part.guard) for part in bundle.parts)
        waiting = self._waiting.setdefault(shape, deque())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting.append((bundle, future))
        workers = self._workers.setdefault(shape, set())
        if len(workers) < WORKERS:
            workers.add(asyncio.create_task(self._work(waiting, workers)))
        return await future

    async def _work(self, waiting: Waiting, workers: set["asyncio.Task[None] | None"]) -> None:
        """Run what waits until nothing is left, then leave `workers` at once, so that the next caller starts a new one.

        When a worker fails, the other one goes on with what waits. When the last one fails, everybody who still waits
        gets an error.
        """
        try:
            while waiting:
                size = next(size for size in SIZES if size <= len(waiting))
                group = [one for one in (waiting.popleft() for _ in range(size)) if not one[1].done()]
                if group:
                    await self._group(group)
        finally:
            workers.discard(asyncio.current_task())
            if not workers:
                _fail(waiting, ConnectionAbortedError())
                waiting.clear()

    async def _group(self, group: list[tuple[Bundle, "asyncio.Future[Answer]"]]) -> None:
        """Run a group and give each caller its answer or error; a caller that was cancelled meanwhile gets none."""
        told: list[tuple[asyncio.Future[Answer], Answer]] = []
        failed: Exception = ConnectionAbortedError()
        try:
            answers = await self._together([bundle for bundle, _ in group])
            told = [(future, answer) for (_, future), answer in zip(group, answers, strict=True)]
        except (Alone, Refused, Unfit, OSError, asyncpg.PostgresError) as failure:
            failed = failure
        finally:
            for future, answer in told:
                if not future.done():
                    future.set_result(answer)
            _fail(group, failed)

    async def _together(self, bundles: list[Bundle]) -> list[Answer]:
        connection = await self._pool.take()
        try:
            return await _perform(connection, bundles)
        except (asyncpg.InterfaceError, asyncpg.InternalClientError) as failure:
            if type(failure) not in LOST:
                raise Alone from failure  # an error in the call, found before anything was sent
            connection.terminate()
            raise ConnectionResetError(str(failure)) from failure
        except TimeoutError:
            connection.terminate()
            self._pool.doubt()
            raise
        except (asyncio.CancelledError, asyncpg.ReadOnlySQLTransactionError):
            connection.terminate()
            raise
        finally:
            self._pool.give(connection)


def _fail(those: Iterable[tuple[Bundle, "asyncio.Future[Answer]"]], failure: Exception) -> None:
    """Raise the failure in each caller that has no answer yet."""
    for _, future in those:
        if not future.done():
            future.set_exception(failure)


async def _perform(connection: Any, bundles: list[Bundle]) -> list[Answer]:
    if len(bundles) == 1:
        return [await perform_bundle(connection, bundles[0])]
    try:
        rows = await perform_bundle(connection, Bundle(tuple(part for bundle in bundles for part in bundle.parts)))
    except asyncpg.PostgresError as failure:
        if connection.is_closed():
            raise
        raise Alone from failure  # the server refused, and has taken the statement back
    if rows is None:
        raise Alone
    each = len(bundles[0].parts)
    return [rows[first : first + each] for first in range(0, len(rows), each)]
