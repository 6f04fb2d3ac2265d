"""The .p12 file that trading programs and browsers import (RFC 7292), in the `standard` form."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from chopmark.core.types import Secret
from chopmark.pki import signing

KDF_ROUNDS = 600_000
MAX_NAME_CHARACTERS = 64


def write(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    certificate_der: bytes,
    chain: Sequence[bytes],
    friendly_name: str,
    passphrase: Secret,
    rounds: int = KDF_ROUNDS,
) -> bytes:
    """Return a PKCS #12 file, DER: AES-256-CBC under PBKDF2-HMAC-SHA256 of `rounds`, HMAC-SHA-256 over all.

    It holds the key and its certificate, tied by localKeyID and friendlyName, and the chain (issuer first).
    `friendly_name` and `passphrase` are printable ASCII: other readers disagree about anything else. ValueError when
    they are not, when the pass-phrase is empty, or when the certificate is of another key.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    if signing.spki_of(certificate) != signing.spki(key):
        raise ValueError("the certificate is of another key")
    if not _printable(friendly_name) or len(friendly_name) > MAX_NAME_CHARACTERS:
        raise ValueError("friendlyName must be 1 to 64 printable ASCII characters")
    if not _printable(passphrase.reveal()):
        raise ValueError("the pass-phrase must be printable ASCII and not empty")
    encryption = (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(rounds)
        .key_cert_algorithm(pkcs12.PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(passphrase.reveal().encode("ascii"))
    )
    issuers = [x509.load_der_x509_certificate(der) for der in chain]
    return pkcs12.serialize_key_and_certificates(
        friendly_name.encode("ascii"), key, certificate, issuers or None, encryption
    )


def _printable(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable()
