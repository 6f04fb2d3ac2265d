"""A listener between asyncpg and PostgreSQL: counts round trips and keeps the statements, as the wire shows them."""

import asyncio
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

_ASKS = frozenset(b"SQ")
"""Sync and simple Query: whoever sends one of them waits for the answer (protocol 3.0, s.55.2)."""


@dataclass
class Wire:
    """What passed so far; the notifier's connection is left out, because it works beside the requests."""

    directory: Path
    trips: int = 0
    statements: dict[str, None] = field(default_factory=dict)

    def through(self, dsn: str) -> str:
        """The address of the same database through this listener."""
        return f"{dsn.partition('?')[0]}?host={self.directory}"


@asynccontextmanager
async def listening(socket: Path) -> AsyncIterator[Wire]:
    """Listen in front of a PostgreSQL's socket."""
    with tempfile.TemporaryDirectory(prefix="chopmark-wire-") as directory:
        wire = Wire(Path(directory))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back, forth = await asyncio.open_unix_connection(str(socket))
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await asyncio.gather(_asked(wire, reader, forth), _answered(back, writer))
            forth.close()
            writer.close()

        server = await asyncio.start_unix_server(serve, str(wire.directory / socket.name))
        try:
            yield wire
        finally:
            server.close()


async def _asked(wire: Wire, reader: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
    (length,) = struct.unpack("!I", head := await reader.readexactly(4))
    start = await reader.readexactly(length - 4)
    forth.write(head + start)
    counted = b"chopmark notifier" not in start
    while True:
        kind, length = struct.unpack("!cI", head := await reader.readexactly(5))
        body = await reader.readexactly(length - 4)
        forth.write(head + body)
        if counted:
            wire.trips += kind[0] in _ASKS
            if kind == b"P":
                wire.statements[body.split(b"\0")[1].decode()] = None


async def _answered(back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await back.read(65536):
        writer.write(chunk)
    writer.close()
