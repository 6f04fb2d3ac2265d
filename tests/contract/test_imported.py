"""A certificate of a former issuer proves a renewal here, if its own CA lets it, and is superseded by it."""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from chopmark.audit.events import Event
from chopmark.cli import certificates
from chopmark.cli.customers import show_customer
from chopmark.client.signing import ClientKey
from chopmark.core.types import CertificateState, Installed, KeyHome, Operation, OrderState, Reason, Serial, text
from chopmark.ra.former_issuers import GoodThere, RevokedThere, StatusThere, UnknownThere
from chopmark.ra.imported import Fingerprint, ImportedState
from chopmark.ra.key_proof import PresentedCertificate
from chopmark.ra.policy import may_start
from tests.contract.programs import request_of
from tests.contract.world import ANN, BEN, START, Errand, Held, World, refusal, world_fixture
from tests.former import OLD, OldCa, Says, old_ca, pem, person, with_former, written

plain = world_fixture()
PEOPLE = ("alice", "bob")


@dataclass
class Brought:
    """A customer who has a certificate of the old CA, which was imported."""

    world: World
    says: Says
    key: ClientKey
    der: bytes

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(hashlib.sha256(self.der).hexdigest())

    @property
    def imported(self):
        found = self.world.services.ra.context.imported
        assert found is not None
        return found

    async def state(self) -> ImportedState:
        found = await self.imported.get(self.fingerprint)
        assert found is not None
        return found.state


@pytest.fixture
async def brought(plain: World, tmp_path: Path) -> Brought:
    """Ann has a certificate that ends in twenty days."""
    ca, says, key = old_ca(), Says(), ClientKey.generate()
    world = with_former(plain, ca.issuer(), says)
    der = ca.issue(person(ANN), key)
    report = await world.services.ra.certificate_import.run([written(tmp_path, "old.pem", pem(der))], "alice")
    assert report.imported == 1
    made = Brought(world, says, key, der)
    certificate = await world.services.ra.context.certificates.get(Serial(made.fingerprint))
    assert certificate is not None
    world.held[ANN] = Held(key, certificate)
    return made


async def issued(world: World) -> Errand:
    errand = await world.to_review(ANN, Operation.REKEY)
    assert (await errand.confirm()).state is OrderState.ISSUED
    return errand


async def test_the_overview_recommends_to_renew_it_as_it_would_one_of_ours(brought: Brought) -> None:
    view = await brought.world.services.ra.customer_queries.overview(brought.world.caller(ANN))
    assert view.present is not None
    assert view.present.former is not None
    assert (view.present.former.issuer, view.present.former.serial) == ("old", "0A01")
    assert view.advice.operation is Operation.REKEY
    brought.world.clock.later(days=21)
    late = await brought.world.services.ra.customer_queries.overview(brought.world.caller(ANN))
    assert late.advice.operation is Operation.ENROL


async def test_it_proves_a_renewal_and_is_superseded_when_the_new_one_is_proved(brought: Brought) -> None:
    world = brought.world
    errand = await issued(world)
    assert await brought.state() is ImportedState.ACTIVE
    assert brought.says.asked == [("old", "0A01")] * 3, "opened, key bound, confirmed"
    await errand.prove()
    assert await brought.state() is ImportedState.SUPERSEDED
    await world.work()
    (due,) = await brought.imported.due_at(OLD, world.clock.now(), None, 10)
    assert (due.fingerprint, due.superseded_by) == (brought.fingerprint, (await errand.order()).serial)
    (record,) = await world.records(Event.RA_CERTIFICATE_ACTIVATED)
    assert json.loads(record["facts"])["old_serial"] == brought.fingerprint
    view = await world.services.ra.customer_queries.overview(errand.caller)
    assert view.present is not None
    assert view.present.former is None
    assert (await world.audit()).sound


