"""One-time codes through the verbs: what costs an attempt, what does not, how long a code lives, how many are sent."""

from base64 import b32encode
from dataclasses import replace
from datetime import timedelta

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import ChallengeId, Channel, FactorClass, OrderState, Reason
from chopmark.stepup.derive import OtpKey, derive_for
from tests.contract.world import ANN, BEN, DAN, EVE, ROWS, START, Errand, World, outcome, refusal, world_fixture

world = world_fixture()


def full_width(code: str) -> str:
    return "".join(chr(ord(digit) - ord("0") + ord("０")) for digit in code)


async def attempts(errand: Errand) -> int:
    return (await errand.challenge()).attempts


async def test_i10_a_wrong_code_costs_an_attempt_even_though_the_request_fails(world: World) -> None:
    errand = await world.to_sent()
    for used in range(1, 5):
        refused = await refusal(errand.answer(await errand.wrong_code(used)))
        assert refused.kind is Kind.WRONG_CODE
        assert await attempts(errand) == used
    assert (await refusal(errand.answer(await errand.wrong_code()))).code == "code_blocked"
    refused = await refusal(errand.answer(await errand.code()))
    assert (refused.kind, refused.code) == (Kind.CODE_DEAD, "code_blocked")
    assert await errand.state() is OrderState.BOUND
    assert len(await world.records(Event.RA_CODE_WRONG)) == 5
    assert len(await world.records(Event.RA_CODE_DEAD)) == 1


async def test_the_fifth_answer_may_be_the_right_one(world: World) -> None:
    errand = await world.to_sent()
    for step in range(1, 5):
        await refusal(errand.answer(await errand.wrong_code(step)))
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_an_entry_of_another_form_costs_nothing(world: World) -> None:
    errand = await world.to_sent()
    for raw in ("", "   ", "12345", "1234567", "12345a", "BDFG", "١٢٣٤٥", "0x1234", "１２３４５", "1" * 65):
        refused = await refusal(errand.answer(raw))
        assert (refused.kind, refused.field) == (Kind.MALFORMED, "code")
    assert await attempts(errand) == 0
    assert await world.count("failures") == 0


async def test_full_width_digits_and_spaces_are_understood(world: World) -> None:
    errand = await world.to_sent()
    code = await errand.code()
    typed = f" {full_width(code[:3])}\u3000-{full_width(code[3:])} "
    assert (await errand.answer(typed)).state is OrderState.CODE_VERIFIED


async def test_leading_zeros_live(world: World) -> None:
    errand = await world.to_sent()
    model = await errand.challenge()
    key = OtpKey(model.kid, bytes.fromhex(world.services.foundation.settings.otp_key.get_secret_value()))
    for number in range(10_000):
        raw_id, nonce = number.to_bytes(16, "big"), bytes(16)
        challenge = replace(model, id=ChallengeId(b32encode(raw_id).rstrip(b"=").decode()), nonce=nonce)
        if derive_for(challenge, key, world.services.foundation.portal).reveal().startswith("00"):
            world.dice.loaded.extend([raw_id, nonce])
            break
    world.clock.later(seconds=60)
    await errand.send()
    code = await errand.code()
    assert (len(code), code[:2]) == (6, "00")
    refused = await refusal(errand.answer(code.lstrip("0")))
    assert refused.kind is Kind.MALFORMED
    assert (await errand.answer(code)).state is OrderState.CODE_VERIFIED


async def test_i13_a_code_lives_to_the_last_millisecond_of_300_seconds(world: World) -> None:
    errand = await world.to_sent()
    world.clock.later(milliseconds=299_999)
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_i13_at_300_seconds_sharp_the_right_code_is_dead_and_not_compared(world: World) -> None:
    errand = await world.to_sent()
    world.clock.later(seconds=300)
    refused = await refusal(errand.answer(await errand.code()))
    assert (refused.kind, refused.code) == (Kind.CODE_DEAD, "code_expired")
    assert await attempts(errand) == 0
    assert await world.count("failures") == 0


async def test_i14_the_code_of_one_order_is_wrong_on_another(world: World) -> None:
    anns, bens = await world.to_sent(ANN), await world.to_sent(BEN)
    code = await anns.code()
    assert code != await bens.code()
    assert (await refusal(bens.answer(code))).kind is Kind.WRONG_CODE
    assert await attempts(bens) == 1
    assert await attempts(anns) == 0
    assert (await anns.answer(code)).state is OrderState.CODE_VERIFIED


