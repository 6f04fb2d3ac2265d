"""CMP as OpenSSL speaks it: polling over a restart, confirmation before a certificate counts, answers not believed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from asn1crypto import parser

from chopmark.ca.ports import Certified, Pending
from chopmark.core.refusal import Refusal
from tests.contract.issuers import proxy, stranger
from tests.contract.issuers.cmp_peer import CERT_CONF, IR, KUR, POLL_REQ, RR, Cmp, open_cmp
from tests.contract.issuers.conftest import opened_peer
from tests.contract.issuers.test_conformance import certified
from tests.contract.world import World


@pytest.fixture
async def peer(world: World, tmp_path: Path, ca: stranger.Ca) -> AsyncIterator[Cmp]:
    async with AsyncExitStack() as stack:
        await opened_peer("embedded", world, tmp_path, ca, stack)
        yield await open_cmp(stack, world, tmp_path, ca)


async def state(peer: Cmp) -> str:
    rows = await peer.world.rows("SELECT state FROM foreign_requests ORDER BY order_id, attempt")
    return " ".join(row["state"] for row in rows)


def headers(peer: Cmp) -> list[dict[int, bytes]]:
    """The optional fields of each message that was sent, by tag."""
    found = []
    for heard in peer.proxy.heard:
        _, _, _, _, whole, _ = parser.parse(heard.body)
        _, _, _, _, rest, _ = parser.parse(whole)
        fields: dict[int, bytes] = {}
        position = 0
        while rest:
            kind, _, tag, head, content, tail = parser.parse(rest)
            rest = rest[len(head) + len(content) + len(tail) :]
            if kind == 2 and position > 2:
                fields[tag] = parser.parse(content)[4]
            position += 1
        found.append(fields)
    return found


async def test_pki_10_a_certificate_counts_only_when_its_acceptance_was_confirmed(peer: Cmp) -> None:
    await certified(peer, peer.issuer(), peer.applicant().issuance)
    assert peer.kinds == [IR, CERT_CONF]
    sent = headers(peer)
    assert sent[0][4] == sent[1][4]
    assert {len(fields[4]) for fields in sent} == {len(fields[5]) for fields in sent} == {16}
    assert sent[0][5] != sent[1][5]
    assert 6 not in sent[0]
    assert len(sent[1][6]) == 16


async def test_pki_10_polling_goes_on_after_a_restart_with_the_same_transaction(peer: Cmp) -> None:
    peer.options = ("-poll_count", "3", "-check_after", "40")
    issuance = peer.applicant().issuance
    assert await peer.issuer().issue(issuance) == Pending(1)
    assert await state(peer) == "waiting"
    peer.world.clock.later(seconds=1)
    assert await peer.issuer().resume(issuance) == Pending(40)
    peer.world.clock.later(seconds=39)
    assert await peer.issuer().resume(issuance) == Pending(1)
    peer.world.clock.later(seconds=1)
    assert await peer.issuer().resume(issuance) == Pending(40)
    peer.world.clock.later(seconds=40)
    assert isinstance(await peer.issuer().resume(issuance), Certified)
    assert peer.kinds == [IR, POLL_REQ, POLL_REQ, POLL_REQ, CERT_CONF]
    assert len({fields[4] for fields in headers(peer)}) == 1
    assert peer.made() == 1


async def test_i2_a_lost_confirmation_is_sent_again_and_what_stays_unconfirmed_is_revoked(peer: Cmp) -> None:
    """OpenSSL forgets a transaction that it has confirmed: the second certConf is answered by an error."""
    issuer, issuance = peer.issuer(), peer.applicant().issuance
    peer.proxy.next(proxy.Fault(), proxy.DROP_AFTER)
    assert isinstance(await issuer.issue(issuance), Pending)
    assert await state(peer) == "received"
    peer.world.clock.later(seconds=5)
    assert isinstance(await peer.issuer().resume(issuance), Pending)
    assert await state(peer) == "given_up"
    (first,) = await peer.world.rows("SELECT der FROM foreign_requests")
    made = await certified(peer, peer.issuer(), issuance)
    await peer.world.with_issuer(peer.issuer()).once("revoke")
    assert peer.revoked(bytes(first["der"]))
    assert not peer.revoked(made.der)
    assert peer.kinds == [IR, CERT_CONF, CERT_CONF, IR, CERT_CONF, RR]


async def test_a_confirmation_that_never_left_is_sent_by_the_next_process(peer: Cmp) -> None:
    issuance = peer.applicant().issuance
    peer.proxy.next(proxy.Fault(), proxy.DROP_BEFORE)
    assert isinstance(await peer.issuer().issue(issuance), Pending)
    peer.world.clock.later(seconds=5)
    assert isinstance(await peer.issuer().resume(issuance), Certified)
    assert peer.made() == 1


async def test_a_renewal_is_kur_and_names_the_old_certificate(peer: Cmp, ca: stranger.Ca) -> None:
    """OpenSSL's server has one certificate, and accepts a renewal of that one only: both have its serial here."""
    old = peer.folder / "old.pub"
    old.write_bytes(peer.applicant().pem)
    serial = "0x1122334455667788"
    before = ca.issue(old, peer.subject("C1"), serial=serial, name="old")
    renewing = peer.applicant(replaces=stranger.der(before))
    public = peer.folder / "new.pub"
    public.write_bytes(renewing.pem)
    peer.override = ca.issue(public, peer.subject("C1"), serial=serial, name="new")
    assert isinstance(await peer.issuer().issue(renewing.issuance), Certified)
    assert peer.kinds == [KUR, CERT_CONF]


