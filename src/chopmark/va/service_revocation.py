"""Revokes the certificate of an OCSP responder or of the time-stamp authority; two people have to ask for it.

The service gets a new key and certificate in the same transaction. The issuer's next revocation list contains the old
certificate. The names `withdraw` and `withdrawn` stand for this revocation.
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
    """The service that a certificate is for."""

    RESPONDER = "responder"
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Service:
    """A service as it is now: its kind, its issuer, its certificate, DER, and its audit stream (`stream`).

    `certified` returns a new certificate, DER, for a key (SubjectPublicKeyInfo) with the subject of the present one.
    """

    kind: ServiceKind
    issuer: IssuerId
    certificate: bytes
    stream: StreamId
    certified: Callable[[bytes], Awaitable[bytes]]

    @property
    def serial(self) -> Serial:
        """The serial number of the present certificate."""
        return serial_of(self.certificate)


@dataclass(frozen=True, slots=True)
class RevokedService:
    """A revoked certificate of a service; `at` is aware UTC, `reason` a name from RFC 5280 s.5.3.1."""

    kind: ServiceKind
    issuer: IssuerId
    serial: Serial
    not_after: datetime
    at: datetime
    reason: str


class ServiceRevocationRecords(Protocol):
    """Stores which certificates of our services were revoked."""

    async def withdrawn(self) -> list[RevokedService]:
        """Return all revoked certificates of services, newest first."""
        ...

    async def withdraw(
        self, gone: RevokedService, before: bytes, after: ServiceKey, records: tuple[AuditRecord, AuditRecord]
    ) -> bool:
        """Revoke `before`, DER, replace it by `after`, and write both audit records, in one transaction.

        The answers that a revoked responder signed ahead become due again at once. Returns False, and changes nothing,
        if `before` is no longer the service's certificate.
        """
        ...


class ServiceRevocation:
    """Revokes certificates of services.

    `new_key` makes a new key for a service; its number says which key of this service and CA it is, from 2.
    """

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
        """Return the revoked certificates, newest first."""
        return await self._records.withdrawn()

    async def withdraw(self, service: Service, reason: str, by: str, approved_by: str) -> bytes | None:
        """Revoke the service's certificate and return the new one, DER.

        Returns None, and changes nothing, if the service has another certificate meanwhile. The caller must have
        checked that `by` and `approved_by` are two people.
        """
        # 1. Make a new key.
        before = [one for one in await self._records.withdrawn() if (one.kind, one.issuer) == _of(service)]
        signer, stored = await asyncio.to_thread(self._new_key, service, len(before) + 2)
        # 2. Make a certificate for it.
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

        # 3. In one transaction, revoke the old certificate, replace it by the new one and write two audit records.
        return made if await self._audit_log.write(service.stream, attempt) else None


def _of(service: Service) -> tuple[ServiceKind, IssuerId]:
    return service.kind, service.issuer
