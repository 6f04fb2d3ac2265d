"""What every engine promises, and how it says that it cannot; `db.open_engine` makes one."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Literal, ParamSpec, Protocol, TypeVar

from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text
from chopmark.store.engine.script import Row, Script, Value

P = ParamSpec("P")
T = TypeVar("T")

RETRY_AFTER_S = 30


class Snapshot(Protocol):
    """One moment of the database, for as long as it is read."""

    def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Yield all rows of a SELECT, at most `batch` at a time; several streams may be read by turns."""
        ...


class Engine(Protocol):
    """A database that runs scripts, each whole or not at all.

    Every method raises `Refused` (UNAVAILABLE) when the database cannot be reached, is full, fails to read or write,
    or has too many calls waiting: nothing was acknowledged.
    """

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which SQL this engine speaks."""
        ...

    async def run(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what the script returned: it is committed and durable, a Refusal too.

        What the script raises is raised here, and nothing of it stays. The script may run more than once.

        Raises:
            Clash: a unique value exists already; nothing of the script stays.
        """
        ...

    async def read(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a script that only reads returned; all its statements see one and the same moment."""
        ...

    def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Yield all rows of a SELECT, at most `batch` at a time, as they were at one moment.

        It has a connection of its own, held until the generator ends: `contextlib.aclosing` for who may stop early.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open a view in which all streams show the moment of the opening; it has a connection of its own.

        SQLite returns text that is no UTF-8 with surrogates (`surrogateescape`) there, and raises nothing.
        """
        ...

    async def wake(self, channel: str) -> None:
        """Wake who waits on this channel."""
        ...

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """Return True when the channel was woken since the last wait here, False after the timeout.

        The first wait on a channel returns at once. A wake-up can be lost with a connection or come from a process
        that this engine does not hear (SQLite): look for work after a timeout too.
        """
        ...

    async def close(self) -> None:
        """End all connections; what was accepted is finished first."""
        ...


class Clash(Exception):
    """A unique value exists already. `columns` are those of the violated key where the engine names them.

    The driver's own error is not chained: its text can hold the values.
    """

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        super().__init__(f"{table}({', '.join(columns)})")
        self.table = table
        self.columns = columns


class Unfit(Exception):
    """The database cannot be used as it is; the text is a sentence for the operator: what is wrong, and the remedy."""


class NotDurable(Unfit):
    """The database's settings would let a committed transaction be lost; its text says which."""


def unavailable() -> Refused:
    """The refusal for a database that is unreachable, full, failing or overloaded; raise it from its cause."""
    public = text("The service cannot save anything right now. Nothing was lost; please try again in a minute.")
    return Refused(Refusal(Kind.UNAVAILABLE, public, retry_after_s=RETRY_AFTER_S))


class LocalNotifier:
    """The wake-ups of this process: a channel stays rung until somebody has waited on it."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, channels: Iterable[str]) -> None:
        """Wake who waits on these channels, or will next."""
        for channel in channels:
            self._of(channel).set()

    def notify_all(self) -> None:
        """Wake everybody: something may have been missed."""
        self.notify(list(self._events))

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """As `Engine.wait`."""
        event = self._of(channel)
        try:
            async with asyncio.timeout(timeout_s):
                await event.wait()
        except TimeoutError:
            return False
        event.clear()
        return True

    def _of(self, channel: str) -> asyncio.Event:
        event = self._events.get(channel)
        if event is None:
            event = self._events[channel] = asyncio.Event()
            event.set()
        return event
