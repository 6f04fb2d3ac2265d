"""Second guards of the CA and of what asks it: what it answers is not what was asked, or is not good any more."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from chopmark.audit.events import Event
from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending, Subject
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import OrderState, Serial
from tests.contract.barrier import at_barrier, stoppable
from tests.contract.test_issuance import Died, said
from tests.contract.world import ANN, BEN, World, outcome, world_fixture

world = world_fixture()


async def test_a_certificate_that_was_given_up_between_its_signature_and_its_record_is_never_handed_out(
    world: World,
) -> None:
    """A worker takes the process for dead, gives its serial up and has another certificate made."""
    errand = await world.to_review()
    stopped, turnstile = await at_barrier(errand)
    terms = await errand.terms()

    async def meanwhile() -> None:
        world.clock.later(seconds=21)
        assert await world.once("resume") == 1

    turnstile.before(Event.CA_CERTIFICATE_ISSUED, meanwhile)
    order = (await stopped.services.ra.rekey.confirm(stopped.caller, stopped.id, terms)).order
    assert turnstile.passed == [Event.CA_CERTIFICATE_ISSUED]
    (lost,) = await world.rows("SELECT serial, der FROM certificates WHERE state = 'orphaned'")
    assert lost["der"] is None
    assert order.serial not in {None, lost["serial"]}
    assert [row["serial"] for row in await world.rows("SELECT serial FROM holdings")] == [order.serial]
    assert await said(world, lost["serial"]) == "revoked"
    assert order.serial is not None
    assert await said(world, order.serial) == "good"


async def test_the_ca_itself_hands_out_no_certificate_whose_serial_was_given_up_meanwhile(world: World) -> None:
    errand = await world.to_review()
    await errand.submit()
    issuance = await errand.issuance()
    stopped, turnstile = await at_barrier(errand)
    made: list[object] = []

    async def meanwhile() -> None:
        world.clock.later(seconds=21)
        made.append(await world.services.ca.issuer.resume(issuance))

    turnstile.before(Event.CA_CERTIFICATE_ISSUED, meanwhile)
    answered = await stopped.services.ca.issuer.issue(issuance)
    assert turnstile.passed == [Event.CA_CERTIFICATE_ISSUED]
    assert isinstance(answered, Pending)
    (standing,) = made
    assert isinstance(standing, Certified)
    again = await stopped.services.ca.issuer.issue(issuance)
    assert isinstance(again, Certified)
    assert again.serial == standing.serial


async def test_a_signature_that_comes_after_its_serial_was_given_up_is_not_recorded(world: World) -> None:
    """Whoever gave it up died before another one was made: nothing else stands in its place."""
    errand = await world.to_review()
    await errand.submit()
    issuance = await errand.issuance()
    first, turnstile = await at_barrier(errand)
    second, dying = await at_barrier(errand)

    async def die() -> None:
        raise Died

    async def meanwhile() -> None:
        world.clock.later(seconds=21)
        dying.before(Event.CA_CERTIFICATE_RESERVED, die)
        with pytest.raises(Died):
            await second.services.ca.issuer.resume(issuance)

    turnstile.before(Event.CA_CERTIFICATE_ISSUED, meanwhile)
    assert isinstance(await first.services.ca.issuer.issue(issuance), Pending)
    assert turnstile.passed == [Event.CA_CERTIFICATE_ISSUED]
    (row,) = await world.rows("SELECT serial, state, der FROM certificates")
    assert (row["state"], row["der"]) == ("orphaned", None)
    assert await said(world, row["serial"]) == "revoked"


async def test_a_certificate_that_was_revoked_is_never_given_as_issued(world: World) -> None:
    errand = await world.to_review()
    await errand.submit()
    issuance = await errand.issuance()
    made = await world.services.ca.issuer.issue(issuance)
    assert isinstance(made, Certified)
    await world.services.ca.issuer.revoke(made.serial, "key_compromise")
    for again in (world.services.ca.issuer.issue(issuance), world.services.ca.issuer.resume(issuance)):
        answer = await again
        assert isinstance(answer, Refusal)
        assert (answer.kind, answer.code) == (Kind.CONFLICT, "revoked")
    await outcome(world.services.ra.rekey.resume(errand.id))
    stored = await errand.stored()
    assert (stored.state, stored.ended) == (OrderState.REFUSED, "revoked")
    assert await world.count("holdings") == 0


async def test_of_two_lists_with_one_number_the_second_is_not_published(world: World) -> None:
    """Two workers make one at the same moment, and a certificate is revoked between them."""
    await world.to_active()
    other, turnstile = await stoppable(world)
    lists: list[object] = []

    async def meanwhile() -> None:
        await world.revoked()
        assert await world.once("publish") >= 1
        lists.append(await world.rows("SELECT * FROM crls ORDER BY shard"))

    turnstile.before(Event.VA_CRL_PUBLISHED, meanwhile)
    await other.once("publish")
    assert turnstile.passed == [Event.VA_CRL_PUBLISHED]
    assert [await world.rows("SELECT * FROM crls ORDER BY shard")] == lists


@dataclass
class Swapping:
    """A CA that answers with something else than it was asked for."""

    inner: Issuer
    other: Certified

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def allows_overlap(self) -> bool:
        return self.inner.allows_overlap

    @property
    def needs(self) -> Mapping[str, frozenset[str]]:
        return self.inner.needs

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        return self.inner.csr_subject(profile, values)

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        return self.other

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        return self.other

    async def revoke(self, serial: Serial, reason: str) -> None:
        await self.inner.revoke(serial, reason)


async def test_a_certificate_of_another_key_than_the_orders_is_taken_from_no_ca(world: World) -> None:
    ben = await world.to_issued(BEN)
    theirs = await world.certificate(ben)
    wrong = Certified(theirs.serial, theirs.der, theirs.chain, theirs.spki_sha256, theirs.not_before, theirs.not_after)
    errand = await world.to_review(ANN)
    other = replace(errand, world=world.with_issuer(Swapping(world.services.ca.issuer, wrong)))
    with pytest.raises(ValueError, match="another key"):
        await other.confirm()
    with pytest.raises(ValueError, match="another key"):
        await other.services.ra.rekey.resume(errand.id)
    assert await errand.state() is OrderState.SUBMITTED
    assert await world.count("holdings", "customer = :ann", ann=ANN) == 0


async def test_a_release_that_met_a_revocation_on_its_way_brings_nothing_back(world: World) -> None:
    """The CA looks before it writes; what counts is the guard of the writing."""
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    await world.services.ca.issuer.hold(serial)
    stopped, turnstile = await at_barrier(await world.open(BEN))

    async def meanwhile() -> None:
        await world.services.ca.issuer.revoke(serial, "key_compromise")

    turnstile.before(Event.CA_CERTIFICATE_RELEASED, meanwhile)
    await stopped.services.ca.issuer.release(serial)
    assert turnstile.passed == [Event.CA_CERTIFICATE_RELEASED]
    assert await world.ca_state(serial) == ("revoked", "key_compromise")


async def test_a_revocation_that_met_another_on_its_way_leaves_the_first_ones_reason(world: World) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    stopped, turnstile = await at_barrier(await world.open(BEN))

    async def meanwhile() -> None:
        await world.services.ca.issuer.revoke(serial, "key_compromise")

    turnstile.before(Event.CA_CERTIFICATE_REVOKED, meanwhile)
    await stopped.services.ca.issuer.revoke(serial, "superseded")
    assert turnstile.passed == [Event.CA_CERTIFICATE_REVOKED]
    assert await world.ca_state(serial) == ("revoked", "key_compromise")
