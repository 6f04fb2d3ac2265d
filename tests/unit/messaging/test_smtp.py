"""Mail over real SMTP servers on loopback: a good one, and ones that refuse, hang, drop or speak nonsense."""

import asyncio
import email
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email import policy
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chopmark.app.gateways import GatewayUnfit, gateways_of, reach_mail
from chopmark.app.settings import Settings, Smtp
from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.messaging.attempts import MemoryAttempts
from chopmark.messaging.demo import InboxEntry
from chopmark.messaging.failover import Router
from chopmark.messaging.ports import FaultReason, Gateway, GatewayFault, Message, Purpose, Receipt, Verdict
from chopmark.messaging.smtp import SmtpGateway, SmtpSettings, Tls
from chopmark.web.brand import DEMO_BRAND

AT = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
CODE, ADDRESS, PASSWORD = "0123456789", "zhang.san@example.com", "mail-password"
MESSAGE = Message(
    message_id="W1ABC",
    channel=Channel.EMAIL,
    destination=Secret(ADDRESS),
    subject="【好景期貨】展延電子憑證驗證碼（參考碼 BDFG）",
    text=Secret(f"您好：\n\n驗證碼：{CODE}\n參考碼：BDFG\n"),
    purpose=Purpose.CODE_RENEWAL,
    at=AT,
    ttl_s=300,
    customer=CustomerId("C-1"),
)


class Keeping:
    """An aiosmtpd handler that keeps what it accepts and answers as told."""

    def __init__(self, mail: str = "", rcpt: str = "", data: str = "250 2.0.0 Ok: queued as 4XyZ12") -> None:
        self.mail, self.rcpt, self.data = mail, rcpt, data
        self.envelopes: list[Envelope] = []

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self.mail or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self.rcpt or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        return self.data


@asynccontextmanager
async def listening(make: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def sending(known: SmtpSettings, trust: ssl.SSLContext | None = None) -> AsyncIterator[SmtpGateway]:
    gateway = SmtpGateway(known, tls_context=trust)
    try:
        yield gateway
    finally:
        await gateway.close()


class Raw(asyncio.Protocol):
    """A server that says its lines, one for each thing it hears, and hangs up when it has none left."""

    def __init__(self, *lines: bytes | None) -> None:
        self.lines = list(lines)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.say()

    def data_received(self, data: bytes) -> None:
        self.say()

    def say(self) -> None:
        assert self.transport is not None
        if not self.lines:
            self.transport.abort()
            return
        line = self.lines.pop(0)
        if line is not None:
            self.transport.write(line + b"\r\n")


def settings(port: int, tls: Tls = Tls.NONE, *, step_s: float = 10.0, total_s: float = 30.0) -> SmtpSettings:
    return SmtpSettings("127.0.0.1", port, tls, "no-reply@haojing.example", "好景期貨", step_s=step_s, total_s=total_s)


async def fault(gateway: Gateway, message: Message = MESSAGE) -> tuple[FaultReason, bool]:
    with pytest.raises(GatewayFault) as raised:
        await gateway.send(message)
    assert raised.value.__context__ is None
    assert raised.value.__cause__ is None
    for secret in (CODE, ADDRESS, PASSWORD):
        assert secret not in repr(raised.value)
    return raised.value.reason, raised.value.retryable


async def test_a_mail_arrives_with_chinese_subject_and_body_and_the_servers_queue_id_is_the_receipt() -> None:
    handler = Keeping()
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        receipt = await gateway.send(MESSAGE)
    assert receipt == Receipt("smtp", "4XyZ12")
    envelope = handler.envelopes[0]
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@haojing.example", [ADDRESS])
    assert isinstance(envelope.content, bytes)
    mail = email.message_from_bytes(envelope.content, policy=policy.default)
    assert mail["Subject"] == MESSAGE.subject
    assert mail["From"] == "好景期貨 <no-reply@haojing.example>"
    assert mail["To"] == ADDRESS
    assert mail["Message-ID"] == "<W1ABC@haojing.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Sun, 22 Nov 2026 02:00:00 +0000"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == MESSAGE.text.reveal()
    envelope.content.decode("ascii")


async def test_a_retry_is_the_same_mail_byte_for_byte() -> None:
    handler = Keeping(data="250 OK")
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        assert await gateway.send(MESSAGE) == await gateway.send(MESSAGE) == Receipt("smtp", None)
    assert handler.envelopes[0].content == handler.envelopes[1].content


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (Keeping(rcpt="550 5.1.1 <zhang.san@example.com> no such user"), (FaultReason.DESTINATION, False)),
        (Keeping(rcpt="450 4.2.0 greylisted, zhang.san@example.com"), (FaultReason.DEFERRED, True)),
        (Keeping(rcpt="452 4.2.2 mailbox full"), (FaultReason.DEFERRED, True)),
        (Keeping(rcpt="421 4.3.2 closing"), (FaultReason.BUSY, True)),
        (Keeping(mail="553 5.7.1 sender not allowed"), (FaultReason.SENDER, True)),
        (Keeping(mail="421 4.3.2 closing"), (FaultReason.BUSY, True)),
        (Keeping(data="554 5.7.1 looks like spam: 0123456789"), (FaultReason.CONTENT, False)),
        (Keeping(data="452 4.3.1 disk full"), (FaultReason.BUSY, True)),
    ],
)
async def test_a_refusal_is_told_by_reason_and_whether_a_retry_may_help(
    handler: Keeping, expected: tuple[FaultReason, bool]
) -> None:
    async with listening(lambda: SMTP(handler)) as port:
        assert await fault(SmtpGateway(settings(port))) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((None,), FaultReason.TIMEOUT),  # says nothing at all
        ((b"220 hi", None), FaultReason.TIMEOUT),  # hangs after the greeting
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go", None), FaultReason.TIMEOUT),  # hangs after the data
        ((), FaultReason.UNREACHABLE),  # hangs up at once
        ((b"220 hi", b"250 ok"), FaultReason.DROPPED),  # hangs up at MAIL
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go"), FaultReason.DROPPED),  # hangs up at the data
        ((b"421 too busy",), FaultReason.BUSY),
        ((b"554 no service",), FaultReason.UNREACHABLE),
    ],
)
async def test_a_slow_or_dropping_server_is_given_up_and_the_mail_may_be_retried(
    lines: tuple[bytes | None, ...], expected: FaultReason
) -> None:
    async with listening(lambda: Raw(*lines)) as port:
        assert await fault(SmtpGateway(settings(port, step_s=0.15))) == (expected, True)


