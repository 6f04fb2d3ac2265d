"""A replacement is told to the other contact at once, and the reference of that message stops it without a sign-in."""

import asyncio
import json
import re
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from typing import Any

import pytest
import structlog

from chopmark.audit.events import Event
from chopmark.ca.checker import Checker
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, Channel, Operation, OrderState, Reason, Serial
from chopmark.ra.stopping import OVER_ALL, PER_NETWORK, StopDesk, Stopped
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.store.repositories.ra.stops import StopRepository
from tests.contract.test_canary import everything
from tests.contract.test_no_overlap import OneAtATime
from tests.contract.world import ANN, BEN, DAN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()
MOBILE, EMAIL = Channel.MOBILE, Channel.EMAIL
NETWORK, ELSEWHERE = "192.0.2.0/24", "198.51.100.0/24"
CODE = re.compile(r"(?<![A-Z])[BCDFGHJKLMNPRSTW]{5}-[BCDFGHJKLMNPRSTW]{5}(?![A-Z])")
PEOPLE = ("alice", "bob")


def context(world: World) -> StopDesk:
    return StopDesk(world.services.ra.context, StopRepository(world.services.foundation.engine))


async def stop(world: World, typed: str, network: str = NETWORK) -> Stopped | Refusal:
    made = await outcome(context(world).stop(typed, network))
    assert isinstance(made, Stopped | Refusal)
    return made


async def messages(world: World, purpose: str) -> list[tuple[str, str]]:
    """Let what waits be sent; return channel and text of the messages of that purpose, oldest first."""
    await world.work()
    rows = await world.rows("SELECT channel, facts FROM inbox ORDER BY at, id")
    sent = [(row["channel"], json.loads(row["facts"])) for row in rows]
    return [(channel, facts["body"]) for channel, facts in sent if facts["purpose"] == purpose]


async def reference(world: World) -> str:
    """The reference of the newest notice, as the other contact reads it."""
    (_, text) = (await messages(world, "replacing"))[-1]
    (found,) = CODE.findall(text)
    return str(found)


async def replacing(world: World, reason: Reason = Reason.NEW_DEVICE, channel: Channel = MOBILE) -> Errand:
    """Ann has a certificate; somebody with her password and one of her contacts replaces it, up to the right code."""
    await world.to_active()
    errand = await world.to_key(ANN, Operation.REPLACE, reason=reason)
    world.clock.later(seconds=60)
    await errand.send(channel)
    await errand.answer(await errand.code())
    return errand


async def finished(errand: Errand) -> Serial:
    """Go on to the certificate, and have it proved."""
    await errand.birth_date()
    await errand.confirm()
    await errand.prove()
    return errand.world.held[ANN].certificate.serial


async def state_of(world: World, serial: Serial) -> CertificateState:
    return (await world.stored_certificate(serial)).state


async def in_order(world: World) -> None:
    """The records hold, and the certificates are what the records bear out."""
    await world.work()
    standard = world.services.ca.issuer.standard()
    checked = await Checker(standard, CertificateRows(world.services.foundation.engine), 0).check(world.clock.now())
    assert checked.faults == ()
    assert (await world.audit()).findings == ()


# told at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coded", [MOBILE, EMAIL])
async def test_the_other_contact_is_told_with_the_right_code(world: World, coded: Channel) -> None:
    errand = await replacing(world, channel=coded)
    ((channel, text),) = await messages(world, "replacing")
    assert channel == coded.other.value
    assert len(CODE.findall(text)) == 1
    assert await errand.state() is OrderState.CODE_VERIFIED
    assert await world.count("stops") == 1


