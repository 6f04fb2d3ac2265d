"""One certificate of an import: who made it, whether it has ended, whom it names, whether its key can renew."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

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
        (ec.generate_private_key(ec.SECP256K1()), (), False),
        (ed25519.Ed25519PrivateKey.generate(), (), False),
    ],
    ids=["P-256", "signs", "commits", "enciphers", "RSA", "another curve", "Ed25519"],
)
def test_a_key_can_renew_if_it_may_sign_and_we_can_verify_it(
    key: Key, extensions: tuple[x509.ExtensionType, ...], *, fit: bool
) -> None:
    found = JUDGE.judge(certificate("C1", key, OLD, *extensions), NOW)
    assert isinstance(found, Candidate)
    assert found.fit is fit


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