CODE_MAIL = replace(MESSAGE, code=Secret(CODE))


class Twice(Keeping):
    """A relay that takes each mail and loses the answer, the first time it sees it: what comes again it takes again."""

    def __init__(self) -> None:
        super().__init__()
        self.losing = True

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.envelopes.append(envelope)
        if self.losing:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return self.data


def message_ids(handler: Keeping) -> list[str]:
    contents = [envelope.content for envelope in handler.envelopes]
    return [
        email.message_from_bytes(one, policy=policy.default)["Message-ID"] for one in contents if isinstance(one, bytes)
    ]


async def test_a_relay_that_took_a_code_and_lost_its_answer_never_gets_that_code_again() -> None:
    handler = Twice()
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway], MemoryAttempts())
        for _ in range(3):
            with pytest.raises(GatewayFault) as raised:
                await router.send(CODE_MAIL, AT)
            assert raised.value.verdict is Verdict.UNKNOWN
        assert len(handler.envelopes) == 1
        handler.losing = False
        other = replace(CODE_MAIL, message_id="W2", destination=Secret("li.si@example.com"))
        assert (await router.send(other, AT)).gateway == "smtp"
    assert message_ids(handler) == ["<W1ABC@haojing.example>", "<W2@haojing.example>"]


async def test_a_notice_whose_answer_was_lost_is_mailed_again_under_the_same_message_id() -> None:
    """RFC 5321 s.4.5.4.1: who sends a mail is responsible for it until the answer has come."""
    handler = Twice()
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway], MemoryAttempts())
        with pytest.raises(GatewayFault) as raised:
            await router.send(MESSAGE, AT)
        assert raised.value.verdict is Verdict.LATER
        handler.losing = False
        await router.send(MESSAGE, AT)
    assert message_ids(handler) == ["<W1ABC@haojing.example>"] * 2
    assert handler.envelopes[0].content == handler.envelopes[1].content


