"""A web server on loopback where an old CA publishes: whatever a test puts at a path is what is answered there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

Answer: TypeAlias = bytes | int | Callable[[bytes], bytes]
"""A body (200), a status without one, or what makes the body of the request's."""


@dataclass
class Places:
    """What is answered, by path; `asked` has the requests' lines."""

    at: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            sizes = [int(line[15:]) for line in head if line.lower().startswith("content-length:")]
            body = await reader.readexactly(sizes[0] if sizes else 0)
            self.asked.append(head[0].rpartition(" ")[0])
            found = self.at.get(head[0].split(" ")[1], 404)
            status = found if isinstance(found, int) else 200
            content = b"" if isinstance(found, int) else found if isinstance(found, bytes) else found(body)
            moved = f"Location: {self.url}/elsewhere\r\n" if 300 <= status < 400 else ""
            writer.write(f"HTTP/1.1 {status} x\r\nContent-Length: {len(content)}\r\n{moved}\r\n".encode() + content)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def published() -> AsyncIterator[Places]:
    """Serve until the end."""
    places = Places()
    server = await asyncio.start_server(places.serve, "127.0.0.1", 0)
    async with server:
        places.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield places