async def test_i14_a_resend_kills_the_earlier_code(world: World) -> None:
    errand = await world.to_sent()
    first = await errand.code()
    world.clock.later(seconds=60)
    await errand.send()
    assert first != await errand.code()
    assert (await refusal(errand.answer(first))).kind is Kind.WRONG_CODE
    assert await world.count("challenges", "state = 'live'") == 1
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def test_i14_a_code_is_bound_to_the_key_that_it_was_sent_for(world: World) -> None:
    errand = await world.to_sent()
    code = await errand.code()
    await errand.bind(type(errand.key).generate())
    refused = await refusal(errand.answer(code))
    assert refused.kind is Kind.CODE_DEAD
    assert await errand.state() is OrderState.BOUND


async def test_i16_no_resend_before_60_seconds(world: World) -> None:
    errand = await world.to_sent()
    world.clock.later(milliseconds=59_999)
    refused = await refusal(errand.send())
    assert (refused.kind, refused.code, refused.retry_after_s) == (Kind.TOO_MANY, "resend_too_soon", 1)
    assert await world.count("challenges") == 1
    world.clock.later(milliseconds=1)
    await errand.send()
    assert await world.count("challenges") == 2


async def test_i16_no_resend_before_60_seconds_when_wrong_codes_have_ended_the_first(world: World) -> None:
    errand = await world.to_sent()
    right = await errand.code()
    for guess in [code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code != right][:5]:
        assert (await refusal(errand.answer(guess))).kind in {Kind.WRONG_CODE, Kind.CODE_DEAD}
    assert await world.count("challenges", "state = 'live'") == 0
    assert (await refusal(errand.send())).code == "resend_too_soon"
    world.clock.later(seconds=60)
    await errand.send()
    assert await world.count("challenges") == 2


async def test_i16_no_resend_before_60_seconds_for_another_key(world: World) -> None:
    errand = await world.to_sent()
    await errand.bind(type(errand.key).generate())
    assert (await refusal(errand.send())).code == "resend_too_soon"
    world.clock.later(seconds=60)
    await errand.send()
    assert await world.count("challenges") == 2


async def test_i16_three_codes_an_order(world: World) -> None:
    errand = await world.to_sent()
    for _ in range(2):
        world.clock.later(seconds=60)
        await errand.send()
    world.clock.later(seconds=60)
    refused = await refusal(errand.send())
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends_order")
    assert await world.count("work", "kind = 'code'") == 3
    assert len(await world.records(Event.RA_CHALLENGE_REFUSED)) == 1
    # the refusal has not killed the newest code
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def sends(world: World, customer: str, wanted: int) -> tuple[int, Refusal | None]:
    """Ask for codes in ever new orders, and type each; return how many went out, and the refusal that ended it."""
    for sent in range(wanted):
        errand = await world.to_key(customer)
        refused = await outcome(errand.send())
        if not isinstance(refused, Refusal):
            await errand.answer(await errand.code())
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        if isinstance(refused, Refusal):
            return sent, refused
        world.clock.later(seconds=60)
    return wanted, None


async def test_i16_five_codes_an_hour_and_ten_a_day_over_all_orders(world: World) -> None:
    sent, refused = await sends(world, DAN, 9)
    assert sent == 5
    assert refused is not None
    assert (refused.kind, refused.code, refused.retry_after_s) == (Kind.TOO_MANY, "sends", 3600 - 5 * 60)
    world.clock.later(minutes=55)
    sent, refused = await sends(world, DAN, 9)
    assert sent == 5
    world.clock.later(hours=2)
    sent, refused = await sends(world, DAN, 9)
    assert sent == 0
    assert refused is not None
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "sends")
    assert await world.count("work", "kind = 'code'") == 10
    world.clock.at = START + timedelta(days=1)
    assert (await sends(world, DAN, 1))[0] == 1


async def test_i15_a_number_that_two_customers_share_counts_once(world: World) -> None:
    twin = {**ROWS[DAN], "customer": "C8", "person_id": "A153367839", "accounts": "(期) F014000-0000008"}
    assert (await world.services.ra.customer_import.add([twin], "alice")).imported == 1
    world.clock.later(days=7)  # what is another customer's too cools down first
    assert (await sends(world, DAN, 5))[0] == 5
    sent, refused = await sends(world, "C8", 1)
    assert sent == 0
    assert refused is not None
    assert refused.code == "sends"


