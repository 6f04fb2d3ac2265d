"""The signature algorithms that Chopmark uses; it accepts and makes no others."""

from enum import StrEnum

from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID


class KeyKind(StrEnum):
    """A kind of key: the algorithm and its size."""

    P256 = "P256"
    P384 = "P384"
    RSA2048 = "RSA2048"
    RSA3072 = "RSA3072"
    RSA4096 = "RSA4096"

    @property
    def is_ec(self) -> bool:
        """True for the NIST curves."""
        return self in (KeyKind.P256, KeyKind.P384)

    @property
    def hash_algorithm(self) -> hashes.SHA256 | hashes.SHA384:
        """The hash with which this kind of key signs X.509 structures: SHA-384 for P-384, otherwise SHA-256."""
        return hashes.SHA384() if self is KeyKind.P384 else hashes.SHA256()

    @property
    def signature_oid(self) -> ObjectIdentifier:
        """The signature algorithm that `hash_algorithm` and the key make (RFC 5758, RFC 4055)."""
        if self is KeyKind.P256:
            return SignatureAlgorithmOID.ECDSA_WITH_SHA256
        if self is KeyKind.P384:
            return SignatureAlgorithmOID.ECDSA_WITH_SHA384
        return SignatureAlgorithmOID.RSA_WITH_SHA256


RSA_SIZES = {2048: KeyKind.RSA2048, 3072: KeyKind.RSA3072, 4096: KeyKind.RSA4096}
