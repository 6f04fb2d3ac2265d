"""A small HTTP/1.1 client for load: one connection, keep-alive, answers with a length. Little CPU on purpose."""

import asyncio
import json
from typing import Any


class Answer:
    """Status, headers of interest, body."""

    __slots__ = ("body", "cookies", "status")

    def __init__(self, status: int, cookies: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.cookies = cookies
        self.body = body

    def json(self) -> Any:
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection; one request at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._buffer = b""
        self._waiting: asyncio.Future[Answer] | None = None
        self._head: tuple[int, list[tuple[str, str]], int] | None = None
        self.closed = True

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        connection = cls(host, port)
        await connection.ready()
        return connection

    async def ready(self) -> None:
        """Return when the connection is open; one that the server closed while nobody used it is opened anew."""
        if self.closed:
            await asyncio.get_running_loop().create_connection(lambda: self, *self._address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out: Any = transport
        self._buffer, self._head, self._waiting, self.closed = b"", None, None, False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def request(self, raw: bytes) -> "asyncio.Future[Answer]":
        """Send a request, whole, and return its answer to come."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self.closed:
            self._waiting.set_exception(ConnectionResetError("the connection is closed"))
        else:
            self._out.write(raw)
        return self._waiting

    def close(self) -> None:
        self.closed = True
        self._out.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            at = self._buffer.find(b"\r\n\r\n")
            if at < 0:
                return
            self._head = _read_head(self._buffer[:at])
            self._buffer = self._buffer[at + 4 :]
        status, cookies, length = self._head
        if len(self._buffer) >= length:
            body, self._buffer, self._head = self._buffer[:length], self._buffer[length:], None
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(Answer(status, cookies, body))


def _read_head(head: bytes) -> tuple[int, list[tuple[str, str]], int]:
    lines = head.decode("latin-1").split("\r\n")
    length, cookies = 0, []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        match name.lower():
            case "content-length":
                length = int(value)
            case "set-cookie":
                key, _, rest = value.strip().partition("=")
                cookies.append((key, rest.partition(";")[0].strip('"')))
            case "transfer-encoding":
                raise ValueError("this client reads answers with a length only")
    return int(lines[0].split(" ", 2)[1]), cookies, length


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: counter.example.com"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
