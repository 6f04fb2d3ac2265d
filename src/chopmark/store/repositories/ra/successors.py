"""The guards between a renewal and the certificate that it renews, and between an order and its key."""

from chopmark.core.types import Operation, OrderId, Reason, Serial
from chopmark.ra.imported import is_fingerprint
from chopmark.ra.model import Order
from chopmark.store.engine.script import Query, Script, guard, query

_OLD = """
UPDATE holdings SET state = state
WHERE serial = (SELECT old_serial FROM orders WHERE id = :id AND operation = 'rekey') RETURNING state
"""
_OLD_IMPORTED = """
UPDATE imported_certificates SET state = state
WHERE fingerprint = (SELECT old_serial FROM orders WHERE id = :id AND operation = 'rekey') RETURNING state
"""
_IMPORTED_ACTIVE = """
UPDATE imported_certificates SET state = state
WHERE fingerprint = :fingerprint AND state = 'active' RETURNING fingerprint
"""
_OLD_ACTIVE = "UPDATE holdings SET state = state WHERE serial = :serial AND state = 'active' RETURNING serial"
_BLOCK_OLD_KEY = """
UPDATE keys SET blocked = (SELECT reason FROM orders WHERE id = :id)
WHERE blocked IS NULL AND spki_sha256 IN (
  SELECT h.spki_sha256 FROM orders o JOIN holdings h ON h.serial = o.old_serial
  WHERE o.id = :id AND o.reason IN ('lost', 'compromised'))
"""
_BLOCK_IMPORTED_KEY = """
INSERT INTO keys (spki_sha256, customer, first_seen_at, blocked)
SELECT i.spki_sha256, i.customer, i.imported_at, o.reason
FROM orders o JOIN imported_certificates i ON i.fingerprint = o.old_serial
WHERE o.id = :id AND o.reason IN ('lost', 'compromised')
ON CONFLICT (spki_sha256) DO UPDATE SET blocked = COALESCE(keys.blocked, excluded.blocked)
"""
"""The key of an imported certificate was shown to its own CA, not here, so as a rule it has no row yet."""
_KEY = """
UPDATE keys SET blocked = blocked WHERE spki_sha256 = (SELECT spki_sha256 FROM orders WHERE id = :id)
RETURNING blocked, (SELECT reason FROM blocked_keys b WHERE b.spki_sha256 = keys.spki_sha256) AS reported
"""
_KEY_FREE = """
UPDATE keys SET blocked = blocked WHERE spki_sha256 = :spki AND blocked IS NULL
  AND NOT EXISTS (SELECT 1 FROM blocked_keys b WHERE b.spki_sha256 = keys.spki_sha256) RETURNING spki_sha256
"""
_REFUSE = """
UPDATE orders SET state = 'refused', ended = :why, serial = :serial, nonce = NULL
WHERE id = :id AND state IN ('submitted', 'pending') RETURNING id
"""


def why_not(order: OrderId) -> Script[str | None]:
    """Return why an order gets no certificate any more: `old_revoked`, `key_blocked`, or None when it may have one.

    An UPDATE that changes nothing locks the rows. So a revocation of the renewed certificate, or a block of the key,
    happens entirely before or entirely after the issuance (I25, I7).
    """
    for sql in (_OLD, _OLD_IMPORTED):
        old = yield query(sql, id=order)
        if old and old[0]["state"] != "active":
            return "old_revoked"
    keys = yield query(_KEY, id=order)
    return "key_blocked" if any(row["blocked"] or row["reported"] for row in keys) else None


def renewed(order: Order) -> Serial | None:
    """Return the certificate of ours that this order renews; None if it renews none, or an imported one."""
    ours = order.operation is Operation.REKEY and not is_fingerprint(order.old_serial)
    return order.old_serial if ours else None


def renewed_imported(order: Order) -> str | None:
    """Return the fingerprint of the imported certificate that this order renews; None if it renews none."""
    return order.old_serial if order.operation is Operation.REKEY and is_fingerprint(order.old_serial) else None


def still_active(order: Order) -> tuple[Query, ...]:
    """Return the guard that the renewed certificate is active. It locks the row as `why_not` does."""
    old = renewed(order)
    return imported_still_active(order) if old is None else (guard(_OLD_ACTIVE, serial=old),)


def imported_still_active(order: Order) -> tuple[Query, ...]:
    """Return the guard that the imported certificate that the order renews is active; none for other orders."""
    old = renewed_imported(order)
    return () if old is None else (guard(_IMPORTED_ACTIVE, fingerprint=old),)


def key_free(spki_sha256: str) -> Query:
    """Return the guard that the key is not blocked. It locks the row as `why_not` does."""
    return guard(_KEY_FREE, spki=spki_sha256)


def block_old_key(order: Order) -> tuple[Query, ...]:
    """Return the statement that blocks the key of a certificate replaced as lost or compromised, if it is one (I7)."""
    if order.reason not in {Reason.LOST, Reason.COMPROMISED}:
        return ()
    return (query(_BLOCK_IMPORTED_KEY if is_fingerprint(order.old_serial) else _BLOCK_OLD_KEY, id=order.id),)


def refuse(order: OrderId, serial: str, why: str) -> Script[bool]:
    """Refuse an order whose old certificate was revoked, or whose key was blocked, while the CA was at work. Once."""
    return bool((yield query(_REFUSE, id=order, serial=serial, why=why)))
