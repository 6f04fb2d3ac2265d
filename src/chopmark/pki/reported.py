"""Read the key that somebody reports as compromised, in any form that contains a public key."""

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.pki import signing

Loader = Callable[[bytes], bytes]


def spki_of_report(report: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo, DER, of a certificate, a request, a public key or an open private key.

    PEM or DER; None for anything else. Of a private key only its public half is taken; that it was handed in proves
    that it leaked.
    """
    for load in _LOADERS:
        try:
            return load(report)
        except (ValueError, TypeError):  # TypeError: a private key under a pass-phrase
            continue
    return None


def _public(key: object) -> bytes:
    if not isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        raise ValueError("no RSA or EC key")
    return signing.spki(key)


_LOADERS: tuple[Loader, ...] = (
    lambda report: _public(x509.load_pem_x509_certificate(report).public_key()),
    lambda report: _public(x509.load_pem_x509_csr(report).public_key()),
    lambda report: _public(serialization.load_pem_public_key(report)),
    lambda report: _public(serialization.load_pem_private_key(report, None).public_key()),
    lambda report: _public(x509.load_der_x509_certificate(report).public_key()),
    lambda report: _public(x509.load_der_x509_csr(report).public_key()),
    lambda report: _public(serialization.load_der_public_key(report)),
    lambda report: _public(serialization.load_der_private_key(report, None).public_key()),
)
