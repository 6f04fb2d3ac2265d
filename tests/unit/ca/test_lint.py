"""pkilint, a stranger, finds nothing wrong with what the house signs, and does find what is wrong."""

from datetime import timedelta

import pytest

from chopmark.ca.lint import Linter, LintFinding
from chopmark.keys.adapter import as_private_key
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki.crl import CrlReason, RevokedEntry, build_crl
from chopmark.pki.draft import assemble
from chopmark.pki.linting_certificate import Linted, LintingCertificate, lint
from chopmark.pki.ocsp import Answer, Good, Revoked, Unknown, build_response, cert_id
from tests import ocsp_lint
from tests.vectors.pki.house import NOW, customer, house, profile, sign_as, signer

ISSUERS = [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048]


@pytest.fixture(scope="module")
def linter() -> Linter:
    return Linter()


@pytest.mark.parametrize("algorithm", ISSUERS)
def test_the_ceremony_s_certificates_are_clean(linter, algorithm):
    made = house(algorithm)
    for certificate_der in (made.root.certificate_der, made.issuing.certificate_der, made.ocsp_der):
        assert linter.findings_certificate(certificate_der) == ()


@pytest.mark.parametrize("algorithm", ISSUERS)
@pytest.mark.parametrize("name", ["investor", "investor-market"])
@pytest.mark.parametrize("key", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
def test_a_customer_s_certificate_is_clean_for_every_profile_and_key(linter, algorithm, name, key):
    made = house(algorithm)
    certificate_der = made.issue(made.draft(profile=profile(name), spki_der=customer(key).public_key_der))
    assert linter.findings_certificate(certificate_der) == ()


def test_a_certificate_that_ends_after_2049_is_clean(linter):
    from dataclasses import replace
    from datetime import UTC, datetime

    made = house()
    issuer = replace(made.issuing, not_after=datetime(2060, 1, 1, tzinfo=UTC))
    certificate_der = made.draft(issuer=issuer, now=datetime(2049, 6, 1, tzinfo=UTC))
    algorithm = certificate_der.signature_algorithm_der
    signed = assemble(certificate_der.tbs_der, algorithm, sign_as(made.issuing_key, certificate_der.tbs_der))
    assert linter.findings_certificate(signed) == ()


@pytest.mark.parametrize("url", [None, "http://ca.example/crl/0.crl"])
@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("algorithm", ISSUERS)
def test_a_crl_is_clean_empty_or_not_whole_or_a_shard(linter, url, count, algorithm):
    made = house(algorithm)
    reasons = [CrlReason.SUPERSEDED, CrlReason.KEY_COMPROMISE, CrlReason.UNSPECIFIED]
    entries = [RevokedEntry(1 << 70 | n, NOW, reasons[n]) for n in range(count)]
    crl_der = build_crl(made.issuing, made.issuing_key, 7, NOW, NOW + timedelta(hours=12), entries, url)
    assert linter.findings_crl(crl_der) == ()


@pytest.mark.parametrize("algorithm", ISSUERS)
@pytest.mark.parametrize("status", [Good(), Revoked(NOW, CrlReason.SUPERSEDED), Unknown()])
def test_an_ocsp_answer_is_clean(status, algorithm):
    made = house(algorithm)
    answer = Answer(cert_id(made.issuing, 5, "sha1").der, status, NOW, NOW + timedelta(hours=24))
    response = build_response(made.ocsp_key, made.ocsp_der, [answer], NOW)
    assert ocsp_lint.findings(response) == []


def test_an_exemplar_is_made_with_a_throw_away_key_and_stands_for_the_real_draft(linter):
    made = house()
    linting_certificate = linter.linting_certificate(
        made.draft(), as_private_key(signer(KeyAlgorithm.P256)), made.allowed
    )
    assert isinstance(linting_certificate, LintingCertificate)
    assert isinstance(lint(made.draft(serial=2 << 136 | 5), linting_certificate), Linted)


def test_a_throw_away_key_of_another_kind_makes_no_exemplar(linter):
    made = house()
    with pytest.raises(ValueError, match="kind"):
        linter.linting_certificate(made.draft(), as_private_key(signer(KeyAlgorithm.P384)), made.allowed)


def test_a_certificate_without_its_key_identifier_is_found_out(linter):
    made = house()
    tbs = made.draft()
    broken = tbs.tbs_der.replace(bytes.fromhex("0603551d0e"), bytes.fromhex("0603551d0f"))
    found = linter.findings_certificate(
        assemble(broken, tbs.signature_algorithm_der, sign_as(made.issuing_key, broken))
    )
    assert found
    assert all(isinstance(finding, LintFinding) for finding in found)


def test_bytes_that_are_no_document_are_a_finding(linter):
    assert linter.findings_certificate(b"not a certificate")[0].severity == "FATAL"
    assert linter.findings_crl(b"\x30\x00")[0].severity == "FATAL"
