"""Connections to PostgreSQL, lent out one at a time.

asyncpg's own pool spends a task and two timers on each loan, more than the statement that the loan is for.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from chopmark.store.engine.port import unavailable

TAKE_S = 5
CLOSE_S = 10


class Pool:
    """At most `size` connections, made by `connect` when they are needed; the one used last is lent first."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], size: int) -> None:
        self._connect = connect
        self._size = size
        self._made = 0
        self._idle: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._closed = False
        self.beside: Pool | None = None
        """The pool of other connections to the same server: what one of them doubts, the other one does."""

    async def take(self) -> Any:
        """Return a connection that nobody else uses until `give`.

        Raises:
            TimeoutError: none came free for five seconds.
            Refused: UNAVAILABLE, the pool is closed.
        """
        while not self._closed:
            if self._idle:
                connection = self._idle.pop()
            elif self._made < self._size:
                return await self._make()
            else:
                connection = await self._turn()
            if connection is not None and not connection.is_closed():
                return connection
            self._made -= connection is not None
        raise unavailable()

    def give(self, connection: Any) -> None:
        """Take a connection back; one that is closed or left a transaction open is not lent again."""
        if self._closed or connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._made -= 1
            self._next(None)
        elif not self._next(connection):
            self._idle.append(connection)

    def doubt(self) -> None:
        """End the idle connections: the server was silent for longer than it lets a statement run.

        It is cut off or stands still, and each of them would cost somebody the same wait.
        """
        self._distrust()
        if self.beside is not None:
            self.beside._distrust()  # noqa: SLF001 - a pool of the same class

    async def close(self) -> None:
        """End all connections, those on loan when they come back, at the latest after ten seconds."""
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
            return await self._connect()
        except BaseException:
            self._made -= 1
            self._next(None)
            raise

    async def _turn(self) -> Any:
        async with asyncio.timeout(TAKE_S):
            return await self._wait()

    async def _wait(self) -> Any:
        """Return what `_next` hands over: a connection, or None when there is room for another one."""
        turn: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.result() is not None:
                self.give(turn.result())
            raise

    def _next(self, connection: Any) -> bool:
        """Hand over to who has waited longest; False when nobody waits."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return True
        return False
