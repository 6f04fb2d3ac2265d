"""The key that signs tree heads: Ed25519 (RFC 8032) in a PKCS #8 PEM file, outside the database.

The caller reads and writes the files.
"""

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chopmark.audit.head import HeadPublicKey
from chopmark.core.types import Secret
from chopmark.keys import stretched
from chopmark.keys.file import MIN_PASSPHRASE_CHARACTERS, KeyFileError


def create_head_key(passphrase: Secret | None = None) -> bytes:
    """Return a fresh Ed25519 key as PKCS #8 PEM, encrypted (PBES2: scrypt, AES-256-CBC) unless there is no pass-phrase.

    Raises ValueError for a pass-phrase that is too short. Without a pass-phrase, only the permissions of the file
    protect the key.
    """
    key, plain = Ed25519PrivateKey.generate(), serialization.NoEncryption()
    if passphrase is None:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    if len(passphrase.reveal()) < MIN_PASSPHRASE_CHARACTERS:
        raise ValueError(f"the pass-phrase must have at least {MIN_PASSPHRASE_CHARACTERS} characters")
    return stretched.seal(
        key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain), passphrase
    )


class FileHeadSigner:
    """Implements `HeadSigner` with a key that was read from a file and is kept in this process's memory."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def open(cls, pem: bytes, passphrase: Secret | None = None) -> "FileHeadSigner":
        """Return the signer for a key in PKCS #8 PEM.

        Raises KeyFileError when the PEM is damaged, holds no Ed25519 key, or cannot be opened with `passphrase` (None
        is for a key that is not encrypted).
        """
        password = None if passphrase is None else passphrase.reveal().encode()
        try:
            der = None if passphrase is None else stretched.unseal(pem, passphrase)
            if der is None:
                key = serialization.load_pem_private_key(pem, password)
            else:
                key = serialization.load_der_private_key(der, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise KeyFileError("the head key cannot be opened with this pass-phrase") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyFileError("the head key is no Ed25519 key")
        return cls(key)

    def sign(self, message: bytes) -> bytes:
        """Return the Ed25519 signature: 64 octets."""
        return self._key.sign(message)

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The key with which an auditor checks the signatures."""
        return self._key.public_key()

    @property
    def public_pem(self) -> bytes:
        """The public key as PEM (SubjectPublicKeyInfo), to give to an auditor."""
        return self.public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def read_public(pem: bytes) -> HeadPublicKey:
    """Return the public key in a PEM; raises KeyFileError when it cannot be read or is neither Ed25519 nor P-256."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("the public key cannot be read") from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise KeyFileError("the public key is neither Ed25519 nor P-256")
