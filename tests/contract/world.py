"""The installation of tests that call the verbs of `ra` directly, without HTTP: on SQLite and PostgreSQL.

A test gets a `World`: an installation with a CA of its own and synthetic customers. An `Errand` takes one customer's
order through its steps; results are the verbs' own values, and refusals are raised. Since no web server is in between,
such a test can stop at any point, for example between two transactions, and runs once on each engine.
"""

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from chopmark.app.services import Services, build
from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.audit.findings import Report
from chopmark.audit.headfile import read_heads
from chopmark.audit.record import AuditKeys
from chopmark.audit.verify import Beside, verify
from chopmark.ca.embedded import Authority, Books, EmbeddedIssuer, IssuerConfig
from chopmark.ca.journaled import CaJournal
from chopmark.ca.ports import IssuanceRequest, Issuer
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Refusal, Refused
from chopmark.core.types import (
    AccountNumber,
    Channel,
    CustomerId,
    FactorClass,
    KeyHome,
    LoginId,
    Operation,
    OrderId,
    OrderState,
    Reason,
    Serial,
)
from chopmark.keys.ports import Signer
from chopmark.ra.context import Caller
from chopmark.ra.model import Order
from chopmark.ra.overview import CustomerQueries
from chopmark.ra.ports import SubscriberCertificate
from chopmark.ra.possession import Possession
from chopmark.ra.recorded import rules_of
from chopmark.ra.rekey import Rekey
from chopmark.ra.revocation import Revocation
from chopmark.stepup.challenge import Challenge
from chopmark.store.repositories.ca.certificates import CertificateRepository
from chopmark.store.repositories.records import LEAF, record_of
from chopmark.store.repositories.stepup.challenges import FailureRepository
from chopmark.va.timestamp import TimestampAuthority
from tests import postgres
from tests.installation import Dice, Installation, found_installation, prepared, shared_folder
from tests.tables import START, Clock

__all__ = ["START", "Clock", "Dice"]
"""Tests may import them from here together with the world."""

EST_URL = "https://est.example.com"
"""Set, so that a program of a customer may make the key (EST)."""
WHENEVER = timedelta(days=9999)
"""The merge delay that `audit verify` allows here, because a test decides when the sequencer runs.

See test_clock.py.
"""
PASSWORD_LOGIN = frozenset({FactorClass.PASSWORD})
LOGIN = "LOGIN0000000000000000TESTS"
"""The login of a customer in a test that is about something else."""
RECORDS = f"SELECT {LEAF} FROM leaves WHERE chain = :chain ORDER BY version"
AFTERWARDS = frozenset({Event.RA_ORDER_ISSUED, Event.RA_ORDER_REFUSED})


def _row(number: int, person: str, name: str, birth: str, mobile: str, email: str) -> dict[str, str]:
    return {
        "customer": f"C{number}",
        "person_id": person,
        "name": name,
        "birth_date": birth,
        "mobile": mobile,
        "email": email,
        "accounts": f"(期) F014000-{number:07d}",
        "verified_on": "2024-03-05",
    }


ANN, BEN, CEO, DAN, EVE, FAY, GUS = "C1", "C2", "C3", "C4", "C5", "C6", "C7"
"""Ann to Gus: Ceo is a company, Dan has no e-mail, Eve has no mobile."""
ROWS = {
    row["customer"]: row
    for row in (
        _row(1, "A120034503", "王試一", "1961-07-15", "0912555001", "canary-one@example.com"),
        _row(2, "F220034519", "林試二", "1972-02-29", "0912555002", "canary-two@example.com"),
        _row(3, "24680132", "試三有限公司", "", "0912555003", "canary-three@example.com"),
        _row(4, "A131145615", "陳試四", "1958-12-31", "0912555004", ""),
        _row(5, "F231145621", "張試五", "1965-05-01", "", "canary-five@example.com"),
        _row(6, "A142256727", "李試六", "1949-10-10", "0912555006", "canary-six@example.com"),
        _row(7, "F242256733", "吳試七", "1980-08-08", "0912555007", "canary-seven@example.com"),
    )
}


