"""A whole house of certificates, made fresh: root, issuing CA, responder and a customer; no key is ever stored."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from chopmark.core.types import IssuerId, OrderId, Secret
from chopmark.keys.adapter import as_private_key
from chopmark.keys.file import FileSigner, create_derived
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import signing
from chopmark.pki.ceremony import SerialAndValidity, issuing_certificate, ocsp_responder_certificate, root_certificate
from chopmark.pki.draft import Draft, Urls, draft, make_serial
from chopmark.pki.linting_certificate import Allowed, Linted, LintingCertificate, Reserved, lint
from chopmark.pki.profile import Profile, load
from chopmark.pki.signing import IssuerKey
from chopmark.pki.x509 import IssuerView

PASSPHRASE = Secret("correct horse battery staple")
NOW = datetime(2026, 3, 1, 4, 0, 0, tzinfo=UTC)
URLS = Urls(
    ocsp="http://ca.example/ocsp", ca_issuers="http://ca.example/issuing.cer", crl="http://ca.example/crl/0.crl"
)
ROOT_URLS = Urls(ocsp="", ca_issuers="http://ca.example/root.cer", crl="http://ca.example/root.crl")
SUBJECT = {
    "customer": "C0001234",
    "firm": "示範期貨",
    "unit": "電子交易",
    "ra": "demo",
    "national_id": "A234567893",
    "holder": "王小明",
    "account": "F014000-0000007",
}


def signer(algorithm: KeyAlgorithm) -> FileSigner:
    """A fresh key; its file is not stretched, which takes a fifth of a second and is tested where such files are."""
    return FileSigner.open(create_derived(algorithm, PASSPHRASE), PASSPHRASE)


@cache
def _customer(algorithm: KeyAlgorithm) -> FileSigner:
    return signer(algorithm)


def customer(algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> FileSigner:
    """The key of the one customer of this kind: the same at each call."""
    return _customer(algorithm)


@cache
def profile(name: str = "investor") -> Profile:
    return load(files("chopmark.ca").joinpath(f"profiles/{name}.toml").read_text("utf-8"))


@dataclass(frozen=True)
class House:
    root_key: IssuerKey
    root: IssuerView
    issuing_key: IssuerKey
    issuing: IssuerView
    ocsp_key: IssuerKey
    ocsp_der: bytes

    @property
    def allowed(self) -> Allowed:
        return Allowed(frozenset({URLS.crl}), profile().validity, self.issuing.not_before, self.issuing.not_after)

    def draft(self, serial: int = 0x7F << 136 | 1 << 100, **changes) -> Draft:
        given = {
            "profile": profile(),
            "issuer": self.issuing,
            "serial": serial,
            "spki_der": customer().public_key_der,
            "subject": SUBJECT,
            "now": NOW,
            "urls": URLS,
        }
        return draft(**{**given, **changes})

    def issue(self, made: Draft) -> bytes:
        linted = lint(made, LintingCertificate(made.tbs_der, made.linting_certificate_key, self.allowed))
        assert isinstance(linted, Linted)
        signature = sign_as(self.issuing_key, made.tbs_der)
        return Reserved(linted, OrderId("O"), 1).issue(signature).certificate_der


def sign_as(key: IssuerKey, data: bytes) -> bytes:
    return signing.sign(key, data)


def house(algorithm: KeyAlgorithm = KeyAlgorithm.P256) -> House:
    """The one house whose keys are of this kind: the same at each call."""
    return _house(algorithm)


@cache
def _house(algorithm: KeyAlgorithm) -> House:
    root_key, issuing_key, ocsp_key = (as_private_key(signer(algorithm)) for _ in range(3))
    start = NOW - timedelta(days=30)
    root_der = root_certificate(
        root_key,
        [("C", "TW"), ("O", "示範期貨"), ("CN", "示範根憑證")],
        SerialAndValidity(make_serial(1, bytes(range(17))), start, start + timedelta(days=7300)),
    )
    root = IssuerView.read(IssuerId("root"), root_der)
    issuing_der = issuing_certificate(
        root_key,
        root,
        spki_of(issuing_key),
        [("C", "TW"), ("O", "示範期貨"), ("CN", "示範簽發憑證")],
        SerialAndValidity(make_serial(1, bytes(range(1, 18))), start, start + timedelta(days=3650)),
        ROOT_URLS,
    )
    issuing = IssuerView.read(IssuerId("issuing"), issuing_der)
    ocsp_der = ocsp_responder_certificate(
        issuing_key,
        issuing,
        spki_of(ocsp_key),
        [("C", "TW"), ("O", "示範期貨"), ("CN", "OCSP 1")],
        SerialAndValidity(make_serial(1, bytes(range(2, 19))), start, start + timedelta(days=90)),
    )
    return House(root_key, root, issuing_key, issuing, ocsp_key, ocsp_der)


def spki_of(key: IssuerKey) -> bytes:
    return signing.spki(key.public_key())


def pem(*certificates: bytes) -> bytes:
    return b"".join(
        x509.load_der_x509_certificate(der).public_bytes(serialization.Encoding.PEM) for der in certificates
    )


def write_chain(house: House, folder: Path) -> tuple[Path, Path]:
    root, issuing = folder / "root.pem", folder / "issuing.pem"
    root.write_bytes(pem(house.root.certificate_der))
    issuing.write_bytes(pem(house.issuing.certificate_der))
    return root, issuing


def openssl(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the openssl program; its answer is a stranger's opinion."""
    return subprocess.run(
        ["openssl", *(str(argument) for argument in arguments)], input=stdin, capture_output=True, check=False
    )
