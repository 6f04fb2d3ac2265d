"""A revocation order is carried out: the order is done, its certificate is revoked, the rate limits are charged."""

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, Reason, text
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.store.engine.columns import ms, words
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.messaging.outbox import queue
from chopmark.store.repositories.rate_limits import take_each
from chopmark.store.repositories.records import append

_REVOKE_ORDER = """
UPDATE orders SET state = 'done', submitted_at = :now
WHERE id = :id AND operation = 'revoke' AND state = 'coded' AND coded_at > :since AND old_serial = :serial
  AND approved_login = :login AND login_factors = :known
RETURNING customer
"""
_REVOKE_HOLDING = """
UPDATE holdings SET state = 'revoked', ended_at = :now, reason = :reason
WHERE serial = :serial AND customer = :customer AND state IN ('active', 'held', 'issued') RETURNING spki_sha256
"""
_BLOCK_KEY = "UPDATE keys SET blocked = :reason WHERE spki_sha256 = :spki AND blocked IS NULL"
MOVED_ON = Refusal(
    Kind.CONFLICT,
    text("The order has moved on meanwhile, perhaps in another tab. Please reload the page."),
    code="moved_on",
)
_QUOTA = text("You have revoked too many certificates lately. Please call us.")


class NotRevoked(Exception):
    """Rolls the transaction back, and takes the refusal to the caller."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def revoked(
    order: Order,
    acting: ActingLogin,
    limits: tuple[RateLimit, ...],
    fresh_since: datetime,
    now: datetime,
    works: tuple[OutboxJob, ...],
    record: AuditRecord,
) -> Script[None]:
    """Revoke a certificate by its approved order. Raises NotRevoked, which rolls everything back."""
    serial, reason = order.old_serial, order.reason
    if serial is None or reason is None:
        raise ValueError(f"order {order.id} names no certificate or reason")
    rows = yield query(
        _REVOKE_ORDER,
        id=order.id,
        serial=serial,
        since=ms(fresh_since),
        now=ms(now),
        login=acting.id,
        known=words(frozenset(acting.known)),
    )
    if not rows:
        raise NotRevoked(MOVED_ON)
    spent = yield from take_each(limits, now)
    if spent is not None:
        raise NotRevoked(Refusal(Kind.TOO_MANY, _QUOTA, code="revocations", retry_after_s=spent.retry_after_s))
    ended = yield query(_REVOKE_HOLDING, serial=serial, customer=rows[0]["customer"], reason=reason.value, now=ms(now))
    if not ended:
        raise NotRevoked(MOVED_ON)
    if reason in {Reason.COMPROMISED, Reason.LOST}:
        yield query(_BLOCK_KEY, spki=ended[0]["spki_sha256"], reason=reason.value)
    yield from queue(works)
    yield from append(record)