@dataclass(frozen=True)
class Held:
    """A certificate with its key, as the customer's computer keeps it."""

    key: ClientKey
    certificate: SubscriberCertificate


@dataclass
class World(Installation):
    """An installation, and the keys on the computers of its customers (`held`)."""

    held: dict[str, Held] = field(default_factory=dict)

    # orders -----------------------------------------------------------------------------------------------------

    @property
    def timestamps(self) -> TimestampAuthority:
        """The installation's own time-stamp authority."""
        assert self.services.va.stamps.authority is not None
        return self.services.va.stamps.authority

    def caller(
        self, customer: str = ANN, factors: frozenset[FactorClass] = PASSWORD_LOGIN, login: str = LOGIN
    ) -> Caller:
        return Caller(CustomerId(customer), factors, "test", LoginId(login))

    async def open(
        self,
        customer: str = ANN,
        operation: Operation = Operation.ENROL,
        reason: Reason | None = None,
        factors: frozenset[FactorClass] = PASSWORD_LOGIN,
        serial: Serial | None = None,
        login: str = LOGIN,
        home: KeyHome = KeyHome.FILE,
        instead: OrderId | None = None,
    ) -> "Errand":
        """Open an order."""
        caller = self.caller(customer, factors, login)
        account = AccountNumber(f"F014000-{int(customer[1:]):07d}")
        start = self.services.ra.enrolment.start
        order = (await start(caller, operation, account, home, reason, serial, instead)).order
        return Errand(self, caller, order.id, ClientKey.generate(), self.held.get(customer))

    async def to_key(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        """Open an order and bind its key."""
        errand = await self.open(customer, operation, **how)
        await errand.bind()
        return errand

    async def to_sent(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        errand = await self.to_key(customer, operation, **how)
        await errand.send()
        return errand

    async def to_code(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        """Take an order up to the right code."""
        errand = await self.to_sent(customer, operation, **how)
        await errand.answer(await errand.code())
        return errand

    async def to_review(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        """Take an order up to the right birth date, if one is asked for."""
        errand = await self.to_code(customer, operation, **how)
        if (await errand.order()).birth_date_asked:
            await errand.birth_date()
        return errand

    async def to_issued(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        errand = await self.to_review(customer, operation, **how)
        order = await errand.confirm()
        assert order.state is OrderState.ISSUED
        return errand

    async def to_active(self, customer: str = ANN, operation: Operation = Operation.ENROL, **how: Any) -> "Errand":
        """Take an order up to the active certificate; the customer's computer keeps the new key."""
        errand = await self.to_issued(customer, operation, **how)
        await errand.prove()
        return errand

    async def to_revoke(self, customer: str = ANN, reason: Reason = Reason.NO_LONGER_NEEDED) -> "Errand":
        """Open a revocation order for the certificate that the customer's computer keeps."""
        return await self.open(customer, Operation.REVOKE, reason, serial=self.held[customer].certificate.serial)

    async def revoked(self, customer: str = ANN, reason: Reason = Reason.NO_LONGER_NEEDED) -> "Errand":
        """Revoke that certificate."""
        errand = await self.to_revoke(customer, reason)
        await errand.send()
        await errand.answer(await errand.code())
        await errand.revoke()
        return errand

    async def node(self, number: int) -> "World":
        """Return another process of the same installation, with services of its own."""
        dice = Dice(Random(1000 + number))
        services = await build(self.settings.model_copy(update={"node": number}), self.clock, dice)
        self.nodes.append(services)
        return self.with_services(services, dice)

    def with_issuer(self, issuer: Issuer) -> "World":
        """Return the same installation with another issuer."""
        services = self.services
        rekey = Rekey(services.ra.context, services.ra.verifier, FailureRepository(services.foundation.engine), issuer)
        revocation = Revocation(services.ra.context, issuer)
        counter = CustomerQueries(services.ra.context, services.foundation.calendar, overlap=issuer.allows_overlap)
        ra = replace(services.ra, rekey=rekey, revocation=revocation, customer_queries=counter)
        return self.with_services(replace(services, ra=ra))

    @property
    def books(self) -> Books:
        """Where the installation's CA writes."""
        services = self.services
        return Books(
            CertificateRepository(services.foundation.engine),
            services.foundation.audit_log,
            CaJournal(services.foundation.journal, self.clock),
        )

    def issuer(self, signer: Signer, *, overlap: bool = True) -> EmbeddedIssuer:
        """Return the installation's CA with another signer, or with profiles without overlap."""
        services, built_in = self.services, self.services.ca.issuer
        authority = services.ca.authority
        profiles = {name: replace(profile, overlap=overlap) for name, profile in built_in.config.profiles.items()}
        issuer_config = IssuerConfig(
            profiles, built_in.config.constants, built_in.config.publication, services.foundation.settings.node
        )
        return EmbeddedIssuer(
            Authority(authority.view, authority.chain, signer, authority.title),
            issuer_config,
            self.books,
            self.clock,
            self.dice,
            services.ca.approvals,
        )

    async def told(self) -> None:
        """Mark the notices that an order was opened as sent, for tests that count what else is sent."""
        await self.change("UPDATE work SET done_at = 0 WHERE facts LIKE '%order_opened%' AND done_at IS NULL")

    # what is left behind -----------------------------------------------------------------------------------------

    async def stored_certificate(self, serial: Serial) -> SubscriberCertificate:
        found = await self.services.ra.context.certificates.get(serial)
        assert found is not None
        return found

    async def certificate(self, errand: "Errand") -> SubscriberCertificate:
        found = [
            h for h in await self.services.ra.context.certificates.all(errand.caller.customer) if h.order == errand.id
        ]
        assert len(found) == 1
        return found[0]

    async def ca_state(self, serial: Serial) -> tuple[str, str | None]:
        (row,) = await self.rows("SELECT state, reason FROM certificates WHERE serial = :serial", serial=serial)
        return row["state"], row["reason"]

    async def notices(self, template: str = "") -> list[dict[str, Any]]:
        """Return the notices to customers: of one template, or all except that an order was opened."""
        rows = await self.rows("SELECT * FROM work WHERE kind = 'notice' ORDER BY not_before, id")
        told = [(json.loads(row["facts"])["template"], row) for row in rows]
        return [row for name, row in told if name == template or (not template and name != "order_opened")]

    async def audit(self) -> Report:
        """Sequence all records and verify the whole audit tree against the heads file."""
        await self.once("sequence")
        services = self.services
        lines = read_heads(self.data / "heads.jsonl")
        async with services.foundation.audit_repository.snapshot() as source:
            keys = AuditKeys([services.foundation.audit_key])
            beside = Beside(source, rules_of(services.foundation.policy))
            now, public = self.clock.now(), [services.audit.head_signer.public_key]
            return await verify(source, keys, public, lines, now, beside=beside, merge_delay=WHENEVER)


@dataclass
class Errand:
    """One customer's order in progress, with the key on the customer's computer."""

    world: World
    caller: Caller
    id: OrderId
    key: ClientKey
    old: Held | None

    @property
    def services(self) -> Services:
        return self.world.services

    async def order(self) -> Order:
        return await self.services.ra.customer_queries.order(self.caller, self.id)

    async def state(self) -> OrderState:
        return (await self.order()).state

    async def stored(self) -> Order:
        found = await self.services.ra.context.orders.get(self.id)
        assert found is not None
        return found

    async def nonce(self) -> bytes:
        return (await self.services.ra.enrolment.nonce(self.caller, self.id))[0]

    def proof(self, nonce: bytes, **other: Any) -> bytes:
        """Return the old key's signature over this order's new key; `other` replaces fields of the statement."""
        assert self.old is not None
        facts: dict[str, Any] = {
            "portal": self.services.foundation.portal,
            "order": self.id,
            "nonce": nonce,
            "new_spki_sha256": self.key.spki_sha256,
            "purpose": "rekey",
            "at": self.world.clock.now(),
        }
        signer = other.pop("signer", self.old)
        return bytes(signer.key.prove(signer.certificate.der, **{**facts, **other}))

    async def bind(self, key: ClientKey | None = None) -> Order:
        self.key = key or self.key
        snapshot = await self.services.ra.customer_queries.snapshot(self.caller, self.id)
        proof = self.proof(await self.nonce()) if snapshot.order.operation is Operation.REKEY else None
        csr = self.key.request(self.services.ra.rekey.csr_subject(snapshot))
        return (await self.services.ra.rekey.bind_key(self.caller, self.id, csr, proof)).order

    def within(self, login: str, factors: frozenset[FactorClass] = PASSWORD_LOGIN) -> "Errand":
        """Return the same order and key in another login of the customer."""
        return replace(self, caller=self.world.caller(self.caller.customer, factors, login))

    async def possess(self, key: ClientKey | None = None, **other: Any) -> Order:
        """Prove possession of the order's key; `other` replaces fields of the statement."""
        facts: dict[str, Any] = {
            "portal": self.services.foundation.portal,
            "order": self.id,
            "login": self.caller.login,
        }
        facts["at"] = self.world.clock.now()
        facts["nonce"] = other.pop("nonce", None) or await self.nonce()
        proof = (key or self.key).possess(**{**facts, **other})
        return (await Possession(self.services.ra.context).sign(self.caller, self.id, proof)).order

    async def send(self, channel: Channel | None = None) -> Challenge:
        """Have a code sent: to the phone if there is one."""
        if channel is None:
            contacts = await self.services.identity.people.contacts(self.caller.customer)
            channel = Channel.MOBILE if Channel.MOBILE in contacts else Channel.EMAIL
        await self.services.ra.rekey.challenge(self.caller, self.id, channel)
        return await self.challenge()

    async def challenge(self) -> Challenge:
        found = await self.services.ra.verifier.latest(self.id)
        assert found is not None
        return found[0]

    async def code(self) -> str:
        """Return the newest code, as it is sent."""
        return await self.world.code_of(self.id)

    async def wrong_code(self, step: int = 1) -> str:
        code = await self.code()
        return f"{(int(code) + step) % 10 ** len(code):0{len(code)}d}"

    async def answer(self, code: str) -> Order:
        return (await self.services.ra.rekey.answer(self.caller, self.id, code)).order

    async def birth_date(self, claimed: date | None = None) -> Order:
        known = claimed or date.fromisoformat(ROWS[self.caller.customer]["birth_date"])
        return (await self.services.ra.rekey.birth_date(self.caller, self.id, known)).order

    async def issuance(self) -> IssuanceRequest:
        """Return what the CA is asked for, from the stored order and its records up to the answer of the CA."""
        snapshot = await self.services.ra.context.snapshots.order(self.caller.customer, self.id)
        assert snapshot is not None
        records = [record_of(row) for row in await self.world.rows(RECORDS, chain=self.id)]
        until = next((place for place, one in enumerate(records) if one.event in AFTERWARDS), len(records))
        return self.services.ra.rekey.issuing.issuance(snapshot, tuple(records[:until]))

    async def submit(self) -> None:
        """Submit the order, but stop before the CA is asked, as a process does that dies there."""
        snapshot = await self.services.ra.customer_queries.snapshot(self.caller, self.id)
        acting = self.services.ra.context.acting(self.caller, snapshot.order)
        assert await self.services.ra.rekey.issuing.submit(snapshot, await self.terms(), acting) is not None

    async def terms(self) -> str:
        snapshot = await self.services.ra.customer_queries.snapshot(self.caller, self.id)
        old = snapshot.certificate(snapshot.order.old_serial)
        return self.services.ra.rekey.consent(snapshot.order, old).sha256

    async def confirm(self) -> Order:
        return (await self.services.ra.rekey.confirm(self.caller, self.id, await self.terms())).order

    async def install_proof(self, **other: Any) -> bytes:
        certificate = await self.world.certificate(self)
        mine = Held(self.key, certificate)
        facts: dict[str, Any] = {"purpose": "install", "signer": mine, **other}
        nonce = facts.pop("nonce", None) or await self.nonce()
        return Errand(self.world, self.caller, self.id, self.key, mine).proof(nonce, **facts)

    async def prove(self) -> Order:
        order = (await self.services.ra.rekey.prove(self.caller, self.id, await self.install_proof())).order
        self.world.held[self.caller.customer] = Held(self.key, await self.world.certificate(self))
        return order

    async def revoke(self) -> Order:
        return await self.services.ra.revocation.confirm(self.caller, self.id, await self.terms())


async def refusal(doing: Awaitable[object]) -> Refusal:
    """Return the refusal that this ends in."""
    with pytest.raises(Refused) as caught:
        await doing
    return caught.value.refusal


async def outcome(doing: Awaitable[object]) -> object:
    """Return the result, or the refusal if it was refused."""
    try:
        return await doing
    except Refused as refused:
        return refused.refusal


@dataclass(frozen=True)
class _Template:
    folder: Path
    dsn: str | None


_templates: dict[Path, _Template] = {}


def _settings(folder: Path, database: str, **settings: Any) -> Settings:
    return Settings(**{"mode": "demo", "data": folder, "database": database, "est_url": EST_URL, **settings})


async def import_customers(services: Services) -> None:
    """Import the customers' sheet."""
    assert (await services.ra.customer_import.add(ROWS.values(), "alice")).imported == len(ROWS)


async def found_template(folder: Path, dsn: str | None = None) -> None:
    """Found an installation with a CA and the customers in this folder, and in this database where one is named."""
    settings = _settings(folder, dsn or f"sqlite:///{folder / 'house.db'}")
    clock, dice = Clock(), Dice(Random(1))
    await found_installation(settings, clock, dice)
    made = await World.opened(settings, clock, dice)
    await import_customers(made.services)
    await made.close()


async def _template(cluster: postgres.Cluster | None, factory: pytest.TempPathFactory) -> _Template:
    """Return the installation that tests copy: founded once per engine, or prepared by tools/mutants."""
    ready = Path(os.environ.get(postgres.TEMPLATES, shared_folder(factory)))
    if cluster is None:
        return _Template(await prepared(ready, "sqlite", found_template), None)
    if cluster.directory not in _templates:
        folder, named = ready / "postgresql", ready / "postgresql" / "dsn"
        if named.exists():
            dsn = named.read_text(encoding="ascii")
        else:
            folder, dsn = Path(tempfile.mkdtemp(dir=factory.getbasetemp())), await cluster.fresh_database()
            await found_template(folder, dsn)
        _templates[cluster.directory] = _Template(folder, dsn)
    return _templates[cluster.directory]


BOTH = ("sqlite", "postgresql")


def world_fixture(engines: tuple[str, ...] = BOTH, **settings: Any) -> Callable[..., object]:
    """Make the `world` fixture of a module: each test runs on each of the engines, with a database of its own."""
    marks = {"postgresql": (pytest.mark.postgres,)}

    @pytest.fixture(params=[pytest.param(name, marks=marks.get(name, ())) for name in engines])
    async def world(
        request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> AsyncIterator[World]:
        cluster = request.getfixturevalue("postgres_cluster") if request.param == "postgresql" else None
        template = await _template(cluster, tmp_path_factory)
        folder = tmp_path / "house"
        shutil.copytree(template.folder, folder)
        dsn = None if cluster is None else await cluster.fresh_database(template.dsn)
        chosen = _settings(folder, dsn or f"sqlite:///{folder / 'house.db'}", **settings)
        made = await World.opened(chosen, Clock(), Dice(Random(2)))
        yield made
        await made.close()
        if cluster is not None and dsn is not None:
            await cluster.drop(dsn)

    return world
