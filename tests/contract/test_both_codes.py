"""`strict`: a replacement needs a code on each of both contacts, in one login that holds the key; *lost* as well."""

import json
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.checker import Checker
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, Channel, Operation, OrderState, Reason
from chopmark.ra.model import Step
from chopmark.ra.policy import TW_BROKER
from chopmark.store.repositories.ca.checking import CertificateRows
from tests.contract.world import ANN, Errand, World, outcome, refusal, world_fixture

world = world_fixture(policy="strict")
MOBILE, EMAIL = Channel.MOBILE, Channel.EMAIL
LATER = "CUSTOMERSLATERLOGIN0000000"
REASONS = [Reason.NEW_DEVICE, Reason.LOST, Reason.COMPROMISED]


async def begun(world: World, reason: Reason = Reason.NEW_DEVICE, **how: Any) -> Errand:
    await world.to_active()
    world.clock.later(seconds=60)
    return await world.to_key(ANN, Operation.REPLACE, reason=reason, **how)


async def right(errand: Errand, channel: Channel) -> None:
    await errand.send(channel)
    await errand.answer(await errand.code())
    errand.world.clock.later(seconds=60)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("first", [MOBILE, EMAIL])
async def test_both_codes_approve_and_the_records_bear_it_out(world: World, first: Channel, reason: Reason) -> None:
    errand = await begun(world, reason)
    await right(errand, first)
    assert (await errand.order()).next() is Step.CHANNEL
    await right(errand, first.other)
    order = await errand.order()
    assert (order.code_channel, order.second_channel, order.next()) == (first, first.other, Step.REVIEW)
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    await world.work()
    standard = world.services.ca.issuer.standard()
    assert (
        await Checker(standard, CertificateRows(world.services.foundation.engine), 0).check(world.clock.now())
    ).faults == ()
    assert (await world.audit()).findings == ()


@pytest.mark.parametrize("reason", REASONS)
async def test_one_code_approves_nothing(world: World, reason: Reason) -> None:
    errand = await begun(world, reason)
    await right(errand, MOBILE)
    for step in (errand.confirm(), errand.birth_date()):
        refused = await refusal(step)
        assert (refused.kind, refused.code) == (Kind.STEP_REQUIRED, "channel")
    refused = await refusal(errand.send(MOBILE))
    assert (refused.kind, refused.field) == (Kind.FORBIDDEN, "channel")
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert await world.count("certificates", "order_id = :id", id=errand.id) == 0


async def test_the_guard_stands_in_the_sql_and_the_ca_demands_both(world: World) -> None:
    """The view of the order is skipped; then the row says that both were right, and the records do not."""
    errand = await begun(world)
    await right(errand, MOBILE)
    services, order = world.services, await errand.order()
    acting, since = services.ra.context.acting(errand.caller, order), world.clock.now() - timedelta(minutes=10)

    async def submit(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_SUBMITTED)
        return bool(await services.ra.context.orders.submit(order, "x", acting, since, world.clock.now(), record))

    assert not await services.foundation.audit_log.write(order_stream(errand.id), submit)
    await world.change(
        "UPDATE orders SET second_channel = 'email', second_coded_at = coded_at WHERE id = :id", id=errand.id
    )
    refused = await refusal(errand.confirm())
    assert refused.code == "distrusted"
    assert await errand.state() is OrderState.REFUSED


async def test_a_code_of_another_login_and_one_that_is_too_old_are_no_first_code(world: World) -> None:
    errand = await begun(world)
    await right(errand, MOBILE)
    later = errand.within(LATER)
    await later.possess()
    await right(later, EMAIL)
    order = await later.order()
    assert (order.code_channel, order.second_channel, order.next()) == (EMAIL, None, Step.CHANNEL)
    world.clock.later(minutes=9)
    await right(later, MOBILE)
    order = await later.order()
    assert (order.code_channel, order.second_channel, order.next()) == (MOBILE, None, Step.CHANNEL)


async def test_codes_of_two_logins_that_both_hold_the_key_are_not_two_codes_of_one(world: World) -> None:
    errand = await begun(world)
    later = errand.within(LATER)
    await later.possess()
    await right(errand, MOBILE)
    await right(later, EMAIL)
    stored = await errand.stored()
    assert (stored.code_channel, stored.second_channel, stored.approved_login) == (EMAIL, None, LATER)


