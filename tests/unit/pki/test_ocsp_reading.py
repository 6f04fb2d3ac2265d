"""Another CA's responder, as openssl answers: what it says is believed, and what is not."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from chopmark.pki import ocsp_reading
from chopmark.pki.ocsp_reading import MAX_SKEW, WITHOUT_END, Asked, Judged, Misfit
from tests.old_ca import OldCa, openssl
from tests.tables import START
from tests.vectors.pki.broken import with_an_unused_bit

GOOD, BAD = 0x2001, 0x2002
ASKED = Asked(GOOD, bytes(range(32)))
REVOKED_AT = START - timedelta(days=9)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> OldCa:
    ca = OldCa(tmp_path_factory.mktemp("old"))
    for name, extensions in (("responder", "responder"), ("customer", "customer")):
        ca.issue(name, f"/CN={name}", extensions)
    ca.issue("ended", "/CN=ended", "responder", ("20200101000000Z", "20210101000000Z"))
    ca.good, ca.revoked = [GOOD], {BAD: (REVOKED_AT, "keyCompromise")}
    return ca


def pem(ca: OldCa, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(Path(ca.path(f"{name}.pem")).read_bytes())


def answered(ca: OldCa, asked: Asked, signer: str = "ca") -> tuple[bytes, datetime]:
    """openssl's answer, and when it was made: openssl's clock is the only one that it can be compared with."""
    answer = ca.answers(ocsp_reading.request(pem(ca, "ca"), asked), signer)
    return answer, ocsp.load_der_ocsp_response(answer).this_update_utc


def judged(ca: OldCa, asked: Asked = ASKED, signer: str = "ca", later: timedelta = timedelta(0)) -> Judged | Misfit:
    answer, made = answered(ca, asked, signer)
    return ocsp_reading.judge(answer, pem(ca, "ca"), asked, (), made + later)


@pytest.mark.parametrize("signer", ["ca", "responder"])
def test_an_answer_by_the_ca_or_its_responder_says_good_or_revoked(old: OldCa, signer: str) -> None:
    answer, made = answered(old, ASKED, signer)
    assert ocsp_reading.judge(answer, pem(old, "ca"), ASKED, (), made) == Judged(made + timedelta(days=1))
    bad = judged(old, Asked(BAD, bytes(32)), signer)
    assert isinstance(bad, Judged)
    assert (bad.revoked_at, bad.reason) == (REVOKED_AT, "key_compromise")


@pytest.mark.parametrize("signer", ["ca", "responder"])
def test_an_answer_whose_signature_has_an_unused_bit_is_not_believed(old: OldCa, signer: str) -> None:
    while (signature := ocsp.load_der_ocsp_response((found := answered(old, ASKED, signer))[0]).signature)[-1] % 2:
        pass  # in DER an unused bit is zero
    answer, made = found
    assert isinstance(ocsp_reading.judge(answer, pem(old, "ca"), ASKED, (), made), Judged)
    other = with_an_unused_bit(answer, signature)
    assert ocsp.load_der_ocsp_response(other).signature == signature  # the library takes both for one
    assert ocsp_reading.judge(other, pem(old, "ca"), ASKED, (), made) == Misfit("malformed")


@pytest.mark.parametrize(("signer", "why"), [("customer", "signer"), ("ended", "signer")])
def test_an_answer_by_a_certificate_that_may_not_answer_is_not_believed(old: OldCa, signer: str, why: str) -> None:
    assert judged(old, signer=signer) == Misfit(why)


def test_an_answer_of_another_ca_of_the_same_name_is_not_believed(old: OldCa, tmp_path: Path) -> None:
    forger = OldCa(tmp_path, good=[GOOD])
    answer, made = answered(forger, ASKED)
    assert ocsp_reading.judge(answer, pem(old, "ca"), ASKED, (), made) == Misfit("signer")


def test_an_answer_counts_from_its_this_update_to_its_next_update(old: OldCa) -> None:
    day, second = timedelta(days=1), timedelta(seconds=1)
    assert judged(old, later=day) == Misfit("late")
    assert isinstance(judged(old, later=day - second), Judged)
    assert isinstance(judged(old, later=-MAX_SKEW), Judged)
    assert judged(old, later=-MAX_SKEW - second) == Misfit("future")


def test_an_answer_without_an_end_counts_for_minutes(old: OldCa) -> None:
    answer = old.answers(ocsp_reading.request(pem(old, "ca"), ASKED), days=None)
    made = ocsp.load_der_ocsp_response(answer).this_update_utc
    assert ocsp_reading.judge(answer, pem(old, "ca"), ASKED, (), made) == Judged(made + WITHOUT_END)


def test_an_answer_to_another_question_is_not_believed(old: OldCa) -> None:
    answer, made = answered(old, ASKED)
    ca = pem(old, "ca")
    assert ocsp_reading.judge(answer, ca, Asked(GOOD, bytes(32)), (), made) == Misfit("nonce")
    assert ocsp_reading.judge(answer, ca, Asked(BAD, ASKED.nonce), (), made) == Misfit("other_certificate")


def test_an_answer_without_a_nonce_counts_unless_one_is_required(old: OldCa) -> None:
    asked = openssl(
        *("ocsp", "-no_nonce", "-issuer", old.path("ca.pem"), "-serial", str(GOOD), "-reqout", "/dev/stdout")
    )
    answer = old.answers(asked)
    made = ocsp.load_der_ocsp_response(answer).this_update_utc
    assert isinstance(ocsp_reading.judge(answer, pem(old, "ca"), ASKED, (), made), Judged)
    required = Asked(GOOD, ASKED.nonce, nonce_required=True)
    assert ocsp_reading.judge(answer, pem(old, "ca"), required, (), made) == Misfit("nonce")
    assert isinstance(judged(old, required), Judged)


def test_what_the_responder_does_not_know_is_unknown(old: OldCa) -> None:
    assert judged(old, Asked(0x9999, bytes(32))) == Misfit("unknown")


def test_an_error_and_what_is_no_answer_are_told_apart(old: OldCa) -> None:
    ca = pem(old, "ca")
    assert ocsp_reading.judge(bytes((0x30, 3, 0x0A, 1, 6)), ca, ASKED, (), START) == Misfit("refused")
    assert ocsp_reading.judge(b"<html>", ca, ASKED, (), START) == Misfit("malformed")
    answer, made = answered(old, ASKED)
    signed = ocsp.load_der_ocsp_response(answer).tbs_response_bytes
    first = answer.index(signed)
    for place in range(first, first + len(signed), 5):
        bent = answer[:place] + bytes((answer[place] ^ 1,)) + answer[place + 1 :]
        found = ocsp_reading.judge(bent, ca, ASKED, (), made)
        assert isinstance(found, Misfit), place
