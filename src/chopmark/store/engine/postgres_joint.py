"""Bundles that wait at the same moment run as one statement: one round trip, one transaction, one flush for all.

Each still stands or falls alone: where a guard of any of them fails, nothing of the statement stays, and each goes its
own way as if it had been alone. Only bundles that say so are joined (`joint`): every part writes rows of its own alone
or is a guard, so that what two of them would both write fails as a guard.
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

LANES = 2
"""Statements of one shape under way at a time: one that waits for a lock does not hold up everybody."""
SIZES = (8, 4, 2, 1)
"""How many are joined: each size is a statement that a connection prepares once."""
LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Exactly these: the connection was closed under us, or the server's farewell came between; subclasses are mistakes."""
Shape: TypeAlias = tuple[tuple[str, bool], ...]
Answer: TypeAlias = list[list[Row]] | None
Waiting: TypeAlias = deque[tuple[Bundle, "asyncio.Future[Answer]"]]


class Alone(Exception):
    """Nothing of the bundle has happened; it has to run by itself."""


class Joiner:
    """Joins bundles of the same shape on the connections of a pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: dict[Shape, Waiting] = {}
        self._lanes: dict[Shape, set[asyncio.Task[None] | None]] = {}

    async def perform(self, bundle: Bundle) -> Answer:
        """Run the bundle with others or by itself, as `perform_bundle`; raises Alone, and what the driver raises."""
        shape = tuple((part.sql, part.guard) for part in bundle.parts)
        waiting = self._waiting.setdefault(shape, deque())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting.append((bundle, future))
        lanes = self._lanes.setdefault(shape, set())
        if len(lanes) < LANES:
            lanes.add(asyncio.create_task(self._work(waiting, lanes)))
        return await future

    async def _work(self, waiting: Waiting, lanes: set["asyncio.Task[None] | None"]) -> None:
        """Run what waits, until nothing does; who comes after that finds the lane free, at once and not a turn later.

        A lane that dies leaves what waits to the other one; the last one tells them.
        """
        try:
            while waiting:
                size = next(size for size in SIZES if size <= len(waiting))
                group = [one for one in (waiting.popleft() for _ in range(size)) if not one[1].done()]
                if group:
                    await self._group(group)
        finally:
            lanes.discard(asyncio.current_task())
            if not lanes:
                _fail(waiting, ConnectionAbortedError())
                waiting.clear()

    async def _group(self, group: list[tuple[Bundle, "asyncio.Future[Answer]"]]) -> None:
        """Run a group and tell each what came of it; one that was cancelled meanwhile hears nothing."""
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
                raise Alone from failure  # a mistake, made before anything was sent: whoever made it is told so
            connection.terminate()
            raise ConnectionResetError(str(failure)) from failure
        except TimeoutError:
            connection.terminate()
            self._pool.doubt()
            raise
        except asyncio.CancelledError:
            connection.terminate()
            raise
        finally:
            self._pool.give(connection)


def _fail(those: Iterable[tuple[Bundle, "asyncio.Future[Answer]"]], failure: Exception) -> None:
    """Tell those who were told nothing."""
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
        raise Alone from failure  # the server said no: it has taken the statement back
    if rows is None:
        raise Alone
    each = len(bundles[0].parts)
    return [rows[first : first + each] for first in range(0, len(rows), each)]
