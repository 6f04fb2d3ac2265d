"""Writes the journal: the line is on the disk, outside the database, before the CA does what the line says.

Lines that arrive at the same time share one write and one fsync.
"""

import asyncio
from collections.abc import Callable

from chopmark.audit.journal import NONCE_BYTES, JournalKey, Line, encode_line
from chopmark.audit.journalfile import JournalFolder
from chopmark.audit.restorewatch import STANDSTILL
from chopmark.core.clock import Clock, Entropy
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import text

RETRY_AFTER_S = 30


class Journal:
    """Writes the lines of one process; `behind` tells whether the database is known to lack what the journal has."""

    def __init__(
        self, folder: JournalFolder, key: JournalKey, behind: Callable[[], bool], clock: Clock, entropy: Entropy
    ) -> None:
        self.folder = folder
        self._key = key
        self._behind = behind
        self._clock = clock
        self._entropy = entropy
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    @property
    def closed(self) -> bool:
        """True while nothing may be written: the database is known to lack what the journal has."""
        return self._behind()

    def probe(self) -> None:
        """Check that the directory is writable; blocking. Raises OSError when it is not."""
        self.folder.probe()

    async def write(self, line: Line) -> None:
        """Write a line; it is on the disk when this returns.

        Raises Refused (UNAVAILABLE) when it cannot be written, or while the database is behind the journal. The caller
        must then not do what the line says.
        """
        if self._behind():
            raise Refused(STANDSTILL)
        encoded = encode_line(line, self._key, self._entropy.token(NONCE_BYTES))
        taken = asyncio.get_running_loop().create_future()
        self._waiting.append((encoded, taken))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        try:
            await taken
        except OSError as error:
            raise Refused(_UNWRITTEN) from error

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            lines, fault = [line for line, _ in batch], None
            try:
                await asyncio.to_thread(self.folder.append, lines, self._clock.now().date())
            except OSError as error:
                fault = error
            for _, taken in batch:
                if taken.done():
                    continue  # the task that waited for this line was cancelled
                if fault is None:
                    taken.set_result(None)
                else:
                    taken.set_exception(fault)


_UNWRITTEN = Refusal(
    Kind.UNAVAILABLE,
    text("We cannot do this at the moment. Please try again later."),
    code="journal.unwritten",
    retry_after_s=RETRY_AFTER_S,
)
