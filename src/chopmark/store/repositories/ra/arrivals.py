"""A certificate of which the customer only said that it has arrived is opened after all: that is noted, once."""

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Refusal
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
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
_FOUND = "SELECT installed FROM orders WHERE id = :id"


def arrived(
    dialect: str, order: Order, nonce: bytes | None, works: tuple[OutboxJob, ...], record: AuditRecord
) -> Script[Refusal | None]:
    """Note it and queue `works`, using up the nonce; whoever comes second finds it done."""
    if (
        yield from write_with_record(
            record, guard(_ARRIVE.format(bytes=BYTES[dialect]), id=order.id, nonce=nonce), *queued(works)
        )
    ) is None:
        found = yield query(_FOUND, id=order.id)
        return None if found and found[0]["installed"] == "opened" else MOVED_ON
    yield from wake(works)
    return None
