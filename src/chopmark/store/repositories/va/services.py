"""Revoked certificates of our own OCSP responders and time-stamp authorities."""

from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId, Serial
from chopmark.store.engine.columns import moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Notify, Script, query
from chopmark.store.repositories.ca.certificates import STATUS_CHANNEL
from chopmark.store.repositories.records import append
from chopmark.va.ports import ServiceKey
from chopmark.va.service_revocation import RevokedService, ServiceKind

_ALL = (
    "SELECT serial, issuer, kind, not_after, ended_at, reason FROM service_revocations ORDER BY ended_at DESC, serial"
)
_REPLACE = {
    ServiceKind.RESPONDER: """
UPDATE issuers SET responder_certificate = :after, responder_key_pem = :stored
WHERE id = :issuer AND responder_certificate = :before RETURNING id
""",
    ServiceKind.TIMESTAMP: """
UPDATE timestamp_keys SET certificate = :after, stored_key = :stored
WHERE issuer = :issuer AND certificate = :before RETURNING issuer
""",
}
_REVOKE = """
INSERT INTO service_revocations (serial, issuer, kind, not_after, ended_at, reason)
VALUES (:serial, :issuer, :kind, :not_after, :now, :reason)
"""
_SIGN_AGAIN = """
UPDATE certificates SET turns = turns + 1, answer_due = :now
WHERE issuer = :issuer AND state <> 'reserved' AND not_after > :now
"""
"""Makes all answers that were signed ahead outdated, so that they are neither given nor stored any more."""


class ServiceCertificateRepository:
    """Implements `va.service_revocation.ServiceRevocationRecords`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def withdrawn(self) -> list[RevokedService]:
        """Return all revoked service certificates, newest first."""

        def script() -> Script[list[RevokedService]]:
            return [
                RevokedService(
                    ServiceKind(row["kind"]),
                    IssuerId(row["issuer"]),
                    Serial(row["serial"]),
                    moment(row["not_after"]),
                    moment(row["ended_at"]),
                    row["reason"],
                )
                for row in (yield query(_ALL))
            ]

        return await self._engine.read(script)

    async def withdraw(
        self, gone: RevokedService, before: bytes, after: ServiceKey, records: tuple[AuditRecord, AuditRecord]
    ) -> bool:
        """Revoke a certificate and replace it by its successor. False when it was replaced by another one meanwhile."""

        def script() -> Script[bool]:
            key = {"after": after.certificate, "stored": after.stored_key}
            if not (yield query(_REPLACE[gone.kind], issuer=gone.issuer, before=before, **key)):
                return False
            yield query(
                _REVOKE,
                serial=gone.serial,
                issuer=gone.issuer,
                kind=gone.kind.value,
                not_after=ms(gone.not_after),
                now=ms(gone.at),
                reason=gone.reason,
            )
            if gone.kind is ServiceKind.RESPONDER:
                yield query(_SIGN_AGAIN, issuer=gone.issuer, now=ms(gone.at))
            for record in records:
                yield from append(record)
            yield Notify(STATUS_CHANNEL)
            return True

        return await self._engine.run(script)
