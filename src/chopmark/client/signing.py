"""Keys and signatures on the customer's computer: a new key, its request, proofs, the .p12 file."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.core.types import OrderId, Secret
from chopmark.pki import pkcs12, possession, proof, signing
from chopmark.pki.algorithms import RSA_SIZES, KeyKind
from chopmark.pki.key_words import key_words
from chopmark.pki.possession import Possession
from chopmark.pki.proof import Statement
from chopmark.pki.x509 import name

PLACEHOLDER = (("CN", "chopmark"),)


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A private key in this process's memory; its repr does not show it."""

    private_key: signing.IssuerKey

    @classmethod
    def generate(cls, kind: KeyKind = KeyKind.P256) -> "ClientKey":
        """Return a new key."""
        if kind.is_ec:
            return cls(ec.generate_private_key(ec.SECP256R1() if kind is KeyKind.P256 else ec.SECP384R1()))
        return cls(rsa.generate_private_key(65537, next(bits for bits, each in RSA_SIZES.items() if each is kind)))

    def __repr__(self) -> str:
        return "ClientKey(-)"

    @property
    def spki_sha256(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo."""
        spki = self.private_key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return hashlib.sha256(spki).digest()

    def request(self, subject: Sequence[tuple[str, str]] = ()) -> bytes:
        """Return a PKCS #10 request, DER, without attributes.

        `subject` are the pairs of the order's `csr_subject`, for a CA that reads the names in the request; without any,
        the request has a placeholder, and the server takes the name from its records. Raises ValueError for a value
        that a name must not contain.
        """
        named = name(subject or PLACEHOLDER)
        algorithm = signing.kind_of(self.private_key).hash_algorithm
        request = x509.CertificateSigningRequestBuilder().subject_name(named).sign(self.private_key, algorithm)
        return request.public_bytes(serialization.Encoding.DER)

    def prove(
        self,
        certificate_der: bytes,
        *,
        portal: str,
        order: OrderId,
        nonce: bytes,
        new_spki_sha256: bytes,
        purpose: str,
        at: datetime,
    ) -> bytes:
        """Return this key's signature over the server's challenge (architecture rule 11), CMS, DER."""
        statement = Statement(
            label=proof.LABEL,
            portal=portal,
            order=order,
            nonce=nonce,
            new_spki_sha256=new_spki_sha256,
            certificate_sha256=hashlib.sha256(certificate_der).digest(),
            purpose=purpose,
            time=at.replace(microsecond=0),
        )
        return proof.build(statement, self.private_key, certificate_der)

    @property
    def words(self) -> str:
        """The words by which a person tells this key from another: three groups of four letters."""
        return key_words(self.spki_sha256.hex())

    def possess(self, *, portal: str, order: OrderId, login: str, nonce: bytes, at: datetime) -> bytes:
        """Return the proof that whoever is signed in has the private key of the order, CMS, DER.

        The server gives `nonce` and `login` in one answer.
        """
        stated = Possession(portal, order, login, nonce, self.spki_sha256, at.replace(microsecond=0))
        return possession.build(stated, self.private_key)

    def p12(
        self,
        certificate_der: bytes,
        chain: tuple[bytes, ...],
        name: str,
        passphrase: Secret,
        rounds: int = pkcs12.KDF_ROUNDS,
    ) -> bytes:
        """Return the key with its certificate and chain as a PKCS #12 file; `rounds` makes each guess slower."""
        return pkcs12.write(self.private_key, certificate_der, chain, name, passphrase, rounds)
