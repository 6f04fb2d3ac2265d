"""Orders and their transitions.

Each transition is one UPDATE on the condition that the order is in the state before.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from chopmark.audit.record import AuditRecord, StoredRecord
from chopmark.core.refusal import Refusal
from chopmark.core.types import ActingLogin, Channel, CustomerId, Installed, LoginId, OrderId, OrderState
from chopmark.limits.rate_limits import RateLimit
from chopmark.messaging.ports import OutboxJob
from chopmark.ra.model import Order
from chopmark.ra.ports import AlternativeOutcome, Bound, SubscriberCertificate
from chopmark.store.engine.columns import ms, ms_or_none, span, words
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Script, guard, query, whole
from chopmark.store.repositories.messaging.outbox import queue, queued, wake
from chopmark.store.repositories.ra.arrivals import arrived
from chopmark.store.repositories.ra.binding import bound_to, possessed
from chopmark.store.repositories.ra.disputes import disputed
from chopmark.store.repositories.ra.fulfilment import END_UNPROVEN, activated, fulfilled
from chopmark.store.repositories.ra.order_rows import (
    BOTH_GIVEN,
    HELD_HERE,
    KILL_CODES,
    LIVE,
    LIVE_ORDERS,
    ORDER,
    ORDER_COLUMNS,
    SLIP_GIVEN,
    WAITED,
    order_of,
)
from chopmark.store.repositories.ra.revoking import NotRevoked, revoked
from chopmark.store.repositories.records import RECORDS, append, note, record_of, write_with_record

_INSERT = """
INSERT INTO orders (id, customer, operation, reason, account, profile, key_home, state, login_factors, policy,
  created_at, expires_at, birth_date_asked, nonce, nonce_expires_at, old_serial, login, both_codes, delay,
  slip_unless)
VALUES (:id, :customer, :operation, :reason, :account, :profile, :key_home, :state, :login_factors, :policy,
  :created_at, :expires_at, :birth_date_asked, :nonce, :nonce_expires_at, :old_serial, :login, :both_codes,
  :delay, :slip_unless)
ON CONFLICT DO NOTHING RETURNING id
"""
_SAME_PROFILE = f"""
SELECT {ORDER_COLUMNS} FROM orders
WHERE customer = :customer AND profile = :profile AND operation <> 'revoke' AND state IN {LIVE}
"""
_STUCK = f"""
SELECT {ORDER_COLUMNS} FROM orders
WHERE state IN ({{states}}) AND COALESCE(issued_at, submitted_at, expires_at) < :before
  AND NOT EXISTS (SELECT 1 FROM foreign_requests f WHERE f.order_id = orders.id AND f.next_at > :before
    AND f.attempt = (SELECT MAX(g.attempt) FROM foreign_requests g WHERE g.order_id = orders.id))
ORDER BY expires_at LIMIT :most
"""
_RENONCE = f"""
UPDATE orders SET nonce = :nonce, nonce_expires_at = :expires_at
WHERE id = :id AND (state = 'active' AND installed = 'said'
  OR state IN {LIVE} AND state NOT IN ('submitted', 'pending')) RETURNING id
"""
_CHECK = f"""
UPDATE orders SET state = 'checked', checked_at = :now
WHERE id = :id AND state = 'coded' AND coded_at > :since AND approved_login = :login AND {HELD_HERE} AND {BOTH_GIVEN}
RETURNING id
"""
_FORGIVE_BIRTH_DATE = """
UPDATE failures SET in_window = 0, ever = CASE WHEN ever > 0 THEN ever - 1 ELSE 0 END
WHERE customer = (SELECT customer FROM orders WHERE id = :id) AND factor = 'birth_date' AND held_at IS NULL
"""
_SUBMIT = f"""
UPDATE orders SET state = 'submitted', consent = :consent, submitted_at = :now
WHERE id = :id AND operation <> 'revoke' AND state = :start AND coded_at > :since AND expires_at > :now
  AND approved_login = :login AND {HELD_HERE} AND login_factors = :known AND spki_sha256 = :spki AND {BOTH_GIVEN}
  AND {WAITED} AND {SLIP_GIVEN}
