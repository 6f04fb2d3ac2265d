"""How an order gets its certificate, and how that certificate becomes the customer's active one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import Installed, OrderState, Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.ra.ports import AlternativeOutcome, SubscriberCertificate
from chopmark.store.engine.columns import blobs, ms
from chopmark.store.engine.script import Query, Script, Value, guard, in_turn, query
from chopmark.store.repositories.messaging.outbox import queue, queued, wake
from chopmark.store.repositories.ra.imported_certificates import COUNTS
from chopmark.store.repositories.ra.order_rows import BYTES, ORDER
from chopmark.store.repositories.ra.revoking import MOVED_ON
from chopmark.store.repositories.ra.stops import hold_new
from chopmark.store.repositories.ra.successors import (
    block_old_key,
    imported_still_active,
    key_free,
    refuse,
    renewed,
    renewed_imported,
    still_active,
    why_not,
)
from chopmark.store.repositories.records import append, write_with_record

_FULFILLED = """
UPDATE orders SET state = 'issued', serial = :serial, issued_at = :now, nonce = NULL
WHERE id = :id AND state IN ('submitted', 'pending') AND {stopped} RETURNING id
"""
_FULFIL = _FULFILLED.format(stopped="ended IS NULL")
_FULFIL_STOPPED = _FULFILLED.format(stopped="ended = 'stopped_by_contact'")
_ACTIVATE = """
UPDATE orders SET state = 'active', activated_at = :now, nonce = NULL, installed = :installed
WHERE id = :id AND state = 'issued' AND (CAST(:nonce AS {bytes}) IS NULL OR nonce = :nonce) AND serial = :serial
RETURNING serial
"""
_SUPERSEDE = """
UPDATE holdings SET state = 'superseded', ended_at = :now, reason = 'superseded', superseded_by = :serial
WHERE customer = :customer AND profile = :profile AND state IN ('active', 'held') AND serial <> :old RETURNING serial
"""
_SUPERSEDE_RENEWED = """
UPDATE holdings SET state = 'superseded', ended_at = COALESCE(ended_at, :now), reason = 'superseded',
  superseded_by = :serial
WHERE serial = :old AND (state = 'active' OR (state = 'superseded' AND superseded_by = :serial)) RETURNING serial
"""
_SUPERSEDE_IMPORTED = f"""
UPDATE imported_certificates AS i SET state = 'superseded', ended_at = :now, reason = 'superseded',
  superseded_by = :serial, revoke_after = :revoke_after
WHERE i.customer = :customer AND i.profile = :profile AND i.state IN ('active', 'held') AND i.fingerprint <> :old
  AND {COUNTS}
RETURNING fingerprint
"""
_SUPERSEDE_RENEWED_IMPORTED = """
UPDATE imported_certificates SET state = 'superseded', ended_at = :now, reason = 'superseded',
  superseded_by = :serial, revoke_after = :revoke_after
WHERE fingerprint = :old AND state = 'active' RETURNING fingerprint
"""
_RAISE = """
UPDATE holdings SET state = 'active', activated_at = :now WHERE serial = :serial AND state = 'issued' RETURNING serial
"""
_STORE_HOLDING = """
INSERT INTO holdings (serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain,
  not_before, not_after, issued_at)
VALUES (:serial, :customer, :profile, :order_id, :account, :key_home, :spki, 'issued', :der, :chain, :not_before,
  :not_after, :now)
