"""One certificate of an import: who made it, whether it has ended, whom it names, whether its key can renew."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import NameOID

from chopmark.pki import der as asn
from chopmark.pki import signing
from chopmark.pki.x509 import serial_of
from chopmark.ra.certificate_import.judging import Candidate, Judge, Refuse, way_of
from chopmark.ra.certificate_import.report import Found
from chopmark.ra.certificate_import.subjects import Named, Names
from chopmark.ra.certificate_import.tables import Cell
from chopmark.ra.former_issuers import FormerIssuer, FormerIssuers, NoStatus
from chopmark.ra.imported import Way

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
DER = serialization.Encoding.DER
OLD, OLDER, FORGER, CUSTOMER = (ec.generate_private_key(ec.SECP256R1()) for _ in range(4))
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(
    name: str,
    key: Key = CUSTOMER,
    by: ec.EllipticCurvePrivateKey = OLD,
    *extensions: x509.ExtensionType,
    issuer: str = "The old CA",
    ends: datetime = NOW + DAY,
    serial: int = 0x1234,
) -> bytes:
    made = x509.CertificateBuilder(named(issuer), named(name), key.public_key(), serial, NOW - DAY, ends)
    for extension in extensions:
        made = made.add_extension(extension, critical=True)
    return made.sign(by, hashes.SHA256()).public_bytes(DER)


def rewritten(der: bytes, before: bytes, after: bytes) -> bytes:
    """The certificate with other octets in it, signed again by the old CA."""
    _, algorithm, _ = asn.parts(asn.parts(der)[0].content)
    body = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    assert body.count(before) == 1
    changed = body.replace(before, after)
    return asn.signed(changed, algorithm.der, OLD.sign(changed, ec.ECDSA(hashes.SHA256())))


def version_1(der: bytes) -> bytes:
    """The certificate without what only version 3 has, signed again by the old CA."""
    _, algorithm, _ = asn.parts(asn.parts(der)[0].content)
    body = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    (whole,) = asn.parts(body)
    changed = asn.tlv(0x30, *(part.der for part in asn.parts(whole.content) if part.tag not in {0xA0, 0xA3}))
    return asn.signed(changed, algorithm.der, OLD.sign(changed, ec.ECDSA(hashes.SHA256())))


P256, SM2 = bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a811ccf5501822d")
"""The names of two curves; no library here knows the second one."""
IN_SM2 = rewritten(certificate("C1"), P256, SM2)


def usage(*, signs: bool = False, commits: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, content_commitment=commits, key_encipherment=True, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


IS_CA = x509.BasicConstraints(ca=True, path_length=None)
IS_NONE = x509.BasicConstraints(ca=False, path_length=None)
PINNED = certificate("The old CA", OLD, OLD, IS_CA)
OF_A_TIME_WITHOUT_CONSTRAINTS = certificate("The older CA", OLDER, OLDER, issuer="The older CA")
JUDGE = Judge(
    FormerIssuers(
        {
            "old": FormerIssuer("old", "舊", "Old", (PINNED,), ("CN={customer}",)),
            "older": FormerIssuer("older", "更舊", "Older", (OF_A_TIME_WITHOUT_CONSTRAINTS,)),
        },
        NoStatus(),
    )
)


def test_a_certificate_of_a_former_issuer_is_a_candidate_with_all_that_it_says() -> None:
    der = certificate("C1")
    found = JUDGE.judge(der, NOW)
    assert isinstance(found, Candidate)
    assert (found.issuer, found.serial, found.der, found.fit) == ("old", "1234", der, True)
    assert (found.not_before, found.not_after) == (NOW - DAY, NOW + DAY)
    assert found.named == {Named(Names.CUSTOMER, "C1")}
    older = JUDGE.judge(certificate("C1", CUSTOMER, OLDER, issuer="The older CA"), NOW)
    assert isinstance(older, Candidate)
    assert (older.issuer, older.named) == ("older", frozenset())


@pytest.mark.parametrize(
    ("der", "found"),
    [
        (PINNED, Found.AUTHORITY),
        (OF_A_TIME_WITHOUT_CONSTRAINTS, Found.AUTHORITY),
        (certificate("C1", CUSTOMER, OLD, IS_CA), Found.AUTHORITY),
        (certificate("C1", CUSTOMER, FORGER), Found.NOT_FORMER),
        (certificate("C1", CUSTOMER, OLD, issuer="Another CA"), Found.NOT_FORMER),
        (certificate("C1", CUSTOMER, OLD, issuer="The older CA"), Found.NOT_FORMER),
        (certificate("C1", ends=NOW - SECOND), Found.EXPIRED),
        (b"no certificate", Found.UNREADABLE),
        (certificate("C1") + b"\0", Found.UNREADABLE),
    ],
    ids=lambda value: value.value if isinstance(value, Found) else "",
)
def test_what_is_not_imported_says_why(der: bytes, found: Found) -> None:
    judged = JUDGE.judge(der, NOW)
    assert isinstance(judged, Refuse)
    assert judged.found is found
    assert judged.serial == ("" if found is Found.UNREADABLE else "1234")


def test_the_last_second_of_a_certificate_counts_and_so_does_one_that_is_said_to_be_no_ca() -> None:
    assert isinstance(JUDGE.judge(certificate("C1", CUSTOMER, OLD, IS_NONE, ends=NOW), NOW), Candidate)


@pytest.mark.parametrize(
    ("key", "extensions", "fit"),
    [
        (CUSTOMER, (), True),
        (CUSTOMER, (usage(signs=True),), True),
        (CUSTOMER, (usage(commits=True),), True),
        (CUSTOMER, (usage(),), False),
        (rsa.generate_private_key(65537, 2048), (), True),
        (rsa.generate_private_key(65537, 1024), (), False),
        (rsa.generate_private_key(3, 2048), (), False),
        (ec.generate_private_key(ec.SECP256K1()), (), False),
        (ed25519.Ed25519PrivateKey.generate(), (), False),
    ],
    ids=["P-256", "signs", "commits", "enciphers", "RSA", "RSA 1024", "exponent 3", "another curve", "Ed25519"],
)
def test_a_key_can_renew_if_it_may_sign_and_we_can_verify_it(
    key: Key, extensions: tuple[x509.ExtensionType, ...], *, fit: bool
) -> None:
    found = JUDGE.judge(certificate("C1", key, OLD, *extensions), NOW)
    assert isinstance(found, Candidate)
    assert found.fit is fit


@pytest.mark.parametrize("der", [IN_SM2, version_1(IN_SM2)], ids=["version 3", "version 1"])
def test_a_kind_of_key_that_no_library_knows_proves_no_renewal_and_stops_no_import(der: bytes) -> None:
    found = JUDGE.judge(der, NOW)
    assert isinstance(found, Candidate)
    assert not found.fit
    written = signing.spki_of(x509.load_der_x509_certificate(certificate("C1"))).replace(P256, SM2)
    assert found.spki_sha256 == hashlib.sha256(written).hexdigest()


def test_a_certificate_of_version_1_renews_as_any_other() -> None:
    found = JUDGE.judge(version_1(certificate("C1")), NOW)
    assert isinstance(found, Candidate)
    assert found.fit


@pytest.mark.parametrize(
    ("serial", "negative", "number"),
    [
        (0x7A0102030405, "8a0102030405", "8A0102030405"),
        (0x7F, "80", "80"),
        (0x7F00, "ff00", "FF00"),
    ],
)
def test_a_serial_number_whose_zero_the_ca_forgot_is_what_its_octets_are(
    serial: int, negative: str, number: str
) -> None:
    size = (serial.bit_length() + 7) // 8
    before = b"\x02" + bytes([size]) + serial.to_bytes(size, "big")
    der = rewritten(certificate("C1", serial=serial), before, before[:2] + bytes.fromhex(negative))
    with pytest.warns(CryptographyDeprecationWarning):
        found = JUDGE.judge(der, NOW)
    assert isinstance(found, Candidate)
    assert found.serial == number
    with pytest.warns(CryptographyDeprecationWarning):
        assert serial_of(der) == number


@pytest.mark.parametrize(
    ("written", "way"),
    [
        ("P12", Way.FILE),
        (" file ", Way.FILE),
        ("元件", Way.VAULT),
        ("無", Way.NONE),
        ("", Way.UNKNOWN),
        ("x", Way.UNKNOWN),
    ],
)
def test_a_table_says_in_words_where_the_key_is(written: str, way: Way) -> None:
    assert way_of({Cell.KEY: written}) is way
