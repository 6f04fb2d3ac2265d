"""A stub of an SMPP 3.4 message centre that can misbehave, and the messages that a phone would show."""

import asyncio
import struct
from dataclasses import dataclass, field
from itertools import count

from chopmark.testing.http_stub import Heard, HttpStub, Mode, reset
from chopmark.testing.sms_stubs import PASSWORD, USER

_HEADER = struct.Struct(">IIII")
_OK, _INVALID_SOURCE, _INVALID_PASSWORD, _THROTTLED, _UNKNOWN = 0, 0x0A, 0x0E, 0x58, 0xFF


@dataclass(frozen=True, slots=True)
class Submitted:
    """One submit_sm as it was received."""

    source: str
    destination: str
    esm_class: int
    validity: str
    registered: int
    coding: int
    content: bytes = field(repr=False)


class SmppStub(HttpStub):
    """One account; `refuse` has the statuses with which the next messages are refused."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted: list[Submitted] = []
        self.refuse: list[int] = []
        self.binds = 0
        self.enquiries = 0
        self._numbers = count(1)
        self._writers: set[asyncio.StreamWriter] = set()

    def texts(self) -> list[str]:
        """Return what the phone shows: parts are joined when all of them are there."""
        shown: list[str] = []
        parts: dict[int, dict[int, str]] = {}
        for one in self.submitted:
            head, content = (one.content[:6], one.content[6:]) if one.esm_class & 0x40 else (b"", one.content)
            text = content.decode("utf-16-be" if one.coding == 8 else "ascii")
            if not head:
                shown.append(text)
                continue
            mine = parts.setdefault(head[3], {})
            mine[head[5]] = text
            if len(mine) == head[4]:
                shown.append("".join(mine[number] for number in sorted(mine)))
        return shown

    def receipt(self, message_id: str, state: str) -> None:
        """Send a delivery receipt over every connection."""
        text = (
            f"id:{message_id} sub:001 dlvrd:001 submit date:2611221000 done date:2611221001 stat:{state} err:000 text:"
        )
        body = (
            b"\0" + b"\1\1886912555001\0" + b"\1\1DEMO\0" + bytes((4, 0, 0)) + b"\0\0" + bytes((0, 0, 0, 0, len(text)))
        )
        for writer in self._writers:
            writer.write(_HEADER.pack(16 + len(body) + len(text), 5, 0, next(self._numbers)) + body + text.encode())

    def hang_up(self) -> None:
        """End every connection."""
        for writer in self._writers:
            reset(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.DEAF:
            reset(writer)
            return
        self._writers.add(writer)
        try:
            while True:
                length, command, _, number = _HEADER.unpack(await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if not await self._answered(writer, command, number, body):
                    return
        finally:
            self._writers.discard(writer)

    async def _answered(self, writer: asyncio.StreamWriter, command: int, number: int, body: bytes) -> bool:
        if command == 9:
            self.binds += 1
            user, password, *_ = body.split(b"\0")
            right = (user.decode(), password.decode()) == (USER, PASSWORD)
            _say(writer, command, _OK if right else _INVALID_PASSWORD, number, b"stub\0")
            return right
        if command == 0x15:
            self.enquiries += 1
        if command == 4:
            return await self._submit(writer, number, body)
        if not command & 0x80000000:
            _say(writer, command, _OK, number)
        return command != 6

    async def _submit(self, writer: asyncio.StreamWriter, number: int, body: bytes) -> bool:
        self.heard.append(Heard("SUBMIT", "", "", {}, {}, body))
        status = {Mode.BUSY: _THROTTLED, Mode.FORBIDDEN: _INVALID_SOURCE, Mode.MOVED: _INVALID_SOURCE}.get(self.mode)
        if status is None and self.refuse:
            status = self.refuse.pop(0)
        if status is not None:
            _say(writer, 4, status, number)
            return True
        self.submitted.append(_submitted(body))
        answer = _pdu(4, _OK, number, f"m{len(self.submitted)}".encode() + b"\0")
        match self.mode:
            case Mode.HANG:
                await self.released()
            case Mode.RESET:
                reset(writer)
                return False
            case Mode.DRIP:
                writer.write(answer[:1])
                await self.released()
                answer = answer[1:]
            case Mode.GARBAGE:
                answer = b"HTTP/1.1 200 OK\r\n\r\n"
            case Mode.HUGE:
                answer = _HEADER.pack(1_000_000_000, 0x80000004, 0, number)
            case Mode.BROKEN:
                answer = _pdu(4, _UNKNOWN, number)
        writer.write(answer)
        await writer.drain()
        return True


def _pdu(command: int, status: int, number: int, body: bytes = b"") -> bytes:
    return _HEADER.pack(16 + len(body), command | 0x80000000, status, number) + body


def _say(writer: asyncio.StreamWriter, command: int, status: int, number: int, body: bytes = b"") -> None:
    writer.write(_pdu(command, status, number, body))


def _submitted(body: bytes) -> Submitted:
    service, rest = body.split(b"\0", 1)
    del service
    source, rest = rest[2:].split(b"\0", 1)
    destination, rest = rest[2:].split(b"\0", 1)
    esm_class, rest = rest[0], rest[3:]
    _, validity, rest = rest.split(b"\0", 2)
    registered, _, coding, _, size = rest[:5]
    content = rest[5 : 5 + size]
    return Submitted(source.decode(), destination.decode(), esm_class, validity.decode(), registered, coding, content)
