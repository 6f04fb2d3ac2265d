"""Revoking a certificate for the firm's own reasons: a death, a closed account, a court order; it takes two people."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, customer_stream, order_stream
from chopmark.ca.ports import Issuer
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import Serial, text
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.context import RaContext
from chopmark.ra.imported import Fingerprint
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.refusals import two_people
from chopmark.ra.revocation import Revocation
from chopmark.ra.suspension import NO_CERTIFICATE
from chopmark.tw.person_id import PersonId, PersonIdKind, parse_person_id


class Grounds(StrEnum):
    """Why the firm revokes a certificate."""

    DEATH = "death"
    CLOSED_ACCOUNT = "closed-account"
    COURT = "court"


CA_REASON = {
    Grounds.DEATH: "cessation_of_operation",
    Grounds.CLOSED_ACCOUNT: "cessation_of_operation",
    Grounds.COURT: "privilege_withdrawn",
}
"""The revocation reason that the CA publishes (RFC 5280 s.5.3.1)."""
_PAPER = re.compile(r"[0-9A-Za-z\u4e00-\u9fff][0-9A-Za-z\u4e00-\u9fff./-]{0,39}")


class Endings(Protocol):
    """Revokes certificates in the store, each in one transaction with its record."""

    async def end(
        self, serial: Serial, reason: str, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Revoke a certificate that is issued, active or on hold, and end its open order; False in any other state."""
        ...

    async def end_imported(
        self, fingerprint: Fingerprint, reason: str, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Revoke an imported certificate that is active or on hold, and note that its own CA is to be asked for it."""
        ...


class FirmRevocation:
    """Revokes a certificate that its customer cannot, or may not, revoke."""

    def __init__(self, context: RaContext, records: Endings, issuer: Issuer, revocation: Revocation) -> None:
        self._context = context
        self._records = records
        self._issuer = issuer
        self._revocation = revocation

    async def revoke(
        self, serial: Serial, grounds: Grounds, paper: str, by: str, approved_by: str
    ) -> SubscriberCertificate:
        """Revoke the certificate for good and return it; `paper` is the firm's own file number of the paper document.

        `serial` may be the fingerprint of an imported certificate: its own CA is asked as after a renewal, by a client
        or by people (`ra.former_revocation`).

        Raises Refused: MALFORMED, FORBIDDEN (I32), NOT_FOUND, CONFLICT for a certificate that has ended already, and
        UNAVAILABLE if only the CA could not be told: then the worker tells it by the outbox row as soon as it answers.
        """
        context = self._context
        # 1. Two different people, and a file number that is no person's id number.
        await two_people(context, by, approved_by, "certificate_revocation")
        person = parse_person_id(paper)
        natural = isinstance(person, PersonId) and person.kind is not PersonIdKind.COMPANY
        if _PAPER.fullmatch(paper) is None or natural:
            raise Refused(_PAPER_WANTED)
        certificate = await context.certificates.get(serial)
        if certificate is None:
            raise Refused(NO_CERTIFICATE)
        reason = CA_REASON[grounds]
        notices = await context.notice(certificate.customer, "revoked", None, serial=serial)
        ours = certificate.former is None
        asked = (context.revoke_work(serial, reason, certificate.customer, certificate.order),) if ours else ()
        stream = order_stream(certificate.order) if ours else customer_stream(certificate.customer)

        # 2. [tx] The certificate is revoked and its order ends; record, notice and outbox row.
        async def attempt(builder: RecordBuilder) -> bool:
            told = {"serial": serial, "reason": grounds.value, "paper": paper, "by": by, "approved_by": approved_by}
            record = builder.record(Event.STAFF_CERTIFICATE_REVOKED, **told)
            works = (*notices, *asked)
            if ours:
                return await self._records.end(serial, reason, context.now(), works, record)
            return await self._records.end_imported(Fingerprint(serial), reason, context.now(), works, record)

        if not await context.audit_log.write(stream, attempt):
            raise Refused(_OVER)
        # 3. The renewals that build on it end, before the CA is told: whether it answers does not matter for them.
        await self._revocation.end_renewals(certificate.customer, serial)
        # 4. The CA revokes.
        if ours:
            await self._issuer.revoke(serial, reason)
        return await context.certificates.get(serial) or certificate


_OVER = Refusal(
    Kind.CONFLICT,
    text("This certificate has ended already; nothing was changed."),
    field="serial",
    code="over",
)
_PAPER_WANTED = Refusal(
    Kind.MALFORMED,
    text("Name the paper by your own file number: 1 to 40 letters, digits, dots, hyphens and slashes; no ID number."),
    field="paper",
    code="paper",
)
