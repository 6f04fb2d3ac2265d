"""Reservations, certificates, and issuing CAs."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord, Tip, order_stream
from chopmark.ca.ports import Entry, IssuerRow, Reservation
from chopmark.core.types import CertificateState, IssuerId, OrderId, Serial
from chopmark.store.engine.columns import blobs, moment, moment_or_none, ms, unblobs
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Notify, Row, Script, Value, at_once, guard, query, whole
from chopmark.store.repositories.records import TIP, note, tip_of, write_with_record
from chopmark.store.repositories.va.answers import CHANGED, CHANGES_CHANNEL, AnswerRepository, status_of
from chopmark.store.repositories.va.lists import CrlRepository
from chopmark.va.ports import ServiceKey, Status

STATUS_CHANNEL = "status"
_ENTRY = """serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs, der, state, shard,
  not_before, not_after, reserved_at, ended_at, reason"""
_BY_ORDER = f"SELECT {_ENTRY} FROM certificates WHERE order_id = :order_id"
_BY_SERIAL = f"SELECT {_ENTRY} FROM certificates WHERE serial = :serial"
_RESERVE = """
INSERT INTO certificates (serial, issuer, order_id, attempt, profile, profile_version, spki_sha256, tbs, state, shard,
  not_before, not_after, reserved_at)
VALUES (:serial, :issuer, :order_id, :attempt, :profile, :profile_version, :spki, :tbs, 'reserved', :shard,
  :not_before, :not_after, :reserved_at)
ON CONFLICT DO NOTHING RETURNING serial
"""
_RECORD = """
UPDATE certificates SET der = :der, state = 'issued', issued_at = :now, answer_due = :now
WHERE serial = :serial AND state = 'reserved' RETURNING serial
"""
_ORPHAN = """
UPDATE certificates SET state = 'orphaned', ended_at = :now, reason = 'unspecified', turns = turns + 1,
  answer_due = :now, changed = {changed}
WHERE serial = :serial AND state = 'reserved' RETURNING serial
"""
REVOKE = """
UPDATE certificates SET state = 'revoked', ended_at = COALESCE(ended_at, :now), reason = :reason, turns = turns + 1,
  answer_due = :now, changed = {changed}
WHERE serial = :serial AND state IN ('issued', 'held') RETURNING serial
"""
HOLD = """
UPDATE certificates SET state = 'held', ended_at = :now, reason = 'certificate_hold', turns = turns + 1,
  answer_due = :now, changed = {changed}
WHERE serial = :serial AND state = 'issued' RETURNING serial
"""
RELEASE = """
UPDATE certificates SET state = 'issued', ended_at = NULL, reason = NULL, turns = turns + 1,
  answer_due = :now, changed = {changed}
