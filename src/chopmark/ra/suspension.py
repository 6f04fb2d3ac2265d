"""Putting one certificate on hold and releasing it: two people at the firm do it, and the customer is told.

The RA's own record decides. The CA is told at once; if that fails, the worker tells it by the outbox row.
"""

from datetime import datetime
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import AuditRecord, customer_stream, order_stream
from chopmark.ca.ports import Suspender
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, Serial, text
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.context import RaContext
from chopmark.ra.imported import Fingerprint
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.refusals import two_people


class Suspensions(Protocol):
    """Stores holds of certificates; each method is one transaction with its record."""

    async def hold(self, serial: Serial, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """Put an active certificate on hold; False in any other state."""
        ...

    async def release(self, serial: Serial, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """Give a held certificate the state that it had before: active, or issued if it is still to be proved.

        Return False when it is not on hold, its key is blocked, or the customer has another active one meanwhile.
        """
        ...

    async def hold_imported(
        self, fingerprint: Fingerprint, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Put an active imported certificate on hold; False in any other state."""
        ...

    async def release_imported(
        self, fingerprint: Fingerprint, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Make a held imported certificate active again.

        Return False when it is not on hold, its key is blocked, or the customer has an active one of ours meanwhile.
        """
        ...


class Suspension:
    """Holds and releases certificates; `ca` is None if the CA has no holds, and then only the RA records them."""

    def __init__(self, context: RaContext, records: Suspensions, ca: Suspender | None) -> None:
        self._context = context
        self._records = records
        self._ca = ca

    async def hold(self, serial: Serial, by: str, approved_by: str) -> SubscriberCertificate:
        """Put the certificate on hold and return it; until it is released, OCSP and revocation lists call it revoked.

        `serial` may be the fingerprint of an imported certificate. It is on hold here only: no protocol asks another CA
        for a hold, so what its own CA answers stays as it is.

        Raises Refused: NOT_FOUND for an unknown serial, CONFLICT when the certificate is not active, MALFORMED and
        FORBIDDEN unless two different people are named (I32).
        """
        await two_people(self._context, by, approved_by, "certificate_hold")
        certificate = await self._certificate(serial)
        if certificate.former is not None:
            return await self._imported(certificate, by, approved_by, held=True)
        works = await self._works(certificate, "certificate_held")

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_CERTIFICATE_HELD, serial=serial, by=by, approved_by=approved_by)
            return await self._records.hold(serial, self._context.now(), works, record)

        if not await self._context.audit_log.write(order_stream(certificate.order), attempt):
            raise Refused(_NOT_IN_FORCE)
        await self.at_ca(serial)
        return await self._certificate(serial)

    async def release(self, serial: Serial, by: str, approved_by: str) -> SubscriberCertificate:
        """Release the certificate from its hold and return it; raises as `hold` does.

        `serial` may be the fingerprint of an imported certificate, which its customer has reported as lost or the firm
        has put on hold. Its own CA was not told of the hold, so it is not told of the release.
        """
        await two_people(self._context, by, approved_by, "certificate_release")
        certificate = await self._certificate(serial)
        if certificate.former is not None:
            return await self._imported(certificate, by, approved_by, held=False)
        works = await self._works(certificate, "certificate_released")

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(Event.RA_CERTIFICATE_RELEASED, serial=serial, by=by, approved_by=approved_by)
            return await self._records.release(serial, works, record)

        if not await self._context.audit_log.write(order_stream(certificate.order), attempt):
            raise Refused(_NOT_RELEASED)
        await self.at_ca(serial)
        return await self._certificate(serial)

    async def _imported(
        self, certificate: SubscriberCertificate, by: str, approved_by: str, *, held: bool
    ) -> SubscriberCertificate:
        context, serial, found = self._context, certificate.serial, Fingerprint(certificate.serial)
        template = "certificate_held" if held else "certificate_released"
        works = await context.notice(certificate.customer, template, None, serial=serial)
        event = Event.RA_CERTIFICATE_HELD if held else Event.RA_CERTIFICATE_RELEASED

        async def attempt(builder: RecordBuilder) -> bool:
            record = builder.record(event, serial=serial, by=by, approved_by=approved_by)
            if held:
                return await self._records.hold_imported(found, context.now(), works, record)
            return await self._records.release_imported(found, works, record)

        if not await context.audit_log.write(customer_stream(certificate.customer), attempt):
            raise Refused(_NOT_IN_FORCE if held else _NOT_RELEASED)
        return await self._certificate(serial)

    async def at_ca(self, serial: Serial) -> None:
        """Make the CA hold or release the certificate, as our record says; safe to repeat.

        The worker calls this for a HOLD outbox row. The record is read again after the CA was told, and the CA is told
        again if it has changed: so of two calls at the same time the last one tells the CA the present state.
        """
        if self._ca is None:
            return
        told: CertificateState | None = None
        while (state := (await self._certificate(serial)).state) is not told:
            told = state
            if state is CertificateState.HELD:
                await self._ca.hold(serial)
            elif state in {CertificateState.ACTIVE, CertificateState.ISSUED}:
                await self._ca.release(serial)

    async def _certificate(self, serial: Serial) -> SubscriberCertificate:
        certificate = await self._context.certificates.get(serial)
        if certificate is None:
            raise Refused(NO_CERTIFICATE)
        return certificate

    async def _works(self, certificate: SubscriberCertificate, template: str) -> tuple[OutboxJob, ...]:
        notices = await self._context.notice(certificate.customer, template, None, serial=certificate.serial)
        return (*notices, self._context.hold_work(certificate.serial, certificate.customer, certificate.order))


NO_CERTIFICATE = Refusal(Kind.NOT_FOUND, text("Nobody holds a certificate with this serial number."), field="serial")
_NOT_IN_FORCE = Refusal(
    Kind.CONFLICT,
    text("Only a certificate in force can be put on hold; this one is not."),
    field="serial",
    code="not_in_force",
)
_NOT_RELEASED = Refusal(
    Kind.CONFLICT,
    text(
        "This certificate cannot be released: it is not on hold, it was replaced, or its key is blocked. "
        "The customer may apply for a new one."
    ),
    field="serial",
    code="not_on_hold",
)
