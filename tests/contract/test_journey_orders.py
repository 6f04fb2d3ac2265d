"""What ends an order, what lapses, and what a repeated or disputed step leaves behind."""

from datetime import timedelta

from chopmark.audit.events import Event
from chopmark.audit.record import order_stream
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Channel, Operation, OrderState, Reason
from tests.contract.world import ANN, BEN, START, World, refusal, world_fixture

world = world_fixture()


async def test_i2_two_tabs_open_one_order(world: World) -> None:
    first, second = await world.open(), await world.open()
    assert first.id == second.id
    assert await world.count("orders") == 1
    assert len(await world.records(Event.RA_ORDER_OPENED)) == 1


async def test_another_operation_meanwhile_is_refused_and_names_the_open_order(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    refused = await refusal(world.open(ANN, Operation.REPLACE, Reason.NEW_DEVICE))
    assert (refused.kind, refused.code) == (Kind.CONFLICT, f"open:{errand.id}")


async def test_other_terms_than_those_shown_are_refused(world: World) -> None:
    errand = await world.to_review()
    other = await world.to_review(BEN)
    for consent in ("", "0" * 64, await other.terms()):
        refused = await refusal(world.services.ra.rekey.confirm(errand.caller, errand.id, consent))
        assert (refused.kind, refused.code) == (Kind.CONFLICT, "terms")
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED


async def test_the_terms_of_another_key_are_other_terms(world: World) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    await errand.bind(type(errand.key).generate())
    world.clock.later(seconds=60)
    await errand.send()
    await errand.answer(await errand.code())
    await errand.birth_date()
    assert (await refusal(world.services.ra.rekey.confirm(errand.caller, errand.id, terms))).code == "terms"


async def test_an_approval_lasts_to_the_last_millisecond_of_ten_minutes(world: World) -> None:
    errand = await world.to_review()
    world.clock.later(minutes=10, milliseconds=-1)
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_an_approval_lapses_after_ten_minutes_and_a_new_code_renews_it(world: World) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    world.clock.later(minutes=10)
    assert await errand.state() is OrderState.BOUND
    assert (await refusal(world.services.ra.rekey.confirm(errand.caller, errand.id, terms))).kind is Kind.STEP_REQUIRED
    assert await world.count("certificates") == 0
    await errand.send()
    await errand.answer(await errand.code())
    assert await errand.state() is OrderState.CODE_VERIFIED  # the birth date has lapsed with the code
    await errand.birth_date()
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_a_lapsed_code_lets_no_birth_date_be_tried(world: World) -> None:
    errand = await world.to_code()
    world.clock.later(minutes=10)
    assert (await refusal(errand.birth_date())).kind is Kind.STEP_REQUIRED
    assert await world.count("failures", "factor = 'birth_date'") == 0


async def test_a_revocations_approval_lapses_to_open(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    world.clock.later(minutes=10)
    assert await errand.state() is OrderState.OPEN
    assert (await refusal(errand.revoke())).kind is Kind.STEP_REQUIRED
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE


async def test_an_order_ends_after_24_hours_and_a_new_one_may_be_opened(world: World) -> None:
    errand = await world.to_sent()
    world.clock.at = START + timedelta(hours=24)
    assert await errand.state() is OrderState.EXPIRED
    refused = await refusal(errand.bind())
    assert (refused.kind, refused.code) == (Kind.CONFLICT, "order_expired")
    again = await world.open()
    assert again.id != errand.id
    assert (await errand.stored()).state is OrderState.EXPIRED


async def test_overdue_orders_are_ended_by_the_worker(world: World) -> None:
    errand, other = await world.to_sent(), await world.to_key(BEN)
    world.clock.later(hours=24)
    assert await world.once("overdue") == 0  # each is over at its last moment, and swept after it
    world.clock.later(milliseconds=1)
    assert await world.once("overdue") == 2
    assert {(await errand.stored()).state, (await other.stored()).state} == {OrderState.EXPIRED}
    assert await world.count("challenges", "state = 'live'") == 0
    assert len(await world.records(Event.RA_ORDER_EXPIRED)) == 2
    assert await world.once("overdue") == 0


async def test_i8_an_unproven_certificate_is_revoked_after_72_hours_and_the_old_one_untouched(world: World) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    world.clock.later(days=340)
    errand = await world.to_issued(ANN, Operation.REKEY)
    new = await world.certificate(errand)
    world.clock.later(hours=72)
    assert await world.once("overdue") == 0
    world.clock.later(milliseconds=1)
    assert await world.once("overdue") == 1
    await world.work()
    assert await errand.state() is OrderState.EXPIRED
    assert (await world.stored_certificate(new.serial)).state is CertificateState.REVOKED
    assert await world.ca_state(new.serial) == ("revoked", "cessation_of_operation")
    assert (await world.stored_certificate(old.serial)).state is CertificateState.ACTIVE
    assert await world.ca_state(old.serial) == ("issued", None)
    await world.to_active(ANN, Operation.REKEY)  # and the way is free for another


async def test_a_cancelled_order_leaves_no_certificate_that_counts(world: World) -> None:
    errand = await world.to_issued()
    serial = (await world.certificate(errand)).serial
    cancelled = await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    assert cancelled.state is OrderState.CANCELLED
    assert (await world.stored_certificate(serial)).state is CertificateState.REVOKED
    await world.work()
    assert (await world.ca_state(serial))[0] == "revoked"


async def test_an_order_that_got_its_certificate_while_it_was_being_cancelled_keeps_it(world: World) -> None:
    """Who read the order before it was issued knows no certificate, and so has none revoked: then nothing is ended."""
    errand = await world.to_issued()
    services = world.services

    async def cancelled_blind(builder):
        record = builder.record(Event.RA_ORDER_CANCELLED)
        return await services.ra.context.orders.end(errand.id, OrderState.CANCELLED, "cancelled", (), record)

    assert not await services.foundation.audit_log.write(order_stream(errand.id), cancelled_blind)
    assert await errand.state() is OrderState.ISSUED
    assert (await world.certificate(errand)).state is CertificateState.ISSUED


async def test_a_cancelled_order_does_nothing_any_more(world: World) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    services = world.services
    for doing in (
        services.ra.enrolment.nonce(errand.caller, errand.id),
        services.ra.enrolment.dispute(errand.caller, errand.id, Channel.MOBILE),
        services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), None),
        services.ra.rekey.challenge(errand.caller, errand.id, Channel.MOBILE),
        services.ra.rekey.answer(errand.caller, errand.id, "123456"),
        errand.birth_date(),
        services.ra.rekey.confirm(errand.caller, errand.id, terms),
        services.ra.rekey.prove(errand.caller, errand.id, b""),
    ):
        assert (await refusal(doing)).code == "order_cancelled"


