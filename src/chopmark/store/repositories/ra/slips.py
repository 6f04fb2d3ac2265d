"""Approval slips. An attempt is counted before it is compared; a slip is used up by one order and key."""

from __future__ import annotations

from datetime import datetime

from chopmark.audit.events import Event
from chopmark.audit.record import AuditRecord, customer_stream, stamp
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, CustomerId, text
from chopmark.messaging.ports import OutboxJob
from chopmark.pki.key_words import key_words
from chopmark.ra.model import Order
from chopmark.ra.slips import Slip
from chopmark.stepup.ports import CODE, FailureLimits, Sequel
from chopmark.stepup.verifier import HELD
from chopmark.store.engine.columns import AHEAD, moment, ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, guard, query, whole
from chopmark.store.repositories.messaging.outbox import queue, queued, wake
from chopmark.store.repositories.ra.order_rows import CARRIES_NOW, HELD_HERE, by
from chopmark.store.repositories.ra.stops import stoppable
from chopmark.store.repositories.records import append, write_with_record
from chopmark.store.repositories.stepup.challenges import HOLD_LOST
from chopmark.store.repositories.stepup.failures import failure, forgive, lock_if_used_up

_COLUMNS = "id, customer, secret_hash, key_words, printed_at, expires_at"
_SETTLED = f"""
SELECT 1 AS settled
WHERE NOT EXISTS (SELECT 1 FROM contacts WHERE customer = :customer AND (cool_until > :now OR disputed_at > :since))
  AND NOT EXISTS (SELECT 1 FROM leaves WHERE chain = :chain AND at > :stamp AND event IN
    ('{Event.STAFF_CONTACT_CHANGED}', '{Event.STAFF_CUSTOMER_CHANGED}', '{Event.STAFF_COOLDOWN_STARTED}'))
"""
"""Guard: nothing of the customer was changed lately. A removed contact is found among the former contacts."""
_VOID = "UPDATE slips SET state = 'void' WHERE customer = :customer AND state <> 'void' RETURNING id"
_INSERT = f"""
INSERT INTO slips ({_COLUMNS}, state)
VALUES (:id, :customer, :secret_hash, :key_words, :printed_at, :expires_at, 'live')
"""
_GOOD = f"""customer = :customer AND expires_at > :now AND printed_at <= {AHEAD}
  AND (state = 'live' OR (state = 'used' AND order_id = :order_id AND spki = :spki))"""
_CURRENT = f"SELECT {_COLUMNS} FROM slips WHERE {_GOOD} ORDER BY printed_at DESC, id LIMIT 1"
_WAITS = """id = :order_id AND customer = :customer AND slip_unless IS NOT NULL AND spki_sha256 = :spki
  AND state IN ('bound', 'coded', 'checked') AND expires_at > :now"""
_MAY_COMPARE = f"""
SELECT id FROM slips WHERE id = :id AND {_GOOD} AND EXISTS (SELECT 1 FROM orders WHERE orders.{_WAITS})
"""
_USE = f"""
UPDATE slips SET state = 'used', order_id = :order_id, spki = :spki
WHERE id = :id AND {_GOOD} AND (key_words IS NULL OR key_words = :words) RETURNING id
"""
_CODED = f"""
UPDATE orders SET state = 'coded', coded_at = :now, checked_at = NULL, code_channel = NULL, approved_login = :login,
  login_factors = :union, slip_id = :slip
WHERE {_WAITS} AND login_factors = :known AND {HELD_HERE} AND NOT {CARRIES_NOW}
RETURNING id
"""
_MOVED = Refusal(
    Kind.STEP_REQUIRED, text("This step is not the next one of your order. Please go on where the order stands.")
)


class SlipRepository:
    """Implements `ra.slips.Slips`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, slip: Slip, settled_since: datetime, works: tuple[OutboxJob, ...], record: AuditRecord) -> bool:
        """Store a slip, make the customer's earlier slips void, and queue `works`. False when `_SETTLED` fails."""
        settled = query(
            _SETTLED,
            customer=slip.customer,
            chain=customer_stream(slip.customer),
            now=ms(slip.printed_at),
            since=ms(settled_since),
            stamp=stamp(settled_since),
        )

        def script() -> Script[bool]:
            if not (yield settled):
                return False
            yield query(_VOID, customer=slip.customer)
            yield query(
                _INSERT,
                id=slip.id,
                customer=slip.customer,
                secret_hash=slip.secret_hash,
                key_words=slip.key_words,
                printed_at=ms(slip.printed_at),
                expires_at=ms(slip.expires_at),
            )
            yield from queue(works)
            yield from append(record)
            return True

        return await self._engine.run(script)

    async def current(self, order: Order, now: datetime) -> Slip | None:
        """Return the slip that may approve this order: a live one of its customer, or the one that it has used."""

        def script() -> Script[Slip | None]:
            rows = yield whole(_CURRENT, **_of(order, now))
            return _slip(rows[0]) if rows else None

        return await self._engine.read(script)

    async def charge(
        self,
        slip: Slip,
        order: Order,
        limits: FailureLimits,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Count one failure of codes before anything is compared. Refused when none is left."""
        good = guard(_MAY_COMPARE, id=slip.id, **_of(order, now))

        def script() -> Script[Refusal | None]:
            if (yield from write_with_record(record, good, failure(order.customer, CODE, limits, now))) is not None:
                return None
            if not (yield good):
                return _MOVED
            if (yield from lock_if_used_up(order.customer, CODE, limits, now, works)):
                yield from append(no)
            return HELD

        return await self._engine.run(script)

    async def right(
        self,
        slip: Slip,
        order: Order,
        acting: ActingLogin,
        now: datetime,
        sequel: Sequel,
        record: AuditRecord,
        no: AuditRecord,
    ) -> Refusal | None:
        """Use the slip up for this order and key, mark the order as approved by this login, and do what follows.

        Works once.
        """
        use = guard(_USE, id=slip.id, words=key_words(order.spki_sha256 or ""), **_of(order, now))
        coded = guard(_CODED, slip=slip.id, **by(acting), **_of(order, now))
        hold_lost = tuple(query(sql, order_id=order.id, now=ms(now)) for sql in HOLD_LOST)
        follows: tuple[Query, ...] = (*hold_lost, *stoppable(sequel.stop), *queued(sequel.works))

        def script() -> Script[Refusal | None]:
            if (yield from write_with_record(record, use, coded, forgive(order.customer, CODE), *follows)) is not None:
                yield from wake(sequel.works)
                return None
            yield from append(no)
            return _MOVED

        return await self._engine.run(script)


def _of(order: Order, now: datetime) -> dict[str, str | int | None]:
    values: dict[str, str | int | None] = {"customer": order.customer, "order_id": order.id, "now": ms(now)}
    return {**values, "spki": order.spki_sha256}


def _slip(row: Row) -> Slip:
    return Slip(
        row["id"],
        CustomerId(row["customer"]),
        row["secret_hash"],
        row["key_words"],
        moment(row["printed_at"]),
        moment(row["expires_at"]),
    )