async def test_of_one_that_only_is_said_to_have_arrived_the_old_one_is_kept_for_the_policys_days(
    brought: Brought,
) -> None:
    world = brought.world
    errand = await issued(world)
    proof = await errand.install_proof()
    await world.services.ra.rekey.prove(errand.caller, errand.id, proof, Installed.SAID)
    assert await brought.imported.due_at(OLD, world.clock.now(), None, 10) == []
    errand.world.held[ANN] = Held(errand.key, await world.certificate(errand))
    world.clock.later(minutes=1)
    await world.services.ra.rekey.prove(errand.caller, errand.id, await errand.install_proof())
    assert len(await brought.imported.due_at(OLD, world.clock.now(), None, 10)) == 1


async def test_a_signature_by_another_key_proves_nothing(brought: Brought) -> None:
    errand = await brought.world.open(ANN, Operation.REKEY)
    thief = Held(ClientKey.generate(), brought.world.held[ANN].certificate)
    forged = old_ca().issue(person(ANN), thief.key)
    stranger = Held(thief.key, thief.certificate)
    proof = stranger.key.prove(
        forged,
        portal=brought.world.services.foundation.portal,
        order=errand.id,
        nonce=await errand.nonce(),
        new_spki_sha256=errand.key.spki_sha256,
        purpose="rekey",
        at=brought.world.clock.now(),
    )
    refused = await refusal(
        brought.world.services.ra.rekey.bind_key(errand.caller, errand.id, errand.key.request(), proof)
    )
    assert refused.field == "proof"
    assert len(brought.says.asked) == 1, "only when the order was opened"


async def test_one_that_its_ca_has_revoked_since_renews_nothing_and_the_customer_is_told_to_apply(
    brought: Brought,
) -> None:
    world = brought.world
    errand = await world.open(ANN, Operation.REKEY)
    brought.says.answer = RevokedThere("key_compromise", START)
    assert (await refusal(errand.bind())).code == "former_revoked"
    assert await brought.state() is ImportedState.REVOKED
    view = await world.services.ra.customer_queries.overview(errand.caller)
    assert view.advice.operation is Operation.ENROL
    (record,) = await world.records(Event.RA_FORMER_REVOKED)
    assert json.loads(record["facts"])["reason"] == "key_compromise"
    assert await errand.state() is OrderState.CANCELLED
    enrolled = await world.to_active(ANN, Operation.ENROL)
    assert await enrolled.state() is OrderState.ACTIVE


@pytest.mark.parametrize(
    ("by_client", "operation", "reason", "said"),
    [
        (False, Operation.REKEY, None, "The firm then has it revoked by its issuer"),
        (True, Operation.REKEY, None, "then its issuer, %(former)s, is asked to revoke it"),
        (False, Operation.REPLACE, Reason.LOST, "When the new one works, the firm has it revoked by its issuer"),
        (True, Operation.REPLACE, Reason.LOST, "is asked to revoke it as soon as the new one works"),
    ],
)
async def test_the_terms_say_who_revokes_it_at_its_own_ca_and_no_other_terms_are_accepted(
    brought: Brought, *, by_client: bool, operation: Operation, reason: Reason | None, said: str
) -> None:
    world = with_former(brought.world, replace(old_ca().issuer(), by_client=by_client), brought.says)
    errand = await world.to_review(ANN, operation, reason=reason)
    snapshot = await world.services.ra.customer_queries.snapshot(errand.caller, errand.id)
    rekey, old = world.services.ra.rekey, snapshot.certificate(snapshot.order.old_serial)
    terms = rekey.consent(snapshot.order, old)
    assert said in terms.sentences[-1].msgid
    assert ("former", "舊憑證管理中心") in terms.sentences[-1].values
    assert sum("old certificate" in one.msgid for one in terms.sentences) == 1
    of_ours = rekey.consent(snapshot.order)
    assert (await refusal(rekey.confirm(errand.caller, errand.id, of_ours.sha256))).code == "terms"
    assert (await errand.confirm()).state is OrderState.ISSUED


