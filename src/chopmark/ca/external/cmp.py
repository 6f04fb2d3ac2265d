"""A CMP client (RFC 9483) of a registration authority: ir, kur, pollReq, certConf, rr over HTTP (RFC 9811).

Every message of ours has a MAC with a shared secret, and an answer without a right MAC is ignored. We never ask for
implicit confirmation: a certificate counts only after the CA's pkiConf has come.
"""

from dataclasses import dataclass

from chopmark.ca.external.ports import (
    Answer,
    Denied,
    Ending,
    ExternalRequest,
    NotReached,
    Over,
    Received,
    Silent,
    Waiting,
)
from chopmark.ca.external.wire import Said, Wire
from chopmark.core.clock import Clock, Entropy
from chopmark.pki import cmp
from chopmark.pki.cmp import BadMessage, Body, Header, Message, Shared, Status, Verdict
from chopmark.pki.crl import CrlReason
from chopmark.pki.x509 import name

_HEADERS = {"content-type": "application/pkixcmp"}
_GRANTED = frozenset({Status.ACCEPTED, Status.GRANTED_WITH_MODS})
_REVOKED = _GRANTED | {Status.REVOCATION_WARNING, Status.REVOCATION_NOTIFICATION}
# PKIFailureInfo (RFC 9810 s.5.2.3)
_CERT_REVOKED = 10
_CREDENTIALS = frozenset({1, 12, 20, 23})
"""badMessageCheck, wrongIntegrity, signerNotTrusted, notAuthorized: our settings are wrong, not the order."""
_UNAVAILABLE, _FAILURE, _IN_USE = 24, 25, 21
AGAIN_S = 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message of ours: transaction id, the CA's last nonce (empty in the first message), body and content."""

    transaction: bytes
    answers: bytes
    body: Body
    content: bytes


class CmpClient:
    """Implements `Client`; `recipient` is the CA's Name, DER."""

    confirms = True
    sends_csr = False
    csr_names = False

    def __init__(self, wire: Wire, shared: Shared, recipient: bytes, clock: Clock, entropy: Entropy) -> None:
        self._wire = wire
        self._shared = shared
        self._recipient = recipient
        self._clock = clock
        self._entropy = entropy

    async def request(self, asked: ExternalRequest) -> Answer:
        """Ask for a certificate by ir, or by kur when the new certificate renews one."""
        content = cmp.certificate_request(name(asked.subject).public_bytes(), asked.spki_der, asked.replaces)
        body = Body.IR if asked.replaces is None else Body.KUR
        said = await self._exchange(Exchange(asked.transaction, b"", body, content))
        return said if not isinstance(said, Message) else _certificate(said)

    async def poll(self, asked: ExternalRequest, ticket: bytes) -> Answer:
        """Ask again by pollReq; the ticket is the CA's last nonce (RFC 9483 s.4.4)."""
        said = await self._exchange(Exchange(asked.transaction, ticket, Body.POLL_REQ, cmp.poll_request()))
        if not isinstance(said, Message):
            return said
        if said.body != Body.POLL_REP:
            return _certificate(said, polled=True)
        try:
            return Waiting(cmp.check_after(said), said.nonce)
        except BadMessage as bad:
            return Silent(bad.code)

    async def accept(self, asked: ExternalRequest, received: Received) -> Ending:
        """Confirm the certificate by certConf.

        DONE: the CA answered with pkiConf. LATER: no usable answer. BY_HAND: any other answer, as when the CA does not
        know the transaction any more.
        """
        said = await self._confirm(asked, received, accepted=True)
        if not isinstance(said, Message):
            return Ending.LATER
        return Ending.DONE if said.body == Body.PKICONF else Ending.BY_HAND

    async def reject(self, asked: ExternalRequest, received: Received) -> None:
        """Refuse the certificate by certConf: the CA is to revoke it (RFC 9810 s.5.3.18)."""
        await self._confirm(asked, received, accepted=False)

    async def _confirm(
        self, asked: ExternalRequest, received: Received, *, accepted: bool
    ) -> Message | NotReached | Silent:
        try:
            content = cmp.confirmation(received.der, accepted=accepted)
        except ValueError:
            return Silent("garbage")
        return await self._exchange(Exchange(asked.transaction, received.ticket, Body.CERT_CONF, content))

    async def revoke(self, certificate_der: bytes, reason: str) -> Ending:
        """Have a certificate revoked by rr, in a transaction of its own (RFC 9483 s.4.2)."""
        content = cmp.revocation_request(certificate_der, CrlReason[reason.upper()].value)
        said = await self._exchange(Exchange(self._entropy.token(16), b"", Body.RR, content))
        if not isinstance(said, Message):
            return Ending.LATER
        try:
            verdict = cmp.revoked_of(said) if said.body == Body.RP else cmp.error_of(said)
        except BadMessage:
            return Ending.LATER
        done = verdict.status in _REVOKED if said.body == Body.RP else False
        return Ending.DONE if done or _CERT_REVOKED in verdict.failures else Ending.LATER

    async def _exchange(self, told: Exchange) -> Message | NotReached | Silent:
        nonce, salt = self._entropy.token(16), self._entropy.token(16)
        header = Header(self._recipient, told.transaction, nonce, told.answers, self._clock.now())
        message = cmp.write(self._shared, header, told.body, told.content, salt)
        said = await self._wire.post("", message, _HEADERS)
        if not isinstance(said, Said):
            return said
        if said.status in {429, 503}:
            return NotReached("busy", said.retry_after_s)
        try:
            return cmp.read(said.body, self._shared, header)
        except BadMessage as bad:
            return Silent(bad.code)


def _certificate(message: Message, *, polled: bool = False) -> Answer:
    """Read an ip, a kup or an error; after an error to a poll, the order's next attempt needs a new transaction."""
    try:
        if message.body == Body.ERROR:
            verdict = cmp.error_of(message)
            return Over("cmp_error") if polled else _refused(verdict)
        if message.body not in {Body.IP, Body.KUP}:
            return Silent("unexpected_body")
        reply = cmp.reply_of(message)
    except BadMessage as bad:
        return Silent(bad.code)
    if reply.verdict.status == Status.WAITING:
        return Waiting(1, message.nonce)
    if reply.verdict.status not in _GRANTED:
        return _refused(reply.verdict)
    if reply.certificate is None:
        return Silent("no_certificate")
    return Received(reply.certificate, (*message.extra, *reply.ca_certificates), message.nonce)


def _refused(verdict: Verdict) -> Answer:
    if verdict.failures & _CREDENTIALS:
        return NotReached("credentials", AGAIN_S)
    if _UNAVAILABLE in verdict.failures:
        return NotReached("unavailable", AGAIN_S)
    if verdict.failures & {_FAILURE, _IN_USE}:
        return Over(f"cmp_{min(verdict.failures)}")
    return Denied(f"cmp_{min(verdict.failures, default=verdict.status)}")
