"""Passwords are stored as Argon2id. `PasswordGate` limits how many are computed at a time.

Only one lane is used: with more lanes, two computations at the same time can block each other for ever in the library
that we use.
"""

import asyncio
import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from chopmark.core.refusal import Kind, Refusal
from chopmark.core.types import Secret, text

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
SALT_BYTES: Final = 16
HASH_BYTES: Final = 32
MAX_LENGTH: Final = 128
INITIAL_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""31 characters without i, l, o, 0 and 1, which look alike; lower case, because customers type it from a slip."""
INITIAL_LENGTH: Final = 13
"""13 of 31 characters are 64 bits."""

_MOST_MEMORY_KIB: Final = 128 * 1024
_MOST_PASSES: Final = 10
_PHC: Final = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,4}),p=(\d{1,4})\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+", re.ASCII
)

_T = TypeVar("_T")


class HashUnfit(ValueError):
    """A stored password hash that this process does not compute: another scheme, several lanes, or too costly."""


def hash_password(secret: Secret, salt: bytes) -> str:
    """Return the PHC string of the password in NFC: Argon2id, m = 19 MiB, t = 2, p = 1 (RFC 9106).

    `salt` is 16 fresh random bytes. This takes some 30 ms of one core, so call it through `PasswordGate`.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt must have {SALT_BYTES} bytes")
    canonical = _canonical(secret)
    if canonical in (b"", b"\xff"):
        raise ValueError(f"a password has 1 to {MAX_LENGTH} characters")
    kdf = Argon2id(salt=salt, length=HASH_BYTES, iterations=PASSES, lanes=1, memory_cost=MEMORY_KIB)
    return kdf.derive_phc_encoded(canonical)


def nobodys(random: bytes, salt: bytes) -> str:
    """Return a PHC string with the costs of `hash_password` that no known password has: its hash is drawn.

    To compare a password with it takes as long as with any other; to make it takes nothing.
    """
    salted, hashed = (base64.b64encode(part).rstrip(b"=").decode() for part in (salt, hashlib.sha256(random).digest()))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salted}${hashed}"


def verify(phc: str, secret: Secret) -> bool:
    """Return whether the password is the one of this PHC string; raise HashUnfit when this process cannot tell."""
    _costs(phc)
    try:
        Argon2id.verify_phc_encoded(_canonical(secret), phc)
    except InvalidKey:
        return False
    return True


def needs_rehash(phc: str) -> bool:
    """Return whether the hash has other costs than `hash_password` uses now."""
    return _costs(phc) != (MEMORY_KIB, PASSES)


def initial_password(random: bytes) -> Secret:
    """Return a first password of 13 characters, made from 16 random bytes and from nothing about the person (TW-03)."""
    if len(random) != 16:
        raise ValueError("an initial password needs 16 random bytes")
    number, characters = int.from_bytes(random, "big"), []
    for _ in range(INITIAL_LENGTH):
        number, index = divmod(number, len(INITIAL_ALPHABET))
        characters.append(INITIAL_ALPHABET[index])
    return Secret("".join(characters))


class PasswordGate:
    """Runs at most two Argon2 computations at a time, and lets a limited number wait; further ones are refused.

    `dummy` is `nobodys` PHC string, with the present costs. For an unknown customer the password
    is compared with it, so that the answer takes as long as for a known one. Call `close` when done.
    """

    def __init__(self, dummy: str, *, at_once: int = 2, waiting: int = 16, retry_after_s: int = 2) -> None:
        if needs_rehash(dummy):
            raise ValueError("the dummy hash must have today's costs")
        self._dummy = dummy
        self._room = at_once + waiting
        self._inside = 0
        self._retry_after_s = retry_after_s
        self._threads = ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="argon2")

    async def verify(self, phc: str | None, given: Secret) -> bool | Refusal:
        """Return whether the password is right; for `phc` None (an unknown customer) False, after the same work.

        Returns TOO_MANY when too many are waiting already. Raises HashUnfit as `verify` does.
        """
        known = await self._run(lambda: verify(self._dummy if phc is None else phc, given))
        return known if isinstance(known, Refusal) else known and phc is not None

    async def hash(self, secret: Secret, salt: bytes) -> str | Refusal:
        """Return the PHC string that `hash_password` makes, or TOO_MANY when too many are waiting already."""
        return await self._run(lambda: hash_password(secret, salt))

    def close(self) -> None:
        """End the threads: computations that run are finished, those that wait are dropped."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], _T]) -> _T | Refusal:
        if self._inside >= self._room:
            said = text("Many people are signing in at this moment. Please try again in a few seconds.")
            return Refusal(Kind.TOO_MANY, said, code="password_gate_full", retry_after_s=self._retry_after_s)
        self._inside += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._left)
        return await future

    def _left(self, _: "asyncio.Future[_T]") -> None:
        self._inside -= 1


def _canonical(secret: Secret) -> bytes:
    """Return the password in NFC and UTF-8; for one that is too long, a byte that is no UTF-8, so it never matches."""
    value = secret.reveal()
    if len(value) > 4 * MAX_LENGTH:
        return b"\xff"
    normal = unicodedata.normalize("NFC", value)
    return normal.encode("utf-8", "surrogatepass") if len(normal) <= MAX_LENGTH else b"\xff"


def _costs(phc: str) -> tuple[int, int]:
    """Return memory in KiB and passes; raise HashUnfit when this process must not compute the hash."""
    found = _PHC.fullmatch(phc)
    if found is None:
        raise HashUnfit("the stored password hash is no Argon2id version 19 PHC string")
    memory, passes, lanes = (int(number) for number in found.groups())
    if lanes != 1:
        raise HashUnfit(f"the stored password hash has {lanes} lanes; only hashes with p=1 are checked here")
    if memory > _MOST_MEMORY_KIB or passes > _MOST_PASSES:
        raise HashUnfit("the stored password hash costs more than a sign-in may")
    return memory, passes
