"""What people at the firm change: holds and releases of certificates, and blocked keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.imported import Fingerprint
from chopmark.ra.ports import SubscriberCertificate
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.messaging.outbox import queue
from chopmark.store.repositories.ra.imported_certificates import COUNTS
from chopmark.store.repositories.ra.stops import cleared
from chopmark.store.repositories.ra.subscriber_certificates import HOLDING, stored_certificate
from chopmark.store.repositories.records import append

_HOLD = """
UPDATE holdings SET state = 'held', ended_at = :now, reason = 'held'
WHERE serial = :serial AND state = 'active' RETURNING serial
"""
_RELEASE = """
UPDATE holdings SET state = CASE WHEN activated_at IS NULL THEN 'issued' ELSE 'active' END,
  ended_at = NULL, reason = NULL
WHERE serial = :serial AND state = 'held'
  AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.spki_sha256 = holdings.spki_sha256 AND k.blocked IS NOT NULL)
  AND CASE WHEN activated_at IS NULL
    THEN EXISTS (SELECT 1 FROM orders w WHERE w.id = holdings.order_id AND w.state = 'issued')
    ELSE NOT EXISTS (SELECT 1 FROM holdings o WHERE o.customer = holdings.customer AND o.profile = holdings.profile
      AND o.state = 'active') END
RETURNING serial
"""
"""A certificate that was stopped before its proof returns as not proved, so there may be an active one beside it."""
_HOLD_IMPORTED = f"""
UPDATE imported_certificates AS i SET state = 'held', ended_at = :now, reason = 'held'
WHERE i.fingerprint = :fingerprint AND i.state = 'active' AND {COUNTS} RETURNING fingerprint
"""
_RELEASE_IMPORTED = f"""
UPDATE imported_certificates AS i SET state = 'active', ended_at = NULL, reason = NULL
WHERE i.fingerprint = :fingerprint AND i.state = 'held' AND {COUNTS}
  AND NOT EXISTS (SELECT 1 FROM keys k WHERE k.spki_sha256 = i.spki_sha256 AND k.blocked IS NOT NULL)
  AND NOT EXISTS (SELECT 1 FROM blocked_keys b WHERE b.spki_sha256 = i.spki_sha256)
  AND NOT EXISTS (SELECT 1 FROM holdings h WHERE h.customer = i.customer AND h.profile = i.profile
    AND h.state = 'active')
RETURNING fingerprint
"""
_HOLDERS = f"""
SELECT {HOLDING} FROM holdings WHERE spki_sha256 = :spki AND state IN ('issued', 'active', 'held') ORDER BY serial
"""
_REPORT = """
INSERT INTO blocked_keys (spki_sha256, reason, blocked_at) VALUES (:spki, :reason, :now)
ON CONFLICT (spki_sha256) DO NOTHING RETURNING spki_sha256
"""
_BLOCK = "UPDATE keys SET blocked = COALESCE(blocked, :reason) WHERE spki_sha256 = :spki"
_REVOKE = """
UPDATE holdings SET state = 'revoked', ended_at = :now, reason = :reason
WHERE spki_sha256 = :spki AND state IN ('issued', 'active', 'held') RETURNING serial
"""
_REVOKE_IMPORTED = """
UPDATE imported_certificates SET state = 'revoked', ended_at = :now, reason = :reason, revoke_after = :now
WHERE spki_sha256 = :spki AND state IN ('active', 'held') RETURNING fingerprint
"""
_END = """
UPDATE orders SET state = 'refused', ended = 'key_blocked', nonce = NULL
WHERE spki_sha256 = :spki AND operation <> 'revoke' AND state IN ('open', 'bound', 'coded', 'checked', 'issued')
RETURNING id
"""
_KILL_CODES = "UPDATE challenges SET state = 'dead' WHERE order_id = :id AND state = 'live'"


class _Another(Exception):
    """Rolls a block back because there is a certificate that the caller did not know."""


class StaffRepository:
    """Implements `ra.suspension.Suspensions` and `ra.blocking.BlockedKeys`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def hold(self, serial: Serial, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """Put an active certificate on hold; False in any other state."""

        def script() -> Script[bool]:
            rows = yield query(_HOLD, serial=serial, now=ms(now))
            if rows:
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def release(self, serial: Serial, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """End the hold of a certificate. False when it is not on hold, or may not be released."""

        def script() -> Script[bool]:
            rows = yield query(_RELEASE, serial=serial)
            if rows:
                yield cleared(serial)
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def hold_imported(
        self, fingerprint: Fingerprint, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """Put an active imported certificate on hold; False in any other state."""

        def script() -> Script[bool]:
            rows = yield query(_HOLD_IMPORTED, fingerprint=fingerprint, now=ms(now))
            if rows:
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def release_imported(
        self, fingerprint: Fingerprint, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """End the hold of an imported certificate. False when it is not on hold, or may not be released."""

        def script() -> Script[bool]:
            rows = yield query(_RELEASE_IMPORTED, fingerprint=fingerprint)
            if rows:
                yield from queue(works)
                yield from append(record)
            return bool(rows)

        return await self._engine.run(script)

    async def holders(self, spki_sha256: str) -> list[SubscriberCertificate]:
        """Return the certificates with this key that are issued, active or on hold."""

        def script() -> Script[list[SubscriberCertificate]]:
            return [stored_certificate(row) for row in (yield query(_HOLDERS, spki=spki_sha256))]

        return await self._engine.read(script)

    async def block(
        self,
        spki_sha256: str,
        reason: str,
        now: datetime,
        works: Mapping[Serial, tuple[OutboxJob, ...]],
        record: AuditRecord,
    ) -> bool | None:
        """Block a key, revoke its certificates, queue their works, and end the orders with this key.

        None, and nothing is changed, when the key has a certificate that `works` does not name.
        """

        def script() -> Script[bool]:
            fresh = yield query(_REPORT, spki=spki_sha256, reason=reason, now=ms(now))
            yield query(_BLOCK, spki=spki_sha256, reason=reason)
            ended = yield query(_REVOKE, spki=spki_sha256, reason=reason, now=ms(now))
            if not {row["serial"] for row in ended} <= works.keys():
                raise _Another
            brought = yield query(_REVOKE_IMPORTED, spki=spki_sha256, reason=reason, now=ms(now))
            orders = yield query(_END, spki=spki_sha256)
            for row in orders:
                yield query(_KILL_CODES, id=row["id"])
            for row in ended:
                yield from queue(works[Serial(row["serial"])])
            changed = bool(fresh or ended or brought or orders)
            if changed:
                yield from append(record)
            return changed

        try:
            return await self._engine.run(script)
        except _Another:
            return None
