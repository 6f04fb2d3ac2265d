"""The approval slip: what a branch prints for a customer of whom no contact can carry a code, for one order."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chopmark.audit.events import Event
from chopmark.audit.findings import Code
from chopmark.audit.log import RecordBuilder
from chopmark.audit.record import order_stream
from chopmark.ca.checker import Checker
from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import (
    ActingLogin,
    CertificateState,
    Channel,
    CustomerId,
    FactorClass,
    KeyHome,
    Operation,
    OrderState,
    Reason,
)
from chopmark.pki.key_words import LETTERS, key_words
from chopmark.ra.customer_import.ports import Allowed
from chopmark.ra.key_proof import PresentedCertificate
from chopmark.ra.model import Order, Step
from chopmark.ra.possession import Possession
from chopmark.ra.slips import Papers, Printed, Slip, SlipDesk
from chopmark.ra.stopping import StopDesk, Stopped
from chopmark.stepup.ports import Sequel
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.store.repositories.ra.slips import SlipRepository
from chopmark.store.repositories.ra.stops import StopRepository
from chopmark.store.repositories.stepup.challenges import FailureRepository
from tests.contract.test_stops import messages, reference
from tests.contract.world import ANN, BEN, DAN, EVE, ROWS, Errand, World, outcome, refusal, world_fixture

world = world_fixture(policy="strict")
LATER = "CUSTOMERSLATERLOGIN0000000"
WEEK = timedelta(days=7)
REASONS = [Reason.NEW_DEVICE, Reason.LOST, Reason.COMPROMISED]
STRANGER = "THIEVESLOGIN00000000000000"


def context(world: World) -> SlipDesk:
    services = world.services
    return SlipDesk(
        services.ra.context, SlipRepository(services.foundation.engine), FailureRepository(services.foundation.engine)
    )


async def printed(world: World, customer: str = DAN, key: str | None = None) -> Printed:
    return await context(world).print(CustomerId(customer), "alice", "bob", Papers.IDENTITY_CARD, key)


async def give(errand: Errand, letters: str) -> Order:
    return (await context(errand.world).answer(errand.caller, errand.id, letters)).order


async def given(errand: Errand, slip: Printed) -> Order:
    return await give(errand, slip.letters.reveal())


def wrong(slip: Printed, step: int = 1) -> str:
    """Other letters than the slip's."""
    last = slip.letters.reveal()[-1]
    return slip.letters.reveal()[:-1] + LETTERS[(LETTERS.index(last) + step) % len(LETTERS)]


async def without_contacts(world: World, customer: str = DAN) -> None:
    """The firm has never had an address of this customer."""
    await world.change("DELETE FROM contacts WHERE customer = :customer", customer=customer)


async def begun(world: World, reason: Reason = Reason.NEW_DEVICE, customer: str = DAN) -> Errand:
    """Dan had a mobile when he applied; now none of his contacts can carry a code, and his key is on another device."""
    await world.to_active(customer)
    world.clock.later(seconds=60)
    await stop(world, customer)
    return await world.to_key(customer, Operation.REPLACE, reason=reason)


async def stop(world: World, customer: str = DAN) -> None:
    await world.change("UPDATE contacts SET disputed_at = 1 WHERE customer = :customer", customer=customer)


async def failures(world: World, customer: str = DAN) -> list[int]:
    rows = await world.rows("SELECT ever FROM failures WHERE customer = :c AND factor = 'code'", c=customer)
    return [row["ever"] for row in rows]


async def facts(world: World, event: Event, errand: Errand) -> list[dict[str, Any]]:
    return [json.loads(one["facts"]) for one in await world.records(event) if one["chain"] == errand.id]


