"""What another CA sends: each thing that does not fit has its own code, and a second decides at the edges."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from chopmark.ca.shipped import profile_text
from chopmark.pki import profile as profiles
from chopmark.pki.received import Anchors, Naming, Wanted, is_asked_for, judge

NOW = datetime(2026, 3, 2, 1, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
A_YEAR = timedelta(days=365) - SECOND  # RFC 5280 s.4.1.2.5: the last second counts
PROFILE = profiles.load(profile_text("investor"))
DER = serialization.Encoding.DER
CLIENT_AND_MAIL = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION)
OURS = ec.generate_private_key(ec.SECP256R1())
CA_KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
ROOT_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Another CA of this test")])


@dataclass(frozen=True)
class Asked:
    """What the CA puts into the certificate; as it stands, everything that was asked for."""

    key: ec.EllipticCurvePrivateKey = OURS
    names: tuple[str, ...] = ("C0001234",)
    start: datetime = NOW
    lives: timedelta = A_YEAR
    serial: int = 4711
    purposes: tuple[x509.ObjectIdentifier, ...] = CLIENT_AND_MAIL
    digital_signature: bool = True
    crl_sign: bool = False
    cert_sign: bool = False
    is_ca: bool = False
    alternative: bool = False
    signed_with: str = "P-256"
    digest: hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = field(default_factory=hashes.SHA256)


def usage(*, signs: bool, crl_sign: bool, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs, content_commitment=signs, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=cert_sign, crl_sign=crl_sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def root(kind: str) -> bytes:
    key = CA_KEYS[kind]
    made = (
        x509.CertificateBuilder()
        .subject_name(ROOT_NAME)
        .issuer_name(ROOT_NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1000))
        .not_valid_after(NOW + timedelta(days=2000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs=False, crl_sign=True, cert_sign=True), critical=True)
        .sign(key, None if kind == "Ed25519" else hashes.SHA256())
    )
    return made.public_bytes(DER)


def answer(asked: Asked) -> bytes:
    """Return the certificate as the other CA signs it."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in asked.names])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ROOT_NAME)
        .public_key(asked.key.public_key())
        .serial_number(asked.serial)
        .not_valid_before(asked.start)
        .not_valid_after(asked.start + asked.lives)
        .add_extension(x509.BasicConstraints(ca=asked.is_ca, path_length=None), critical=True)
        .add_extension(
            usage(signs=asked.digital_signature, crl_sign=asked.crl_sign, cert_sign=asked.cert_sign), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage(asked.purposes), critical=False)
    )
    if asked.alternative:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("other.example")]), critical=False)
    return made.sign(CA_KEYS[asked.signed_with], asked.digest).public_bytes(DER)


def codes(asked: Asked, naming: Naming = Naming.OURS, now: datetime = NOW) -> set[str]:
    spki = OURS.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wanted = Wanted(spki, (("CN", "C0001234"),), naming, PROFILE)
    judged = judge(answer(asked), (), wanted, Anchors((root(asked.signed_with),), ()), now)
    return {finding.code for finding in judged.findings}


