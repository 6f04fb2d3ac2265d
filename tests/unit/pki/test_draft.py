"""A draft is a function of profile, issuer, key, records and time; strangers accept what becomes of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from asn1crypto import core
from asn1crypto import x509 as strange
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki.draft import DraftError, Urls, assemble, make_serial, shard
from tests.vectors.pki.house import NOW, SUBJECT, URLS, customer, house, openssl, pem, profile, sign_as, write_chain


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
@pytest.mark.parametrize("key", list(KeyAlgorithm))
def test_openssl_accepts_the_chain_in_its_strictest_mode(tmp_path, algorithm, key):
    made = house(algorithm)
    root, issuing = write_chain(made, tmp_path)
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(pem(made.issue(made.draft(spki_der=customer(key).public_key_der))))
    at = int(NOW.timestamp())
    for purpose in ("smimesign", "sslclient"):
        answer = openssl(
            "verify", "-x509_strict", "-attime", at, "-purpose", purpose,
            "-CAfile", root, "-untrusted", issuing, leaf,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
    assert openssl(
        "verify", "-attime", at, "-purpose", "sslserver", "-CAfile", root, "-untrusted", issuing, leaf
    ).returncode


def test_a_stranger_reads_what_the_profile_says():
    made = house()
    read = strange.Certificate.load(made.issue(made.draft()))
    assert read.subject.native == {
        "country_name": "TW",
        "organization_name": "示範期貨",
        "organizational_unit_name": "電子交易",
        "common_name": "C0001234",
    }
    assert read.not_valid_before == NOW - timedelta(seconds=300)
    assert read.not_valid_after == datetime(2027, 3, 1, 3, 54, 59, tzinfo=UTC)
    assert read.ca is False
    assert read.key_usage_value.native == {"digital_signature", "non_repudiation"}
    assert read.extended_key_usage_value.native == ["client_auth", "email_protection"]
    assert read.ocsp_urls == [URLS.ocsp]
    assert read.crl_distribution_points[0].url == URLS.crl
    assert read.authority_key_identifier == made.issuing.key_identifier
    assert read.key_identifier == read.public_key.sha1


def test_two_drafts_of_the_same_values_are_the_same_octets():
    assert house().draft().tbs_der == house().draft().tbs_der


@pytest.mark.parametrize(("year", "kinds"), [(2048, ["utc_time", "utc_time"]), (2049, ["utc_time", "general_time"])])
def test_times_after_2049_are_generalized(year, kinds):
    issuer = replace(house().issuing, not_after=datetime(2060, 1, 1, tzinfo=UTC))
    made = house().draft(issuer=issuer, now=datetime(year, 6, 1, tzinfo=UTC))
    validity = strange.TbsCertificate.load(made.tbs_der)["validity"]
    assert [validity["not_before"].name, validity["not_after"].name] == kinds


def test_a_certificate_does_not_outlive_its_issuer_and_does_not_begin_before_it():
    issuing = house().issuing
    fits = replace(issuing, not_after=datetime(2027, 3, 1, 3, 54, 59, tzinfo=UTC))
    assert house().draft(issuer=fits).not_after == fits.not_after
    short = replace(issuing, not_after=fits.not_after - timedelta(seconds=1))
    with pytest.raises(DraftError) as caught:
        house().draft(issuer=short)
    assert caught.value.code == "outlives_issuer"
    assert house().draft(now=issuing.not_before).not_before == issuing.not_before
    with pytest.raises(DraftError) as caught:
        house().draft(now=issuing.not_before - timedelta(seconds=1))
    assert caught.value.code == "issuer_not_yet_valid"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"serial": 0}, "serial"),
        ({"serial": 1 << 159}, "serial"),
        ({"spki_der": b"no key"}, "key"),
        ({"subject": {}}, "subject"),
        ({"subject": {**SUBJECT, "customer": "a\x00b"}}, "subject"),
        ({"subject": {**SUBJECT, "firm": "x" * 65}}, "subject"),
    ],
)
def test_what_cannot_become_a_certificate_has_a_reason(change, code):
    with pytest.raises(DraftError) as caught:
        house().draft(**change)
    assert caught.value.code == code


def test_a_kind_of_key_that_the_profile_does_not_allow_is_refused():
    with pytest.raises(DraftError) as caught:
        house().draft(profile=replace(profile(), keys=frozenset({KeyAlgorithm.RSA3072})))
    assert caught.value.code == "key"


def test_a_serial_is_positive_has_its_node_in_front_and_at_most_twenty_octets():
    for node in (1, 0x7F):
        for random in (bytes(17), b"\xff" * 17):
            serial = make_serial(node, random)
            assert serial.to_bytes(18, "big") == bytes((node,)) + random
            assert len(core.Integer(serial).contents) <= 20
    for node, random in ((0, bytes(17)), (0x80, bytes(17)), (1, bytes(16))):
        with pytest.raises(ValueError, match=r"node|random"):
            make_serial(node, random)


def test_a_shard_is_fixed_by_the_serial():
    assert {shard(serial, 4) for serial in range(100)} == {0, 1, 2, 3}


def test_a_policy_may_point_to_a_practice_statement():
    made = house().draft(profile=replace(profile(), cps_uri="http://ca.example/cps"))
    certificate = x509.load_der_x509_certificate(
        assemble(made.tbs_der, made.signature_algorithm_der, sign_as(house().issuing_key, made.tbs_der))
    )
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert policies[0].policy_qualifiers == ["http://ca.example/cps"]


def test_a_certificate_is_not_assembled_under_another_algorithm():
    made = house().draft()
    other = house(KeyAlgorithm.P384).draft()
    with pytest.raises(ValueError, match="algorithm"):
        assemble(made.tbs_der, other.signature_algorithm_der, b"\x30\x00")


def test_an_address_of_a_draft_is_the_caller_s():
    made = house().draft(urls=Urls("http://o.example/", "http://i.example/", "http://c.example/7.crl"))
    assert b"http://c.example/7.crl" in made.tbs_der


@pytest.mark.parametrize("key", list(KeyAlgorithm))
@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.RSA2048])
@pytest.mark.parametrize(
    ("serial", "days"), [(1 << 152 | 5, 0), ((1 << 159) - 1, 200), (0x80 << 136, 24 * 365)], ids=["low", "high", "late"]
)
def test_a_draft_is_octet_for_octet_what_another_library_writes_of_the_same_values(algorithm, key, serial, days):
    made = house(algorithm)
    drafted = made.draft(
        serial=serial, spki_der=customer(key).public_key_der, now=min(NOW + timedelta(days=days), latest(made))
    )
    read = x509.load_der_x509_certificate(made.issue(drafted))
    builder = (
        x509.CertificateBuilder(issuer_name=read.issuer, subject_name=read.subject)
        .serial_number(read.serial_number)
        .not_valid_before(read.not_valid_before_utc)
        .not_valid_after(read.not_valid_after_utc)
        .public_key(read.public_key())
    )
    for extension in read.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    again = builder.sign(stranger(algorithm), algorithm.hash_algorithm)
    assert again.tbs_certificate_bytes == drafted.tbs_der


@cache
def stranger(algorithm: KeyAlgorithm):
    """Anybody's key of the issuer's kind: what is compared is signed, not the signature."""
    if algorithm is KeyAlgorithm.RSA2048:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP384R1() if algorithm is KeyAlgorithm.P384 else ec.SECP256R1())


def latest(made):
    """A year before the issuer's end, so that a certificate still fits."""
    return made.issuing.not_after - timedelta(days=370)
