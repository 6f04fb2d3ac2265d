"""Whole journeys through the core, without a page: what a customer does, and what it leaves behind."""

from datetime import UTC, datetime, timedelta

import pytest

from chopmark.core.refusal import Kind
from chopmark.core.types import AccountNumber, CertificateState, Channel, KeyHome, Operation, OrderState, Reason
from tests.contract.world import ANN, BEN, CEO, EVE, ROWS, World, refusal, world_fixture

world = world_fixture()
DAY = timedelta(days=1)


@pytest.mark.parametrize("customer", [ANN, EVE])
async def test_an_application_ends_with_one_active_certificate(world: World, customer: str) -> None:
    errand = await world.open(customer)
    assert await errand.state() is OrderState.OPEN
    await errand.bind()
    assert await errand.state() is OrderState.BOUND
    await errand.send()
    assert await errand.state() is OrderState.BOUND
    await errand.answer(await errand.code())
    assert await errand.state() is OrderState.CODE_VERIFIED
    await errand.birth_date()
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED
    assert (await errand.confirm()).state is OrderState.ISSUED
    assert (await world.certificate(errand)).state is CertificateState.ISSUED
    assert (await errand.prove()).state is OrderState.ACTIVE
    assert [h.state for h in await world.services.ra.customer_queries.certificates(errand.caller)] == [
        CertificateState.ACTIVE
    ]


async def test_the_audit_of_all_journeys_has_no_finding(world: World) -> None:
    await world.to_active(ANN)
    await world.to_active(CEO)
    await world.revoked(CEO)
    errand = await world.to_sent(BEN)
    await refusal(errand.answer(await errand.wrong_code()))
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
    await world.work()
    report = await world.audit()
    assert report.findings == ()
    assert report.sound


@pytest.mark.parametrize("channel", [Channel.MOBILE, Channel.EMAIL])
async def test_a_renewal_by_either_channel_makes_before_it_breaks(world: World, channel: Channel) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    world.clock.later(days=340)
    errand = await world.to_key(ANN, Operation.REKEY)
    await errand.send(channel)
    await errand.answer(await errand.code())
    await errand.birth_date()
    await errand.confirm()
    await world.work()
    assert await world.ca_state(old.serial) == ("issued", None)
    present = (await world.services.ra.customer_queries.overview(errand.caller)).present
    assert present is not None
    assert present.serial == old.serial
    await errand.prove()
    held = {h.serial: h for h in await world.services.ra.customer_queries.certificates(errand.caller)}
    new = world.held[ANN].certificate
    assert held[old.serial].state is CertificateState.SUPERSEDED
    assert held[old.serial].superseded_by == new.serial
    assert held[new.serial].state is CertificateState.ACTIVE
    assert await world.ca_state(old.serial) == ("issued", None)  # the worker has not come by yet
    await world.work()
    assert await world.ca_state(old.serial) == ("revoked", "superseded")
    assert await world.ca_state(new.serial) == ("issued", None)


