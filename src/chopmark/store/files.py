"""Files of the counter: all that a step looks at, in one statement on PostgreSQL and one snapshot on SQLite."""

from collections.abc import Sequence
from datetime import datetime

from chopmark.audit.leaf import customer_chain, order_chain
from chopmark.ra.files import CustomerFile, Entered, OrderFile, Repeat
from chopmark.store.columns import ms
from chopmark.store.engine import Engine
from chopmark.store.holdings import HOLDINGS, holding_of
from chopmark.store.idempotency import taken_in
from chopmark.store.identity import (
    ACCOUNTS,
    CONTACTS,
    CUSTOMER,
    LIVE_SESSION,
    SEEN,
    SEEN_EVERY,
    account_of,
    contact_of,
    customer_of,
    session_of,
)
from chopmark.store.leaves import TIP, tip_of
from chopmark.store.ra import LIVE_ORDERS, ORDER, order_of
from chopmark.store.script import Query, Row, Script, Value, at_once, guard, query, whole
from chopmark.store.stepup import SENT, challenge_of
from chopmark.words import CustomerId, OrderId

_WHO = "(SELECT customer FROM sessions WHERE id_hash = :session)"


class FileLedger:
    """Implements `ra.files.Files`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def enter(
        self, session: bytes, order: OrderId | None, repeat: Repeat | None, now: datetime, idle_since: datetime
    ) -> Entered | None:
        """Return the live session under this hash, with the file of its order, or of its customer without one.

        At the same moment an Idempotency-Key is taken. None when there is no such session; no file when the order is
        not theirs, or when the Idempotency-Key was used before.
        """
        live = guard(LIVE_SESSION, id_hash=session, now=ms(now), idle_since=ms(idle_since))
        key = () if repeat is None else (taken_in(_WHO, repeat, now, session=session),)
        parts = _customer_parts(_WHO, session=session) if order is None else _order_parts(order, _WHO, session=session)

        def script() -> Script[Entered | None]:
            found = yield from at_once(live, *key, *parts)
            if found is None:
                rows = yield live
                return Entered(session_of(rows[0]), None, begun=False) if rows else None
            seen = session_of(found[0][0])
            rest = found[1 + len(key) :]
            file = _customer(rest) if order is None else _order(seen.customer, order, rest)
            return Entered(seen, file, begun=bool(key))

        def used() -> Script[None]:
            yield whole(SEEN, id_hash=session, now=ms(now))

        entered = await (self._engine.run(script) if key else self._engine.read(script))
        if entered is not None and now - entered.session.seen_at >= SEEN_EVERY:
            await self._engine.run(used)
        return entered

    async def customer(self, customer: CustomerId) -> CustomerFile:
        """Return what is on record of a customer; empty for an unknown one."""
        return _customer(await self._read(_customer_parts(":customer", customer=customer)))

    async def order(self, customer: CustomerId, order: OrderId) -> OrderFile | None:
        """Return the file of an order of this customer; None when they have no such order."""
        return _order(customer, order, await self._read(_order_parts(order, ":customer", customer=customer)))

    async def _read(self, parts: tuple[Query, ...]) -> list[list[Row]]:
        def script() -> Script[list[list[Row]]]:
            return (yield from at_once(*parts)) or []

        return await self._engine.read(script)


def _customer_parts(who: str, **value: Value) -> tuple[Query, ...]:
    """Return the reads of a customer's file; `who` is the customer in SQL, with its one value."""
    return tuple(
        query(sql.replace(":customer", who), **value) for sql in (CUSTOMER, ACCOUNTS, CONTACTS, HOLDINGS, LIVE_ORDERS)
    )


def _customer(found: Sequence[list[Row]]) -> CustomerFile:
    people, accounts, contacts, holdings, live = found
    return CustomerFile(
        customer_of(people[0]) if people else None,
        tuple(map(account_of, accounts)),
        tuple(map(contact_of, contacts)),
        tuple(map(holding_of, holdings)),
        tuple(map(order_of, live)),
    )


def _order_parts(order: OrderId, who: str, **value: Value) -> tuple[Query, ...]:
    """Return the reads of an order's file; `who` is the customer in SQL, with its one value."""
    return (
        query(ORDER, id=order),
        *(query(sql.replace(":customer", who), **value) for sql in (CUSTOMER, ACCOUNTS, CONTACTS, HOLDINGS)),
        query(SENT, order_id=order),
        query(TIP, chain=order_chain(order)),
        query(TIP.replace(":chain", f"'{customer_chain(CustomerId(''))}' || {who}"), **value),
    )


def _order(customer: CustomerId, order: OrderId, found: Sequence[list[Row]]) -> OrderFile | None:
    mine, people, accounts, contacts, holdings, sent, *tips = found
    if not mine or mine[0]["customer"] != customer:
        return None
    chains = order_chain(order), customer_chain(customer)
    return OrderFile(
        order=order_of(mine[0]),
        customer=customer_of(people[0]) if people else None,
        accounts=tuple(map(account_of, accounts)),
        contacts=tuple(map(contact_of, contacts)),
        holdings=tuple(map(holding_of, holdings)),
        sent=challenge_of(sent[0]) if sent else None,
        codes=len(sent),
        tips=tuple(tip_of(chain, tip) for chain, tip in zip(chains, tips, strict=True)),
    )
