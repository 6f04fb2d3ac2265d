"""Second guards of codes: each stands behind another check that would hide it, and a fault in it would cost a customer.

What is read may be stale, a key may be destroyed, a day may end: the statement that spends something decides.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from chopmark.app.services import build
from chopmark.app.settings import Settings
from chopmark.audit.events import Event
from chopmark.audit.log import AuditLog
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, CustomerId, Operation, OrderState, Reason
from chopmark.stepup.challenge import Challenge
from chopmark.stepup.derive import OtpKey, OtpKeys
from chopmark.stepup.verifier import Verifier
from tests.contract.test_delivery import Gateway, delivery
from tests.contract.test_holds import guess
from tests.contract.test_races_codes import at_once, verifiers, wrong_codes
from tests.contract.world import ANN, BEN, DAN, ROWS, START, Errand, World, outcome, refusal, world_fixture

world = world_fixture()


def verifier(world: World, keys: OtpKeys) -> Verifier:
    """A node with other code keys."""
    services = world.services
    audit_log = AuditLog(services.foundation.audit_repository, services.foundation.audit_key, world.clock)
    return Verifier(services.ra.challenges, keys, services.foundation.portal, audit_log, world.clock, world.dice)


async def given(errand: Errand, sent: Challenge, code: str, by: Verifier | None = None) -> object:
    """Type a code for a challenge as it was read, however long ago."""
    services = errand.services
    acting = services.ra.context.acting(errand.caller, await errand.stored())
    return await outcome((by or services.ra.verifier).answer(sent, code, acting, services.ra.rekey.rules))


async def spent(world: World) -> tuple[object, ...]:
    """What wrong codes have cost so far."""
    attempts = await world.rows("SELECT id, attempts FROM challenges ORDER BY id")
    return attempts, await world.rows("SELECT * FROM failures"), len(await world.records(Event.RA_CODE_CHARGED))


async def test_when_its_key_is_destroyed_no_code_is_right(world: World) -> None:
    errand = await world.to_sent()
    elsewhere = verifier(world, OtpKeys(OtpKey("another", bytes(range(32)))))
    sent, right = await errand.challenge(), await errand.code()
    for code in (right, "000000", "999999"):
        made = await given(errand, sent, code, elsewhere)
        assert isinstance(made, Refusal)
        assert made.kind is Kind.WRONG_CODE
    assert await errand.state() is OrderState.BOUND
    assert (await errand.answer(right)).state is OrderState.CODE_VERIFIED


async def test_a_code_sent_before_a_rotation_of_the_key_is_right_after_it_and_new_ones_are_of_the_new_key(
    world: World,
) -> None:
    before, after = await world.to_sent(), await world.to_key(BEN)
    code = await before.code()
    was = world.services.foundation.settings.otp_key
    changed = {"otp_key": "5a" * 32, "otp_key_previous": was.get_secret_value(), "node": 2}
    services = await build(
        Settings.model_validate({**world.services.foundation.settings.model_dump(), **changed}), world.clock, world.dice
    )
    world.nodes.append(services)
    answered = (await services.ra.rekey.answer(before.caller, before.id, code)).order
    assert answered.state is OrderState.CODE_VERIFIED
    await services.ra.rekey.challenge(after.caller, after.id, Channel.MOBILE)
    (old, new) = await world.rows("SELECT kid FROM challenges ORDER BY customer")
    assert old["kid"] != new["kid"]
    assert new["kid"] == OtpKey.named(bytes.fromhex("5a" * 32)).kid


async def resent(errand: Errand) -> None:
    errand.world.clock.later(seconds=60)
    await errand.send()


async def rebound(errand: Errand) -> None:
    await errand.bind(type(errand.key).generate())


async def cancelled(errand: Errand) -> None:
    await errand.services.ra.enrolment.cancel(errand.caller, errand.id)


async def used(errand: Errand) -> None:
    await errand.answer(await errand.code())


@pytest.mark.parametrize("meanwhile", [resent, rebound, cancelled, used])
async def test_a_challenge_that_is_over_is_neither_charged_nor_compared_when_it_is_read_stale(
    world: World, meanwhile: Callable[[Errand], Awaitable[None]]
) -> None:
    errand = await world.to_sent()
    sent, code, wrong = await errand.challenge(), await errand.code(), await errand.wrong_code()
    await meanwhile(errand)
    before, state = await spent(world), (await errand.stored()).state
    for typed in (wrong, code):
        made = await given(errand, sent, typed)
        assert isinstance(made, Refusal)
        assert made.kind is Kind.CODE_DEAD
    assert await spent(world) == before
    assert (await errand.stored()).state is state


async def test_an_older_code_that_somehow_lives_again_is_not_its_orders_code(world: World) -> None:
    errand = await world.to_sent()
    sent, code = await errand.challenge(), await errand.code()
    await resent(errand)
    await world.change("UPDATE challenges SET state = 'dead'")
    await world.change("UPDATE challenges SET state = 'live' WHERE id = :id", id=sent.id)
    made = await given(errand, sent, code)
    assert isinstance(made, Refusal)
    assert made.kind is Kind.CODE_DEAD
    assert await errand.state() is OrderState.BOUND
    assert await world.records(Event.RA_CODE_CHARGED) == []


async def failures(world: World, customer: str, *, in_window: int, ever: int) -> None:
    """So many wrong codes are on record, the first of the day's just now."""
    await world.change(
        "INSERT INTO failures (customer, factor, window_start, in_window, ever) VALUES (:c, 'code', :now, :day, :ever) "
        "ON CONFLICT (customer, factor) DO UPDATE SET window_start = :now, in_window = :day, ever = :ever",
        c=customer,
        now=int(world.clock.at.timestamp() * 1000),
        day=in_window,
        ever=ever,
    )


