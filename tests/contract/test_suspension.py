"""Holds of certificates: two people, the CA and the world follow, and a revocation is never undone by a release."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from chopmark.audit.events import Event
from chopmark.ca.checker import Checked, Checker
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Operation, OrderState, Reason, Serial
from chopmark.messaging.ports import OutboxJobKind
from chopmark.ra.suspension import Suspension
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.store.repositories.staff.changes import StaffRepository
from tests.contract.strangers import Openssl
from tests.contract.world import ANN, BEN, World, outcome, refusal, world_fixture

world = world_fixture()
PEOPLE = ("alice", "bob")


async def active(world: World, customer: str = ANN) -> Serial:
    await world.to_active(customer)
    return world.held[customer].certificate.serial


async def checked(world: World) -> Checked:
    return await Checker(
        world.services.ca.issuer.standard(), CertificateRows(world.services.foundation.engine), 0
    ).check(world.clock.now())


async def test_a_held_certificate_is_revoked_for_the_world_and_a_released_one_is_good_again(
    world: World, tmp_path: Path
) -> None:
    serial = await active(world)
    der, openssl = world.held[ANN].certificate.der, Openssl(world, tmp_path)
    await world.services.ra.suspension.hold(serial, *PEOPLE)
    await world.once("publish")
    said = await openssl.ocsp(der)
    assert "leaf.pem: revoked" in said
    assert "Reason: certificateHold" in said
    assert "certificate revoked" in await openssl.list(der)
    assert "Certificate Hold" in await openssl.listed()
    world.clock.later(minutes=5)
    await world.services.ra.suspension.release(serial, *PEOPLE)
    await world.once("publish")
    assert "leaf.pem: good" in await openssl.ocsp(der)
    assert "leaf.pem: OK" in await openssl.list(der)
    assert "No Revoked Certificates" in await openssl.listed()
    await world.work()
    assert (await checked(world)).faults == ()
    assert (await world.audit()).findings == ()
    told = [row["facts"] for row in await world.notices()]
    assert any("certificate_held" in facts for facts in told)
    assert any("certificate_released" in facts for facts in told)


async def test_a_held_certificate_can_be_revoked_as_of_its_hold_and_no_release_brings_it_back(
    world: World, tmp_path: Path
) -> None:
    serial = await active(world)
    der = world.held[ANN].certificate.der
    held_at = world.clock.at
    await world.services.ra.suspension.hold(serial, *PEOPLE)
    world.clock.later(hours=3)
    await world.revoked(ANN, Reason.COMPROMISED)
    for again in (
        world.services.ra.suspension.release(serial, *PEOPLE),
        world.services.ra.suspension.hold(serial, *PEOPLE),
    ):
        assert (await refusal(again)).kind is Kind.CONFLICT
    await world.services.ca.issuer.release(serial)
    await world.services.ca.issuer.hold(serial)
    await world.work()
    assert await world.ca_state(serial) == ("revoked", "key_compromise")
    said = await Openssl(world, tmp_path).ocsp(der)
    assert "Reason: keyCompromise" in said
    assert f"Revocation Time: {held_at:%b %d %H:%M:%S %Y} GMT" in said
    world.clock.later(minutes=5)
    assert (await checked(world)).faults == ()


async def test_i25_a_release_and_a_revocation_at_once_end_in_a_revocation(world: World) -> None:
    serial = await active(world)
    await world.services.ra.suspension.hold(serial, *PEOPLE)
    errand = await world.to_revoke(ANN, Reason.LOST)
    await errand.send()
    await errand.answer(await errand.code())
    terms = await errand.terms()
    second = await world.node(2)
    await asyncio.gather(
        outcome(second.services.ra.suspension.release(serial, *PEOPLE)),
        outcome(world.services.ra.revocation.confirm(errand.caller, errand.id, terms)),
    )
    await world.work()
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    assert await world.ca_state(serial) == ("revoked", "key_compromise")
    assert (await world.audit()).findings == ()


async def test_a_release_and_another_hold_between_two_lists_make_a_new_list(world: World, tmp_path: Path) -> None:
    """As many certificates stand on the list before and after."""
    first, second = await active(world, ANN), await active(world, BEN)
    await world.services.ra.suspension.hold(first, *PEOPLE)
    assert await world.once("publish") == 1
    assert await world.once("publish") == 0
    world.clock.later(seconds=2)
    await world.services.ra.suspension.release(first, *PEOPLE)
    await world.services.ra.suspension.hold(second, *PEOPLE)
    assert await world.once("publish") == 1
    openssl = Openssl(world, tmp_path)
    assert "certificate revoked" in await openssl.list(world.held[BEN].certificate.der)
    assert "leaf.pem: OK" in await openssl.list(world.held[ANN].certificate.der)


async def test_i32_a_hold_and_a_release_need_two_people_and_a_certificate_in_the_right_state(world: World) -> None:
    serial = await active(world)
    suspension = world.services.ra.suspension
    for verb in (suspension.hold, suspension.release):
        refused = await refusal(verb(serial, "alice", "ALICE"))
        assert (refused.kind, refused.field) == (Kind.FORBIDDEN, "approved_by")
        assert (await refusal(verb(serial, "alice ", "bob"))).kind is Kind.MALFORMED
        assert (await refusal(verb(Serial("7F00"), *PEOPLE))).kind is Kind.NOT_FOUND
    assert (await refusal(suspension.release(serial, *PEOPLE))).code == "not_on_hold"
    await suspension.hold(serial, *PEOPLE)
    assert (await refusal(suspension.hold(serial, *PEOPLE))).code == "not_in_force"
    (record,) = await world.records(Event.RA_CERTIFICATE_HELD)
    assert '"by":"alice"' in record["facts"]
    assert '"approved_by":"bob"' in record["facts"]


async def test_a_certificate_on_hold_renews_nothing_and_its_replacement_ends_it(world: World) -> None:
    await active(world)
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    old = world.held[ANN].certificate.serial
    await world.services.ra.suspension.hold(old, *PEOPLE)
    assert (await refusal(errand.bind())).code == "old"
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    await world.to_active(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await world.work()
    assert await world.ca_state(old) == ("revoked", "superseded")
    assert (await refusal(world.services.ra.suspension.release(old, *PEOPLE))).code == "not_on_hold"


async def test_a_lost_certificate_is_held_at_the_ca_when_the_code_was_right_and_revoked_when_the_new_one_is_issued(
    world: World,
) -> None:
    old = await active(world)
    errand = await world.to_sent(ANN, Operation.REPLACE, reason=Reason.LOST)
    await refusal(errand.answer(await errand.wrong_code()))
    await world.work()
    assert (await world.ca_state(old))[0] == "issued"
    await errand.answer(await errand.code())
    await world.work()
    assert await world.ca_state(old) == ("held", "certificate_hold")
    assert (await checked(world)).faults == ()
    await errand.birth_date()
    await errand.confirm()
    await world.work()
    assert (await world.ca_state(old))[0] == "revoked"
    assert (await refusal(world.services.ra.suspension.release(old, *PEOPLE))).code == "not_on_hold"


class _Overtaken:
    """A CA that is told of a hold, and while it is being told another person releases the certificate."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.told: list[str] = []

    async def hold(self, serial: Serial) -> None:
        if not self.told:
            other = await self.world.node(2)
            await other.services.ra.suspension.release(serial, *PEOPLE)
        self.told.append("hold")
        await self.world.services.ca.issuer.hold(serial)

    async def release(self, serial: Serial) -> None:
        self.told.append("release")
        await self.world.services.ca.issuer.release(serial)


