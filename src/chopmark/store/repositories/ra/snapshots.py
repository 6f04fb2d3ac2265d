"""Snapshots: everything that a step reads of a customer and an order, at one moment and in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from chopmark.audit.record import customer_stream, order_stream
from chopmark.core.types import CustomerId, LoginId, OrderId
from chopmark.ra.snapshots import CustomerSnapshot, OrderSnapshot, Repeat, SessionSnapshot
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Query, Row, Script, Value, at_once, guard, query, whole
from chopmark.store.repositories.identity.customers import (
    ACCOUNTS,
    CONTACTS,
    CUSTOMER,
    LAST_LOGIN,
    LIVE_SESSION,
    SEEN,
    SEEN_EVERY,
    account_of,
    contact_of,
    customer_of,
    session_of,
)
from chopmark.store.repositories.ra.idempotency import taken_in
from chopmark.store.repositories.ra.order_rows import LIVE_ORDERS, ORDER, order_of
from chopmark.store.repositories.ra.subscriber_certificates import HOLDINGS, any_holding_of
from chopmark.store.repositories.records import TIP, tip_of
from chopmark.store.repositories.stepup.challenges import SENT, challenge_of

_WHO = "(SELECT customer FROM sessions WHERE id_hash = :session)"
_OF_CUSTOMER = (CUSTOMER, ACCOUNTS, CONTACTS, HOLDINGS, LIVE_ORDERS)
_OF_ORDER = (
    CUSTOMER,
    ACCOUNTS,
    CONTACTS,
    HOLDINGS,
    TIP.replace(":chain", f"'{customer_stream(CustomerId(''))}' || :customer"),
    LAST_LOGIN,
)
_OF_VISITOR = tuple(sql.replace(":customer", _WHO) for sql in _OF_CUSTOMER)
_OF_VISITORS_ORDER = tuple(sql.replace(":customer", _WHO) for sql in _OF_ORDER)


class SnapshotRepository:
    """Implements `ra.snapshots.Snapshots`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def enter(
        self, session: bytes, order: OrderId | None, repeat: Repeat | None, now: datetime, idle_since: datetime
    ) -> SessionSnapshot | None:
        """Return the live session under this hash, with the snapshot of its order, or of its customer without one.

        The same transaction takes the Idempotency-Key. None when there is no such session. Without a snapshot when the
        order is another customer's, or when the Idempotency-Key was used before.
        """
        live = guard(LIVE_SESSION, id_hash=session, now=ms(now), idle_since=ms(idle_since))
        key = () if repeat is None else (taken_in(_WHO, repeat, now, session=session),)
        if order is None:
            parts = tuple(query(sql, session=session) for sql in _OF_VISITOR)
        else:
            parts = _order_parts(order, _OF_VISITORS_ORDER, session=session)

        def script() -> Script[SessionSnapshot | None]:
            found = yield from at_once(live, *key, *parts)
            if found is None:
                rows = yield live
                return SessionSnapshot(session_of(rows[0]), None, begun=False) if rows else None
            seen = session_of(found[0][0])
            rest = found[1 + len(key) :]
            snapshot = _customer(rest) if order is None else _order(seen.customer, order, rest)
            return SessionSnapshot(seen, snapshot, begun=bool(key))

        def used() -> Script[None]:
            yield whole(SEEN, id_hash=session, now=ms(now))

        entered = await (self._engine.run(script) if key else self._engine.read(script))
        if entered is not None and abs(now - entered.session.seen_at) >= SEEN_EVERY:
            await self._engine.run(used)
        return entered

    async def customer(self, customer: CustomerId) -> CustomerSnapshot:
        """Return the snapshot of a customer; an empty one for an unknown customer."""
        return _customer(await self._read(tuple(query(sql, customer=customer) for sql in _OF_CUSTOMER)))

    async def order(self, customer: CustomerId, order: OrderId) -> OrderSnapshot | None:
        """Return the snapshot of an order of this customer; None when they have no such order."""
        return _order(customer, order, await self._read(_order_parts(order, _OF_ORDER, customer=customer)))

    async def _read(self, parts: tuple[Query, ...]) -> list[list[Row]]:
        def script() -> Script[list[list[Row]]]:
            return (yield from at_once(*parts)) or []

        return await self._engine.read(script)


def _customer(found: Sequence[list[Row]]) -> CustomerSnapshot:
    people, accounts, contacts, certificates, live = found
    return CustomerSnapshot(
        customer_of(people[0]) if people else None,
        tuple(map(account_of, accounts)),
        tuple(map(contact_of, contacts)),
        tuple(map(any_holding_of, certificates)),
        tuple(map(order_of, live)),
    )


def _order_parts(order: OrderId, sqls: tuple[str, ...], **value: Value) -> tuple[Query, ...]:
    """Return the statements for the snapshot of an order. `value` names the customer in those about the customer."""
    return (
        query(ORDER, id=order),
        query(SENT, order_id=order),
        query(TIP, chain=order_stream(order)),
        *(query(sql, **value) for sql in sqls),
    )


def _order(customer: CustomerId, order: OrderId, found: Sequence[list[Row]]) -> OrderSnapshot | None:
    mine, sent, tip, people, accounts, contacts, certificates, customers_tip, logins = found
    if not mine or mine[0]["customer"] != customer:
        return None
    return OrderSnapshot(
        order=order_of(mine[0]),
        customer=customer_of(people[0]) if people else None,
        accounts=tuple(map(account_of, accounts)),
        contacts=tuple(map(contact_of, contacts)),
        certificates=tuple(map(any_holding_of, certificates)),
        sent=challenge_of(sent[0]) if sent else None,
        codes=len(sent),
        undelivered=bool(sent) and str(sent[0]["outcome"]).startswith("failed:"),
        waiting=bool(sent) and sent[0]["outcome"] is None,
        tips=(tip_of(order_stream(order), tip), tip_of(customer_stream(customer), customers_tip)),
        last_login=LoginId(logins[0]["login"]) if logins else None,
    )
