"""Another CA that is slow, drops, repeats, answers with another's certificate: an order shows what fits, or nothing."""

import asyncio
from pathlib import Path

from chopmark.audit.events import Event
from chopmark.ca.external.issuer import MOST_DOUBTS
from chopmark.ca.ports import Certified, IssuanceRequest, Pending
from chopmark.core.refusal import Refusal
from tests.contract.issuers import proxy, stranger
from tests.contract.issuers.peers import Applicant, ExternalPeer
from tests.contract.issuers.stranger import GOOD, Ca, der
from tests.contract.issuers.test_conformance import certified


async def states(peer: ExternalPeer, issuance: IssuanceRequest) -> list[str]:
    """The attempts of an order, oldest first."""
    asked = "SELECT state FROM foreign_requests WHERE order_id = :id ORDER BY attempt"
    return [row["state"] for row in await peer.world.rows(asked, id=issuance.order)]


async def shown(peer: ExternalPeer) -> int:
    """How many certificates an order could be given."""
    return await peer.world.count("foreign_requests", "state = 'issued'")


FAULTS = {
    "drop before": proxy.DROP_BEFORE,
    "drop after": proxy.DROP_AFTER,
    "garbage": proxy.GARBAGE,
    "too much": proxy.TOO_MUCH,
    "error": proxy.ERROR_500,
    "redirect": proxy.MOVED,
}


async def test_f19_an_answer_that_is_lost_or_unreadable_ends_in_one_certificate(foreign: ExternalPeer) -> None:
    issuer = foreign.issuer()
    for name, fault in FAULTS.items():
        issuance = foreign.applicant().issuance
        foreign.proxy.next(fault)
        assert isinstance(await issuer.issue(issuance), Pending), name
        assert await states(foreign, issuance) == ["sent"], name
        await certified(foreign, issuer, issuance)
        assert await states(foreign, issuance) == ["given_up", "issued"], name


async def test_f19_a_ca_that_never_answers_ends_the_order_after_some_attempts(foreign: ExternalPeer) -> None:
    issuer, issuance = foreign.issuer(), foreign.applicant().issuance
    foreign.away()
    answer = await issuer.issue(issuance)
    while isinstance(answer, Pending):
        foreign.world.clock.later(minutes=6)
        answer = await issuer.resume(issuance)
    assert isinstance(answer, Refusal)
    assert answer.code == "ca_silent"
    assert await states(foreign, issuance) == ["given_up"] * MOST_DOUBTS


async def test_a_ca_that_cannot_be_connected_to_is_asked_again_however_long_it_takes(foreign: ExternalPeer) -> None:
    issuer, issuance = (
        foreign.issuer(url=f"{foreign.url[: foreign.url.rindex(':')]}:1"),
        foreign.applicant().issuance,
    )
    answer = await issuer.issue(issuance)
    for _ in range(MOST_DOUBTS + 2):
        assert isinstance(answer, Pending)
        foreign.world.clock.later(minutes=6)
        answer = await issuer.resume(issuance)
    await certified(foreign, foreign.issuer(), issuance)


async def test_a_busy_ca_is_asked_when_it_said(foreign: ExternalPeer) -> None:
    issuer, issuance = foreign.issuer(), foreign.applicant().issuance
    foreign.proxy.next(proxy.BUSY)
    assert await issuer.issue(issuance) == Pending(7)
    foreign.world.clock.later(seconds=6)
    heard = len(foreign.proxy.heard)
    assert await issuer.resume(issuance) == Pending(1)
    assert len(foreign.proxy.heard) == heard
    foreign.world.clock.later(seconds=1)
    assert isinstance(await issuer.resume(issuance), Certified)


async def test_a_ca_of_another_tls_name_gets_no_request(foreign: ExternalPeer, tmp_path: Path) -> None:
    other, _ = stranger.tls_identity(tmp_path, "someone-else")
    issuer, issuance = foreign.issuer(tls_trust=other), foreign.applicant().issuance
    assert isinstance(await issuer.issue(issuance), Pending)
    assert foreign.proxy.heard == []
    assert await states(foreign, issuance) == ["given_up"]


async def test_a_ca_that_is_slower_than_its_time_leaves_the_order_pending(foreign: ExternalPeer) -> None:
    issuer, issuance = foreign.issuer(wait_s=1), foreign.applicant().issuance
    foreign.proxy.next(proxy.HANG)
    assert isinstance(await issuer.issue(issuance), Pending)
    assert await states(foreign, issuance) == ["sent"]


async def test_i2_what_a_slow_ca_made_for_an_attempt_that_was_given_up_is_revoked_and_never_shown(
    foreign: ExternalPeer,
) -> None:
    """The request hangs in one process; another gives it up and makes a second attempt."""
    slow, issuance = foreign.issuer(wait_s=15), foreign.applicant().issuance
    foreign.proxy.next(proxy.HANG)
    hanging = asyncio.create_task(slow.issue(issuance))
    await foreign.proxy.reached.wait()
    foreign.world.clock.later(seconds=21)
    assert isinstance(await foreign.issuer().resume(issuance), Pending)
    assert await states(foreign, issuance) == ["given_up"]
    foreign.proxy.released.set()
    assert isinstance(await hanging, Pending)
    (late,) = await foreign.world.rows("SELECT serial, der, code FROM foreign_requests")
    assert late["code"] == "late"
    made = await certified(foreign, foreign.issuer(), issuance)
    assert made.serial != late["serial"]
    await foreign.world.with_issuer(foreign.issuer()).once("revoke")
    assert foreign.revoked(late["der"])
    assert not foreign.revoked(made.der)
    assert await shown(foreign) == 1


