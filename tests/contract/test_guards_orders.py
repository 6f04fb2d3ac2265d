"""Second guards of orders, proofs and endings: each stands behind another check that would hide it."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from chopmark.client.signing import ClientKey
from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import CertificateState, CustomerId, Operation, OrderState, Reason, Serial
from chopmark.pki import proof
from chopmark.pki.proof import Statement
from tests.contract.world import ANN, BEN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()


async def replacement(world: World, reason: Reason) -> tuple[Serial, Errand]:
    """A certificate that is there, and its replacement with a code on its way."""
    await world.to_active()
    return world.held[ANN].certificate.serial, await world.to_sent(ANN, Operation.REPLACE, reason=reason)


@pytest.mark.parametrize("reason", [Reason.LOST, Reason.COMPROMISED])
async def test_what_is_lost_or_compromised_is_held_here_and_at_the_ca_with_the_right_code(
    world: World, reason: Reason
) -> None:
    old, errand = await replacement(world, reason)
    await refusal(errand.answer(await errand.wrong_code()))
    assert (await world.stored_certificate(old)).state is CertificateState.ACTIVE
    await errand.answer(await errand.code())
    assert (await world.stored_certificate(old)).state is CertificateState.HELD
    await world.work()
    assert await world.ca_state(old) == ("held", "certificate_hold")


@pytest.mark.parametrize("reason", [Reason.NEW_DEVICE, Reason.REPLACE])
async def test_what_is_only_replaced_is_held_nowhere(world: World, reason: Reason) -> None:
    old, errand = await replacement(world, reason)
    await errand.answer(await errand.code())
    await world.work()
    assert (await world.stored_certificate(old)).state is CertificateState.ACTIVE
    assert await world.ca_state(old) == ("issued", None)


async def test_the_code_of_a_revocation_holds_nothing_before_it_is_confirmed(world: World) -> None:
    await world.to_active()
    errand = await world.to_revoke(ANN, Reason.LOST)
    await errand.send()
    await errand.answer(await errand.code())
    await world.work()
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE


async def test_a_code_for_what_is_lost_does_not_make_a_hold_out_of_a_revocation(world: World) -> None:
    old, errand = await replacement(world, Reason.LOST)
    world.clock.later(minutes=2)
    await world.revoked(ANN, Reason.NO_LONGER_NEEDED)
    world.clock.later(seconds=1)
    await outcome(errand.answer(await errand.code()))
    await world.work()
    assert (await world.stored_certificate(old)).state is CertificateState.REVOKED
    assert await world.ca_state(old) == ("revoked", "cessation_of_operation")


TABLES = ("orders", "challenges", "holdings", "failures", "contacts", "accounts", "keys", "sessions", "work")


async def rows_of(world: World, customer: str) -> dict[str, list[dict[str, object]]]:
    """Every row that is a customer's, and the certificates of its orders."""
    found = {
        name: await world.rows(f"SELECT * FROM {name} WHERE customer = :c ORDER BY 1, 2", c=customer) for name in TABLES
    }
    mine = "SELECT * FROM certificates WHERE order_id IN (SELECT id FROM orders WHERE customer = :c) ORDER BY serial"
    return {**found, "certificates": await world.rows(mine, c=customer)}


async def test_no_step_of_one_customer_touches_a_row_of_another_who_stands_at_the_same_step(world: World) -> None:
    walked = {customer: await world.open(customer) for customer in (ANN, BEN)}

    async def both(step: Callable[[Errand], Awaitable[object]]) -> None:
        for customer, other in ((ANN, BEN), (BEN, ANN)):
            before = await rows_of(world, other)
            made = await outcome(step(walked[customer]))
            assert await rows_of(world, other) == before
            assert not isinstance(made, Refusal) or made.kind is Kind.WRONG_CODE
        world.clock.later(minutes=1)

    async def wrong(errand: Errand) -> object:
        return await errand.answer(await errand.wrong_code())

    async def right(errand: Errand) -> object:
        return await errand.answer(await errand.code())

    async def rebind(errand: Errand) -> object:
        return await errand.bind(ClientKey.generate())

    async def for_revocation(errand: Errand) -> object:
        customer = errand.caller.customer
        walked[customer] = await world.to_revoke(customer, Reason.COMPROMISED)
        return None

    async def again(errand: Errand) -> object:
        customer = errand.caller.customer
        walked[customer] = await world.open(customer)
        return None

    async def cancel(errand: Errand) -> object:
        return await world.services.ra.enrolment.cancel(errand.caller, errand.id)

    way = (Errand.bind, Errand.send, wrong, rebind, Errand.send, right, Errand.birth_date, Errand.confirm, Errand.prove)
    for step in (*way, for_revocation, Errand.send, right, Errand.revoke, again, Errand.bind, cancel):
        await both(step)
    for customer in (ANN, BEN):
        assert await world.count("holdings", "customer = :c AND state = 'revoked'", c=customer) == 1


async def test_another_customers_lost_certificate_holds_nobody_elses(world: World) -> None:
    await world.to_active(BEN)
    _, errand = await replacement(world, Reason.LOST)
    await errand.answer(await errand.code())
    await world.work()
    assert (await world.stored_certificate(world.held[BEN].certificate.serial)).state is CertificateState.ACTIVE