RETURNING id
"""
_PEND = "UPDATE orders SET state = 'pending' WHERE id = :id AND state = 'submitted' RETURNING id"
_END = f"""
UPDATE orders SET state = :state, ended = :ended
WHERE id = :id AND state IN {LIVE} AND state NOT IN {{keep}} RETURNING serial
"""


class _Undo(Exception):
    """Rolls a transition back because the order was changed meanwhile."""


class OrderRepository:
    """Implements `ra.ports.Orders`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def open(self, order: Order, works: tuple[OutboxJob, ...], record: AuditRecord) -> Order:
        """Store a new order and queue `works`, or return the customer's live one of the same profile unchanged."""

        def script() -> Script[Order]:
            new = guard(
                _INSERT,
                id=order.id,
                customer=order.customer,
                operation=order.operation.value,
                reason=None if order.reason is None else order.reason.value,
                account=order.account,
                profile=order.profile,
                key_home=order.key_home.value,
                state=order.state.value,
                login_factors=words(frozenset(order.login_factors)),
                policy=order.policy,
                created_at=ms(order.created_at),
                expires_at=ms(order.expires_at),
                birth_date_asked=int(order.birth_date_asked),
                nonce=order.nonce,
                nonce_expires_at=ms_or_none(order.nonce_expires_at),
                old_serial=order.old_serial,
                login=order.login,
                both_codes=int(order.both_codes),
                delay=span(order.delay),
                slip_unless=None if order.slip_unless is None else "+".join(sorted(order.slip_unless)),
            )
            if (yield from write_with_record(record, new, *queued(works))) is not None:
                yield from wake(works)
                return order
            live = yield query(_SAME_PROFILE, customer=order.customer, profile=order.profile)
            if not live:
                raise _Undo
            return order_of(live[0])

        return await self._engine.run(script)

    async def get(self, order: OrderId) -> Order | None:
        """Return an order by id."""

        def script() -> Script[Order | None]:
            rows = yield whole(ORDER, id=order)
            return order_of(rows[0]) if rows else None

        return await self._engine.read(script)

    async def live(self, customer: CustomerId) -> list[Order]:
        """Return the customer's orders that are not finished, newest first."""

        def script() -> Script[list[Order]]:
            return [order_of(row) for row in (yield whole(LIVE_ORDERS, customer=customer))]

        return await self._engine.read(script)

    async def stuck(self, states: tuple[str, ...], before: datetime, limit: int) -> list[Order]:
        """Return orders that have been in one of the states since before `before`, oldest first."""
        names = {f"state{index}": state for index, state in enumerate(states)}
        sql = _STUCK.format(states=", ".join(f":{name}" for name in names))

        def script() -> Script[list[Order]]:
            return [order_of(row) for row in (yield whole(sql, before=ms(before), most=limit, **names))]

        return await self._engine.read(script)

    async def note(self, record: AuditRecord) -> None:
        """Write a record without another change."""
        await self._engine.run(note, record)

    async def renonce(self, order: OrderId, nonce: bytes, expires_at: datetime, record: AuditRecord) -> bool:
        """Give a live order, or one that waits for its file, a new nonce. The old one is invalid from now on."""

        def script() -> Script[bool]:
            fresh = guard(_RENONCE, id=order, nonce=nonce, expires_at=ms(expires_at))
            return (yield from write_with_record(record, fresh)) is not None

        return await self._engine.run(script)

    async def bind(
        self,
        order: Order,
        bound: Bound,
        nonce: bytes | None,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """As `binding.bound_to`."""
        return await self._engine.run(bound_to, self._engine.dialect, order, bound, nonce, now, works, record)

    async def possess(
        self, order: Order, nonce: bytes | None, acting: ActingLogin, now: datetime, record: AuditRecord
    ) -> bool:
        """As `binding.possessed`."""
        return await self._engine.run(possessed, self._engine.dialect, order, nonce, acting, now, record)

    async def check(
        self, order: OrderId, login: LoginId, now: datetime, fresh_since: datetime, record: AuditRecord
    ) -> bool:
        """Note that the birth date was right, after a recent code of this login. Give the counted failure back."""

        def script() -> Script[bool]:
            checked = guard(_CHECK, id=order, login=login, now=ms(now), since=ms(fresh_since))
            return (yield from write_with_record(record, checked, query(_FORGIVE_BIRTH_DATE, id=order))) is not None

        return await self._engine.run(script)

    async def submit(
        self, order: Order, consent: str, acting: ActingLogin, fresh_since: datetime, now: datetime, record: AuditRecord
    ) -> tuple[StoredRecord, ...]:
        """Submit an order that this login has approved since `fresh_since`, if it is as the caller has read it.

        Works once. Return the order's records with this one; none when it was not submitted.
        """

        def script() -> Script[tuple[StoredRecord, ...]]:
            once = guard(
                _SUBMIT,
                id=order.id,
                consent=consent,
                start=order.state.value,
                since=ms(fresh_since),
                now=ms(now),
                login=acting.id,
                known=words(frozenset(acting.known)),
                spki=order.spki_sha256,
            )
            done = yield from write_with_record(record, query(RECORDS, chain=record.stream), once)
            return () if done is None else (*map(record_of, done[0]), record.stored())

        return await self._engine.run(script)

    async def pend(self, order: OrderId, record: AuditRecord) -> bool:
        """Mark a submitted order as waiting for its CA."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_PEND, id=order))) is not None

        return await self._engine.run(script)

    async def fulfil(
        self,
        order: Order,
        certificate: SubscriberCertificate,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        otherwise: AlternativeOutcome,
        *,
        swap: bool = False,
    ) -> OrderState | None:
        """As `fulfilment.fulfilled`."""
        return await self._engine.run(fulfilled, order, certificate, works, record, otherwise, swap=swap)

    async def activate(
        self,
        order: Order,
        nonce: bytes | None,
        installed: Installed,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
        kept: timedelta = timedelta(0),
    ) -> Refusal | None:
        """As `fulfilment.activated`."""
        dialect = self._engine.dialect
        return await self._engine.run(activated, dialect, order, nonce, installed, now, works, record, kept)

    async def revoke(
        self,
        order: Order,
        acting: ActingLogin,
        limits: tuple[RateLimit, ...],
        fresh_since: datetime,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Revoke a certificate by its approved order. Refused when a rate limit is used up."""
        script = partial(revoked, order, acting, limits, fresh_since, now, works, record)
        try:
            await self._engine.run(script)
        except NotRevoked as refused:
            return refused.refusal
        return None

    async def end(
        self, order: OrderId, state: str, ended: str, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> bool:
        """End a live order as cancelled, held, refused or expired, and revoke its certificate that was not proved.

        False, and nothing is changed, when the order got a certificate meanwhile and `works` does not revoke it.
        """
        keep = "('none')" if state == OrderState.REFUSED else "('submitted', 'pending')"
        sql = _END.format(keep=keep)

        def script() -> Script[bool]:
            rows = yield query(sql, id=order, state=str(state), ended=ended)
            if not rows:
                return False
            if rows[0]["serial"] is not None:
                if not works:
                    raise _Undo
                yield query(END_UNPROVEN, id=order)
                yield from queue(works)
            yield query(KILL_CODES, id=order)
            yield from append(record)
            return True

        try:
            return await self._engine.run(script)
        except _Undo:
            return False

    async def arrive(
        self, order: Order, nonce: bytes | None, now: datetime, works: tuple[OutboxJob, ...], record: AuditRecord
    ) -> Refusal | None:
        """Note that a certificate which was only said to be there has been opened; as `arrivals.arrived`."""
        return await self._engine.run(arrived, self._engine.dialect, order, nonce, now, works, record)

    async def dispute(
        self,
        order: Order,
        channel: Channel,
        limit: RateLimit,
        now: datetime,
        works: tuple[OutboxJob, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """As `disputes.disputed`."""
        return await self._engine.run(disputed, order, channel, limit, now, works, record)
