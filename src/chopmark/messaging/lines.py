"""A pool of connections to a mail server, kept open because connecting takes most of the time of a short mail."""

import asyncio
import contextlib
from dataclasses import dataclass

import aiosmtplib

MOST_KEPT = 4
"""The most idle connections. If more messages are sent at once, more connections are made and closed afterwards."""
IDLE_S = 5.0
"""How long a connection stays idle: less than servers usually allow (RFC 5321 s.4.5.3.2.7 asks for five minutes)."""
MOST_MESSAGES = 100
LEAVES_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where a mail that cannot be delivered is returned to, and the id under which the server speaks of it.

    With an id a server that can (RFC 3461) is asked to report failures alone, and to return no text: a mail may have a
    code in it.
    """

    sender: str
    id: str | None = None

    async def begin(self, client: aiosmtplib.SMTP) -> None:
        """Begin a mail (MAIL FROM). Raises SMTPException or OSError."""
        if self.id is not None and client.is_ehlo_or_helo_needed:
            try:
                await client.ehlo()
            except aiosmtplib.SMTPHeloError:
                await client.helo()
        asked = self.id is not None and client.supports_extension("dsn")
        await client.mail(self.sender, options=["RET=HDRS", f"ENVID={self.id}"] if asked else [])

    async def to(self, client: aiosmtplib.SMTP, destination: str) -> None:
        """Name the recipient (RCPT TO). Raises SMTPException or OSError."""
        asked = self.id is not None and client.supports_extension("dsn")
        await client.rcpt(destination, options=["NOTIFY=FAILURE"] if asked else [])


class Line:
    """A connection that carries one message at a time."""

    def __init__(self, client: aiosmtplib.SMTP) -> None:
        self.client = client
        self.messages = 0
        self.idle: asyncio.TimerHandle | None = None

    async def begins(self, envelope: Envelope) -> bool:
        """Begin a mail (MAIL FROM).

        If the server refuses it, for whatever reason, close the connection and return False.
        """
        try:
            await envelope.begin(self.client)
        except (aiosmtplib.SMTPException, OSError):
            self.drop()
            return False
        except BaseException:
            self.drop()
            raise
        return True

    def drop(self) -> None:
        """End the connection at once."""
        self.client.close()

    async def leave(self) -> None:
        """Send QUIT and close the connection. This cannot undo a mail that was handed over."""
        with contextlib.suppress(aiosmtplib.SMTPException, OSError):
            await self.client.quit(timeout=LEAVES_WITHIN_S)
        self.drop()


class Lines:
    """The idle connections. The one used last is taken first; each is closed after it was idle for too long."""

    def __init__(self, idle_s: float = IDLE_S, most_messages: int = MOST_MESSAGES) -> None:
        self._idle_s = idle_s
        self._most_messages = most_messages
        self._waiting: list[Line] = []
        self._leaving: set[asyncio.Task[None]] = set()

    def take(self) -> Line | None:
        """Return an idle connection that is open as far as is known, or None."""
        while self._waiting:
            line = self._waiting.pop()
            if line.idle is not None:
                line.idle.cancel()
            if line.client.is_connected:
                return line
            line.drop()
        return None

    async def give(self, line: Line) -> None:
        """Keep a connection whose message was taken.

        Close it if it has carried `most_messages`, or if enough are idle.
        """
        line.messages += 1
        if line.messages >= self._most_messages or len(self._waiting) >= MOST_KEPT or not line.client.is_connected:
            await line.leave()
            return
        line.idle = asyncio.get_running_loop().call_later(self._idle_s, self._idle, line)
        self._waiting.append(line)

    async def close(self) -> None:
        """Close the idle connections."""
        waiting, self._waiting = self._waiting, []
        for line in waiting:
            if line.idle is not None:
                line.idle.cancel()
        await asyncio.gather(*(line.leave() for line in waiting), *self._leaving)

    def _idle(self, line: Line) -> None:
        self._waiting.remove(line)
        leaving = asyncio.create_task(line.leave())
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