async def test_a_refused_send_takes_nothing_from_the_rate_limits(world: World) -> None:
    errand = await world.to_sent(DAN)
    used = await world.rows("SELECT name, used FROM counters ORDER BY name")
    for _ in range(3):
        assert (await refusal(errand.send())).code == "resend_too_soon"
    assert await world.rows("SELECT name, used FROM counters ORDER BY name") == used


async def test_a_code_asked_for_before_the_key_is_refused(world: World) -> None:
    errand = await world.open()
    assert (await refusal(errand.send())).kind is Kind.STEP_REQUIRED
    assert (await refusal(errand.answer("123456"))).kind is Kind.STEP_REQUIRED


async def test_an_answer_before_a_code_was_sent_is_refused(world: World) -> None:
    errand = await world.to_key()
    assert (await refusal(errand.answer("123456"))).kind is Kind.STEP_REQUIRED
    assert await world.count("failures") == 0


@pytest.mark.parametrize(
    ("factors", "open_channels"),
    [
        ({FactorClass.PASSWORD}, {Channel.MOBILE, Channel.EMAIL}),
        ({FactorClass.PASSWORD, FactorClass.SMS}, {Channel.EMAIL}),
        ({FactorClass.PASSWORD, FactorClass.EMAIL}, {Channel.MOBILE}),
        ({FactorClass.PASSWORD, FactorClass.SMS, FactorClass.EMAIL}, set()),
    ],
)
async def test_tw_01_a_factor_of_the_login_carries_no_code(
    world: World, factors: set[FactorClass], open_channels: set[Channel]
) -> None:
    errand = await world.to_key(factors=frozenset(factors))
    offered = world.services.ra.customer_queries.channels(
        await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    )
    assert {choice.channel for choice in offered if choice.why_not is None} == open_channels
    for channel in set(Channel) - open_channels:
        refused = await refusal(errand.send(channel))
        assert (refused.kind, refused.field) == (Kind.FORBIDDEN, "channel")
    assert await world.count("challenges") == 0


async def test_tw_01_the_factors_count_that_the_order_was_opened_with(world: World) -> None:
    errand = await world.to_key(factors=frozenset({FactorClass.PASSWORD, FactorClass.SMS}))
    errand.caller = world.caller()  # the same customer, signed in with the password alone
    assert (await refusal(errand.send(Channel.MOBILE))).kind is Kind.FORBIDDEN


async def test_tw_01_unknown_login_factors_fail_closed(world: World) -> None:
    for factors in (set(), {FactorClass.SMS}):  # and a login without a password is none that we know
        assert (await refusal(world.open(factors=frozenset(factors)))).kind is Kind.FORBIDDEN
    errand = await world.to_key()
    await world.change("UPDATE orders SET login_factors = '' WHERE id = :id", id=errand.id)
    assert (await refusal(errand.send())).kind is Kind.FORBIDDEN


async def test_i15_a_contact_that_is_not_registered_gets_no_code(world: World) -> None:
    for customer, channel in ((DAN, Channel.EMAIL), (EVE, Channel.MOBILE)):
        errand = await world.to_key(customer)
        assert (await refusal(errand.send(channel))).kind is Kind.FORBIDDEN


async def test_i15_a_changed_contact_cools_down_for_seven_days(world: World) -> None:
    assert (await world.services.ra.customer_import.add([{**ROWS[ANN], "mobile": "0912555999"}], "alice")).imported == 1
    world.clock.later(days=7, milliseconds=-1)
    errand = await world.to_key()
    refused = await refusal(errand.send(Channel.MOBILE))
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "channel")
    world.clock.later(milliseconds=1)
    await errand.send(Channel.MOBILE)


async def test_a_revocation_has_a_code_of_its_own(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke(ANN, Reason.LOST)
    await errand.send()
    challenge = await errand.challenge()
    assert challenge.operation.value == "revoke"
    assert challenge.spki == world.held[ANN].certificate.spki_sha256
    await errand.answer(await errand.code())
    assert (await errand.revoke()).state is OrderState.DONE
