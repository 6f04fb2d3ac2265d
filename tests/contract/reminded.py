"""A world with certificates that end, gateways that count, and the two jobs of reminders, for tests of reminders."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.app.trading_calendar import trading_calendar
from chopmark.client.signing import ClientKey
from chopmark.core.types import Channel, CustomerId, Secret
from chopmark.identity.ports import ContactRow
from chopmark.jobs.remind import Reminding
from chopmark.messaging.configuration import SendLimits
from chopmark.messaging.failover import Breaker, Router
from chopmark.messaging.ports import GatewayFault, Message, Receipt
from chopmark.messaging.templates import Sender
from chopmark.ra.former_issuers import FormerStatus, NoStatus
from chopmark.ra.policy import TW_BROKER, renewal_opens
from chopmark.ra.reminders.planning import ReminderPlanning
from chopmark.ra.reminders.policy import ReminderPolicy
from chopmark.ra.reminders.ports import ReminderRules
from chopmark.store.engine.columns import ms
from chopmark.store.engine.port import Engine
from chopmark.store.engine.script import Batch, Script, Value
from chopmark.store.repositories.messaging.deliveries import DeliveryRepository
from chopmark.store.repositories.messaging.spending import SpendingRepository
from chopmark.store.repositories.reminders.plans import ReminderPlanRepository
from chopmark.store.repositories.reminders.queue import ReminderQueueRepository
from chopmark.tw.zone import TAIPEI
from tests.contract.alone import create_tables
from tests.contract.world import World
from tests.former import old_ca
from tests.tables import Clock, Tables

SENDER = Sender("示範證券", "Demo Securities", "02-1234-5678")
_ORDER = """
INSERT INTO orders (id, customer, operation, account, profile, key_home, state, login_factors, policy, created_at,
  expires_at, birth_date_asked)
VALUES (:order, :customer, 'enrol', 'F014000-0000001', :profile, 'file', 'active', 'password', 'p', 0, 0, 0)
"""
_HOLDING = """
INSERT INTO holdings (serial, customer, profile, order_id, account, key_home, spki_sha256, state, der, chain,
  not_before, not_after, issued_at)
VALUES (:serial, :customer, :profile, :order, 'F014000-0000001', 'file', :serial, 'active', :empty, :empty, 0,
  :not_after, 0)
"""
_IMPORTED = """
INSERT INTO imported_certificates (fingerprint, issuer, serial, customer, profile, way, spki_sha256, der, chain,
  not_before, not_after, state, imported_at, run)