async def test_a_reminder_whose_answer_was_lost_is_not_mailed_again_and_one_that_was_not_begun_is() -> None:
    handler = Twice()
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway], MemoryAttempts(), once=True)
        for _ in range(2):
            with pytest.raises(GatewayFault) as raised:
                await router.send(MESSAGE, AT)
            assert raised.value.verdict is Verdict.UNKNOWN
    assert len(handler.envelopes) == 1
    async with sending(settings(1)) as away:
        with pytest.raises(GatewayFault) as raised:
            await Router([away], MemoryAttempts(), once=True).send(MESSAGE, AT)
    assert raised.value.verdict is Verdict.LATER


@pytest.mark.parametrize(
    ("lines", "verdict"),
    [
        ((b"220 hi", b"250 ok", b"250 ok"), Verdict.LATER),  # hangs up at RCPT: it has not seen the mail
        ((b"220 hi", b"250 ok", b"250 ok", None), Verdict.LATER),
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go", None), Verdict.UNKNOWN),
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go"), Verdict.UNKNOWN),
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go", b"452 disk full"), Verdict.LATER),
        ((b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go", b"554 no"), Verdict.FINAL),
    ],
)
async def test_what_is_known_of_a_mailed_code_is_what_the_relay_had_seen_of_it(
    lines: tuple[bytes | None, ...], verdict: Verdict
) -> None:
    async with listening(lambda: Raw(*lines)) as port, sending(settings(port, step_s=0.15)) as gateway:
        with pytest.raises(GatewayFault) as raised:
            await gateway.send(CODE_MAIL)
    assert raised.value.verdict is verdict


class Greylisting(Keeping):
    """A relay that takes from nobody at first: 450, and the second time it takes the mail."""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        known, self.rcpt = self.rcpt, "250 OK"
        return known or "450 4.2.0 greylisted, come back in a minute"


async def test_a_greylisted_code_is_taken_the_second_time_and_once() -> None:
    handler = Greylisting()
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway], MemoryAttempts())
        with pytest.raises(GatewayFault) as raised:
            await router.send(CODE_MAIL, AT)
        assert (raised.value.reason, raised.value.verdict) == (FaultReason.DEFERRED, Verdict.LATER)
        assert (await router.send(CODE_MAIL, AT)).gateway == "smtp"
        assert (await router.send(CODE_MAIL, AT)).gateway == "smtp"  # a worker that asks again after a crash
    assert message_ids(handler) == ["<W1ABC@haojing.example>"]


async def test_a_server_that_speaks_nonsense_is_not_taken_for_one_that_took_the_mail() -> None:
    async with listening(lambda: Raw(b"\xff\xfe\x00 nonsense")) as port:
        reason, retryable = await fault(SmtpGateway(settings(port, step_s=0.15)))
    assert retryable
    assert reason in (FaultReason.PROTOCOL, FaultReason.UNREACHABLE, FaultReason.DROPPED)


async def test_many_slow_steps_do_not_add_up_beyond_the_total() -> None:
    async with listening(lambda: Raw(None)) as port:
        reason = await fault(SmtpGateway(settings(port, step_s=60.0, total_s=0.15)))
    assert reason == (FaultReason.TIMEOUT, True)


async def test_a_server_that_hangs_up_after_taking_the_mail_took_it() -> None:
    lines = (b"220 hi", b"250 ok", b"250 ok", b"250 ok", b"354 go", b"250 ok queued as Q7")
    async with listening(lambda: Raw(*lines)) as port, sending(settings(port, step_s=0.5)) as gateway:
        assert await gateway.send(MESSAGE) == Receipt("smtp", "Q7")


async def test_nobody_listening_is_unreachable() -> None:
    async with listening(lambda: Raw(None)) as port:
        pass
    assert await fault(SmtpGateway(settings(port))) == (FaultReason.UNREACHABLE, True)


