"""The demo's old CA: the one that issued to some of the demo's customers before Chopmark did.

Its files lie in a folder of the demo's data: certificate, key, revocation list, the customers' certificates as an
export, and the list of former issuers that names it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from chopmark.audit.durable import write_durably
from chopmark.client.signing import ClientKey
from chopmark.core.clock import Entropy
from chopmark.core.types import IssuerId
from chopmark.pki.crl import CrlReason, RevokedEntry, build_crl
from chopmark.pki.x509 import IssuerView

YEAR: Final = timedelta(days=365)
LIST_LIFE: Final = timedelta(days=60)
"""Longer than a demo is of use."""
_LIST = """# Written by `chopmark demo`: the CA that some of its customers had before.
[[former_issuer]]
id = "old-demo-ca"
name_zh = "舊憑證公司（示範）"
name_en = "Former Certification Company (demo)"
certificates = ["ca.pem"]
subject_templates = ["CN=TW{person_id}*, OU=RA-DemoFutures"]
status = "crl"
crl = ["former.crl"]
"""


@dataclass(frozen=True, slots=True)
class FormerCa:
    """The old CA, opened."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def opened(cls, folder: Path, now: datetime) -> "FormerCa":
        """Return the old CA of this folder; it is made unless it is there."""
        if not (folder / "former.toml").is_file():
            _found(folder, now.replace(microsecond=0))
        key = load_pem_private_key((folder / "ca.key.pem").read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the demo's old CA has another kind of key")
        return cls(folder, key, x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()))

    def issue(self, person_id: str, key: ClientKey, begins: datetime, entropy: Entropy) -> bytes:
        """Return a certificate of a year for a customer's key, DER, named as CAs of this market do."""
        names = (
            (NameOID.COMMON_NAME, f"TW{person_id}1"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "RA-DemoFutures"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "Demo Futures"),
            (NameOID.ORGANIZATION_NAME, "Certification Service Provider"),
            (NameOID.COUNTRY_NAME, "TW"),
        )
        builder = _builder(names, self.certificate.subject, begins.replace(microsecond=0), YEAR)
        builder = builder.public_key(key.private_key.public_key())
        builder = builder.serial_number(int.from_bytes(b"\x01" + entropy.token(15), "big"))
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs_data=True), critical=True)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def publish(self, now: datetime, revoked: list[RevokedEntry]) -> None:
        """Write the CA's revocation list."""
        view = IssuerView.read(IssuerId("former"), self.certificate.public_bytes(Encoding.DER))
        begins = now.replace(microsecond=0)
        (self.folder / "former.crl").write_bytes(
            build_crl(view, self.key, 1, begins, begins + LIST_LIFE, revoked, None)
        )


def revoked_at(certificate_der: bytes, at: datetime) -> RevokedEntry:
    """Return the line of a list for this certificate: its holder has lost the key."""
    serial = x509.load_der_x509_certificate(certificate_der).serial_number
    return RevokedEntry(serial, at.replace(microsecond=0), CrlReason.KEY_COMPROMISE)


def _found(folder: Path, now: datetime) -> None:
    """Make key and certificate, and last of all the list that names them."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    names = (
        (NameOID.COUNTRY_NAME, "TW"),
        (NameOID.ORGANIZATION_NAME, "Former Certification Company (demo)"),
        (NameOID.COMMON_NAME, "Former Demo CA"),
    )
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    builder = _builder(names, subject, now - 3 * YEAR, 10 * YEAR).public_key(key.public_key()).serial_number(1)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_data=False), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    write_durably(folder / "ca.key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "former.toml").write_text(_LIST, encoding="utf-8")


def _builder(
    names: tuple[tuple[x509.ObjectIdentifier, str], ...], issuer: x509.Name, begins: datetime, life: timedelta
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    return builder.not_valid_before(begins).not_valid_after(begins + life)


def _usage(*, signs_data: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=signs_data,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs_data,
        crl_sign=not signs_data,
        encipher_only=False,
        decipher_only=False,
    )
