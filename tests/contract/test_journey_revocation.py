"""Revocation by the holder: with a code of its own, at once, and never a way to anything else."""

from collections.abc import Mapping
from typing import ClassVar

from chopmark.ca.ports import Certified, IssuanceRequest, Pending, Subject
from chopmark.core.refusal import Kind, Refusal, Refused
from chopmark.core.types import CertificateState, Operation, OrderState, Reason, Serial, text
from tests.contract.world import ANN, BEN, World, refusal, world_fixture

world = world_fixture()


class DeadCa:
    """A CA that cannot be reached."""

    name = "dead"
    allows_overlap = True
    needs: ClassVar[dict[str, frozenset[str]]] = {}

    def csr_subject(self, profile: str, values: Mapping[str, str]) -> Subject:
        return ()

    async def issue(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        raise Refused(Refusal(Kind.UNAVAILABLE, text("down")))

    async def resume(self, issuance: IssuanceRequest) -> Certified | Pending | Refusal:
        raise Refused(Refusal(Kind.UNAVAILABLE, text("down")))

    async def revoke(self, serial: Serial, reason: str) -> None:
        raise Refused(Refusal(Kind.UNAVAILABLE, text("down")))


async def test_a_revocation_is_in_force_when_it_is_answered(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    errand = await world.revoked()
    assert await errand.state() is OrderState.DONE
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    assert await world.ca_state(serial) == ("revoked", "cessation_of_operation")
    (notice,) = [row for row in await world.notices() if '"revoked"' in row["facts"]]
    assert notice["channel"] == "email"


async def test_i25_with_its_ca_down_the_holding_ends_at_once_and_the_worker_tells_the_ca_later(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    dead = DeadCa()
    dead.name = world.services.ca.issuer.name  # the terms name the CA
    doing = world.with_issuer(dead).services.ra.revocation.confirm(errand.caller, errand.id, await errand.terms())
    assert (await refusal(doing)).kind is Kind.UNAVAILABLE
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    assert await world.ca_state(serial) == ("issued", None)
    await world.once("revoke")
    assert await world.ca_state(serial) == ("revoked", "cessation_of_operation")


async def test_with_its_ca_down_a_renewal_that_builds_on_a_revoked_certificate_ends_all_the_same(
    world: World,
) -> None:
    await world.to_active()
    world.clock.later(days=340)
    renewal = await world.to_review(ANN, Operation.REKEY)
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    dead = DeadCa()
    dead.name = world.services.ca.issuer.name  # the terms name the CA
    doing = world.with_issuer(dead).services.ra.revocation.confirm(errand.caller, errand.id, await errand.terms())
    assert (await refusal(doing)).kind is Kind.UNAVAILABLE
    assert await renewal.state() is OrderState.CANCELLED


async def test_a_revocation_needs_a_code_a_reason_and_ones_own_certificate(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    refused = await refusal(world.open(BEN, Operation.REVOKE, Reason.LOST, serial=serial))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "serial")
    refused = await refusal(world.open(ANN, Operation.REVOKE, Reason.LOST, serial=Serial("1234")))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "serial")
    refused = await refusal(world.open(ANN, Operation.REVOKE, None, serial=serial))
    assert (refused.kind, refused.field) == (Kind.MALFORMED, "reason")
    errand = await world.to_revoke()
    assert (await refusal(errand.revoke())).kind is Kind.STEP_REQUIRED
    assert await world.ca_state(serial) == ("issued", None)


async def test_a_revoked_certificate_is_not_revoked_again(world: World) -> None:
    await world.to_active()
    await world.revoked()
    refused = await refusal(world.to_revoke())
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "not_valid")


async def test_tw_05_a_revocation_order_leads_to_no_certificate(world: World) -> None:
    """It asks for no old key, no birth date and no renewal window: a key on it would go round all of them."""
    await world.to_active()
    errand = await world.to_revoke()
    assert (await refusal(errand.bind())).kind is Kind.STEP_REQUIRED
    await errand.send()
    await errand.answer(await errand.code())
    for step in (errand.bind, errand.birth_date, errand.confirm):
        assert (await refusal(step())).kind is Kind.STEP_REQUIRED
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert (await errand.order()).spki_sha256 is None
    assert await world.count("certificates") == 1
    assert (await errand.revoke()).state is OrderState.DONE
    assert (await refusal(errand.confirm())).code == "order_done"


async def test_an_order_for_a_certificate_revokes_nothing(world: World) -> None:
    await world.to_active()
    errand = await world.to_review(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert (await refusal(errand.revoke())).kind is Kind.STEP_REQUIRED
    first = await world.to_review(BEN)
    assert (await refusal(first.revoke())).kind is Kind.STEP_REQUIRED
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE
