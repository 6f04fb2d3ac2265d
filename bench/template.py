"""One customer whom the product itself wrote: imported, certified, 345 days ago. The generator copies these rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bench import people
from chopmark.app.foundation import SystemEntropy
from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.app.worker import tasks
from chopmark.core.types import AccountNumber, Channel, CustomerId, FactorClass, LoginId, Operation
from chopmark.demo.history import SteppingClock
from chopmark.demo.journey import Journey, Wanted
from chopmark.demo.verbs import Verbs
from chopmark.ra.context import Caller
from chopmark.store.engine.script import Script, query
from chopmark.store.repositories.ca.certificates import CertificateRepository

AGE = timedelta(days=345)
"""How old the loaded certificates are: twenty days before their end, so that they may be renewed."""
_ROWS = {
    "customers": "id = :customer",
    "contacts": "customer = :customer",
    "accounts": "customer = :customer",
    "orders": "customer = :customer",
    "challenges": "customer = :customer",
    "keys": "customer = :customer",
    "holdings": "customer = :customer",
    "certificates": "order_id IN (SELECT id FROM orders WHERE customer = :customer)",
    "work": "customer = :customer",
    "chains": "chain = 'customer:' || :customer OR chain IN (SELECT id FROM orders WHERE customer = :customer)",
    "leaves": "chain = 'customer:' || :customer OR chain IN (SELECT id FROM orders WHERE customer = :customer)",
    "counters": "1 = 1",
}


@dataclass(frozen=True, slots=True)
class Template:
    """The rows of customer 0, by table, in the order in which references allow them to be written."""

    rows: Mapping[str, list[dict[str, Any]]]
    ca_key: bytes = field(repr=False)

    def one(self, table: str, column: str) -> Any:
        """Return a value of the table's first row."""
        return self.rows[table][0][column]


async def played(settings: Settings, now: datetime) -> Template:
    """Write customer 0 through the ordinary verbs and read the rows back."""
    clock = SteppingClock(now - AGE)
    services = await build(settings, clock, SystemEntropy())
    try:
        await services.ra.customer_import.add([people.row(0)], "bench")
        await _certified(services, clock, 0)
        rows = {table: await _read(services, table, where) for table, where in _ROWS.items()}
        clock.moment += timedelta(seconds=15)  # the tree has one head a moment
        await _work(services)
        ca_key = (await CertificateRepository(services.foundation.engine).issuers())[0].key_pem
    finally:
        await services.close()
    return Template(rows, ca_key)


async def enrolled(settings: Settings, now: datetime, customers: range) -> None:
    """Import and certify customers through the ordinary verbs: few, but the audit's verifier has nothing to say."""
    clock = SteppingClock(now - AGE)
    services = await build(settings, clock, SystemEntropy())
    try:
        await services.ra.customer_import.add([people.row(i) for i in customers], "bench")
        for i in customers:
            await _certified(services, clock, i)
            clock.moment += timedelta(seconds=15)  # the tree has one head a moment
            await _work(services)
        for task in tasks(services):
            if task.name in {"timestamp-key", "anchor"}:
                await task.job()
        clock.moment += timedelta(seconds=15)
        await _work(services)
    finally:
        await services.close()


async def _work(services: Services) -> None:
    for task in tasks(services):
        if task.name in {"deliver-0", "sequence"}:
            while await task.job():
                pass


async def _certified(services: Services, clock: SteppingClock, i: int) -> None:
    """Enrol a customer, the new key being the one that the load client can make again."""
    caller = Caller(CustomerId(people.number(i)), frozenset({FactorClass.PASSWORD}), "bench", LoginId("bench"))
    key, verbs = people.client_key(i), Verbs(services, caller)

    async def code() -> str:
        await _work(services)
        found = await services.ra.verifier.latest(verbs.order.id)
        derived = None if found is None else services.ra.verifier.code_of(found[0])
        if derived is None:
            raise ValueError("the code cannot be derived")
        return derived.reveal()

    journey = Journey(verbs, clock.now, lambda: code, key, key.request(), people.BIRTH)
    await journey.to_review(Wanted(Operation.ENROL, AccountNumber(people.account(i))), Channel.EMAIL)
    await journey.confirm()
    await journey.prove()
    await _work(services)


async def _read(services: Services, table: str, where: str) -> list[dict[str, Any]]:
    def script() -> Script[list[dict[str, Any]]]:
        values = {"customer": people.number(0)} if ":customer" in where else {}
        rows = yield query(f"SELECT * FROM {table} WHERE {where}", **values)
        return [dict(row) for row in rows]

    return await services.foundation.engine.read(script)
