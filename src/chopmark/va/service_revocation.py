"""Revoking a certificate of our own services, an OCSP responder's or the time-stamp authority's, by two people.

Its successor has a key of its own and takes over in the same transaction; the issuer's next list names the old one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog, RecordBuilder
from chopmark.audit.record import AuditRecord, StreamId
from chopmark.core.clock import Clock
from chopmark.core.types import IssuerId, Serial
from chopmark.keys.ports import Signer
from chopmark.pki.x509 import not_after, serial_of
from chopmark.va.ports import ServiceKey


class ServiceKind(StrEnum):
    """Which service a certificate is for."""

    RESPONDER = "responder"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is now: `certified` returns a certificate, DER, for a key (SubjectPublicKeyInfo) in its name."""

    kind: ServiceKind
    issuer: IssuerId
    certificate: bytes
    chain: StreamId
    certified: Callable[[bytes], Awaitable[bytes]]

    @property
    def serial(self) -> Serial:
        """The serial number of its present certificate."""
        return serial_of(self.certificate)


@dataclass(frozen=True, slots=True)
class RevokedService:
    """A certificate that was revoked; `at` is aware UTC, `reason` an RFC 5280 s.5.3.1 name."""

    kind: ServiceKind
    issuer: IssuerId
    serial: Serial
    not_after: datetime
    at: datetime
    reason: str


class ServiceRevocationRecords(Protocol):
    """Keeps which certificates of our services were revoked."""

    async def withdrawn(self) -> list[RevokedService]:
        """Return all of them, newest first."""
        ...

    async def withdraw(
        self, gone: RevokedService, before: bytes, after: ServiceKey, records: tuple[AuditRecord, AuditRecord]
    ) -> bool:
        """Revoke `before`, DER, and put its successor in its place, with both records, in one transaction.

        Answers that a withdrawn responder signed ahead are due again at once. False when another is there meanwhile.
        """
        ...


class ServiceRevocation:
    """Revokes certificates of services; `new_key` makes the how-manieth key of a service of one CA (from 2)."""

    def __init__(
        self,
        records: ServiceRevocationRecords,
        new_key: Callable[[Service, int], tuple[Signer, bytes]],
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._records = records
        self._new_key = new_key
        self._audit_log = audit_log
        self._clock = clock

    async def withdrawn(self) -> list[RevokedService]:
        """Return what was revoked, newest first."""
        return await self._records.withdrawn()

    async def withdraw(self, service: Service, reason: str, by: str, approved_by: str) -> bytes | None:
        """Return the successor's certificate, DER; None when another certificate was put in its place meanwhile.

        1 a new key  2 its certificate  3 [tx] the old one revoked, the new one in its place, two records. The caller
        has seen that these are two people.
        """
        before = [one for one in await self._records.withdrawn() if (one.kind, one.issuer) == _of(service)]
        signer, stored = await asyncio.to_thread(self._new_key, service, len(before) + 2)
        made = await service.certified(signer.public_key_der)
        now = self._clock.now()
        gone = RevokedService(service.kind, service.issuer, service.serial, not_after(service.certificate), now, reason)
        changed = {
            ServiceKind.RESPONDER: Event.VA_RESPONDER_CHANGED,
            ServiceKind.TIMESTAMP: Event.VA_TIMESTAMP_CHANGED,
        }[service.kind]

        async def attempt(builder: RecordBuilder) -> bool:
            ended = builder.record(
                Event.CA_CERTIFICATE_REVOKED,
                serial=gone.serial,
                issuer=gone.issuer,
                reason=reason,
                by=by,
                approved_by=approved_by,
            )
            begun = builder.after(ended).record(
                changed, serial=serial_of(made), issuer=gone.issuer, old_serial=gone.serial
            )
            after = ServiceKey(made, stored)
            return await self._records.withdraw(gone, service.certificate, after, (ended, begun))

        return made if await self._audit_log.write(service.chain, attempt) else None


def _of(service: Service) -> tuple[ServiceKind, IssuerId]:
    return service.kind, service.issuer
