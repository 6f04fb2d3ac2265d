"""One failure rate limit and one lock for all codes of a customer; cancelling and starting again evades nothing.

The product reads the time from a clock that these tests move: a pause, an hour and a day pass at once.
"""

import asyncio
from datetime import datetime, timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, CustomerId, Operation, OrderState, Reason
from chopmark.tw.zone import TAIPEI
from tests.contract.world import ANN, BEN, START, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
MOBILE, EMAIL = Channel.MOBILE, Channel.EMAIL


async def guess(world: World, channel: Channel, times: int, errand: Errand | None = None) -> Refusal | None:
    """Answer wrongly this often over one channel, each code in an order of its own; the last refusal comes back."""
    last: Refusal | None = None
    while times:
        now = errand or await world.to_key()
        await now.send(channel)
        for step in range(1, min(5, times) + 1):
            last = await refusal(now.answer(await now.wrong_code(step)))
            times -= 1
        await world.services.ra.enrolment.cancel(now.caller, now.id)
        world.clock.later(minutes=13)
        errand = None
    return last


async def held(world: World, customer: str = ANN) -> dict[str, str]:
    return await world.services.ra.locks.held(CustomerId(customer))


async def elder(world: World, factor: str, spent: int, ever: int, *, hold: str | None = None) -> None:
    """A row as the release before counts: each channel for itself."""
    now = int(world.clock.at.timestamp() * 1000)
    await world.change(
        "INSERT INTO failures (customer, factor, window_start, in_window, ever, held_at, hold)"
        " VALUES (:customer, :factor, :now, :spent, :ever, :held_at, :hold)",
        customer=ANN,
        factor=factor,
        now=now,
        spent=spent,
        ever=ever,
        held_at=None if hold is None else now,
        hold=hold,
    )


# the lock -------------------------------------------------------------------------------------------------------


async def test_i11_failures_by_sms_and_by_email_are_one_budget(world: World) -> None:
    refused = await guess(world, MOBILE, 10)
    assert refused is not None
    refused = await guess(world, EMAIL, 9)
    assert refused is not None
    assert refused.kind is Kind.WRONG_CODE
    assert await held(world) == {}
    errand = await world.to_key()
    await errand.send(EMAIL)
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED
    assert await held(world) == {"code": "held"}
    assert (await refusal(errand.answer(await errand.code()))).kind is Kind.LOCKED
    assert len(await world.records(Event.RA_CODE_WRONG)) == 20
    world.clock.later(hours=2)
    for channel in Channel:
        assert (await refusal(errand.send(channel))).kind is Kind.LOCKED


async def test_i11_failures_in_a_revocation_lock_the_application_and_the_other_way_round(world: World) -> None:
    await world.to_active()
    refused: Refusal | None = None
    for _ in range(4):
        revocation = await world.to_revoke()
        await revocation.send(EMAIL)
        for step in range(1, 6):
            refused = await refusal(revocation.answer(await revocation.wrong_code(step)))
        await world.services.ra.enrolment.cancel(revocation.caller, revocation.id)
        world.clock.later(minutes=16)
    assert refused is not None
    assert refused.kind is Kind.LOCKED
    for operation in (Operation.REPLACE, Operation.REVOKE):
        if operation is Operation.REVOKE:
            errand = await world.to_revoke()
        else:
            errand = await world.to_key(ANN, operation, reason=Reason.NEW_DEVICE)
        for channel in Channel:
            assert (await refusal(errand.send(channel))).kind is Kind.LOCKED


async def test_i11_the_hundredth_failure_disables_whatever_channels_they_came_by(world: World) -> None:
    for channel in (MOBILE, EMAIL, MOBILE, EMAIL, MOBILE):
        refused = await guess(world, channel, 19)
        assert refused is not None
        assert refused.kind is Kind.WRONG_CODE
        world.clock.later(days=7)
    refused = await guess(world, EMAIL, 5)
    assert refused is not None
    assert refused.kind is Kind.LOCKED
    assert await held(world) == {"code": "disabled"}


async def test_the_birth_date_has_a_budget_of_its_own(world: World) -> None:
    await guess(world, MOBILE, 19)
    errand = await world.to_code()
    wrong = errand.world.clock.at.date()
    for _ in range(3):
        await refusal(errand.birth_date(wrong))
    assert await held(world) == {"birth_date": "held"}
    assert (await errand.order()).state is OrderState.CODE_VERIFIED


