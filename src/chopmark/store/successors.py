"""What the end of a certificate means for its renewal in flight, and for the key that was lost with it."""

from chopmark.ra.model import Order
from chopmark.store.script import Query, Script, guard, query
from chopmark.words import Operation, OrderId, Reason, Serial

_OLD = """
UPDATE holdings SET state = state
WHERE serial = (SELECT old_serial FROM orders WHERE id = :id AND operation = 'rekey') RETURNING state
"""
_OLD_ACTIVE = "UPDATE holdings SET state = state WHERE serial = :serial AND state = 'active' RETURNING serial"
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


def renewed(order: Order) -> Serial | None:
    """Return the certificate that this order renews; None for an order that renews none."""
    return order.old_serial if order.operation is Operation.REKEY else None


def still_active(order: Order) -> tuple[Query, ...]:
    """Return the guard that the certificate which this order renews is active, and lock its row as `may_succeed`."""
    old = renewed(order)
    return () if old is None else (guard(_OLD_ACTIVE, serial=old),)


def block_old_key(order: Order) -> tuple[Query, ...]:
    """Return the statement that blocks the key of a certificate replaced as lost or compromised, if it is one (I7)."""
    return (query(_BLOCK_OLD_KEY, id=order.id),) if order.reason in {Reason.LOST, Reason.COMPROMISED} else ()


def refuse(order: OrderId, serial: str) -> Script[bool]:
    """End an order whose old certificate was revoked while the CA was at work; once."""
    return bool((yield query(_REFUSE, id=order, serial=serial)))
