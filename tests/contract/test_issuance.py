"""The CA under the order: serials before signatures, crashes at each step, and what strangers' tools say of it."""

import asyncio
import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp

from chopmark.audit.events import Event
from chopmark.audit.record import order_stream
from chopmark.ca.ports import Certified, IssuanceRequest, Pending
from chopmark.core.types import OrderId, OrderState, Reason, Serial
from chopmark.keys.ports import KeyAlgorithm, Signer
from chopmark.pki import signing
from chopmark.pki.draft import SERIAL_RANDOM_BYTES
from chopmark.store.repositories.ca.certificates import CertificateRepository
from tests.approved import on_record
from tests.contract.world import ANN, BEN, CEO, World, world_fixture
from tests.machine import program

world = world_fixture()


class Died(Exception):
    """The process is gone in the middle of its work."""


@dataclass
class CountingSigner:
    """The CA's signer; counts its signatures, and dies before or after one when told to."""

    inner: Signer
    signatures: int = 0
    dies: str = ""
    tbs: list[bytes] = field(default_factory=list)

    @property
    def public_key_der(self) -> bytes:
        return self.inner.public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        return self.inner.algorithm

    def sign(self, data: bytes) -> bytes:
        if self.dies == "before":
            raise Died
        self.signatures += 1
        self.tbs.append(data)
        signature = self.inner.sign(data)
        if self.dies == "after":
            raise Died
        return signature


async def status(world: World, serial: Serial) -> ocsp.OCSPResponse:
    """What the responder says of a serial."""
    authority = world.services.ca.authority.view
    issuer = x509.load_der_x509_certificate(authority.certificate_der)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        hashlib.sha1(issuer.subject.public_bytes()).digest(),
        x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest,
        int(serial, 16),
        hashes.SHA1(),
    )
    answer = await world.services.ca.responder.answer(builder.build().public_bytes(serialization.Encoding.DER))
    return ocsp.load_der_ocsp_response(answer.der)


async def said(world: World, serial: Serial) -> str:
    return (await status(world, serial)).certificate_status.name.lower()


@pytest.mark.parametrize("dies", ["before", "after"])
async def test_i1_i4_a_crash_around_the_signature_orphans_the_serial_and_the_order_gets_another(
    world: World, dies: str
) -> None:
    errand = await world.to_review()
    terms = await errand.terms()
    signer = CountingSigner(world.services.ca.authority.signer, dies=dies)
    dying = world.with_issuer(world.issuer(signer)).services
    with pytest.raises(Died):
        await dying.ra.rekey.confirm(errand.caller, errand.id, terms)
    assert await errand.state() is OrderState.SUBMITTED
    (lost,) = await world.rows("SELECT serial, state FROM certificates")
    assert lost["state"] == "reserved"
    assert await said(world, lost["serial"]) == "unknown"
    world.clock.later(seconds=20)
    await world.once("resume")
    assert await errand.state() is OrderState.SUBMITTED  # twenty seconds are not over yet
    world.clock.later(milliseconds=1)
    await world.once("resume")
    order = await errand.order()
    assert order.state is OrderState.ISSUED
    assert order.serial != lost["serial"]
    assert order.serial is not None
    assert await world.ca_state(lost["serial"]) == ("orphaned", "unspecified")
    assert await said(world, lost["serial"]) == "revoked"
    assert await said(world, order.serial) == "good"
    assert (await errand.prove()).state is OrderState.ACTIVE
    assert len(await world.records(Event.CA_CERTIFICATE_ORPHANED)) == 1
    assert signer.signatures <= 1


async def test_i1_what_is_signed_was_reserved_byte_for_byte_before(world: World) -> None:
    signer = CountingSigner(world.services.ca.authority.signer)
    counted = world.with_issuer(world.issuer(signer))
    for customer in (ANN, BEN, CEO):
        await counted.to_active(customer)
    reserved = await world.rows("SELECT tbs FROM certificates")
    assert signer.signatures == len(reserved) == 3
    assert {bytes(row["tbs"]) for row in reserved} == set(signer.tbs)


async def test_i4_a_certificate_recorded_but_not_handed_over_is_handed_over_later(world: World) -> None:
    """The crash lies between the CA's record and the order's: the same certificate, no second signature."""
    errand = await world.to_review()
    signer = CountingSigner(world.services.ca.authority.signer)
    await errand.submit()
    issuer = world.issuer(signer)
    issuance = await errand.issuance()
    made = await issuer.issue(issuance)
    assert (await issuer.issue(issuance)) == made
    world.clock.later(seconds=21)
    await world.once("resume")
    assert await errand.state() is OrderState.ISSUED
    assert await world.count("certificates") == 1
    assert signer.signatures == 1


