"""E-mail over the firm's own mail server. Connections are kept open; one time limit covers the whole hand-over."""

import asyncio
import re
import ssl
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

import aiosmtplib

from chopmark.core.types import Channel, Secret
from chopmark.messaging.letter import Letter, Letterhead, is_plain
from chopmark.messaging.lines import Envelope, Line, Lines
from chopmark.messaging.ports import FaultReason, GatewayFault, Message, Receipt, Verdict
from chopmark.messaging.return_paths import ReturnPaths

NAME: Final = "smtp"
"""The gateway's name in receipts and in the table of deliveries."""
_QUEUED: Final = re.compile(r"queued as ([A-Za-z0-9._-]{1,64})", re.ASCII | re.IGNORECASE)


class Tls(StrEnum):
    """How the connection is protected. NONE is for a mail server on the same machine."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """The mail server and the account. Times are in seconds; `total_s` limits one whole hand-over."""

    host: str
    port: int
    tls: Tls
    sender_address: str
    sender_name: str
    user: str | None = None
    password: Secret | None = None
    step_s: float = 10.0
    total_s: float = 30.0

    def __post_init__(self) -> None:
        if self.tls is Tls.NONE and not _is_loopback(self.host):
            raise ValueError(f"mail to {self.host} needs starttls or tls: only a loopback address goes without")
        if not is_plain(self.sender_address):
            raise ValueError("the sender address must be a plain ASCII e-mail address")
        if any(not c.isprintable() for c in self.sender_name):
            raise ValueError("the sender name must have printable characters only")
        if (self.user is None) is not (self.password is None):
            raise ValueError("an SMTP user and a password come together")


@dataclass(slots=True)
class _Passage:
    """How far the sending of a mail is.

    Once its content is being sent, the server may have it, whatever happens then.
    """

    begun: bool = False


class SmtpGateway:
    """Hands mail to one server. `tls_context` replaces the trust store of the system, for a firm with its own CA.

    With `return_paths` each message to a customer has an envelope sender of its own; without, all have the sender's.

    A connection is used again for the next message. If the server does not accept the sender (MAIL FROM) on a kept
    connection, a new one is used instead; the server has not got the message yet. The result of the new connection
    counts.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        name: str = NAME,
        tls_context: ssl.SSLContext | None = None,
        return_paths: ReturnPaths | None = None,
    ) -> None:
        self.channel = Channel.EMAIL
        self.name = name
        self.repeats = True  # RFC 5321 s.4.5.4.1; both mails have the same Message-ID
        self.codes_once = True  # a code is not mailed again if its mail may have been sent
        self.settings = settings
        self._tls_context = tls_context
        self._return_paths = return_paths
        self._letterhead = Letterhead(settings.sender_address, settings.sender_name)
        self.lines = Lines()

    async def send(self, message: Message) -> Receipt:
        """Return the receipt after the server has taken responsibility (RFC 5321 s.4.2.5: 250 after the data).

        Raises GatewayFault. It is raised outside any exception handler, so that its context contains no words of the
        server and no addresses.
        """
        return await self.send_letter(message)

    async def send_letter(self, letter: Letter) -> Receipt:
        """As `send`, for a mail that is not a message to a customer."""
        outcome = await self._attempt(letter)
        if isinstance(outcome, GatewayFault):
            raise outcome
        return outcome

    async def _attempt(self, message: Letter) -> Receipt | GatewayFault:
        destination = message.destination.reveal()
        if not is_plain(destination):
            return GatewayFault(FaultReason.DESTINATION, Verdict.FINAL)
        attachment = message.attachment if isinstance(message, Message) else None
        mail, passage = self._letterhead.letter(message, attachment), _Passage()
        try:
            async with asyncio.timeout(self.settings.total_s):
                line, answer = await self._hand_over(destination, self._envelope(message), mail, passage)
        except (aiosmtplib.SMTPException, OSError) as error:
            fault = _fault(error)
            lost = passage.begun and not isinstance(error, aiosmtplib.SMTPResponseException)
            is_code = isinstance(message, Message) and message.code is not None
            if not lost:
                return fault
            return GatewayFault(fault.reason, Verdict.UNKNOWN if is_code else fault.verdict, perhaps=True)
        await self.lines.give(line)
        queued = _QUEUED.search(answer)
        return Receipt(self.name, queued.group(1) if queued else None)

    def _envelope(self, message: Letter) -> Envelope:
        """Return the envelope of a mail. An operator's alarm that comes back concerns no customer."""
        paths = self._return_paths if isinstance(message, Message) else None
        sender = None if paths is None else paths.sender(message.message_id)
        if paths is None or sender is None:
            return Envelope(self.settings.sender_address)
        return Envelope(sender, paths.mark(message.message_id))

    async def _hand_over(
        self, destination: str, envelope: Envelope, mail: bytes, passage: "_Passage"
    ) -> tuple[Line, str]:
        """Return the connection, and the answer of the server that took the mail."""
        line = await self._begun(envelope)
        try:
            await envelope.to(line.client, destination)
            passage.begun = True
            answer = (await line.client.data(mail)).message
        except BaseException:
            line.drop()
            raise
        return line, answer

    async def _begun(self, envelope: Envelope) -> Line:
        """Return a connection on which a mail has begun, if possible one that was kept."""
        kept = self.lines.take()
        if kept is not None and await kept.begins(envelope):
            return kept
        line = Line(self._client())
        try:
            await line.client.connect()
            await envelope.begin(line.client)
        except BaseException:
            line.drop()
            raise
        return line

    async def reach(self) -> FaultReason | None:
        """Connect, begin TLS and log in as for a mail, then quit. Return what failed, or None."""
        line = Line(self._client())
        try:
            async with asyncio.timeout(self.settings.total_s):
                await line.client.connect()
                if line.client.is_ehlo_or_helo_needed:
                    await line.client.ehlo()
        except (aiosmtplib.SMTPException, OSError) as error:
            line.drop()
            return _fault(error).reason
        await line.leave()
        return None

    async def close(self) -> None:
        """Close the kept connections. A later mail makes a new one."""
        await self.lines.close()

    def _client(self) -> aiosmtplib.SMTP:
        settings = self.settings
        return aiosmtplib.SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.user,
            password=None if settings.password is None else settings.password.reveal(),
            local_hostname=settings.sender_address.rpartition("@")[2],
            timeout=settings.step_s,
            use_tls=settings.tls is Tls.TLS,
            start_tls=settings.tls is Tls.STARTTLS,
            tls_context=self._tls_context,
        )


