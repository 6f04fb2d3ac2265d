"""A CA that ends the old certificate when it issues the new one: the customer is told before the order starts."""

from collections.abc import Mapping

from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending, Subject
from chopmark.core.refusal import Refusal
from chopmark.core.types import CertificateState, Operation, OrderState, Reason, Serial
from chopmark.ra.model import Order
from tests.contract.world import ANN, World, world_fixture

world = world_fixture()


class OneAtATime:
    """A CA that allows one certificate a customer."""

    allows_overlap = False

    def __init__(self, inner: Issuer, world: World) -> None:
        self._inner = inner
        self._world = world
        self.name, self.needs = inner.name, inner.needs

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        return self._inner.csr_subject(profile, values)

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        for row in await self._world.rows("SELECT serial FROM certificates WHERE order_id <> :id", id=issuance.order):
            await self._inner.revoke(Serial(row["serial"]), "superseded")
        return await self._inner.issue(issuance)

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        return await self.issue(issuance)

    async def revoke(self, serial: Serial, reason: str) -> None:
        await self._inner.revoke(serial, reason)


async def one_at_a_time(world: World) -> World:
    await world.to_active(ANN)
    world.clock.later(days=340)
    return world.with_issuer(OneAtATime(world.services.ca.issuer, world))


def spoken(world: World, order: Order) -> list[str]:
    return [str(sentence) for sentence in world.services.ra.rekey.consent(order).sentences]


async def test_what_is_lost_is_told_in_the_overview_and_in_the_terms(world: World) -> None:
    told = await one_at_a_time(world)
    view = await told.services.ra.customer_queries.overview(told.caller(ANN))
    assert view.swap is not None
    assert "ends as soon as a new one is issued" in str(view.swap)
    assert (await world.services.ra.customer_queries.overview(world.caller(ANN))).swap is None
    errand = await told.to_review(ANN, Operation.REKEY)
    (sentence,) = [said for said in spoken(told, await errand.order()) if "old certificate" in said]
    assert "ends when the new one is issued" in sentence
    (promise,) = [said for said in spoken(world, await errand.order()) if "old certificate" in said]
    assert "stays valid until the new one works" in promise


async def test_the_old_certificate_counts_as_replaced_from_the_issue_on_and_the_renewal_still_ends_well(
    world: World,
) -> None:
    told = await one_at_a_time(world)
    old = told.held[ANN].certificate.serial
    errand = await told.to_issued(ANN, Operation.REKEY)
    certificate = await told.stored_certificate(old)
    assert (certificate.state, certificate.superseded_by) == (
        CertificateState.SUPERSEDED,
        (await errand.order()).serial,
    )
    assert await told.ca_state(old) == ("revoked", "superseded")
    assert (await errand.prove()).state is OrderState.ACTIVE
    await told.work()
    assert (await told.certificate(errand)).state is CertificateState.ACTIVE
    assert (await told.services.ra.customer_queries.overview(told.caller(ANN))).swap is not None
    assert (await told.audit()).findings == ()


async def test_a_customer_who_never_installs_has_nothing_and_may_apply_again(world: World) -> None:
    told = await one_at_a_time(world)
    errand = await told.to_issued(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    told.clock.later(hours=73)
    await told.once("overdue")
    assert await errand.state() is OrderState.EXPIRED
    view = await told.services.ra.customer_queries.overview(told.caller(ANN))
    assert view.advice.operation is Operation.ENROL
    assert view.swap is None
    assert (await told.to_active(ANN)).caller.customer == ANN


async def test_a_renewal_whose_old_certificate_was_revoked_by_its_holder_still_does_not_go_on(world: World) -> None:
    told = await one_at_a_time(world)
    errand = await told.to_review(ANN, Operation.REKEY)
    await told.change(
        "UPDATE holdings SET state = 'revoked' WHERE serial = :serial", serial=told.held[ANN].certificate.serial
    )
    await told.change(
        "UPDATE orders SET state = 'submitted', submitted_at = :now, consent = 'x' WHERE id = :id",
        now=int(told.clock.at.timestamp() * 1000),
        id=errand.id,
    )
    told.clock.later(seconds=21)
    await told.once("resume")
    assert await errand.state() is OrderState.REFUSED


async def test_a_profile_of_ours_may_end_the_old_certificate_at_issue_too(world: World) -> None:
    await world.to_active(ANN)
    world.clock.later(days=340)
    told = world.with_issuer(world.issuer(world.services.ca.authority.signer, overlap=False))
    assert (await told.services.ra.customer_queries.overview(told.caller(ANN))).swap is not None
    old = told.held[ANN].certificate.serial
    errand = await told.to_issued(ANN, Operation.REKEY)
    assert (await told.stored_certificate(old)).state is CertificateState.SUPERSEDED
    await told.work()
    assert await told.ca_state(old) == ("revoked", "superseded")
    assert (await errand.prove()).state is OrderState.ACTIVE
    assert (await told.audit()).findings == ()
