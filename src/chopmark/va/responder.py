"""Answering OCSP requests (RFC 6960, RFC 9654): bytes in, bytes out.

An answer says good only for what was issued; a reserved serial is unknown to the world until then, an orphaned one is
revoked. Answers without a nonce are kept until half their life is over or something was revoked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from chopmark.clock import Clock
from chopmark.errors import Refused
from chopmark.pki import ocsp
from chopmark.pki.crl import CrlReason
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import IssuerView, serial_hex
from chopmark.va.ports import Status, StatusRecords
from chopmark.words import CertificateState, Serial

LIFE = timedelta(hours=24)
REASONS = {
    "unspecified": CrlReason.UNSPECIFIED,
    "key_compromise": CrlReason.KEY_COMPROMISE,
    "superseded": CrlReason.SUPERSEDED,
    "cessation_of_operation": CrlReason.CESSATION_OF_OPERATION,
    "certificate_hold": CrlReason.CERTIFICATE_HOLD,
}


@dataclass(frozen=True, slots=True)
class ResponderKey:
    """A delegated responder: the issuer it answers for, its certificate and key, and when that certificate ends."""

    issuer: IssuerView
    certificate_der: bytes
    key: IssuerKey
    not_after: datetime


@dataclass(frozen=True, slots=True)
class OcspAnswer:
    """An OCSP response, DER, and how long a cache may keep it (None: not at all)."""

    der: bytes
    produced_at: datetime | None = None
    next_update: datetime | None = None


class Responder:
    """Answers for one issuing CA."""

    def __init__(self, key: ResponderKey, records: StatusRecords, clock: Clock) -> None:
        self._key = key
        self._records = records
        self._clock = clock

    async def answer(self, request_der: bytes) -> OcspAnswer:
        """Return the answer to a request; errors are answers too, and never a signature past the responder's life."""
        request = ocsp.parse_request(request_der)
        if isinstance(request, ocsp.Malformed):
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.MALFORMED_REQUEST))
        now = self._clock.now().replace(microsecond=0)
        if not all(ocsp.matches(asked, self._key.issuer) for asked in request.cert_ids):
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.UNAUTHORIZED))
        next_update = min(now + LIFE, self._key.not_after)
        if next_update <= now:
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.TRY_LATER))
        try:
            statuses = [await self._status(asked.serial) for asked in request.cert_ids]
        except Refused:
            return OcspAnswer(ocsp.error_response(ocsp.ErrorStatus.TRY_LATER))
        answers = [
            ocsp.Answer(asked.der, status, now, next_update)
            for asked, status in zip(request.cert_ids, statuses, strict=True)
        ]
        der = ocsp.build_response(self._key.key, self._key.certificate_der, answers, now, request.nonce)
        return OcspAnswer(der, now, next_update) if request.nonce is None else OcspAnswer(der)

    async def _status(self, serial: int) -> ocsp.Status:
        found = await self._records.status(self._key.issuer.id, Serial(serial_hex(serial))) if serial > 0 else None
        return told(found)


def told(found: Status | None) -> ocsp.Status:
    """Return what the world is told of a record: good begins with issued (I27)."""
    if found is None or found.state is CertificateState.RESERVED:
        return ocsp.Unknown()
    if found.ended_at is not None:
        reason = REASONS.get(found.reason or "", CrlReason.UNSPECIFIED)
        return ocsp.Revoked(found.ended_at.replace(microsecond=0), reason)
    return ocsp.Good()
