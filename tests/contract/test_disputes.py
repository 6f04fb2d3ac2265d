"""'This contact is not mine': the order ends, the contact is stopped until the firm has confirmed it anew."""

import asyncio
from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, CustomerId, FactorClass, Operation, OrderState, Reason
from tests.contract.world import ANN, DAN, ROWS, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
MOBILE, EMAIL = Channel.MOBILE, Channel.EMAIL


async def dispute(errand: Errand, channel: Channel) -> Refusal | None:
    made = await outcome(errand.services.ra.enrolment.dispute(errand.caller, errand.id, channel))
    return made if isinstance(made, Refusal) else None


async def stopped(world: World, customer: str = ANN) -> set[Channel]:
    contacts = await world.services.identity.people.contacts(CustomerId(customer))
    return {channel for channel, contact in contacts.items() if contact.disputed}


async def confirm(world: World, day: str, customer: str = ANN) -> None:
    """The firm's sheet as before, with the day on which the contacts were confirmed."""
    assert (await world.services.ra.customer_import.add([{**ROWS[customer], "verified_on": day}], "alice")).faults == ()


async def test_a_dispute_ends_the_order_and_the_other_contact_is_told(world: World) -> None:
    errand = await world.to_code()
    assert await dispute(errand, MOBILE) is None
    order = await errand.stored()
    assert (order.state, order.ended) == (OrderState.CANCELLED, "contact_disputed")
    assert await stopped(world) == {MOBILE}
    (notice,) = await world.notices()
    assert notice["channel"] == "email"
    assert "contact_disputed" in notice["facts"]
    said = await refusal(errand.birth_date())
    assert (said.kind, said.code) == (Kind.CONFLICT, "order_cancelled")
    assert "contact" in str(said.public)


async def test_a_second_dispute_within_24_hours_is_refused_in_whatever_order_and_login(world: World) -> None:
    assert await dispute(await world.to_key(), MOBILE) is None
    world.clock.later(hours=23, minutes=59)
    await confirm(world, "2026-04-01")
    assert await stopped(world) == set()
    launched = frozenset({FactorClass.PASSWORD, FactorClass.SMS})
    for errand in (await world.to_key(), await world.open(factors=launched)):
        for channel in Channel:
            refused = await dispute(errand, channel)
            assert refused is not None
            assert (refused.kind, refused.code, refused.retry_after_s) == (Kind.TOO_MANY, "disputes", 60)
    assert await errand.state() is OrderState.BOUND
    assert await stopped(world) == set()
    assert len(await world.records(Event.RA_CONTACT_DISPUTED)) == 1
    world.clock.later(minutes=1)
    assert await dispute(await world.to_key(), EMAIL) is None


async def test_both_contacts_are_never_stopped_not_even_on_different_days(world: World) -> None:
    assert await dispute(await world.to_key(), MOBILE) is None
    for days in (0, 1, 30):
        world.clock.later(days=days)
        errand = await world.to_key()
        refused = await dispute(errand, EMAIL)
        assert refused is not None
        assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "last_contact")
        assert await errand.state() is OrderState.BOUND
        await errand.send(EMAIL)
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    assert await stopped(world) == {MOBILE}


async def test_two_tabs_that_dispute_both_contacts_at_once_stop_one(world: World) -> None:
    await world.to_active()
    tabs = [await world.to_revoke() for _ in range(4)]
    channels = (MOBILE, EMAIL, EMAIL, MOBILE)
    made = await asyncio.gather(*(dispute(tab, channel) for tab, channel in zip(tabs, channels, strict=True)))
    assert [each for each in made if each is None] == [None]
    assert len(await stopped(world)) == 1
    assert await world.count("orders", "ended = 'contact_disputed'") == 1
    assert await world.count("work", "facts LIKE '%contact_disputed%'") == 1
    assert (await world.audit()).findings == ()


async def test_codes_on_their_way_to_the_contact_and_what_they_approved_end_with_it(world: World) -> None:
    await world.to_active()
    approved, waiting = await world.to_revoke(), await world.to_revoke()
    await approved.send(MOBILE)
    await approved.answer(await approved.code())
    await waiting.send(MOBILE)
    code = await waiting.code()
    mine = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert await dispute(mine, MOBILE) is None
    assert (await refusal(waiting.answer(code))).kind is Kind.CODE_DEAD
    assert await approved.state() is OrderState.CANCELLED
    assert (await refusal(waiting.send(MOBILE))).kind is Kind.FORBIDDEN


async def test_a_contact_that_does_not_exist_cannot_be_disputed(world: World) -> None:
    errand = await world.to_key(DAN)
    refused = await dispute(errand, EMAIL)
    assert refused is not None
    assert refused.kind is Kind.NOT_FOUND
    assert await errand.state() is OrderState.BOUND
    assert await world.count("counters", "name LIKE 'dispute:%'") == 0


async def test_the_same_contact_is_stopped_once(world: World) -> None:
    assert await dispute(await world.to_key(), MOBILE) is None
    world.clock.later(days=2)
    refused = await dispute(await world.to_key(), MOBILE)
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "disputed")


async def test_what_is_submitted_is_not_ended_by_a_dispute(world: World) -> None:
    errand = await world.to_issued()
    refused = await dispute(errand, MOBILE)
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "moved_on")
    assert await stopped(world) == set()
    assert await world.count("counters", "name LIKE 'dispute:%'") == 0


@pytest.mark.parametrize(
    ("day", "lifted"),
    [("2024-03-05", False), ("2026-03-30", False), ("2026-03-31", True), ("2026-04-01", True)],
    ids=["as before", "newer, but before the dispute", "on the day of the dispute", "later"],
)
async def test_a_contact_is_stopped_until_the_sheet_confirms_it_anew(world: World, day: str, lifted: bool) -> None:
    assert await dispute(await world.to_key(), MOBILE) is None
    world.clock.later(days=2)
    await confirm(world, day)
    assert await stopped(world) == (set() if lifted else {MOBILE})
    errand = await world.to_key()
    made = await outcome(errand.send(MOBILE))
    assert isinstance(made, Refusal) is not lifted


async def test_a_dispute_does_not_lift_itself(world: World) -> None:
    assert await dispute(await world.to_key(), MOBILE) is None
    world.clock.later(days=400)
    assert await stopped(world) == {MOBILE}
    await confirm(world, "2024-03-05")
    assert await stopped(world) == {MOBILE}


async def test_a_dispute_does_not_evade_pause_and_sends(world: World) -> None:
    errand = await world.to_sent()
    assert await dispute(errand, MOBILE) is None
    again = await world.to_key()
    assert (await refusal(again.send(EMAIL))).code == "resend_too_soon"
    for _ in range(2):
        world.clock.later(seconds=60)
        await again.send(EMAIL)
    world.clock.later(seconds=60)
    assert (await refusal(again.send(EMAIL))).code == "sends_order"
    world.clock.later(seconds=timedelta(hours=24).total_seconds())
    await (await world.to_key()).send(EMAIL)
