"""Orders and what came of them. A transition is one conditional statement on the state that it starts from."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from chopmark.audit.record import AuditRecord
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ActingLogin, Channel, CustomerId, Installed, LoginId, OrderId, OrderState, Serial, text
from chopmark.limits.budgets import RateLimit
from chopmark.messaging.ports import Work
from chopmark.ra.model import HAS_A_KEY, Order
from chopmark.ra.ports import AlternativeOutcome, Bound, SubscriberCertificate
from chopmark.store.engine.columns import blobs, ms, ms_or_none, span, words
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, Value, guard, in_turn, query, whole
from chopmark.store.repositories.leaves import append, note, write_with_record
from chopmark.store.repositories.messaging.outbox import queue, queued, wake
from chopmark.store.repositories.ra.credentials import USED_UP, claim, usable
from chopmark.store.repositories.ra.disputes import disputed
from chopmark.store.repositories.ra.order_rows import (
    BOTH_GIVEN,
    HELD_HERE,
    LIVE,
    LIVE_ORDERS,
    ORDER,
    ORDER_COLUMNS,
    SLIP_GIVEN,
    WAITED,
    by,
    order_of,
)
from chopmark.store.repositories.ra.revoking import MOVED_ON, NotRevoked, revoked
from chopmark.store.repositories.ra.stops import hold_new
from chopmark.store.repositories.ra.successors import block_old_key, key_free, refuse, renewed, still_active, why_not

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
WHERE id = :id AND state IN {LIVE} AND state NOT IN ('submitted', 'pending') RETURNING id
"""
_TAKE_KEY = """
INSERT INTO keys (spki_sha256, customer, first_seen_at)
SELECT CAST(:spki AS TEXT), CAST(:customer AS TEXT), CAST(:now AS BIGINT)
WHERE NOT EXISTS (SELECT 1 FROM blocked_keys WHERE spki_sha256 = :spki)
ON CONFLICT (spki_sha256) DO UPDATE SET customer = keys.customer
WHERE keys.customer = :customer AND keys.blocked IS NULL RETURNING spki_sha256
"""
_UNUSED_KEY = "SELECT 1 AS unused WHERE NOT EXISTS (SELECT 1 FROM holdings WHERE spki_sha256 = :spki)"
_KEY = """
SELECT customer, blocked FROM keys WHERE spki_sha256 = :spki
UNION ALL SELECT '', reason FROM blocked_keys WHERE spki_sha256 = :spki
"""
_USED_KEY = "SELECT serial FROM holdings WHERE spki_sha256 = :spki LIMIT 1"
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
_KILL_CODES = "UPDATE challenges SET state = 'dead' WHERE order_id = :id AND state = 'live'"
_POSSESS = """
UPDATE orders SET state = 'bound', proved_login = :login, coded_at = NULL, checked_at = NULL,
  code_channel = NULL, approved_login = NULL, second_channel = NULL, second_coded_at = NULL, slip_id = NULL,
  login_factors = :union,
  nonce = CASE WHEN CAST(:used AS {bytes}) IS NULL THEN nonce ELSE NULL END
WHERE id = :id AND operation <> 'revoke' AND state IN ('bound', 'coded', 'checked') AND expires_at > :now
  AND (CAST(:used AS {bytes}) IS NULL OR nonce = :used) AND login_factors = :known AND spki_sha256 = :spki
RETURNING id
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
_RAISE = """
UPDATE holdings SET state = 'active', activated_at = :now WHERE serial = :serial AND state = 'issued' RETURNING serial
"""
_STORE_HOLDING = """
INSERT INTO holdings (serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain,
  not_before, not_after, issued_at)
VALUES (:serial, :customer, :profile, :order_id, :account, :key_home, :spki, 'issued', :der, :chain, :not_before,
  :not_after, :now)