async def test_i11_midnight_gives_no_second_budget(world: World) -> None:
    world.clock.at = datetime(2026, 3, 31, 23, 0, tzinfo=TAIPEI)
    await guess(world, MOBILE, 15)
    assert world.clock.at.astimezone(TAIPEI).hour == 23
    world.clock.later(hours=1)
    refused = await guess(world, EMAIL, 5)
    assert refused is not None
    assert refused.kind is Kind.LOCKED


async def test_i11_two_tabs_and_two_channels_at_once_share_the_last_failures(world: World) -> None:
    """Of a revocation by e-mail and an application by SMS, 18 failures on record, two more guesses are compared."""
    await world.to_active()
    await guess(world, MOBILE, 5, await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE))
    await world.change("UPDATE failures SET in_window = 18, ever = 18")
    one = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await one.send(MOBILE)
    world.clock.later(seconds=60)
    other = await world.to_revoke()
    await other.send(EMAIL)
    before = len(await world.records(Event.RA_CODE_CHARGED))
    doing = [errand.answer(await errand.wrong_code(step)) for errand in (one, other) for step in range(1, 5)]
    made = await asyncio.gather(*(outcome(each) for each in doing))
    assert all(isinstance(each, Refusal) for each in made)
    assert len(await world.records(Event.RA_CODE_CHARGED)) - before == 2
    (row,) = await world.rows("SELECT in_window, ever FROM failures WHERE factor = 'code'")
    assert (row["in_window"], row["ever"]) == (20, 20)
    assert await held(world) == {"code": "held"}
    assert (await world.audit()).findings == ()


async def test_a_release_opens_the_one_lock_and_lets_codes_be_sent_anew(world: World) -> None:
    await guess(world, MOBILE, 10)
    await guess(world, EMAIL, 10)
    world.clock.at = START + timedelta(hours=1)
    assert await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob") == 1
    assert await held(world) == {}
    told = [notice["facts"] for notice in await world.notices()]
    assert sum("hold_released" in facts for facts in told) == 1
    world.clock.later(minutes=1)
    refused = await guess(world, EMAIL, 4)
    assert refused is not None
    assert refused.kind is Kind.WRONG_CODE
    errand = await world.to_active()
    assert await errand.state() is OrderState.ACTIVE


# rows of the release before, and its processes ------------------------------------------------------------------


@pytest.mark.parametrize(("sms", "email"), [(12, 7), (19, 0), (0, 19)])
async def test_what_the_release_before_counted_by_channel_still_counts(world: World, sms: int, email: int) -> None:
    await elder(world, "sms", sms, sms)
    await elder(world, "email", email, email)
    errand = await world.to_key()
    await errand.send(EMAIL)
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED
    assert await held(world) == {"code": "held"}
    assert (await refusal(errand.answer(await errand.code()))).kind is Kind.LOCKED


async def test_more_than_a_day_s_failures_by_two_channels_before_the_upgrade_lock_at_the_next_answer(
    world: World,
) -> None:
    await elder(world, "sms", 15, 15)
    await elder(world, "email", 15, 15)
    errand = await world.to_sent()
    assert (await refusal(errand.answer(await errand.code()))).kind is Kind.LOCKED
    assert await held(world) == {"code": "held"}
    assert await errand.state() is OrderState.BOUND
    (notice,) = await world.notices()
    assert '"hold"' in notice["facts"]


async def test_of_the_failures_ever_the_greater_count_goes_on(world: World) -> None:
    await elder(world, "sms", 0, 98)
    await elder(world, "email", 0, 40)
    errand = await world.to_sent()
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.WRONG_CODE
    assert (await refusal(errand.answer(await errand.wrong_code(2)))).kind is Kind.LOCKED
    assert await held(world) == {"code": "disabled"}


async def test_a_hundred_failures_ever_before_the_upgrade_let_no_answer_be_compared(world: World) -> None:
    await elder(world, "sms", 0, 100)
    errand = await world.to_sent()
    assert (await refusal(errand.answer(await errand.code()))).kind is Kind.LOCKED
    assert await held(world) == {"code": "disabled"}
    assert await world.records(Event.RA_CODE_RIGHT) == []