VALUES (:id, 'old', '01', :customer, :profile, 'file', :id, :der, :empty, 0, :not_after, 'active', 0, :run)
"""


@cache
def of_old_ca(bits: int = 0) -> bytes:
    """A certificate of a former CA; its key is of RSA with so many bits, or of P-256."""
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
    return old_ca().issue("A123456789", ClientKey(key))


_RUN = """
INSERT INTO certificate_imports (run, input_sha256, state, done, staff, created_at)
VALUES (:run, 'x', :state, 0, 'amy', 0) ON CONFLICT (run) DO NOTHING
"""
_CUSTOMER = """
INSERT INTO customers (id, person_kind, person_id_hash, person_id_sealed, name_sealed, version, created_at, updated_at)
VALUES (:id, 'national', :id, :empty, :empty, 1, 0, 0)
"""
_CONTACT = """
INSERT INTO contacts (customer, channel, version, value_sealed, destination_hash, verified_at, cool_until)
VALUES (:customer, :channel, 1, :value, 'h', 0, 0)
"""


def taipei(*when: int) -> datetime:
    """A moment in Taiwan."""
    return datetime(*when, tzinfo=TAIPEI)  # type: ignore[misc,arg-type]


@dataclass
class Counting:
    """A gateway that counts what it is handed, and answers as it is told; the default is to take it."""

    name: str
    channel: Channel
    answers: list[GatewayFault | type[BaseException]] = field(default_factory=list)
    repeats: bool = False
    got: list[Message] = field(default_factory=list)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, message: Message) -> Receipt:
        self.got.append(message)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return Receipt(self.name, f"{self.name}-{len(self.got)}")


class Opener(Protocol):
    """Opens the value of a contact, as `People` does."""

    def opened(self, row: ContactRow) -> Secret: ...


@dataclass
class Bare(Tables):
    """A database with the tables and a clock, and nothing else: what stories and processes that die need."""

    engine: Engine
    clock: Clock

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        return int((await self.rows(f"SELECT COUNT(*) AS n FROM {table}"))[0]["n"])

    async def create(self) -> None:
        """Make the tables in an empty SQLite."""
        await create_tables(self.engine)


class Plain:
    """Contacts that are not sealed: their value is what they say."""

    def opened(self, row: ContactRow) -> Secret:
        return Secret(row.value_sealed.decode())


@dataclass
class Reminded:
    """The world, with what the jobs of reminders are made of. `people` opens its contacts."""

    world: World | Bare
    policy: ReminderPolicy = field(default_factory=ReminderPolicy)
    limits: dict[str, SendLimits] = field(default_factory=dict)
    sms: Counting = field(default_factory=lambda: Counting("sms", Channel.MOBILE))
    mail: Counting = field(default_factory=lambda: Counting("mail", Channel.EMAIL, repeats=True))
    people: Opener = field(default_factory=Plain)
    former: FormerStatus = field(default_factory=NoStatus)

    @property
    def rules(self) -> ReminderRules:
        return ReminderRules(self.policy, trading_calendar(None), partial(renewal_opens, TW_BROKER), self.former)

    def planning(self, holder: str = "one") -> ReminderPlanning:
        return ReminderPlanning(ReminderPlanRepository(self.world.engine), self.rules, self.world.clock, holder)

    def reminding(self, holder: str = "one") -> Reminding:
        engine = self.world.engine
        spending = SpendingRepository(engine, self.limits, percent=self.policy.gateway_percent)
        gateways, attempts = (self.sms, self.mail), DeliveryRepository(engine)
        router = Router(gateways, attempts, breaker=Breaker(threshold=99), spending=spending, once=True)
        queue = ReminderQueueRepository(engine)
        return Reminding(queue, self.rules, self.people, router, SENDER, self.world.clock, holder)

    async def at(self, *when: int) -> None:
        """Let it be this moment in Taiwan."""
        self.world.clock.at = taipei(*when)

    async def plan(self) -> None:
        await self.planning().once()

    async def send(self) -> None:
        """Send all that is due now."""
        reminding = self.reminding()
        while await reminding.once():
            pass

    async def until(self, *when: int) -> None:
        """Let the days pass until then: each night is planned, and before the sending hours end all is sent."""
        day = self.world.clock.at.astimezone(TAIPEI).date()
        while taipei(day.year, day.month, day.day, 19, 59) < taipei(*when):
            for hour, minute, job in ((3, 0, self.plan), (19, 59, self.send)):
                moment = taipei(day.year, day.month, day.day, hour, minute)
                if moment >= self.world.clock.at:
                    self.world.clock.at = moment
                    await job()
            day += timedelta(days=1)
        self.world.clock.at = max(self.world.clock.at, taipei(*when))

    @property
    def sent(self) -> list[tuple[str, str, str]]:
        """Who was sent a message by which gateway, and when, in Taiwan."""
        both = [(one, gateway.name) for gateway in (self.sms, self.mail) for one in gateway.got]
        told = [
            (str(one.handed_at.astimezone(TAIPEI).date()), name, one.customer) for one, name in both if one.handed_at
        ]
        return sorted(told)

    @property
    def twice(self) -> list[tuple[str, str]]:
        """Messages that a gateway was handed more than once."""
        handed = Counter((gateway.name, one.message_id) for gateway in (self.sms, self.mail) for one in gateway.got)
        return [each for each, times in handed.items() if times > 1]

    async def certificate(
        self, customer: CustomerId | str, not_after: datetime, serial: str = "", profile: str = "investor"
    ) -> str:
        """Give the customer an active certificate of ours."""
        serial = serial or f"S{customer}{profile}{not_after:%y%m%d}"
        names: dict[str, Value] = {"customer": customer, "profile": profile, "order": f"O-{serial}"}
        await self.world.change(_ORDER, **names)
        ends: dict[str, Value] = {"serial": serial, "not_after": ms(not_after), "empty": b""}
        await self.world.change(_HOLDING, **names, **ends)
        return serial

    async def imported(
        self, customer: str, not_after: datetime, number: int = 1, profile: str = "investor", state: str = "live"
    ) -> str:
        """Give the customer an active certificate of a former CA, of a run that is finished or not."""
        identity = f"{number:064x}"
        await self.world.change(_RUN, run=f"run-{state}", state=state)
        names: dict[str, Value] = {"id": identity, "customer": customer, "profile": profile, "run": f"run-{state}"}
        await self.world.change(_IMPORTED, not_after=ms(not_after), empty=b"", der=of_old_ca(), **names)
        return identity

    async def replaced(self, serial: str) -> None:
        """The certificate was superseded by one that has proved itself."""
        await self.world.change("UPDATE holdings SET state = 'superseded' WHERE serial = :serial", serial=serial)

    async def crowd(self, number: int, not_after: datetime) -> list[str]:
        """Give so many new customers, each with both contacts (for `Plain`), a certificate that ends then."""
        people = [f"P{index:06}" for index in range(number)]
        values = (("mobile", "+886912345678"), ("email", "canary@example.com"))
        contacts: list[dict[str, Value]] = [
            {
                "customer": each,
                "channel": channel,
                "value": value.encode(),
            }
            for channel, value in values
            for each in people
        ]
        orders: list[dict[str, Value]] = [
            {"order": f"O-{each}", "customer": each, "profile": "investor"} for each in people
        ]
        certificates: list[dict[str, Value]] = [
            {**one, "empty": b"", "serial": f"S-{each}", "not_after": ms(not_after) - 20 * index}
            for index, (one, each) in enumerate(zip(orders, people, strict=True))
        ]

        def script() -> Script[None]:
            yield Batch(_CUSTOMER, [{"id": each, "empty": b""} for each in people])
            yield Batch(_CONTACT, contacts)
            yield Batch(_ORDER, orders)
            yield Batch(_HOLDING, certificates)

        await self.world.engine.run(script)
        return people

    async def states(self) -> dict[str, int]:
        """How many reminders are in each state."""
        rows = await self.world.rows("SELECT state, COUNT(*) AS n FROM reminders GROUP BY state")
        return {row["state"]: int(row["n"]) for row in rows}


def with_policy(reminded: Reminded, **changed: object) -> Reminded:
    """The same world with other rules."""
    return replace(reminded, policy=replace(reminded.policy, **changed))  # type: ignore[arg-type]