"""
_END = f"""
UPDATE orders SET state = :state, ended = :ended
WHERE id = :id AND state IN {LIVE} AND state NOT IN {{keep}} RETURNING serial
"""
_END_HOLDING = """
UPDATE holdings SET state = 'revoked', ended_at = issued_at, reason = 'unproven'
WHERE order_id = :id AND state IN ('issued', 'held') AND activated_at IS NULL
"""

_OTHERS_KEY = Refusal(
    Kind.BAD_KEY, text("This key cannot be used. Please let this page make a new one."), field="csr", code="key_used"
)


def _supersede(order: Order, serial: Serial, now: int) -> tuple[Query, ...]:
    """Return the statements that put a new certificate in the place of those before; the one it renews must be good.

    Safe to repeat: a CA that ends the old one at issue has it superseded before the new one is proved.
    """
    new: dict[str, Value] = {"serial": serial, "now": now}
    old = renewed(order)
    others = query(_SUPERSEDE, customer=order.customer, profile=order.profile, old=old or "", **new)
    return (others,) if old is None else (others, guard(_SUPERSEDE_RENEWED, old=old, **new))


def _holders(row: Row) -> set[str | None]:
    return {row["bound_login"], row["proved_login"]}


class _Undo(Exception):
    """Rolls a transition back that found its moment gone."""


class OrderRepository:
    """Implements `ra.ports.Orders` and `ra.ports.SubscriberCertificates`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        binary = "BYTEA" if engine.dialect == "postgresql" else "BLOB"
        self._bind, self._activate = _BIND.format(bytes=binary), _ACTIVATE.format(bytes=binary)
        self._possess = _POSSESS.format(bytes=binary)

    async def open(self, order: Order, works: tuple[Work, ...], record: AuditRecord) -> Order:
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
        """Return the customer's orders that still want something, newest first."""

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
        """Write a record that goes with no other change."""
        await self._engine.run(note, record)

    async def renonce(self, order: OrderId, nonce: bytes, expires_at: datetime, record: AuditRecord) -> bool:
        """Give a live order a fresh nonce; the old one is dead."""

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
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Bind a key to an order without one, or in place of one that the same login holds, using up the nonce."""
        bind = guard(
            self._bind,
            id=order.id,
            spki=bound.spki_sha256,
            csr=bound.csr,
            proof=bound.proof,
            now=ms(now),
            used=nonce,
            evidence=bound.evidence.value,
            **by(bound.acting),
        )

        def script() -> Script[Refusal | None]:
            ours = guard(_TAKE_KEY, spki=bound.spki_sha256, customer=order.customer, now=ms(now))
            unused = guard(_UNUSED_KEY, spki=bound.spki_sha256)
            claimed = [claim(order.id, bound.credential, bound.spki_sha256, now)] if bound.credential else []
            killed = query(_KILL_CODES, id=order.id)
            if (yield from write_with_record(record, ours, unused, bind, *claimed, killed, *queued(works))) is not None:
                yield from wake(works)
                return None
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

        return await self._engine.run(script)

    async def possess(
        self, order: Order, nonce: bytes | None, acting: ActingLogin, now: datetime, record: AuditRecord
    ) -> bool:
        """Note that this login holds the order's key, using up the nonce; approvals given before are void.

        A code that was sent and not yet given goes on: it is bound to the key, not to a login.
        """

        def script() -> Script[bool]:
            held = guard(
                self._possess,
                id=order.id,
                used=nonce,
                now=ms(now),
                **by(acting),
                spki=order.spki_sha256,
            )
            return (yield from write_with_record(record, held)) is not None

        return await self._engine.run(script)

    async def check(
        self, order: OrderId, login: LoginId, now: datetime, fresh_since: datetime, record: AuditRecord
    ) -> bool:
        """Mark an order that this login has coded lately as checked (birth date); give the charged mismatch back."""

        def script() -> Script[bool]:
            checked = guard(_CHECK, id=order, login=login, now=ms(now), since=ms(fresh_since))
            return (yield from write_with_record(record, checked, query(_FORGIVE_BIRTH_DATE, id=order))) is not None

        return await self._engine.run(script)

    async def submit(
        self, order: Order, consent: str, acting: ActingLogin, fresh_since: datetime, now: datetime, record: AuditRecord
    ) -> bool:
        """Move an order as it was read, which this login has approved since `fresh_since`, to submitted; once."""

        def script() -> Script[bool]:
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
            return (yield from write_with_record(record, once)) is not None

        return await self._engine.run(script)

    async def pend(self, order: OrderId, record: AuditRecord) -> bool:
        """Mark a submitted order as waiting for its CA."""

        def script() -> Script[bool]:
            return (yield from write_with_record(record, guard(_PEND, id=order))) is not None

        return await self._engine.run(script)

    async def fulfil(
        self,
        order: Order,
        holding: SubscriberCertificate,
        works: tuple[Work, ...],
        record: AuditRecord,
        otherwise: AlternativeOutcome,
        *,
        swap: bool = False,
    ) -> OrderState | None:
        """Give a submitted or pending order its certificate; once. With `swap` the old one is superseded by it at once.

        When the certificate that it renews was revoked meanwhile, the order is refused and the new one revoked (F22).
        When a contact has stopped the order, the certificate comes on hold and the old one is left alone: HELD.
        Return what the order has become; None when it has moved on.
        """
        store = query(
            _STORE_HOLDING,
            serial=holding.serial,
            customer=holding.customer,
            profile=holding.profile,
            order_id=holding.order,
            account=holding.account,
            key_home=holding.key_home.value,
            spki=holding.spki_sha256,
            der=holding.der,
            chain=blobs(holding.chain),
            not_before=ms(holding.not_before),
            not_after=ms(holding.not_after),
            now=ms(holding.issued_at),
        )

        def fulfil(sql: str) -> Query:
            return guard(sql, id=order.id, serial=holding.serial, now=ms(holding.issued_at))

        def script() -> Script[OrderState | None]:
            free = key_free(holding.spki_sha256)
            old = _supersede(order, holding.serial, ms(holding.issued_at)) if swap else still_active(order)
            changes = (*old, free, fulfil(_FULFIL), store, *block_old_key(order), *queued(works))
            if (yield from write_with_record(record, *changes)) is not None:
                yield from wake(works)
                return OrderState.ISSUED
            why = yield from why_not(order.id)
            if why is None and (yield fulfil(_FULFIL_STOPPED)):
                yield from in_turn((*(old if swap else ()), store, hold_new(order.id, ms(holding.issued_at))))
                yield from queue(otherwise.held)
                yield from append(record)
                return OrderState.LOCKED
            if why is None or not (yield from refuse(order.id, holding.serial, why)):
                return None
            yield store
            yield query(_END_HOLDING, id=order.id)
            yield from queue(otherwise.works)
            yield from append(otherwise.record)
            return OrderState.REFUSED

        return await self._engine.run(script)

    async def activate(
        self,
        order: Order,
        nonce: bytes | None,
        installed: Installed,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """Make the order's certificate the active one and supersede the earlier, using up the nonce; once."""
        new: dict[str, Value] = {"serial": order.serial, "now": ms(now)}
        supersede = _supersede(order, order.serial or Serial(""), ms(now))

        def script() -> Script[Refusal | None]:
            activate = guard(self._activate, id=order.id, nonce=nonce, installed=installed.value, **new)
            free = key_free(order.spki_sha256 or "")
            if (
                yield from write_with_record(record, activate, free, *supersede, guard(_RAISE, **new), *queued(works))
            ) is None:
                found = yield query(ORDER, id=order.id)
                return None if found and found[0]["state"] == "active" else MOVED_ON
            yield from wake(works)
            return None

        return await self._engine.run(script)

    async def revoke(
        self,
        order: Order,
        acting: ActingLogin,
        limits: tuple[RateLimit, ...],
        fresh_since: datetime,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """End a holding by its coded revocation order; refused when a quota is used up."""
        script = partial(revoked, order, acting, limits, fresh_since, now, works, record)
        try:
            await self._engine.run(script)
        except NotRevoked as refused:
            return refused.refusal
        return None

    async def end(self, order: OrderId, state: str, ended: str, works: tuple[Work, ...], record: AuditRecord) -> bool:
        """Move a live order to cancelled, held, refused or expired, and its unproven certificate to revoked.

        False, and nothing changed, when it got a certificate meanwhile that `works` does not have revoked.
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
                yield query(_END_HOLDING, id=order)
                yield from queue(works)
            yield query(_KILL_CODES, id=order)
            yield from append(record)
            return True

        try:
            return await self._engine.run(script)
        except _Undo:
            return False

    async def dispute(
        self,
        order: Order,
        channel: Channel,
        limit: RateLimit,
        now: datetime,
        works: tuple[Work, ...],
        record: AuditRecord,
    ) -> Refusal | None:
        """End an order that is not submitted and stop the contact; as `disputes.disputed`."""
        return await self._engine.run(disputed, order, channel, limit, now, works, record)
