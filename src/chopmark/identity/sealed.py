"""The only place where stored personal data is sealed, opened and made searchable.

Values are sealed with AES-256-GCM and a key that is outside the database. The place of a value
(table, column, row, contact version, key id) is authenticated with it, so a value that was copied
to another row, or belongs to an older version, does not open. Values are looked up by a keyed hash.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chopmark.core.types import Secret

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_LABEL: Final = b"chopmark-seal-1"


class SealBroken(Exception):
    """A sealed value does not open: it was edited or moved to another place, or its key is unknown."""


@dataclass(frozen=True, slots=True)
class SealKey:
    """A root key and its id (1 to 32 ASCII characters): 32 random bytes from outside the database."""

    kid: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not (1 <= len(self.kid) <= 32 and self.kid.isascii()):
            raise ValueError("a seal key id has 1 to 32 ASCII characters")
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"seal key {self.kid} must have {KEY_BYTES} bytes")


class Sealer:
    """Seals with the current key; opens with the current key and the older ones.

    `lookup_secret` (32 bytes) must stay the same when the seal keys are rotated, because every stored
    hash depends on it. It may be equal to a root key, since HKDF derives both with different labels.
    """

    def __init__(self, current: SealKey, lookup_secret: bytes, older: tuple[SealKey, ...] = ()) -> None:
        if len(lookup_secret) != KEY_BYTES:
            raise ValueError(f"the look-up secret must have {KEY_BYTES} bytes")
        if len({key.kid for key in (current, *older)}) != 1 + len(older):
            raise ValueError("two seal keys share a key id")
        self._kid = current.kid
        self._ciphers = {key.kid: AESGCM(_expand(key.secret, _LABEL)) for key in (current, *older)}
        self._lookup_key = _expand(lookup_secret, b"chopmark-lookup-1")

    def seal(self, value: str, table: str, column: str, row: str, version: int, nonce: bytes) -> bytes:
        """Return the value sealed for that place: key id (after a length byte), nonce, ciphertext and tag.

        `nonce` is 12 random bytes that were never used before; ValueError when it has another length.
        """
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"the nonce must have {NONCE_BYTES} bytes")
        place = _place(table, column, row, version, self._kid)
        kid = self._kid.encode()
        return bytes([len(kid)]) + kid + nonce + self._ciphers[self._kid].encrypt(nonce, value.encode(), place)

    def open(self, sealed: bytes, table: str, column: str, row: str, version: int) -> Secret:
        """Return the value that was sealed for exactly that place; raise SealBroken in every other case."""
        kid, nonce, ciphertext = _split(sealed)
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise SealBroken(f"{table}.{column} is sealed under a key that is not here")
        try:
            plain = cipher.decrypt(nonce, ciphertext, _place(table, column, row, version, kid))
        except InvalidTag as error:
            raise SealBroken(f"{table}.{column} was edited or belongs to another place") from error
        return Secret(plain.decode())

    def is_current(self, sealed: bytes) -> bool:
        """Return whether the value is sealed with the current key, so that a rotation can skip it."""
        return _split(sealed)[0] == self._kid

    def lookup_hash(self, kind: str, value: str) -> str:
        """Return the keyed hash by which an equal value of that kind is found: 64 hexadecimal digits.

        The value must be in its canonical form: "A123456789" and "a123456789" have different hashes.
        """
        message = _prefixed(kind.encode()) + _prefixed(value.encode())
        return hmac.digest(self._lookup_key, message, hashlib.sha256).hex()


def _split(sealed: bytes) -> tuple[str, bytes, bytes]:
    end = 1 + sealed[0] if sealed else 0
    kid, nonce, ciphertext = sealed[1:end], sealed[end : end + NONCE_BYTES], sealed[end + NONCE_BYTES :]
    if not kid or len(ciphertext) < _TAG_BYTES or not kid.isascii():
        raise SealBroken("a sealed value is cut or is none")
    return kid.decode("ascii"), nonce, ciphertext


def _place(table: str, column: str, row: str, version: int, kid: str) -> bytes:
    fields = (table, column, row, str(version), kid)
    return _LABEL + b"".join(_prefixed(part.encode()) for part in fields)


def _expand(secret: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)


def _prefixed(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
