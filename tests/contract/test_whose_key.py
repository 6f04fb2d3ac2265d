"""Whose key an approval is for: code, birth date and confirmation count in a login that holds the order's key."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import (
    Channel,
    CustomerId,
    FactorClass,
    KeyHome,
    LoginId,
    Operation,
    OrderState,
    Reason,
)
from chopmark.ra.context import Caller
from chopmark.ra.possession import Possession
from tests.contract.programs import Program
from tests.contract.test_launch import ticket
from tests.contract.world import ANN, BEN, PASSWORD_LOGIN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
STRANGER, CUSTOMER, LATER = "STRANGERSLOGIN000000000000", "CUSTOMERSLOGIN000000000000", "CUSTOMERSLATERLOGIN0000000"


async def bound_by_a_stranger(world: World, operation: Operation = Operation.ENROL, **how: Any) -> Errand:
    """Somebody who knows only the trading password has opened an order and bound a key of their own."""
    return await world.to_key(ANN, operation, login=STRANGER, **how)


async def test_a_customer_who_is_offered_a_strangers_order_does_not_approve_the_strangers_key(world: World) -> None:
    strangers = await bound_by_a_stranger(world)
    customers = await world.open(ANN, login=CUSTOMER)
    assert customers.id == strangers.id, "it asks for the same, so it is offered"
    assert (await customers.order()).next() == "possession"
    for step in (customers.send, lambda: customers.answer("123456"), customers.birth_date):
        refused = await refusal(step())
        assert (refused.kind, refused.code) == (Kind.STEP_REQUIRED, "possession")
    assert await world.count("challenges") == 0


async def test_code_birth_date_and_confirmation_of_one_login_are_none_in_another(world: World) -> None:
    """The guard stands in the SQL of the statements: it holds though the view of the caller's login is skipped."""
    orders, now = world.services.ra.context.orders, world.clock.now()
    errand = await world.to_code(login=CUSTOMER)
    long_ago = now - timedelta(minutes=10)

    async def check(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_BIRTH_DATE_RIGHT)
        return await orders.check(errand.id, LoginId(STRANGER), now, long_ago, record)

    assert not await world.services.foundation.audit_log.write(order_stream(errand.id), check)
    await errand.birth_date()
    stored, terms = await errand.stored(), await errand.terms()
    acting = world.services.ra.context.acting(errand.within(STRANGER).caller, stored)

    async def submit(builder: RecordBuilder) -> bool:
        return bool(await orders.submit(stored, terms, acting, long_ago, now, builder.record(Event.RA_ORDER_SUBMITTED)))

    assert not await world.services.foundation.audit_log.write(order_stream(errand.id), submit)
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_a_right_code_in_a_login_that_does_not_hold_the_key_approves_nothing(world: World) -> None:
    """The customer's code, relayed into the stranger's login, and the stranger's into the customer's."""
    customers = await world.to_sent(login=CUSTOMER)
    elsewhere = customers.within(STRANGER)
    order = await customers.stored()
    acting = world.services.ra.context.acting(elsewhere.caller, order)
    verifier = world.services.ra.verifier
    done = await outcome(
        verifier.answer(await customers.challenge(), await customers.code(), acting, world.services.ra.rekey.rules)
    )
    assert isinstance(done, Refusal)
    assert await customers.state() is OrderState.BOUND
    assert (await world.rows("SELECT approved_login FROM orders"))[0]["approved_login"] is None
    assert await world.records(Event.RA_CODE_RIGHT) == []


async def launched(world: World) -> tuple[LoginId, str]:
    """Ann comes from the trading program: her login, and the token of her session."""
    secret = await ticket(world)
    await world.services.identity.launches.take(secret, "visitor")
    opened, _ = await world.services.identity.launches.confirm(secret, "visitor", None)
    return opened.session.login, opened.token.reveal()