@pytest.mark.parametrize("reason", REASONS)
async def test_the_right_slip_approves_a_replacement_and_the_records_bear_it_out(world: World, reason: Reason) -> None:
    errand = await begun(world, reason)
    assert (await errand.order()).next() is Step.SLIP
    slip = await printed(world)
    assert (await given(errand, slip)).next() is Step.REVIEW
    assert (await errand.order()).next() is Step.REVIEW
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    await world.work()
    standard = world.services.ca.issuer.standard()
    assert (
        await Checker(standard, CertificateRows(world.services.foundation.engine), 0).check(world.clock.now())
    ).faults == ()
    assert (await world.audit()).findings == ()
    (opened,), (right,) = (
        await facts(world, Event.RA_ORDER_OPENED, errand),
        await facts(world, Event.RA_SLIP_RIGHT, errand),
    )
    assert (opened["checks"], opened["contacts"]) == ("slip", "email:none+mobile:stopped")
    assert (right["login"], right["slip"]) == (errand.caller.login, slip.slip.id)
    (submitted,) = await facts(world, Event.RA_ORDER_SUBMITTED, errand)
    assert (submitted["slip"], submitted["challenge"]) == (slip.slip.id, None)
    assert await failures(world) in ([], [0])


async def test_it_is_typed_in_any_case_width_and_grouping_and_a_misfit_costs_nothing(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    letters = slip.letters.reveal()
    assert len(letters.replace("-", "")) == 20
    assert set(letters.replace("-", "")) <= set(LETTERS)
    for misfit in ("", letters[:-1], letters + "B", "A" + letters[1:], "123456"):
        assert (await refusal(give(errand, misfit))).kind is Kind.MALFORMED
    assert await failures(world) in ([], [0])
    wide = "".join(chr(ord(c) + 0xFEE0) for c in letters.replace("-", "").lower())
    assert (await give(errand, f" {wide[:7]} {wide[7:]} ")).next() is Step.REVIEW


async def test_what_is_stored_is_a_keyed_hash_and_the_letters_stand_nowhere(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    await given(errand, slip)
    letters = slip.letters.reveal().replace("-", "")
    for table in ("slips", "leaves", "work", "orders"):
        for row in await world.rows(f"SELECT * FROM {table}"):
            assert not any(letters in str(value).replace("-", "") for value in row.values())
    assert letters not in repr(slip)


async def test_printing_is_recorded_with_both_people_and_all_contacts_are_told(world: World) -> None:
    await stop(world, ANN)
    slip = await printed(world, ANN)
    (record,) = await world.records(Event.STAFF_SLIP_PRINTED)
    said = json.loads(record["facts"])
    assert (said["by"], said["approved_by"], said["reason"]) == ("alice", "bob", "identity-card")
    assert (said["customer"], said["slip"], said["contacts"]) == (ANN, slip.slip.id, "email:stopped+mobile:stopped")
    assert sorted(row["channel"] for row in await world.notices("slip_printed")) == ["email", "mobile"]


async def test_one_person_alone_prints_none_and_that_is_recorded(world: World) -> None:
    await without_contacts(world)
    alone = context(world).print(CustomerId(DAN), "alice", "Alice", Papers.PASSPORT)
    assert (await refusal(alone)).kind is Kind.FORBIDDEN
    assert await world.count("slips") == 0
    (record,) = await world.records(Event.STAFF_ACTION_REFUSED)
    assert json.loads(record["facts"])["purpose"] == "approval_slip"


async def test_none_is_printed_for_who_can_get_a_code_or_is_no_customer(world: World) -> None:
    for customer in (ANN, DAN):
        assert (await refusal(printed(world, customer))).code == "code_instead"
    assert (await refusal(printed(world, "C99"))).kind is Kind.NOT_FOUND
    assert await world.count("slips") == 0
    assert (await printed(world, EVE)).slip.customer == EVE  # e-mail alone carries no code under `strict`


@pytest.mark.parametrize("column", ["cool_until", "disputed_at"])
async def test_none_is_printed_while_a_contact_cools_down_or_was_stopped_lately(world: World, column: str) -> None:
    """For a week nothing goes faster for whoever had a contact changed, or stopped, than it went without slips."""
    at = int(world.clock.now().timestamp() * 1000) + (
        WEEK // timedelta(milliseconds=1) if column == "cool_until" else 0
    )
    await world.change(f"UPDATE contacts SET {column} = :at WHERE customer = :dan", at=at, dan=DAN)
    world.clock.at += WEEK - timedelta(seconds=1)
    assert (await refusal(printed(world))).code == "changed_lately"
    assert await world.count("slips") == 0
    world.clock.later(seconds=1)
    if column == "disputed_at":
        assert (await printed(world)).slip.customer == DAN
    else:
        assert (await refusal(printed(world))).code == "code_instead"


async def test_none_is_printed_for_a_week_for_who_lost_contacts_by_a_sheet_or_took_anothers_place(world: World) -> None:
    """One insider: Dan's contact is blanked; a new number without any contact gets Ann's id and account."""
    blanked = {**ROWS[DAN], "mobile": ""}
    assert (await world.services.ra.customer_import.add([blanked], "alice", tuple(Allowed))).imported == 1
    await world.services.ra.customer_import.add(
        [{**ROWS[ANN], "person_id": "A130000019", "accounts": ""}], "alice", tuple(Allowed)
    )
    thief = {**ROWS[ANN], "customer": "C9", "mobile": "", "email": ""}
    assert (await world.services.ra.customer_import.add([thief], "alice")).imported == 1
    world.clock.at += WEEK - timedelta(seconds=1)
    for customer in (DAN, "C9"):
        assert (await refusal(printed(world, customer))).code == "changed_lately"
    world.clock.later(seconds=2)
    for customer in (DAN, "C9"):
        assert (await printed(world, customer)).slip.customer == customer


async def test_who_waits_for_a_changed_contact_is_not_sent_for_a_slip(world: World) -> None:
    await world.to_active(DAN)
    await world.change("UPDATE contacts SET cool_until = 9000000000000 WHERE customer = :dan", dan=DAN)
    world.clock.later(seconds=60)
    refused = await refusal(world.open(DAN, Operation.REPLACE, Reason.LOST))
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "call_us")


async def test_a_contact_that_is_registered_after_the_slip_was_printed_does_not_void_it_while_it_cools(
    world: World,
) -> None:
    await without_contacts(world)
    errand = await world.to_key(DAN)
    slip = await printed(world)
    assert (await world.services.ra.customer_import.add([ROWS[DAN]], "alice", tuple(Allowed))).imported == 1
    await given(errand, slip)
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_a_wrong_slip_is_counted_where_wrong_codes_are(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    for number in range(1, 4):
        refused = await refusal(give(errand, wrong(slip, number)))
        assert (refused.kind, refused.field) == (Kind.WRONG_CODE, "slip")
        assert await failures(world) == [number]
    await given(errand, slip)
    assert await failures(world) == [3]  # what the right one was charged is given back


async def test_parallel_guesses_compare_at_most_the_budget_and_shut_the_one_lock(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    came = await asyncio.gather(*(outcome(give(errand, wrong(slip, 1 + n % 15))) for n in range(60)))
    assert all(isinstance(one, Refusal) for one in came)
    assert await world.count("leaves", "event = :e", e=Event.RA_SLIP_WRONG.value) == 20
    assert (await refusal(given(errand, slip))).kind is Kind.LOCKED
    assert await world.services.ra.locks.held(CustomerId(DAN)) == {"code": "held"}
    assert await errand.state() is OrderState.BOUND
    assert (await world.audit()).findings == ()
    await world.services.ra.locks.release(CustomerId(DAN), "alice", "bob")
    assert (await given(errand, slip)).next() is Step.REVIEW


async def test_a_failure_that_was_charged_stays_when_the_process_dies_before_the_comparison(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    services, order = world.services, await errand.order()
    limits = services.ra.rekey.rules.failures

    async def charge(builder: RecordBuilder) -> Refusal | None:
        yes, no = (
            builder.record(Event.RA_SLIP_CHARGED, slip=slip.slip.id, login=errand.caller.login),
            builder.record(Event.RA_SLIP_DEAD),
        )
        return await SlipRepository(services.foundation.engine).charge(
            slip.slip, order, limits, world.clock.now(), (), yes, no
        )

    assert await services.foundation.audit_log.write(order_stream(errand.id), charge) is None
    assert await failures(world) == [1]
    assert (await world.audit()).findings == ()


async def test_a_slip_approves_one_order_and_key_and_no_other(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    await given(errand, slip)
    await errand.bind(ClientKey.generate())
    assert (await refusal(given(errand, slip))).code == "no_slip"
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    other = await world.to_key(DAN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert (await refusal(given(other, slip))).code == "no_slip"
    await given(other, await printed(world))
    assert (await other.confirm()).state is OrderState.ISSUED


async def test_the_same_order_and_key_may_be_given_it_again_when_the_approval_has_lapsed(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    await given(errand, slip)
    world.clock.later(minutes=10)
    assert (await errand.order()).next() is Step.SLIP
    assert isinstance(await outcome(errand.confirm()), Refusal)
    assert (await given(errand, slip)).next() is Step.REVIEW
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    assert (await world.audit()).findings == ()


async def test_a_slip_lives_for_a_week_and_no_second_longer(world: World) -> None:
    await without_contacts(world)
    slip = await printed(world)
    world.clock.at = slip.slip.printed_at + WEEK
    late = await world.to_key(DAN)
    assert (await refusal(given(late, slip))).code == "no_slip"
    world.clock.at = slip.slip.printed_at + WEEK - timedelta(seconds=1)
    errand = await world.to_key(DAN)
    assert (await given(errand, slip)).next() is Step.REVIEW


async def test_a_newer_slip_voids_the_one_before_and_the_approval_by_it(world: World) -> None:
    errand = await begun(world)
    before = await printed(world)
    await given(errand, before)
    newer = await printed(world)
    assert (await refusal(errand.confirm())).code == "slip_void"
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert (await refusal(given(errand, before))).kind is Kind.WRONG_CODE
    await given(errand, newer)
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_anothers_slip_approves_nothing(world: World) -> None:
    await stop(world, BEN)
    await printed(world, BEN)
    errand = await begun(world)
    theirs = await printed(world, BEN)
    assert (await refusal(given(errand, theirs))).code == "no_slip"
    await printed(world)
    assert (await refusal(given(errand, theirs))).kind is Kind.WRONG_CODE


async def test_a_contact_that_can_carry_a_code_by_now_ends_what_a_slip_may_do(world: World) -> None:
    """Before the slip, between slip and confirmation, and in the statements themselves."""
    errand = await begun(world)
    slip = await printed(world)
    await world.change("UPDATE contacts SET disputed_at = NULL WHERE customer = :dan", dan=DAN)
    assert (await refusal(given(errand, slip))).code == "code_instead"
    await stop(world)
    read_before = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    await world.change("UPDATE contacts SET disputed_at = NULL WHERE customer = :dan", dan=DAN)
    stale = replace(errand, caller=replace(errand.caller, opened=read_before))
    assert (await refusal(given(stale, slip))).kind is Kind.STEP_REQUIRED
    await stop(world)
    await given(errand, slip)
    approved = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    await world.change("UPDATE contacts SET disputed_at = NULL WHERE customer = :dan", dan=DAN)
    assert (await refusal(errand.confirm())).code == "code_instead"
    services, order = world.services, approved.order
    acting, since = services.ra.context.acting(errand.caller, order), world.clock.now() - timedelta(minutes=10)

    async def submit(builder: RecordBuilder) -> bool:
        record = builder.record(Event.RA_ORDER_SUBMITTED)
        return bool(await services.ra.context.orders.submit(order, "x", acting, since, world.clock.now(), record))

    assert not await services.foundation.audit_log.write(order_stream(errand.id), submit)
    instead = await world.open(DAN, Operation.REPLACE, Reason.NEW_DEVICE, instead=errand.id)
    await instead.bind()
    assert (await instead.order()).next() is Step.CHANNEL


async def test_an_order_that_asks_for_codes_takes_no_slip(world: World) -> None:
    """The slip was printed while the contacts were stopped; the order was opened when they were confirmed anew."""
    await world.to_active(ANN)
    await stop(world, ANN)
    world.clock.later(seconds=60)
    slip = await printed(world, ANN)
    await world.change("UPDATE contacts SET disputed_at = NULL WHERE customer = :ann", ann=ANN)
    errand = await world.to_key(ANN, Operation.REPLACE, reason=Reason.LOST)
    assert (await errand.order()).both_codes
    assert (await refusal(given(errand, slip))).code == "channel"


async def test_an_order_that_asks_for_a_slip_takes_no_code(world: World) -> None:
    errand = await begun(world)
    assert (await refusal(errand.send(Channel.MOBILE))).code == "slip"
    assert (await refusal(errand.answer("123456"))).code == "slip"
    assert (await refusal(errand.confirm())).code == "slip"


async def test_a_cancelled_order_takes_none_and_leaves_the_slip_as_it_was(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    read_before = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    stale = replace(errand, caller=replace(errand.caller, opened=read_before))
    assert (await refusal(given(stale, slip))).kind is Kind.STEP_REQUIRED
    assert (await refusal(given(errand, slip))).code == "order_cancelled"
    assert await failures(world) in ([], [0])
    other = await world.to_key(DAN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert (await given(other, slip)).next() is Step.REVIEW


async def test_a_slip_for_one_key_approves_no_other(world: World) -> None:
    """Somebody who knows the password has opened the order with his own key; the customer's page shows other words."""
    errand = await begun(world)
    bound = key_words((await errand.order()).spki_sha256 or "")
    slip = await printed(world, key="bcdf ghjk lmnp")
    assert slip.slip.key_words == "BCDF-GHJK-LMNP"
    assert (await refusal(given(errand, slip))).code == "slip_key"
    mine = await printed(world, key=bound.lower())
    assert mine.open is not None
    assert (await given(errand, mine)).next() is Step.REVIEW
    assert (await refusal(printed(world, key="not a key"))).code == "key_words"


async def test_it_counts_in_a_login_that_holds_the_key_and_in_that_one_only(world: World) -> None:
    errand = await begun(world)
    slip = await printed(world)
    later = errand.within(LATER)
    assert (await refusal(given(later, slip))).code == "possession"
    await given(errand, slip)
    assert (await refusal(later.confirm())).code == "possession"
    await later.possess()
    assert (await later.order()).next() is Step.SLIP
    assert isinstance(await outcome(errand.confirm()), Refusal)
    await given(later, slip)
    assert (await later.confirm()).state is OrderState.ISSUED


async def test_a_strangers_key_is_not_approved_by_the_customers_slip(world: World) -> None:
    await world.to_active(DAN)
    world.clock.later(seconds=60)
    await stop(world)
    theirs = await world.to_key(DAN, Operation.REPLACE, reason=Reason.NEW_DEVICE, login=STRANGER)
    mine = theirs.within(LATER)
    slip = await printed(world)
    assert (await refusal(given(mine, slip))).code == "possession"
    assert await world.count("slips", "state = 'live'") == 1


async def test_a_login_by_help_of_the_branch_is_no_second_factor_beside_its_slip(world: World) -> None:
    await without_contacts(world)
    both = frozenset({FactorClass.PASSWORD, FactorClass.BRANCH})
    errand = await world.to_key(DAN, factors=both)
    assert (await refusal(given(errand, await printed(world)))).code == "password_alone"


async def test_who_signed_in_by_text_message_is_sent_to_the_password_and_gets_no_slip(world: World) -> None:
    """A login that has used up the contact is no reason for a slip: without it a code can be sent."""
    await world.to_active(DAN)
    world.clock.later(seconds=60)
    by_sms = frozenset({FactorClass.PASSWORD, FactorClass.SMS})
    refused = await refusal(world.open(DAN, Operation.REPLACE, Reason.LOST, factors=by_sms))
    assert (refused.kind, refused.code) == (Kind.FORBIDDEN, "password_alone")
    assert (await refusal(printed(world))).code == "code_instead"


async def test_all_contacts_get_the_stop_code_and_it_stops_the_order(world: World) -> None:
    errand = await begun(world, customer=ANN)
    await given(errand, await printed(world, ANN))
    assert sorted(channel for channel, _ in await messages(world, "replacing")) == ["email", "mobile"]
    stops = StopDesk(world.services.ra.context, StopRepository(world.services.foundation.engine))
    assert await stops.stop(await reference(world), "192.0.2.0/24") is Stopped.ORDER
    assert (await refusal(errand.confirm())).code == "order_stopped"


async def test_a_lost_certificate_is_on_hold_with_the_right_slip(world: World) -> None:
    errand = await begun(world, Reason.LOST)
    old = world.held[DAN].certificate.serial
    slip = await printed(world)
    await outcome(give(errand, wrong(slip)))
    assert (await world.stored_certificate(old)).state is CertificateState.ACTIVE
    await given(errand, slip)
    assert (await world.stored_certificate(old)).state is CertificateState.HELD


@pytest.mark.parametrize("operation", [Operation.ENROL, Operation.REKEY])
async def test_a_first_application_and_a_renewal_take_one_too(world: World, operation: Operation) -> None:
    if operation is Operation.REKEY:
        await world.to_active(DAN)
        world.clock.later(days=340)
    await without_contacts(world)
    errand = await world.to_key(DAN, operation)
    await given(errand, await printed(world))
    assert (await errand.confirm()).state is OrderState.ISSUED
    await errand.prove()
    assert (await world.audit()).findings == ()


async def test_a_programs_key_is_approved_by_a_slip_once_it_has_been_named(world: World) -> None:
    await without_contacts(world)
    errand = await world.open(DAN, home=KeyHome.HELPER)
    program, key = world.services.ra.program, errand.key
    made = await program.credential(errand.caller, errand.id)
    assert (await program.enrol(made.user, made.secret, key.request())).certificate is None
    slip = await printed(world, key=key.words)
    assert (await refusal(given(errand, slip))).code == "possession"
    await Possession(world.services.ra.context).name(errand.caller, errand.id, key.words)
    await given(errand, slip)
    assert (await errand.confirm()).state is OrderState.ISSUED
    certificate = (await program.enrol(made.user, made.secret, key.request())).certificate
    assert certificate is not None
    assert (await program.reenrol(PresentedCertificate(certificate), key.request())).order.state is OrderState.ACTIVE
    assert (await world.audit()).findings == ()


async def test_who_writes_the_database_cannot_fake_a_slip(world: World) -> None:
    """The row says that a slip was right; then the slip of another customer, or an old one, is moved here."""
    errand = await begun(world)
    now = int(world.clock.now().timestamp() * 1000)
    await world.change(
        "UPDATE orders SET state = 'coded', coded_at = :now, approved_login = bound_login, slip_id = 'FORGED'"
        " WHERE id = :id",
        id=errand.id,
        now=now,
    )
    await world.change(
        "INSERT INTO slips (id, customer, secret_hash, printed_at, expires_at, state, order_id, spki)"
        " SELECT 'FORGED', customer, 'x', coded_at, expires_at + 86400000, 'used', id, spki_sha256"
        " FROM orders WHERE id = :id",
        id=errand.id,
    )
    assert (await refusal(errand.confirm())).code == "distrusted"
    assert await errand.state() is OrderState.REFUSED


async def test_another_customers_slip_and_an_old_one_stay_so_whatever_their_rows_say(world: World) -> None:
    await stop(world, BEN)
    theirs, mine = await printed(world, BEN), None
    errand = await begun(world)
    await world.change("UPDATE slips SET customer = :dan", dan=DAN)
    assert (await refusal(given(errand, theirs))).kind is Kind.WRONG_CODE
    mine = await printed(world)
    await world.change("UPDATE slips SET expires_at = expires_at + 1000 WHERE id = :id", id=mine.slip.id)
    assert (await refusal(given(errand, mine))).kind is Kind.WRONG_CODE


async def test_a_row_that_asks_for_a_slip_is_not_believed_where_the_record_asks_for_codes(world: World) -> None:
    await world.to_active(ANN)
    world.clock.later(seconds=60)
    errand = await world.to_key(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await world.change("UPDATE orders SET both_codes = 0, slip_unless = 'mobile' WHERE id = :id", id=errand.id)
    await stop(world, ANN)
    await given(errand, await printed(world, ANN))
    assert (await refusal(errand.confirm())).code == "distrusted"


@pytest.mark.parametrize("row", ["state = 'live'", "order_id = 'OTHER'", "expires_at = expires_at + 90000000"])
async def test_the_audit_finds_a_slip_whose_row_is_better_off_than_its_records(world: World, row: str) -> None:
    errand = await begun(world)
    await given(errand, await printed(world))
    assert (await world.audit()).findings == ()
    if "OTHER" in row:
        other = await world.open(EVE)
        row = f"order_id = '{other.id}'"
    await world.change(f"UPDATE slips SET {row}")
    assert [finding.code for finding in (await world.audit()).findings] == [Code.SLIP_WRONG]


async def test_the_audit_finds_an_approval_by_a_slip_that_was_void(world: World) -> None:
    """Its row is made live again for the moment, and everything afterwards looks as it should."""
    errand = await begun(world)
    before, newer = await printed(world), await printed(world)
    await world.change("UPDATE slips SET state = 'void' WHERE id = :id", id=newer.slip.id)
    await world.change("UPDATE slips SET state = 'live' WHERE id = :id", id=before.slip.id)
    await given(errand, before)
    await world.change("UPDATE slips SET state = 'void'")
    assert [finding.code for finding in (await world.audit()).findings] == [Code.SLIP_WRONG]


async def test_the_right_slip_of_an_order_that_has_ended_meanwhile_leaves_counts_and_records_in_step(
    world: World,
) -> None:
    """The order is cancelled between the charge and what follows: nothing is given back that no record gives back."""
    errand = await begun(world)
    slip = await printed(world)
    services, order = world.services, await errand.order()
    ledger, acting = SlipRepository(services.foundation.engine), services.ra.context.acting(errand.caller, order)

    async def charge(builder: RecordBuilder) -> Refusal | None:
        record = builder.record(Event.RA_SLIP_CHARGED, slip=slip.slip.id, login=acting.id)
        return await ledger.charge(
            slip.slip, order, services.ra.rekey.rules.failures, world.clock.now(), (), record, record
        )

    async def right(builder: RecordBuilder) -> Refusal | None:
        yes = builder.record(Event.RA_SLIP_RIGHT, slip=slip.slip.id, login=acting.id)
        no = builder.record(Event.RA_SLIP_DEAD, slip=slip.slip.id, login=acting.id)
        return await ledger.right(slip.slip, order, acting, world.clock.now(), Sequel(), yes, no)

    assert await services.foundation.audit_log.write(order_stream(errand.id), charge) is None
    await services.ra.enrolment.cancel(errand.caller, errand.id)
    assert isinstance(await services.foundation.audit_log.write(order_stream(errand.id), right), Refusal)
    assert await failures(world) == [1]
    assert await world.count("slips", "state = 'live'") == 1
    assert (await world.audit()).findings == ()


async def test_the_guards_of_login_and_key_stand_in_the_sql_too(world: World) -> None:
    """The slip is given in the name of a login that does not hold the key; then it is one for another key."""
    errand = await begun(world)
    slip = await printed(world)
    services, order = world.services, await errand.order()
    ledger, stranger = (
        SlipRepository(services.foundation.engine),
        services.ra.context.acting(errand.within(STRANGER).caller, order),
    )
    own = services.ra.context.acting(errand.caller, order)

    async def right(one: Slip, acting: ActingLogin) -> Refusal | None:
        async def attempt(builder: RecordBuilder) -> Refusal | None:
            yes, no = builder.record(Event.RA_SLIP_RIGHT, slip=one.id), builder.record(Event.RA_SLIP_DEAD, slip=one.id)
            return await ledger.right(one, order, acting, world.clock.now(), Sequel(), yes, no)

        return await services.foundation.audit_log.write(order_stream(errand.id), attempt)

    assert isinstance(await right(slip.slip, stranger), Refusal)
    other = await printed(world, key="BCDF-GHJK-LMNP")
    assert isinstance(await right(other.slip, own), Refusal)
    assert await errand.state() is OrderState.BOUND
    assert await world.count("slips", "state = 'live'") == 1
    assert await right((await printed(world)).slip, own) is None
