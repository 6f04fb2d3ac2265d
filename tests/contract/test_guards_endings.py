"""Second guards of endings: one order ends one certificate, and what was said of it first stands."""

import pytest

from chopmark.audit.events import Event
from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Operation, OrderState, Reason
from tests.contract.barrier import at_barrier
from tests.contract.world import ANN, BEN, World, outcome, refusal, world_fixture

world = world_fixture()


async def test_of_two_approved_revocations_of_a_certificate_one_is_done_and_the_other_ends_nothing(
    world: World,
) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    both = [await world.to_revoke(ANN, reason) for reason in (Reason.LOST, Reason.NO_LONGER_NEEDED)]
    for errand in both:
        await errand.send()
        await errand.answer(await errand.code())
        world.clock.later(seconds=61)
    first, second = both
    assert (await first.revoke()).state is OrderState.DONE
    assert (await second.stored()).state is OrderState.CODE_VERIFIED
    assert (await refusal(second.revoke())).kind is Kind.CONFLICT
    assert (await second.stored()).state is OrderState.CODE_VERIFIED
    certificate = await world.stored_certificate(serial)
    assert (certificate.state, certificate.reason) == (CertificateState.REVOKED, "lost")
    assert await world.ca_state(serial) == ("revoked", "key_compromise")
    assert len(await world.records(Event.RA_ORDER_DONE)) == 1
    assert await world.rows("SELECT used FROM counters WHERE name LIKE 'revoke:%'") == [{"used": 1}, {"used": 1}]


async def test_the_first_reason_for_which_a_key_was_blocked_stands(world: World) -> None:
    for customer in (ANN, BEN):
        await world.to_active(customer)
    key = world.held[ANN].certificate.spki_sha256
    await world.change("UPDATE keys SET blocked = 'compromised' WHERE spki_sha256 = :key", key=key)
    await world.revoked(ANN, Reason.LOST)
    await world.revoked(BEN, Reason.LOST)
    blocked = await world.rows("SELECT customer, blocked FROM keys ORDER BY customer")
    assert blocked == [{"customer": ANN, "blocked": "compromised"}, {"customer": BEN, "blocked": "lost"}]


async def test_the_first_reason_for_which_a_key_was_blocked_outlives_its_replacement_too(world: World) -> None:
    await world.to_active(ANN)
    key = world.held[ANN].certificate.spki_sha256
    errand = await world.to_review(ANN, Operation.REPLACE, reason=Reason.LOST)
    await world.change("UPDATE keys SET blocked = 'compromised' WHERE spki_sha256 = :key", key=key)
    assert (await errand.confirm()).state is OrderState.ISSUED
    blocked = await world.rows("SELECT blocked FROM keys WHERE spki_sha256 = :key", key=key)
    assert blocked == [{"blocked": "compromised"}]


@pytest.mark.parametrize(
    ("reason", "at_ca"),
    [
        (Reason.LOST, "key_compromise"),
        (Reason.COMPROMISED, "key_compromise"),
        (Reason.NO_LONGER_NEEDED, "cessation_of_operation"),
    ],
)
async def test_the_world_is_told_of_each_reason_what_it_means(world: World, reason: Reason, at_ca: str) -> None:
    await world.to_active(ANN)
    await world.revoked(ANN, reason)
    assert await world.ca_state(world.held[ANN].certificate.serial) == ("revoked", at_ca)


async def test_the_end_of_a_hold_before_the_certificate_was_proved_reaches_its_ca_too(world: World) -> None:
    errand = await world.to_issued(ANN)
    serial = (await world.certificate(errand)).serial
    await world.change("UPDATE holdings SET state = 'held', ended_at = issued_at, reason = 'stopped_by_contact'")
    await world.services.ca.issuer.hold(serial)
    released = await world.services.ra.suspension.release(serial, "alice", "bob")
    assert released.state is CertificateState.ISSUED
    assert await world.ca_state(serial) == ("issued", None)
    assert (await errand.prove()).state is OrderState.ACTIVE


@pytest.mark.parametrize(("operation", "reason"), [(Operation.REPLACE, Reason.LOST), (Operation.REKEY, None)])
async def test_what_its_holder_stops_while_the_ca_signs_comes_on_hold(
    world: World, operation: Operation, reason: Reason | None
) -> None:
    """What is replaced need not be in force any more, what is renewed is: neither ends the order here."""
    await world.to_active(ANN)
    world.clock.later(days=340)
    errand = await world.to_review(ANN, operation, reason=reason)
    other, turnstile = await at_barrier(errand)
    terms = await errand.terms()

    async def meanwhile() -> None:
        await world.change("UPDATE orders SET ended = 'stopped_by_contact' WHERE id = :id", id=errand.id)

    turnstile.before(Event.RA_ORDER_ISSUED, meanwhile)
    await outcome(other.services.ra.rekey.confirm(other.caller, other.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_ISSUED]
    await world.work()
    certificate = await world.certificate(errand)
    assert certificate.state is CertificateState.HELD
    assert (await world.ca_state(certificate.serial))[0] == "held"
    assert (await errand.stored()).ended == "stopped_by_contact"


async def test_a_key_that_is_blocked_while_the_ca_signs_is_not_free_because_another_is(world: World) -> None:
    await world.to_active(BEN)
    errand = await world.to_review(ANN)
    other, turnstile = await at_barrier(errand)
    terms = await errand.terms()

    async def meanwhile() -> None:
        key = (await errand.stored()).spki_sha256
        await world.change("UPDATE keys SET blocked = 'compromised' WHERE spki_sha256 = :key", key=key)

    turnstile.before(Event.RA_ORDER_ISSUED, meanwhile)
    await outcome(other.services.ra.rekey.confirm(other.caller, other.id, terms))
    assert turnstile.passed == [Event.RA_ORDER_ISSUED]
    await world.work()
    stored = await errand.stored()
    assert (stored.state, stored.ended) == (OrderState.REFUSED, "key_blocked")
    certificate = await world.certificate(errand)
    assert (await world.ca_state(certificate.serial))[0] == "revoked"
