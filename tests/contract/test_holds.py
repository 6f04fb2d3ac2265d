"""Failures count per customer, whatever is started anew in between; a hold is lifted by two persons."""

from datetime import date, timedelta

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Channel, CustomerId, OrderState
from tests.contract.world import ANN, BEN, DAN, START, Errand, World, refusal, world_fixture

world = world_fixture()
WRONG_DATE = date(1961, 7, 16)


async def guess(world: World, customer: str, times: int) -> Refusal | None:
    """Answer wrongly this often, each code in an order of its own, as fast as the send rate limits allow."""
    last: Refusal | None = None
    while times:
        errand = await world.to_sent(customer)
        for step in range(1, min(5, times) + 1):
            last = await refusal(errand.answer(await errand.wrong_code(step)))
            times -= 1
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        world.clock.later(minutes=13)
    return last


async def held(world: World, customer: str = ANN) -> dict[str, str]:
    return await world.services.ra.locks.held(CustomerId(customer))


async def test_i11_twenty_failures_a_day_over_orders_and_resends_are_a_hold(world: World) -> None:
    refused = await guess(world, ANN, 19)
    assert refused is not None
    assert refused.kind is Kind.WRONG_CODE
    assert await held(world) == {}
    errand = await world.to_sent()
    assert (await refusal(errand.answer(await errand.wrong_code()))).kind is Kind.LOCKED
    assert await held(world) == {"code": "held"}
    # the right code of a living challenge, and a new code, are refused as well
    assert (await refusal(errand.answer(await errand.code()))).kind is Kind.LOCKED
    world.clock.later(minutes=2)
    assert (await refusal(errand.send())).kind is Kind.LOCKED
    assert await errand.state() is OrderState.BOUND


async def test_i11_a_hold_does_not_lift_itself(world: World) -> None:
    await guess(world, ANN, 20)
    world.clock.later(days=400)
    errand = await world.to_key()
    assert (await refusal(errand.send())).kind is Kind.LOCKED


async def test_i11_the_other_channel_is_on_hold_too(world: World) -> None:
    await guess(world, ANN, 20)
    errand = await world.to_key()
    world.clock.later(hours=2)
    assert (await refusal(errand.send(Channel.EMAIL))).kind is Kind.LOCKED


async def test_i11_a_right_code_gives_back_only_what_it_was_charged(world: World) -> None:
    await guess(world, ANN, 19)
    errand = await world.to_sent()
    await errand.answer(await errand.code())
    (row,) = await world.rows("SELECT in_window, ever FROM failures")
    assert (row["in_window"], row["ever"]) == (19, 19)
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    world.clock.later(hours=1)
    last = await guess(world, ANN, 1)
    assert last is not None
    assert last.kind is Kind.LOCKED


async def test_i11_a_hundred_failures_in_months_disable_the_codes(world: World) -> None:
    for _ in range(5):
        refused = await guess(world, DAN, 19)
        assert refused is not None
        assert refused.kind is Kind.WRONG_CODE
        world.clock.later(days=7)
    assert await held(world, DAN) == {}
    refused = await guess(world, DAN, 5)
    assert refused is not None
    assert refused.kind is Kind.LOCKED
    assert await held(world, DAN) == {"code": "disabled"}
    world.clock.later(days=3650)
    errand = await world.to_key(DAN)
    assert (await refusal(errand.send())).kind is Kind.LOCKED
    assert len(await world.records(Event.RA_CODE_WRONG)) == 100


async def test_i19_failures_of_one_customer_hold_nobody_else(world: World) -> None:
    await guess(world, ANN, 20)
    errand = await world.to_sent(BEN)
    assert (await errand.answer(await errand.code())).state is OrderState.CODE_VERIFIED


async def wrong_dates(errand: Errand, times: int) -> list[Kind]:
    return [(await refusal(errand.birth_date(WRONG_DATE))).kind for _ in range(times)]


async def test_three_wrong_birth_dates_are_a_hold_and_the_right_one_does_not_help(world: World) -> None:
    errand = await world.to_code()
    assert await wrong_dates(errand, 3) == [Kind.WRONG_BIRTH_DATE, Kind.WRONG_BIRTH_DATE, Kind.LOCKED]
    assert await held(world) == {"birth_date": "held"}
    assert (await refusal(errand.birth_date())).kind is Kind.LOCKED
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert len(await world.records(Event.RA_BIRTH_DATE_WRONG)) == 3
    assert len(await world.records(Event.RA_BIRTH_DATE_RIGHT)) == 0


async def test_wrong_birth_dates_count_over_orders(world: World) -> None:
    for _ in range(2):
        errand = await world.to_code()
        await wrong_dates(errand, 1)
        await world.services.ra.enrolment.cancel(errand.caller, errand.id)
        world.clock.later(days=30)
    errand = await world.to_code()
    assert await wrong_dates(errand, 1) == [Kind.LOCKED]
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    world.clock.later(days=30)
    errand = await world.to_code()
    assert (await refusal(errand.birth_date())).kind is Kind.LOCKED


async def test_the_third_birth_date_may_be_the_right_one(world: World) -> None:
    errand = await world.to_code()
    await wrong_dates(errand, 2)
    assert (await errand.birth_date()).state is OrderState.BIRTH_DATE_VERIFIED
    assert await held(world) == {}


async def test_the_answer_to_a_wrong_birth_date_tells_nothing_of_the_right_one(world: World) -> None:
    errand = await world.to_code()
    near = await refusal(errand.birth_date(date(1961, 7, 14)))
    far = await refusal(errand.birth_date(date(1899, 1, 1)))
    assert near == far


async def test_i32_a_hold_is_lifted_by_one_person_and_approved_by_another(world: World) -> None:
    await guess(world, ANN, 20)
    release = world.services.ra.locks.release
    for approved_by in ("alice", "ALICE"):
        refused = await refusal(release(CustomerId(ANN), "alice", approved_by))
        assert (refused.kind, refused.field) == (Kind.FORBIDDEN, "approved_by")
    for spelling in ("", "alice ", " alice", "ａｌｉｃｅ", "ali\u200bce"):
        for by, approved_by, field in (("alice", spelling, "approved_by"), (spelling, "bob", "by")):
            refused = await refusal(release(CustomerId(ANN), by, approved_by))
            assert (refused.kind, refused.field) == (Kind.MALFORMED, field)
    assert await held(world) == {"code": "held"}
    assert await world.records(Event.STAFF_HOLD_RELEASED) == []
    assert await release(CustomerId(ANN), "alice", "bob") == 1
    assert await held(world) == {}
    (record,) = await world.records(Event.STAFF_HOLD_RELEASED)
    assert '"by":"alice"' in record["facts"]
    assert '"approved_by":"bob"' in record["facts"]
    told_of_hold, told_of_release = await world.notices()
    assert '"hold"' in told_of_hold["facts"]
    assert "hold_released" in told_of_release["facts"]
    assert {told_of_hold["customer"], told_of_release["customer"]} == {ANN}


async def test_after_a_release_the_customer_goes_on(world: World) -> None:
    await guess(world, ANN, 20)
    await world.services.ra.locks.release(CustomerId(ANN), "alice", "bob")
    world.clock.at = START + timedelta(days=1)
    errand = await world.to_active()
    assert await errand.state() is OrderState.ACTIVE


async def test_a_release_of_nobody_is_refused(world: World) -> None:
    refused = await refusal(world.services.ra.locks.release(CustomerId("C99"), "alice", "bob"))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "customer")