async def test_i3_serials_are_distinct_and_begin_with_their_nodes_number(world: World) -> None:
    other = await world.node(77)
    first, second = await world.to_issued(ANN), await other.to_issued(BEN)
    serials = [int((await world.certificate(errand)).serial, 16) for errand in (first, second)]
    assert len(set(serials)) == 2
    assert [serial >> 136 for serial in serials] == [1, 77]


async def test_i27_a_serial_never_reserved_is_unknown(world: World) -> None:
    assert await said(world, Serial("01" + "AB" * 17)) == "unknown"


async def test_i25_good_begins_with_issued_and_ends_with_revoked(world: World) -> None:
    errand = await world.to_issued()
    serial = (await world.certificate(errand)).serial
    assert await said(world, serial) == "good"
    await errand.prove()
    assert await said(world, serial) == "good"
    await world.revoked(ANN, Reason.LOST)
    answer = await status(world, serial)
    assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise


async def test_i4_a_late_signature_of_an_orphaned_serial_is_not_recorded(world: World) -> None:
    errand = await world.to_review()
    dying = world.with_issuer(world.issuer(CountingSigner(world.services.ca.authority.signer, dies="after"))).services
    with pytest.raises(Died):
        await dying.ra.rekey.confirm(errand.caller, errand.id, await errand.terms())
    (lost,) = await world.rows("SELECT serial FROM certificates")
    world.clock.later(seconds=21)
    await world.once("resume")
    (record,) = await world.records(Event.CA_CERTIFICATE_ORPHANED)
    stale = CertificateRepository(world.services.foundation.engine)
    assert record["chain"] == errand.id

    async def late(builder):
        made = builder.record(Event.CA_CERTIFICATE_ISSUED, serial=lost["serial"])
        return await stale.record(lost["serial"], b"late", world.clock.now(), made)

    assert not await world.services.foundation.audit_log.write(order_stream(errand.id), late)
    assert await said(world, lost["serial"]) == "revoked"


# strangers judge ----------------------------------------------------------------------------------------------------


def pem(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM)


async def crl_der(world: World) -> tuple[int, bytes]:
    (row,) = await world.rows("SELECT number, der FROM crls WHERE issuer = 'investor' AND shard = 0")
    return row["number"], bytes(row["der"])


