"""A certificate of our own OCSP responder or time-stamp authority is revoked by two people, and a successor answers."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.audit.events import Event
from chopmark.ca.checker import Checker
from chopmark.cli import service_certificates
from chopmark.cli.service_certificates import service_revocation_of, services_of
from chopmark.core.refusal import Kind, Refused
from chopmark.store.repositories.ca.checking import CertificateRows
from chopmark.va.service_revocation import Service, ServiceKind
from tests.contract.issuers.stranger import openssl
from tests.contract.strangers import Openssl, pem
from tests.contract.test_status import asking
from tests.contract.world import ANN, World, world_fixture

world = world_fixture()
on_sqlite = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


async def service(world: World, kind: ServiceKind) -> Service:
    """The service that answers now; the time-stamp authority is founded where there is none."""
    keys = world.services.va.stamps.keys
    assert keys is not None
    await keys.renew_due()
    return next(one for one in await services_of(world.services) if one.kind is kind)


async def revoked(world: World, one: Service, reason: str = "key_compromise") -> bytes:
    made = await service_revocation_of(world.services).withdraw(one, reason, "alice", "bob")
    assert made is not None
    return made


@pytest.mark.parametrize("kind", ServiceKind)
async def test_a_revoked_certificate_is_on_the_list_of_its_issuer_and_the_next_one_has_another_key(
    world: World, kind: ServiceKind, tmp_path: Path
) -> None:
    await world.to_active(ANN)
    await world.once("publish")
    old = await service(world, kind)
    strangers = Openssl(world, tmp_path)
    named = kind is ServiceKind.TIMESTAMP  # a responder's certificate says no-check and names no list (RFC 6960)
    assert ("leaf.pem: OK" in await strangers.list(old.certificate)) is named
    world.clock.later(minutes=1)
    made = await revoked(world, old)
    assert await world.once("publish") == 1
    assert ("certificate revoked" in await strangers.list(old.certificate)) is named
    listed = await strangers.listed()
    number = f"{x509.load_der_x509_certificate(old.certificate).serial_number:X}"
    assert number in listed.replace(":", "")
    assert listed.count("Key Compromise") == 1
    assert ("leaf.pem: OK" in await strangers.list(made)) is named
    before, after = (x509.load_der_x509_certificate(der) for der in (old.certificate, made))
    assert after.subject == before.subject
    assert after.public_key() != before.public_key()
    assert [e.oid for e in after.extensions] == [e.oid for e in before.extensions]
    assert (await service(world, kind)).certificate == made
    assert await world.once("publish") == 0
    (record,) = await world.records(Event.CA_CERTIFICATE_REVOKED)
    assert all(f'"{word}"' in record["facts"] for word in ("alice", "bob", old.serial, "key_compromise"))
    assert (await world.audit()).findings == ()
    checker = Checker(world.services.ca.issuer.standard(), CertificateRows(world.services.foundation.engine), 0)
    assert (await checker.check(world.clock.now())).faults == ()


def signed_by(answer: bytes) -> bytes:
    """The responder's certificate in an answer that says good."""
    read = ocsp.load_der_ocsp_response(answer)
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    (certificate,) = read.certificates
    return certificate.public_bytes(Encoding.DER)


async def test_every_process_answers_ocsp_with_the_successor_within_a_minute_and_nothing_that_was_signed_before(
    world: World, tmp_path: Path
) -> None:
    await world.to_active(ANN)
    other = await world.node(2)
    old = await service(world, ServiceKind.RESPONDER)
    await world.once("presign")
    request = asking(world.services, world.held[ANN].certificate.der)
    before = [(await services.ca.responder.answer(request)).der for services in (world.services, other.services)]
    made = await revoked(world, old)
    assert await other.once("presign") == 0  # its responder does not know yet: nothing of it is kept
    world.clock.later(minutes=1)
    for services in (world.services, other.services):
        answer = await services.ca.responder.answer(request)
        assert answer.der not in before
        assert signed_by(answer.der) == made
    assert "leaf.pem: good" in await Openssl(world, tmp_path).ocsp(world.held[ANN].certificate.der)
    assert await other.once("presign") == 1
    restarted = await world.node(3)
    assert signed_by((await restarted.services.ca.responder.answer(request)).der) == made


async def test_tokens_are_the_successor_s_within_a_minute(world: World, tmp_path: Path) -> None:
    old = await service(world, ServiceKind.TIMESTAMP)
    question = openssl("ts", "-query", "-digest", "ab" * 32, "-sha256", "-cert", "-no_nonce")
    first = await world.timestamps.answer(question)
    made = await revoked(world, old)
    world.clock.later(minutes=1)
    second = await world.timestamps.answer(question)
    root = pem(tmp_path / "root.pem", world.services.ca.authority.chain[-1])
    (tmp_path / "q.tsq").write_bytes(question)
    for answer, signer in ((first, old.certificate), (second, made)):
        (tmp_path / "a.tsr").write_bytes(answer)
        at = str(int(world.clock.now().timestamp()))
        words = ("-queryfile", tmp_path / "q.tsq", "-in", tmp_path / "a.tsr", "-CAfile", root, "-attime", at)
        assert b"Verification: OK" in openssl("ts", "-verify", *words)
        assert signer in answer
    assert old.certificate not in second


async def test_two_who_revoke_the_same_certificate_leave_one_successor(world: World) -> None:
    other = await world.node(2)
    old = await service(world, ServiceKind.RESPONDER)
    doing = [
        service_revocation_of(services).withdraw(old, "superseded", "alice", "bob")
        for services in (world.services, other.services)
    ]
    made = [one for one in await asyncio.gather(*doing) if one is not None]
    assert len(made) == 1
    assert (await service(world, ServiceKind.RESPONDER)).certificate == made[0]
    assert await world.count("service_revocations") == 1
    assert len(await world.records(Event.CA_CERTIFICATE_REVOKED)) == 1


@on_sqlite
async def test_the_commands_list_revoke_and_refuse(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    settings = world.services.foundation.settings
    old = await service(world, ServiceKind.RESPONDER)
    await service_certificates.list_services(settings)
    told = capsys.readouterr().out
    assert f"{old.serial}  responder of investor  until " in told
    assert "  timestamp of investor  until " in told
    for serial, second, kind in ((old.serial, "Alice", Kind.FORBIDDEN), ("0A0B", "bob", Kind.NOT_FOUND)):
        with pytest.raises(Refused) as refused:
            await service_certificates.revoke_service(settings, serial, "superseded", "alice", second)
        assert refused.value.refusal.kind is kind
    assert await world.count("service_revocations") == 0
    written = ":".join(old.serial[at : at + 2] for at in range(0, len(old.serial), 2)).lower()
    assert await service_certificates.revoke_service(settings, written, "superseded", "alice", "bob") == 0
    assert f"{old.serial} is revoked and on the list of investor.\n" in capsys.readouterr().out
    crl = await world.services.va.status.crl(world.services.ca.authority.view.id, 0)
    assert crl is not None
    listed = [entry.serial_number for entry in x509.load_der_x509_crl(crl.der)]
    assert listed == [int(old.serial, 16)]
    with pytest.raises(Refused) as refused:
        await service_certificates.revoke_service(settings, old.serial, "superseded", "alice", "bob")
    assert refused.value.refusal.kind is Kind.CONFLICT
    await service_certificates.list_services(settings)
    told = capsys.readouterr().out
    assert f"{old.serial}  responder of investor  revoked on " in told
    assert told.count("responder of investor  until") == 1