GOOD = Asked()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"signed_with": "RSA"},
        {"digest": hashes.SHA384()},
        {"digest": hashes.SHA512()},
        {"serial": (1 << 159) - 1},
        {"start": NOW + timedelta(minutes=5)},
        {"start": NOW - timedelta(days=1)},
        {"lives": A_YEAR + timedelta(days=1)},
        {"lives": A_YEAR - timedelta(days=31)},
        {"purposes": (*CLIENT_AND_MAIL, x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.12"))},
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_a_certificate_that_fits_has_no_finding(change: dict[str, Any]) -> None:
    asked = replace(GOOD, **change)
    assert codes(asked, now=max(NOW, asked.start)) - {"not_before"} == set()
    assert "not_before" not in codes(asked)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"key": ec.generate_private_key(ec.SECP256R1())}, "key"),
        ({"names": ("C0001235",)}, "subject"),
        ({"names": ("C0001234", "another")}, "subject"),
        ({"names": ()}, "subject"),
        ({"start": NOW + timedelta(minutes=5) + SECOND}, "not_before"),
        ({"start": NOW - timedelta(days=1) - SECOND}, "not_before"),
        ({"lives": A_YEAR + timedelta(days=1) + SECOND}, "not_after"),
        ({"lives": A_YEAR - timedelta(days=31) - SECOND}, "not_after"),
        ({"digital_signature": False}, "key_usage"),
        ({"crl_sign": True}, "key_usage"),
        ({"cert_sign": True}, "key_usage"),
        ({"is_ca": True}, "ca"),
        ({"purposes": CLIENT_AND_MAIL[:1]}, "eku"),
        ({"purposes": CLIENT_AND_MAIL[1:]}, "eku"),
        ({"purposes": (*CLIENT_AND_MAIL, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)}, "eku"),
        ({"purposes": (*CLIENT_AND_MAIL, ExtendedKeyUsageOID.SERVER_AUTH)}, "eku"),
        ({"purposes": (*CLIENT_AND_MAIL, ExtendedKeyUsageOID.CODE_SIGNING)}, "eku"),
        ({"purposes": (*CLIENT_AND_MAIL, ExtendedKeyUsageOID.TIME_STAMPING)}, "eku"),
        ({"purposes": (*CLIENT_AND_MAIL, ExtendedKeyUsageOID.OCSP_SIGNING)}, "eku"),
        ({"alternative": True}, "alternative_name"),
        ({"digest": hashes.SHA224()}, "signature_algorithm"),
        ({"signed_with": "Ed25519", "digest": None}, "signature_algorithm"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_each_thing_that_does_not_fit_has_its_code(change: dict[str, Any], code: str) -> None:
    assert code in codes(replace(GOOD, **change))


def test_a_ca_that_names_the_holder_itself_keeps_the_value_that_names_the_customer() -> None:
    assert codes(replace(GOOD, names=("A person", "C0001234")), Naming.THEIRS) == set()
    assert codes(replace(GOOD, names=("A person",)), Naming.THEIRS) == {"subject"}
    assert codes(replace(GOOD, alternative=True), Naming.THEIRS) == set()


def test_a_certificate_of_a_ca_that_is_no_anchor_has_no_chain() -> None:
    spki = OURS.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wanted = Wanted(spki, (("CN", "C0001234"),), Naming.OURS, PROFILE)
    judged = judge(answer(GOOD), (), wanted, Anchors((root("RSA"),), ()), NOW)
    assert (judged.chain, judged.codes) == ((), "chain")


@pytest.mark.parametrize(
    ("change", "asked_for"),
    [
        ({}, True),
        ({"names": ("C0001235",)}, True),
        ({"key": ec.generate_private_key(ec.SECP256R1())}, True),
        ({"key": ec.generate_private_key(ec.SECP256R1()), "names": ("C0001235",)}, False),
    ],
    ids=["both", "our key under another name", "our name with another key", "somebody else's"],
)
def test_what_the_ca_made_of_our_key_or_our_name_is_ours_to_have_revoked(
    change: dict[str, Any], asked_for: bool
) -> None:
    spki = OURS.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wanted = Wanted(spki, (("CN", "C0001234"),), Naming.OURS, PROFILE)
    made = answer(replace(GOOD, **change))
    assert is_asked_for(made, wanted, Anchors((root("P-256"),), ())) is asked_for
    assert not is_asked_for(made, wanted, Anchors((root("RSA"),), ())), "this CA has not signed it"


@pytest.mark.parametrize("sent", [b"", b"\x30\x00", answer(GOOD)[:-1], answer(GOOD) + b"\0", b"\x30" * 20_000])
def test_what_is_no_certificate_is_malformed(sent: bytes) -> None:
    spki = OURS.public_key().public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    wanted = Wanted(spki, (("CN", "C0001234"),), Naming.OURS, PROFILE)
    assert judge(sent, (), wanted, Anchors((root("P-256"),), ()), NOW).codes == "malformed"
