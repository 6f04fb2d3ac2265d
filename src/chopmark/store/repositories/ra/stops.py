"""Stop a replacement by the reference in its notice. Each outcome is one conditional bundle with its record."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.record import AuditRecord
from chopmark.core.types import OrderId, OrderState, Serial
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.ra.stopping import Stopping
from chopmark.stepup.ports import Stop
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Script, guard, query, whole
from chopmark.store.repositories.messaging.outbox import queued, wake
from chopmark.store.repositories.ra.order_rows import ORDER_COLUMNS, order_of
from chopmark.store.repositories.records import write_with_record

_ADD = "INSERT INTO stops (reference_hash, order_id, until) VALUES (:reference_hash, :order_id, :until)"
_FIND = f"""
SELECT {ORDER_COLUMNS} FROM orders
WHERE id = (SELECT order_id FROM stops WHERE reference_hash = :hash AND until > :now AND used_at IS NULL)
"""
_USE = """
UPDATE stops SET used_at = :now
WHERE reference_hash = :hash AND order_id = :id AND until > :now AND used_at IS NULL RETURNING order_id
"""
_END = """
UPDATE orders SET state = 'cancelled', ended = 'stopped_by_contact', nonce = NULL
WHERE id = :id AND state IN ('open', 'bound', 'coded', 'checked') RETURNING id
"""
_KILL_CODES = "UPDATE challenges SET state = 'dead' WHERE order_id = :id AND state = 'live'"
_MARK = """
UPDATE orders SET ended = 'stopped_by_contact' WHERE id = :id AND state = :state AND ended IS NULL RETURNING id
"""
_HOLD = """
UPDATE holdings SET state = 'held', ended_at = :now, reason = 'held'
WHERE serial = :serial AND order_id = :id AND state = :state RETURNING serial
"""
_HOLD_NEW = """
UPDATE holdings SET state = 'held', ended_at = :now, reason = 'held' WHERE order_id = :id AND state = 'issued'
"""
_CLEARED = """
UPDATE orders SET ended = NULL
WHERE serial = :serial AND state IN ('issued', 'active') AND ended = 'stopped_by_contact'
"""


def stoppable(stop: Stop | None) -> tuple[Query, ...]:
    """Return the statement that stores a reference. It is a part of the bundle of the right code."""
    if stop is None:
        return ()
    return (query(_ADD, reference_hash=stop.reference_hash, order_id=stop.order, until=ms(stop.until)),)


def hold_new(order: OrderId, now: int) -> Query:
    """Return the statement that puts the new certificate of a stopped order on hold."""
    return query(_HOLD_NEW, id=order, now=now)


def cleared(serial: Serial) -> Query:
    """Return the statement that lets a stopped order continue, when people at the firm release its certificate."""
    return query(_CLEARED, serial=serial)


class StopRepository:
    """Implements `ra.stopping.Stops`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, reference_hash: str, now: datetime) -> Order | None:
        """Return the order that a reference stops; None when the reference is unknown, too old or used."""

        def script() -> Script[Order | None]:
            rows = yield whole(_FIND, hash=reference_hash, now=ms(now))
            return order_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def stop(self, reference_hash: str, one: Stopping, now: datetime, record: AuditRecord) -> bool:
        """Use a reference up and stop the order as it was read. False when reference or order was changed meanwhile."""
        return await self._engine.run(_stop, reference_hash, one.order, one.works, now, record)


def _stop(
    reference_hash: str, order: Order, works: tuple[OutboxJob, ...], now: datetime, record: AuditRecord
) -> Script[bool]:
    use = guard(_USE, hash=reference_hash, id=order.id, now=ms(now))
    if (yield from write_with_record(record, use, *_changes(order, now), *queued(works))) is None:
        return False
    yield from wake(works)
    return True


def _changes(order: Order, now: datetime) -> tuple[Query, ...]:
    if order.state not in {OrderState.SUBMITTED, OrderState.PENDING, OrderState.ISSUED, OrderState.ACTIVE}:
        return guard(_END, id=order.id), query(_KILL_CODES, id=order.id)
    mark = guard(_MARK, id=order.id, state=order.state.value)
    if order.serial is None:
        return (mark,)
    return mark, guard(_HOLD, serial=order.serial, id=order.id, state=order.state.value, now=ms(now))
