"""What a CA is asked for, as it hears it: the order as it stands on record, and nothing of another one.

The house's own CA would refuse all that is wrong here. Another one may not know better.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chopmark.audit.events import Event
from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending, Subject
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, KeyHome, Operation, OrderState, Reason, Serial, text
from chopmark.pki import csr
from tests.contract.world import ANN, BEN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()


@dataclass
class Hearing:
    """A CA that notes what it is asked for before it answers; or says what it is told to say."""

    inner: Issuer
    says: Certified | Pending | Refusal | None = None
    asked: list[IssuanceRequest] = field(default_factory=list)
    wanted: Mapping[str, frozenset[str]] | None = None
    named: list[Mapping[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def allows_overlap(self) -> bool:
        return self.inner.allows_overlap

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        return self.inner.needs if self.wanted is None else self.wanted

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        self.named.append(values)
        return self.inner.csr_subject(profile, values)

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        self.asked.append(issuance)
        return await self.inner.issue(issuance) if self.says is None else self.says

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        self.asked.append(issuance)
        return await self.inner.resume(issuance) if self.says is None else self.says

    async def revoke(self, serial: Serial, reason: str) -> None:
        await self.inner.revoke(serial, reason)


def heard_by(errand: Errand, says: Certified | Pending | Refusal | None = None) -> tuple[Errand, Hearing]:
    """The same order in a house whose CA is listened to."""
    hearing = Hearing(errand.services.ca.issuer, says)
    return replace(errand, world=errand.world.with_issuer(hearing)), hearing


def key_of(request_der: bytes | None) -> bytes:
    return csr.spki_of(request_der or b"") or b""


async def test_a_ca_is_asked_for_the_orders_key_account_and_customer(world: World) -> None:
    errand, hearing = heard_by(await world.to_review(ANN))
    request = (await errand.stored()).csr
    assert (await errand.confirm()).state is OrderState.ISSUED
    (issuance,) = hearing.asked
    assert (issuance.order, issuance.profile, issuance.csr_der) == (errand.id, "investor", request)
    assert issuance.spki_der == key_of(request) != b""
    assert (issuance.subject["customer"], issuance.subject["account"]) == (ANN, "F014000-0000001")
    assert issuance.replaces is None
    assert [one.event for one in issuance.records][-1] == Event.RA_ORDER_SUBMITTED


async def test_a_renewal_names_the_certificate_that_it_renews_and_a_replacement_names_none(world: World) -> None:
    await world.to_active(ANN)
    old = world.held[ANN].certificate
    replacement, first = heard_by(await world.to_review(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE))
    await replacement.confirm()
    assert [issuance.replaces for issuance in first.asked] == [None]
    await replacement.prove()
    world.clock.later(days=340)
    renewed = world.held[ANN].certificate
    renewal, second = heard_by(await world.to_review(ANN, Operation.REKEY))
    await renewal.confirm()
    assert [issuance.replaces for issuance in second.asked] == [renewed.der]
    assert renewed.serial != old.serial


async def test_a_row_that_does_not_agree_with_itself_asks_for_no_key(world: World) -> None:
    for says, tampered in (
        ("another key's request", ClientKey.generate().request()),
        ("what is no request", b"no request"),
        ("no request", None),
    ):
        errand, hearing = heard_by(await world.to_review(BEN if says == "no request" else ANN))
        terms = await errand.terms()
        await world.change("UPDATE orders SET csr = :csr WHERE id = :id", csr=tampered, id=errand.id)
        made = await outcome(errand.services.ra.rekey.confirm(errand.caller, errand.id, terms))
        assert isinstance(made, Refusal), says
        (issuance,) = hearing.asked
        assert issuance.spki_der == b"", says
        assert await errand.state() is OrderState.REFUSED
    assert await world.count("holdings") == 0


async def test_an_order_that_its_ca_refuses_is_over_and_one_whose_ca_is_away_goes_on(world: World) -> None:
    no = Refusal(Kind.BAD_KEY, text("Please try again."), code="by_ca")
    away = Refusal(Kind.UNAVAILABLE, text("Please try again."), code="away")
    ann, _ = heard_by(await world.to_review(ANN), away)
    assert (await refusal(ann.confirm())).code == "away"
    assert await ann.state() is OrderState.SUBMITTED
    assert await world.records(Event.RA_ORDER_REFUSED) == []
    stopped, _ = heard_by(ann, no)
    assert (await refusal(stopped.services.ra.rekey.resume(ann.id))).code == "by_ca"
    stored = await ann.stored()
    assert (stored.state, stored.ended) == (OrderState.REFUSED, "by_ca")
    assert len(await world.records(Event.RA_ORDER_REFUSED)) == 1


async def test_an_order_that_is_pending_is_asked_for_again_until_there_is_an_answer(world: World) -> None:
    errand, _ = heard_by(await world.to_review(ANN), Pending(60))
    assert (await errand.confirm()).state is OrderState.PENDING
    assert await errand.services.ra.rekey.resume(errand.id) is False
    assert await errand.state() is OrderState.PENDING
    after, hearing = heard_by(errand)
    assert await after.services.ra.rekey.resume(errand.id) is True
    assert await errand.state() is OrderState.ISSUED
    assert [issuance.order for issuance in hearing.asked] == [errand.id]
    assert await after.services.ra.rekey.resume(errand.id) is True, "and not again"
    assert len(hearing.asked) == 1


async def test_the_certificate_stands_where_the_key_is_and_what_is_lost_is_revoked_for_its_reason(world: World) -> None:
    for customer, reason, told in (
        (ANN, Reason.LOST, "key_compromise"),
        (BEN, Reason.COMPROMISED, "key_compromise"),
    ):
        await world.to_active(customer)
        old = world.held[customer].certificate
        errand = await world.to_issued(customer, Operation.REPLACE, reason=reason, home=KeyHome.BROWSER)
        certificate = await world.certificate(errand)
        assert certificate.key_home is KeyHome.BROWSER
        await world.work()
        assert await world.ca_state(old.serial) == ("revoked", told)
        assert (await world.stored_certificate(certificate.serial)).state is CertificateState.ISSUED


async def test_a_requests_names_are_those_that_the_ca_needs_and_no_others(world: World) -> None:
    errand, hearing = heard_by(await world.open(ANN))
    snapshot = await errand.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    for needs in ({"account"}, {"customer"}, set[str]()):
        hearing.wanted = {"investor": frozenset(needs)}
        errand.services.ra.rekey.csr_subject(snapshot)
    assert hearing.named == [{"account": "F014000-0000001"}, {"customer": ANN}, {}]
    done = await world.to_active(BEN)
    ended = await world.to_revoke(BEN)
    for order in (done, ended):
        theirs = await errand.services.ra.customer_queries.snapshot(order.caller, order.id)
        assert errand.services.ra.rekey.csr_subject(theirs) == ()
    assert len(hearing.named) == 3, "an order that takes no key has no request to name"
