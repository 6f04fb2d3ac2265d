"""The lists that a CA reads an order's records by, word for word: what ends an order, what may follow, what differs."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from chopmark.audit.events import Event
from chopmark.ca.approval import Approval, Claimed, Distrust, differs, unapproved
from chopmark.ca.ports import IssuanceRequest
from chopmark.pki import csr
from tests.approved import LOGIN, changed, steps
from tests.unit.ca.test_approval import (
    BIRTH,
    BOUND,
    CODE,
    NOW,
    OPENED,
    ORDER,
    PROVED,
    RENEWAL,
    REQUEST,
    SPKI,
    STEPS,
    SUBMITTED,
    TERMS,
    by_slip,
    judged,
    sealed,
)


@pytest.mark.parametrize(
    "event",
    [
        Event.RA_ORDER_CANCELLED,
        Event.RA_ORDER_EXPIRED,
        Event.RA_ORDER_STOPPED,
        Event.RA_ORDER_REFUSED,
        Event.RA_ORDER_ISSUED,
        Event.RA_ORDER_DONE,
        Event.RA_CONTACT_DISPUTED,
        Event.RA_CERTIFICATE_ACTIVATED,
    ],
)
def test_an_order_that_came_to_an_end_is_not_submitted_after_it(event: Event) -> None:
    assert judged([*STEPS[:-1], (event, {}), SUBMITTED]) is Distrust.WENT_ON
    assert judged([*STEPS[:-1], (event, {}), SUBMITTED], past=True) is Distrust.WENT_ON


@pytest.mark.parametrize(
    "event",
    [
        Event.RA_ORDER_PENDING,
        Event.RA_ORDER_STOPPED,
        Event.POST_MESSAGE_SENT,
        Event.POST_MESSAGE_FAILED,
        Event.RA_CODE_WRONG,
        Event.RA_CODE_DEAD,
        Event.RA_CHALLENGE_REFUSED,
        Event.RA_SLIP_WRONG,
        Event.RA_SLIP_DEAD,
        Event.RA_BIRTH_DATE_WRONG,
        Event.RA_KEY_REFUSED,
        Event.RA_PROOF_REFUSED,
    ],
)
def test_a_late_receipt_and_a_refusal_to_another_tab_do_not_make_an_order_fail(event: Event) -> None:
    assert isinstance(judged([*STEPS, (event, {})]), Approval)


@pytest.mark.parametrize("word", ["none", "stopped", "not_sent", "not_alone"])
def test_a_slip_counts_whyever_a_contact_can_carry_no_code(word: str) -> None:
    for contacts in (f"email:{word}+mobile:none", f"email:none+mobile:{word}"):
        assert isinstance(judged(by_slip({"contacts": contacts}, contacts=contacts)), Approval)


@pytest.mark.parametrize("evidence", ["tls", "old_key"])
def test_a_key_that_the_old_key_has_bound_by_signature_or_by_tls_is_approved_in_any_one_login(evidence: str) -> None:
    assert isinstance(judged(changed(RENEWAL, Event.RA_KEY_BOUND, evidence=evidence, login="L")), Approval)
    proved = [step for one in RENEWAL for step in ((one, PROVED) if one[0] is Event.RA_CODE_RIGHT else (one,))]
    assert judged(changed(proved, Event.RA_KEY_BOUND, evidence=evidence)) is Distrust.OTHER_LOGIN, "a proof voids it"


def test_a_login_that_nobody_named_is_no_login() -> None:
    nobody = [(event, {**facts, "login": None}) for event, facts in STEPS]
    assert judged(nobody) is Distrust.OTHER_LOGIN
    assert judged(changed(nobody, Event.RA_KEY_BOUND, login=LOGIN)) is Distrust.OTHER_LOGIN


@pytest.mark.parametrize("name", ["customer", "account", "operation"])
def test_an_order_says_whose_it_is_for_which_account_and_what_for(name: str) -> None:
    for said in (None, ""):
        same = changed(changed(STEPS, Event.RA_ORDER_OPENED, **{name: said}), Event.RA_ORDER_SUBMITTED, **{name: said})
        assert judged(same) is Distrust.OPENED_OTHERWISE
    assert judged(changed(STEPS, Event.RA_ORDER_SUBMITTED, old_serial="0A")) is Distrust.OPENED_OTHERWISE


def test_a_renewal_names_the_certificate_that_it_renews() -> None:
    named = [(event, {**facts, "old_serial": None}) for event, facts in RENEWAL]
    assert judged(named) is Distrust.OLD_KEY_UNNAMED


def test_the_last_steps_count_and_each_of_them_lies_within_the_life_of_the_approval() -> None:
    wrong_challenge = (CODE[0], {**CODE[1], "challenge": "OTHER"})
    assert judged([OPENED, BOUND, CODE, wrong_challenge, BIRTH, SUBMITTED]) is Distrust.NO_CODE
    assert isinstance(judged([OPENED, BOUND, wrong_challenge, CODE, BIRTH, SUBMITTED]), Approval)
    assert judged([CODE, *STEPS]) is Distrust.OPENED_OTHERWISE


def certificate() -> bytes:
    """Some certificate, DER; its own key has signed it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    ends = builder.serial_number(0x0A).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return ends.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_wish_renews_the_certificate_that_was_approved_and_no_other() -> None:
    spki = csr.spki_of(REQUEST)
    assert spki is not None
    issuance = IssuanceRequest(ORDER, "investor", spki, {}, REQUEST, certificate())
    for serial, differs_in in (("0A", None), ("0B", Distrust.OTHER_RENEWED), (None, Distrust.OTHER_RENEWED)):
        approval = judged(steps(SPKI, "C1", old_serial=serial))
        assert isinstance(approval, Approval)
        assert differs(approval, issuance) is differs_in
        assert differs(approval, replace(issuance, replaces=None)) is None


def test_what_of_a_stored_certificate_was_not_approved_is_named_word_by_word() -> None:
    said = sealed(STEPS)
    claimed = Claimed(ORDER, "C1", "F014000-0000001", "investor", SPKI)
    assert list(unapproved(said, TERMS, claimed)) == []
    assert list(unapproved((), TERMS, claimed)) == ["approval.no_records"]
    for other, word in (
        (replace(claimed, spki_sha256="00" * 32), "approval.other_key"),
        (replace(claimed, customer="C2"), "approval.other_customer"),
        (replace(claimed, account="F014000-0000002"), "approval.other_account"),
        (replace(claimed, profile="another"), "approval.other_profile"),
    ):
        assert list(unapproved(said, TERMS, other)) == [word]
    old = sealed([*STEPS[:-1], (Event.RA_ORDER_SUBMITTED, {"terms": "00", "policy": "tw-broker@1"})])
    assert list(unapproved(old, TERMS, replace(claimed, profile="another"))) == [], "it names no profile"
    later = sealed([*STEPS, (Event.RA_ORDER_ISSUED, {"serial": "01"})])
    assert list(unapproved(later, TERMS, claimed)) == [], "the order's later story may follow"
