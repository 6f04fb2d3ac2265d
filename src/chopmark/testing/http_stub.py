"""An HTTP server on loopback that plays a gateway, well or badly.

Its `mode` says how it behaves. It uses no clock: an answer that hangs waits until `release()` is called.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlsplit

MAX_HEAD: Final = 64 * 1024
_REASONS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}


class Mode(StrEnum):
    """How a stub behaves; the comment at each mode says whether the message is taken."""

    WELL = "well"
    HANG = "hang"  # takes the message, and says nothing until it is released
    RESET = "reset"  # takes the message, and resets the connection
    DEAF = "deaf"  # resets the connection before it has read the request: not taken
    DRIP = "drip"  # takes the message, says the first octet of its answer, the rest when it is released
    GARBAGE = "garbage"  # takes the message, and answers a page of somebody else's with status 200
    HUGE = "huge"  # takes the message, and answers without end
    BROKEN = "broken"  # takes the message, and answers 500
    BUSY = "busy"  # answers 503: not taken
    FORBIDDEN = "forbidden"  # answers 403: not taken
    MOVED = "moved"  # answers 302 to itself: not taken
    BIG5 = "big5"  # takes the message, and answers in Big5


@dataclass(frozen=True, slots=True)
class Heard:
    """A request that arrived: the fields of its query and its form together, and its original body."""

    method: str
    path: str
    query: str
    fields: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Says:
    """An answer."""

    text: str
    status: int = 200
    kind: str = "text/plain"


class HttpStub:
    """Answers requests by `answer`, which also takes messages; `mode` may be changed at any time.

    Subclasses keep the messages that the phone has got. `refuse` makes the next requests be refused: each entry is the
    gateway's own code for it.
    """

    def __init__(self) -> None:
        self.mode = Mode.WELL
        self.heard: list[Heard] = []
        self.address = ""
        self._released = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()

    def answer(self, heard: Heard) -> Says:
        """Return the gateway's answer to a request, and act as it would; this base class answers 404 to everything."""
        del heard
        return Says("", 404)

    async def released(self) -> None:
        """Wait until `release()` is called."""
        await self._released.wait()

    def release(self) -> None:
        """Let answers that hang continue."""
        self._released.set()

    @asynccontextmanager
    async def listening(self, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve at an address of loopback, which is given."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", port, ssl=tls)
        bound = server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{bound}" if tls is None else f"https://localhost:{bound}"
        try:
            yield self.address
        finally:
            self.release()
            server.close()
            for talk in tuple(self._talks):
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        try:
            await self._one(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.DEAF:
            reset(writer)
            return
        heard = await _read(reader)
        self.heard.append(heard)
        status = {Mode.BUSY: 503, Mode.FORBIDDEN: 403, Mode.MOVED: 302}.get(self.mode)
        if status is not None:
            writer.write(_http(status, b"", "text/plain", location=self.address))
            await writer.drain()
            return
        says = self.answer(heard)
        await self._say(says, writer)

    async def _say(self, says: Says, writer: asyncio.StreamWriter) -> None:
        body = says.text.encode("big5" if self.mode is Mode.BIG5 else "utf-8", "replace")
        whole = _http(says.status, body, says.kind)
        match self.mode:
            case Mode.HANG:
                await self.released()
            case Mode.RESET:
                reset(writer)
                return
            case Mode.DRIP:
                writer.write(whole[:1])
                await writer.drain()
                await self.released()
                whole = whole[1:]
            case Mode.GARBAGE:
                whole = _http(200, b"<html><title>It works!</title></html>", "text/html")
            case Mode.BROKEN:
                whole = _http(500, b"", "text/plain")
            case Mode.HUGE:
                whole = _http(200, b"a" * 1_000_000, "text/plain")
        writer.write(whole)
        await writer.drain()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    split = urlsplit(target)
    query = split.query
    fields = dict(parse_qsl(query, keep_blank_values=True))
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields |= dict(parse_qsl(body.decode("ascii", "replace"), keep_blank_values=True))
    return Heard(method, split.path, query, fields, headers, body)


def _http(status: int, body: bytes, kind: str, location: str = "") -> bytes:
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Answer')}",
        f"content-type: {kind}",
        f"content-length: {len(body)}",
        "connection: close",
        *([f"location: {location}"] if location else []),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