async def test_its_status_is_asked_again_before_the_new_one_is_issued(brought: Brought) -> None:
    errand = await brought.world.to_review(ANN, Operation.REKEY)
    brought.says.answer = RevokedThere("cessation_of_operation")
    assert (await refusal(errand.confirm())).code == "former_revoked"
    assert await brought.state() is ImportedState.REVOKED
    assert await brought.world.count("certificates", "order_id = :id", id=errand.id) == 0


@pytest.mark.parametrize("answer", [UnknownThere(text("too old")), GoodThere(START)])
async def test_without_a_statement_that_counts_there_is_no_renewal_and_a_replacement_is_open(
    brought: Brought, answer: UnknownThere | GoodThere
) -> None:
    world = brought.world
    errand = await world.open(ANN, Operation.REKEY)
    brought.says.answer = answer
    assert (await refusal(errand.bind())).code == "former_unknown"
    assert await brought.state() is ImportedState.ACTIVE
    await world.to_active(ANN, Operation.REPLACE, reason=Reason.NEW_DEVICE, instead=errand.id)
    assert await brought.state() is ImportedState.SUPERSEDED


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (UnknownThere(text("too old")), "does not say at the moment"),
        (GoodThere(START), "does not say at the moment"),
        (RevokedThere("key_compromise", START), "has revoked it"),
        (RevokedThere("certificate_hold", START), "has put it on hold"),
    ],
)
async def test_a_renewal_that_would_be_refused_is_not_recommended_until_its_ca_says_good_again(
    brought: Brought, answer: StatusThere, said: str
) -> None:
    world, queries = brought.world, brought.world.services.ra.customer_queries
    brought.says.answer = answer
    view = await queries.overview(world.caller(ANN))
    assert (view.advice.operation, view.advice.reason) == (Operation.REPLACE, Reason.REPLACE)
    assert said in view.advice.why.msgid
    refused = may_start(Operation.REKEY, None, view.advice)
    assert refused is not None
    assert refused.public == view.advice.why
    brought.says.answer = GoodThere(START + timedelta(days=1))
    assert (await queries.overview(world.caller(ANN))).advice.operation is Operation.REKEY
    assert brought.says.asked == [], "an overview waits for no other company"
    await world.to_active(ANN, Operation.REPLACE, reason=view.advice.reason)
    assert await brought.state() is ImportedState.SUPERSEDED


@pytest.mark.parametrize(
    ("answer", "code", "state"),
    [
        (UnknownThere(text("too old")), "former_unknown", ImportedState.ACTIVE),
        (GoodThere(START), "former_unknown", ImportedState.ACTIVE),
        (RevokedThere("certificate_hold", START), "former_held", ImportedState.ACTIVE),
        (RevokedThere("superseded", START), "former_revoked", ImportedState.REVOKED),
    ],
)
async def test_a_renewal_that_would_be_refused_is_not_opened_and_the_refusal_says_to_apply(
    brought: Brought, answer: StatusThere, code: str, state: ImportedState
) -> None:
    world = brought.world
    brought.says.answer = answer
    refused = await refusal(world.open(ANN, Operation.REKEY))
    assert (refused.code, refused.field) == (code, "operation")
    assert "apply for a new one" in refused.public.msgid
    assert await world.count("orders", "customer = :ann", ann=ANN) == 0
    assert await brought.state() is state
    assert (await world.audit()).sound


async def test_what_its_ca_has_put_on_hold_renews_again_when_it_is_released_there(brought: Brought) -> None:
    errand = await brought.world.open(ANN, Operation.REKEY)
    brought.says.answer = RevokedThere("certificate_hold", START)
    assert (await refusal(errand.bind())).code == "former_held"
    brought.says.answer = GoodThere(START + timedelta(days=1))
    await errand.bind()
    assert await errand.state() is OrderState.BOUND


