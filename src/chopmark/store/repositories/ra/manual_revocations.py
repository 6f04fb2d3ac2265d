"""Manual revocations: a person revokes at another CA and confirms it here, with the approval of a second one."""

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import IssuerId, OrderId, Serial
from chopmark.ra.manual_revocation import OpenManualRevocation
from chopmark.store.engine.columns import moment_or_none, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.records import append

_LISTED = """
SELECT r.serial, r.issuer, r.order_id, r.attempt, r.reason, r.revoked_at, h.by_whom, h.approved_by
FROM foreign_requests r LEFT JOIN hand_revocations h ON h.order_id = r.order_id AND h.attempt = r.attempt
WHERE r.by_hand = 1 AND r.serial IS NOT NULL
ORDER BY CASE WHEN r.revoked_at IS NULL THEN 0 ELSE 1 END, r.revoked_at DESC, r.sent_at, r.serial
"""
_DONE = """
UPDATE foreign_requests SET revoked_at = :now, version = version + 1
WHERE order_id = :order_id AND attempt = :attempt AND by_hand = 1 AND revoked_at IS NULL RETURNING order_id
"""
_WHO = """
INSERT INTO hand_revocations (order_id, attempt, by_whom, approved_by)
VALUES (:order_id, :attempt, :by_whom, :approved_by)
"""


class ManualRevocationRepository:
    """Implements `ra.by_hand.ManualRevocations`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def listed(self) -> list[OpenManualRevocation]:
        """Return all manual revocations: the open ones first, then the finished ones, newest first."""

        def script() -> Script[list[OpenManualRevocation]]:
            rows = yield query(_LISTED)
            return [
                OpenManualRevocation(
                    Serial(row["serial"]),
                    IssuerId(row["issuer"]),
                    OrderId(row["order_id"]),
                    row["attempt"],
                    row["reason"] or "",
                    moment_or_none(row["revoked_at"]),
                    row["by_whom"],
                    row["approved_by"],
                )
                for row in rows
            ]

        return await self._engine.read(script)

    async def done(
        self, one: OpenManualRevocation, now: datetime, by: str, approved_by: str, record: AuditRecord
    ) -> bool:
        """Note that a manual revocation is done, with its record. False when it was not open any more."""

        def script() -> Script[bool]:
            rows = yield query(_DONE, order_id=one.order, attempt=one.attempt, now=ms(now))
            if rows:
                yield query(_WHO, order_id=one.order, attempt=one.attempt, by_whom=by, approved_by=approved_by)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)
