"""Imported certificates of former issuers. Rows of a run that is not finished are never read here."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import AccountNumber, CustomerId, Serial
from chopmark.ra.imported import Fingerprint, ImportedCertificate, ImportedState, Way
from chopmark.store.engine.columns import moment, moment_or_none, ms, unblobs
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, guard, whole
from chopmark.store.repositories.records import write_with_record

IMPORTED = """i.fingerprint, i.issuer, i.serial, i.customer, i.account, i.profile, i.way, i.spki_sha256, i.der, i.chain,
  i.not_before, i.not_after, i.state, i.reason, i.ended_at, i.superseded_by, i.imported_at, i.run, i.revoke_after,
  i.revoked_there_at"""
COUNTS = "EXISTS (SELECT 1 FROM certificate_imports r WHERE r.run = i.run AND r.state = 'live' LIMIT 1 OFFSET 0)"
"""Guard: the row's import is finished. It is looked up row by row (`listed`)."""
_FROM = f"SELECT {IMPORTED} FROM imported_certificates i WHERE {COUNTS}"
_LIVING = f"{_FROM} AND i.customer = :customer AND i.state = 'active' ORDER BY i.not_after DESC, i.fingerprint"
_GET = f"{_FROM} AND i.fingerprint = :fingerprint"
_LISTED = f"""
SELECT {IMPORTED}, f.reason AS reason_there
FROM imported_certificates i JOIN former_revocations f ON f.issuer = i.issuer AND f.serial = i.serial
WHERE {COUNTS} AND i.state = 'active' AND f.reason <> 'certificate_hold' ORDER BY i.fingerprint LIMIT :most
"""
_DUE_AT = f"""
{_FROM} AND i.revoke_after IS NOT NULL AND i.revoke_after <= :now AND i.revoked_there_at IS NULL
  AND i.issuer = :issuer AND (i.revoke_after > :after OR (i.revoke_after = :after AND i.fingerprint > :last))
ORDER BY i.revoke_after, i.fingerprint LIMIT :most
"""
_ASKED = f"""
{_FROM} AND i.revoke_after IS NOT NULL
ORDER BY CASE WHEN i.revoked_there_at IS NULL THEN 0 ELSE 1 END, i.revoke_after, i.fingerprint
"""
_ISSUERS = f"""
SELECT i.issuer, COUNT(*) AS many FROM imported_certificates i
WHERE {COUNTS} AND i.state = 'active' AND i.not_after > :now
GROUP BY i.issuer ORDER BY i.issuer
"""
_REVOKED = """
UPDATE imported_certificates SET state = 'revoked', reason = :reason, ended_at = :now
WHERE fingerprint = :fingerprint AND state = 'active' RETURNING fingerprint
"""
_DONE = """
UPDATE imported_certificates SET revoked_there_at = :now, revoked_by = :by, approved_by = :approved_by
WHERE fingerprint = :fingerprint AND revoke_after IS NOT NULL AND revoked_there_at IS NULL RETURNING fingerprint
"""


def imported_of(row: Row) -> ImportedCertificate:
    """Return a row as an imported certificate."""
    return ImportedCertificate(
        fingerprint=Fingerprint(row["fingerprint"]),
        issuer=row["issuer"],
        serial=row["serial"],
        customer=CustomerId(row["customer"]),
        account=None if row["account"] is None else AccountNumber(row["account"]),
        profile=row["profile"],
        way=Way(row["way"]),
        spki_sha256=row["spki_sha256"],
        der=bytes(row["der"]),
        chain=unblobs(bytes(row["chain"])),
        not_before=moment(row["not_before"]),
        not_after=moment(row["not_after"]),
        state=ImportedState(row["state"]),
        imported_at=moment(row["imported_at"]),
        run=row["run"],
        reason=row["reason"],
        ended_at=moment_or_none(row["ended_at"]),
        superseded_by=None if row["superseded_by"] is None else Serial(row["superseded_by"]),
        revoke_after=moment_or_none(row["revoke_after"]),
        revoked_there_at=moment_or_none(row["revoked_there_at"]),
    )


class ImportedCertificateRepository:
    """Implements `ra.imported.ImportedCertificates`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def living(self, customer: CustomerId) -> list[ImportedCertificate]:
        """As `ImportedCertificates.living`."""
        return await self._engine.read(_all, whole(_LIVING, customer=customer))

    async def get(self, fingerprint: Fingerprint) -> ImportedCertificate | None:
        """As `ImportedCertificates.get`."""
        found = await self._engine.read(_all, whole(_GET, fingerprint=fingerprint))
        return found[0] if found else None

    async def issuers(self, now: datetime) -> dict[str, int]:
        """Return how many imported certificates are valid of each former issuer, by its id."""

        def script() -> Script[dict[str, int]]:
            return {row["issuer"]: row["many"] for row in (yield whole(_ISSUERS, now=ms(now)))}

        return await self._engine.read(script)

    async def revoked_there(self, fingerprint: Fingerprint, reason: str, now: datetime, record: AuditRecord) -> bool:
        """As `ImportedCertificates.revoked_there`."""
        revoked = guard(_REVOKED, fingerprint=fingerprint, reason=reason, now=ms(now))
        return await self._engine.run(_changed, revoked, record)

    async def listed_as_revoked(self, limit: int) -> list[tuple[ImportedCertificate, str]]:
        """As `ImportedCertificates.listed_as_revoked`."""

        def script() -> Script[list[tuple[ImportedCertificate, str]]]:
            rows = yield whole(_LISTED, most=limit)
            return [(imported_of(row), row["reason_there"]) for row in rows]

        return await self._engine.read(script)

    async def due_at(
        self, issuer: str, now: datetime, after: tuple[datetime, Fingerprint] | None, limit: int
    ) -> list[ImportedCertificate]:
        """As `ImportedCertificates.due_at`."""
        since, last = (-1, "") if after is None else (ms(after[0]), after[1])
        due = whole(_DUE_AT, issuer=issuer, now=ms(now), after=since, last=last, most=limit)
        return await self._engine.read(_all, due)

    async def asked_to_revoke(self) -> list[ImportedCertificate]:
        """As `ImportedCertificates.asked_to_revoke`."""
        return await self._engine.read(_all, whole(_ASKED))

    async def done(
        self, fingerprint: Fingerprint, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        """As `ImportedCertificates.done`."""
        done = guard(_DONE, fingerprint=fingerprint, now=ms(now), by=by, approved_by=approved_by)
        return await self._engine.run(_changed, done, record)


def _all(statement: Query) -> Script[list[ImportedCertificate]]:
    return [imported_of(row) for row in (yield statement)]


def _changed(change: Query, record: AuditRecord) -> Script[bool]:
    return (yield from write_with_record(record, change)) is not None
