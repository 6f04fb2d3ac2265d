"""What every engine offers, and the exceptions by which it refuses. `opening.open_engine` makes an engine."""

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
UNHEARD_S = 0.5
"""While an engine cannot hear other processes, nobody waits for longer, and looks for work instead."""


class Snapshot(Protocol):
    """The database as it was at one moment, for several reads."""

    def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Yield all rows of a SELECT, at most `batch` at a time; several streams may be read in alternation."""
        ...


class Engine(Protocol):
    """A database that runs scripts. Each script is one transaction.

    Every method raises `Refused` (UNAVAILABLE) when the database cannot be reached, is full, fails to read or write,
    or has too many calls waiting. Then nothing was acknowledged to anybody.
    """

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """Which SQL this engine speaks."""
        ...

    async def run(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a script, commit it durably, and return what it returned; a returned Refusal is committed too.

        When the script raises, its transaction is rolled back and the exception is raised here. The engine may run the
        script more than once.

        Raises:
            Clash: a unique value exists already. The transaction was rolled back.
        """
        ...

    async def read(self, script: Callable[P, Script[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a script that only reads, and return what it returned. All its statements see the same moment."""
        ...

    def stream(self, sql: str, values: Mapping[str, Value], batch: int = 1000) -> AsyncGenerator[list[Row], None]:
        """Yield all rows of a SELECT, at most `batch` at a time, as they were at one moment.

        The generator holds a connection of its own until it ends. Whoever may stop early uses `contextlib.aclosing`.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[Snapshot]:
        """Open a view in which all streams show the moment of the opening. It has a connection of its own.

        Where a SQLite column holds text that is no UTF-8, it is returned with surrogates (`surrogateescape`).
        """
        ...

    async def wake(self, channel: str) -> None:
        """Wake everybody who waits on this channel."""
        ...

    async def wait(self, channel: str, timeout_s: float) -> bool:
        """Return True when the channel was notified since the last wait here, False after the timeout.

        The first wait on a channel returns at once. While the engine cannot hear other processes, a wait is at most
        `UNHEARD_S` long. A wake-up can be lost all the same, so look for work after a timeout, too.
        """
        ...

    async def close(self) -> None:
        """Finish all accepted calls, then end all connections."""
        ...


class Clash(Exception):
    """A unique value exists already. `columns` are the columns of the violated key, if the engine names them.

    The driver's own error is not chained, because its text can hold personal data.
    """

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        super().__init__(f"{table}({', '.join(columns)})")
        self.table = table
        self.columns = columns


class Unfit(Exception):
    """The database cannot be used as it is. The text tells the operator what is wrong and how to mend it."""


class NotDurable(Unfit):
    """A setting of the database would let a committed transaction be lost. The text names the setting."""


def unavailable() -> Refused:
    """Return the refusal for a database that is unreachable, full, failing or overloaded. Raise it from its cause."""
    public = text("The service cannot save anything right now. Nothing was lost; please try again in a minute.")
    return Refused(Refusal(Kind.UNAVAILABLE, public, retry_after_s=RETRY_AFTER_S))


class LocalNotifier:
    """Wake-ups within this process. A channel that was notified stays so until somebody has waited on it."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    def notify(self, channels: Iterable[str]) -> None:
        """Wake everybody who waits on these channels; where nobody waits, the next wait returns at once."""
        for channel in channels:
            self._of(channel).set()

    def notify_all(self) -> None:
        """Wake the waiters of all channels, because wake-ups may have been lost."""
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