async def test_a_release_that_overtakes_its_hold_on_the_way_to_the_ca_wins(world: World) -> None:
    serial = await active(world)
    ca = _Overtaken(world)
    await Suspension(world.services.ra.context, StaffRepository(world.services.foundation.engine), ca).hold(
        serial, *PEOPLE
    )
    assert ca.told == ["hold", "release"]
    assert (await world.stored_certificate(serial)).state is CertificateState.ACTIVE
    assert (await world.ca_state(serial))[0] == "issued"


async def test_where_the_ca_knows_no_holds_the_hold_is_ours_alone(world: World) -> None:
    serial = await active(world)
    alone = Suspension(world.services.ra.context, StaffRepository(world.services.foundation.engine), None)
    assert (await alone.hold(serial, *PEOPLE)).state is CertificateState.HELD
    assert (await world.ca_state(serial))[0] == "issued"


async def test_a_worker_that_dies_with_a_revocation_delays_it_by_less_than_five_seconds(world: World) -> None:
    serial = await active(world)
    errand = await world.to_issued(BEN)
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    undone = (await world.certificate(errand)).serial
    await world.services.ra.suspension.hold(serial, *PEOPLE)
    await world.services.ca.issuer.release(serial)
    taken = await world.services.messaging.outbox.claim(
        (OutboxJobKind.REVOKE, OutboxJobKind.HOLD), 10, "a worker that dies", world.clock.now(), 2
    )
    assert {work.kind for work in taken} == {OutboxJobKind.REVOKE, OutboxJobKind.HOLD}
    assert await world.once("revoke") == 0
    world.clock.at += timedelta(seconds=2)
    assert await world.once("revoke") == 2
    assert (await world.ca_state(undone))[0] == "revoked"
    assert (await world.ca_state(serial))[0] == "held"


@pytest.mark.parametrize("edit", ["state", "leaf"])
async def test_i33_a_hold_that_nobody_recorded_is_found(world: World, edit: str) -> None:
    serial = await active(world)
    change = "state = 'held', ended_at = 1, reason = 'certificate_hold'"
    if edit == "leaf":
        await world.services.ra.suspension.hold(serial, *PEOPLE)
        change = "state = 'issued', ended_at = NULL, reason = NULL"
    await world.change(f"UPDATE certificates SET {change} WHERE serial = :serial", serial=serial)
    world.clock.later(minutes=2)
    codes = {fault.code for fault in (await checked(world)).faults}
    assert codes == {"audit_differs", "on_hold_and_live" if edit == "state" else "ended_and_not_revoked"}


async def test_a_confirmed_order_whose_certificate_is_held_before_it_is_told_gets_that_certificate(
    world: World,
) -> None:
    """I2: one order, one certificate; what is said of its status is another question."""
    errand = await world.to_issued()
    serial = (await world.certificate(errand)).serial
    await world.services.ca.issuer.hold(serial)
    issuance = await errand.issuance()
    again = await world.services.ca.issuer.issue(issuance)
    assert getattr(again, "serial", None) == serial
    assert await errand.state() is OrderState.ISSUED
