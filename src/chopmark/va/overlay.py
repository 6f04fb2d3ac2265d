"""Adds to the certificate status in the database what only the journal still has after a restore.

A certificate that is revoked or on hold by the journal is never answered as good, whatever the database says. Its
status version differs from the one in the database, so that no answer is given that was kept or signed ahead for the
database's status.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from chopmark.audit.journal import Deed, Line
from chopmark.audit.record import AuditRecord
from chopmark.core.types import CertificateState, IssuerId, Serial
from chopmark.va.ports import Crl, CrlShard, Due, Ended, ServiceKey, Signed, Status, StatusRecords

BESIDE = 1 << 40
"""Added to the status version of an overlaid status; no certificate changes its status so often."""
_ENDS = {Deed.REVOKED: CertificateState.REVOKED, Deed.HELD: CertificateState.HELD}


class Lacking(Protocol):
    """Tells what the journal has and the database lacks."""

    def overlay(self, serial: Serial) -> Line | None:
        """Return the change of status of this serial that the journal has and the database lacks, or None."""
        ...

    def overlays(self) -> tuple[Line, ...]:
        """Return all changes of status that the journal has and the database lacks."""
        ...

    def made(self, serial: Serial) -> bool:
        """Tell whether the journal has the certificate of a serial that the database does not know at all."""
        ...


class Overlaid:
    """Implements `va.ports.StatusRecords` over the database's records and the journal."""

    def __init__(self, records: StatusRecords, lacking: Lacking) -> None:
        self._records = records
        self._lacking = lacking

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        """Return the status of a serial from the journal or else from the database; None if it was never reserved.

        The database is read first: if it loses a change meanwhile, the journal's lines show that change at the same
        time or a second later.
        """
        return self._over(issuer, serial, await self._records.status(issuer, serial))

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        """Return the answer that was signed ahead for a CertID with this hash (sha1 or sha256), if any."""
        return await self._records.signed(issuer, serial, algorithm)

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return unexpired certificates whose answers are missing, older than a change, or past half their life."""
        return [
            replace(due, status=self._over(issuer, due.serial, due.status) or due.status)
            for due in await self._records.due(issuer, now, limit)
        ]

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return the earliest time at which answers are, or were, due to be signed; None without certificates."""
        return await self._records.oldest_due(issuer)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        """Return the OCSP responder's present certificate, DER; None for an unknown issuer."""
        return await self._records.responder_certificate(issuer)

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        """Return the OCSP responder's present certificate and key; None for an unknown issuer."""
        return await self._records.responder_key(issuer)

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Replace the responder's certificate `before` by `after`; False if `before` is no longer the present one."""
        return await self._records.renew_responder(issuer, before, after, record)

    async def note(self, record: AuditRecord) -> None:
        """Write an audit record that belongs to no other change."""
        await self._records.note(record)

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        """Return a shard's ended certificates by serial, if they expired or were ended later than `keep_after`."""
        there = {one.serial: one for one in await self._records.ended(issuer, shard, keep_after)}
        for line in self._lines(issuer, shard):
            if line.until > keep_after or line.at > keep_after:
                at = there[line.serial].at if line.serial in there else line.at
                there[line.serial] = Ended(line.serial, at, line.reason or "unspecified")
        return sorted(there.values(), key=lambda one: one.serial)

    async def crl(self, issuer: IssuerId, shard: int) -> Crl | None:
        """Return the published list of a shard, if any."""
        return await self._records.crl(issuer, shard)

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        """Return what is published of a shard, and whether its status has changed since, without the list itself.

        A change that only the journal has counts as something beside. A revocation counts twice, so that the number
        also changes when it takes the place of a hold.
        """
        found = await self._records.shard(issuer, shard)
        more = sum(1 + (line.deed is Deed.REVOKED) for line in self._lines(issuer, shard))
        return replace(found, beside=found.beside + more)

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        """Store a list; False if there is one with the same or a higher number already (numbers only rise)."""
        return await self._records.publish(issuer, shard, crl, record)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a certificate's status has changed, at most for the timeout."""
        return await self._records.wait(timeout_s)

    def _lines(self, issuer: IssuerId, shard: int) -> Iterator[Line]:
        for line in self._lacking.overlays():
            if line.deed in _ENDS and (line.issuer, line.shard) == (issuer, shard):
                yield line

    def _over(self, issuer: IssuerId, serial: Serial, found: Status | None) -> Status | None:
        line = self._lacking.overlay(serial)
        if line is not None and line.issuer == issuer and line.deed in _ENDS:
            at, status_version = (line.at, 0) if found is None else (found.ended_at or line.at, found.status_version)
            return Status(_ENDS[line.deed], at, line.reason, BESIDE + status_version)
        if found is None and self._lacking.made(serial):
            return Status(CertificateState.ISSUED, None, None, BESIDE)
        return found