async def test_a_hold_that_begins_a_minute_before_the_day_is_over_binds_a_minute_after_it(world: World) -> None:
    """The code that is typed then was sent before the hold, for another order: only the lock is in its way."""
    await world.to_active()
    world.clock.later(hours=1)
    await failures(world, ANN, in_window=19, ever=19)
    began = world.clock.at
    world.clock.at = began + timedelta(hours=23, minutes=57)
    living = await world.to_sent(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    right = await living.code()
    world.clock.at = began + timedelta(hours=23, minutes=58)
    ending = await world.to_revoke()
    await ending.send()
    world.clock.at = began + timedelta(hours=23, minutes=59)
    assert (await refusal(ending.answer(await ending.wrong_code()))).kind is Kind.LOCKED
    world.clock.at = began + timedelta(hours=24, minutes=1)
    assert (await refusal(living.answer(right))).kind is Kind.LOCKED
    assert await living.state() is OrderState.BOUND
    assert (await refusal(living.send())).kind is Kind.LOCKED
    assert await world.services.ra.locks.held(CustomerId(ANN)) == {"code": "held"}


async def test_of_many_guesses_at_once_after_98_failures_ever_two_are_compared(world: World) -> None:
    errand = await world.to_sent()
    await failures(world, ANN, in_window=0, ever=98)
    nodes, count = verifiers(world, world.services.ra.challenges)
    await at_once(nodes, errand, await wrong_codes(errand, 40))
    assert count.compared == 2
    assert await world.services.ra.locks.held(errand.caller.customer) == {"code": "disabled"}
    (row,) = await world.rows("SELECT ever FROM failures WHERE factor = 'code'")
    assert row["ever"] == 100


async def test_the_failures_of_another_day_are_counted_from_its_first_one_on(world: World) -> None:
    await failures(world, ANN, in_window=19, ever=19)
    world.clock.later(days=1, hours=1)
    refused = await guess(world, ANN, 19)
    assert refused is not None
    assert refused.kind is Kind.WRONG_CODE
    refused = await guess(world, ANN, 1)
    assert refused is not None
    assert refused.kind is Kind.LOCKED


async def test_a_hold_is_told_once_and_its_moment_stands(world: World) -> None:
    """Whoever goes on guessing neither floods the customer with notices nor moves the hold."""
    errand = await world.to_sent()
    await failures(world, ANN, in_window=19, ever=19)
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED
    before = await world.rows("SELECT * FROM failures"), await world.notices()
    for seconds in range(1, 4):
        world.clock.later(seconds=1)
        assert (await refusal(errand.answer(await errand.wrong_code(seconds)))).kind is Kind.LOCKED
    assert (await world.rows("SELECT * FROM failures"), await world.notices()) == before


async def test_after_a_hundred_failures_and_a_release_codes_are_as_good_as_new(world: World) -> None:
    errand = await world.to_sent()
    await failures(world, ANN, in_window=0, ever=99)
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED
    assert await world.services.ra.locks.held(CustomerId(ANN)) == {"code": "disabled"}
    await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob")
    world.clock.later(minutes=2)
    again = await world.to_sent()
    assert (await refusal(again.answer(await again.wrong_code()))).kind is Kind.WRONG_CODE
    assert (await again.answer(await again.code())).state is OrderState.CODE_VERIFIED
    assert await world.services.ra.locks.held(CustomerId(ANN)) == {}


async def test_the_code_to_a_contact_that_was_changed_is_the_one_that_is_right(world: World) -> None:
    await world.services.ra.customer_import.add([{**ROWS[ANN], "mobile": "0912555999"}], "alice")
    world.clock.later(days=7)
    errand = await world.to_sent()
    assert (await errand.challenge()).contact_version == 2
    await world.told()
    await world.change("UPDATE work SET done_at = 0 WHERE kind = 'notice' AND done_at IS NULL")
    gateway = Gateway()
    assert await delivery(world, gateway).once() == 1
    (message,) = gateway.taken
    assert message.destination.reveal() == "+886912555999"
    assert message.code is not None
    assert (await errand.answer(message.code.reveal())).state is OrderState.CODE_VERIFIED


async def test_no_two_challenges_share_a_nonce(world: World) -> None:
    first, second = await world.to_sent(), await world.to_sent(BEN)
    await resent(first)
    await second.bind(type(second.key).generate())
    await resent(second)
    rows = await world.rows("SELECT id, nonce, reference FROM challenges")
    assert len({bytes(row["nonce"]) for row in rows}) == len({row["id"] for row in rows}) == 4


async def test_codes_of_a_clock_that_was_ahead_use_up_no_sends_of_an_order(world: World) -> None:
    errand, now = await world.to_key(), world.clock.at
    world.clock.at = now + timedelta(hours=2)
    for _ in range(3):
        await errand.send()
        world.clock.later(seconds=60)
    assert (await refusal(errand.send())).code == "sends_order"
    world.clock.at = now
    await errand.send()
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_a_right_code_neither_prolongs_nor_announces_an_order_that_does_not_wait(world: World) -> None:
    errand = await world.to_sent()
    before = await errand.stored()
    world.clock.later(minutes=1)
    await errand.answer(await errand.code())
    after = await errand.stored()
    assert (after.expires_at, after.announced_at) == (before.expires_at, None)
    assert after.state is OrderState.CODE_VERIFIED


async def test_a_code_says_when_another_one_may_be_asked_for(world: World) -> None:
    errand = await world.to_sent()
    sent = await errand.challenge()
    assert sent.resend_at - world.clock.at == timedelta(seconds=60)
    assert sent.expires_at - world.clock.at == timedelta(seconds=300)


async def sends(world: World, customer: str, channel: Channel, wanted: int) -> Refusal | None:
    """Have so many codes sent in ever new orders, and type each; return the refusal that ended it."""
    for _ in range(wanted):
        errand = await world.to_key(customer)
        refused = await outcome(errand.send(channel))
        if not isinstance(refused, Refusal):
            await errand.answer(await errand.code())
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        if isinstance(refused, Refusal):
            return refused
        world.clock.later(seconds=60)
    return None


async def test_the_budget_of_an_hour_is_the_customers_over_both_channels(world: World) -> None:
    assert await sends(world, ANN, Channel.MOBILE, 3) is None
    assert await sends(world, ANN, Channel.EMAIL, 2) is None
    for channel in (Channel.MOBILE, Channel.EMAIL):
        refused = await sends(world, ANN, channel, 1)
        assert refused is not None
        assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends")


async def test_the_budget_of_a_day_is_the_customers_over_both_channels(world: World) -> None:
    """Five an hour over one channel, five over the other in the next: each destination has half of its day left."""
    assert await sends(world, ANN, Channel.MOBILE, 5) is None
    world.clock.later(minutes=56)
    assert await sends(world, ANN, Channel.EMAIL, 5) is None
    world.clock.later(hours=2)
    refused = await sends(world, ANN, Channel.MOBILE, 1)
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends")
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 19 * 3600
    world.clock.at = START + timedelta(days=1)
    assert await sends(world, ANN, Channel.MOBILE, 1) is None


async def test_the_budget_of_a_day_is_the_numbers_over_two_customers(world: World) -> None:
    other = {**ROWS[DAN], "customer": "C8", "person_id": "A153367839", "accounts": "(期) F014000-0000008"}
    assert (await world.services.ra.customer_import.add([other], "alice")).imported == 1
    world.clock.later(days=7)  # what is another customer's too cools down first
    assert await sends(world, DAN, Channel.MOBILE, 5) is None
    world.clock.later(minutes=56)
    assert await sends(world, "C8", Channel.MOBILE, 5) is None
    world.clock.later(hours=2)
    for customer in (DAN, "C8"):
        refused = await sends(world, customer, Channel.MOBILE, 1)
        assert refused is not None
        assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends")


async def test_a_release_gives_the_customers_own_sends_back_and_nobody_elses(world: World) -> None:
    for customer in (ANN, BEN):
        assert await sends(world, customer, Channel.MOBILE, 5) is None
    await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob")
    world.clock.later(milliseconds=1)
    assert await sends(world, ANN, Channel.MOBILE, 1) is None
    refused = await sends(world, BEN, Channel.MOBILE, 1)
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends")


async def test_of_two_codes_asked_for_at_once_for_two_orders_one_is_sent(world: World) -> None:
    await world.to_active()
    world.clock.later(hours=1)
    one, two = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE), await world.to_revoke()
    made = await asyncio.gather(outcome(one.send(Channel.MOBILE)), outcome(two.send(Channel.EMAIL)))
    assert sum(isinstance(each, Refusal) for each in made) == 1
    assert await world.count("challenges", "state = 'live'") == 1
