"""What the end of a certificate means for its renewal in flight, and for the key that was lost with it."""

from chopmark.store.script import Script, query
from chopmark.words import OrderId

_OLD = """
UPDATE holdings SET state = state
WHERE serial = (SELECT old_serial FROM orders WHERE id = :id AND operation = 'rekey') RETURNING state
"""
_BLOCK_OLD_KEY = """
UPDATE keys SET blocked = (SELECT reason FROM orders WHERE id = :id)
WHERE blocked IS NULL AND spki_sha256 = (
  SELECT h.spki_sha256 FROM orders o JOIN holdings h ON h.serial = o.old_serial
  WHERE o.id = :id AND o.reason IN ('lost', 'compromised'))
"""
_REFUSE = """
UPDATE orders SET state = 'refused', ended = 'old_revoked', serial = :serial, nonce = NULL
WHERE id = :id AND state IN ('submitted', 'pending') RETURNING id
"""


def may_succeed(order: OrderId) -> Script[bool]:
    """Tell whether the certificate that this order renews is still active; true for an order that renews none.

    The row is locked by a change that changes nothing: a revocation comes wholly before or wholly after (I25).
    """
    old = yield query(_OLD, id=order)
    return not old or old[0]["state"] == "active"


def block_old_key(order: OrderId) -> Script[None]:
    """Block the key of the certificate that this order replaces as lost or compromised (I7)."""
    yield query(_BLOCK_OLD_KEY, id=order)


def refuse(order: OrderId, serial: str) -> Script[bool]:
    """End an order whose old certificate was revoked while the CA was at work; once."""
    return bool((yield query(_REFUSE, id=order, serial=serial)))