async def test_the_first_code_lapses_with_both(world: World) -> None:
    errand = await begun(world)
    await right(errand, MOBILE)
    world.clock.later(minutes=7)
    await right(errand, EMAIL)
    world.clock.later(minutes=1)
    assert (await errand.order()).next() is Step.CHANNEL
    assert isinstance(await outcome(errand.confirm()), Refusal)


async def test_a_proof_of_the_key_voids_both_codes(world: World) -> None:
    errand = await begun(world)
    await right(errand, MOBILE)
    await right(errand, EMAIL)
    await errand.possess()
    stored = await errand.stored()
    assert (stored.code_channel, stored.second_channel, stored.second_coded_at) == (None, None, None)
    assert stored.state is OrderState.BOUND


async def test_both_contacts_are_told_with_the_first_code_and_the_old_one_is_held_with_it(world: World) -> None:
    errand = await begun(world, Reason.LOST)
    old = world.held[ANN].certificate.serial
    await right(errand, MOBILE)
    told = await world.rows("SELECT channel FROM work WHERE facts LIKE '%replacing%' ORDER BY channel")
    assert [row["channel"] for row in told] == ["email", "mobile"]
    assert (await world.stored_certificate(old)).state is CertificateState.HELD
    await right(errand, EMAIL)
    assert await world.count("work", "facts LIKE '%replacing%'") == 2


@pytest.mark.parametrize("reason", REASONS)
async def test_who_has_no_usable_contact_is_asked_for_a_slip_and_who_has_a_new_one_waits_for_it(
    world: World, reason: Reason
) -> None:
    """E-mail alone approves nothing here, so that it helps nobody whose mobile cannot be used."""
    await world.to_active(ANN)
    await world.change("UPDATE contacts SET cool_until = 9000000000000 WHERE channel = 'mobile'")
    assert (await refusal(world.open(ANN, Operation.REPLACE, reason))).code == "call_us"
    await world.change("UPDATE contacts SET disputed_at = 1 WHERE channel = 'mobile'")
    errand = await world.to_key(ANN, Operation.REPLACE, reason=reason)
    assert (await errand.order()).next() is Step.SLIP


async def test_an_order_from_before_the_policy_is_not_approved_by_one_code(world: World) -> None:
    """The row asks for one code, as an order that was opened under `tw-broker`."""
    errand = await begun(world)
    await world.change(
        "UPDATE orders SET both_codes = 0, policy = :id WHERE id = :order", id=TW_BROKER.id, order=errand.id
    )
    await right(errand, MOBILE)
    refused = await refusal(errand.confirm())
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "call_us")


@pytest.mark.parametrize("ending", ["revoked", "expired"])
async def test_who_had_a_certificate_applies_anew_with_both_codes(world: World, ending: str) -> None:
    """Revoked by one code, or expired: an application is no way around what a replacement asks."""
    await world.to_active()
    await ended(world, ending)
    errand = await world.to_key()
    await right(errand, MOBILE)
    assert (await errand.order()).next() is Step.CHANNEL
    assert (await refusal(errand.confirm())).code == "channel"
    assert await world.count("work", "facts LIKE '%replacing%'") == 2
    await right(errand, EMAIL)
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    (opened,) = [one for one in await world.records(Event.RA_ORDER_OPENED) if one["chain"] == errand.id]
    assert json.loads(opened["facts"])["checks"] == "both_codes"
    assert (await world.audit()).findings == ()


async def test_an_application_anew_that_was_opened_for_one_code_is_not_approved_by_it(world: World) -> None:
    """The row asks for one code, as an order that the release before has opened."""
    await world.to_active()
    await ended(world, "revoked")
    errand = await world.to_key()
    await world.change("UPDATE orders SET both_codes = 0 WHERE id = :order", order=errand.id)
    await right(errand, MOBILE)
    refused = await refusal(errand.confirm())
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "call_us")


async def ended(world: World, ending: str) -> None:
    """Ann's certificate is no more: revoked by her, or a year later."""
    if ending == "revoked":
        await world.revoked()
    world.clock.later(**({"minutes": 1} if ending == "revoked" else {"days": 400}))


async def test_a_first_application_and_a_renewal_need_one_code_as_before(world: World) -> None:
    await world.to_active()
    (opened,) = await world.records(Event.RA_ORDER_OPENED)
    assert json.loads(opened["facts"])["checks"] is None
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
