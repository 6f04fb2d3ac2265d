"""`strict`, one usable contact: the first right code announces a replacement, and after a day another approves it."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.checker import Checker
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Channel, Operation, OrderState, Reason
from chopmark.ra.model import Step
from chopmark.ra.stopping import StopDesk, Stopped
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.store.repositories.ra.stops import StopRepository
from tests.contract.test_stops import messages, reference
from tests.contract.world import ANN, DAN, Errand, World, refusal, world_fixture

world = world_fixture(policy="strict")
LATER = "CUSTOMERSLATERLOGIN0000000"
REASONS = [Reason.NEW_DEVICE, Reason.LOST, Reason.COMPROMISED]
DAY = timedelta(hours=24)


async def begun(world: World, reason: Reason = Reason.NEW_DEVICE) -> Errand:
    """Dan has a mobile only."""
    await world.to_active(DAN)
    world.clock.later(seconds=60)
    return await world.to_key(DAN, Operation.REPLACE, reason=reason)


async def right(errand: Errand) -> None:
    await errand.send()
    await errand.answer(await errand.code())


@pytest.mark.parametrize("reason", REASONS)
async def test_a_second_code_a_day_after_the_first_approves_it(world: World, reason: Reason) -> None:
    errand = await begun(world, reason)
    await right(errand)
    first = world.clock.now()
    order = await errand.order()
    assert (order.state, order.next(), order.announced_at) == (OrderState.BOUND, Step.CHANNEL, first)
    assert order.expires_at == first + DAY + DAY
    world.clock.later(hours=24)
    await right(errand)
    assert (await errand.order()).next() is Step.REVIEW
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    await world.work()
    standard = world.services.ca.issuer.standard()
    assert (
        await Checker(standard, CertificateRows(world.services.foundation.engine), 0).check(world.clock.now())
    ).faults == ()
    assert (await world.audit()).findings == ()
    opened = [one for one in await world.records(Event.RA_ORDER_OPENED) if one["chain"] == errand.id]
    assert [json.loads(one["facts"])["checks"] for one in opened] == ["delay"]


async def test_no_code_is_sent_while_it_waits(world: World) -> None:
    errand = await begun(world)
    await right(errand)
    for span in (timedelta(minutes=2), DAY - timedelta(minutes=2, seconds=1)):
        world.clock.at += span
        assert (await refusal(errand.services.ra.rekey.confirm(errand.caller, errand.id, "0" * 64))).code == "channel"
        refused = await refusal(errand.send())
        assert (refused.kind, refused.field) == (Kind.FORBIDDEN, "channel")
    world.clock.later(seconds=1)
    await errand.send()


async def test_the_page_says_until_when_and_offers_no_other_sign_in(world: World) -> None:
    """The first code is right at 12:01 in Taipei on 31 March; another sign-in would not help before noon of 1 April."""
    errand = await begun(world)
    await right(errand)
    counter = world.services.ra.customer_queries
    snapshot = await counter.snapshot(errand.caller, errand.id)
    (why_not,) = [str(choice.why_not) for choice in counter.channels(snapshot) if choice.masked]
    assert why_not == "Your first code was right. From 2026-04-01 12:01 on a second one can be sent to you."
    assert not counter.password_alone_helps(snapshot)


async def test_the_guards_of_the_wait_stand_in_the_sql_too(world: World) -> None:
    """The order as it was read before the first code; then a row that says it was approved."""
    errand = await begun(world)
    read_before = await errand.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    await right(errand)
    world.clock.later(minutes=2)
    services = world.services
    stale = replace(errand.caller, opened=read_before)
    assert (await refusal(services.ra.rekey.challenge(stale, errand.id, Channel.MOBILE))).kind is Kind.STEP_REQUIRED
    await world.change("UPDATE orders SET state = 'coded', coded_at = announced_at WHERE id = :id", id=errand.id)
    order = await errand.stored()
    acting, since = services.ra.context.acting(errand.caller, order), world.clock.now() - timedelta(minutes=10)

    async def submit(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_SUBMITTED)
        return bool(await services.ra.context.orders.submit(order, "x", acting, since, world.clock.now(), record))

    assert not await services.foundation.audit_log.write(order_stream(errand.id), submit)


async def test_the_ca_demands_the_wait_from_the_records(world: World) -> None:
    """The row says that it was announced long ago; the records have one code."""
    errand = await begun(world)
    await world.change("UPDATE orders SET announced_at = 1 WHERE id = :id", id=errand.id)
    await right(errand)
    assert (await errand.order()).next() is Step.REVIEW
    assert (await refusal(errand.confirm())).code == "distrusted"
    assert await errand.state() is OrderState.REFUSED


async def test_an_order_that_waits_lives_for_a_day_after_the_wait(world: World) -> None:
    errand = await begun(world)
    await right(errand)
    world.clock.later(hours=47, minutes=59)
    assert await errand.state() is OrderState.BOUND
    world.clock.later(minutes=1)
    assert await errand.state() is OrderState.EXPIRED


async def test_another_key_waits_anew(world: World) -> None:
    errand = await begun(world)
    await right(errand)
    world.clock.later(hours=25)
    await errand.bind(type(errand.key).generate())
    await right(errand)
    order = await errand.order()
    assert (order.state, order.announced_at) == (OrderState.BOUND, world.clock.now())


async def test_another_login_that_holds_the_key_may_go_on_after_the_wait(world: World) -> None:
    errand = await begun(world)
    await right(errand)
    world.clock.later(hours=24)
    later = errand.within(LATER)
    assert (await refusal(later.send())).kind is Kind.STEP_REQUIRED
    await later.possess()
    await right(later)
    assert (await later.confirm()).state is OrderState.ISSUED


async def test_all_contacts_are_told_at_once_and_their_code_stops_it(world: World) -> None:
    """The contact that carries no code is told as well."""
    await world.to_active()
    await world.change("UPDATE contacts SET cool_until = 9000000000000 WHERE channel = 'email'")
    world.clock.later(seconds=60)
    errand = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await right(errand)
    assert sorted(channel for channel, _ in await messages(world, "replacing")) == ["email", "mobile"]
    stops = StopDesk(world.services.ra.context, StopRepository(world.services.foundation.engine))
    assert await stops.stop(await reference(world), "192.0.2.0/24") is Stopped.ORDER
    world.clock.later(hours=24)
    assert (await refusal(errand.send())).code == "order_stopped"


async def test_a_lost_certificate_is_on_hold_with_the_first_code(world: World) -> None:
    errand = await begun(world, Reason.LOST)
    old = world.held[DAN].certificate.serial
    await right(errand)
    assert (await world.stored_certificate(old)).state is CertificateState.HELD


async def test_an_application_after_a_revocation_waits_as_well_and_a_first_one_does_not(world: World) -> None:
    await world.to_active(DAN)
    await world.revoked(DAN)
    world.clock.later(minutes=1)
    errand = await world.to_code(DAN)
    order = await errand.order()
    assert (order.state, order.announced_at) == (OrderState.BOUND, world.clock.now())
