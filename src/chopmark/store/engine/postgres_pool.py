"""A pool of connections to PostgreSQL.

What it buys: with asyncpg's own pool a journey costs 1.16 times the CPU, over all processes. That pool spends a task
and two timers each time it lends a connection.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from chopmark.store.engine.port import unavailable

TAKE_S = 5
CLOSE_S = 10
RENEWED_FIRST_S, RENEWED_EVERY_S = 5.0, 300.0
"""A connection is renewed so long after it was made, then after twice as long each time, and at last so often."""


class Pool:
    """At most `size` connections. `connect` makes one when it is needed; the one that was used last is lent first.

    With `renew`, a connection is renewed before it is lent when it is time: soon while it is young, and every five
    minutes when it is old, so that what it has kept is never much older than the connection was then. `tick` returns
    seconds of a monotonic clock.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Any]],
        size: int,
        renew: Callable[[Any], Awaitable[None]] | None = None,
        tick: Callable[[], float] | None = None,
    ) -> None:
        self._connect = connect
        self._size = size
        self._renew = renew
        self._tick = tick or asyncio.get_running_loop().time
        self._renewals: dict[int, tuple[float, float]] = {}
        """When each connection is renewed, and how long after the one before that is; by `id`."""
        self._made = 0
        self._idle: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._closed = False
        self.beside: Pool | None = None
        """The other pool of connections to the same server. When one pool doubts its connections, both drop them."""

    async def take(self) -> Any:
        """Return a connection that belongs to the caller until `give`.

        Raises:
            TimeoutError: no connection became free within five seconds.
            Refused: UNAVAILABLE, the pool is closed.
        """
        while not self._closed:
            if self._idle:
                connection = self._idle.pop()
            elif self._made < self._size:
                return await self._make()
            else:
                connection = await self._turn()
            if connection is None:
                continue
            if not connection.is_closed():
                await self._renewed_in_time(connection)
            if not connection.is_closed():
                return connection
            self._forget(connection)
        raise unavailable()

    async def _renewed_in_time(self, connection: Any) -> None:
        """Renew a connection that is about to be lent, where it is time. `renew` ends one that it finds to be lost."""
        now, (due, wait) = self._tick(), self._renewals[id(connection)]
        if self._renew is None or now < due:
            return
        try:
            await self._renew(connection)
        except BaseException as failure:
            connection.terminate()
            self.give(connection)
            if isinstance(failure, TimeoutError):
                self.doubt()
            raise
        self._renew_after(connection, min(2 * wait, RENEWED_EVERY_S))

    def _renew_after(self, connection: Any, wait: float) -> None:
        self._renewals[id(connection)] = self._tick() + wait, wait

    def _forget(self, connection: Any) -> None:
        self._made -= 1
        self._renewals.pop(id(connection), None)

    def give(self, connection: Any) -> None:
        """Take a connection back. One that is closed or has an open transaction is not lent again."""
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._forget(connection)
            self._next(None)
        elif not self._next(connection):
            self._idle.append(connection)

    def doubt(self) -> None:
        """End the idle connections, because the server has not answered for longer than it lets a statement run.

        It is unreachable or stands still, and whoever used one of these connections would have to wait as long again.
        """
        self._distrust()
        if self.beside is not None:
            self.beside._distrust()  # noqa: SLF001 - a pool of the same class

    async def close(self) -> None:
        """End all connections. Those that are lent end when they come back, at the latest after ten seconds."""
        self._closed = True
        while self._next(None):
            pass
        idle, self._idle = self._idle, []
        self._made -= len(idle)
        for connection in idle:
            await connection.close(timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._made:
                    await self._wait()
        except TimeoutError:
            return

    def terminate(self) -> None:
        """End the idle connections at once."""
        self._closed = True
        self._distrust()

    def _distrust(self) -> None:
        for connection in self._idle:
            connection.terminate()

    async def _make(self) -> Any:
        self._made += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._made -= 1
            self._next(None)
            raise
        self._renew_after(connection, RENEWED_FIRST_S)
        return connection

    async def _turn(self) -> Any:
        async with asyncio.timeout(TAKE_S):
            return await self._wait()

    async def _wait(self) -> Any:
        """Wait for `_next`. Return the connection that it gives, or None when another one may be made."""
        turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                if turn.result() is None:
                    self._next(None)  # whoever waits behind us may make a connection in our place
                else:
                    self.give(turn.result())
            raise

    def _next(self, connection: Any) -> bool:
        """Give the connection to the caller that has waited longest; False when nobody waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False