@pytest.mark.parametrize("way", ["vault", "none"])
async def test_where_no_page_can_open_its_key_the_application_is_recommended_and_a_renewal_still_allowed(
    brought: Brought, way: str
) -> None:
    world = brought.world
    await world.change("UPDATE imported_certificates SET way = :way", way=way)
    view = await world.services.ra.customer_queries.overview(world.caller(ANN))
    assert (view.advice.operation, view.advice.reason) == (Operation.REPLACE, Reason.REPLACE)
    assert "this page cannot open it" in view.advice.why.msgid
    assert may_start(Operation.REKEY, None, view.advice) is None
    errand = await issued(world)
    assert (await errand.order()).reason is None


async def test_where_its_key_is_too_weak_no_renewal_is_opened_or_confirmed_and_nobody_is_asked(
    brought: Brought,
) -> None:
    world = brought.world
    begun = await world.to_review(ANN, Operation.REKEY)
    weak = old_ca().issue(person(ANN), ClientKey(rsa.generate_private_key(65537, 1024)))
    await world.change("UPDATE imported_certificates SET der = :der", der=weak)
    brought.says.asked.clear()
    assert (await refusal(begun.confirm())).code == "former_key"
    view = await world.services.ra.customer_queries.overview(world.caller(ANN))
    assert (view.advice.operation, view.advice.reason) == (Operation.REPLACE, Reason.REPLACE)
    assert "too weak" in view.advice.why.msgid
    await world.services.ra.enrolment.cancel(begun.caller, begun.id)
    assert (await refusal(world.open(ANN, Operation.REKEY))).code == "former_key"
    assert brought.says.asked == []
    await world.to_active(ANN, Operation.REPLACE, reason=view.advice.reason)
    assert await brought.state() is ImportedState.SUPERSEDED


async def test_the_status_is_looked_up_only_for_an_imported_certificate_that_would_renew(brought: Brought) -> None:
    world, queries = brought.world, brought.world.services.ra.customer_queries
    brought.says.answer = UnknownThere(text("too old"))
    assert (await queries.overview(world.caller(BEN))).advice.operation is Operation.ENROL
    await world.to_active(BEN)
    world.clock.later(days=350)
    assert (await queries.overview(world.caller(BEN))).advice.operation is Operation.REKEY
    assert (await queries.overview(world.caller(ANN))).advice.operation is Operation.ENROL
    assert brought.says.looked_up == 0


async def test_a_row_that_somebody_wrote_into_the_database_renews_nothing(brought: Brought) -> None:
    world = brought.world
    forged = OldCa().issue(person(ANN), brought.key)
    await world.change("UPDATE imported_certificates SET der = :der", der=forged)
    certificate = await world.services.ra.context.certificates.get(Serial(brought.fingerprint))
    assert certificate is not None
    world.held[ANN] = Held(brought.key, certificate)
    errand = await world.open(ANN, Operation.REKEY)
    brought.says.asked.clear()
    assert (await refusal(errand.bind())).code == "former_issuer"
    assert brought.says.asked == []


async def test_a_lost_one_is_on_hold_with_the_right_code_and_its_key_is_blocked(brought: Brought) -> None:
    world = brought.world
    errand = await world.to_code(ANN, Operation.REPLACE, reason=Reason.LOST)
    assert await brought.state() is ImportedState.HELD
    await errand.birth_date()
    await errand.confirm()
    spki = brought.key.spki_sha256.hex()
    assert await world.count("keys", "spki_sha256 = :spki AND blocked = 'lost'", spki=spki) == 1
    release = world.services.ra.suspension.release
    assert (await refusal(release(Serial(brought.fingerprint), *PEOPLE))).code == "not_on_hold", "its key is blocked"
    await errand.prove()
    assert await brought.state() is ImportedState.SUPERSEDED
    assert await world.count("work", "kind IN ('hold', 'revoke')") == 0