@pytest.mark.parametrize("state", ["revoked", "superseded", "held"])
async def test_a_certificate_that_was_ended_before_its_proof_never_becomes_active(world: World, state: str) -> None:
    """Whatever has ended it: its order still waits for the proof."""
    errand = await world.to_issued()
    serial = (await world.certificate(errand)).serial
    evidence = await errand.install_proof()
    await world.change("UPDATE holdings SET state = :state WHERE serial = :serial", state=state, serial=serial)
    made = await outcome(world.services.ra.rekey.prove(errand.caller, errand.id, evidence))
    assert isinstance(made, Refusal)
    assert (await world.stored_certificate(serial)).state is CertificateState(state)
    assert await errand.state() is OrderState.ISSUED


def stating(errand: Errand, nonce: bytes, certificate: bytes, purpose: str, spki: bytes) -> Statement:
    """What the key of a certificate is to say for an order; `certificate` is the one that is named."""
    return Statement(
        label=proof.LABEL,
        portal=errand.services.foundation.portal,
        order=errand.id,
        nonce=nonce,
        new_spki_sha256=spki,
        certificate_sha256=hashlib.sha256(certificate).digest(),
        purpose=purpose,
        time=errand.world.clock.now(),
    )


async def test_a_renewal_whose_signed_statement_names_another_certificate_is_refused(world: World) -> None:
    """Signed by the right key, in a message that names the right certificate."""
    await world.to_active(BEN)
    await world.to_active(ANN)
    world.clock.later(days=340)
    errand = await world.open(ANN, Operation.REKEY)
    mine, other = world.held[ANN], world.held[BEN].certificate.der
    for named, right in ((other, False), (mine.certificate.der, True)):
        statement = stating(errand, await errand.nonce(), named, "rekey", errand.key.spki_sha256)
        signed = proof.build(statement, mine.key.private_key, mine.certificate.der)
        made = await outcome(world.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), signed))
        assert isinstance(made, Refusal) is not right
        if isinstance(made, Refusal):
            assert (made.kind, made.code) == (Kind.BAD_PROOF, "certificate")


async def test_an_installation_whose_signed_statement_names_another_certificate_is_refused(world: World) -> None:
    await world.to_active(BEN)
    errand = await world.to_issued(ANN)
    certificate, other = await world.certificate(errand), world.held[BEN].certificate.der
    spki = bytes.fromhex(certificate.spki_sha256)
    statement = stating(errand, await errand.nonce(), other, "install", spki)
    signed = proof.build(statement, errand.key.private_key, certificate.der)
    refused = await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, signed))
    assert (refused.kind, refused.code) == (Kind.BAD_PROOF, "certificate")
    assert await errand.state() is OrderState.ISSUED


async def coded_revocation(world: World) -> Errand:
    await world.to_active()
    errand = await world.to_revoke()
    await errand.send()
    await errand.answer(await errand.code())
    return errand


async def test_a_revocation_is_confirmed_by_its_own_terms_only(world: World) -> None:
    errand = await coded_revocation(world)
    terms = await errand.terms()
    other = await (await world.to_review(BEN)).terms()
    assert other != terms
    for wrong in ("", other, terms.upper(), terms[:-1]):
        refused = await refusal(world.services.ra.revocation.confirm(errand.caller, errand.id, wrong))
        assert (refused.kind, refused.field) == (Kind.CONFLICT, "consent")
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE
    assert (await world.services.ra.revocation.confirm(errand.caller, errand.id, terms)).state is OrderState.DONE


async def test_the_end_of_another_certificate_ends_no_renewal(world: World) -> None:
    await world.to_active(BEN)
    await world.to_active(ANN)
    world.clock.later(days=340)
    errand = await world.to_review(ANN, Operation.REKEY)
    await world.services.ra.revocation.end_renewals(CustomerId(ANN), world.held[BEN].certificate.serial)
    await world.services.ra.revocation.end_renewals(CustomerId(BEN), world.held[ANN].certificate.serial)
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_the_end_of_a_certificate_ends_no_replacement_of_it(world: World) -> None:
    await world.to_active()
    errand = await world.to_review(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE)
    await world.services.ra.revocation.end_renewals(CustomerId(ANN), world.held[ANN].certificate.serial)
    assert await errand.state() is OrderState.BIRTH_DATE_VERIFIED


@pytest.mark.parametrize(("days", "revoked"), [(40, False), (335, False), (364, False), (365, True)])
async def test_twenty_revocations_count_for_a_year(world: World, days: int, revoked: bool) -> None:
    """Nightly clean-ups lie in between, which forget what has no more to say."""
    await world.change(
        "INSERT INTO counters (name, window_start, used) VALUES (:name, :now, 20)",
        name=f"revoke:{ANN}:1y",
        now=int(world.clock.at.timestamp() * 1000),
    )
    world.clock.later(days=days)
    while await world.once("clean-up"):
        pass
    errand = await coded_revocation(world)
    made = await outcome(errand.revoke())
    assert isinstance(made, Refusal) is not revoked
    if isinstance(made, Refusal):
        assert (made.kind, made.code) == (Kind.TOO_MANY, "revocations")
        assert made.retry_after_s == timedelta(days=365 - days).total_seconds()
    assert await world.count("holdings", "state = 'revoked'") == int(revoked)
