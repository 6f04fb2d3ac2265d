"""Certificates of an old CA by the hundred thousand: each has its own key, serial number and subject, and verifies.

One certificate is built as usual. The others are its TBSCertificate with serial number, name and key written over, and
a signature of their own.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from chopmark.pki import der
from chopmark.pki.algorithms import KeyKind

YEAR = timedelta(days=365)
CURVE = ec.SECP256R1()
PLACE = "A000000000"


class OldCa:
    """The old CA; `begins` is when its customers' certificates do."""

    def __init__(self, begins: datetime) -> None:
        self.key = ec.generate_private_key(CURVE)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old CA of the soak tests")])
        authority = self._builder(self.name, begins - YEAR, 10 * YEAR, 1).public_key(self.key.public_key())
        authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = authority.add_extension(_usage(ca=True), critical=True).sign(self.key, hashes.SHA256())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, f"TW{PLACE}1"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "RA-Soak"),
            ]
        )
        self._serial, key = (0x7F << 120) | 1, ec.generate_private_key(CURVE).public_key()
        one = self._builder(subject, begins, YEAR, self._serial).public_key(key)
        one = one.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        self._tbs = one.add_extension(_usage(ca=False), critical=True).sign(self.key, hashes.SHA256())
        self._point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def _builder(self, subject: x509.Name, begins: datetime, life: timedelta, serial: int) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(self.name, subject, None, serial, begins, begins + life)

    def issue(self, number: int, person_id: str) -> bytes:
        """A certificate for this person, DER."""
        point = ec.generate_private_key(CURVE).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        tbs = self._tbs.tbs_certificate_bytes.replace(self._point, point, 1).replace(PLACE.encode(), person_id.encode())
        tbs = tbs.replace(self._serial.to_bytes(16, "big"), ((0x7F << 120) | (number + 2)).to_bytes(16, "big"), 1)
        return der.signed(tbs, der.signature_algorithm(KeyKind.P256), self.key.sign(tbs, ec.ECDSA(hashes.SHA256())))

    def export(self, path: Path, people: Iterator[str]) -> int:
        """Write a certificate for each person as PEM, and return how many."""
        count = 0
        with path.open("wb") as out:
            for count, person in enumerate(people, 1):
                certificate = x509.load_der_x509_certificate(self.issue(count, person))
                out.write(certificate.public_bytes(Encoding.PEM))
        return count


def since(days: int) -> datetime:
    """The moment so many days ago: certificates are imported while they are valid, by the machine's clock."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not ca, not ca, False, False, False, ca, ca, False, False)
