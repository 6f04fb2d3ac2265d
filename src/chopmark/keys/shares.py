"""A key file that needs the shares of two operators; one share alone does not open it (docs/decisions/0011).

The file is an encrypted PKCS #8 PEM (RFC 5958, RFC 7468) below one line that says how its pass-phrase is derived:
HKDF-SHA-256 (RFC 5869) over the Argon2id (RFC 9106) of each share. The line is also the HKDF's info. So whoever edits
the line gets another pass-phrase, and the file does not open.
"""

import re
import unicodedata
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chopmark.core.types import Secret
from chopmark.keys import file
from chopmark.keys.file import KeyFileError
from chopmark.keys.ports import KeyAlgorithm

MIN_CHARACTERS = 20
MEMORY_KIB = 64 * 1024
PASSES = 3
SALT_BYTES = 16
_HASH_BYTES = 32
_MOST_MEMORY_KIB = 1024 * 1024
_MOST_PASSES = 32
_BEGIN = b"Chopmark-Key-Lock: "
_LINE = re.compile(rb"Chopmark-Key-Lock: two-shares-1 m=([0-9]{2,7}) t=([0-9]{1,2}) ([0-9a-f]{32}) ([0-9a-f]{32})\n")


class UnfitShares(ValueError):
    """A share is too short, or both are the same; the text says which."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of the two operators; raises UnfitShares for a short share, or the same one twice."""

    one: Secret
    two: Secret

    def __post_init__(self) -> None:
        for which, share in (("first", self.one), ("second", self.two)):
            if len(_canonical(share)) < MIN_CHARACTERS:
                raise UnfitShares(f"the {which} operator's share must have at least {MIN_CHARACTERS} characters")
        if _canonical(self.one) == _canonical(self.two):
            raise UnfitShares("the operators' shares must differ: one person would hold both")


def new_share(token: bytes) -> Secret:
    """Return a share of 32 fresh random bytes as 64 hexadecimal digits in groups of four, to be copied by hand."""
    if len(token) != _HASH_BYTES:
        raise ValueError(f"a share is made of {_HASH_BYTES} bytes")
    digits = token.hex()
    return Secret("-".join(digits[at : at + 4] for at in range(0, len(digits), 4)))


@dataclass(frozen=True, slots=True)
class Lock:
    """How the shares become a pass-phrase: a salt for each, and Argon2id's cost (KiB of memory, passes, 1 lane)."""

    salt_one: bytes
    salt_two: bytes
    memory_kib: int = MEMORY_KIB
    passes: int = PASSES

    @classmethod
    def fresh(cls, token: bytes, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> "Lock":
        """Return a lock whose salts are the halves of 32 fresh random bytes."""
        if len(token) != 2 * SALT_BYTES:
            raise ValueError(f"the salts are made of {2 * SALT_BYTES} bytes")
        return cls(token[:SALT_BYTES], token[SALT_BYTES:], memory_kib, passes)

    @classmethod
    def of(cls, stored: bytes) -> "Lock | None":
        """Return the lock that a key file begins with; None for a file without one.

        Raises KeyFileError for a lock that cannot be read or would cost more than 1 GiB or 32 passes.
        """
        if not stored.startswith(_BEGIN):
            return None
        found = _LINE.match(stored)
        if found is None:
            raise KeyFileError("the first line of the key file cannot be read")
        memory_kib, passes = int(found[1]), int(found[2])
        if memory_kib > _MOST_MEMORY_KIB or not 1 <= passes <= _MOST_PASSES:
            raise KeyFileError("the first line of the key file asks for too much computing")
        return cls(bytes.fromhex(found[3].decode()), bytes.fromhex(found[4].decode()), memory_kib, passes)

    @property
    def line(self) -> bytes:
        """The lock as the line above the PEM."""
        cost = f"m={self.memory_kib} t={self.passes}"
        return _BEGIN + f"two-shares-1 {cost} {self.salt_one.hex()} {self.salt_two.hex()}\n".encode()

    def passphrase(self, shares: Shares) -> Secret:
        """Return the PEM's pass-phrase, 64 hexadecimal digits. Takes some 0.2 s and `memory_kib` of memory."""
        halves = self._stretched(shares.one, self.salt_one) + self._stretched(shares.two, self.salt_two)
        derived = HKDF(hashes.SHA256(), length=_HASH_BYTES, salt=None, info=self.line.rstrip(b"\n")).derive(halves)
        return Secret(derived.hex())

    def _stretched(self, share: Secret, salt: bytes) -> bytes:
        kdf = Argon2id(salt=salt, length=_HASH_BYTES, iterations=self.passes, lanes=1, memory_cost=self.memory_kib)
        return kdf.derive(_canonical(share).encode())


def create(algorithm: KeyAlgorithm, lock: Lock, passphrase: Secret) -> bytes:
    """Return a fresh key as a key file with this lock; `passphrase` is the result of `lock.passphrase`."""
    return lock.line + file.create_derived(algorithm, passphrase)


def _canonical(share: Secret) -> str:
    """Return the share in NFC, without white space at its ends, because a file may end with a line break."""
    return unicodedata.normalize("NFC", share.reveal()).strip()