async def test_i26_openssl_finds_the_certificate_good_and_after_its_revocation_revoked(
    world: World, tmp_path: Path
) -> None:
    openssl = str(program("openssl"))
    await world.to_active()
    certificate = world.held[ANN].certificate
    (root_crl,) = await world.rows("SELECT der FROM crls WHERE issuer = 'root'")
    at = str(int(world.clock.at.timestamp()) + 1)

    def as_pem(name: str) -> None:
        command = [openssl, "crl", "-inform", "DER", "-in", name, "-out", f"{name}.pem"]
        subprocess.run(command, cwd=tmp_path, check=True)

    names = {"leaf": certificate.der, "ca": certificate.chain[0], "root": certificate.chain[-1]}
    for name, der in names.items():
        (tmp_path / f"{name}.pem").write_bytes(pem(der))
    (tmp_path / "root.crl").write_bytes(bytes(root_crl["der"]))
    as_pem("root.crl")

    def verified(crl: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "ca.crl").write_bytes(crl)
        as_pem("ca.crl")
        both = (tmp_path / "ca.crl.pem").read_bytes() + (tmp_path / "root.crl.pem").read_bytes()
        (tmp_path / "crls.pem").write_bytes(both)
        arguments = ["verify", "-attime", at, "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "ca.pem"]
        command = [openssl, *arguments, "-CRLfile", "crls.pem", "leaf.pem"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    def answered(der: bytes) -> str:
        (tmp_path / "answer.der").write_bytes(der)
        arguments = ["ocsp", "-no_nonce", "-respin", "answer.der", "-issuer", "ca.pem", "-cert", "leaf.pem"]
        # openssl reads the wall clock for the answer's own times; a wide skew leaves them to the assertions on them
        command = [openssl, *arguments, "-attime", at, "-CAfile", "root.pem", "-validity_period", "2000000000"]
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return made.stdout + made.stderr

    def asked() -> bytes:
        arguments = ["ocsp", "-no_nonce", "-issuer", "ca.pem", "-cert", "leaf.pem", "-reqout", "request.der"]
        subprocess.run([openssl, *arguments], cwd=tmp_path, capture_output=True, check=True)
        return (tmp_path / "request.der").read_bytes()

    await world.once("publish")
    number, crl = await crl_der(world)
    found = verified(crl)
    assert "leaf.pem: OK" in found.stdout, found
    answer = (await world.services.ca.responder.answer(asked())).der
    said = answered(answer)
    assert "leaf.pem: good" in said, said
    assert "Response verify OK" in said
    await world.revoked()
    await world.once("publish")
    later, crl = await crl_der(world)
    assert later > number
    found = verified(crl)
    assert found.returncode != 0
    assert "certificate revoked" in found.stdout + found.stderr
    said = answered((await world.services.ca.responder.answer(asked())).der)
    assert "leaf.pem: revoked" in said


async def test_i26_a_list_is_published_at_once_after_an_ending_and_otherwise_every_six_hours(world: World) -> None:
    assert await world.once("publish") == 1
    assert await world.once("publish") == 0
    numbers = [(await crl_der(world))[0]]
    await world.to_active()
    assert await world.once("publish") == 0
    await world.revoked()
    assert await world.once("publish") == 1
    numbers.append((await crl_der(world))[0])
    world.clock.later(hours=6, seconds=-1)
    assert await world.once("publish") == 0
    world.clock.later(seconds=1)
    assert await world.once("publish") == 1
    numbers.append((await crl_der(world))[0])
    assert numbers == sorted(set(numbers))  # RFC 5280 s.5.2.3: they only rise
    _, der = await crl_der(world)
    listed = x509.load_der_x509_crl(der)
    serial = int(world.held[ANN].certificate.serial, 16)
    entry = listed.get_revoked_certificate_by_serial_number(serial)
    assert entry is not None


async def test_i1_i2_of_many_at_once_each_order_has_one_reservation_one_signature_and_its_leaves(world: World) -> None:
    signer = CountingSigner(world.services.ca.authority.signer)
    issuer = world.issuer(signer)
    names = [f"ORDER{number:02}" for number in range(24)]
    issuances = {name: await issuance(world, name) for name in names}
    names += ["ORDER03", "ORDER17"] * 4
    made = await asyncio.gather(*(issuer.issue(issuances[name]) for name in names))
    certified = {one.serial: one for one in made if isinstance(one, Certified)}
    assert all(isinstance(one, Certified | Pending) for one in made)
    assert len(certified) == 24
    rows = await world.rows("SELECT order_id, serial, state, tbs, der FROM certificates")
    assert sorted(row["order_id"] for row in rows) == sorted(set(names))
    assert {row["state"] for row in rows} == {"issued"}
    assert sorted(signer.tbs) == sorted(bytes(row["tbs"]) for row in rows)
    assert {row["serial"]: bytes(row["der"]) for row in rows} == {one.serial: one.der for one in certified.values()}
    for event in (Event.CA_CERTIFICATE_RESERVED, Event.CA_CERTIFICATE_ISSUED):
        assert sorted(record["chain"] for record in await world.records(event)) == sorted(set(names))
    assert (await world.audit()).findings == ()


async def test_i3_a_serial_that_exists_is_taken_by_nobody_and_disturbs_nobody(world: World) -> None:
    signer = CountingSigner(world.services.ca.authority.signer)
    issuer = world.issuer(signer)
    issuer.warm()
    world.dice.loaded.extend([b"s" * SERIAL_RANDOM_BYTES] * 3)
    issuances = [await issuance(world, f"ORDER{number:02}") for number in range(10)]
    made = await asyncio.gather(*(issuer.issue(one) for one in issuances))
    assert sum(isinstance(one, Certified) for one in made) == 8
    assert signer.signatures == 8
    assert sum(isinstance(one, Pending) for one in made) == 2
    assert (await world.audit()).findings == ()


async def issuance(world: World, order: str) -> IssuanceRequest:
    key = signing.spki(ec.generate_private_key(ec.SECP256R1()).public_key())
    return await on_record(world.services, IssuanceRequest(OrderId(order), "investor", key, {"customer": "C1"}))
