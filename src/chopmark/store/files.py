"""Files of the counter: all that a step looks at, in one statement on PostgreSQL and one snapshot on SQLite."""

from chopmark.audit.leaf import customer_chain, order_chain
from chopmark.ra.files import CustomerFile, OrderFile
from chopmark.store.engine import Engine
from chopmark.store.holdings import HOLDINGS, holding_of
from chopmark.store.identity import ACCOUNTS, CONTACTS, CUSTOMER, account_of, contact_of, customer_of
from chopmark.store.leaves import TIP, tip_of
from chopmark.store.ra import LIVE_ORDERS, ORDER, order_of
from chopmark.store.script import Row, Script, at_once, query
from chopmark.store.stepup import SENT, challenge_of
from chopmark.words import CustomerId, OrderId


class FileLedger:
    """Implements `ra.files.Files`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def customer(self, customer: CustomerId) -> CustomerFile:
        """Return what is on record of a customer; empty for an unknown one."""
        parts = (
            query(CUSTOMER, id=customer),
            query(ACCOUNTS, customer=customer),
            query(HOLDINGS, customer=customer),
            query(LIVE_ORDERS, customer=customer),
        )

        def script() -> Script[list[list[Row]] | None]:
            return (yield from at_once(*parts))

        people, accounts, holdings, live = await self._engine.read(script) or ([], [], [], [])
        return CustomerFile(
            customer_of(people[0]) if people else None,
            tuple(map(account_of, accounts)),
            tuple(map(holding_of, holdings)),
            tuple(map(order_of, live)),
        )

    async def order(self, customer: CustomerId, order: OrderId) -> OrderFile | None:
        """Return the file of an order of this customer; None when they have no such order."""
        chains = order_chain(order), customer_chain(customer)
        parts = (
            query(ORDER, id=order),
            query(CUSTOMER, id=customer),
            query(CONTACTS, customer=customer),
            query(HOLDINGS, customer=customer),
            query(SENT, order_id=order),
            *(query(TIP, chain=chain) for chain in chains),
        )

        def script() -> Script[list[list[Row]] | None]:
            return (yield from at_once(*parts))

        found = await self._engine.read(script)
        if not found or not found[0] or found[0][0]["customer"] != customer:
            return None
        (row,), people, contacts, holdings, sent, *tips = found
        return OrderFile(
            order=order_of(row),
            customer=customer_of(people[0]) if people else None,
            contacts=tuple(map(contact_of, contacts)),
            holdings=tuple(map(holding_of, holdings)),
            sent=challenge_of(sent[0]) if sent else None,
            codes=len(sent),
            tips=tuple(tip_of(chain, tip) for chain, tip in zip(chains, tips, strict=True)),
        )
