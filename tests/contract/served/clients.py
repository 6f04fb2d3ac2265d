"""Clients that take their time or never stop, over real sockets; each network is an address of the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDS_WITHIN_S = 30


@dataclass
class Line:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> bool:
        """Send, and tell whether the other side is still there."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except OSError:
            return False
        return not self.writer.is_closing()

    async def rest(self) -> bytes:
        """Return all that comes until the other side ends the connection; a reset is an end."""
        said = b""
        async with asyncio.timeout(ENDS_WITHIN_S):
            try:
                while piece := await self.reader.read(65536):
                    said += piece
            except OSError:
                return said
        return said

    async def open(self) -> bool:
        """Tell whether the other side has not ended the connection so far."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 0.01) != b""
        except TimeoutError:
            return True
        except OSError:
            return False

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (OSError, ssl.SSLError):
            return


@dataclass
class Rude:
    """Makes connections to a port and forgets none."""

    port: int
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.lines: list[Line] = []

    async def connect(self, network: int = 0, **how: Any) -> Line:
        """Connect from the address of a network."""
        local = (f"127.0.{1 + network // 250}.{1 + network % 250}", 0)
        pair = await asyncio.open_connection("127.0.0.1", self.port, local_addr=local, **{"ssl": self.tls, **how})
        self.lines.append(Line(*pair))
        return self.lines[-1]

    async def flood(self, count: int, data: bytes, networks: int, **how: Any) -> list[Line]:
        """Connect so often from so many networks, send the same, and wait for nothing."""
        made = []
        for number in range(count):
            line = await self.connect(number % networks, **how)
            await line.send(data)
            made.append(line)
        return made

    async def close(self) -> None:
        await asyncio.gather(*(line.close() for line in self.lines))


@asynccontextmanager
async def rude(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Rude]:
    """Clients of a port, closed at the end."""
    made = Rude(port, tls)
    try:
        yield made
    finally:
        await made.close()


async def still_open(lines: Iterable[Line]) -> int:
    """Count the connections that the other side has not ended."""
    return sum(await asyncio.gather(*(line.open() for line in lines)))


def memory_mib(pid: int) -> float:
    """What a process has in memory."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) / 1024