async def test_failures_of_more_than_a_day_ago_count_only_towards_those_ever(world: World) -> None:
    await elder(world, "sms", 19, 19)
    world.clock.later(days=1)
    refused = await guess(world, EMAIL, 10)
    assert refused is not None
    assert refused.kind is Kind.CODE_DEAD


@pytest.mark.parametrize("factor", ["sms", "email"])
async def test_a_hold_of_one_channel_holds_all(world: World, factor: str) -> None:
    await elder(world, factor, 20, 20, hold="held")
    errand = await world.to_key()
    for channel in Channel:
        assert (await refusal(errand.send(channel))).kind is Kind.LOCKED
    world.clock.later(days=400)
    assert await held(world) == {"code": "held"}
    assert await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob") == 1
    errand = await world.to_sent()
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_a_process_of_the_release_before_meets_the_lock_in_its_own_rows(world: World) -> None:
    await guess(world, EMAIL, 20)
    rows = await world.rows("SELECT factor FROM failures WHERE held_at IS NOT NULL ORDER BY factor")
    assert [row["factor"] for row in rows] == ["code", "email", "sms"]


async def test_what_such_a_process_adds_after_the_upgrade_counts_too(world: World) -> None:
    await guess(world, EMAIL, 10)
    await elder(world, "sms", 9, 9)
    errand = await world.to_sent()
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED


async def test_a_release_forgets_what_ours_and_theirs_have_counted(world: World) -> None:
    await guess(world, EMAIL, 10)
    await elder(world, "sms", 20, 20, hold="held")
    world.clock.later(hours=1)
    assert await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob") == 1
    rows = await world.rows("SELECT in_window, ever, held_at FROM failures")
    assert {(row["in_window"], row["ever"], row["held_at"]) for row in rows} == {(0, 0, None)}


# pause and sends ------------------------------------------------------------------------------------------------


async def again(world: World, errand: Errand, channel: Channel | None = None) -> Refusal | None:
    """Cancel the order, begin anew in a new login, and ask for a code; what was refused comes back."""
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    fresh = await world.to_key()
    assert fresh.id != errand.id
    made = await outcome(fresh.send(channel))
    return made if isinstance(made, Refusal) else None


async def test_i16_a_cancelled_and_reopened_order_waits_for_the_same_60_seconds(world: World) -> None:
    errand = await world.to_sent()
    world.clock.later(milliseconds=59_999)
    refused = await again(world, errand, EMAIL)
    assert refused is not None
    assert (refused.kind, refused.code, refused.retry_after_s) == (Kind.TOO_MANY, "resend_too_soon", 1)
    fresh = await world.to_key()
    world.clock.later(milliseconds=1)
    await fresh.send(EMAIL)
    assert await world.count("challenges") == 2


@pytest.mark.parametrize(
    "unseen",
    ["UPDATE challenges SET resend_at = 0", "DELETE FROM counters WHERE name LIKE 'send-pause:%'"],
    ids=["not committed when this one began", "sent by a process of the release before"],
)
async def test_i16_the_pause_stands_on_the_codes_and_on_a_counter_of_its_own(world: World, unseen: str) -> None:
    errand = await world.to_sent()
    await world.change(unseen)
    refused = await again(world, errand, EMAIL)
    assert refused is not None
    assert (refused.code, refused.retry_after_s) == ("resend_too_soon", 60)


async def test_i16_a_right_code_ends_the_pause_for_the_next_order(world: World) -> None:
    await world.to_active()
    revocation = await world.to_revoke()
    await revocation.send()
    assert (await revocation.answer(await revocation.code())).state is OrderState.CODE_VERIFIED


async def test_i16_orders_at_once_do_not_evade_the_pause(world: World) -> None:
    """Several revocations may be open beside each other: of their requests at one moment one is sent."""
    await world.to_active()
    errands = [await world.to_revoke() for _ in range(4)]
    node = (await world.node(2)).services
    made = await asyncio.gather(
        *(
            outcome((world.services if number % 2 else node).ra.rekey.challenge(errand.caller, errand.id, MOBILE))
            for number, errand in enumerate(errands)
        )
    )
    refused = [each for each in made if isinstance(each, Refusal)]
    assert {each.code for each in refused} == {"resend_too_soon"}
    assert len(refused) == 3
    assert await world.count("challenges", "operation = 'revoke'") == 1


