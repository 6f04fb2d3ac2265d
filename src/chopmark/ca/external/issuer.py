"""An external CA as an `Issuer`: a request is stored before it is sent, a certificate is checked before it is kept.

A request goes through the states Sent -> (Waiting ->) Received -> Issued. When nobody knows what became of an attempt,
it is given up and another one is made. A certificate that comes later for an attempt that was given up is put aside and
revoked, so that an order never has two certificates (I2, I4, F19; decisions 14, 15).
"""

import asyncio
import hashlib
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.audit.facts import Fact
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.approval import Approvals
from chopmark.ca.external.ports import (
    Answer,
    Client,
    Denied,
    Ending,
    ExternalRequest,
    NotReached,
    Over,
    Received,
    Request,
    Requests,
    RequestState,
    Silent,
    Stored,
    Waiting,
)
from chopmark.ca.external.sentences import DENIED, GONE, NOT_OURS, SILENT, TELLS_MORE, UNNAMED, revoked_later
from chopmark.ca.ports import Certified, IssuanceRequest, Pending, Subject
from chopmark.core.clock import Clock, Entropy
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.messaging.ports import OutboxJob, OutboxJobKind
from chopmark.pki import received
from chopmark.pki.csr_names import names_of
from chopmark.pki.finding import Finding
from chopmark.pki.profile import Profile
from chopmark.pki.received import Anchors, Judged, Naming, Wanted
from chopmark.pki.x509 import serial_hex

if TYPE_CHECKING:
    from chopmark.ca.lint import Linter

UNKNOWN_FATE_AFTER = timedelta(seconds=20)
"""Longer than a client waits for an answer. An attempt without an answer by then is given up."""
LEASE = timedelta(seconds=30)
"""For how long one worker has a request to itself while it asks the CA about it."""
MOST_DOUBTS = 5
SOONEST_S, LATEST_S = 5, 3600


@dataclass(frozen=True, slots=True)
class ExternalCaTerms:
    """What is agreed with the CA: its title for customers, the trusted roots, the profiles and its names for them."""

    issuer: IssuerId
    title: str
    anchors: Anchors
    naming: Naming
    overlap: bool
    profiles: Mapping[str, Profile]
    called: Mapping[str, str]
    constants: Mapping[str, str]


