"""How an order gets its key: a key is bound to it, and another login shows that it holds the same key."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, text
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import HAS_A_KEY, Order
from chopmark.ra.ports import Bound
from chopmark.store.engine.columns import ms
from chopmark.store.engine.script import Row, Script, guard, query
from chopmark.store.repositories.messaging.outbox import queued, wake
from chopmark.store.repositories.ra.credentials import USED_UP, claim, usable
from chopmark.store.repositories.ra.order_rows import BYTES, KILL_CODES, ORDER, by, order_of
from chopmark.store.repositories.ra.revoking import MOVED_ON
from chopmark.store.repositories.records import write_with_record

_TAKE_KEY = """
INSERT INTO keys (spki_sha256, customer, first_seen_at)
SELECT CAST(:spki AS TEXT), CAST(:customer AS TEXT), CAST(:now AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM blocked_keys WHERE spki_sha256 = :spki)
ON CONFLICT (spki_sha256) DO UPDATE SET customer = keys.customer
WHERE keys.customer = :customer AND keys.blocked IS NULL RETURNING spki_sha256
"""
_UNUSED_KEY = """
SELECT 1 AS unused WHERE NOT EXISTS (SELECT 1 FROM holdings WHERE spki_sha256 = :spki)
  AND NOT EXISTS (SELECT 1 FROM imported_certificates WHERE spki_sha256 = :spki)
"""
_KEY = """
SELECT customer, blocked FROM keys WHERE spki_sha256 = :spki
UNION ALL SELECT '', reason FROM blocked_keys WHERE spki_sha256 = :spki
"""
_USED_KEY = """
SELECT serial FROM holdings WHERE spki_sha256 = :spki
UNION ALL SELECT serial FROM imported_certificates WHERE spki_sha256 = :spki
"""
_BIND = """
UPDATE orders SET state = 'bound', spki_sha256 = :spki, csr = :csr, proof = :proof, bound_at = :now, challenge = NULL,
  coded_at = NULL, checked_at = NULL, code_channel = NULL, approved_login = NULL, proved_login = NULL,
  second_channel = NULL, second_coded_at = NULL, announced_at = NULL, slip_id = NULL,
  bound_login = :login, key_evidence = :evidence, login_factors = :union,
  nonce = CASE WHEN CAST(:used AS {bytes}) IS NULL THEN nonce ELSE NULL END
WHERE id = :id AND operation <> 'revoke' AND state IN ('open', 'bound', 'coded', 'checked') AND expires_at > :now
  AND (CAST(:used AS {bytes}) IS NULL OR nonce = :used) AND login_factors = :known
  AND (spki_sha256 IS NULL OR bound_login = :login OR proved_login = :login)
RETURNING id
"""
_POSSESS = """
UPDATE orders SET state = 'bound', proved_login = :login, coded_at = NULL, checked_at = NULL,
  code_channel = NULL, approved_login = NULL, second_channel = NULL, second_coded_at = NULL, slip_id = NULL,
  login_factors = :union,
  nonce = CASE WHEN CAST(:used AS {bytes}) IS NULL THEN nonce ELSE NULL END
WHERE id = :id AND operation <> 'revoke' AND state IN ('bound', 'coded', 'checked') AND expires_at > :now
  AND (CAST(:used AS {bytes}) IS NULL OR nonce = :used) AND login_factors = :known AND spki_sha256 = :spki
RETURNING id
"""

_OTHERS_KEY = Refusal(
    Kind.BAD_KEY, text("This key cannot be used. Please let this page make a new one."), field="csr", code="key_used"
)


def bound_to(
    dialect: Literal["sqlite", "postgresql"],
    order: Order,
    bound: Bound,
    nonce: bytes | None,
    now: datetime,
    works: tuple[OutboxJob, ...],
    record: AuditRecord,
) -> Script[Refusal | None]:
    """Bind a key to an order, and use up the nonce. The order has no key, or one that the same login holds."""
    bind = guard(
        _BIND.format(bytes=BYTES[dialect]),
        id=order.id,
        spki=bound.spki_sha256,
        csr=bound.csr,
        proof=bound.proof,
        now=ms(now),
        used=nonce,
        evidence=bound.evidence.value,
        **by(bound.acting),
    )
    ours = guard(_TAKE_KEY, spki=bound.spki_sha256, customer=order.customer, now=ms(now))
    unused = guard(_UNUSED_KEY, spki=bound.spki_sha256)
    claimed = [claim(order.id, bound.credential, bound.spki_sha256, now)] if bound.credential else []
    killed = query(KILL_CODES, id=order.id)
    if (yield from write_with_record(record, ours, unused, bind, *claimed, killed, *queued(works))) is not None:
        yield from wake(works)
        return None
    return (yield from _why_not_bound(order, bound, now))


def _why_not_bound(order: Order, bound: Bound, now: datetime) -> Script[Refusal]:
    """Return what the customer is told when a guard of `bound_to` failed; nothing was changed."""
    owners = yield query(_KEY, spki=bound.spki_sha256)
    used = yield query(_USED_KEY, spki=bound.spki_sha256)
    theirs = any(row["customer"] != order.customer or row["blocked"] is not None for row in owners)
    if theirs or used:
        return _OTHERS_KEY
    if bound.credential and not (yield usable(order.id, bound.credential, bound.spki_sha256, now)):
        return USED_UP
    found = yield query(ORDER, id=order.id)
    elsewhere = order_of(found[0]).spki_sha256 is not None and bound.acting.id not in _holders(found[0])
    return HAS_A_KEY if elsewhere else MOVED_ON


def _holders(row: Row) -> set[str | None]:
    """Return the logins that have shown that they hold the order's key."""
    return {row["bound_login"], row["proved_login"]}


def possessed(
    dialect: Literal["sqlite", "postgresql"],
    order: Order,
    nonce: bytes | None,
    acting: ActingLogin,
    now: datetime,
    record: AuditRecord,
) -> Script[bool]:
    """Note that this login holds the order's key, and use up the nonce. Earlier approvals are void.

    A code that was sent and not yet given stays valid: it is bound to the key, not to a login.
    """
    held = guard(
        _POSSESS.format(bytes=BYTES[dialect]),
        id=order.id,
        used=nonce,
        now=ms(now),
        **by(acting),
        spki=order.spki_sha256,
    )
    return (yield from write_with_record(record, held)) is not None