async def test_i16_a_reopened_order_gets_no_three_codes_more(world: World) -> None:
    errand = await world.to_sent()
    for _ in range(2):
        world.clock.later(seconds=60)
        await errand.send()
    world.clock.later(seconds=60)
    refused = await again(world, errand)
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends_order")
    assert refused.retry_after_s == 24 * 3600 - 180
    assert refused.public.values == (("time", "2026-04-01 12:00"),)
    world.clock.at = START + timedelta(hours=24)
    errand = await world.to_key()
    await errand.send()


async def test_i16_one_code_an_order_is_no_way_around_either(world: World) -> None:
    errand = await world.to_sent()
    for channel in (EMAIL, MOBILE):
        world.clock.later(minutes=20)
        assert await again(world, errand, channel) is None
        errand = await world.to_key()
    world.clock.later(minutes=20)
    refused = await again(world, errand, EMAIL)
    assert refused is not None
    assert refused.code == "sends_order"


async def test_i16_revocations_beside_each_other_share_three_codes(world: World) -> None:
    await world.to_active()
    for _ in range(3):
        errand = await world.to_revoke()
        await errand.send()
        world.clock.later(seconds=60)
    errand = await world.to_revoke()
    assert (await refusal(errand.send())).code == "sends_order"
    replace = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert (await refusal(replace.send())).code == "sends_order"


async def test_i16_a_code_that_was_right_leaves_the_next_order_its_three(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke()
    for _ in range(3):
        world.clock.later(seconds=60)
        await errand.send()


async def test_i16_one_customer_s_codes_are_no_other_s(world: World) -> None:
    errand = await world.to_sent()
    for _ in range(2):
        world.clock.later(seconds=60)
        await errand.send()
    await world.to_sent(BEN)


async def test_a_renewal_that_the_old_key_has_signed_gets_its_codes_whatever_others_asked_for(world: World) -> None:
    await world.to_active()
    world.clock.at = world.held[ANN].certificate.not_after - timedelta(days=20)
    stranger = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    for _ in range(3):
        await stranger.send()
        world.clock.later(seconds=60)
    await world.services.ra.enrolment.cancel(stranger.caller, stranger.id)
    mine = await world.to_key(ANN, Operation.REKEY)
    world.clock.later(hours=1)
    for _ in range(3):
        await mine.send()
        world.clock.later(seconds=60)
    assert (await refusal(mine.send())).code == "sends_order"


async def test_a_stranger_with_the_password_uses_up_at_most_six_of_ten_codes_without_shutting_the_lock(
    world: World,
) -> None:
    await world.to_active()
    world.clock.at = began = world.held[ANN].certificate.not_after - timedelta(days=20)
    refused: list[str | None] = []
    for guesses in (5, 5, 5, 1, 1, 1, 1):
        errand = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
        made = await outcome(errand.send())
        if isinstance(made, Refusal):
            refused.append(made.code)
        else:
            for step in range(1, guesses + 1):
                await refusal(errand.answer(await errand.wrong_code(step)))
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        world.clock.later(minutes=20)
    assert refused == ["sends_order"]
    assert await held(world) == {}
    mine = await world.to_key(ANN, Operation.REKEY)
    await mine.send()
    assert (await mine.answer(await mine.code())).state is OrderState.CODE_VERIFIED
    assert world.clock.at < began + timedelta(hours=24)


async def test_a_release_lets_codes_be_sent_without_a_hold_as_well(world: World) -> None:
    errand = await world.to_sent()
    for _ in range(2):
        world.clock.later(seconds=60)
        await errand.send()
    world.clock.later(seconds=60)
    assert (await refusal(errand.send())).code == "sends_order"
    assert await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob") == 0
    world.clock.later(seconds=1)
    for _ in range(3):
        await errand.send()
        world.clock.later(seconds=60)
    assert (await refusal(errand.send())).code == "sends_order"


async def test_a_release_empties_the_rate_limits_of_the_hour_and_the_day_and_ends_the_pause(world: World) -> None:
    for _ in range(5):
        errand = await world.to_code()
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        world.clock.later(seconds=60)
    errand = await world.to_key()
    assert (await refusal(errand.send())).code == "sends"
    await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob")
    await errand.send()
    assert len(await world.records(Event.STAFF_HOLD_RELEASED)) == 1