async def test_one_that_is_found_again_is_released_by_two_people_and_renews_again(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    world, settings = brought.world, brought.world.services.foundation.settings
    errand = await world.to_code(ANN, Operation.REPLACE, reason=Reason.LOST)
    assert await brought.state() is ImportedState.HELD
    release, serial = world.services.ra.suspension.release, Serial(brought.fingerprint)
    assert (await refusal(release(serial, "alice", "ALICE"))).field == "approved_by"
    assert await brought.state() is ImportedState.HELD
    await show_customer(settings, ANN)
    assert f"certificate 0A01 of old, fingerprint {serial}  held" in capsys.readouterr().out
    written = ":".join(serial[at : at + 2].upper() for at in range(0, len(serial), 2))
    assert await certificates.suspend(settings, written, *PEOPLE, held=False) == 0
    assert await brought.state() is ImportedState.ACTIVE
    assert (await refusal(release(serial, *PEOPLE))).code == "not_on_hold"
    (record,) = await world.records(Event.RA_CERTIFICATE_RELEASED)
    facts = json.loads(record["facts"])
    assert (facts["serial"], facts["by"], facts["approved_by"]) == (serial, *PEOPLE)
    assert any("certificate_released" in row["facts"] for row in await world.notices())
    assert await world.count("work", "kind = 'hold'") == 0, "our CA has nothing to release"
    await world.services.ra.enrolment.cancel(errand.caller, errand.id)
    await (await issued(world)).prove()
    assert await brought.state() is ImportedState.SUPERSEDED
    assert (await refusal(release(serial, *PEOPLE))).code == "not_on_hold"
    assert (await world.audit()).sound


async def test_two_people_put_one_on_hold_here_and_are_told_that_its_own_ca_is_not(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    world, settings, serial = brought.world, brought.world.services.foundation.settings, Serial(brought.fingerprint)
    hold = world.services.ra.suspension.hold
    assert (await refusal(hold(serial, "alice", "ALICE"))).field == "approved_by"
    assert await certificates.suspend(settings, serial, *PEOPLE, held=True) == 0
    assert "It is on hold here only. old, which issued it, cannot be asked for a hold" in capsys.readouterr().out
    assert await brought.state() is ImportedState.HELD
    assert (await refusal(hold(serial, *PEOPLE))).code == "not_in_force"
    assert (await refusal(world.open(ANN, Operation.REKEY))).code == "renewal_window"
    (record,) = await world.records(Event.RA_CERTIFICATE_HELD)
    facts = json.loads(record["facts"])
    assert (facts["serial"], facts["by"], facts["approved_by"]) == (serial, *PEOPLE)
    assert any("certificate_held" in row["facts"] for row in await world.notices())
    assert await world.count("work", "kind = 'hold'") == 0, "our CA has nothing to hold"
    assert await certificates.suspend(settings, serial, *PEOPLE, held=False) == 0
    assert "on hold here only" not in capsys.readouterr().out
    await (await issued(world)).prove()
    assert await brought.state() is ImportedState.SUPERSEDED
    assert (await refusal(hold(serial, *PEOPLE))).code == "not_in_force"
    assert (await world.audit()).sound


async def test_one_of_an_import_that_does_not_count_is_not_put_on_hold(brought: Brought) -> None:
    world = brought.world
    await world.change("UPDATE certificate_imports SET state = 'given_up'")
    await refusal(world.services.ra.suspension.hold(Serial(brought.fingerprint), *PEOPLE))
    assert await world.count("imported_certificates", "state = 'active'") == 1


async def test_the_firm_revokes_one_for_good_and_has_its_own_ca_asked(
    brought: Brought, capsys: pytest.CaptureFixture[str]
) -> None:
    world, settings, serial = brought.world, brought.world.services.foundation.settings, Serial(brought.fingerprint)
    errand = await world.to_review(ANN, Operation.REKEY)
    revoke = partial(certificates.revoke_certificate, settings, serial, "death", "2026-17", *PEOPLE)
    assert await revoke() == 0
    assert f"`chopmark certificates revoked {serial} --by ... --approved-by ...`" in capsys.readouterr().out
    assert await brought.state() is ImportedState.REVOKED
    assert await errand.state() in {OrderState.REFUSED, OrderState.CANCELLED}
    (due,) = await brought.imported.asked_to_revoke()
    assert due.fingerprint == brought.fingerprint
    assert await world.count("work", "kind = 'revoke'") == 0, "our CA has nothing to revoke"
    assert (await refusal(revoke())).code == "over"
    view = await world.services.ra.customer_queries.overview(errand.caller)
    assert view.advice.operation is Operation.ENROL
    assert (await world.audit()).sound


@pytest.mark.parametrize(
    "meanwhile",
    [
        (
            "INSERT INTO blocked_keys (spki_sha256, reason, blocked_at) "
            "SELECT spki_sha256, 'key_compromise', 0 FROM imported_certificates"
        ),
        (
            "INSERT INTO keys (spki_sha256, customer, first_seen_at, blocked) "
            "SELECT spki_sha256, customer, 0, 'lost' FROM imported_certificates"
        ),
        "UPDATE certificate_imports SET state = 'given_up'",
        "UPDATE imported_certificates SET state = 'revoked'",
    ],
)
async def test_no_release_brings_back_what_may_not_come_back(brought: Brought, meanwhile: str) -> None:
    world = brought.world
    await world.to_code(ANN, Operation.REPLACE, reason=Reason.LOST)
    await world.change(meanwhile)
    await refusal(world.services.ra.suspension.release(Serial(brought.fingerprint), *PEOPLE))
    assert await world.count("imported_certificates", "state = 'active'") == 0
    assert await world.records(Event.RA_CERTIFICATE_RELEASED) == []


async def test_one_beside_an_active_one_of_ours_is_not_released(brought: Brought) -> None:
    world = brought.world
    await world.to_active(BEN)
    await world.change("UPDATE imported_certificates SET customer = :ben, state = 'held'", ben=BEN)
    refused = await refusal(world.services.ra.suspension.release(Serial(brought.fingerprint), *PEOPLE))
    assert refused.code == "not_on_hold"
    assert await brought.state() is ImportedState.HELD


async def test_a_renewal_whose_old_certificate_ends_while_the_ca_is_at_work_is_refused(brought: Brought) -> None:
    world = brought.world
    errand = await world.to_review(ANN, Operation.REKEY)
    await errand.submit()
    await world.change("UPDATE imported_certificates SET state = 'revoked'")
    await world.services.ra.rekey.resume(errand.id)
    assert await errand.state() is OrderState.REFUSED


async def test_its_key_cannot_become_the_key_of_a_new_one(brought: Brought) -> None:
    errand = await brought.world.open(ANN, Operation.REKEY)
    assert (await refusal(errand.bind(brought.key))).code == "key_used"


async def test_the_customer_cannot_have_it_revoked_here(brought: Brought) -> None:
    start = brought.world.services.ra.enrolment.start
    caller, serial = brought.world.caller(ANN), Serial(brought.fingerprint)
    account = brought.world.held[ANN].certificate.account
    refused = await refusal(start(caller, Operation.REVOKE, account, KeyHome.FILE, Reason.NO_LONGER_NEEDED, serial))
    assert refused.code == "former_issuer"
    assert await brought.world.services.ra.customer_queries.revocable(caller) == []


async def test_a_blocked_key_ends_it(brought: Brought) -> None:
    await brought.world.services.ra.key_blocks.block(brought.key.spki_sha256.hex(), "key_compromise", "alice", "bob")
    assert await brought.state() is ImportedState.REVOKED
    assert len(await brought.imported.due_at(OLD, brought.world.clock.now(), None, 10)) == 1


async def test_a_program_renews_with_it_as_its_client_certificate(brought: Brought) -> None:
    world, program = brought.world, brought.world.services.ra.program
    errand = await world.open(ANN, Operation.REKEY, home=KeyHome.HELPER)
    csr = request_of(errand.key, brought.der)
    assert (await program.reenrol(PresentedCertificate(brought.der), csr)).certificate is None
    await errand.send()
    await errand.answer(await errand.code())
    await errand.birth_date()
    await errand.confirm()
    made = (await program.reenrol(PresentedCertificate(brought.der), csr)).certificate
    assert made is not None
    await program.reenrol(PresentedCertificate(made), csr)
    assert await brought.state() is ImportedState.SUPERSEDED
    again = await refusal(program.reenrol(PresentedCertificate(brought.der), csr))
    assert again.code == "old"


async def test_our_ocsp_never_says_that_it_is_ours(brought: Brought) -> None:
    ours, theirs = brought.world.services.ca.authority.view.certificate_der, old_ca().certificate
    told = []
    for issuer in (ours, theirs):
        asked = ocsp.OCSPRequestBuilder().add_certificate(
            x509.load_der_x509_certificate(brought.der), x509.load_der_x509_certificate(issuer), hashes.SHA256()
        )
        answer = await brought.world.services.ca.responder.answer(asked.build().public_bytes(Encoding.DER))
        said = ocsp.load_der_ocsp_response(answer.der)
        sound = said.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        told.append(said.certificate_status if sound else None)
    assert ocsp.OCSPCertStatus.GOOD not in told


async def test_it_is_no_longer_the_present_one_when_there_is_one_of_ours(brought: Brought) -> None:
    world = brought.world
    errand = await issued(world)
    await errand.prove()
    await world.change("UPDATE imported_certificates SET state = 'active', not_after = not_after + 1000000000")
    view = await world.services.ra.customer_queries.overview(errand.caller)
    assert view.present is not None
    assert view.present.state is CertificateState.ACTIVE
    assert view.present.former is None


async def test_another_customer_cannot_renew_by_it(brought: Brought) -> None:
    world = brought.world
    assert await brought.imported.living(world.caller(BEN).customer) == []
    view = await world.services.ra.customer_queries.overview(world.caller(BEN))
    assert view.present is None
    assert world.clock.now() - START < timedelta(days=1)


async def test_it_is_the_present_one_where_one_of_ours_has_expired(brought: Brought) -> None:
    world = brought.world
    mine = await world.to_active(BEN)
    await world.change("UPDATE imported_certificates SET customer = :ben", ben=BEN)
    before = await world.services.ra.customer_queries.overview(mine.caller)
    assert before.present is not None
    assert before.present.former is None
    world.clock.later(days=366)
    brought.says.answer = GoodThere(world.clock.now() + timedelta(days=1))
    await world.change("UPDATE imported_certificates SET not_after = not_after + 31600000000")
    after = await world.services.ra.customer_queries.overview(mine.caller)
    assert after.present is not None
    assert after.present.former is not None
    assert after.advice.operation is Operation.REKEY


async def test_a_row_that_was_moved_to_another_customer_renews_nothing(brought: Brought) -> None:
    world = brought.world
    await world.change("UPDATE imported_certificates SET customer = :ben", ben=BEN)
    world.held[BEN] = Held(brought.key, world.held[ANN].certificate)
    errand = await world.open(BEN, Operation.REKEY)
    brought.says.asked.clear()
    assert (await refusal(errand.bind())).code == "former_customer"
    assert brought.says.asked == []


async def test_the_serial_number_that_is_asked_for_is_the_certificates_and_not_the_rows(brought: Brought) -> None:
    await brought.world.change("UPDATE imported_certificates SET serial = 'FFFF'")
    errand = await brought.world.open(ANN, Operation.REKEY)
    await errand.bind()
    assert brought.says.asked == [("old", "0A01")] * 2


async def test_a_new_one_is_not_active_when_the_old_one_has_ended_since_it_was_issued(brought: Brought) -> None:
    errand = await issued(brought.world)
    await brought.world.change("UPDATE imported_certificates SET state = 'revoked'")
    assert (await refusal(errand.prove())).code == "moved_on"
    assert await errand.state() is OrderState.ISSUED
