"""A certificate of which the customer only said that it has arrived is opened after all: that is noted, once."""

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.store.engine.columns import ms
from chopmark.store.engine.script import Script, guard, query
from chopmark.store.repositories.messaging.outbox import queued, wake
from chopmark.store.repositories.ra.order_rows import BYTES
from chopmark.store.repositories.ra.revoking import MOVED_ON
from chopmark.store.repositories.records import write_with_record

_ARRIVE = """
UPDATE orders SET installed = 'opened', nonce = NULL
WHERE id = :id AND state = 'active' AND installed = 'said' AND (CAST(:nonce AS {bytes}) IS NULL OR nonce = :nonce)
  AND serial IN (SELECT serial FROM holdings WHERE state = 'active') RETURNING id
"""
_DUE = """
UPDATE imported_certificates SET revoke_after = :now
WHERE customer = :customer AND superseded_by = :serial AND revoke_after > :now
"""
_FOUND = "SELECT installed FROM orders WHERE id = :id"


def arrived(
    dialect: str, order: Order, nonce: bytes | None, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
) -> Script[Refusal | None]:
    """Note it and queue `works`, using up the nonce; whoever comes second finds it done."""
    arrive = guard(_ARRIVE.format(bytes=BYTES[dialect]), id=order.id, nonce=nonce)
    due = query(_DUE, customer=order.customer, serial=order.serial, now=ms(now))
    if (yield from write_with_record(record, arrive, due, *queued(works))) is None:
        found = yield query(_FOUND, id=order.id)
        return None if found and found[0]["installed"] == "opened" else MOVED_ON
    yield from wake(works)
    return None
