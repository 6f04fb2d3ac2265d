"""Connections that are kept: used again, replaced when the server gave them up, and never a message twice by that."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from chopmark.core.types import Secret
from chopmark.messaging.lines import MOST_KEPT, Lines
from chopmark.messaging.ports import FaultReason, Receipt
from chopmark.messaging.smtp import SmtpGateway, Tls
from tests.unit.messaging.test_smtp import (
    MESSAGE,
    PASSWORD,
    Keeping,
    authenticate,
    certificate,
    fault,
    listening,
    sending,
    server_tls,
    settings,
    trust,
)

__all__ = ["certificate", "server_tls", "trust"]
Answer = bytes | None
HANGS_UP = b""
HELLO: tuple[Answer, ...] = (b"220 hi", b"250 ok")
TAKEN: tuple[Answer, ...] = (b"250 sender", b"250 recipient", b"354 go", b"250 ok queued as Q")


class Said(asyncio.Protocol):
    """A server's end of a connection: one answer for each thing heard, None for silence; it hangs up after the last."""

    def __init__(self, server: "Server", answers: tuple[Answer, ...]) -> None:
        self.server = server
        self.answers = list(answers)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.open += 1
        self.answer()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open -= 1
        self.server.changed.set()

    def data_received(self, data: bytes) -> None:
        self.server.heard.append(data)
        self.answer()

    def answer(self) -> None:
        answer = self.answers.pop(0) if self.answers else HANGS_UP
        if answer:
            self.transport.write(answer + b"\r\n")
        if not self.answers:
            self.transport.close()


@dataclass
class Server:
    """A mail server whose connections say what they are told, one list of answers each."""

    scripts: list[tuple[Answer, ...]]
    made: int = 0
    open: int = 0
    heard: list[bytes] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def connection(self) -> Said:
        self.made += 1
        return Said(self, self.scripts.pop(0))

    def times(self, verb: bytes) -> int:
        return sum(heard.startswith(verb) for heard in self.heard)

    @property
    def mails(self) -> int:
        """How many mails were sent in full, whatever came of them."""
        return self.times(b"From: ")

    async def closed(self) -> None:
        """Return when no connection is open."""
        while self.open:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def talking(*scripts: tuple[Answer, ...], step_s: float = 5.0) -> AsyncIterator[tuple[Server, SmtpGateway]]:
    server = Server(list(scripts))
    async with listening(server.connection) as port, sending(settings(port, step_s=step_s)) as gateway:
        yield server, gateway


async def test_messages_that_follow_one_another_share_a_connection_and_its_greeting() -> None:
    async with talking((*HELLO, *TAKEN * 5, None)) as (server, gateway):
        for _ in range(5):
            assert await gateway.send(MESSAGE) == Receipt("smtp", "Q")
        assert (server.made, server.mails, server.times(b"EHLO"), server.times(b"QUIT")) == (1, 5, 1, 0)


async def test_a_real_server_takes_many_mails_over_one_connection() -> None:
    handler, made = Keeping(), 0

    def make() -> SMTP:
        nonlocal made
        made += 1
        return SMTP(handler)

    async with listening(make) as port, sending(settings(port)) as gateway:
        for number in range(20):
            await gateway.send(replace(MESSAGE, message_id=f"W{number}"))
    assert made == 1
    contents = [envelope.content for envelope in handler.envelopes]
    assert len(set(contents)) == len(contents) == 20
    assert all(envelope.rcpt_tos == [MESSAGE.destination.reveal()] for envelope in handler.envelopes)