WHERE serial = :serial AND state = 'held' RETURNING serial
"""
_STATUS = "SELECT state, ended_at, reason, turns FROM certificates WHERE issuer = :issuer AND serial = :serial"
_ISSUERS = """
SELECT id, name, certificate, chain, key_pem, responder_certificate, responder_key_pem, state FROM issuers
ORDER BY created_at, id
"""
_ISSUES = "SELECT id FROM issuers WHERE id = :id AND state = 'active'"
_STEP_BACK = "UPDATE issuers SET state = 'status' WHERE id <> :id AND state = 'active'"
_ADD_ISSUER = """
INSERT INTO issuers (id, name, certificate, chain, key_pem, responder_certificate, responder_key_pem, state, created_at)
VALUES (:id, :name, :certificate, :chain, :key_pem, :responder, :responder_key, 'active', :now)
ON CONFLICT (id) DO NOTHING RETURNING id
"""
_RESPONDER = "SELECT responder_certificate FROM issuers WHERE id = :issuer"
_RESPONDER_KEY = "SELECT responder_certificate, responder_key_pem FROM issuers WHERE id = :issuer"
_RENEW_RESPONDER = """
UPDATE issuers SET responder_certificate = :after WHERE id = :issuer AND responder_certificate = :before RETURNING id
"""


def entry_of(row: Row) -> Entry:
    """Return a certificate row as the CA keeps it."""
    reservation = Reservation(
        Serial(row["serial"]),
        IssuerId(row["issuer"]),
        OrderId(row["order_id"]),
        row["attempt"],
        row["profile"],
        row["profile_version"],
        row["spki_sha256"],
        bytes(row["tbs"]),
        row["shard"],
        moment(row["not_before"]),
        moment(row["not_after"]),
        moment(row["reserved_at"]),
    )
    der = row["der"]
    return Entry(
        reservation,
        CertificateState(row["state"]),
        None if der is None else bytes(der),
        moment_or_none(row["ended_at"]),
        row["reason"],
    )


class CertificateRepository:
    """Implements `ca.ports.IssuanceRepository`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def by_order(self, order: OrderId) -> tuple[Entry | None, int, Tip]:
        """Return the order's entry that is not orphaned, the number of attempts, and the tip of its audit stream."""
        chain = order_stream(order)

        def script() -> Script[tuple[Entry | None, int, Tip]]:
            found = yield from at_once(query(_BY_ORDER, order_id=order), query(TIP, chain=chain), batchable=True)
            rows, tips = found or ([], [])
            standing = [row for row in rows if row["state"] != CertificateState.ORPHANED]
            return entry_of(standing[0]) if standing else None, len(rows), tip_of(chain, tips)

        return await self._engine.read(script)

    async def reserve(self, reservation: Reservation, record: AuditRecord) -> bool:
        """Store a reservation. False when its CA issues no more, the order has a reservation, or the serial exists."""

        def script() -> Script[bool]:
            reserved = guard(
                _RESERVE,
                serial=reservation.serial,
                issuer=reservation.issuer,
                order_id=reservation.order,
                attempt=reservation.attempt,
                profile=reservation.profile,
                profile_version=reservation.profile_version,
                spki=reservation.spki_sha256,
                tbs=reservation.tbs,
                shard=reservation.shard,
                not_before=ms(reservation.not_before),
                not_after=ms(reservation.not_after),
                reserved_at=ms(reservation.reserved_at),
            )
            issues = guard(_ISSUES, id=reservation.issuer)
            return (yield from write_with_record(record, issues, reserved, batchable=True)) is not None

        return await self._engine.run(script)

    async def record(self, serial: Serial, der: bytes, now: datetime, record: AuditRecord) -> bool:
        """Store the signed certificate; False when the reservation was given up meanwhile."""

        def script() -> Script[bool]:
            recorded = guard(_RECORD, serial=serial, der=der, now=ms(now))
            return (yield from write_with_record(record, recorded, batchable=True)) is not None

        return await self._engine.run(script)

    async def orphan(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """Give a reservation up and revoke its serial; False when it was signed meanwhile."""
        return await self._turn(record, _ORPHAN, serial=serial, now=ms(now))

    async def revoke(self, serial: Serial, reason: str, now: datetime, record: AuditRecord) -> bool:
        """Revoke an issued or held certificate; False when it was ended already or never issued (I25)."""
        return await self._turn(record, REVOKE, serial=serial, reason=reason, now=ms(now))

    async def hold(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """Put an issued certificate on hold; False in any other state."""
        return await self._turn(record, HOLD, serial=serial, now=ms(now))

    async def release(self, serial: Serial, now: datetime, record: AuditRecord) -> bool:
        """End a hold; False when there is none, as when the certificate was revoked meanwhile."""
        return await self._turn(record, RELEASE, serial=serial, now=ms(now))

    async def _turn(self, record: AuditRecord, sql: str, **values: Value) -> bool:
        """Change the status of a certificate, with its record. False when nothing was changed."""
        numbered = sql.format(changed=CHANGED[self._engine.dialect])

        def script() -> Script[bool]:
            if (yield from write_with_record(record, guard(numbered, **values))) is None:
                return False
            yield Notify(STATUS_CHANNEL)
            yield Notify(CHANGES_CHANNEL)
            return True

        return await self._engine.run(script)

    async def by_serial(self, serial: Serial) -> Entry | None:
        """Return the entry of a serial; None when it was never reserved here."""

        def script() -> Script[Entry | None]:
            rows = yield whole(_BY_SERIAL, serial=serial)
            return entry_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        await self._engine.run(note, record)

    async def issuers(self) -> list[IssuerRow]:
        """Return the CAs of this installation, those that issue no more included, oldest first."""

        def script() -> Script[list[IssuerRow]]:
            rows = yield query(_ISSUERS)
            return [
                IssuerRow(
                    IssuerId(row["id"]),
                    row["name"],
                    bytes(row["certificate"]),
                    unblobs(bytes(row["chain"])),
                    bytes(row["key_pem"]),
                    bytes(row["responder_certificate"]),
                    bytes(row["responder_key_pem"]),
                    issues=row["state"] == "active",
                )
                for row in rows
            ]

        return await self._engine.read(script)

    async def add_issuer(self, row: IssuerRow, now: datetime, record: AuditRecord) -> bool:
        """Store the CA that issues from now on; the earlier ones issue no more. False when the id exists."""

        def script() -> Script[bool]:
            added = guard(
                _ADD_ISSUER,
                id=row.id,
                name=row.name,
                certificate=row.certificate,
                chain=blobs(row.chain),
                key_pem=row.key_pem,
                responder=row.responder_certificate,
                responder_key=row.responder_key_pem,
                now=ms(now),
            )
            return (yield from write_with_record(record, added, query(_STEP_BACK, id=row.id))) is not None

        return await self._engine.run(script)


class StatusRepository(AnswerRepository, CrlRepository):
    """Implements `va.ports.StatusRecords`."""

    async def status(self, issuer: IssuerId, serial: Serial) -> Status | None:
        """Return what is on record of a serial; None when it was never reserved."""

        def script() -> Script[Status | None]:
            rows = yield whole(_STATUS, issuer=issuer, serial=serial)
            if not rows:
                return None
            return status_of(rows[0])

        return await self._engine.read(script)

    async def responder_certificate(self, issuer: IssuerId) -> bytes | None:
        """Return the OCSP responder's present certificate, DER; None for an issuer that is not here."""

        def script() -> Script[bytes | None]:
            rows = yield whole(_RESPONDER, issuer=issuer)
            return bytes(rows[0]["responder_certificate"]) if rows else None

        return await self._engine.read(script)

    async def responder_key(self, issuer: IssuerId) -> ServiceKey | None:
        """Return the OCSP responder's present certificate and key; None for an issuer that is not here."""

        def script() -> Script[ServiceKey | None]:
            rows = yield whole(_RESPONDER_KEY, issuer=issuer)
            if not rows:
                return None
            return ServiceKey(bytes(rows[0]["responder_certificate"]), bytes(rows[0]["responder_key_pem"]))

        return await self._engine.read(script)

    async def renew_responder(self, issuer: IssuerId, before: bytes, after: bytes, record: AuditRecord) -> bool:
        """Replace the responder's certificate `before`. False when it was replaced by another one meanwhile."""

        def script() -> Script[bool]:
            renewed = guard(_RENEW_RESPONDER, issuer=issuer, before=before, after=after)
            return (yield from write_with_record(record, renewed)) is not None

        return await self._engine.run(script)

    async def note(self, record: AuditRecord) -> None:
        """Write a record that goes with no other change."""
        await self._engine.run(note, record)

    async def wait(self, timeout_s: float) -> bool:
        """Wait until a certificate's status changed, or the timeout."""
        return await self._engine.wait(STATUS_CHANNEL, timeout_s)
