"""What an order's records say: each step, in its order, with what somebody who asks years later has to know.

A step without its record, or with a fact that is wrong, leads to the same certificate. Nobody would see it but those
who read the records, among them the CA.
"""

import json
from typing import Any

from chopmark.audit.events import Event
from chopmark.audit.record import order_stream
from chopmark.core.types import Operation, OrderState
from tests.contract.world import ANN, BEN, LOGIN, RECORDS, Errand, World, world_fixture

world = world_fixture()


async def records(errand: Errand) -> list[tuple[str, dict[str, Any]]]:
    """The events of an order's own chain with their facts, from the first one on."""
    rows = await errand.world.rows(RECORDS, chain=order_stream(errand.id))
    return [(row["event"], json.loads(row["facts"])) for row in rows]


def the(told: list[tuple[str, dict[str, Any]]], event: Event) -> dict[str, Any]:
    """The facts of an event that is recorded once."""
    (facts,) = [facts for name, facts in told if name == event]
    return facts


def among(facts: dict[str, Any], **wanted: object) -> None:
    assert {name: facts.get(name) for name in wanted} == wanted


STEPS = [
    Event.RA_ORDER_OPENED,
    Event.RA_KEY_BOUND,
    Event.RA_CHALLENGE_OPENED,
    Event.RA_CODE_CHARGED,
    Event.RA_CODE_RIGHT,
]
ISSUED = [
    Event.RA_ORDER_SUBMITTED,
    Event.CA_CERTIFICATE_RESERVED,
    Event.CA_CERTIFICATE_ISSUED,
    Event.RA_ORDER_ISSUED,
    Event.RA_NONCE_ISSUED,
    Event.RA_CERTIFICATE_ACTIVATED,
]


async def test_the_records_of_an_enrolment_and_of_its_renewal_say_who_which_key_and_by_what(world: World) -> None:
    errand = await world.to_active(ANN)
    first = world.held[ANN].certificate
    told = await records(errand)
    assert [event for event, _ in told] == [*STEPS, Event.RA_BIRTH_DATE_RIGHT, *ISSUED]
    challenge = (await errand.challenge()).id
    terms = (await errand.stored()).consent
    whose: dict[str, object] = {"customer": ANN, "account": "F014000-0000001"}
    among(the(told, Event.RA_ORDER_OPENED), **whose, operation="enrol", old_serial=None)
    among(
        the(told, Event.RA_KEY_BOUND),
        spki_sha256=first.spki_sha256,
        old_serial=None,
        evidence="login",
        login=LOGIN,
        factor="password",
        door="test",
    )
    for event in STEPS[2:]:
        among(the(told, event), challenge=challenge, channel="mobile", login=LOGIN)
    among(the(told, Event.RA_BIRTH_DATE_RIGHT), login=LOGIN)
    among(
        the(told, Event.RA_ORDER_SUBMITTED),
        **whose,
        operation="enrol",
        profile="investor",
        spki_sha256=first.spki_sha256,
        old_serial=None,
        challenge=challenge,
        slip=None,
        login=LOGIN,
        factor="password",
        channel="mobile",
        terms=terms,
        home="file",
    )
    for event in (one for one in ISSUED[1:] if one is not Event.RA_NONCE_ISSUED):
        among(the(told, event), serial=first.serial)
    among(the(told, Event.RA_CERTIFICATE_ACTIVATED), old_serial=None, installed="opened", door="test")

    world.clock.later(days=340)
    renewal = await world.to_active(ANN, Operation.REKEY)
    second = world.held[ANN].certificate
    told = await records(renewal)
    among(the(told, Event.RA_ORDER_OPENED), **whose, operation="rekey", old_serial=first.serial)
    among(
        the(told, Event.RA_KEY_BOUND),
        spki_sha256=second.spki_sha256,
        old_serial=first.serial,
        evidence="old_key",
    )
    among(the(told, Event.RA_ORDER_SUBMITTED), operation="rekey", old_serial=first.serial)
    among(the(told, Event.RA_CERTIFICATE_ACTIVATED), serial=second.serial, old_serial=first.serial)


async def test_a_step_that_is_repeated_is_recorded_once(world: World) -> None:
    errand = await world.to_issued(ANN)
    terms = (await errand.stored()).consent
    assert terms is not None
    await errand.prove()
    before = await records(errand)
    again = await errand.services.ra.rekey.confirm(errand.caller, errand.id, terms)
    proved = await errand.services.ra.rekey.prove(errand.caller, errand.id, b"whatever is sent now")
    assert (again.order.state, proved.order.state) == (OrderState.ACTIVE, OrderState.ACTIVE)
    assert await records(errand) == before


async def test_the_end_of_an_order_is_recorded_whoever_ends_it(world: World) -> None:
    cancelled, expired = await world.to_code(ANN), await world.to_key(BEN)
    await cancelled.services.ra.enrolment.cancel(cancelled.caller, cancelled.id)
    assert [event for event, _ in await records(cancelled)] == [*STEPS, Event.RA_ORDER_CANCELLED]
    world.clock.later(days=2)
    await world.once("overdue")
    assert await expired.state() is OrderState.EXPIRED
    assert [event for event, _ in await records(expired)][-1] == Event.RA_ORDER_EXPIRED