def misfits(foreign: ExternalPeer, ours: Applicant, ca: Ca, other_ca: Ca, name: str) -> Path:
    """A certificate that openssl made, wrong in one way."""
    public, folder = foreign.folder / "ours.pub", foreign.folder
    public.write_bytes(ours.pem)
    theirs = folder / "theirs.pub"
    theirs.write_bytes(foreign.applicant("C1").pem)
    subject = foreign.subject("C1")
    match name:
        case "key":
            return ca.issue(theirs, subject)
        case "subject":
            return ca.issue(public, foreign.subject("C2"))
        case "chain":
            return other_ca.issue(public, subject)
        case "ca":
            return ca.issue(public, subject, GOOD.replace("CA:FALSE", "CA:TRUE"))
        case "key_usage":
            return ca.issue(public, subject, GOOD.replace("digitalSignature,", "keyCertSign,digitalSignature,"))
        case "eku":
            return ca.issue(public, subject, GOOD.replace("clientAuth,", "clientAuth,serverAuth,"))
        case "alternative_name":
            return ca.issue(public, subject, f"{GOOD}subjectAltName=email:other@example.com\n")
        case "not_after":
            return ca.issue(public, subject, days=800)
        case "chain_critical_extension":
            return ca.issue(public, subject, f"{GOOD}1.2.3.4=critical,DER:0500\n")
        case _:
            return ca.issue(theirs, foreign.subject("C2"))


MISFITS = {
    "key": True,
    "subject": True,
    "chain": False,
    "ca": True,
    "key_usage": True,
    "eku": True,
    "alternative_name": True,
    "not_after": True,
    "chain_critical_extension": True,
    "key,subject": False,
}
"""What is wrong with a certificate, and whether it is to be revoked: its CA made it, and it has our key or our name."""


async def test_f19_a_certificate_that_does_not_fit_is_put_aside_and_never_shown(
    foreign: ExternalPeer, ca: Ca, other_ca: Ca
) -> None:
    issuer = foreign.issuer()
    for name, revoked in MISFITS.items():
        ours = foreign.applicant("C1")
        wrong = misfits(foreign, ours, ca, other_ca, name)
        foreign.proxy.next(foreign.answers(wrong))
        answer = await issuer.issue(ours.issuance)
        assert isinstance(answer, Refusal), name
        assert answer.code == "ca_misfit"
        assert await issuer.resume(ours.issuance) == answer
        asked = "SELECT * FROM foreign_requests WHERE order_id = :id"
        (row,) = await foreign.world.rows(asked, id=ours.issuance.order)
        assert row["state"] == "quarantined"
        assert name.split(",")[0] in row["code"].split(","), name
        assert bytes(row["der"]) == der(wrong)
        works = await foreign.world.rows("SELECT facts FROM work WHERE order_id = :id", id=ours.issuance.order)
        assert [row["serial"] in work["facts"] for work in works] == [True] * revoked, name
    assert len(await foreign.world.records(Event.CA_CERTIFICATE_QUARANTINED)) == len(MISFITS)
    assert await foreign.world.records(Event.CA_CERTIFICATE_ISSUED) == []


async def test_f19_another_orders_certificate_is_refused_and_stays_good(foreign: ExternalPeer) -> None:
    """The CA repeats what it answered before: same customer, so the name fits and the key does not."""
    issuer = foreign.issuer()
    first = await certified(foreign, issuer, foreign.applicant("C1").issuance)
    record = foreign.folder / "first.pem"
    record.write_bytes(stranger.openssl("x509", "-inform", "DER", given=first.der))
    second = foreign.applicant("C1").issuance
    foreign.proxy.next(foreign.answers(record))
    answer = await issuer.issue(second)
    assert isinstance(answer, Refusal)
    await foreign.world.with_issuer(issuer).once("revoke")
    assert not foreign.revoked(first.der)
    assert await shown(foreign) == 1


async def test_i3_a_serial_that_another_order_has_is_refused(foreign: ExternalPeer, ca: Ca) -> None:
    issuer, first, second = foreign.issuer(), foreign.applicant("C1"), foreign.applicant("C2")
    for applicant, customer in ((first, "C1"), (second, "C2")):
        public = foreign.folder / f"{customer}.pub"
        public.write_bytes(applicant.pem)
        pem = ca.issue(public, foreign.subject(customer), serial="0x1234567890ABCDEF", name=customer)
        foreign.proxy.next(foreign.answers(pem))
        answer = await issuer.issue(applicant.issuance)
        assert isinstance(answer, Certified if applicant is first else Refusal)
    rows = await foreign.world.rows("SELECT code FROM foreign_requests WHERE state = 'quarantined'")
    assert [row["code"] for row in rows] == ["serial_known"]


async def test_a_revocation_that_the_ca_does_not_hear_is_asked_again(revoking: ExternalPeer) -> None:
    issuer = revoking.issuer()
    made = await certified(revoking, issuer, revoking.applicant().issuance)
    columns = "id, kind, facts, attempts, not_before, leased_until"
    work = f"INSERT INTO work ({columns}) VALUES ('W1', 'revoke', :facts, 0, 0, 0)"
    await revoking.world.change(work, facts=f'{{"serial": "{made.serial}", "reason": "superseded"}}')
    behind = revoking.world.with_issuer(issuer)
    revoking.away()
    await behind.once("revoke")
    assert not revoking.revoked(made.der)
    revoking.back()
    revoking.world.clock.later(minutes=6)
    await behind.once("revoke")
    assert revoking.revoked(made.der)
    assert await revoking.world.count("work", "done_at IS NOT NULL") == 1
