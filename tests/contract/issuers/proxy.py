"""A proxy between a client and its CA that is slow, drops, repeats and answers something else, when it is told to.

It speaks TLS to the client and plain HTTP to the CA; one request a connection, and a fault for each in turn.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


Rewrite: TypeAlias = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Fault:
    """What happens to one request: kept from the CA, or its answer lost, held, replaced or rewritten."""

    forward: bool = True
    answer: bool = True
    held: bool = False
    instead: bytes | None = None
    rewrite: Rewrite | None = None


def http(status: int, body: bytes, content_type: str = "text/plain", *headers: str) -> bytes:
    """Return a whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + HEADERS_END + body


DROP_BEFORE = Fault(forward=False, answer=False)
DROP_AFTER = Fault(answer=False)
HANG = Fault(held=True)
GARBAGE = Fault(forward=False, instead=http(200, b"\x00garbage\xff" * 50))
TOO_MUCH = Fault(forward=False, instead=http(200, b"x" * 1_000_000))
ERROR_500 = Fault(forward=False, instead=http(500, b"oops"))
BUSY = Fault(forward=False, instead=http(503, b"busy", "text/plain", "Retry-After: 7"))
MOVED = Fault(forward=False, instead=http(302, b"", "text/plain", "Location: https://elsewhere.example/"))


def rewritten(rewrite: Rewrite) -> Fault:
    """Answer with another body."""

    def whole(answer: bytes) -> bytes:
        head, _, body = answer.partition(HEADERS_END)
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        new = rewrite(body)
        return b"\r\n".join([*lines, b"Content-Length: %d" % len(new)]) + HEADERS_END + new

    return Fault(rewrite=whole)


@dataclass
class Proxy:
    """The proxy: what waits for the next requests, and what was heard."""

    port: int = 0
    upstream: int = 0
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    heard: list[Heard] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    before: Callable[[Heard], None] | None = None
    """What the CA's side does with a request that is about to reach it."""
    after: Callable[[Heard, bytes], None] | None = None
    """What it does with the answer."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def next(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def repeat_last(self) -> Fault:
        """Answer as the last time, and keep the request from the CA."""
        return Fault(forward=False, instead=self.answers[-1])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _message(reader)
            if request is not None:
                await self._one(request, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _one(self, request: bytes, writer: asyncio.StreamWriter) -> None:
        heard = _heard(request)
        self.heard.append(heard)
        fault = self.faults.popleft() if self.faults else self.always or Fault()
        answer = fault.instead or b""
        if fault.forward:
            if self.before is not None:
                self.before(heard)
            answer = await self._forwarded(request)
            self.answers.append(answer)
            if self.after is not None:
                self.after(heard, answer.partition(HEADERS_END)[2])
        if fault.rewrite is not None:
            answer = fault.rewrite(answer)
        if fault.held:
            self.reached.set()
            await self.released.wait()
        if fault.answer and answer:
            writer.write(answer)
            await writer.drain()

    async def _forwarded(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            writer.write(_as_http_1_0(request))
            await writer.drain()
            return await _all(reader)
        finally:
            writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    try:
        head = await reader.readuntil(HEADERS_END)
    except asyncio.IncompleteReadError:
        return None
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(length[0].split(b":")[1])) if length else head


async def _all(reader: asyncio.StreamReader) -> bytes:
    got = b""
    while part := await reader.read(65536):
        got += part
    return got


def _as_http_1_0(request: bytes) -> bytes:
    """An answer to this is neither chunked nor followed by another: it ends with the connection."""
    head, _, body = request.partition(HEADERS_END)
    first, *rest = head.split(b"\r\n")
    kept = [line for line in rest if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first.replace(b"HTTP/1.1", b"HTTP/1.0"), *kept, b"Connection: close"]) + HEADERS_END + body


def _heard(request: bytes) -> Heard:
    head, _, body = request.partition(HEADERS_END)
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in rest)
    return Heard(first, {name.lower(): value.strip() for name, _, value in pairs}, body)


@asynccontextmanager
async def proxied(upstream: int, certificate: Path, key: Path, clients: Path | None = None) -> AsyncIterator[Proxy]:
    """Run a proxy; `clients` is who may come with a certificate of their own (mutual TLS)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    proxy = Proxy(upstream=upstream)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.close()
