"""What every Issuer does, whoever certifies: the built-in CA and each CA of another house pass the same tests."""

import asyncio
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from chopmark.audit.events import Event
from chopmark.ca.ports import Certified, IssuanceRequest, Issuer, Pending
from chopmark.core.refusal import Refusal
from chopmark.core.types import Serial
from tests.contract.issuers.peers import Applicant, Peer
from tests.contract.issuers.stranger import openssl


async def certified(peer: Peer, issuer: Issuer, issuance: IssuanceRequest) -> Certified:
    """Ask until there is a certificate, as the jobs do: resume, with time passing."""
    answer = await issuer.issue(issuance)
    for _ in range(12):
        if not isinstance(answer, Pending):
            break
        peer.world.clock.later(seconds=max(21, answer.retry_after_s))
        answer = await issuer.resume(issuance)
    assert isinstance(answer, Certified), answer
    return answer


def verified(folder: Path, made: Certified) -> None:
    """OpenSSL finds a path from the certificate to the root that came with it."""
    paths = [folder / "leaf.pem", folder / "between.pem", folder / "root.pem"]
    ders = [[made.der], made.chain[:-1], made.chain[-1:]]
    for path, several in zip(paths, ders, strict=True):
        path.write_bytes(b"".join(openssl("x509", "-inform", "DER", given=der) for der in several))
    at = int(x509.load_der_x509_certificate(made.der).not_valid_before_utc.timestamp()) + 600
    openssl("verify", "-attime", at, "-CAfile", paths[2], "-untrusted", paths[1], paths[0])


async def test_a_certificate_is_of_the_wished_key_and_name_and_its_chain_holds(peer: Peer, tmp_path: Path) -> None:
    applicant = peer.applicant("C7")
    made = await certified(peer, peer.issuer(), applicant.issuance)
    record = x509.load_der_x509_certificate(made.der)
    names = record.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert [name.value for name in names] == ["C7"]
    assert openssl("x509", "-inform", "DER", "-noout", "-pubkey", given=made.der) == applicant.pem
    assert made.serial == Serial(f"{record.serial_number:X}".rjust(len(made.serial), "0"))
    assert (made.not_before, made.not_after) == (record.not_valid_before_utc, record.not_valid_after_utc)
    verified(tmp_path, made)


async def test_i2_an_order_that_is_asked_for_again_gets_the_same_certificate(peer: Peer) -> None:
    issuer, issuance = peer.issuer(), peer.applicant().issuance
    made = await certified(peer, issuer, issuance)
    assert await issuer.issue(issuance) == made
    assert await issuer.resume(issuance) == made
    assert await peer.issuer().resume(issuance) == made
    assert peer.made() == 1


async def test_a_ca_that_is_away_leaves_the_order_pending_and_it_goes_on_when_the_ca_is_back(peer: Peer) -> None:
    issuer, issuance = peer.issuer(), peer.applicant().issuance
    peer.away()
    assert isinstance(await issuer.issue(issuance), Pending)
    peer.world.clock.later(seconds=21)
    assert isinstance(await issuer.resume(issuance), Pending)
    peer.back()
    await certified(peer, issuer, issuance)
    assert peer.made() == 1


async def test_a_restart_between_request_and_answer_loses_nothing(peer: Peer) -> None:
    issuance = peer.applicant().issuance
    peer.away()
    assert isinstance(await peer.issuer().issue(issuance), Pending)
    peer.back()
    made = await certified(peer, peer.issuer(), issuance)
    assert await peer.issuer().issue(issuance) == made


async def test_i2_callers_at_the_same_moment_share_one_certificate(peer: Peer) -> None:
    first, second, issuance = peer.issuer(), peer.issuer(), peer.applicant().issuance
    answers = await asyncio.gather(*(issuer.issue(issuance) for issuer in (first, second) * 3))
    made = await certified(peer, first, issuance)
    assert all(answer == made or isinstance(answer, Pending) for answer in answers)
    assert peer.made() == 1


async def test_two_orders_have_two_certificates(peer: Peer) -> None:
    issuer = peer.issuer()
    first = await certified(peer, issuer, peer.applicant("C1").issuance)
    second = await certified(peer, issuer, peer.applicant("C2").issuance)
    assert first.serial != second.serial
    assert peer.made() == 2


async def test_i25_a_revocation_reaches_the_ca_and_twice_is_once(peer: Peer) -> None:
    """With EST it reaches the person who asks the CA."""
    issuer, issuance = peer.issuer(), peer.applicant().issuance
    made = await certified(peer, issuer, issuance)
    assert not peer.revoked(made.der)
    await issuer.revoke(made.serial, "superseded")
    await peer.issuer().revoke(made.serial, "key_compromise")
    assert peer.revoked(made.der)
    (record,) = await peer.world.records(peer.ended)
    assert '"superseded"' in record["facts"]
    gone = await issuer.issue(issuance)
    assert isinstance(gone, Refusal)
    assert gone.code == "revoked"


async def test_an_unknown_serial_is_nobodys_and_nothing_happens(peer: Peer) -> None:
    heard = len(peer.proxy.heard)
    await peer.issuer().revoke(Serial("00FFEE"), "superseded")
    assert len(peer.proxy.heard) == heard
    assert await peer.world.records(peer.ended) == []


async def test_a_wish_whose_name_no_certificate_can_have_is_refused_before_the_ca_hears_of_it(peer: Peer) -> None:
    applicant: Applicant = peer.applicant(subject={"customer": "C" * 65})  # RFC 5280 A.1: ub-common-name
    heard = len(peer.proxy.heard)
    answer = await peer.issuer().issue(applicant.issuance)
    assert isinstance(answer, Refusal)
    assert answer.code == "draft.subject"
    assert peer.made() == 0
    assert len(peer.proxy.heard) == heard


async def test_a_wish_that_its_records_do_not_bear_out_is_refused_before_the_ca_hears_of_it(peer: Peer) -> None:
    ours, others = peer.applicant("C1").issuance, peer.applicant("C2").issuance
    sealed_by_nobody = tuple(replace(record, mac=bytes(32)) for record in ours.records)
    heard = len(peer.proxy.heard)
    for issuance in (
        replace(ours, records=()),
        replace(ours, records=others.records),
        replace(ours, records=ours.records[:-1]),
        replace(ours, records=sealed_by_nobody),
        replace(ours, spki_der=others.spki_der, csr_der=others.csr_der),
        replace(ours, csr_der=others.csr_der),
        replace(ours, subject={"customer": "C2"}),
    ):
        for answer in (await peer.issuer().issue(issuance), await peer.issuer().resume(issuance)):
            assert isinstance(answer, Refusal)
            assert answer.code == "distrusted"
    assert peer.made() == 0
    assert len(peer.proxy.heard) == heard
    assert len(await peer.world.records(Event.CA_ORDER_DISTRUSTED)) == 14
    assert isinstance(await certified(peer, peer.issuer(), ours), Certified)


async def test_every_certificate_has_its_leaves_and_the_record_verifies(peer: Peer) -> None:
    made = await certified(peer, peer.issuer(), peer.applicant().issuance)
    (record,) = await peer.world.records(Event.CA_CERTIFICATE_ISSUED)
    assert f'"{made.serial}"' in record["facts"]
    assert (await peer.world.audit()).findings == ()


async def test_the_customers_name_and_overlap_of_a_ca_are_told(peer: Peer) -> None:
    issuer = peer.issuer()
    assert issuer.name
    assert issuer.allows_overlap
    assert issuer.needs["investor"] == {"customer"}
