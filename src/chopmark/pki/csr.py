"""Read a certification request: only its public key, and the proof that somebody has the private key.

Subject, attributes and extensions are never read (architecture rule 5).
"""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import SignatureAlgorithmOID

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Text, text
from chopmark.pki import key_checks, signing
from chopmark.pki.algorithms import KeyKind
from chopmark.pki.der import AlgorithmIdentifier, NotDer, Signed, encoded, require_der

MAX_CSR_BYTES = 16 * 1024


class _Suite(NamedTuple):
    name: str
    is_ec: bool
    hash_algorithm: hashes.HashAlgorithm


_ALGORITHMS = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: _Suite("sha256WithRSAEncryption", False, hashes.SHA256()),
    SignatureAlgorithmOID.RSA_WITH_SHA384: _Suite("sha384WithRSAEncryption", False, hashes.SHA384()),
    SignatureAlgorithmOID.RSA_WITH_SHA512: _Suite("sha512WithRSAEncryption", False, hashes.SHA512()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: _Suite("ecdsa-with-SHA256", True, hashes.SHA256()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: _Suite("ecdsa-with-SHA384", True, hashes.SHA384()),
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: _Suite("ecdsa-with-SHA512", True, hashes.SHA512()),
}


@asn1.sequence
class _Info:
    """RFC 2986 s.4.1; the attributes are [0] and mandatory, whatever they contain."""

    version: int
    subject: asn1.TLV
    public_key: asn1.TLV
    attributes: asn1.TLV


@dataclass(frozen=True, slots=True)
class Request:
    """A public key that passed all key checks, and whose holder has proved possession."""

    spki_der: bytes
    spki_sha256: str
    key: KeyKind
    signature_algorithm: str


def parse(der: bytes) -> Request | Refusal:
    """Return the key of a PKCS #10 request (RFC 2986), or why it cannot be used.

    1 size, 2 DER and shape, 3 version, 4 fitness of the key, 5 algorithm, 6 proof of possession.
    `der` is one DER CertificationRequest of at most 16 KiB; `spki_sha256` is lower-case hexadecimal.
    Never raises.
    """
    if len(der) > MAX_CSR_BYTES:
        return _refusal("csr_too_large", text("The certificate request is too large. Please make the key again."))
    try:
        require_der(der)
        request = asn1.decode_der(Signed, der)
        body = encoded(request.body)
        info = asn1.decode_der(_Info, body)
        if info.attributes.tag_bytes != b"\xa0" or info.subject.tag_bytes != b"0" or request.signature.padding_bits():
            raise NotDer("not a certification request")
    except (NotDer, ValueError):
        return _refusal("csr_malformed", _DAMAGED)
    if info.version != 0:
        return _refusal("csr_version", text("The request has an unknown version. Please make the key again."))
    spki_der = encoded(info.public_key)
    found = key_checks.judge(spki_der)
    if found:
        return _refusal(found[0].code, found[0].text)
    kind = key_checks.kind(spki_der)
    suite = _suite(encoded(request.algorithm))
    if suite is None or suite.is_ec != kind.is_ec:
        sentence = text("The certificate request is signed in a way that is not allowed. Please make the key again.")
        return _refusal("csr_signature_algorithm", sentence)
    if not _possessed(spki_der, request.signature.as_bytes(), body, suite.hash_algorithm):
        sentence = text("The certificate request is not signed by its own key. Please make the key again.")
        return _refusal("csr_signature", sentence)
    return Request(spki_der, hashlib.sha256(spki_der).hexdigest(), kind, suite.name)


def spki_of(der: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo that a request names, DER; None for what is no request. Nothing is verified."""
    try:
        return encoded(asn1.decode_der(_Info, encoded(asn1.decode_der(Signed, der).body)).public_key)
    except (NotDer, ValueError):
        return None


_DAMAGED = text("The certificate request is damaged. Please make the key again.")


def _refusal(code: str, sentence: Text) -> Refusal:
    return Refusal(Kind.BAD_KEY, sentence, field="csr", code=code)


def _suite(algorithm_der: bytes) -> _Suite | None:
    """The allowed algorithm; None for any other and for one with parameters, such as RSASSA-PSS."""
    try:
        return _ALGORITHMS.get(asn1.decode_der(AlgorithmIdentifier, algorithm_der).algorithm)
    except ValueError:
        return None


def _possessed(spki_der: bytes, signature: bytes, body: bytes, algorithm: hashes.HashAlgorithm) -> bool:
    try:
        return signing.verifies(signing.public_key(spki_der), signature, body, algorithm)
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature):
        return False
