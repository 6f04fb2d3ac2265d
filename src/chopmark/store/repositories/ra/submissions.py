"""Orders that are with the CA, with their audit records. The CA believes the records, not the columns of the order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime

from chopmark.audit.events import Event
from chopmark.audit.record import AuditRecord, StoredRecord, order_stream
from chopmark.core.types import OrderId, OrderState
from chopmark.ra.model import Order
from chopmark.ra.ports import Submitted
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine, Snapshot
from chopmark.store.engine.script import Row, Script, Value, at_once, guard, query, whole
from chopmark.store.repositories.ra.order_rows import ORDER, order_of
from chopmark.store.repositories.records import LEAF, RECORDS, record_of, write_with_record

_WITH_CA = f"{ORDER} AND state IN ('submitted', 'pending')"
_STUCK = """
SELECT id FROM orders
WHERE state IN ('submitted', 'pending') AND COALESCE(submitted_at, expires_at) < :before AND id || '' > :after
  AND NOT EXISTS (SELECT 1 FROM foreign_requests f WHERE f.order_id = orders.id AND f.next_at > :before
    AND f.attempt = (SELECT MAX(g.attempt) FROM foreign_requests g WHERE g.order_id = orders.id))
ORDER BY id || '' LIMIT :most
"""  # the concatenations keep both engines from reading all orders by id: few orders are with the CA
_REFUSE = """
UPDATE orders SET state = 'refused', ended = :ended, nonce = NULL
WHERE id = :id AND state IN ('submitted', 'pending') RETURNING id
"""
_OLD_FORM = f"""
SELECT o.id, o.state FROM orders o JOIN leaves l ON l.chain = o.id AND l.event = '{Event.RA_ORDER_SUBMITTED.value}'
WHERE o.state IN ('submitted', 'pending') AND l.facts NOT LIKE '%"spki_sha256"%'
UNION ALL
SELECT o.id, o.state FROM orders o JOIN leaves l ON l.chain = o.id AND l.version = 1
WHERE o.state IN ('open', 'bound', 'coded', 'checked') AND o.operation <> 'revoke' AND o.birth_date_asked = 0
  AND l.facts NOT LIKE '%"checks"%'
ORDER BY 1
"""


class SubmissionRepository:
    """Implements `ra.ports.Submissions`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def submitted(self, order: OrderId) -> Submitted | None:
        """Return a submitted or pending order with its records, as of one moment; None when it is neither any more."""

        def script() -> Script[Submitted | None]:
            found = yield from at_once(guard(_WITH_CA, id=order), query(RECORDS, chain=order_stream(order)))
            if found is None:
                return None
            return Submitted(_order(found[0][0]), tuple(map(record_of, found[1])))

        return await self._engine.read(script)

    async def stuck(self, before: datetime, after: OrderId, limit: int) -> list[OrderId]:
        """Return orders that were with the CA already at `before`, in the order of their ids, after `after`."""

        def script() -> Script[list[OrderId]]:
            rows = yield whole(_STUCK, before=ms(before), after=after, most=limit)
            return [OrderId(row["id"]) for row in rows]

        return await self._engine.read(script)

    async def refuse(self, order: OrderId, ended: str, record: AuditRecord) -> bool:
        """End an order that is with the CA, whatever its other columns say.

        False when it is not with the CA any more.
        """

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_REFUSE, id=order, ended=ended))) is not None

        return await self._engine.run(script)

    async def of_old_form(self) -> list[tuple[OrderId, OrderState]]:
        """Return the unfinished orders whose records an earlier release wrote. The CA does not accept such records."""

        def script() -> Script[list[tuple[OrderId, OrderState]]]:
            return [(OrderId(row["id"]), OrderState(row["state"])) for row in (yield whole(_OLD_FORM))]

        return await self._engine.read(script)


def _order(row: Row) -> Order | None:
    try:
        return order_of(row)
    except (ValueError, TypeError, OverflowError):
        return None  # the row has a value that we never write


class Chains:
    """Reads the records of one stream after the other, for rows that come in the order of their streams' names."""

    def __init__(self, snapshot: Snapshot, chains: str) -> None:
        """Read the records of exactly the streams that the SELECT `chains` returns."""
        sql = f"SELECT {LEAF} FROM leaves WHERE chain IN ({chains}) ORDER BY chain, version"
        self._records = _each(snapshot, sql, {})
        self._next: StoredRecord | None = None
        self._last: tuple[str, tuple[StoredRecord, ...]] = "", ()

    async def of(self, stream: str) -> tuple[StoredRecord, ...]:
        """Return the records of a stream; none when the next records are of another stream."""
        if self._last[0] != stream:
            self._next = self._next or await anext(self._records, None)
            records: list[StoredRecord] = []
            while self._next is not None and self._next.stream == stream:
                records.append(self._next)
                self._next = await anext(self._records, None)
            self._last = stream, tuple(records)
        return self._last[1]


async def _each(snapshot: Snapshot, sql: str, values: dict[str, Value]) -> AsyncIterator[StoredRecord]:
    async with aclosing(snapshot.stream(sql, values, 200)) as batches:
        async for batch in batches:
            for row in batch:
                yield record_of(row)
