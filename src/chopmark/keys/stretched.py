"""Key files under a pass-phrase: encrypted PKCS #8 with scrypt, so that each guess is slow (RFC 8018, RFC 7914).

The form is that of `openssl pkcs8 -topk8 -scrypt`. The memory stays below OpenSSL's own limit of 32 MiB, so OpenSSL can
open these files.
"""

import base64
import re
from functools import lru_cache

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from chopmark.core.types import Secret
from chopmark.pki.der import NotDer, Part, parts, tlv

N, R, P = 1 << 14, 8, 5
"""scrypt's cost: 16 MiB, used five times one after the other; one guess takes some 0.2 s."""
MIN_ROUNDS = 600_000
"""The least number of PBKDF2 rounds (HMAC-SHA-256) that is enough for a file that another program has made."""
_MOST = 1 << 26
"""The highest N times r times p with which a file is opened."""
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_SCRYPT = bytes.fromhex("2b06010401da47040b")
_AES256_CBC = bytes.fromhex("60864801650304012a")
_PEM = re.compile(
    rb"-----BEGIN ENCRYPTED PRIVATE KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END ENCRYPTED PRIVATE KEY-----"
)


def seal(pkcs8_der: bytes, passphrase: Secret) -> bytes:
    """Return the PEM of a PrivateKeyInfo, encrypted with AES-256-CBC under the stretched pass-phrase.

    Salt and initialisation vector are random octets from the library that also makes the keys.
    """
    salt, iv = AESGCM.generate_key(128), AESGCM.generate_key(128)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES256(_derived(passphrase.reveal(), salt, N, R, P)), modes.CBC(iv)).encryptor()
    content = encryptor.update(padder.update(pkcs8_der) + padder.finalize()) + encryptor.finalize()
    cost = b"".join(tlv(0x02, _integer(number)) for number in (N, R, P))
    kdf = tlv(0x30, tlv(0x06, _SCRYPT), tlv(0x30, tlv(0x04, salt), cost))
    scheme = tlv(0x30, tlv(0x06, _AES256_CBC), tlv(0x04, iv))
    algorithm = tlv(0x30, tlv(0x06, _PBES2), tlv(0x30, kdf, scheme))
    text = base64.b64encode(tlv(0x30, algorithm, tlv(0x04, content))).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN ENCRYPTED PRIVATE KEY-----\n{lines}\n-----END ENCRYPTED PRIVATE KEY-----\n".encode()


def unseal(pem: bytes, passphrase: Secret) -> bytes | None:
    """Return the PrivateKeyInfo, DER, of a file in the form that `seal` writes; None for any other form.

    Raises ValueError for a wrong pass-phrase, or a file that asks for too much computing.
    """
    read = _read(pem)
    if read is None or read.kdf != _SCRYPT or read.cipher != _AES256_CBC or len(read.iv) != 16:
        return None
    n, r, p = read.cost
    if n * r * p > _MOST:
        raise ValueError("the key file asks for too much computing")
    key = _derived(passphrase.reveal(), read.salt, n, r, p)
    decryptor = Cipher(algorithms.AES256(key), modes.CBC(read.iv)).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(read.content) + decryptor.finalize()) + unpadder.finalize()


def is_stretched(pem: bytes) -> bool:
    """Tell whether a guess of the file's pass-phrase is slow enough: scrypt as here, or PBKDF2 with 600,000 rounds."""
    read = _read(pem)
    if read is None:
        return False
    if read.kdf == _SCRYPT:
        n, r, _ = read.cost
        return n * r >= N * R
    return read.kdf == _PBKDF2 and read.cost[0] >= MIN_ROUNDS


@lru_cache(maxsize=64)
def _derived(passphrase: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    """Return the key that encrypts a file; it is cached, because a process opens the same file more than once."""
    return Scrypt(salt=salt, length=32, n=n, r=r, p=p).derive(passphrase.encode())


class _File:
    """The fields of an encrypted PKCS #8; `cost` is N, r, p of scrypt, or the rounds of PBKDF2."""

    def __init__(self, content: bytes, kdf: tuple[Part, ...], scheme: tuple[Part, ...]) -> None:
        self.content = content
        self.kdf, parameters = kdf[0].content, parts(kdf[1].content)
        self.salt = parameters[0].content
        numbers = [int.from_bytes(part.content, "big") for part in parameters[1:] if part.tag == 0x02]
        self.cost = tuple(numbers[:3] if self.kdf == _SCRYPT else numbers[:1])
        self.cipher, self.iv = scheme[0].content, scheme[1].content
        if len(self.cost) != (3 if self.kdf == _SCRYPT else 1):
            raise NotDer("the key file does not say what its pass-phrase costs")


def _read(pem: bytes) -> _File | None:
    """Return the fields of a PEM with an encrypted key; None for anything else and for another scheme than PBES2."""
    found = _PEM.search(pem)
    if found is None:
        return None
    try:
        (whole,) = parts(base64.b64decode(b"".join(found[1].split()), validate=True))
        algorithm, content = parts(whole.content)
        scheme, parameters = parts(algorithm.content)
        if scheme.content != _PBES2:
            return None
        kdf, cipher = parts(parameters.content)
        return _File(content.content, parts(kdf.content), parts(cipher.content))
    except (ValueError, IndexError):
        return None


def _integer(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")
