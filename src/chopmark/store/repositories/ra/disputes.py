"""A customer says that a contact is not theirs: order and contact are stopped in one transaction."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, text
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.store.engine.columns import ms
from chopmark.store.engine.script import Script, guard, query
from chopmark.store.repositories.messaging.outbox import queued, wake
from chopmark.store.repositories.rate_limits import give_back_each, take_each, taken
from chopmark.store.repositories.records import write_with_record

_BEFORE_SUBMISSION = "id = :id AND state IN ('open', 'bound', 'coded', 'checked')"
_END = f"UPDATE orders SET state = 'cancelled', ended = 'contact_disputed' WHERE {_BEFORE_SUBMISSION} RETURNING id"
_OPEN = f"SELECT id FROM orders WHERE {_BEFORE_SUBMISSION}"
_STOP = """
UPDATE contacts SET disputed_at = :now
WHERE customer = :customer AND channel = :channel AND disputed_at IS NULL AND NOT EXISTS (
  SELECT 1 FROM contacts others WHERE others.customer = :customer AND others.disputed_at IS NOT NULL)
RETURNING channel
"""
_KILL_CODES = """
UPDATE challenges SET state = 'dead'
WHERE customer = :customer AND state = 'live' AND (channel = :channel OR order_id = :id)
"""
_CONTACTS = "SELECT channel, disputed_at FROM contacts WHERE customer = :customer"


def disputed(
    order: Order, channel: Channel, limit: RateLimit, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
) -> Script[Refusal | None]:
    """End the order, stop the contact and void every code that was sent to it.

    Refused when the other one is stopped.
    """
    end = guard(_END, id=order.id)
    stop = guard(_STOP, customer=order.customer, channel=channel.value, now=ms(now))
    kill = query(_KILL_CODES, customer=order.customer, channel=channel.value, id=order.id)
    if (yield from write_with_record(record, end, stop, *taken((limit,), now), kill, *queued(works))) is not None:
        yield from wake(works)
        return None
    if not (yield query(_OPEN, id=order.id)):
        return _MOVED_ON
    rows = yield query(_CONTACTS, customer=order.customer)
    stopped = {row["channel"]: row["disputed_at"] is not None for row in rows}
    if channel.value not in stopped:
        return _NO_CONTACT
    if stopped[channel.value]:
        return _STOPPED
    if any(stopped.values()):
        return _LAST
    spent = yield from take_each((limit,), now)
    if spent is None:
        yield from give_back_each((limit,))
        return _MOVED_ON
    return Refusal(Kind.TOO_MANY, _ONCE_A_DAY, field="channel", code="disputes", retry_after_s=spent.retry_after_s)


_MOVED_ON = Refusal(
    Kind.CONFLICT,
    text("The order has moved on meanwhile, perhaps in another tab. Please reload the page."),
    code="moved_on",
)
_NO_CONTACT = Refusal(
    Kind.NOT_FOUND,
    text("Nothing is registered here. Please call us to have it added."),
    field="channel",
    code="channel",
)
_STOPPED = Refusal(
    Kind.CONFLICT,
    text("You told us that this is not yours. Please call us to have it corrected."),
    field="channel",
    code="disputed",
)
_LAST = Refusal(
    Kind.FORBIDDEN,
    text("Your other contact is stopped already. Please call us about this one; it cannot be stopped here."),
    field="channel",
    code="last_contact",
)
_ONCE_A_DAY = text("A contact was stopped within the last 24 hours. Please call us about another one.")
