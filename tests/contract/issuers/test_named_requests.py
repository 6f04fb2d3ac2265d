"""A CA that reads the names in the request: the order says them, the customer's computer takes them over as they are.

Through the JSON API of a whole installation whose issuer is an EST server.
"""

import subprocess
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog

from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.app.web import web_services
from chopmark.ca.external.issuer import ExternalIssuer
from chopmark.ca.shipped import profile_named
from chopmark.core.types import CustomerId, OrderId, Secret
from chopmark.identity.password import hash_password
from chopmark.identity.ports import PasswordKind, PasswordRow
from chopmark.pki.profile import Line
from chopmark.store import db
from chopmark.web import app
from tests.contract.issuers import stranger
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.est_peer import Est
from tests.contract.issuers.test_conformance import certified
from tests.contract.world import ANN, BEN, ROWS, Clock, Dice, World, import_customers
from tests.machine import program
from tests.web import counter
from tests.web.counter import PERSON, Answer, b64, problem
from tests.web.test_white_label import SECOND

PASSWORD = "Canary-Password-97531"
FIRM = "青嶼 Securities"
HOLDER = "王試一"


@pytest.fixture
async def peer(world: World, tmp_path: Path, ca: stranger.Ca) -> AsyncIterator[Est]:
    async with AsyncExitStack() as stack:
        peer = await opened_peer("est", world, tmp_path, ca, stack)
        assert isinstance(peer, Est)
        yield peer


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


@dataclass
class Errand(counter.Errand):
    """A customer's own program: it makes the request as the order says."""

    async def subject(self) -> list[tuple[str, str]]:
        shown = (await self.browser.get(f"/api/v1{self.path}")).json()
        return [(row["type"], row["value"]) for row in shown.get("csr_subject", ())]

    async def bind(self) -> Answer:
        return await self.send(self.key.request(await self.subject()))

    async def send(self, csr: bytes) -> Answer:
        return await self.call(f"{self.path}/key", {"csr": b64(csr)}, "PUT", key="bind")

    async def enter_code(self) -> Answer:
        return await self.call(f"{self.path}/code", {"code": await self.world.code_of(OrderId(self.order["id"]))})

    @property
    def record(self) -> bytes:
        return counter.unb64(self.order["certificate"]["der"])


@asynccontextmanager
async def installation(settings: Settings, clock: Clock) -> AsyncIterator[counter.World]:
    """A counter without a CA of its own, its customers, and the portal over it."""
    await db.upgrade(settings.database_url)
    dice = Dice(Random(4))
    services = await build(settings, clock, dice)
    assert services.ca.built_in is None
    await import_customers(services)
    phc = hash_password(Secret(PASSWORD), b"\x01" * 16)
    for number in (ANN, BEN):
        await services.identity.sessions.set_password(
            PasswordRow(CustomerId(number), phc, PasswordKind.DEMO, None), "alice"
        )
    through = web_services(services)
    built = app.create(through)
    made = counter.World(services, clock, dice, through, built.asgi, built.portal)
    try:
        yield made
    finally:
        await made.close()


def settings_of(peer: Est, folder: Path, **other: Any) -> Settings:
    brand = folder / "brand.toml"
    brand.write_text(SECOND.replace("Cingyu Securities", FIRM), encoding="utf-8")
    given = {
        "mode": "demo",
        "data": folder / "named",
        "brand": brand,
        "external_ca": peer.connected,
        **other,
    }
    (folder / "named").mkdir()
    return Settings.model_validate(given)


async def errand(world: counter.World, number: str = ANN) -> Errand:
    row = ROWS[number]
    known: dict[str, Any] = {"accounts": row["accounts"], "birth": row["birth_date"], "mobile": row["mobile"]}
    person = replace(PERSON["C10005"], number=number, **known)
    browser = world.browser()
    assert (await browser.sign_in(number, PASSWORD)).status_code == 303
    return Errand(world, browser, person)


def subject_of(certificate: bytes) -> list[str]:
    """The subject as openssl reads it, a line each."""
    words = ("x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "esc_ctrl,utf8,sep_multiline,sname")
    said = subprocess.run([program("openssl"), *words], input=certificate, capture_output=True, check=True).stdout
    return [line.strip() for line in said.decode().splitlines()[1:]]


async def test_the_names_that_an_order_says_are_what_the_ca_certifies_and_stand_nowhere_else(
    peer: Est, tmp_path: Path, logged: list[MutableMapping[str, Any]]
) -> None:
    clock = Clock(peer.world.clock.now())
    settings = settings_of(peer, tmp_path, profile="investor-market")
    person_id = ROWS[ANN]["person_id"]
    wanted = [("C", "TW"), ("O", "Certification Service Provider"), ("OU", FIRM), ("OU", "RA-RA-Chopmark"),
              ("CN", f"TW{person_id}1")]  # fmt: skip
    async with installation(settings, clock) as world:
        made = await errand(world)
        await made.start("enrol")
        assert await made.subject() == wanted
        await made.until("done", "enrol")
        assert made.order["state"] == "active"
        assert subject_of(made.record) == [f"{short}={value}" for short, value in wanted]
        assert await made.subject() == []  # nobody makes a key for it any more
        told = [answer.text for answer in made.answers] + [str(request.url) for request in made.browser.sent]
        told += [heard.line for heard in peer.proxy.heard] + [repr(logged)]
        for table in ("leaves", "idempotency", "work", "sessions"):
            told.append(repr(await world.rows(f"SELECT * FROM {table}")))
        assert made.order["id"] in "".join(told)  # the net has caught what may be there
        assert [text for text in told if person_id in text] == []


async def test_a_request_with_other_names_is_refused_and_not_sent(peer: Est, tmp_path: Path) -> None:
    clock = Clock(peer.world.clock.now())
    async with installation(settings_of(peer, tmp_path), clock) as world:
        for number, names in ((ANN, ()), (BEN, (("C", "TW"), ("O", FIRM), ("OU", "Investors"), ("CN", ANN)))):
            made = await errand(world, number)
            await made.start("enrol")
            assert ("CN", number) in await made.subject()
            await made.send(made.key.request(names))
            await made.until("review", "enrol")
            refused = problem(await made.confirm())
            assert (refused["kind"], refused["code"], refused["field"]) == ("bad_key", "csr_tells_more", "csr")
            assert (await made.browser.get(f"/api/v1{made.path}")).json()["state"] == "refused"
    assert peer.proxy.heard == []


async def test_a_holder_s_chinese_name_comes_back_as_it_was_asked_for(peer: Est) -> None:
    issuer: ExternalIssuer = peer.issuer()
    profile = replace(profile_named("investor"), subject=(Line("C", "TW"), Line("O", "{firm}"), Line("CN", "{holder}")))
    issuer.terms = replace(issuer.terms, profiles={"investor": profile})
    values = {"holder": HOLDER}
    subject = issuer.csr_subject("investor", values)
    assert subject[-1] == ("CN", HOLDER)
    applicant = peer.applicant()
    issuance = replace(applicant.issuance, subject=values, csr_der=applicant.key.request(subject))
    made = await certified(peer, issuer, issuance)
    assert subject_of(made.der)[-1] == f"CN={HOLDER}"
    assert issuer.csr_subject("investor", {}) == ()  # what our records do not hold cannot be named