@pytest.mark.parametrize(
    "address",
    [
        "張三@example.com",
        "a@b@c",
        "a b@example.com",
        "a@example.com\r\nBcc: x@example.com",
        "a@example.com, b@example.com",
        '"a"@example.com',
        "<a@example.com>",
        "a@exämple.com",
        "nobody",
        "",
    ],
)
async def test_an_address_that_a_header_could_misread_is_never_connected_for(address: str) -> None:
    outcome = await fault(SmtpGateway(settings(1)), replace(MESSAGE, destination=Secret(address)))
    assert outcome == (FaultReason.DESTINATION, False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away key and certificate for 127.0.0.1 in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def trust(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    right = isinstance(data, LoginPassword) and data.login == b"mailer" and data.password == PASSWORD.encode()
    return AuthResult(success=right, handled=False)


async def test_starttls_with_a_trusted_certificate_and_a_password_delivers(
    server_tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    handler = Keeping()

    def make() -> SMTP:
        return SMTP(
            handler, tls_context=server_tls, require_starttls=True, authenticator=authenticate, auth_required=True
        )

    async with listening(make) as port:
        known = replace(settings(port, Tls.STARTTLS), user="mailer", password=Secret(PASSWORD))
        assert PASSWORD not in repr(known)
        async with sending(known, trust) as gateway:
            assert (await gateway.send(MESSAGE)).provider_id == "4XyZ12"
        wrong = replace(known, password=Secret("not-it"))
        assert await fault(SmtpGateway(wrong, tls_context=trust)) == (FaultReason.AUTHENTICATION, True)
    assert len(handler.envelopes) == 1


async def test_tls_from_the_first_byte_delivers(server_tls: ssl.SSLContext, trust: ssl.SSLContext) -> None:
    handler = Keeping()
    async with listening(lambda: SMTP(handler), server_tls) as port, sending(settings(port, Tls.TLS), trust) as gateway:
        await gateway.send(MESSAGE)
    assert len(handler.envelopes) == 1


@pytest.mark.parametrize("mode", [Tls.STARTTLS, Tls.TLS])
async def test_a_certificate_that_nobody_vouches_for_gets_no_mail(mode: Tls, server_tls: ssl.SSLContext) -> None:
    handler = Keeping()
    wrapped = server_tls if mode is Tls.TLS else None
    async with listening(lambda: SMTP(handler, tls_context=None if wrapped else server_tls), wrapped) as port:
        assert await fault(SmtpGateway(settings(port, mode))) == (FaultReason.TLS, True)
    assert handler.envelopes == []


async def test_a_server_that_offers_no_starttls_gets_no_mail_in_clear() -> None:
    handler = Keeping()
    async with listening(lambda: SMTP(handler)) as port:
        assert await fault(SmtpGateway(settings(port, Tls.STARTTLS))) == (FaultReason.PROTOCOL, True)
    assert handler.envelopes == []


@pytest.mark.parametrize("host", ["mail.haojing.example", "192.0.2.1", "localhost.example"])
def test_mail_goes_without_tls_to_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match="needs starttls or tls"):
        SmtpSettings(host, 25, Tls.NONE, "a@haojing.example", "x")
    for here in ("localhost", "127.0.0.1", "::1"):
        assert SmtpSettings(here, 25, Tls.NONE, "a@haojing.example", "x").host == here


def test_settings_that_would_break_a_header_are_refused() -> None:
    with pytest.raises(ValueError, match="sender address"):
        SmtpSettings("localhost", 25, Tls.NONE, "a@b\r\nBcc: c@d", "x")
    with pytest.raises(ValueError, match="sender name"):
        SmtpSettings("localhost", 25, Tls.NONE, "a@haojing.example", "x\r\nBcc: c@d")
    with pytest.raises(ValueError, match="together"):
        SmtpSettings("localhost", 25, Tls.NONE, "a@haojing.example", "x", user="mailer")


class Picky(Keeping):
    """A server one of whose mailboxes is full."""

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return "452 4.2.2 mailbox full" if address == ADDRESS else "250 OK"


async def test_one_full_mailbox_delays_nobody_else() -> None:
    """The breaker opened after three 4xx at RCPT, and all other customers' codes waited for half a minute."""
    handler = Picky()
    other = replace(MESSAGE, message_id="W2", destination=Secret("li.si@example.com"))
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway])
        for _ in range(5):
            with pytest.raises(GatewayFault) as raised:
                await router.send(MESSAGE, AT)
            assert (raised.value.reason, raised.value.retryable) == (FaultReason.DEFERRED, True)
            assert (await router.send(other, AT)).gateway == "smtp"
    assert len(handler.envelopes) == 5