class ExternalIssuer:
    """Implements `Issuer` with a client of an external CA."""

    def __init__(
        self,
        terms: ExternalCaTerms,
        client: Client,
        requests: Requests,
        audit_log: AuditLog,
        clock: Clock,
        entropy: Entropy,
        approvals: Approvals,
    ) -> None:
        self._approvals = approvals
        self.terms = terms
        self._client = client
        self._requests = requests
        self._audit_log = audit_log
        self._clock = clock
        self._entropy = entropy
        self._linter: Linter | None = None

    @property
    def name(self) -> str:
        """The CA's name as customers read it."""
        return self.terms.title

    @property
    def allows_overlap(self) -> bool:
        """Whether the old certificate may stay valid until the new one is proved; CA and profiles must allow it."""
        return self.terms.overlap and all(profile.overlap for profile in self.terms.profiles.values())

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        """The subject values each profile asks for, without those that are the firm's."""
        known = self.terms.constants.keys()
        return {name: profile.needs - known for name, profile in self.terms.profiles.items()}

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        """Return the profile's whole subject where the CA takes it from the customer's request (RFC 7030 s.4.2)."""
        if not self._client.csr_names:
            return ()
        try:
            return self._subject(profile, values)
        except ValueError:
            return ()

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Return the order's certificate; when the CA was asked already, only look at what is stored.

        Pending means that the CA has not answered yet, or that its answer was lost; `resume` goes on from there.
        """
        # 1. The order's audit records must show that the customer approved exactly this. `_begin` takes step 2.
        granted = await self._approvals.granted(issuance)
        if isinstance(granted, Refusal):
            return granted
        issuance = granted
        newest = await self._requests.newest(issuance.order)
        if newest is None:
            return await self._begin(issuance, None)
        known = self._known(newest)
        return known if known is not None else Pending(self._left(newest))

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        """Continue an order that has no certificate yet: ask the CA again, confirm again, or make another attempt."""
        granted = await self._approvals.granted(issuance)
        return granted if isinstance(granted, Refusal) else await self._resume(granted)

    async def _resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        newest = await self._requests.newest(issuance.order)
        if newest is None:
            return await self._begin(issuance, None)
        known = self._known(newest)
        if known is not None:
            return known
        now = self._clock.now()
        due = newest.next_at if newest.next_at is not None else newest.sent_at + UNKNOWN_FATE_AFTER
        if now < due:
            return Pending(self._left(newest))
        if newest.state is RequestState.GIVEN_UP:
            return SILENT if newest.doubts >= MOST_DOUBTS else await self._begin(issuance, newest)
        if newest.state is RequestState.SENT:
            await self._give_up(newest, "no_answer", doubt=True)
            return Pending(SOONEST_S)
        leased = replace(newest, next_at=now + LEASE)
        if await self._requests.change(newest, leased) is not Stored.YES:
            return Pending(1)
        return await self._go_on(issuance, _next(leased))

    async def revoke(self, serial: Serial, reason: str) -> None:
        """Have the CA revoke a certificate; a second call changes nothing.

        Raises Refused (UNAVAILABLE) while the CA cannot be asked.
        """
        request = await self._requests.by_serial(serial)
        if request is None or request.der is None or request.revoked_at is not None or request.by_hand:
            return
        if request.issuer == self.terms.issuer:
            ending = await self._client.revoke(request.der, reason)
        else:
            ending = Ending.BY_HAND  # a CA issued it that this installation is not connected to any more
        if ending is Ending.LATER:
            raise Refused(revoked_later())
        await self._ended(serial, reason, ending)

    async def _ended(self, serial: Serial, reason: str, ending: Ending) -> None:
        while True:
            request = await self._requests.by_serial(serial)
            if request is None or request.revoked_at is not None or request.by_hand:
                return
            done = ending is Ending.DONE
            state = RequestState.REVOKED if request.state is RequestState.ISSUED else request.state
            after = replace(
                request,
                state=state,
                reason=reason,
                revoked_at=self._clock.now() if done else None,
                by_hand=not done,
            )
            event = Event.CA_CERTIFICATE_REVOKED if done else Event.CA_REVOCATION_ASKED
            if await self._change(request, after, event, serial=serial, reason=reason) is Stored.YES:
                return

    # an order's request ------------------------------------------------------------------------------------------

    def _known(self, request: Request) -> Certified | Refusal | None:
        match request.state:
            case RequestState.ISSUED:
                return _certified(request)
            case RequestState.REVOKED:
                return GONE
            case RequestState.DENIED:
                return DENIED
            case RequestState.QUARANTINED:
                return NOT_OURS
            case _:
                return None

    def _left(self, request: Request) -> int:
        if request.next_at is None:
            return SOONEST_S
        return min(LATEST_S, max(1, -int(-(request.next_at - self._clock.now()).total_seconds() // 1)))

    async def _begin(self, issuance: IssuanceRequest, before: Request | None) -> Certified | Pending | Refusal:
        """Store an attempt, then send it; nothing is sent when it could not be stored."""
        # 2. [tx] Put the request on record, under a transaction id that only this attempt has.
        now = self._clock.now()
        request = Request(
            order=issuance.order,
            attempt=1 if before is None else before.attempt + 1,
            issuer=self.terms.issuer,
            transaction=self._entropy.token(16),
            profile=issuance.profile,
            spki_sha256=hashlib.sha256(issuance.spki_der).hexdigest(),
            state=RequestState.SENT,
            sent_at=now,
            doubts=0 if before is None else before.doubts,
        )
        asked = self._asked(issuance, request)
        if isinstance(asked, Refusal):
            return asked

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(
                Event.CA_REQUEST_SENT,
                issuer=request.issuer,
                profile=f"{issuance.profile}@{self.terms.profiles[issuance.profile].version}",
                attempt=request.attempt,
                spki_sha256=request.spki_sha256,
            )
            return await self._requests.begin(request, record)

        if not await self._audit_log.write(order_stream(request.order), attempt):
            return Pending(1)
        # 3. Ask the CA. Whatever comes back, or nothing, ends in `_answered`.
        return await self._answered(issuance, request, await self._client.request(asked))

    def _asked(self, issuance: IssuanceRequest, request: Request) -> ExternalRequest | Refusal:
        """Return what to ask for.

        Refused when the CA reads the customer's request (CSR) and the request names more than our own subject.
        """
        try:
            subject = self._subject(issuance.profile, issuance.subject)
        except ValueError:
            return UNNAMED
        if self._client.sends_csr:
            says, more = names_of(issuance.csr_der)
            fits = sorted(says) == sorted(subject) if self._client.csr_names and self._ours else True
            if more or not fits or not {short for short, _ in says} <= {short for short, _ in subject}:
                return TELLS_MORE
        called = self.terms.called.get(issuance.profile, issuance.profile)
        return ExternalRequest(
            request.transaction, issuance.csr_der, issuance.spki_der, subject, called, issuance.replaces
        )

    @property
    def _ours(self) -> bool:
        return self.terms.naming is Naming.OURS

    def _subject(self, profile: str, known: Mapping[str, str]) -> Subject:
        values = {**self.terms.constants, **known}
        return tuple((line.attribute, line.fill(values)) for line in self.terms.profiles[profile].subject)

    async def _go_on(self, issuance: IssuanceRequest, request: Request) -> Certified | Pending | Refusal:
        asked = self._asked(issuance, request)
        if isinstance(asked, Refusal):
            return asked
        if request.state is RequestState.RECEIVED:
            return await self._confirm(asked, request)
        return await self._answered(issuance, request, await self._client.poll(asked, request.ticket))

    async def _answered(
        self, issuance: IssuanceRequest, request: Request, answer: Answer
    ) -> Certified | Pending | Refusal:
        match answer:
            case Received():
                return await self._judge(issuance, request, answer)
            case Waiting():
                after_s = min(LATEST_S, max(1, answer.retry_after_s))
                after = request.waiting(answer.ticket or request.ticket, self._in(after_s))
                first = request.state is RequestState.SENT
                event = Event.CA_REQUEST_WAITING if first else None
                await self._change(request, after, event, issuer=request.issuer, retry_after_s=after_s)
                return Pending(after_s)
            case Denied():
                denied = request.denied(answer.code)
                stored = await self._change(
                    request, denied, Event.CA_REQUEST_REFUSED, issuer=request.issuer, code=answer.code
                )
                return DENIED if stored is Stored.YES else Pending(1)
            case NotReached():
                return await self._not_reached(request, answer)
            case Over():
                await self._give_up(request, answer.code, doubt=True)
                return Pending(SOONEST_S)
            case Silent():
                return Pending(SOONEST_S)  # `resume` asks again, or gives the attempt up

    async def _not_reached(self, request: Request, answer: NotReached) -> Pending:
        """Give an attempt up for which the CA has made nothing; when the CA has the request already, keep waiting."""
        if request.state is RequestState.SENT:
            await self._give_up(request, answer.code, doubt=False, after_s=answer.retry_after_s)
        return Pending(answer.retry_after_s or SOONEST_S)

    async def _give_up(self, request: Request, code: str, *, doubt: bool, after_s: int | None = None) -> None:
        wait = min(LATEST_S, after_s or min(300, SOONEST_S * 2 ** min(request.attempt, 10)))
        after = request.given_up(code, self._in(wait), doubt=doubt)
        await self._change(request, after, Event.CA_REQUEST_GIVEN_UP, issuer=request.issuer, code=code)

    def _in(self, seconds: int) -> datetime:
        return self._clock.now() + timedelta(seconds=seconds)

    # a certificate that came -------------------------------------------------------------------------------------

    async def _judge(
        self, issuance: IssuanceRequest, request: Request, answer: Received
    ) -> Certified | Pending | Refusal:
        """Check a certificate that came: keep it when it fits the order, and put it aside when it does not."""
        # 4. Compare key, names, profile, chain and signature with what was asked for; then let pkilint look.
        terms = self.terms
        wanted = Wanted(
            issuance.spki_der,
            self._subject(issuance.profile, issuance.subject),
            terms.naming,
            terms.profiles[issuance.profile],
        )
        judged = received.judge(answer.der, answer.offered, wanted, terms.anchors, self._clock.now())
        if not judged.findings:
            judged = Judged(judged.chain, await asyncio.to_thread(self._linted, answer.der))
        if judged.findings:
            revoke = received.is_asked_for(answer.der, wanted, terms.anchors)
            return await self._put_aside(issuance, request, answer, judged.codes, revoke=revoke)
        # 5. [tx] Keep the certificate. Without a confirmation in the protocol this is the end: it is issued.
        kept = _kept(request, answer, judged.chain)
        if not self._client.confirms:
            kept = replace(kept, state=RequestState.ISSUED)
        event = Event.CA_CERTIFICATE_RECEIVED if self._client.confirms else Event.CA_CERTIFICATE_ISSUED
        match await self._change(request, kept, event, serial=kept.serial, issuer=kept.issuer):
            case Stored.MOVED:
                return await self._late(issuance, request, answer)
            case Stored.KNOWN:
                return await self._put_aside(issuance, request, answer, "serial_known", revoke=False)
            case Stored.YES if not self._client.confirms:
                return _certified(kept)
        # 6. Where the protocol wants it, tell the CA that its certificate was accepted; `_confirm` then records it.
        asked = self._asked(issuance, request)
        return asked if isinstance(asked, Refusal) else await self._confirm(asked, _next(kept))

    async def _confirm(self, asked: ExternalRequest, request: Request) -> Certified | Pending:
        """Tell the CA that its certificate was accepted; when the CA does not confirm that, revoke the certificate.

        The customer sees the certificate only after the CA has confirmed. While the CA cannot be reached, Pending.
        """
        if request.der is None:
            raise ValueError(f"order {request.order}: a request was received without its certificate")
        ending = await self._client.accept(asked, Received(request.der, (), request.ticket))
        if ending is Ending.DONE:
            issued = replace(request, state=RequestState.ISSUED, next_at=None)
            event = Event.CA_CERTIFICATE_ISSUED
            stored = await self._change(request, issued, event, serial=request.serial, issuer=request.issuer)
            return _certified(issued) if stored is Stored.YES else Pending(1)
        if ending is Ending.LATER:
            await self._requests.change(request, replace(request, next_at=self._in(SOONEST_S)))
            return Pending(SOONEST_S)
        after = request.given_up("unconfirmed", self._in(SOONEST_S), doubt=True)
        works = (self._revocation(request.order, request.serial),) if request.serial is not None else ()
        await self._change(request, after, Event.CA_REQUEST_GIVEN_UP, works, serial=request.serial, code=after.code)
        return Pending(SOONEST_S)

    async def _late(self, issuance: IssuanceRequest, request: Request, answer: Received) -> Pending:
        """Put a certificate aside, and have it revoked, whose attempt was given up meanwhile; the order tries again."""
        newest = await self._requests.newest(issuance.order)
        if newest is not None and newest.attempt == request.attempt and newest.state is RequestState.GIVEN_UP:
            orphan = replace(
                _kept(newest, answer, ()), state=RequestState.GIVEN_UP, code="late", next_at=newest.next_at
            )
            works = (self._revocation(request.order, orphan.serial),) if orphan.serial is not None else ()
            await self._change(newest, orphan, Event.CA_CERTIFICATE_ORPHANED, works, serial=orphan.serial)
        return Pending(1)

    async def _put_aside(
        self, issuance: IssuanceRequest, request: Request, answer: Received, code: str, *, revoke: bool
    ) -> Pending | Refusal:
        """Store a certificate that does not fit as quarantined, and tell the CA; no customer sees it.

        With `revoke` it is also revoked, unless another order or attempt has the same serial.
        """
        serial = _serial(answer.der)
        known = None if serial is None else await self._requests.by_serial(serial)
        others = known is not None and (known.order, known.attempt) != (request.order, request.attempt)
        after = request.quarantined(code, serial, answer.der)
        works = (self._revocation(request.order, serial),) if revoke and serial is not None and not others else ()
        event = Event.CA_CERTIFICATE_QUARANTINED
        stored = await self._change(request, after, event, works, serial=serial, issuer=request.issuer, code=code)
        asked = self._asked(issuance, request)
        if not isinstance(asked, Refusal):
            await self._client.reject(asked, answer)
        return NOT_OURS if stored is Stored.YES else Pending(1)

    def _linted(self, der: bytes) -> tuple[Finding, ...]:
        """Return what pkilint calls an error; warnings are allowed in a certificate of an external CA."""
        if self._linter is None:
            from chopmark.ca.lint import Linter  # noqa: PLC0415 - pkilint is heavy

            self._linter = Linter()
        found = self._linter.findings_certificate(der)
        return tuple(received.misfit(f"lint.{one.code}") for one in found if one.is_error)

    def _revocation(self, order: OrderId, serial: Serial) -> OutboxJob:
        return OutboxJob(
            id=b32encode(self._entropy.token(16)).rstrip(b"=").decode(),
            kind=OutboxJobKind.REVOKE,
            customer=None,
            order=order,
            challenge=None,
            channel=None,
            contact_version=None,
            facts={"serial": serial, "reason": "cessation_of_operation"},
            attempts=0,
            not_before=self._clock.now(),
            expires_at=None,
        )

    async def _change(
        self, before: Request, after: Request, event: Event | None, works: tuple[OutboxJob, ...] = (), **facts: Fact
    ) -> Stored:
        if event is None:
            return await self._requests.change(before, after, None, works)

        async def attempt(builder: RecordBuilder) -> Stored:
            return await self._requests.change(before, after, builder.record(event, **facts), works)

        return await self._audit_log.write(order_stream(before.order), attempt)


def _next(request: Request) -> Request:
    """Return a request with the version that it has after the change was stored."""
    return replace(request, version=request.version + 1)


def _serial(der: bytes) -> Serial | None:
    try:
        number = x509.load_der_x509_certificate(der).serial_number
    except ValueError:
        return None
    return Serial(serial_hex(number)) if number > 0 else None


def _kept(request: Request, answer: Received, chain: tuple[bytes, ...]) -> Request:
    """Return the request in the state RECEIVED, with the certificate that came for it."""
    record = x509.load_der_x509_certificate(answer.der)
    return replace(
        request,
        state=RequestState.RECEIVED,
        ticket=answer.ticket,
        next_at=None,
        serial=_serial(answer.der),
        der=answer.der,
        chain=chain,
        not_before=record.not_valid_before_utc,
        not_after=record.not_valid_after_utc,
    )


def _certified(request: Request) -> Certified:
    if request.serial is None or request.der is None or request.not_before is None or request.not_after is None:
        raise ValueError(f"order {request.order}: a certificate is on record without its bytes")
    return Certified(
        request.serial, request.der, request.chain, request.spki_sha256, request.not_before, request.not_after
    )