async def test_a_password_is_said_once_for_many_mails(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    handler, asked = Keeping(), 0

    def counted(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        nonlocal asked
        asked += 1
        return authenticate(server, session, envelope, mechanism, data)

    def make() -> SMTP:
        return SMTP(handler, tls_context=server_tls, require_starttls=True, authenticator=counted, auth_required=True)

    async with listening(make) as port:
        known = replace(settings(port, Tls.STARTTLS), user="mailer", password=Secret(PASSWORD))
        async with sending(known, trust) as gateway:
            for _ in range(3):
                await gateway.send(MESSAGE)
    assert (asked, len(handler.envelopes)) == (1, 3)


@pytest.mark.parametrize(
    "farewell",
    [(), (b"421 4.7.0 enough",), (b"452 too many messages",), (b"550 go away",), (b"nonsense",)],
    ids=["closed while it was idle", "421", "452", "550", "nonsense"],
)
async def test_a_connection_that_takes_no_other_mail_is_replaced_and_nothing_is_sent_twice(
    farewell: tuple[Answer, ...],
) -> None:
    async with talking((*HELLO, *TAKEN, *farewell), (*HELLO, *TAKEN, None)) as (server, gateway):
        assert await gateway.send(MESSAGE) == Receipt("smtp", "Q")
        assert await gateway.send(MESSAGE) == Receipt("smtp", "Q")
        assert (server.made, server.mails) == (2, 2)


async def test_a_kept_connection_that_has_gone_silent_is_replaced_when_its_time_is_over() -> None:
    async with talking((*HELLO, *TAKEN, None, None), (*HELLO, *TAKEN, None), step_s=0.3) as (server, gateway):
        await gateway.send(MESSAGE)
        await gateway.send(MESSAGE)
        assert (server.made, server.mails) == (2, 2)


async def test_what_a_new_connection_says_is_the_outcome_and_there_is_no_third_try() -> None:
    full: tuple[Answer, ...] = (b"452 4.3.1 full", None)
    async with talking((*HELLO, *TAKEN, *full), (*HELLO, *full)) as (server, gateway):
        await gateway.send(MESSAGE)
        assert await fault(gateway) == (FaultReason.BUSY, True)
        assert (server.made, server.mails) == (2, 1)


@pytest.mark.parametrize(
    ("answers", "expected", "mails"),
    [
        ((b"250 ok", b"550 5.1.1 no such user", None), (FaultReason.DESTINATION, False), 1),
        ((b"250 ok", b"450 4.2.0 greylisted", None), (FaultReason.DEFERRED, True), 1),
        ((b"250 ok", b"250 ok", b"354 go", b"554 spam", None), (FaultReason.CONTENT, False), 2),
        ((b"250 ok", b"250 ok", b"354 go", None, None), (FaultReason.TIMEOUT, True), 2),
        ((b"250 ok", b"250 ok", b"354 go"), (FaultReason.DROPPED, True), 1),
        ((b"250 ok", b"250 ok", b"354 go", HANGS_UP), (FaultReason.DROPPED, True), 2),
    ],
    ids=["wrong address", "grey list", "spam", "hangs after the data", "dies before the data", "dies within the data"],
)
async def test_once_a_mail_has_begun_on_a_kept_connection_it_is_tried_once_and_the_next_one_gets_a_new_connection(
    answers: tuple[Answer, ...], expected: tuple[FaultReason, bool], mails: int
) -> None:
    async with talking((*HELLO, *TAKEN, *answers), (*HELLO, *TAKEN, None), step_s=0.3) as (server, gateway):
        await gateway.send(MESSAGE)
        assert await fault(gateway) == expected
        assert (server.made, server.mails) == (1, mails)
        assert await gateway.send(MESSAGE) == Receipt("smtp", "Q")
        assert server.made == 2


async def test_a_connection_that_nobody_needs_is_ended_politely() -> None:
    async with talking((*HELLO, *TAKEN, b"221 bye"), (*HELLO, *TAKEN, None)) as (server, gateway):
        gateway.lines = Lines(idle_s=0.0)
        await gateway.send(MESSAGE)
        await server.closed()
        assert server.times(b"QUIT") == 1
        gateway.lines = Lines()
        await gateway.send(MESSAGE)
        assert server.made == 2


async def test_a_connection_carries_so_many_messages_and_no_more() -> None:
    async with talking((*HELLO, *TAKEN * 2, b"221 bye"), (*HELLO, *TAKEN, None)) as (server, gateway):
        gateway.lines = Lines(most_messages=2)
        for _ in range(3):
            await gateway.send(MESSAGE)
        assert (server.made, server.times(b"QUIT")) == (2, 1)


async def test_a_goodbye_that_takes_too_long_makes_no_taken_mail_a_failure() -> None:
    async with talking((*HELLO, *TAKEN, None, None)) as (server, gateway):
        gateway.lines = Lines(most_messages=1)
        gateway.settings = replace(gateway.settings, total_s=0.5)
        assert await gateway.send(MESSAGE) == Receipt("smtp", "Q")
        assert server.mails == 1


async def test_when_many_messages_come_at_once_each_has_a_connection_and_a_few_are_kept() -> None:
    many = 3 * MOST_KEPT
    scripts = [(*HELLO, *TAKEN, b"221 bye", None)] * many
    async with talking(*scripts) as (server, gateway):
        await asyncio.gather(*(gateway.send(MESSAGE) for _ in range(many)))
        assert (server.made, server.mails) == (many, many)
        assert server.times(b"QUIT") == many - MOST_KEPT
        await gateway.close()
        await server.closed()
        assert server.times(b"QUIT") == many