def _fault(error: Exception) -> GatewayFault:
    """Return the fault that an error means, without its words."""
    match error:
        case aiosmtplib.SMTPRecipientRefused(code=status) if status != 421:  # RFC 5321 s.3.8: the server is closing
            lasting = status >= 500
            reason = FaultReason.DESTINATION if lasting else FaultReason.DEFERRED
            return GatewayFault(reason, Verdict.FINAL if lasting else Verdict.LATER)
        case aiosmtplib.SMTPAuthenticationError():
            return GatewayFault(FaultReason.AUTHENTICATION, Verdict.ALARM)
        case aiosmtplib.SMTPResponseException() if 400 <= error.code < 500:
            return GatewayFault(FaultReason.BUSY, Verdict.LATER)
        case aiosmtplib.SMTPSenderRefused():
            return GatewayFault(FaultReason.SENDER, Verdict.ALARM)
        case aiosmtplib.SMTPDataError():
            return GatewayFault(FaultReason.CONTENT, Verdict.FINAL)
        case TimeoutError():
            return GatewayFault(FaultReason.TIMEOUT, Verdict.LATER)
        case aiosmtplib.SMTPServerDisconnected():
            return GatewayFault(FaultReason.DROPPED, Verdict.LATER)
        case ssl.SSLError():
            return GatewayFault(FaultReason.TLS, Verdict.LATER)
        case aiosmtplib.SMTPConnectError() if isinstance(error.__cause__, ssl.SSLError):
            return GatewayFault(FaultReason.TLS, Verdict.LATER)
        case aiosmtplib.SMTPConnectError():
            return GatewayFault(FaultReason.UNREACHABLE, Verdict.LATER)
        case OSError():
            return GatewayFault(FaultReason.DROPPED, Verdict.LATER)
    return GatewayFault(FaultReason.PROTOCOL, Verdict.LATER)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
