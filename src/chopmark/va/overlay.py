"""Certificate status as the journal knows it where the database has forgotten: over the records, for every answer.

A serial that the journal says is revoked or on hold is never good, whatever the database says. It has other turns
than the database's record, so that nothing is given that was kept or signed ahead for that record.
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
"""Added to the turns of an overlaid record: no certificate turns so often."""
_ENDS = {Deed.REVOKED: CertificateState.REVOKED, Deed.HELD: CertificateState.HELD}


class Lacking(Protocol):
    """What the database lacks of the journal."""

    def overlay(self, serial: Serial) -> Line | None:
        """Return the change of status that the journal has of a serial and the database lacks."""
        ...

    def overlays(self) -> tuple[Line, ...]:
        """Return all of them."""
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
        """Return what is on record of a serial, or in the journal; None when it was never reserved.

        The database is read first: what it forgot meanwhile is in the journal's lines by then, or a second later.
        """
        return self._over(issuer, serial, await self._records.status(issuer, serial))

    async def signed(self, issuer: IssuerId, serial: Serial, algorithm: str) -> Signed | None:
        """Return the answer that was signed ahead for a CertID of this hash (sha1 or sha256), if any."""
        return await self._records.signed(issuer, serial, algorithm)

    async def due(self, issuer: IssuerId, now: datetime, limit: int) -> list[Due]:
        """Return certificates, not yet expired, whose answers are missing, of before a change, or past half life."""
        return [
            replace(due, status=self._over(issuer, due.serial, due.status) or due.status)
            for due in await self._records.due(issuer, now, limit)
        ]

    async def oldest_due(self, issuer: IssuerId) -> datetime | None:
        """Return when the certificate is, or was, due that is due first; None without any."""
        return await self._records.oldest_due(issuer)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        """Return the OCSP responder's present certificate, DER; None for an issuer that is not here."""
        return await self._records.responder_certificate(issuer)

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        """Return the OCSP responder's present certificate and key; None for an issuer that is not here."""
        return await self._records.responder_key(issuer)

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Put a responder's certificate in the place of `before`; False when another is there meanwhile."""
        return await self._records.renew_responder(issuer, before, after, record)

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        await self._records.note(record)

    async def ended(self, issuer: IssuerId, shard: int, keep_after: datetime) -> list[Ended]:
        """Return the certificates of a shard, by serial, that were valid or were ended later than `keep_after`."""
        there = {one.serial: one for one in await self._records.ended(issuer, shard, keep_after)}
        for line in self._lines(issuer, shard):
            if line.until > keep_after or line.at > keep_after:
                at = there[line.serial].at if line.serial in there else line.at
                there[line.serial] = Ended(line.serial, at, line.reason or "unspecified")
        return sorted(there.values(), key=lambda one: one.serial)

    async def shard(self, issuer: IssuerId, shard: int) -> CrlShard:
        """Return the published list of a shard, if any, and how often something was changed in it.

        A change that the journal alone has counts as well, a revocation twice: one that comes after a hold differs.
        """
        found = await self._records.shard(issuer, shard)
        more = sum(1 + (line.deed is Deed.REVOKED) for line in self._lines(issuer, shard))
        return replace(found, status_version=found.status_version + more)

    async def publish(self, issuer: IssuerId, shard: int, crl: Crl, record: AuditRecord) -> bool:
        """Store a list; False when one with the same or a higher number is there (numbers only rise)."""
        return await self._records.publish(issuer, shard, crl, record)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a certificate's status changed, or the timeout."""
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
