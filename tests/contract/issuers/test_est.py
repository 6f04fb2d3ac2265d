"""EST: waiting over a restart, renewals under the same name, mutual TLS, and requests that name too much."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chopmark.ca.external.est import EstClient
from chopmark.ca.external.wire import Address, Wire
from chopmark.ca.ports import Certified, Pending
from chopmark.core.refusal import Refusal
from chopmark.core.types import Secret
from tests.contract.issuers import stranger
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.est_peer import Est, open_est
from tests.contract.issuers.test_conformance import certified
from tests.contract.world import World


@pytest.fixture
async def peer(world: World, tmp_path: Path, ca: stranger.Ca) -> AsyncIterator[Est]:
    async with AsyncExitStack() as stack:
        await opened_peer("embedded", world, tmp_path, ca, stack)
        yield await open_est(stack, world, tmp_path, ca)


async def test_pki_08_a_202_is_asked_again_when_it_said_and_by_whoever_runs_then(peer: Est) -> None:
    peer.server.later = 2
    issuance = peer.applicant().issuance
    assert await peer.issuer().issue(issuance) == Pending(30)
    peer.world.clock.later(seconds=29)
    assert await peer.issuer().resume(issuance) == Pending(1)
    peer.world.clock.later(seconds=1)
    assert await peer.issuer().resume(issuance) == Pending(30)
    peer.world.clock.later(seconds=30)
    assert isinstance(await peer.issuer().resume(issuance), Certified)
    assert peer.server.asked == ["simpleenroll"] * 3
    assert len({heard.body for heard in peer.proxy.heard}) == 1


async def test_a_renewal_under_the_same_name_is_simplereenroll(peer: Est) -> None:
    old = await certified(peer, peer.issuer(), peer.applicant().issuance)
    await certified(peer, peer.issuer(), peer.applicant(replaces=old.der).issuance)
    await certified(peer, peer.issuer(), peer.applicant("C2", replaces=old.der).issuance)
    assert peer.server.asked == ["simpleenroll", "simplereenroll", "simpleenroll"]


async def test_a_password_that_the_ca_does_not_know_makes_nothing_and_ends_nothing(peer: Est) -> None:
    issuance = peer.applicant().issuance
    assert await peer.issuer(secret="wrong").issue(issuance) == Pending(60)
    assert peer.made() == 0
    await certified(peer, peer.issuer(), issuance)


async def test_the_published_certificates_of_the_ca_are_read(peer: Est, ca: stranger.Ca) -> None:
    wire = Wire(Address(peer.url, peer.trust))
    found = await EstClient(wire, "investor", "", Secret("")).ca_certificates()
    assert found is not None
    assert set(found) == {stranger.der(path) for path in ca.chain}


async def test_a_client_certificate_opens_a_door_that_wants_one(world: World, tmp_path: Path, ca: stranger.Ca) -> None:
    ours, key = stranger.tls_identity(tmp_path, "ra")
    async with AsyncExitStack() as stack:
        await opened_peer("embedded", world, tmp_path, ca, stack)
        peer = await open_est(stack, world, tmp_path, ca, clients=ours)
        issuance = peer.applicant().issuance
        assert isinstance(await peer.issuer().issue(issuance), Pending)
        assert peer.proxy.heard == []
        world.clock.later(minutes=6)
        await certified(peer, peer.issuer(tls_certificate=ours, tls_key=key), issuance)


def request_of(peer: Est, *more: tuple[x509.ExtensionType, bool], customer: str = "C1") -> bytes:
    """A request with more in it than a key and our name."""
    key = peer.applicant(customer).key
    subject = x509.load_der_x509_csr(peer.request(key, customer)).subject
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def spki_of(request: bytes) -> bytes:
    """The key of a request."""
    return x509.load_der_x509_csr(request).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


async def test_a_request_that_names_another_or_more_is_not_sent(peer: Est) -> None:
    names = x509.SubjectAlternativeName([x509.RFC822Name("other@example.com")])
    for csr in (request_of(peer, customer="C2"), request_of(peer, (names, False)), peer.applicant().key.request()):
        answer = await peer.issuer().issue(peer.applicant("C1", csr_der=csr, spki_der=spki_of(csr)).issuance)
        assert isinstance(answer, Refusal)
        assert (answer.code, answer.field) == ("csr_tells_more", "csr")
    assert peer.proxy.heard == []


async def test_where_the_ca_writes_the_name_it_holds_our_customer(peer: Est, ca: stranger.Ca) -> None:
    issuer = peer.issuer(naming="theirs")
    for subject, fits in (("/C=TW/O=Stranger/CN=C1/serialNumber=42", True), ("/C=TW/O=Stranger/CN=C9", False)):
        applicant = peer.applicant("C1")
        public = peer.folder / "theirs.pub"
        public.write_bytes(applicant.pem)
        peer.proxy.next(peer.answers(ca.issue(public, subject)))
        assert isinstance(await issuer.issue(applicant.issuance), Certified if fits else Refusal)


async def test_what_a_person_has_to_ask_of_the_ca_is_told(peer: Est) -> None:
    issuer = peer.issuer()
    made = await certified(peer, issuer, peer.applicant().issuance)
    await issuer.revoke(made.serial, "superseded")
    assert await peer.world.services.ca.requests.attention() == {made.serial: "revoke_by_hand"}