async def test_a_login_id_outlives_the_session_id_and_a_second_launch_is_another_login(world: World) -> None:
    """What the first launch has approved is no approval in the second, and stays one in the first."""
    door = world.services.identity.sessions
    first, token = await launched(world)
    session = await door.seen(token)
    assert session is not None
    renewed = await door.seen((await door.step_up(session)).token.reveal())
    assert renewed is not None
    assert (renewed.login, renewed.id_hash != session.id_hash) == (first, True)
    errand = await world.to_review(login=first)
    second, _ = await launched(world)
    assert second != first
    assert (await refusal(errand.within(second).confirm())).code == "possession"
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_reading_in_another_login_voids_nothing(world: World) -> None:
    errand = await world.to_review(login=CUSTOMER)
    seen = await errand.within(LATER).order()
    assert (seen.state, seen.next()) == (OrderState.BOUND, "possession")
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_a_session_that_ended_before_the_code_goes_on_after_the_key_has_proved_itself(world: World) -> None:
    errand = await world.to_sent(login=CUSTOMER)
    later = errand.within(LATER)
    assert (await refusal(later.answer(await errand.code()))).code == "possession"
    assert (await later.possess()).next() == "channel"
    await later.answer(await errand.code())  # the one that was sent before: it is bound to the key
    await later.birth_date()
    assert (await later.confirm()).state is OrderState.ISSUED
    assert (await later.prove()).state is OrderState.ACTIVE


async def test_a_session_that_ended_after_the_code_needs_another_code(world: World) -> None:
    errand = await world.to_review(login=CUSTOMER)
    later = errand.within(LATER)
    order = await later.possess()
    assert (order.state, order.coded_at) == (OrderState.BOUND, None)
    assert (await refusal(later.confirm())).kind is Kind.STEP_REQUIRED
    assert (await refusal(errand.confirm())).kind is Kind.STEP_REQUIRED, "the earlier login's approval is void"
    world.clock.later(seconds=61)
    await later.send()
    await later.answer(await later.code())
    await later.birth_date()
    assert (await later.confirm()).state is OrderState.ISSUED


async def test_a_login_voids_an_approval_and_never_the_key(world: World) -> None:
    errand = await world.to_review(login=CUSTOMER)
    for _ in range(2):
        refused = await refusal(errand.within(STRANGER).bind(ClientKey.generate()))
        assert (refused.kind, refused.code) == (Kind.CONFLICT, "other_login")
    assert (await errand.order()).spki_sha256 == errand.key.spki_sha256.hex()
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED


async def test_the_guard_against_another_logins_key_stands_in_the_sql(world: World) -> None:
    errand = await world.to_key(login=CUSTOMER)
    elsewhere = errand.within(STRANGER)
    stale = await errand.stored()
    opened = replace(
        await world.services.ra.context.snapshots.order(stale.customer, stale.id),
        order=replace(stale, spki_sha256=None),
    )  # type: ignore[type-var]
    caller = replace(elsewhere.caller, opened=opened)
    refused = await refusal(world.services.ra.rekey.bind_key(caller, errand.id, ClientKey.generate().request(), None))
    assert refused.code == "other_login"
    assert (await errand.stored()).spki_sha256 == errand.key.spki_sha256.hex()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"login": STRANGER}, "login"),
        ({"nonce": bytes(32)}, "nonce"),
        ({"order": "ANOTHERORDER00000000000000"}, "order"),
        ({"portal": "elsewhere"}, "portal"),
    ],
)
async def test_a_proof_of_possession_for_something_else_is_refused(
    world: World, wrong: dict[str, Any], code: str
) -> None:
    later = (await world.to_key(login=CUSTOMER)).within(LATER)
    refused = await refusal(later.possess(**wrong))
    assert (refused.kind, refused.code) == (Kind.BAD_PROOF, code)
    assert (await later.order()).next() == "possession"


async def test_a_proof_by_another_key_or_of_yesterday_is_refused_and_a_nonce_serves_once(world: World) -> None:
    later = (await world.to_key(login=CUSTOMER)).within(LATER)
    assert (await refusal(later.possess(ClientKey.generate()))).code == "signer"
    assert (await refusal(later.possess(at=world.clock.now() - timedelta(minutes=11)))).code == "time"
    nonce = await later.nonce()
    await later.possess(nonce=nonce)
    again = later.within(STRANGER)
    assert (await refusal(again.possess(nonce=nonce))).code in {"nonce", "login"}