class Moody(Keeping):
    """A server with mailboxes that are full or gone, and with some that take a mail only the second time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        known = address in self.asked
        self.asked.add(address)
        if address.startswith("grey"):
            return "250 OK" if known else "451 4.7.1 greylisted"
        return {"full": "452 4.2.2 mailbox full", "gone": "550 5.1.1 no such user"}.get(address[:4], "250 OK")


@pytest.mark.soak
async def test_drill_of_two_thousand_mails_no_mailbox_that_is_full_grey_or_gone_delays_another() -> None:
    handler, random = Moody(), Random(13)
    told: dict[str, set[str]] = {}
    async with listening(lambda: SMTP(handler)) as port, sending(settings(port)) as gateway:
        router = Router([gateway])
        for number in range(2000):
            kind = random.choice(("good", "full", "grey", "gone"))
            message = replace(MESSAGE, message_id=f"D{number}", destination=Secret(f"{kind}{number % 50}@example.com"))
            first = f"{kind}{number % 50}@example.com" not in handler.asked
            try:
                await router.send(message, AT)
                said = "sent"
            except GatewayFault as fault:
                said = fault.reason.value
            told.setdefault(f"{kind}, first" if kind == "grey" and first else kind, set()).add(said)
    deferred, destination = FaultReason.DEFERRED.value, FaultReason.DESTINATION.value
    assert told == {
        "good": {"sent"},
        "full": {deferred},
        "grey, first": {deferred},
        "grey": {"sent"},
        "gone": {destination},
    }


@pytest.mark.parametrize(
    ("mode", "trusted", "password", "expected"),
    [
        (Tls.STARTTLS, True, PASSWORD, None),
        (Tls.STARTTLS, True, "not-it", FaultReason.AUTHENTICATION),
        (Tls.STARTTLS, False, PASSWORD, FaultReason.TLS),
        (Tls.TLS, True, PASSWORD, FaultReason.TLS),  # the server begins in clear
        (Tls.NONE, True, "", None),
    ],
)
async def test_a_server_is_asked_without_a_mail(
    mode: Tls,
    trusted: bool,
    password: str,
    expected: FaultReason | None,
    server_tls: ssl.SSLContext,
    trust: ssl.SSLContext,
) -> None:
    handler = Keeping()
    said: list[str] = []

    class Listening(SMTP):
        async def smtp_MAIL(self, arg: str) -> None:  # noqa: N802
            said.append(arg)

    def make() -> SMTP:
        return Listening(handler, tls_context=server_tls, authenticator=authenticate, auth_required=bool(password))

    async with listening(make) as port:
        known = settings(port, mode, step_s=2.0)
        if password:
            known = replace(known, user="mailer", password=Secret(password))
        reached = await SmtpGateway(known, tls_context=trust if trusted else None).reach()
    assert reached is expected
    assert (handler.envelopes, said) == ([], [])


async def test_a_server_that_is_away_or_silent_is_named() -> None:
    async with listening(lambda: Raw(None)) as port:
        assert await SmtpGateway(settings(port, step_s=0.15)).reach() is FaultReason.TIMEOUT
    assert await SmtpGateway(settings(port)).reach() is FaultReason.UNREACHABLE
    async with listening(lambda: SMTP(Keeping())) as port:
        assert await SmtpGateway(settings(port, Tls.STARTTLS)).reach() is FaultReason.PROTOCOL


async def test_the_file_of_the_firms_own_authority_is_trusted_and_check_says_what_is_wrong(
    certificate: Path, server_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    handler = Keeping()
    async with listening(lambda: SMTP(handler), server_tls) as port:
        mail: dict[str, Any] = {"host": "127.0.0.1", "port": port, "tls": "tls", "sender": "no-reply@haojing.example"}
        without = Settings(mode="production", smtp=Smtp(**mail))
        trusting = Settings(mode="production", smtp=Smtp(**mail, ca=certificate))
        assert await reach_mail(trusting, DEMO_BRAND) is None
        said = await reach_mail(without, DEMO_BRAND)
        assert said is not None
        assert said.startswith(f"the mail server 127.0.0.1:{port} cannot be used (tls): its certificate is not trusted")
        (gateway,) = gateways_of(trusting, DEMO_BRAND, Nowhere())
        assert (await gateway.send(MESSAGE)).gateway == "smtp"
        await gateway.close()
    for ca in (tmp_path / "none.pem", Path(__file__)):
        with pytest.raises(GatewayUnfit, match=r"smtp\.ca"):
            gateways_of(Settings(mode="production", smtp=Smtp(**mail, ca=ca)), DEMO_BRAND, Nowhere())


class Nowhere:
    """An inbox that nothing comes to."""

    async def store(self, entry: InboxEntry) -> None:
        raise AssertionError(entry.message_id)