async def test_another_old_certificate_is_refused_by_the_ca(peer: Cmp, ca: stranger.Ca) -> None:
    old = peer.folder / "old.pub"
    old.write_bytes(peer.applicant().pem)
    before = ca.issue(old, peer.subject("C1"), serial="0x1122334455667788", name="old")
    answer = await peer.issuer().issue(peer.applicant(replaces=stranger.der(before)).issuance)
    assert isinstance(answer, Refusal)
    assert await state(peer) == "denied"


ANSWERS = (
    (("-pkistatus", "2", "-failure", "19"), "denied"),
    (("-pkistatus", "2", "-failure", "24"), "given_up"),
    (("-pkistatus", "2", "-failure", "20"), "given_up"),
    (("-send_error",), "denied"),
    (("-send_unprotected",), "sent"),
)
"""Bad template, unavailable, not trusted, an error message, no protection."""


async def test_what_the_ca_says_and_how_it_is_protected_decides(peer: Cmp) -> None:
    for peer.options, _ in ANSWERS:
        await peer.issuer().issue(peer.applicant().issuance)
    assert await state(peer) == " ".join(outcome for _, outcome in ANSWERS)


async def test_a_secret_that_the_ca_does_not_know_makes_nothing(peer: Cmp) -> None:
    issuer, issuance = peer.issuer(secret="another secret"), peer.applicant().issuance
    assert isinstance(await issuer.issue(issuance), Pending)
    assert peer.kinds == [IR]
    assert await state(peer) != "issued"


def flipped(at: int) -> proxy.Rewrite:
    """The answer with one bit of one octet changed, counted from its end or beginning."""

    def rewrite(body: bytes) -> bytes:
        changed = bytearray(body)
        changed[at] ^= 1
        return bytes(changed)

    return rewrite


async def test_an_answer_with_one_bit_changed_is_not_believed(peer: Cmp) -> None:
    issuer = peer.issuer()
    for at in (12, 90, 200, 400, 600):
        peer.proxy.next(proxy.rewritten(flipped(at)))
        assert isinstance(await issuer.issue(peer.applicant().issuance), Pending), at
    assert await state(peer) == "sent sent sent sent sent"
    assert set(peer.kinds) == {IR}


async def test_the_answer_to_an_earlier_request_is_not_believed(peer: Cmp) -> None:
    issuer = peer.issuer()
    await certified(peer, issuer, peer.applicant().issuance)
    peer.proxy.next(proxy.Fault(forward=False, instead=peer.proxy.answers[0]))
    assert isinstance(await issuer.issue(peer.applicant().issuance), Pending)
    assert await state(peer) == "issued sent"
