"""OCSP answers signed ahead: of every living certificate, at half life, and never against the record."""

from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from cryptography.x509 import ocsp

from chopmark.core.types import Reason
from chopmark.keys.ports import KeyAlgorithm, OnDevice, SignerUnavailable
from chopmark.store.repositories.va.presigned import Presigned
from chopmark.va import presigning
from chopmark.va.presigning import Presigner
from chopmark.va.responder import Responder, ResponderKey
from tests.contract.strangers import Openssl
from tests.contract.test_status import asking
from tests.contract.world import ANN, BEN, CEO, World, world_fixture

world = world_fixture()
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


class _Gone(OnDevice):
    """A device that was pulled out."""

    patience_s = 1.0

    def __init__(self, world: World) -> None:
        self.public_key_der = key_of(world).signer.public_key_der
        self.algorithm: KeyAlgorithm = key_of(world).signer.algorithm

    def ready(self) -> NoReturn:
        raise SignerUnavailable("gone", 5)

    def sign(self, data: bytes) -> NoReturn:
        raise SignerUnavailable("gone", 5)


def key_of(world: World) -> ResponderKey:
    return world.services.ca.responder.key


def without_key(world: World) -> Responder:
    """A fresh process whose key cannot be reached: nothing is in its memory."""
    key = key_of(world)
    gone = ResponderKey(key.issuer, key.certificate_der, _Gone(world), key.not_after)
    return Responder(gone, world.services.va.status, world.clock)


async def said(world: World, customer: str, *, sha256: bool = True) -> ocsp.OCSPResponse:
    request = asking(world.services, world.held[customer].certificate.der, sha256=sha256)
    return ocsp.load_der_ocsp_response((await without_key(world).answer(request)).der)


async def test_f18_a_certificate_that_nobody_asked_about_has_an_answer_when_the_key_is_gone(
    world: World, tmp_path: Path
) -> None:
    await world.to_active(ANN)
    assert (await said(world, ANN)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert await world.once("presign") == 1
    for sha256 in (True, False):
        answer = await said(world, ANN, sha256=sha256)
        assert answer.certificate_status is GOOD
        assert answer.next_update_utc == world.clock.at + timedelta(hours=24)
    assert "leaf.pem: good" in await Openssl(world, tmp_path).ocsp(world.held[ANN].certificate.der)


async def test_i25_an_answer_signed_before_a_revocation_is_never_given_after_it(world: World) -> None:
    await world.to_active(ANN)
    await world.once("presign")
    await world.revoked(ANN, Reason.COMPROMISED)
    assert (await said(world, ANN)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert await world.once("presign") == 1
    assert (await said(world, ANN)).certificate_status is REVOKED


async def test_i25_an_answer_signed_while_the_certificate_was_revoked_is_not_kept(world: World) -> None:
    await world.to_active(ANN)
    services = world.services
    await world.to_active(BEN)
    issuer = services.ca.authority.view.id
    signed = [
        await services.ca.present.presigner.sign(due)
        for due in await services.va.status.due(issuer, world.clock.at, 10)
    ]
    made = [one for one in signed if one is not None]
    await world.revoked(ANN)
    assert (len(made), await Presigned(services.foundation.engine).keep_all(issuer, made)) == (2, 1)
    kept = await world.rows("SELECT DISTINCT serial FROM answers")
    assert [row["serial"] for row in kept] == [world.held[BEN].certificate.serial]
    assert await world.once("presign") == 1
    assert (await said(world, ANN)).certificate_status is REVOKED


async def test_i26_answers_are_signed_again_at_half_their_life_and_not_before(world: World) -> None:
    await world.to_active(ANN)
    assert await world.once("presign") == 1
    world.clock.later(hours=11, minutes=59)
    assert await world.once("presign") == 0
    world.clock.later(minutes=1)
    assert await world.once("presign") == 1
    assert (await said(world, ANN)).next_update_utc == world.clock.at + timedelta(hours=24)


class _Failing(OnDevice):
    """A device that signs so often and is then pulled out."""

    patience_s = 1.0

    def __init__(self, world: World, signatures: int) -> None:
        self.real = key_of(world).signer
        self.public_key_der = self.real.public_key_der
        self.algorithm: KeyAlgorithm = self.real.algorithm
        self.left = signatures

    def ready(self) -> None:
        """It always says so."""

    def sign(self, data: bytes) -> bytes:
        if not self.left:
            raise SignerUnavailable("gone", 5)
        self.left -= 1
        return self.real.sign(data)


async def test_f18_what_was_signed_before_the_device_was_pulled_out_is_kept(world: World) -> None:
    for customer in (ANN, BEN):
        await world.to_active(customer)
    services, key = world.services, key_of(world)
    failing = ResponderKey(key.issuer, key.certificate_der, _Failing(world, 3), key.not_after)
    responder = Responder(failing, services.va.status, world.clock)
    presigner = Presigner(
        services.ca.authority.view, responder, services.va.status, Presigned(services.foundation.engine), world.clock
    )
    with pytest.raises(SignerUnavailable):
        await presigner.sign_due()
    assert await world.count("answers") == 2
    assert len(await services.va.status.due(services.ca.authority.view.id, world.clock.at, 10)) == 1


async def test_a_hold_and_its_release_are_signed_ahead_too(world: World) -> None:
    await world.to_active(ANN)
    serial = world.held[ANN].certificate.serial
    await world.once("presign")
    await world.services.ra.suspension.hold(serial, "alice", "bob")
    assert await world.once("presign") == 1
    assert (await said(world, ANN)).certificate_status is REVOKED
    await world.services.ra.suspension.release(serial, "alice", "bob")
    assert (await said(world, ANN)).response_status is ocsp.OCSPResponseStatus.TRY_LATER
    assert await world.once("presign") == 1
    assert (await said(world, ANN)).certificate_status is GOOD


async def test_a_turn_of_the_job_is_bounded_and_the_longest_waiting_come_first(world: World) -> None:
    for customer in (ANN, BEN, CEO):
        await world.to_active(customer)
    services = world.services
    issuer = services.ca.authority.view.id
    assert len(await services.va.status.due(issuer, world.clock.at, 2)) == 2
    assert await world.once("presign") == 3
    assert presigning.BATCH == 100
    await world.revoked(BEN)
    world.clock.later(hours=13)
    first = (await services.va.status.due(issuer, world.clock.at, 1))[0]
    assert first.serial == world.held[BEN].certificate.serial


async def test_an_expired_certificate_is_not_signed_for_any_more(world: World) -> None:
    await world.to_active(ANN)
    await world.once("presign")
    world.clock.at = world.held[ANN].certificate.not_after + timedelta(seconds=1)
    assert await world.once("presign") == 0
    assert await world.services.va.status.oldest_due(world.services.ca.authority.view.id) is None


async def test_a_responder_that_has_ended_signs_nothing_ahead(world: World) -> None:
    await world.to_active(ANN)
    world.clock.at = key_of(world).not_after
    view = world.services.ca.authority.view
    await world.change("UPDATE certificates SET not_after = :later", later=2**50)
    ended = Presigner(
        view,
        world.services.ca.responder,
        world.services.va.status,
        Presigned(world.services.foundation.engine),
        world.clock,
    )
    assert await ended.sign_due() == 0
    assert await world.count("answers") == 0