async def test_a_lost_certificate_is_held_as_soon_as_the_code_was_right_and_not_before(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    errand = await world.to_sent(ANN, Operation.REPLACE, reason=Reason.LOST)
    assert (await world.stored_certificate(old.serial)).state is CertificateState.ACTIVE
    await errand.answer(await errand.code())
    assert (await world.stored_certificate(old.serial)).state is CertificateState.HELD


async def test_a_lost_certificate_is_held_with_the_new_one_and_then_revoked(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    errand = await world.to_issued(ANN, Operation.REPLACE, reason=Reason.LOST)
    assert (await world.stored_certificate(old.serial)).state is CertificateState.HELD
    await world.work()
    assert (await world.ca_state(old.serial))[0] == "revoked"
    await errand.prove()
    assert (await world.stored_certificate(old.serial)).state is CertificateState.SUPERSEDED
    await world.work()
    assert (await world.ca_state(old.serial))[0] == "revoked"


async def test_a_compromised_certificate_is_revoked_for_key_compromise(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    await world.to_active(ANN, Operation.REPLACE, reason=Reason.COMPROMISED)
    await world.work()
    assert await world.ca_state(old.serial) == ("revoked", "key_compromise")


@pytest.mark.parametrize("reason", [Reason.NEW_DEVICE, Reason.REPLACE])
async def test_a_certificate_for_a_new_device_leaves_the_old_one_until_the_proof(world: World, reason: Reason) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    errand = await world.to_issued(ANN, Operation.REPLACE, reason=reason)
    await world.work()
    assert (await world.stored_certificate(old.serial)).state is CertificateState.ACTIVE
    assert await world.ca_state(old.serial) == ("issued", None)
    await errand.prove()
    await world.work()
    assert await world.ca_state(old.serial) == ("revoked", "superseded")


async def test_a_replacement_without_a_reason_is_refused(world: World) -> None:
    await world.to_active()
    for reason in (None, Reason.FIRST, Reason.EXPIRED, Reason.NO_LONGER_NEEDED):
        refused = await refusal(world.open(ANN, Operation.REPLACE, reason))
        assert (refused.kind, refused.field) == (Kind.MALFORMED, "reason")


async def test_a_company_is_asked_for_no_birth_date(world: World) -> None:
    errand = await world.to_code(CEO)
    assert not (await errand.order()).birth_date_asked
    assert (await refusal(errand.birth_date(datetime(1990, 1, 1, tzinfo=UTC).date()))).kind is Kind.STEP_REQUIRED
    await errand.confirm()
    assert (await errand.prove()).state is OrderState.ACTIVE


async def test_a_certificate_ends_a_year_later_on_the_same_day(world: World) -> None:
    await world.to_active()
    certificate = world.held[ANN].certificate
    assert certificate.not_before == datetime(2026, 3, 31, 3, 55, tzinfo=UTC)
    assert certificate.not_after.astimezone(UTC).date() == datetime(2027, 3, 31, tzinfo=UTC).date()


@pytest.mark.parametrize(
    ("moment", "opens"),
    [
        # One month before 31 March is the last day of February; its midnight in Taipei is 16:00 UTC the day before.
        (datetime(2027, 2, 27, 15, 59, 59, 999000, tzinfo=UTC), False),
        (datetime(2027, 2, 27, 16, 0, tzinfo=UTC), True),
    ],
)
async def test_the_renewal_window_opens_with_its_first_day_in_taipei(
    world: World, moment: datetime, opens: bool
) -> None:
    await world.to_active()
    world.clock.at = moment
    if opens:
        assert (await world.to_active(ANN, Operation.REKEY)).old is not None
    else:
        assert (await refusal(world.open(ANN, Operation.REKEY))).code == "renewal_window"


async def test_expired_one_second_ago_is_an_application_and_no_renewal(world: World) -> None:
    await world.to_active()
    end = world.held[ANN].certificate.not_after
    world.clock.at = end
    caller = world.caller()
    assert (await world.services.ra.customer_queries.overview(caller)).advice.operation is Operation.REKEY
    world.clock.at = end + timedelta(seconds=1)
    advice = (await world.services.ra.customer_queries.overview(caller)).advice
    assert (advice.operation, advice.reason) == (Operation.ENROL, Reason.EXPIRED)
    assert (await refusal(world.open(ANN, Operation.REKEY))).kind is Kind.FORBIDDEN
    assert (await refusal(world.open(ANN, Operation.REPLACE, Reason.LOST))).code == "nothing_to_replace"
    errand = await world.to_active(ANN)
    assert (await errand.stored()).reason is Reason.EXPIRED


async def test_a_certificate_that_expires_during_its_renewal_stops_it_at_the_key(world: World) -> None:
    await world.to_active()
    world.clock.at = world.held[ANN].certificate.not_after
    errand = await world.open(ANN, Operation.REKEY)
    world.clock.later(seconds=1)
    assert (await refusal(errand.bind())).kind is Kind.FORBIDDEN


async def test_a_certificate_that_expires_during_its_renewal_stops_it_at_the_confirmation(world: World) -> None:
    await world.to_active()
    world.clock.at = world.held[ANN].certificate.not_after
    errand = await world.to_review(ANN, Operation.REKEY)
    world.clock.later(seconds=1)
    assert (await refusal(errand.confirm())).kind is Kind.FORBIDDEN
    assert await world.count("certificates") == 1


async def test_with_a_good_certificate_there_is_nothing_to_apply_for(world: World) -> None:
    await world.to_active()
    assert (await refusal(world.open(ANN))).code == "already_certified"
    assert (await refusal(world.open(ANN, Operation.REKEY))).code == "renewal_window"


async def test_after_a_revocation_an_application_is_offered(world: World) -> None:
    await world.to_active()
    await world.revoked()
    await world.work()
    advice = (await world.services.ra.customer_queries.overview(world.caller())).advice
    assert advice.operation is Operation.ENROL
    world.clock.later(minutes=2)
    await world.to_active()


async def test_only_the_customers_own_account_gets_a_certificate(world: World) -> None:
    bens = AccountNumber(ROWS[BEN]["accounts"].partition(" ")[2])
    start = world.services.ra.enrolment.start
    refused = await refusal(start(world.caller(ANN), Operation.ENROL, bens, KeyHome.FILE))
    assert (refused.kind, refused.field) == (Kind.NOT_FOUND, "account")


async def test_another_customers_order_does_not_exist(world: World) -> None:
    errand = await world.to_review(ANN)
    terms, ben = await errand.terms(), world.caller(BEN)
    services = world.services
    for doing in (
        services.ra.customer_queries.order(ben, errand.id),
        services.ra.enrolment.nonce(ben, errand.id),
        services.ra.enrolment.cancel(ben, errand.id),
        services.ra.enrolment.dispute(ben, errand.id, Channel.MOBILE),
        services.ra.rekey.bind_key(ben, errand.id, errand.key.request(), None),
        services.ra.rekey.challenge(ben, errand.id, Channel.MOBILE),
        services.ra.rekey.answer(ben, errand.id, await errand.code()),
        services.ra.rekey.birth_date(ben, errand.id, datetime(1961, 7, 15, tzinfo=UTC).date()),
        services.ra.rekey.confirm(ben, errand.id, terms),
        services.ra.rekey.prove(ben, errand.id, b""),
        services.ra.revocation.confirm(ben, errand.id, terms),
    ):
        assert (await refusal(doing)).kind is Kind.NOT_FOUND
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED


async def test_a_notice_goes_to_the_other_channel_when_a_certificate_becomes_active(world: World) -> None:
    await world.to_active(ANN)
    (notice,) = await world.notices()
    assert (notice["channel"], notice["customer"]) == ("email", ANN)


async def test_where_there_is_only_one_channel_the_notice_goes_there(world: World) -> None:
    await world.to_active(EVE)
    (notice,) = await world.notices()
    assert (notice["channel"], notice["customer"]) == ("email", EVE)
