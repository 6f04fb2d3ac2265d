"""The Signer port: a private key that stays where it is and signs."""

from typing import Protocol, TypeAlias

from chopmark.pki.algorithms import KeyKind

KeyAlgorithm: TypeAlias = KeyKind
"""P256, P384, RSA2048, RSA3072 or RSA4096."""


class Signer(Protocol):
    """Signs with one private key; each implementation says where the key is."""

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo of the key, DER."""
        ...

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The kind of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the X.509-style signature over `data`: SHA-256 (SHA-384 for P-384), ECDSA as DER or PKCS #1 v1.5."""
        ...