async def test_i15_not_my_number_ends_the_order_and_closes_the_contact(world: World) -> None:
    errand = await world.to_sent()
    code = await errand.code()
    disputed = await world.services.ra.enrolment.dispute(errand.caller, errand.id, Channel.MOBILE)
    assert (disputed.state, disputed.ended) == (OrderState.CANCELLED, "contact_disputed")
    assert (await refusal(errand.answer(code))).code == "order_cancelled"
    (notice,) = await world.notices()
    assert (notice["channel"], notice["customer"]) == ("email", ANN)
    assert len(await world.records(Event.RA_CONTACT_DISPUTED)) == 1
    world.clock.later(minutes=2)
    again = await world.to_key()
    assert again.id != errand.id
    offered = world.services.ra.customer_queries.channels(
        await world.services.ra.customer_queries.snapshot(again.caller, again.id)
    )
    assert {choice.channel for choice in offered if choice.why_not is None} == {Channel.EMAIL}
    assert (await refusal(again.send(Channel.MOBILE))).kind is Kind.FORBIDDEN
    await again.send(Channel.EMAIL)


async def test_an_order_never_leaves_the_policy_that_it_was_opened_under_unnamed(world: World) -> None:
    errand = await world.open()
    assert (await errand.order()).policy == "tw-broker@1"


async def test_a_second_proof_of_an_active_order_changes_nothing(world: World) -> None:
    errand = await world.to_active()
    records = await world.count("leaves")
    works = await world.count("work")
    assert (await world.services.ra.rekey.prove(errand.caller, errand.id, b"anything")).order.state is OrderState.ACTIVE
    assert (await errand.confirm()).state is OrderState.ACTIVE
    assert (await world.count("leaves"), await world.count("work")) == (records, works)