"""
END_UNPROVEN = """
UPDATE holdings SET state = 'revoked', ended_at = issued_at, reason = 'unproven'
WHERE order_id = :id AND state IN ('issued', 'held') AND activated_at IS NULL
"""


def fulfilled(
    order: Order,
    certificate: SubscriberCertificate,
    works: tuple[OutboxJob, ...],
    record: AuditRecord,
    otherwise: AlternativeOutcome,
    *,
    swap: bool,
) -> Script[OrderState | None]:
    """Give a submitted or pending order its certificate, once. Return the order's new state, None if it has moved on.

    With `swap` the new certificate supersedes the old one at once: its CA ends the old one when it issues.
    """
    store = _stored(certificate)
    at = ms(certificate.issued_at)

    def fulfil(sql: str) -> Query:
        return guard(sql, id=order.id, serial=certificate.serial, now=at)

    # 1. As a rule nothing has come between: one bundle.
    old = (*_supersede(order, certificate.serial, at), *imported_still_active(order)) if swap else still_active(order)
    changes = (*old, key_free(certificate.spki_sha256), fulfil(_FULFIL), store, *block_old_key(order), *queued(works))
    if (yield from write_with_record(record, *changes)) is not None:
        yield from wake(works)
        return OrderState.ISSUED
    # 2. A contact has stopped the order: the certificate is stored on hold, and the old one stays as it is.
    why = yield from why_not(order.id)
    if why is None and (yield fulfil(_FULFIL_STOPPED)):
        yield from in_turn((*(old if swap else ()), store, hold_new(order.id, at)))
        yield from queue(otherwise.held)
        yield from append(record)
        return OrderState.LOCKED
    # 3. The old certificate was revoked, or the key blocked, while the CA was at work: the new one is revoked (F22).
    if why is None or not (yield from refuse(order.id, certificate.serial, why)):
        return None
    yield store
    yield query(END_UNPROVEN, id=order.id)
    yield from queue(otherwise.works)
    yield from append(otherwise.record)
    return OrderState.REFUSED


def _stored(certificate: SubscriberCertificate) -> Query:
    return query(
        _STORE_HOLDING,
        serial=certificate.serial,
        customer=certificate.customer,
        profile=certificate.profile,
        order_id=certificate.order,
        account=certificate.account,
        key_home=certificate.key_home.value,
        spki=certificate.spki_sha256,
        der=certificate.der,
        chain=blobs(certificate.chain),
        not_before=ms(certificate.not_before),
        not_after=ms(certificate.not_after),
        now=ms(certificate.issued_at),
    )


def activated(
    dialect: Literal["sqlite", "postgresql"],
    order: Order,
    nonce: bytes | None,
    installed: Installed,
    now: datetime,
    works: tuple[OutboxJob, ...],
    record: AuditRecord,
    kept: timedelta,
) -> Script[Refusal | None]:
    """Make the order's certificate the active one, supersede the earlier ones, and use up the nonce. Works once."""
    new: dict[str, Value] = {"serial": order.serial, "now": ms(now)}
    activate = guard(_ACTIVATE.format(bytes=BYTES[dialect]), id=order.id, nonce=nonce, installed=installed.value, **new)
    free = key_free(order.spki_sha256 or "")
    serial = order.serial or Serial("")
    supersede = (*_supersede(order, serial, ms(now)), *_supersede_imported(order, serial, now, kept))
    if (yield from write_with_record(record, activate, free, *supersede, guard(_RAISE, **new), *queued(works))) is None:
        found = yield query(ORDER, id=order.id)
        return None if found and found[0]["state"] == "active" else MOVED_ON
    yield from wake(works)
    return None


def _supersede(order: Order, serial: Serial, now: int) -> tuple[Query, ...]:
    """Return the statements by which a new certificate supersedes earlier ones. The one that it renews must be active.

    They may run twice: a CA that ends the old certificate at issuance has it superseded before the new one is proved.
    """
    new: dict[str, Value] = {"serial": serial, "now": now}
    old = renewed(order)
    others = query(_SUPERSEDE, customer=order.customer, profile=order.profile, old=old or "", **new)
    return (others,) if old is None else (others, guard(_SUPERSEDE_RENEWED, old=old, **new))


def _supersede_imported(order: Order, serial: Serial, now: datetime, kept: timedelta) -> tuple[Query, ...]:
    """Return the statements by which a proved certificate supersedes imported ones; a renewed one must be active.

    What they store is also what their own CA is to be asked: to revoke them when the time `kept` has passed.
    """
    old = renewed_imported(order)
    new: dict[str, Value] = {"serial": serial, "now": ms(now), "revoke_after": ms(now + kept), "old": old or ""}
    others = query(_SUPERSEDE_IMPORTED, customer=order.customer, profile=order.profile, **new)
    return (others,) if old is None else (others, guard(_SUPERSEDE_RENEWED_IMPORTED, **new))