async def test_who_has_one_contact_is_told_there_and_a_stopped_one_is_told_too(world: World) -> None:
    await world.to_active(DAN)
    await world.to_code(DAN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert [channel for channel, _ in await messages(world, "replacing")] == ["mobile"]
    await world.to_active()
    await world.change("UPDATE contacts SET disputed_at = 1, cool_until = 9000000000000 WHERE channel = 'email'")
    await world.to_code(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    assert sorted(channel for channel, _ in await messages(world, "replacing")) == ["email", "mobile"]


async def test_no_other_order_and_no_wrong_code_sends_it(world: World) -> None:
    await world.to_active()
    errand = await world.to_sent(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await refusal(errand.answer(await errand.wrong_code()))
    assert await messages(world, "replacing") == []
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    world.clock.later(days=340)
    await world.to_active(ANN, Operation.REKEY)
    assert await messages(world, "replacing") == []
    assert await world.count("stops") == 0


async def test_every_right_code_of_the_order_tells_the_contact_that_it_did_not_go_to(world: World) -> None:
    errand = await replacing(world, channel=MOBILE)
    first = await reference(world)
    world.clock.later(minutes=11)
    await errand.send(EMAIL)
    await errand.answer(await errand.code())
    second = await reference(world)
    assert [channel for channel, _ in await messages(world, "replacing")] == ["email", "mobile"]
    assert first != second
    assert await stop(world, first) is Stopped.ORDER
    assert isinstance(await stop(world, second), Refusal)


@pytest.mark.parametrize("ending", ["revoked", "expired"])
async def test_who_had_a_certificate_and_applies_anew_is_told_as_for_a_replacement(world: World, ending: str) -> None:
    """Else whoever revokes it first, by one code, has a new one without any of what a replacement asks."""
    await world.to_active()
    await ended(world, ending)
    errand = await world.to_code()
    ((channel, _),) = await messages(world, "replacing")
    assert channel == "email"
    assert await stop(world, await reference(world)) is Stopped.ORDER
    assert (await errand.stored()).ended == "stopped_by_contact"
    await in_order(world)


async def test_a_certificate_of_such_an_application_goes_on_hold_and_people_release_it(world: World) -> None:
    await world.to_active()
    await ended(world, "revoked")
    errand = await world.to_code()
    code = await reference(world)
    serial = await finished(errand)
    assert await stop(world, code) is Stopped.CERTIFICATE
    assert await state_of(world, serial) is CertificateState.HELD
    await world.work()
    await world.services.ra.suspension.release(serial, *PEOPLE)
    assert await state_of(world, serial) is CertificateState.ACTIVE
    await in_order(world)


async def test_a_first_application_is_not_told_also_after_one_that_came_to_nothing(world: World) -> None:
    first = await world.to_issued()
    await world.services.ra.enrolment.cancel(first.caller, first.id)
    world.clock.later(minutes=1)
    await world.to_active()
    assert await messages(world, "replacing") == []
    assert await world.count("stops") == 0


async def ended(world: World, ending: str) -> None:
    """Ann's certificate is no more: revoked by her, or a year later."""
    if ending == "revoked":
        await world.revoked()
    world.clock.later(**({"minutes": 1} if ending == "revoked" else {"days": 400}))


# what it does ------------------------------------------------------------------------------------------------------


async def test_it_ends_an_order_that_is_not_submitted_and_leaves_the_old_certificate(world: World) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    assert await stop(world, await reference(world)) is Stopped.ORDER
    order = await errand.stored()
    assert (order.state, order.ended) == (OrderState.CANCELLED, "stopped_by_contact")
    assert await state_of(world, old) is CertificateState.ACTIVE
    said = await refusal(errand.services.ra.rekey.confirm(errand.caller, errand.id, "0" * 64))
    assert (said.kind, said.code) == (Kind.CONFLICT, "order_stopped")
    told = await messages(world, "order_stopped")
    assert {channel for channel, _ in told} == {"mobile", "email"}
    (record,) = await world.records(Event.RA_ORDER_STOPPED)
    assert json.loads(record["facts"]) == {"network": NETWORK, "serial": None, "state": "cancelled"}
    assert await world.count("certificates", "order_id = :id", id=errand.id) == 0
    await in_order(world)


async def test_a_certificate_that_waits_to_be_proved_goes_on_hold_and_cannot_be_proved(world: World) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    await errand.confirm()
    proof = await errand.install_proof()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    order = await errand.stored()
    assert (order.state, order.ended) == (OrderState.ISSUED, "stopped_by_contact")
    assert order.serial is not None
    assert await state_of(world, order.serial) is CertificateState.HELD
    assert await state_of(world, old) is CertificateState.ACTIVE
    said = await refusal(errand.services.ra.rekey.prove(errand.caller, errand.id, proof))
    assert (said.kind, said.code) == (Kind.CONFLICT, "order_stopped")
    await world.work()
    assert await world.ca_state(order.serial) == ("held", "certificate_hold")
    assert {channel for channel, _ in await messages(world, "certificate_stopped")} == {"mobile", "email"}
    await in_order(world)


async def test_the_guard_of_a_proof_stands_in_the_sql_too(world: World) -> None:
    errand = await replacing(world)
    await errand.birth_date()
    await errand.confirm()
    proof = await errand.install_proof()
    read_before = replace(
        errand.caller, opened=await errand.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    )
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    said = await refusal(errand.services.ra.rekey.prove(read_before, errand.id, proof))
    assert said.code == "moved_on"
    assert (await errand.stored()).state is OrderState.ISSUED


async def test_an_active_certificate_goes_on_hold_and_people_release_it(world: World) -> None:
    errand = await replacing(world)
    code = await reference(world)
    serial = await finished(errand)
    assert await stop(world, code) is Stopped.CERTIFICATE
    assert await state_of(world, serial) is CertificateState.HELD
    await world.work()
    assert await world.ca_state(serial) == ("held", "certificate_hold")
    (record,) = await world.records(Event.RA_ORDER_STOPPED)
    assert json.loads(record["facts"]) == {"network": NETWORK, "serial": serial, "state": "held"}
    await world.services.ra.suspension.release(serial, *PEOPLE)
    assert await state_of(world, serial) is CertificateState.ACTIVE
    assert (await errand.stored()).ended is None
    assert (await world.ca_state(serial))[0] == "issued"
    await in_order(world)


async def test_what_was_stopped_before_its_proof_comes_back_unproved(world: World) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    await errand.confirm()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    serial = (await errand.stored()).serial
    assert serial is not None
    await world.work()
    await world.services.ra.suspension.release(serial, *PEOPLE)
    assert await state_of(world, serial) is CertificateState.ISSUED
    assert await state_of(world, old) is CertificateState.ACTIVE
    assert (await world.ca_state(serial))[0] == "issued"
    assert (await errand.prove()).state is OrderState.ACTIVE
    assert await state_of(world, old) is CertificateState.SUPERSEDED
    await in_order(world)


async def test_a_stopped_certificate_that_nobody_clears_up_is_revoked_when_its_time_to_be_proved_is_over(
    world: World,
) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    await errand.confirm()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    serial = (await errand.stored()).serial
    assert serial is not None
    world.clock.later(hours=73)
    assert await world.once("overdue") == 1
    await world.work()
    assert await state_of(world, serial) is CertificateState.REVOKED
    assert (await world.ca_state(serial))[0] == "revoked"
    assert await state_of(world, old) is CertificateState.ACTIVE
    assert (await refusal(world.services.ra.suspension.release(serial, *PEOPLE))).code == "not_on_hold"
    await in_order(world)


@pytest.mark.parametrize("reason", [Reason.NEW_DEVICE, Reason.LOST])
async def test_an_order_that_is_with_its_ca_gets_its_certificate_on_hold(world: World, reason: Reason) -> None:
    errand = await replacing(world, reason)
    old = world.held[ANN].certificate.serial
    before = await state_of(world, old)
    await errand.birth_date()
    await errand.submit()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    assert await errand.services.ra.rekey.resume(errand.id)
    order = await errand.stored()
    assert (order.state, order.ended) == (OrderState.ISSUED, "stopped_by_contact")
    assert order.serial is not None
    assert await state_of(world, order.serial) is CertificateState.HELD
    assert await state_of(world, old) is before
    await world.work()
    assert await world.ca_state(order.serial) == ("held", "certificate_hold")
    assert (await world.ca_state(old))[0] != "revoked"
    assert await world.count("keys", "blocked IS NOT NULL") == 0
    await in_order(world)


async def test_where_the_ca_ends_the_old_one_at_issue_the_new_one_comes_on_hold_all_the_same(world: World) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    await errand.submit()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    other = world.with_issuer(OneAtATime(world.services.ca.issuer, world))
    assert await other.services.ra.rekey.resume(errand.id)
    order = await errand.stored()
    assert order.serial is not None
    assert await state_of(world, order.serial) is CertificateState.HELD
    assert await state_of(world, old) is CertificateState.SUPERSEDED
    await world.work()
    assert await world.ca_state(order.serial) == ("held", "certificate_hold")


async def test_a_stop_and_the_answer_of_the_ca_at_once_end_on_hold(world: World) -> None:
    for customer in (ANN, BEN):
        world.clock.later(minutes=1)
        await world.to_active(customer)
        errand = await world.to_review(customer, Operation.REPLACE, reason=Reason.NEW_DEVICE)
        code = await reference(world)
        await errand.submit()
        made, _ = await asyncio.gather(stop(world, code), outcome(errand.services.ra.rekey.resume(errand.id)))
        assert made is Stopped.CERTIFICATE
        order = await errand.stored()
        assert order.serial is not None
        assert await state_of(world, order.serial) is CertificateState.HELD
        await world.work()
        assert (await world.ca_state(order.serial))[0] == "held"


async def test_the_thief_who_cancels_a_stopped_order_leaves_the_old_certificate(world: World) -> None:
    errand = await replacing(world)
    old = world.held[ANN].certificate.serial
    await errand.birth_date()
    await errand.confirm()
    assert await stop(world, await reference(world)) is Stopped.CERTIFICATE
    await errand.services.ra.enrolment.cancel(errand.caller, errand.id)
    order = await errand.stored()
    assert order.state is OrderState.CANCELLED
    assert order.serial is not None
    await world.work()
    assert await state_of(world, order.serial) is CertificateState.REVOKED
    assert (await world.ca_state(order.serial))[0] == "revoked"
    assert await state_of(world, old) is CertificateState.ACTIVE
    await in_order(world)


# what it does not do -----------------------------------------------------------------------------------------------


async def test_unknown_used_old_and_ended_references_get_one_and_the_same_answer(world: World) -> None:
    errand = await replacing(world)
    code = await reference(world)
    unknown = await stop(world, "BBBBB-BBBBB")
    assert isinstance(unknown, Refusal)
    assert (unknown.kind, unknown.code) == (Kind.NOT_FOUND, "stop")
    for typed in ("x", "0" * 10, code[:-1], code + "B", "B" * 100_000):
        assert await stop(world, typed, ELSEWHERE) == unknown
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    assert await stop(world, code) == unknown
    world.clock.later(minutes=1)
    again = await world.to_code(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    code = await reference(world)
    assert await stop(world, code) is Stopped.ORDER
    assert await stop(world, code) == unknown
    assert (await again.stored()).ended == "stopped_by_contact"
    assert len(await world.records(Event.RA_ORDER_STOPPED)) == 1


async def test_it_works_for_72_hours_from_the_right_code(world: World) -> None:
    errand = await replacing(world)
    code = await reference(world)
    serial = await finished(errand)
    world.clock.later(hours=72)
    assert isinstance(await stop(world, code), Refusal)
    assert await state_of(world, serial) is CertificateState.ACTIVE
    world.clock.later(seconds=-1)
    assert await stop(world, code) is Stopped.CERTIFICATE


async def test_it_may_be_typed_in_any_case_width_and_grouping(world: World) -> None:
    await replacing(world)
    code = await reference(world)
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in code.replace("-", "").lower())
    assert await stop(world, f" {wide[:3]} {wide[3:]} ") is Stopped.ORDER


async def test_wrong_references_cost_the_budget_of_a_network_and_right_ones_none(world: World) -> None:
    await replacing(world)
    code = await reference(world)
    for _ in range(PER_NETWORK):
        made = await stop(world, "BBBBB-BBBBB")
        assert isinstance(made, Refusal)
        assert made.kind is Kind.NOT_FOUND
    for typed in ("BBBBB-BBBBB", code):
        made = await stop(world, typed)
        assert isinstance(made, Refusal)
        assert (made.kind, made.retry_after_s) == (Kind.TOO_MANY, 3600)
    assert await stop(world, code, ELSEWHERE) is Stopped.ORDER
    assert (await world.rows("SELECT used FROM counters WHERE name = :name", name=f"stop:{ELSEWHERE}")) == [{"used": 0}]
    assert (await world.rows("SELECT used FROM counters WHERE name = 'stops'")) == [{"used": PER_NETWORK}]


async def test_all_networks_together_have_a_budget(world: World) -> None:
    await replacing(world)
    await stop(world, "BBBBB-BBBBB")
    await world.change("UPDATE counters SET used = :most WHERE name = 'stops'", most=OVER_ALL)
    made = await stop(world, await reference(world), ELSEWHERE)
    assert isinstance(made, Refusal)
    assert made.kind is Kind.TOO_MANY


async def test_ten_at_once_stop_it_once(world: World) -> None:
    await replacing(world)
    code = await reference(world)
    made = await asyncio.gather(*(stop(world, code, f"net-{number}") for number in range(10)))
    assert [one for one in made if isinstance(one, Stopped)] == [Stopped.ORDER]
    assert len(await world.records(Event.RA_ORDER_STOPPED)) == 1


# who can see it ----------------------------------------------------------------------------------------------------


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with structlog.testing.capture_logs() as entries:
        yield entries


async def test_the_reference_is_in_its_message_and_nowhere_else(
    world: World, logged: list[MutableMapping[str, Any]]
) -> None:
    """The demo's inbox is the message; it is emptied before everything that is kept is read."""
    errand = await replacing(world)
    code = await reference(world)
    await stop(world, "BBBBB-BBBBB")
    snapshot = await errand.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    await finished(errand)
    assert await stop(world, code) is Stopped.CERTIFICATE
    await world.work()
    columns = "channel, customer, challenge, facts"
    shown = repr(snapshot) + repr(logged) + repr(await world.rows("SELECT * FROM leaves"))
    kept = repr([await world.rows(f"SELECT * FROM {table}") for table in ("stops", "work", "orders", "challenges")])
    others = [row for row in await world.rows(f"SELECT {columns} FROM inbox") if "replacing" not in row["facts"]]
    for spelling in (code, code.replace("-", ""), code.lower()):
        assert spelling not in shown + kept + repr(others)
    assert code.encode() in await everything(world), "the net catches it in the inbox"


async def test_another_key_makes_other_references(world: World) -> None:
    """Who has the database has no reference: it is made with a key that is not there."""
    errand = await replacing(world)
    (row,) = await world.rows("SELECT facts FROM work WHERE facts LIKE '%replacing%'")
    (stored,) = await world.rows("SELECT reference_hash FROM stops")
    stop_id = json.loads(row["facts"])["stop"]
    code = await reference(world)
    assert stored["reference_hash"] not in {
        world.services.identity.people.keyed("stop-code", f"{errand.id}:{stop_id}"),
        world.services.identity.people.keyed("stop-hash", code),
    }
    assert stored["reference_hash"] == world.services.identity.people.keyed("stop-hash", code.replace("-", ""))
