"""A private key in an encrypted file (PKCS #8, PEM). The caller reads and writes the file itself."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from chopmark.core.types import Secret
from chopmark.keys import stretched
from chopmark.keys.ports import KeyAlgorithm
from chopmark.pki import signing
from chopmark.pki.signing import IssuerKey

MIN_PASSPHRASE_CHARACTERS = 12
_RSA_BITS = {KeyAlgorithm.RSA2048: 2048, KeyAlgorithm.RSA3072: 3072, KeyAlgorithm.RSA4096: 4096}


class KeyFileError(ValueError):
    """The key file cannot be opened: damaged, another pass-phrase, not encrypted, or a key that is not allowed."""


def create(algorithm: KeyAlgorithm, passphrase: Secret) -> bytes:
    """Return a fresh key as encrypted PKCS #8 PEM (PBES2: scrypt, AES-256-CBC); ValueError for a short pass-phrase."""
    if len(passphrase.reveal()) < MIN_PASSPHRASE_CHARACTERS:
        raise ValueError(f"the pass-phrase must have at least {MIN_PASSPHRASE_CHARACTERS} characters")
    return stretched.seal(_plain(_fresh(algorithm)), passphrase)


def create_derived(algorithm: KeyAlgorithm, passphrase: Secret) -> bytes:
    """Return a fresh key as encrypted PKCS #8 PEM, under a pass-phrase that `shares` has derived.

    It has 256 bits, so nobody can find it by trying, and it needs no further stretching.
    """
    encryption = serialization.BestAvailableEncryption(passphrase.reveal().encode())
    return _fresh(algorithm).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def rewritten(pem: bytes, passphrase: Secret, following: Secret) -> bytes:
    """Return a key file written anew in this release's form, under the pass-phrase `following`.

    Raises KeyFileError when `passphrase` does not open it, and ValueError when `following` is too short.
    """
    if len(following.reveal()) < MIN_PASSPHRASE_CHARACTERS:
        raise ValueError(f"the pass-phrase must have at least {MIN_PASSPHRASE_CHARACTERS} characters")
    return stretched.seal(_plain(_opened(pem, passphrase)), following)


class FileSigner:
    """A Signer whose key was opened from a file and lives in this process's memory."""

    def __init__(self, key: IssuerKey) -> None:
        self._key = key
        self._algorithm = signing.kind_of(key)
        self._public_key_der = signing.spki(key.public_key())

    @classmethod
    def open(cls, pem: bytes, passphrase: Secret) -> "FileSigner":
        """Return the signer of an encrypted PKCS #8 PEM; KeyFileError when it cannot be opened or is not encrypted."""
        try:
            return cls(_opened(pem, passphrase))
        except ValueError as error:
            raise KeyFileError(str(error)) from error

    @property
    def public_key_der(self) -> bytes:
        """The SubjectPublicKeyInfo of the key, DER."""
        return self._public_key_der

    @property
    def algorithm(self) -> KeyAlgorithm:
        """The kind of the key."""
        return self._algorithm

    def sign(self, data: bytes) -> bytes:
        """Return the X.509-style signature over `data`."""
        return signing.sign(self._key, data)


def _fresh(algorithm: KeyAlgorithm) -> IssuerKey:
    if algorithm.is_ec:
        return ec.generate_private_key(ec.SECP256R1() if algorithm is KeyAlgorithm.P256 else ec.SECP384R1())
    return rsa.generate_private_key(65537, _RSA_BITS[algorithm])


def _opened(pem: bytes, passphrase: Secret) -> IssuerKey:
    """Return the key of an encrypted file in this release's form or an earlier one. Raises KeyFileError."""
    try:
        der = stretched.unseal(pem, passphrase)
        if der is None:
            key = serialization.load_pem_private_key(pem, passphrase.reveal().encode())
        else:
            key = serialization.load_der_private_key(der, None)
    except (ValueError, TypeError) as error:
        raise KeyFileError("the key file cannot be opened with this pass-phrase") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyFileError("the key is neither EC nor RSA")
    return key


def _plain(key: IssuerKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