async def test_of_many_proofs_with_one_nonce_one_counts(world: World) -> None:
    later = (await world.to_key(login=CUSTOMER)).within(LATER)
    nonce = await later.nonce()
    done = await asyncio.gather(*(outcome(later.possess(nonce=nonce)) for _ in range(8)))
    assert sum(not isinstance(one, Refusal) for one in done) == 1
    assert len(await world.records(Event.RA_KEY_PROVED)) == 1


async def test_a_renewal_whose_key_the_old_key_has_signed_is_approved_in_any_one_login(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    errand = await world.to_key(ANN, Operation.REKEY, login=CUSTOMER)
    later = errand.within(LATER)
    await later.send()
    await later.answer(await later.code())
    assert (await errand.order()).state is OrderState.BOUND, "the code was right in the other login"
    assert (await refusal(errand.birth_date())).kind is Kind.STEP_REQUIRED
    await later.birth_date()
    assert (await refusal(errand.confirm())).kind is Kind.STEP_REQUIRED
    assert (await later.confirm()).state is OrderState.ISSUED


async def test_a_revocation_is_confirmed_in_the_login_that_gave_the_code(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    assert (await refusal(errand.within(STRANGER).revoke())).kind is Kind.STEP_REQUIRED
    await errand.revoke()
    assert await errand.state() is OrderState.DONE


# a program's key ------------------------------------------------------------------------------------------------


async def test_a_programs_key_is_approved_after_its_words_were_typed_also_half_an_hour_later(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    errand = program.errand
    assert (await errand.order()).next() == "possession", "giving a credential away is no sight of a key"
    world.clock.later(minutes=31)
    program.errand = errand.within(LATER)
    possession = Possession(world.services.ra.context)
    for typed in ("", "BCDF-GHJK-LMNP", ClientKey.generate().words, errand.key.words[:-1]):
        assert (await refusal(possession.name(program.errand.caller, errand.id, typed))).code == "other_key_words"
    spelled = errand.key.words.lower().replace("-", " ")
    await possession.name(program.errand.caller, errand.id, f" {spelled} ")
    await program.errand.send()
    await program.errand.answer(await program.errand.code())
    await program.errand.birth_date()
    await program.errand.confirm()
    assert (await program.prove()).order.state is OrderState.ACTIVE


async def test_full_width_key_words_are_understood(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isalpha() else "－" for c in program.errand.key.words)
    await Possession(world.services.ra.context).name(program.errand.caller, program.errand.id, wide)
    assert (await program.errand.order()).next() == "channel"


async def test_a_credential_of_another_login_replaces_no_bound_key(world: World) -> None:
    program = await Program.begun(world)
    await program.ask()
    stranger = program.errand.within(STRANGER).caller
    assert (await refusal(world.services.ra.program.credential(stranger, program.errand.id))).code == "other_login"


async def test_a_key_made_in_a_page_is_not_named_by_words_nor_a_programs_key_by_a_signature(world: World) -> None:
    page = (await world.to_key(login=CUSTOMER)).within(LATER)
    named = Possession(world.services.ra.context).name(page.caller, page.id, page.key.words)
    assert (await refusal(named)).code == "possession"
    program = await Program.begun(world, customer=BEN)
    await program.ask()
    assert (await refusal(program.errand.possess())).code == "key_words"


async def test_an_order_begun_in_the_browser_is_finished_by_a_program_after_it_was_ended_in_one_step(
    world: World,
) -> None:
    begun = await world.to_key(login=CUSTOMER, home=KeyHome.BROWSER)
    refused = await refusal(world.open(login=CUSTOMER, home=KeyHome.HELPER))
    assert (refused.kind, refused.code) == (Kind.CONFLICT, f"open:{begun.id}")
    errand = await world.open(login=CUSTOMER, home=KeyHome.HELPER, instead=begun.id)
    assert await begun.state() is OrderState.CANCELLED
    given = await world.services.ra.program.credential(errand.caller, errand.id)
    program = Program(errand, given, ClientKey.request(errand.key))
    await program.ask()
    await program.approve()
    assert (await program.prove()).order.state is OrderState.ACTIVE


# which order is given back --------------------------------------------------------------------------------------


async def test_an_open_order_is_given_back_only_where_it_is_the_one_asked_for(world: World) -> None:
    await world.to_active()
    world.clock.later(days=30)
    errand = await world.open(ANN, Operation.REPLACE, Reason.NEW_DEVICE, login=CUSTOMER)
    assert (await world.open(ANN, Operation.REPLACE, Reason.NEW_DEVICE, login=LATER)).id == errand.id
    for reason, home in ((Reason.NEW_DEVICE, KeyHome.BROWSER), (Reason.REPLACE, KeyHome.FILE)):
        refused = await refusal(world.open(ANN, Operation.REPLACE, reason, login=CUSTOMER, home=home))
        assert (refused.kind, refused.code) == (Kind.CONFLICT, f"open:{errand.id}")
    assert await errand.state() is OrderState.OPEN


async def test_another_customers_order_is_never_ended_instead(world: World) -> None:
    bens = await world.to_key(BEN)
    await world.open(ANN, instead=bens.id)
    assert await bens.state() is OrderState.BOUND


async def test_a_submitted_order_does_not_give_way(world: World) -> None:
    errand = await world.to_review(login=CUSTOMER)
    await errand.submit()
    refused = await refusal(world.open(ANN, login=STRANGER, home=KeyHome.BROWSER, instead=errand.id))
    assert (refused.kind, refused.code) == (Kind.CONFLICT, f"open:{errand.id}")


async def test_lost_and_compromised_end_what_was_not_submitted_and_the_hold_comes_with_the_right_code(
    world: World,
) -> None:
    held = (await world.to_active()).id
    world.clock.later(days=340)
    renewal = await world.to_key(ANN, Operation.REKEY, login=STRANGER)
    lost = await world.open(ANN, Operation.REPLACE, Reason.LOST, login=CUSTOMER)
    assert await renewal.state() is OrderState.CANCELLED
    assert (await world.open(ANN, Operation.REPLACE, Reason.LOST, login=CUSTOMER)).id == lost.id, "pressed twice"
    again = await world.open(ANN, Operation.REPLACE, Reason.COMPROMISED, login=LATER)
    assert await lost.state() is OrderState.CANCELLED
    await again.bind()
    (row,) = await world.rows("SELECT state FROM holdings WHERE order_id = :id", id=held)
    assert row["state"] == "active"
    await again.send()
    await again.answer(await again.code())
    (row,) = await world.rows("SELECT state FROM holdings WHERE order_id = :id", id=held)
    assert row["state"] == "held"


async def test_a_customers_renewal_ends_a_replacement_that_another_login_has_begun(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    strangers = await bound_by_a_stranger(world, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    renewal = await world.to_active(ANN, Operation.REKEY, login=CUSTOMER)
    assert await strangers.state() is OrderState.CANCELLED
    assert await renewal.state() is OrderState.ACTIVE


async def test_ones_own_replacement_is_not_ended_by_a_renewal_unasked(world: World) -> None:
    await world.to_active()
    world.clock.later(days=340)
    mine = await world.open(ANN, Operation.REPLACE, Reason.NEW_DEVICE, login=CUSTOMER)
    assert (await refusal(world.open(ANN, Operation.REKEY, login=CUSTOMER))).code == f"open:{mine.id}"


async def test_an_account_that_the_firm_has_given_to_somebody_else_meanwhile_is_not_certified(world: World) -> None:
    errand = await world.to_review(login=CUSTOMER)
    await world.change("UPDATE accounts SET customer = :ben WHERE customer = :ann", ben=BEN, ann=ANN)
    refused = await refusal(errand.confirm())
    assert (refused.kind, refused.code) == (Kind.NOT_FOUND, "account")
    assert await world.count("certificates") == 0


# which factors count --------------------------------------------------------------------------------------------


async def test_tw_01_every_step_needs_a_login_with_the_password(world: World) -> None:
    errand = await world.to_sent(login=CUSTOMER)
    code = await errand.code()
    only_sms = Caller(CustomerId(ANN), frozenset({FactorClass.TOTP}), "test", LoginId(CUSTOMER))
    bare = replace(errand, caller=only_sms)
    services = world.services
    steps = (
        bare.nonce,
        bare.bind,
        lambda: bare.send(Channel.MOBILE),
        lambda: bare.answer(code),
        lambda: services.ra.enrolment.cancel(only_sms, errand.id),
        lambda: services.ra.enrolment.dispute(only_sms, errand.id, Channel.MOBILE),
        bare.possess,
    )
    for step in steps:
        refused = await refusal(step())
        assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "password_needed")
    await errand.answer(code)
    assert (await refusal(bare.birth_date())).code == "password_needed"
    await errand.birth_date()
    assert (await refusal(bare.confirm())).code == "password_needed"
    await errand.confirm()
    assert (await refusal(bare.prove())).code == "password_needed"


async def test_the_channel_rule_looks_at_the_factors_of_all_logins_that_touched_the_order(world: World) -> None:
    """A launch that used SMS opens the order; a later login by password alone must not take a code by SMS."""
    by_sms = frozenset({FactorClass.PASSWORD, FactorClass.SMS})
    errand = await world.to_key(login=CUSTOMER, factors=by_sms)
    later = errand.within(LATER)
    await later.possess()
    assert (await refusal(later.send(Channel.MOBILE))).kind is Kind.FORBIDDEN
    await later.send(Channel.EMAIL)


async def test_a_login_that_touches_the_order_after_the_code_was_sent_closes_its_channel(world: World) -> None:
    errand = await world.to_sent(login=CUSTOMER)
    code = await errand.code()
    with_sms = errand.within(LATER, frozenset({FactorClass.PASSWORD, FactorClass.SMS}))
    order = await errand.stored()
    acting = world.services.ra.context.acting(errand.caller, order)
    await with_sms.possess()
    stale = world.services.ra.verifier.answer(await errand.challenge(), code, acting, world.services.ra.rekey.rules)
    assert isinstance(await outcome(stale), Refusal), "the statement compares the factors with what it read"
    assert (await errand.order()).coded_at is None


async def test_where_no_channel_is_left_ending_the_order_and_the_password_alone_help(world: World) -> None:
    both = frozenset({FactorClass.PASSWORD, FactorClass.SMS, FactorClass.EMAIL})
    errand = await world.to_key(login=CUSTOMER, factors=both)
    snapshot = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    assert all(choice.why_not is not None for choice in world.services.ra.customer_queries.channels(snapshot))
    assert world.services.ra.customer_queries.password_alone_helps(snapshot)
    cooling = "UPDATE contacts SET cool_until = :later WHERE customer = :ann"
    await world.change(cooling, later=int(world.clock.at.timestamp() * 1000) + 86_400_000, ann=ANN)
    snapshot = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    assert not world.services.ra.customer_queries.password_alone_helps(snapshot), "that would not help"
    await world.change("UPDATE contacts SET cool_until = 0 WHERE customer = :ann", ann=ANN)
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    again = await world.to_sent(login=LATER, factors=PASSWORD_LOGIN)
    assert await again.state() is OrderState.BOUND


# who is told ----------------------------------------------------------------------------------------------------


async def test_the_customer_is_told_of_every_order_and_of_a_key_from_another_login_than_the_last(world: World) -> None:
    await world.open(ANN, login=CUSTOMER)
    (opened,) = await world.notices("order_opened")
    assert (opened["customer"], opened["channel"]) == (ANN, "email")
    errand = await world.open(ANN, login=CUSTOMER)
    assert len(await world.notices("order_opened")) == 1, "the order was given back, not opened"
    await errand.within(STRANGER).bind()
    (bound,) = await world.notices("key_bound")
    assert bound["customer"] == ANN


async def test_the_code_and_the_terms_name_the_key(world: World) -> None:
    errand = await world.to_sent(login=CUSTOMER)
    name = errand.key.words[:4]
    assert name.isalpha()
    await world.work()
    messages = await world.services.messaging.inbox.newest(10)
    shown = [message for message in messages if message.challenge is not None]
    assert shown, "the demo's inbox has the message with the code"
    await errand.answer(await errand.code())
    await errand.birth_date()
    terms = world.services.ra.rekey.consent(await errand.order())
    assert any(name in str(sentence) for sentence in terms.sentences)
