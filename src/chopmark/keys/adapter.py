"""A Signer as a private key of `cryptography`: every builder signs through the port."""

from chopmark.keys.ports import Signer
from chopmark.pki import signing
from chopmark.pki.signing import IssuerKey


def as_private_key(signer: Signer) -> IssuerKey:
    """Return a key object whose every signature `signer` makes; it can do nothing else (TypeError)."""
    return signing.key_from(signer.public_key_der, signer.sign)
