"""The gateway's other end: an SMTP server (RFC 5321) in a process of its own that hands each code to a load client.

`python -m bench.sink SMTP_PORT SOCKET`: load clients connect to the Unix socket, say `k n` (client k of n), and get a
line `address code` for every mail with a code to a customer whose number modulo n is k.
"""

import asyncio
import base64
import re
import sys
from pathlib import Path

from bench.people import index

_CODE = re.compile(r"(?<!\d)\d{6}(?!\d)")


class Sink:
    """Who listens, and what came before anybody listened."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[int, int], asyncio.StreamWriter] = {}

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one load client until it goes."""
        turn, of = map(int, (await reader.readline()).split())
        self._listeners[turn, of] = writer
        writer.write(b"listening\n")
        await reader.read()
        del self._listeners[turn, of]
        writer.close()

    def took(self, address: str, mail: bytes) -> None:
        """Hand the code of a mail on; a mail without one (a notice) is only taken."""
        body = mail.partition(b"\r\n\r\n")[2]
        found = _CODE.search(base64.b64decode(body).decode())
        if found is None:
            return
        for (turn, of), writer in self._listeners.items():
            if index(address) % of == turn:
                writer.write(f"{address} {found[0]}\n".encode())


class Smtp(asyncio.Protocol):
    """One SMTP session: EHLO, MAIL, RCPT, DATA, RSET, QUIT; answers in the order of the commands."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = b""
        self._to: list[str] = []
        self._data = False
        self._taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out = transport
        self._say("220 sink ESMTP")

    def _say(self, line: str) -> None:
        self._out.write(line.encode() + b"\r\n")  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = b"\r\n.\r\n" if self._data else b"\r\n"
            at = self._buffer.find(end)
            if at < 0:
                return
            piece, self._buffer = self._buffer[:at], self._buffer[at + len(end) :]
            if self._data:
                self._mail(piece)
            else:
                self._command(piece.decode())

    def _mail(self, mail: bytes) -> None:
        self._data = False
        self._taken += 1
        for address in self._to:
            self._sink.took(address, mail)
        self._say(f"250 2.0.0 Ok: queued as {id(self):x}-{self._taken}")

    def _command(self, line: str) -> None:
        verb = line[:4].upper()
        if verb == "EHLO":
            self._say("250-sink\r\n250-8BITMIME\r\n250 SIZE 1000000")
        elif verb == "RCPT":
            self._to.append(line.partition("<")[2].partition(">")[0])
            self._say("250 Ok")
        elif verb == "DATA":
            self._data = True
            self._say("354 Go on")
        elif verb == "QUIT":
            self._say("221 Bye")
            self._out.close()
        elif verb in {"MAIL", "RSET", "HELO", "NOOP"}:
            if verb in {"MAIL", "RSET"}:
                self._to = []
            self._say("250 Ok")
        else:
            self._say("502 Not here")


async def serve(port: int, path: Path) -> None:
    """Take mails until the process is ended."""
    sink = Sink()
    mails = await asyncio.get_running_loop().create_server(lambda: Smtp(sink), "127.0.0.1", port)
    listeners = await asyncio.start_unix_server(sink.listen, path)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    async with mails, listeners:
        await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
