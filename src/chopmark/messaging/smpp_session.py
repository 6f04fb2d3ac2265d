"""One SMPP 3.4 connection, bound as a transceiver: many submits at the same time, and delivery receipts.

Section numbers are those of the SMPP 3.4 specification, issue 1.2. A PDU is at most 64 KiB here.
"""

import asyncio
import contextlib
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from chopmark.core.types import Secret

BIND, BIND_RESP = 0x00000009, 0x80000009
UNBIND, UNBIND_RESP = 0x00000006, 0x80000006
SUBMIT, SUBMIT_RESP = 0x00000004, 0x80000004
DELIVER, DELIVER_RESP = 0x00000005, 0x80000005
ENQUIRE, ENQUIRE_RESP = 0x00000015, 0x80000015
GENERIC_NACK = 0x80000000
VERSION: Final = 0x34
MAX_PDU: Final = 64 * 1024
ENQUIRES_EVERY_S: Final = 30.0
_HEADER: Final = struct.Struct(">IIII")
_RECEIPT: Final = 0x04
_MESSAGE_PAYLOAD: Final = 0x0424


class Lost(Exception):
    """The connection ended, or a PDU was malformed, before an answer came."""


class BindRefused(Exception):
    """The message centre refused to bind; `status` is its command_status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"bind refused, {status:#x}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """The address of a message centre, and the account with which we bind."""

    host: str
    port: int
    system_id: str
    password: Secret
    system_type: str = ""
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """One submit_sm (s.4.4.1): numbers without +, `validity` in the relative form of s.7.1.1."""

    source: str
    source_ton: int
    source_npi: int
    destination: str
    data_coding: int
    content: bytes = field(repr=False)
    validity: str
    has_header: bool = False
    """Whether the content begins with a user data header, as parts of a longer text do."""

    def body(self) -> bytes:
        """Return the body of the PDU. It requests a receipt for success and for failure."""
        return b"".join(
            (
                _c(""),
                bytes((self.source_ton, self.source_npi)),
                _c(self.source),
                bytes((1, 1)),  # international, E.164
                _c(self.destination),
                bytes((0x40 if self.has_header else 0, 0, 1)),  # esm_class, protocol_id, priority
                _c(""),
                _c(self.validity),
                bytes((1, 0, self.data_coding, 0, len(self.content))),  # registered_delivery ... sm_length
                self.content,
            )
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a submit."""

    status: int
    message_id: str


class Session:
    """A bound connection. `receipt` is called with the text of each delivery receipt (s.4.6.1, appendix B)."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receipt: Callable[[str], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._receipt = receipt
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._reading = asyncio.create_task(self._read())
        self._enquiring: asyncio.TimerHandle | None = None
        self.heard = True
        self.ended = False

    @classmethod
    async def bound(cls, address: Address, receipt: Callable[[str], None]) -> "Session":
        """Return a bound session. Raises OSError, BindRefused or Lost. The caller has to set a time limit."""
        name = None if address.tls is None else address.host
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=address.tls, server_hostname=name
        )
        session = cls(reader, writer, receipt)
        try:
            body = b"".join(
                (
                    _c(address.system_id),
                    _c(address.password.reveal()),
                    _c(address.system_type),
                    bytes((VERSION, 0, 0)),
                    _c(""),
                )
            )
            status, _ = await session._ask(BIND, body)
            if status:
                raise BindRefused(status)
        except BaseException:
            session.drop()
            raise
        session._enquire_later()
        return session

    async def submit(self, message: Submit) -> Answer:
        """Submit a message and return the answer. Raises Lost if none comes."""
        status, body = await self._ask(SUBMIT, message.body())
        return Answer(status, body.partition(b"\0")[0].decode("ascii", "replace"))

    async def leave(self) -> None:
        """Unbind and close the connection. Messages that were handed over stay handed over."""
        if not self.ended:
            with contextlib.suppress(Lost, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._ask(UNBIND, b"")
        self.drop()
        await asyncio.gather(self._reading, return_exceptions=True)

    def drop(self) -> None:
        """Close the connection at once. All that wait for an answer get Lost."""
        self._end()
        self._reading.cancel()

    def _end(self) -> None:
        self.ended = True
        if self._enquiring is not None:
            self._enquiring.cancel()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Lost())
                waiting.exception()  # mark it as retrieved: the waiting task may be gone
        self._waiting.clear()
        self._writer.transport.abort()

    async def _ask(self, command: int, body: bytes) -> tuple[int, bytes]:
        if self.ended:
            raise Lost
        self._number += 1
        number = self._number
        waiting: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        try:
            self._say(command, 0, number, body)
            return await waiting
        finally:
            self._waiting.pop(number, None)

    def _say(self, command: int, status: int, number: int, body: bytes = b"") -> None:
        self._writer.write(_HEADER.pack(16 + len(body), command, status, number) + body)

    async def _read(self) -> None:
        try:
            while True:
                length, command, status, number = _HEADER.unpack(await self._reader.readexactly(16))
                if not 16 <= length <= MAX_PDU:
                    return
                body = await self._reader.readexactly(length - 16)
                self.heard = True
                if not self._take(command, status, number, body):
                    return
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            self._end()

    def _take(self, command: int, status: int, number: int, body: bytes) -> bool:
        """Handle a PDU. Return False if it was the last one."""
        if command & GENERIC_NACK:  # a response, or a negative acknowledgement (s.4.3.1)
            waiting = self._waiting.get(number)
            if waiting is not None and not waiting.done():
                waiting.set_result((status, body))
        elif command == DELIVER:
            text = receipt_in(body)
            if text is not None:
                self._receipt(text)
            self._say(DELIVER_RESP, 0, number, b"\0")
        elif command == ENQUIRE:
            self._say(ENQUIRE_RESP, 0, number)
        elif command == UNBIND:
            self._say(UNBIND_RESP, 0, number)
            return False
        else:
            self._say(GENERIC_NACK, 0x03, number)
        return True

    def _enquire_later(self) -> None:
        self._enquiring = asyncio.get_running_loop().call_later(ENQUIRES_EVERY_S, self.enquire)

    def enquire(self) -> None:
        """Send enquire_link (s.4.11). If nothing was received since the last one, end the connection instead."""
        if not self.heard:
            self._end()
            return
        self.heard = False
        self._number += 1
        self._say(ENQUIRE, 0, self._number)
        self._enquire_later()


def receipt_in(body: bytes) -> str | None:
    """Return the text of a deliver_sm that is a delivery receipt; None if it is something else or malformed."""
    try:
        at = body.index(0) + 1  # service_type
        for _ in range(2):  # both addresses
            at = body.index(0, at + 2) + 1
        esm_class = body[at]
        at += 3
        for _ in range(2):  # schedule, validity
            at = body.index(0, at) + 1
        size = body[at + 4]
        content, rest = body[at + 5 : at + 5 + size], body[at + 5 + size :]
    except (ValueError, IndexError):
        return None
    if esm_class & 0x3C != _RECEIPT:
        return None
    while not content and len(rest) >= 4:
        tag, length = struct.unpack_from(">HH", rest)
        if tag == _MESSAGE_PAYLOAD:
            content = rest[4 : 4 + length]
        rest = rest[4 + length :]
    return content.decode("latin-1")


def _c(text: str) -> bytes:
    """Return a C-octet string (s.3.1)."""
    return text.encode("ascii", "replace").replace(b"\0", b"") + b"\0"
