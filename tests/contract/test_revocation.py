"""Revocation: it blocks the key where the key is the reason, it has quotas, and nothing in flight undoes it."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.core.refusal import Kind
from chopmark.core.types import CertificateState, Operation, OrderState, Reason, Serial
from chopmark.keys.ports import KeyAlgorithm, OnDevice, Signer
from tests.contract.world import ANN, BEN, Errand, World, outcome, refusal, world_fixture

world = world_fixture()


@dataclass
class Gate(OnDevice):
    """A signer that waits, at its next signature, until the test lets it go on."""

    signer: Signer
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)
    patience_s: float = 60.0

    @property
    def public_key_der(self) -> bytes:
        return self.signer.public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        return self.signer.algorithm

    def ready(self) -> None:
        return

    def sign(self, data: bytes) -> bytes:
        self.reached.set()
        assert self.opened.wait(60)
        return self.signer.sign(data)


async def status(world: World, der: bytes) -> ocsp.OCSPCertStatus:
    issuer = x509.load_der_x509_certificate(world.services.ca.authority.view.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate(x509.load_der_x509_certificate(der), issuer, hashes.SHA256())
    answer = await world.services.ca.responder.answer(builder.build().public_bytes(Encoding.DER))
    return ocsp.load_der_ocsp_response(answer.der).certificate_status


async def renewal(world: World) -> Errand:
    await world.to_active()
    world.clock.later(days=340)
    return await world.to_review(ANN, Operation.REKEY)


@pytest.mark.parametrize("reason", [Reason.COMPROMISED, Reason.NO_LONGER_NEEDED])
async def test_f22_i25_a_revocation_while_the_ca_signs_the_renewal_leaves_neither_certificate_good(
    world: World, reason: Reason
) -> None:
    errand = await renewal(world)
    old = world.held[ANN].certificate
    gate = Gate(world.services.ca.authority.signer)
    other = world.with_issuer(world.issuer(gate))
    in_flight = asyncio.create_task(other.services.ra.rekey.confirm(errand.caller, errand.id, await errand.terms()))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    await world.revoked(ANN, reason)
    assert await status(world, old.der) is ocsp.OCSPCertStatus.REVOKED
    gate.opened.set()
    order = (await in_flight).order
    assert order.state is OrderState.REFUSED
    await world.work()
    assert order.serial is not None
    made = await world.stored_certificate(order.serial)
    assert made.state is CertificateState.REVOKED
    for der in (old.der, made.der):
        assert await status(world, der) is ocsp.OCSPCertStatus.REVOKED
    assert await world.count("holdings", "state = 'active'") == 0
    assert (await world.audit()).findings == ()


async def test_f22_a_revocation_after_the_renewal_was_issued_ends_the_renewal_too(world: World) -> None:
    errand = await renewal(world)
    order = await errand.confirm()
    proof = await errand.install_proof()
    await world.revoked(ANN, Reason.COMPROMISED)
    assert await errand.state() is OrderState.CANCELLED
    await world.work()
    assert order.serial is not None
    assert await world.ca_state(order.serial) == ("revoked", "cessation_of_operation")
    assert (await refusal(world.services.ra.rekey.prove(errand.caller, errand.id, proof))).kind is Kind.CONFLICT


async def test_f22_a_proof_and_a_revocation_at_once_never_leave_a_successor_of_a_revoked_certificate(
    world: World,
) -> None:
    errand = await renewal(world)
    await errand.confirm()
    proof = await errand.install_proof()
    old = world.held[ANN].certificate.serial
    ending = await world.to_revoke(ANN, Reason.COMPROMISED)
    await ending.send()
    await ending.answer(await ending.code())
    second = await world.node(2)
    await asyncio.gather(
        outcome(world.services.ra.rekey.prove(errand.caller, errand.id, proof)),
        outcome(second.services.ra.revocation.confirm(ending.caller, ending.id, await ending.terms())),
    )
    await world.work()
    before, new = await world.stored_certificate(old), await world.certificate(errand)
    ended = await world.ca_state(old), await world.ca_state(new.serial)
    assert ended[0][0] == "revoked"
    if before.state is CertificateState.SUPERSEDED:
        assert (new.state, ended[1][0]) == (CertificateState.ACTIVE, "issued")
    else:
        assert (before.state, new.state) == (CertificateState.REVOKED, CertificateState.REVOKED)
        assert ended[1][0] == "revoked"


async def blocked(world: World, serial: Serial) -> str | None:
    (row,) = await world.rows(
        "SELECT k.blocked FROM keys k JOIN holdings h ON h.spki_sha256 = k.spki_sha256 WHERE h.serial = :serial",
        serial=serial,
    )
    why: str | None = row["blocked"]
    return why


@pytest.mark.parametrize("reason", [Reason.COMPROMISED, Reason.LOST])
async def test_f40_a_key_reported_as_lost_or_compromised_is_blocked_and_enrols_no_more(
    world: World, reason: Reason
) -> None:
    await world.to_active()
    key, old = world.held[ANN].key, world.held[ANN].certificate
    await world.revoked(ANN, reason)
    assert await blocked(world, old.serial) == reason.value
    assert await world.ca_state(old.serial) == ("revoked", "key_compromise")
    for customer in (ANN, BEN):
        errand = await world.open(customer)
        refused = await refusal(errand.bind(key))
        assert (refused.kind, refused.code) == (Kind.BAD_KEY, "key_used")


@pytest.mark.parametrize("reason", [Reason.COMPROMISED, Reason.LOST])
async def test_f40_a_key_replaced_as_lost_or_compromised_is_blocked_too(world: World, reason: Reason) -> None:
    await world.to_active()
    old = world.held[ANN].certificate
    await world.to_active(ANN, Operation.REPLACE, reason=reason)
    await world.work()
    assert await blocked(world, old.serial) == reason.value
    assert await blocked(world, world.held[ANN].certificate.serial) is None
    assert (await world.ca_state(old.serial))[0] == "revoked"


async def test_a_certificate_that_is_not_needed_any_more_blocks_no_key(world: World) -> None:
    await world.to_active()
    await world.revoked(ANN, Reason.NO_LONGER_NEEDED)
    assert await blocked(world, world.held[ANN].certificate.serial) is None


async def test_five_revocations_a_day_are_the_most_and_the_sixth_changes_nothing(world: World) -> None:
    """The first code of the day was sent six hours before the first revocation, so that codes are not what runs out."""
    await world.to_active()
    world.clock.later(hours=6)
    await world.revoked()
    for _ in range(4):
        world.clock.later(minutes=70)
        await world.to_active()
        await world.revoked()
    world.clock.later(hours=14)
    await world.to_active()
    refused = await refusal(world.revoked())
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "revocations")
    assert (await world.stored_certificate(world.held[ANN].certificate.serial)).state is CertificateState.ACTIVE
    assert await world.count("holdings", "state = 'revoked'") == 5
    world.clock.later(hours=6)
    await world.revoked()
    assert await world.count("holdings", "state = 'revoked'") == 6


async def test_twenty_revocations_a_year_are_the_most(world: World) -> None:
    for _ in range(20):
        await world.to_active()
        await world.revoked()
        world.clock.later(days=1, minutes=1)
    await world.to_active()
    refused = await refusal(world.revoked())
    assert (refused.kind, refused.code) == (Kind.TOO_MANY, "revocations")
    assert await world.count("holdings", "state = 'revoked'") == 20


async def test_i25_the_first_reason_and_moment_of_a_revocation_stand(world: World) -> None:
    await world.to_active()
    serial = world.held[ANN].certificate.serial
    await world.revoked(ANN, Reason.NO_LONGER_NEEDED)
    before = await world.rows("SELECT * FROM certificates WHERE serial = :serial", serial=serial)
    world.clock.later(hours=1)
    await world.services.ca.issuer.revoke(serial, "key_compromise")
    assert await world.rows("SELECT * FROM certificates WHERE serial = :serial", serial=serial) == before
